/* The schema's text: one table a thing, grouped by the record that owns it. Types are
 * TEXT, BIGINT and BYTEA alone; booleans are 0 and 1, times seconds since 1970, lists
 * and objects JSON text. */
#include "schema.h"

static const char *const step_1[] = {
    /* store */
    "CREATE TABLE store_probe ("
    " id TEXT NOT NULL PRIMARY KEY, written BIGINT NOT NULL, filler BYTEA NOT NULL)",

    /* organisation: one row */
    "CREATE TABLE organisation ("
    " id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), name TEXT NOT NULL,"
    " mail_domains TEXT NOT NULL, base_url TEXT NOT NULL, plain_url TEXT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",

    /* audit: per instance the size of its log, its leaves from 0, and the refusals of
     * minutes that are not yet leaves. `entry` is the canonical JSON that was hashed;
     * the columns beside it serve the filters. */
    "CREATE TABLE audit_log ("
    " instance TEXT NOT NULL PRIMARY KEY, size BIGINT NOT NULL)",
    "CREATE TABLE audit_entry ("
    " instance TEXT NOT NULL, number BIGINT NOT NULL, time BIGINT NOT NULL,"
    " action TEXT NOT NULL, actor TEXT NOT NULL, object TEXT,"
    " entry TEXT NOT NULL, leaf BYTEA NOT NULL,"
    " PRIMARY KEY (instance, number))",
    "CREATE INDEX audit_entry_object ON audit_entry (object, instance, number)",
    "CREATE INDEX audit_entry_time ON audit_entry (instance, time)",
    "CREATE TABLE audit_refusal ("
    " instance TEXT NOT NULL, minute BIGINT NOT NULL, protocol TEXT NOT NULL,"
    " source TEXT NOT NULL, reason TEXT NOT NULL, count BIGINT NOT NULL,"
    " PRIMARY KEY (instance, minute, protocol, source, reason))",

    /* state */
    "CREATE TABLE state ("
    " space TEXT NOT NULL, key TEXT NOT NULL, value BYTEA NOT NULL,"
    " version BIGINT NOT NULL, expires BIGINT NOT NULL,"
    " PRIMARY KEY (space, key))",
    "CREATE INDEX state_expires ON state (expires)",
    "CREATE TABLE lease ("
    " job TEXT NOT NULL PRIMARY KEY, instance TEXT NOT NULL, expires BIGINT NOT NULL)",

    /* authority: issuers, their CRLs, helper keys */
    "CREATE TABLE authority ("
    " name TEXT NOT NULL PRIMARY KEY, subject TEXT, key TEXT, state BIGINT NOT NULL,"
    " parent TEXT, next TEXT, chain TEXT,"
    " crl_lifetime BIGINT NOT NULL, crl_overlap BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE TABLE authority_crl ("
    " issuer TEXT NOT NULL PRIMARY KEY, drawn BIGINT NOT NULL,"
    " revision BIGINT NOT NULL, number BIGINT NOT NULL,"
    " this_update BIGINT NOT NULL, next_update BIGINT NOT NULL,"
    " built_revision BIGINT NOT NULL, der BYTEA)",
    "CREATE TABLE helper ("
    " name TEXT NOT NULL PRIMARY KEY, role BIGINT NOT NULL, issuer TEXT NOT NULL,"
    " key TEXT NOT NULL, is_current BIGINT NOT NULL, certificate BYTEA)",
    "CREATE UNIQUE INDEX helper_current ON helper (role, issuer) WHERE is_current = 1",

    /* admin */
    "CREATE TABLE admin ("
    " name TEXT NOT NULL PRIMARY KEY, roles BIGINT NOT NULL,"
    " certificate_sha256 TEXT UNIQUE, disabled BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE TABLE admin_token ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " admin TEXT NOT NULL REFERENCES admin (name) ON DELETE CASCADE,"
    " description TEXT, secret_sha256 BYTEA NOT NULL UNIQUE, expires BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE INDEX admin_token_admin ON admin_token (admin, id)",

    NULL,
};

const struct schema_step schema_steps[] = {
    { 1, step_1 },
};
const size_t schema_step_count = sizeof schema_steps / sizeof schema_steps[0];
