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

    /* profile: settings as JSON text; `certificate` is the certificate profile that a
     * scep profile issues by. Every version is kept, also beyond a deletion. */
    "CREATE TABLE profile ("
    " kind TEXT NOT NULL, name TEXT NOT NULL, description TEXT,"
    " settings TEXT NOT NULL, certificate TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL,"
    " PRIMARY KEY (kind, name))",
    "CREATE INDEX profile_certificate ON profile (certificate)"
    " WHERE certificate IS NOT NULL",
    "CREATE TABLE profile_version ("
    " kind TEXT NOT NULL, name TEXT NOT NULL, description TEXT,"
    " settings TEXT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL,"
    " PRIMARY KEY (kind, name, version))",

    /* user, group, assignment */
    "CREATE TABLE users ("
    " name TEXT NOT NULL PRIMARY KEY, email TEXT, display_name TEXT, work_space TEXT,"
    " state BIGINT NOT NULL, source BIGINT NOT NULL, attributes TEXT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE INDEX users_email ON users (email)",
    "CREATE TABLE user_group ("
    " name TEXT NOT NULL PRIMARY KEY, description TEXT, priority BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE TABLE group_member ("
    " group_name TEXT NOT NULL, user_name TEXT NOT NULL, created BIGINT NOT NULL,"
    " PRIMARY KEY (group_name, user_name))",
    "CREATE INDEX group_member_user ON group_member (user_name, group_name)",
    "CREATE TABLE assignment ("
    " to_group BIGINT NOT NULL, target TEXT NOT NULL, kind TEXT NOT NULL,"
    " profile TEXT NOT NULL, created BIGINT NOT NULL,"
    " PRIMARY KEY (to_group, target, kind, profile))",
    "CREATE INDEX assignment_profile ON assignment (kind, profile)",

    /* device: `shared_device` is empty for the one holder of a key, and the holder's id
     * where the profile shares keys. */
    "CREATE TABLE device ("
    " id TEXT NOT NULL PRIMARY KEY, owner TEXT, kind TEXT, hardware TEXT NOT NULL,"
    " report TEXT NOT NULL, state BIGINT NOT NULL, instance TEXT,"
    " last_seen BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE INDEX device_owner ON device (owner, id)",
    "CREATE TABLE device_key ("
    " spki_sha256 BYTEA NOT NULL, shared_device TEXT NOT NULL,"
    " device_id TEXT NOT NULL, created BIGINT NOT NULL,"
    " PRIMARY KEY (spki_sha256, shared_device))",
    "CREATE TABLE blocked_key ("
    " spki_sha256 BYTEA NOT NULL PRIMARY KEY, reason TEXT NOT NULL,"
    " created BIGINT NOT NULL)",

    /* challenge */
    "CREATE TABLE challenge ("
    " id TEXT NOT NULL PRIMARY KEY, secret_sha256 BYTEA NOT NULL,"
    " user_name TEXT NOT NULL, profile TEXT NOT NULL, device_id TEXT, subject TEXT,"
    " san TEXT NOT NULL, expires BIGINT NOT NULL, state BIGINT NOT NULL, serial TEXT,"
    " tries BIGINT NOT NULL, created_by TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE INDEX challenge_user ON challenge (user_name, id)",

    /* certificate: `transaction_key` is SHA-256 over endpoint, transaction id and
     * signer's key; `generation` is 0 for what its transaction gets, counted up for
     * what it got before. Every index costs each enrolment a page: none for searches
     * that only people make. */
    "CREATE TABLE certificate ("
    " serial TEXT NOT NULL, issuer TEXT NOT NULL, subject TEXT NOT NULL,"
    " san TEXT NOT NULL, not_before BIGINT NOT NULL, not_after BIGINT NOT NULL,"
    " state BIGINT NOT NULL, profile TEXT, user_name TEXT, device_id TEXT,"
    " protocol TEXT, spki_sha256 TEXT, reason TEXT, revoked_at BIGINT NOT NULL,"
    " invalidity_date BIGINT NOT NULL, der BYTEA, challenge TEXT, pending TEXT,"
    " transaction_key BYTEA, request_sha256 BYTEA, generation BIGINT NOT NULL,"
    " run TEXT NOT NULL, completed BIGINT NOT NULL, replaces TEXT, granted TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX certificate_serial ON certificate (serial)",
    "CREATE UNIQUE INDEX certificate_transaction"
    " ON certificate (transaction_key, request_sha256, generation)"
    " WHERE transaction_key IS NOT NULL",
    "CREATE INDEX certificate_intent ON certificate (created) WHERE state = 0",
    "CREATE INDEX certificate_revoked ON certificate"
    " (issuer, serial, not_after, reason, revoked_at, invalidity_date, state)"
    " WHERE state = 2",
    "CREATE INDEX certificate_user ON certificate (user_name, serial)",
    "CREATE INDEX certificate_device ON certificate (device_id, serial)",
    "CREATE INDEX certificate_not_after ON certificate (not_after)",

    /* pending: `approvals` is the inside of a JSON list, to which a statement appends
     */
    "CREATE TABLE pending ("
    " id TEXT NOT NULL PRIMARY KEY, protocol TEXT, profile TEXT, user_name TEXT,"
    " device_id TEXT, subject TEXT, endpoint TEXT, transaction_id TEXT,"
    " state BIGINT NOT NULL, approvals_needed BIGINT NOT NULL,"
    " approval_count BIGINT NOT NULL, approvals TEXT NOT NULL, refused_by TEXT,"
    " reason TEXT, serial TEXT, expires BIGINT NOT NULL, request BYTEA NOT NULL,"
    " signer_spki_sha256 BYTEA NOT NULL, request_sha256 BYTEA NOT NULL,"
    " transaction_key BYTEA, challenge TEXT, replaces TEXT, granted TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX pending_live ON pending (transaction_key) WHERE state < 2",
    "CREATE INDEX pending_transaction ON pending (transaction_key, created)",
    "CREATE INDEX pending_waiting ON pending (id) WHERE state = 0",
    "CREATE INDEX pending_expires ON pending (expires) WHERE state < 2",

    NULL,
};

static const char *const step_2[] = {
    /* password: of local users */
    "CREATE TABLE user_password ("
    " user_name TEXT NOT NULL PRIMARY KEY, verifier TEXT NOT NULL,"
    " tries BIGINT NOT NULL, locked_until BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",

    /* user: mailboxes are typed in any case */
    "CREATE INDEX users_email_lower ON users (lower(email))",

    NULL,
};

/* Devices under management. `session` is who sent a command, until `lease`; `claim` is
 * the statement that took it, so that the taker finds what it took. */
static const char *const step_3[] = {
    "CREATE TABLE device_management ("
    " device_id TEXT NOT NULL PRIMARY KEY REFERENCES device (id) ON DELETE CASCADE,"
    " peer_id TEXT NOT NULL, name TEXT, secret_md5 BYTEA, nonce TEXT, spare TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX device_management_peer ON device_management (peer_id)",
    "CREATE TABLE device_command ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " device_id TEXT NOT NULL REFERENCES device (id) ON DELETE CASCADE,"
    " number BIGINT NOT NULL, content TEXT NOT NULL, state BIGINT NOT NULL,"
    " result TEXT, attempts BIGINT NOT NULL, sent BIGINT NOT NULL,"
    " finished BIGINT NOT NULL, created_by TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL,"
    " session TEXT, claim TEXT, lease BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX device_command_number ON device_command (device_id, number)",
    "CREATE INDEX device_command_waiting ON device_command (device_id, number)"
    " WHERE state < 2",
    "CREATE INDEX device_command_finished ON device_command (finished)"
    " WHERE state >= 2",

    NULL,
};

static const char *const step_4[] = {
    /* activation: a user's passwords, one open one for each ref; verifiers by the login
     * names that a device may say, of open passwords alone */
    "CREATE TABLE activation ("
    " id TEXT NOT NULL PRIMARY KEY, user_name TEXT NOT NULL, ref TEXT NOT NULL,"
    " profile TEXT, expires BIGINT NOT NULL, devices BIGINT NOT NULL,"
    " taken BIGINT NOT NULL, lockout BIGINT NOT NULL, tries BIGINT NOT NULL, failures "
    "BIGINT NOT NULL,"
    " refusals BIGINT NOT NULL, next_try BIGINT NOT NULL, state BIGINT NOT NULL,"
    " used BIGINT NOT NULL, created_by TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX activation_open ON activation (user_name, ref)"
    " WHERE state = 0",
    "CREATE INDEX activation_user ON activation (user_name, id)",
    "CREATE TABLE activation_verifier ("
    " id TEXT NOT NULL PRIMARY KEY,"
    " activation TEXT NOT NULL REFERENCES activation (id) ON DELETE CASCADE,"
    " login TEXT NOT NULL, ref TEXT NOT NULL, kid TEXT NOT NULL, blob BYTEA NOT NULL)",
    "CREATE UNIQUE INDEX activation_verifier_login"
    " ON activation_verifier (login, ref)",
    "CREATE INDEX activation_verifier_activation ON activation_verifier (activation)",

    NULL,
};

static const char *const step_5[] = {
    /* authority: the same key in another token */
    "ALTER TABLE authority ADD COLUMN standby_key TEXT",

    NULL,
};

static const char *const step_6[] = {
    /* instance: the daemons of the domain, each with its last sign of life */
    "CREATE TABLE instance ("
    " name TEXT NOT NULL PRIMARY KEY, url TEXT, capacity BIGINT NOT NULL,"
    " release TEXT NOT NULL, heartbeat BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",

    NULL,
};

static const char *const step_7[] = {
    /* device_management: the nodes that the policy has put on the device, JSON */
    "ALTER TABLE device_management ADD COLUMN nodes TEXT",

    NULL,
};

static const char *const step_8[] = {
    /* sealing: keys that seal secrets, and the server keys of activation */
    "CREATE TABLE sealing_key ("
    " kid TEXT NOT NULL PRIMARY KEY, method BIGINT NOT NULL, key TEXT NOT NULL,"
    " tag_key TEXT, is_current BIGINT NOT NULL, created BIGINT NOT NULL, blob BYTEA)",
    "CREATE UNIQUE INDEX sealing_key_current ON sealing_key (is_current)"
    " WHERE is_current = 1",
    "CREATE TABLE server_key ("
    " name TEXT NOT NULL PRIMARY KEY, kid TEXT NOT NULL, blob BYTEA NOT NULL)",

    /* activation_session: one hello each, spent by one enroll; scalar sealed */
    "CREATE TABLE activation_session ("
    " sn TEXT NOT NULL PRIMARY KEY, source TEXT NOT NULL, expires BIGINT NOT NULL,"
    " state BIGINT NOT NULL, content TEXT, scalar BYTEA, activation TEXT NOT NULL,"
    " digest BYTEA, http_status BIGINT NOT NULL, answer BYTEA)",
    "CREATE INDEX activation_session_expires ON activation_session (expires)",
    "CREATE TABLE activation_failure ("
    " name TEXT NOT NULL PRIMARY KEY, count BIGINT NOT NULL, expires BIGINT NOT NULL)",
    "CREATE INDEX activation_failure_expires ON activation_failure (expires)",

    NULL,
};

static const char *const step_9[] = {
    /* outbox: `secret` is sealed by the key `kid`, and gone with a mail's end */
    "CREATE TABLE outbox ("
    " id TEXT NOT NULL PRIMARY KEY, template TEXT NOT NULL, user_name TEXT,"
    " ref TEXT NOT NULL, recipient TEXT NOT NULL, content TEXT NOT NULL, kid TEXT,"
    " secret BYTEA, state BIGINT NOT NULL, attempts BIGINT NOT NULL,"
    " next_try BIGINT NOT NULL, expires BIGINT NOT NULL, sent BIGINT NOT NULL,"
    " failure TEXT, created_by TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE INDEX outbox_waiting ON outbox (next_try, id) WHERE state = 0",
    "CREATE INDEX outbox_user ON outbox (user_name, id)",
    "CREATE INDEX outbox_updated ON outbox (updated)",

    /* letter: mail templates that differ, or once did, from those in the program;
     * `content` NULL: the program's own */
    "CREATE TABLE letter ("
    " name TEXT NOT NULL PRIMARY KEY, subject TEXT, content TEXT, html TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE TABLE letter_version ("
    " name TEXT NOT NULL, subject TEXT, content TEXT, html TEXT,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL,"
    " PRIMARY KEY (name, version))",

    NULL,
};

static const char *const step_10[] = {
    /* pending: how the protocol asked, for the certificate after approval */
    "ALTER TABLE pending ADD COLUMN flags BIGINT NOT NULL DEFAULT 0",

    NULL,
};

static const char *const step_11[] = {
    /* roster: who comes from the directory, which groups it fills, its last sync */
    "CREATE TABLE directory_entry ("
    " id TEXT NOT NULL PRIMARY KEY, user_name TEXT NOT NULL, dn TEXT NOT NULL,"
    " disabled BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX directory_entry_user ON directory_entry (user_name)",
    "CREATE TABLE directory_group (group_name TEXT NOT NULL PRIMARY KEY)",
    "CREATE TABLE directory_run ("
    " id BIGINT NOT NULL PRIMARY KEY CHECK (id = 1), started BIGINT NOT NULL,"
    " finished BIGINT NOT NULL, outcome TEXT NOT NULL, message TEXT,"
    " counts TEXT NOT NULL)",

    NULL,
};

static const char *const step_12[] = {
    /* offer: what an activated device was told to enrol by, an unused one for each
     * device and profile */
    "CREATE TABLE offer ("
    " id TEXT NOT NULL PRIMARY KEY, device_id TEXT NOT NULL, user_name TEXT NOT NULL,"
    " profile TEXT NOT NULL, profile_version BIGINT NOT NULL,"
    " secret_sha256 BYTEA, path_sha256 BYTEA NOT NULL,"
    " subject BYTEA NOT NULL, san TEXT NOT NULL, key_rule TEXT NOT NULL,"
    " spki BYTEA, request_sha256 BYTEA, serial TEXT,"
    " state BIGINT NOT NULL, mismatches BIGINT NOT NULL,"
    " minute BIGINT NOT NULL, forwards BIGINT NOT NULL, expires BIGINT NOT NULL,"
    " created BIGINT NOT NULL, updated BIGINT NOT NULL, version BIGINT NOT NULL)",
    "CREATE UNIQUE INDEX offer_open ON offer (device_id, profile) WHERE state = 0",
    "CREATE INDEX offer_device ON offer (device_id, profile)",
    "CREATE UNIQUE INDEX offer_secret ON offer (secret_sha256)"
    " WHERE secret_sha256 IS NOT NULL",
    "CREATE UNIQUE INDEX offer_path ON offer (path_sha256)",
    "CREATE INDEX offer_expires ON offer (expires)",

    NULL,
};

static const char *const step_13[] = {
    /* challenge: whether a managed device was offered one a while ago */
    "CREATE INDEX challenge_device ON challenge (device_id, profile, created)"
    " WHERE device_id IS NOT NULL",

    NULL,
};

static const char *const step_14[] = {
    /* webhook: how far an instance's audit log is delivered to each */
    "CREATE TABLE webhook ("
    " instance TEXT NOT NULL, name TEXT NOT NULL, number BIGINT NOT NULL,"
    " attempts BIGINT NOT NULL, next_try BIGINT NOT NULL, failure TEXT,"
    " updated BIGINT NOT NULL, PRIMARY KEY (instance, name))",

    NULL,
};

static const char *const step_15[] = {
    /* state: the key of log-ins' cookies is one for each day from now on */
    "DELETE FROM state WHERE space = 'core/provider-key'",

    NULL,
};

static const char *const step_16[] = {
    /* activation_session: whose work a spent one is, which ends with that process */
    "ALTER TABLE activation_session ADD COLUMN run TEXT",

    NULL,
};

static const char *const step_17[] = {
    /* device: of a user who is gone is of nobody */
    "UPDATE device SET owner = NULL, version = version + 1 WHERE owner IS NOT NULL "
    "AND NOT EXISTS (SELECT 1 FROM users WHERE name = device.owner)",

    NULL,
};

const struct schema_step schema_steps[] = {
    { 1, step_1 },   { 2, step_2 },   { 3, step_3 },   { 4, step_4 },   { 5, step_5 },
    { 6, step_6 },   { 7, step_7 },   { 8, step_8 },   { 9, step_9 },   { 10, step_10 },
    { 11, step_11 }, { 12, step_12 }, { 13, step_13 }, { 14, step_14 }, { 15, step_15 },
    { 16, step_16 }, { 17, step_17 },
};
const size_t schema_step_count = sizeof schema_steps / sizeof schema_steps[0];
