/* The double's calls of plugin.h: each answers by the script and records what was
 * asked. */
#include "fake_inner.h"
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <string.h>
#include <time.h>

/* ---- The request and the answer ---- */

void *
ca_request_alloc(struct ca_request *req, size_t size)
{
    struct fake_core *core = core_of(req);
    struct fake_memory *memory = calloc(1, sizeof *memory + size);
    MUST(memory);
    memory->next = core->memory;
    core->memory = memory;
    return memory->data;
}

const char *
ca_request_header(const struct ca_request *req, const char *name)
{
    const struct fake_core *core = (const struct fake_core *)(const void *)req;
    return strcmp(name, "If-None-Match") == 0 ? core->if_none_match : NULL;
}

/* The value of a name in a raw query; doubled is CA_MALFORMED. */
enum ca_status
ca_request_query_raw(struct ca_request *req, const char *name, const char **ret_value,
                     size_t *ret_size)
{
    size_t length = strlen(name);
    const char *found = NULL;
    size_t size = 0;
    for (const char *at = req->query; *at; at += strcspn(at, "&"), at += *at == '&') {
        if (strncmp(at, name, length) != 0 || at[length] != '=')
            continue;
        if (found)
            return ca_fail(CA_MALFORMED, "'%s' twice", name);
        found = at + length + 1;
        size = strcspn(found, "&");
    }
    *ret_value = found;
    *ret_size = size;
    return CA_OK;
}

enum ca_status
ca_request_query(struct ca_request *req, const char *name, const char **ret_value)
{
    const char *raw;
    size_t size;
    enum ca_status status = ca_request_query_raw(req, name, &raw, &size);
    if (status != CA_OK)
        return status;
    *ret_value = NULL;
    if (!raw)
        return CA_OK;
    char *text = ca_request_alloc(req, size + 1);
    memcpy(text, raw, size);
    if (strchr(text, '%'))
        return ca_fail(CA_MALFORMED, "escape");
    *ret_value = text;
    return CA_OK;
}

enum ca_status
ca_respond(struct ca_request *req, int http_status, const char *content_type,
           const void *body, size_t size)
{
    struct fake_core *core = core_of(req);
    free(core->body);
    core->body = malloc(size + 1);
    MUST(core->body);
    memcpy(core->body, body, size);
    core->size = size;
    core->http_status = http_status;
    snprintf(core->content_type, sizeof core->content_type, "%s",
             content_type ? content_type : "");
    return CA_OK;
}

enum ca_status
ca_respond_header(struct ca_request *req, const char *name, const char *value)
{
    struct fake_core *core = core_of(req);
    if (strcmp(name, "Retry-After") == 0)
        snprintf(core->retry_after, sizeof core->retry_after, "%s", value);
    if (strcmp(name, "Content-Security-Policy") == 0)
        snprintf(core->security_policy, sizeof core->security_policy, "%s", value);
    if (strcmp(name, "Cache-Control") == 0)
        snprintf(core->cache_control, sizeof core->cache_control, "%s", value);
    if (strcmp(name, "ETag") == 0)
        snprintf(core->etag, sizeof core->etag, "%s", value);
    return CA_OK;
}

int64_t
ca_now(const struct ca_request *req)
{
    int64_t now = ((const struct fake_core *)(const void *)req)->now;
    return now > 0 ? now : (int64_t)time(NULL);
}

void
ca_log(struct ca_request *req, const char *format, ...)
{
    (void)req;
    (void)format;
}

/* ---- Who and what ---- */

static void
credential_keep(struct fake_core *core, const struct ca_credential *credential)
{
    core->kind = credential->kind;
    snprintf(core->message, sizeof core->message, "%s", credential->message);
    snprintf(core->endpoint, sizeof core->endpoint, "%s", credential->endpoint);
    snprintf(core->secret, sizeof core->secret, "%s",
             credential->secret ? credential->secret : "");
    core->secret_size = credential->secret_size;
}

enum ca_status
ca_authenticate(struct ca_request *req, const struct ca_credential *credential)
{
    struct fake_core *core = core_of(req);
    core->authenticates++;
    credential_keep(core, credential);
    if (core->store != CA_OK)
        return ca_fail(core->store, "store");
    switch (credential->kind) {
    case CA_CREDENTIAL_CHALLENGE:
        if (strcmp(credential->message, "19") != 0)
            return ca_fail(CA_FORBIDDEN, "not with a challenge");
        if (!credential->secret || credential->secret_size != strlen(core->challenge) ||
            memcmp(credential->secret, core->challenge, credential->secret_size) != 0)
            return ca_fail(CA_UNAUTHENTICATED, "wrong challenge");
        return CA_OK;
    case CA_CREDENTIAL_CERTIFICATE:
        if (X509_verify(credential->certificate, core->issuer_key) != 1)
            return ca_fail_openssl(CA_UNAUTHENTICATED, "not ours");
        return CA_OK;
    case CA_CREDENTIAL_KEY:
        return strcmp(credential->message, "22") == 0
                   ? CA_OK
                   : ca_fail(CA_FORBIDDEN, "not with a key");
    case CA_CREDENTIAL_PASSWORD:
        if (!core->password || strcmp(core->user, credential->user) != 0 ||
            strcmp(core->password, credential->secret) != 0)
            return ca_fail(CA_UNAUTHENTICATED, "wrong password");
        return CA_OK;
    case CA_CREDENTIAL_LOGIN_TOKEN:
        if (!core->login || strcmp(core->login, credential->secret) != 0)
            return ca_fail(CA_UNAUTHENTICATED, "wrong token");
        return CA_OK;
    case CA_CREDENTIAL_PROVIDER:
        return core->provider_status == CA_OK
                   ? CA_OK
                   : ca_fail(core->provider_status, "the provider's word");
    case CA_CREDENTIAL_NONE:
    case CA_CREDENTIAL_KIND_COUNT: break;
    }
    return ca_fail(CA_FORBIDDEN, "no such credential");
}

static enum ca_status
issued_give(struct ca_request *req, X509 *certificate, struct ca_issued *ret_issued)
{
    int size = i2d_X509(certificate, NULL);
    uint8_t *der = ca_request_alloc(req, (size_t)size), *at = der;
    MUST(i2d_X509(certificate, &at) == size);
    *ret_issued = (struct ca_issued){ .der = { der, (size_t)size },
                                      .serial = "01",
                                      .profile = "default" };
    return CA_OK;
}

enum ca_status
ca_poll(struct ca_request *req, const struct ca_credential *credential,
        const struct ca_enrolment *enrolment, struct ca_issued *ret_issued)
{
    struct fake_core *core = core_of(req);
    core->polls++;
    credential_keep(core, credential);
    core->poll_had_request = enrolment->pkcs10.data != NULL;
    MUST(enrolment->transaction && (credential->certificate != NULL) ==
                                       (credential->kind == CA_CREDENTIAL_CERTIFICATE));
    MUST(credential->certificate || enrolment->signer_key.size > 0);
    if (core->store != CA_OK)
        return ca_fail(core->store, "store");
    if (core->polls <= core->poll_late)
        return ca_fail(CA_NOT_FOUND, "nothing yet");
    if (core->poll == CA_OK)
        return issued_give(req, core->issued, ret_issued);
    return core->poll;
}

enum ca_status
ca_enroll(struct ca_request *req, const struct ca_enrolment *enrolment,
          struct ca_issued *ret_issued)
{
    struct fake_core *core = core_of(req);
    core->enrolls++;
    core->pkcs10 = enrolment->pkcs10;
    if (core->enroll != CA_OK)
        return core->enroll;
    const uint8_t *at = enrolment->pkcs10.data;
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)enrolment->pkcs10.size);
    EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;
    if (!key || X509_REQ_verify(request, key) != 1) {
        X509_REQ_free(request);
        return ca_fail_openssl(CA_FORBIDDEN, "no possession");
    }
    X509_free(core->certificate);
    core->certificate = fake_core_certify(core, key, "issued");
    X509_REQ_free(request);
    return issued_give(req, core->certificate, ret_issued);
}

enum ca_status
ca_lookup(struct ca_request *req, struct ca_bytes issuer_name, const char *serial,
          struct ca_issued *ret_issued)
{
    struct fake_core *core = core_of(req);
    core->lookups++;
    MUST(issuer_name.size > 0);
    snprintf(core->serial, sizeof core->serial, "%s", serial);
    return core->issued ? issued_give(req, core->issued, ret_issued)
                        : ca_fail(CA_NOT_FOUND, "no such certificate");
}

void
ca_refused(struct ca_request *req, const char *protocol, const char *endpoint,
           const char *reason, bool verified)
{
    struct fake_core *core = core_of(req);
    (void)protocol;
    (void)endpoint;
    core->refusals++;
    core->refused_verified = verified;
    snprintf(core->reason, sizeof core->reason, "%s", reason);
}

/* ---- Profiles, chains, keys ---- */

enum ca_status
ca_profile_settings(struct ca_request *req, const char *kind, const char *name,
                    json_t **ret_settings)
{
    struct fake_core *core = core_of(req);
    if (strcmp(kind, "scep") != 0 || strcmp(name, "default") != 0)
        return ca_fail(CA_NOT_FOUND, "no such profile");
    *ret_settings = core->settings;
    return core->store == CA_OK ? CA_OK : ca_fail(core->store, "store");
}

enum ca_status
ca_chain(struct ca_request *req, const char *endpoint, bool next,
         struct ca_chain *ret_chain)
{
    struct fake_core *core = core_of(req);
    MUST(strcmp(endpoint, "scep/default") == 0 ||
         strncmp(endpoint, "certificate/", 12) == 0);
    if (next && !core->next)
        return ca_fail(CA_NOT_FOUND, "no standby");
    *ret_chain = next ? (struct ca_chain){ core->next, core->next_chain, 1 }
                      : (struct ca_chain){ core->issuer, core->chain, 2 };
    return CA_OK;
}

enum ca_status
ca_crl(struct ca_request *req, const char *endpoint, struct ca_bytes *ret_der)
{
    MUST(strcmp(endpoint, "scep/default") == 0);
    struct fake_core *core = core_of(req);
    if (core->crl.size == 0)
        return ca_fail(CA_NOT_FOUND, "no CRL");
    *ret_der = core->crl;
    return CA_OK;
}

EVP_PKEY *
ca_public_key(struct ca_request *req, struct ca_bytes spki)
{
    struct fake_core *core = core_of(req);
    const uint8_t *at = spki.data;
    EVP_PKEY *key = d2i_PUBKEY(NULL, &at, (long)spki.size);
    if (core->key_count < FAKE_KEYS_MAX && key)
        return core->keys[core->key_count++] = key;
    EVP_PKEY_free(key);
    return NULL;
}

X509 *
ca_certificate_decode(struct ca_bytes der)
{
    const uint8_t *at = der.data;
    X509 *certificate = d2i_X509(NULL, &at, (long)der.size);
    if (!certificate || at == der.data + der.size)
        return certificate;
    X509_free(certificate);
    return NULL;
}

enum ca_status
ca_key_get(struct ca_request *req, const char *endpoint, enum ca_key_role role,
           bool next, size_t index, struct ca_key **ret_key)
{
    struct fake_core *core = core_of(req);
    MUST(strcmp(endpoint, "scep/default") == 0 && role == CA_KEY_RA);
    if (next ? index > 0 || !core->next : index >= core->ra_count)
        return ca_fail(CA_NOT_FOUND, "no such key");
    *ret_key = next ? &core->next_ra : &core->ra[index];
    return CA_OK;
}

X509 *
ca_key_certificate(struct ca_key *key)
{
    return key->certificate;
}

EVP_PKEY *
ca_key_pkey(struct ca_key *key)
{
    return key->pkey;
}

enum ca_status
ca_key_decrypt(struct ca_request *req, struct ca_key *key, bool oaep,
               struct ca_bytes encrypted, uint8_t *ret_key, size_t key_size)
{
    struct fake_core *core = core_of(req);
    core->decrypts++;
    if (core->token != CA_OK)
        return ca_fail(core->token, "token");
    uint8_t plain[512];
    size_t size = sizeof plain;
    MUST(RAND_bytes(ret_key, (int)key_size) == 1);
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key->pkey, NULL);
    MUST(context && EVP_PKEY_decrypt_init(context) == 1);
    MUST(EVP_PKEY_CTX_set_rsa_padding(context, oaep ? RSA_PKCS1_OAEP_PADDING
                                                    : RSA_PKCS1_PADDING) == 1);
    if (EVP_PKEY_decrypt(context, plain, &size, encrypted.data, encrypted.size) == 1 &&
        size == key_size)
        memcpy(ret_key, plain, size);
    EVP_PKEY_CTX_free(context);
    return CA_OK;
}

/* ---- People and the organisation ---- */

enum ca_status
ca_login_token_issue(struct ca_request *req, int64_t seconds, const char **ret_text)
{
    struct fake_core *core = core_of(req);
    MUST(seconds > 0 && (core->kind == CA_CREDENTIAL_PASSWORD ||
                         core->kind == CA_CREDENTIAL_PROVIDER));
    core->logins++;
    *ret_text = core->login;
    return CA_OK;
}

const char *
ca_provider_name(struct ca_request *req)
{
    return core_of(req)->provider;
}

enum ca_status
ca_provider_begin(struct ca_request *req, const char *protocol, const char *context)
{
    struct fake_core *core = core_of(req);
    MUST(strcmp(protocol, "discovery") == 0);
    if (!core->provider)
        return ca_fail(CA_UNSUPPORTED, "no provider");
    snprintf(core->provider_context, sizeof core->provider_context, "%s", context);
    return core->provider_status == CA_OK ? ca_respond(req, 303, "", "", 0)
                                          : core->provider_status;
}

enum ca_status
ca_provider_context(struct ca_request *req, const char *protocol,
                    const char **ret_context)
{
    struct fake_core *core = core_of(req);
    MUST(strcmp(protocol, "discovery") == 0);
    if (!core->provider || !core->provider_context[0])
        return ca_fail(CA_UNAUTHENTICATED, "no cookie");
    *ret_context = core->provider_context;
    return CA_OK;
}

enum ca_status
ca_profiles(struct ca_request *req, const char *protocol, ca_profile_visit visit,
            void *arg)
{
    struct fake_core *core = core_of(req);
    enum ca_status status = CA_OK;
    MUST(strcmp(protocol, "wstep") == 0 && core->authenticates > 0);
    for (size_t i = 0; status == CA_OK && i < core->profile_count; i++)
        status = visit(arg, &core->profiles[i]);
    return status;
}

enum ca_status
ca_organisation(struct ca_request *req, struct ca_organisation *ret_organisation)
{
    *ret_organisation = core_of(req)->organisation;
    return CA_OK;
}

/* ---- Paths of activated devices ---- */

enum ca_status
ca_scep_path(struct ca_request *req, const char *profile, const char *token,
             bool *ret_is_upstream)
{
    struct fake_core *core = core_of(req);
    MUST(strcmp(profile, "default") == 0);
    snprintf(core->path_token, sizeof core->path_token, "%s", token);
    if (core->path != CA_OK)
        return ca_fail(core->path, "path");
    *ret_is_upstream = core->upstream != NULL;
    return CA_OK;
}

enum ca_status
ca_scep_forward(struct ca_request *req, const char *profile, const char *token,
                const char *operation, struct ca_bytes message,
                struct ca_scep_reply *ret_reply)
{
    struct fake_core *core = core_of(req);
    MUST(strcmp(profile, "default") == 0 && strcmp(token, core->path_token) == 0);
    snprintf(core->message, sizeof core->message, "%s", operation);
    core->forwarded = message.size;
    core->forwards++;
    if (core->token != CA_OK)
        return ca_fail(core->token, "upstream");
    const struct ca_bytes body = { (const uint8_t *)core->upstream,
                                   strlen(core->upstream) };
    *ret_reply = (struct ca_scep_reply){ "application/x-pki-message", body };
    return CA_OK;
}
