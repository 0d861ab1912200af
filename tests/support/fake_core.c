/* The double's CA, its keys and its requests; fake_calls.c answers. */
#include "fake_inner.h"
#include <openssl/rand.h>
#include <openssl/x509v3.h>

static void
extension_add(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    MUST(extension && X509_add_ext(certificate, extension, -1) == 1);
    X509_EXTENSION_free(extension);
}

static X509 *
certificate_make(EVP_PKEY *key, const char *cn, X509 *issuer, EVP_PKEY *issuer_key,
                 const char *usage)
{
    uint64_t serial;
    X509 *certificate = X509_new();
    MUST(certificate && RAND_bytes((unsigned char *)&serial, sizeof serial) == 1);
    X509_NAME *name = X509_get_subject_name(certificate);
    MUST(X509_set_version(certificate, X509_VERSION_3) == 1);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial | 1);
    MUST(X509_gmtime_adj(X509_getm_notBefore(certificate), -3600));
    MUST(X509_gmtime_adj(X509_getm_notAfter(certificate), 86400));
    MUST(X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                    (const unsigned char *)cn, -1, -1, 0) == 1);
    X509_set_issuer_name(certificate, issuer ? X509_get_subject_name(issuer) : name);
    MUST(X509_set_pubkey(certificate, key) == 1);
    if (usage)
        extension_add(certificate, issuer ? issuer : certificate, NID_key_usage, usage);
    MUST(X509_sign(certificate, issuer_key, EVP_sha256()) > 0);
    return certificate;
}

static struct ca_key
ra_make(const char *cn, X509 *issuer, EVP_PKEY *issuer_key, uint32_t usage)
{
    const char *text = usage == KU_DIGITAL_SIGNATURE ? "critical,digitalSignature"
                       : usage == KU_KEY_ENCIPHERMENT
                           ? "critical,keyEncipherment"
                           : "critical,digitalSignature,keyEncipherment";
    struct ca_key key = { .pkey = EVP_RSA_gen(2048) };
    MUST(key.pkey);
    key.certificate = certificate_make(key.pkey, cn, issuer, issuer_key, text);
    return key;
}

void
fake_core_open(struct fake_core *core)
{
    *core = (struct fake_core){ .challenge = "5A1E", .poll = CA_NOT_FOUND };
    core->issuer_key = EVP_EC_gen("P-256");
    MUST(core->issuer_key);
    EVP_PKEY *root_key = EVP_EC_gen("P-256");
    core->root = certificate_make(root_key, "Root", NULL, root_key,
                                  "critical,keyCertSign,cRLSign");
    core->issuer = certificate_make(core->issuer_key, "Issuing CA", core->root,
                                    root_key, "critical,keyCertSign,cRLSign");
    EVP_PKEY_free(root_key);
    core->chain[0] = core->issuer;
    core->chain[1] = core->root;
    core->settings =
        json_pack("{s:s, s:b, s:b, s:b, s:b, s:b}", "certificate", "default", "sha1", 0,
                  "des3", 1, "get_crl", 0, "include_issuer", 0, "include_root", 0);
    MUST(core->settings);
    fake_core_add_ra(core, "RA 1", 0);
}

void
fake_core_add_ra(struct fake_core *core, const char *cn, uint32_t usage)
{
    MUST(core->ra_count < FAKE_RA_MAX);
    core->ra[core->ra_count++] = ra_make(cn, core->issuer, core->issuer_key, usage);
}

void
fake_core_add_next(struct fake_core *core)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    core->next = certificate_make(key, "Next CA", NULL, key, "critical,keyCertSign");
    core->next_chain[0] = core->next;
    core->next_ra = ra_make("Next RA", core->next, key, 0);
    EVP_PKEY_free(key);
}

X509 *
fake_core_certify(struct fake_core *core, EVP_PKEY *key, const char *cn)
{
    return certificate_make(key, cn, core->issuer, core->issuer_key, NULL);
}

void
fake_core_forget(struct fake_core *core)
{
    while (core->memory) {
        struct fake_memory *next = core->memory->next;
        free(core->memory);
        core->memory = next;
    }
    json_decref(core->json);
    core->json = NULL;
    while (core->key_count > 0)
        EVP_PKEY_free(core->keys[--core->key_count]);
    free(core->body);
    core->body = NULL;
    core->size = 0;
    X509_free(core->certificate);
    core->certificate = NULL;
}

void
fake_core_request(struct fake_core *core, const char *method, const char *rest,
                  const char *query, const void *body, size_t size)
{
    fake_core_forget(core);
    core->request = (struct ca_request){
        .id = "0123456789abcdef",
        .method = method,
        .path = "/scep",
        .rest = rest,
        .query = query,
        .content_type = "",
        .authorization = "",
        .peer = "192.0.2.1",
        .body = { body, size },
    };
    core->polls = core->authenticates = core->enrolls = core->lookups = 0;
    core->decrypts = core->refusals = core->logins = 0;
    core->security_policy[0] = '\0';
    core->kind = CA_CREDENTIAL_NONE;
    core->message[0] = core->endpoint[0] = core->secret[0] = core->reason[0] = '\0';
    core->serial[0] = '\0';
    core->secret_size = 0;
    core->refused_verified = core->poll_had_request = false;
    core->pkcs10 = (struct ca_bytes){ 0 };
    core->http_status = 0;
    core->content_type[0] = core->retry_after[0] = core->cache_control[0] = '\0';
    core->etag[0] = '\0';
}

static void
key_clear(struct ca_key *key)
{
    X509_free(key->certificate);
    EVP_PKEY_free(key->pkey);
}

void
fake_core_close(struct fake_core *core)
{
    fake_core_forget(core);
    for (size_t i = 0; i < core->ra_count; i++)
        key_clear(&core->ra[i]);
    key_clear(&core->next_ra);
    X509_free(core->next);
    X509_free(core->issuer);
    X509_free(core->root);
    EVP_PKEY_free(core->issuer_key);
    json_decref(core->settings);
    *core = (struct fake_core){ 0 };
}

void
fake_core_keep_json(struct ca_request *req, json_t *json)
{
    json_decref(core_of(req)->json);
    core_of(req)->json = json;
}
