/* The record of a ceremony: the transcript's digest, signed by the audit key, in the
 * audit log; and its verification. */
#include "audit.h"
#include "auto.h"
#include "ceremony_script.h"
#include "certificate.h"
#include "text.h"
#include <string.h>

#define SIGNATURE_MAX 1024
#define ACTION "ceremony.run"

/* ---- The audit key ---- */

struct audit_keys {
    const char *name; /* NULL: the current one */
    char *uri, *found;
};

static enum ca_status
visit_helper(const void *record, void *arg)
{
    const struct helper *helper = record;
    struct audit_keys *keys = arg;
    bool fits = keys->name ? strcmp(helper->name, keys->name) == 0 : helper->current;
    if (helper->role != HELPER_AUDIT || !fits || keys->uri)
        return CA_OK;
    keys->uri = strdup(helper->key);
    keys->found = strdup(helper->name);
    return keys->uri && keys->found ? CA_OK : ca_fail(CA_INTERNAL, "no memory");
}

static enum ca_status
keys_step(struct store_tx *tx, void *arg)
{
    struct audit_keys *keys = arg;
    free(CA_STEAL(keys->uri));
    free(CA_STEAL(keys->found));
    return helper_list(tx, visit_helper, keys);
}

/* `ret_name` may be NULL. */
static enum ca_status
audit_key_find(struct store *store, struct token_set *tokens, const char *name,
               struct token_key **ret_key, char **ret_name)
{
    struct audit_keys keys = { .name = name };
    enum ca_status status = store_read(store, keys_step, &keys);
    if (status == CA_OK && !keys.uri)
        status = ca_fail(CA_NOT_FOUND,
                         "there is no audit key%s%s: an act \"helper\" "
                         "with the role audit makes one",
                         name ? " " : "", name ? name : "");
    if (status == CA_OK)
        status = token_key_find(tokens, keys.uri, TOKEN_USE_SIGN, NULL, ret_key);
    free(keys.uri);
    if (status == CA_OK && ret_name)
        *ret_name = CA_STEAL(keys.found);
    free(keys.found);
    return status;
}

/* ---- Writing ---- */

struct record {
    const struct ceremony *ceremony;
    const char *title, *outcome, *key;
    char sha256[65];
    char *signature;
};

static enum ca_status
record_step(struct store_tx *tx, void *arg)
{
    const struct record *record = arg;
    char object[96];
    snprintf(object, sizeof object, "ceremony:%s", record->sha256);
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s, s:s, s:s}", "title", record->title, "key", record->key,
                  "transcript_sha256", record->sha256, "signature", record->signature);
    return audit_append(tx, &(struct audit_entry){
                                .action = ACTION,
                                .actor = ceremony_actor(record->ceremony),
                                .object = object,
                                .protocol = "command",
                                .outcome = record->outcome,
                                .detail = detail,
                            });
}

enum ca_status
ceremony_record_append(const struct ceremony *ceremony, const char *transcript,
                       size_t size, const char *title, const char *outcome)
{
    struct token_key *key = NULL;
    CA_AUTO(free) char *name = NULL;
    CA_AUTO(free) char *text = NULL;
    uint8_t signature[SIGNATURE_MAX];
    size_t length = 0;
    struct record record = { .ceremony = ceremony, .title = title, .outcome = outcome };
    enum ca_status status =
        audit_key_find(ceremony->store, ceremony->tokens, NULL, &key, &name);
    if (status == CA_OK)
        status = ceremony_sha256(transcript, size, record.sha256);
    if (status == CA_OK)
        status = token_sign(key, EVP_sha256(), transcript, size, signature,
                            sizeof signature, &length);
    if (status != CA_OK)
        return status;
    text = base64_format(signature, length);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a signature");
    record.key = name;
    record.signature = text;
    return store_write(ceremony->store, record_step, &record);
}

/* ---- Verifying ---- */

struct lookup {
    char object[96];
    json_t *detail;
    const json_t *acts; /* the transcript's */
};

static enum ca_status
visit_entry(const void *entry, void *arg)
{
    const struct audit_row *row = entry;
    struct lookup *lookup = arg;
    if (lookup->detail || row->number < 0)
        return CA_OK;
    lookup->detail = json_incref(row->detail);
    return CA_OK;
}

/* Is the certificate that an act made in the inventory, octet by octet? */
static enum ca_status
act_check(struct store_tx *tx, const json_t *act)
{
    const char *serial = json_string_value(json_object_get(act, "serial"));
    const char *wanted = json_string_value(json_object_get(act, "sha256"));
    struct certificate certificate = { 0 };
    char hex[65];
    if (!serial || !wanted)
        return CA_OK;
    enum ca_status status = certificate_load(tx, NULL, serial, &certificate);
    if (status == CA_OK)
        status = ceremony_sha256(certificate.der, certificate.der_size, hex);
    certificate_clear(&certificate);
    if (status == CA_OK && strcmp(hex, wanted) != 0)
        status = ca_fail(CA_CONFLICT, "certificate %s is not the transcript's", serial);
    return status;
}

static enum ca_status
lookup_step(struct store_tx *tx, void *arg)
{
    struct lookup *lookup = arg;
    const struct audit_filter filter = { .action = ACTION, .object = lookup->object };
    struct record_page page = { .limit = 2 };
    json_decref(CA_STEAL(lookup->detail));
    enum ca_status status = audit_list(tx, &filter, &page, visit_entry, lookup);
    if (status == CA_OK && !lookup->detail)
        status =
            ca_fail(CA_NOT_FOUND, "the audit has no ceremony with this transcript");
    size_t i;
    const json_t *act;
    json_array_foreach (lookup->acts, i, act) {
        if (status == CA_OK)
            status = act_check(tx, act);
    }
    return status;
}

static enum ca_status
audit_step(struct store_tx *tx, void *arg)
{
    struct audit_verdict *verdict = arg;
    enum ca_status status = audit_verify(tx, verdict);
    if (status == CA_OK && verdict->bad > 0)
        status =
            ca_fail(CA_CONFLICT, "the audit is not as it was written: entry %s: %s",
                    verdict->first_number, verdict->first_reason);
    return status;
}

static enum ca_status
signature_check(struct token_key *key, const json_t *detail, const char *transcript,
                size_t size)
{
    const char *text = json_string_value(json_object_get(detail, "signature"));
    uint8_t signature[SIGNATURE_MAX];
    size_t length = 0;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *public = token_key_pkey(key);
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!text || base64_parse(text, strlen(text), BASE64_STRICT, signature,
                              sizeof signature, &length) != CA_OK)
        return ca_fail(CA_CONFLICT, "the record has no signature");
    if (!context || !public ||
        EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, public) != 1 ||
        EVP_DigestVerify(context, signature, length, (const unsigned char *)transcript,
                         size) != 1)
        return ca_fail_openssl(CA_CONFLICT, "the record's signature does not verify");
    return CA_OK;
}

enum ca_status
ceremony_record_verify(struct store *store, struct token_set *tokens,
                       const char *transcript, size_t size)
{
    CA_AUTO(json_decref) json_t *json = NULL;
    struct lookup lookup = { 0 };
    struct audit_verdict verdict;
    struct token_key *key = NULL;
    char sha256[65];
    enum ca_status status = ceremony_sha256(transcript, size, sha256);
    if (status == CA_OK)
        status = field_parse(transcript, size, size + 1, &json);
    if (status != CA_OK)
        return status;
    snprintf(lookup.object, sizeof lookup.object, "ceremony:%s", sha256);
    lookup.acts = json_object_get(json, "acts");
    status = store_read(store, lookup_step, &lookup);
    CA_AUTO(json_decref) json_t *detail = lookup.detail;
    if (status == CA_OK)
        status = store_read(store, audit_step, &verdict);
    if (status == CA_OK)
        status = audit_key_find(store, tokens,
                                json_string_value(json_object_get(detail, "key")), &key,
                                NULL);
    return status == CA_OK ? signature_check(key, detail, transcript, size) : status;
}
