/* The working certificate by the device's SCEP profile (section 13), in the mode that a
 * device with a key of any kind can take: `simple`. */
#include "activate_client.h"
#include "auto.h"
#include "names.h"
#include <openssl/x509v3.h>
#include <string.h>
#include <unistd.h>

#define SCEP_FILE "scep.p12"
#define SCEP_CERTIFICATE_FILE "scep.pem"
#define PROFILE_MAX 64
#define RETRY_MAX 300 /* seconds between two tries */
#define UPN_OID "1.3.6.1.4.1.311.20.2.3"

static const char *
text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* ---- What the profile asks for ---- */

/* The text begins with the last RDN (RFC 4514 section 2.1), DER with the first. */
static enum ca_status
subject_read(const char *text, X509_NAME **ret_name)
{
    CA_AUTO(X509_NAME_free) X509_NAME *read = NULL;
    CA_AUTO(X509_NAME_free) X509_NAME *name = X509_NAME_new();
    int set = -1;
    enum ca_status status = names_parse_subject(text, &read);
    if (status != CA_OK)
        return status;
    for (int i = X509_NAME_entry_count(read) - 1; i >= 0; i--) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(read, i);
        bool joins = X509_NAME_ENTRY_set(entry) == set;
        set = X509_NAME_ENTRY_set(entry);
        if (!name || X509_NAME_add_entry(name, entry, -1, joins ? -1 : 0) != 1)
            return ca_fail_openssl(CA_INTERNAL, "no memory for a subject");
    }
    *ret_name = CA_STEAL(name);
    return CA_OK;
}

static GENERAL_NAME *
upn_make(const char *value)
{
    GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_OBJECT *oid = OBJ_txt2obj(UPN_OID, 1);
    ASN1_TYPE *type = ASN1_TYPE_new();
    ASN1_UTF8STRING *text = ASN1_UTF8STRING_new();
    if (name && oid && type && text && ASN1_STRING_set(text, value, -1) == 1) {
        ASN1_TYPE_set(type, V_ASN1_UTF8STRING, CA_STEAL(text));
        if (GENERAL_NAME_set0_othername(name, oid, type) == 1)
            return name;
    }
    GENERAL_NAME_free(name);
    ASN1_OBJECT_free(oid);
    ASN1_TYPE_free(type);
    ASN1_UTF8STRING_free(text);
    return NULL;
}

static GENERAL_NAME *
name_make(const char *type, const char *value)
{
    static const struct {
        const char *word;
        int type;
    } types[] = { { "rfc822", GEN_EMAIL }, { "uri", GEN_URI }, { "dns", GEN_DNS } };
    if (strcmp(type, "upn") == 0)
        return upn_make(value);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(types[i].word, type) != 0)
            continue;
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        if (name && text && ASN1_STRING_set(text, value, -1) == 1) {
            GENERAL_NAME_set0_value(name, types[i].type, text);
            return name;
        }
        GENERAL_NAME_free(name);
        ASN1_IA5STRING_free(text);
    }
    return NULL;
}

/* The SAN extension; none for a profile without names. */
static enum ca_status
san_read(const json_t *list, STACK_OF(X509_EXTENSION) **ret_extensions)
{
    CA_AUTO(GENERAL_NAMES_free) GENERAL_NAMES *names = GENERAL_NAMES_new();
    size_t i;
    json_t *item;
    json_array_foreach (list, i, item) {
        GENERAL_NAME *name = name_make(text_of(item, "type"), text_of(item, "value"));
        if (!names || !name || sk_GENERAL_NAME_push(names, name) <= 0) {
            GENERAL_NAME_free(name);
            return ca_fail(CA_UNSUPPORTED, "the profile wants a name of kind '%.20s'",
                           text_of(item, "type"));
        }
    }
    if (json_array_size(list) == 0)
        return CA_OK;
    return X509V3_add1_i2d(ret_extensions, NID_subject_alt_name, names, 0,
                           X509V3_ADD_DEFAULT) == 1
               ? CA_OK
               : ca_fail_openssl(CA_INTERNAL, "no memory for names");
}

static enum ca_status
algorithm_read(const json_t *key, char *ret_algorithm, size_t size)
{
    const char *kind = text_of(key, "alg"), *curve = text_of(key, "curve");
    json_int_t bits = json_integer_value(json_object_get(key, "bits"));
    if (strcmp(kind, "rsa") == 0)
        snprintf(ret_algorithm, size, "rsa-%d",
                 (int)(bits > 0 && bits < 9999 ? bits : 0));
    else if (strcmp(kind, "ec") == 0 && strncmp(curve, "P-", 2) == 0)
        snprintf(ret_algorithm, size, "p-%.3s", curve + 2);
    else
        return ca_fail(CA_UNSUPPORTED, "the profile wants a key of kind '%.20s'", kind);
    return CA_OK;
}

static enum ca_status
request_make(EVP_PKEY *key, const json_t *profile, char **ret_csr)
{
    struct key_names names = { .digest =
                                   EVP_get_digestbyname(text_of(profile, "digest")) };
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    enum ca_status status =
        names.digest ? subject_read(text_of(profile, "subject"), &names.subject)
                     : ca_fail(CA_UNSUPPORTED, "the profile's digest");
    if (status == CA_OK)
        status = san_read(json_object_get(profile, "san"), &names.extensions);
    if (status == CA_OK)
        status = key_request(key, &names, &der, &size);
    X509_NAME_free(names.subject);
    sk_X509_EXTENSION_pop_free(names.extensions, X509_EXTENSION_free);
    if (status != CA_OK)
        return status;
    *ret_csr = base64url_format(der, size);
    return *ret_csr ? CA_OK : ca_fail(CA_INTERNAL, "no memory");
}

/* ---- Mode simple ---- */

/* The same request again and again while an upstream is pending. */
static enum ca_status
simple_enroll(struct activate *activate, const json_t *profile, const char *csr,
              struct http_answer *answer)
{
    char path[PROFILE_MAX + 64];
    json_int_t tries = json_integer_value(json_object_get(profile, "retries"));
    CA_AUTO(json_decref) json_t *body = json_pack("{s:i, s:s}", "v", 1, "csr", csr);
    snprintf(path, sizeof path, "/activation/v1/scep/%s/enroll",
             text_of(profile, "profile"));
    const struct http_message message = { "POST", path, body, NULL };
    for (;; tries--) {
        http_answer_clear(answer);
        enum ca_status status = activate_http_call(activate->http, &message, answer);
        if (status != CA_OK)
            return status;
        if (answer->status == 200)
            return CA_OK;
        if (answer->status != 202)
            return activate_http_refused(answer);
        if (tries <= 0)
            return ca_fail(CA_UNAVAILABLE, "the certificate is not ready yet");
        sleep((unsigned)(answer->retry_after > 0 && answer->retry_after <= RETRY_MAX
                             ? answer->retry_after
                             : RETRY_MAX));
    }
}

static enum ca_status
simple_run(struct activate *activate, const json_t *profile, struct key_issued *issued)
{
    char algorithm[16];
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = NULL;
    CA_AUTO(free) char *uri = NULL;
    CA_AUTO(free) char *csr = NULL;
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    enum ca_status status =
        algorithm_read(json_object_get(profile, "key"), algorithm, sizeof algorithm);
    if (status == CA_OK)
        status = key_make(&activate->place, &(struct key_kind){ "scep", algorithm },
                          &key, &uri);
    if (status == CA_OK)
        status = request_make(key, profile, &csr);
    if (status == CA_OK)
        status = simple_enroll(activate, profile, csr, &answer);
    if (status == CA_OK)
        status = key_issued_read(answer.body, key, issued);
    return status == CA_OK && uri ? activate_tell(activate, "scep_key", uri) : status;
}

/* Further modes are rows. */
static const struct {
    const char *word;
    enum ca_status (*run)(struct activate *activate, const json_t *profile,
                          struct key_issued *ret_issued);
} modes[] = { { "simple", simple_run } };

static enum ca_status
mode_run(struct activate *activate, const json_t *profile,
         struct key_issued *ret_issued)
{
    const json_t *offered = json_object_get(profile, "modes");
    const char *name = text_of(profile, "profile");
    if (!*name || strlen(name) > PROFILE_MAX ||
        name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                          "0123456789._-")] != '\0')
        return ca_fail(CA_MALFORMED, "the server's SCEP profile has no name");
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        for (size_t j = 0; j < json_array_size(offered); j++) {
            const char *word = json_string_value(json_array_get(offered, j));
            if (word && strcmp(word, modes[i].word) == 0)
                return modes[i].run(activate, profile, ret_issued);
        }
    }
    return ca_fail(CA_UNSUPPORTED, "profile '%s' has no mode that this client takes",
                   name);
}

/* From now on the device is known by its working certificate. */
static enum ca_status
issued_use(struct activate *activate, const json_t *profile,
           const struct key_issued *issued)
{
    const char *url = text_of(activate->outcome, "url");
    enum ca_status status =
        key_issued_write(issued, activate->options->out,
                         activate->out_password ? SCEP_FILE : SCEP_CERTIFICATE_FILE,
                         activate->out_password);
    if (status == CA_OK)
        status = activate_tell(activate, "scep_profile", text_of(profile, "profile"));
    return status == CA_OK ? activate_http_pin(activate->http, url,
                                               key_issued_root(&activate->issued),
                                               issued->certificate, issued->key)
                           : status;
}

enum ca_status
activate_scep(struct activate *activate)
{
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    struct key_issued issued = { 0 };
    enum ca_status status = activate_http_call(
        activate->http,
        &(struct http_message){ "GET", "/activation/v1/scep-profile", NULL, NULL },
        &answer);
    if (status != CA_OK)
        return status;
    if (answer.status == 404)
        return ca_fail(CA_NOT_FOUND, "the server has no SCEP profile for this device");
    if (answer.status != 200)
        return activate_http_refused(&answer);
    status = mode_run(activate, answer.body, &issued);
    if (status == CA_OK)
        status = issued_use(activate, answer.body, &issued);
    key_issued_clear(&issued);
    return status;
}
