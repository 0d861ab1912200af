/* The SCEP profile of a device, member by member. */
#include "activate_wanted.h"
#include "activate_exchange.h"
#include "auto.h"
#include "names.h"
#include "names_compare.h"
#include <string.h>

#define PROFILE_MAX 64
#define DELAY_MAX 300 /* seconds between two tries */
#define RETRIES_MAX 1000
#define NAME_LETTERS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"
#define UPN_OID "1.3.6.1.4.1.311.20.2.3"

static const char *
text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

/* ---- Names ---- */

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

static enum ca_status
san_read(const json_t *list, GENERAL_NAMES **ret_names)
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
    if (json_array_size(list) > 0)
        *ret_names = CA_STEAL(names);
    return CA_OK;
}

/* ---- The rest ---- */

static enum ca_status
key_read(const json_t *key, struct wanted *wanted)
{
    const char *kind = text_of(key, "alg"), *curve = text_of(key, "curve");
    json_int_t bits = json_integer_value(json_object_get(key, "bits"));
    wanted->is_rsa = strcmp(kind, "rsa") == 0;
    if (wanted->is_rsa)
        snprintf(wanted->algorithm, sizeof wanted->algorithm, "rsa-%d",
                 (int)(bits > 0 && bits < 9999 ? bits : 0));
    else if (strcmp(kind, "ec") == 0 && strncmp(curve, "P-", 2) == 0)
        snprintf(wanted->algorithm, sizeof wanted->algorithm, "p-%.3s", curve + 2);
    else
        return ca_fail(CA_UNSUPPORTED, "the profile wants a key of kind '%.20s'", kind);
    return CA_OK;
}

static enum ca_status
algorithms_read(struct wanted *wanted)
{
    static const char *const digests[] = { "sha256", "sha384", "sha512" };
    for (size_t i = 0; i < sizeof digests / sizeof *digests; i++) {
        if (strcmp(wanted->digest_word, digests[i]) == 0)
            wanted->digest = EVP_get_digestbyname(digests[i]);
    }
    if (!wanted->digest)
        return ca_fail(CA_UNSUPPORTED, "the profile wants digest '%.20s'",
                       wanted->digest_word);
    if (strcmp(wanted->cipher, "aes128") != 0 && strcmp(wanted->cipher, "aes256") != 0)
        return ca_fail(CA_UNSUPPORTED, "the profile wants cipher '%.20s'",
                       wanted->cipher);
    return CA_OK;
}

static enum ca_status
anchor_read(const json_t *profile, struct wanted *wanted)
{
    CA_AUTO(free) uint8_t *octets = NULL;
    size_t size = 0;
    enum ca_status status = exchange_octets(profile, "ca_sha256", &octets, &size);
    if (status == CA_OK && size != sizeof wanted->ca_sha256)
        status = ca_fail(CA_MALFORMED, "the profile names no CA");
    if (status == CA_OK)
        memcpy(wanted->ca_sha256, octets, size);
    return status;
}

enum ca_status
wanted_read(const json_t *profile, struct wanted *wanted)
{
    const char *name = text_of(profile, "profile");
    json_int_t retries = json_integer_value(json_object_get(profile, "retries"));
    *wanted = (struct wanted){
        .profile = name,
        .url = text_of(profile, "url"),
        .ca_ident = text_of(profile, "ca_ident"),
        .challenge = text_of(profile, "challenge"),
        .digest_word = text_of(profile, "digest"),
        .cipher = text_of(profile, "cipher"),
        .retries = retries > 0 && retries < RETRIES_MAX ? retries : 0,
        .retry_delay = json_integer_value(json_object_get(profile, "retry_delay")),
    };
    if (!*name || strlen(name) > PROFILE_MAX || name[strspn(name, NAME_LETTERS)])
        return ca_fail(CA_MALFORMED, "the server's SCEP profile has no name");
    enum ca_status status = anchor_read(profile, wanted);
    if (status == CA_OK)
        status = algorithms_read(wanted);
    if (status == CA_OK)
        status = key_read(json_object_get(profile, "key"), wanted);
    if (status == CA_OK)
        status = subject_read(text_of(profile, "subject"), &wanted->subject);
    return status == CA_OK ? san_read(json_object_get(profile, "san"), &wanted->san)
                           : status;
}

void
wanted_clear(struct wanted *wanted)
{
    X509_NAME_free(wanted->subject);
    GENERAL_NAMES_free(wanted->san);
    *wanted = (struct wanted){ 0 };
}

bool
wanted_offers(const json_t *profile, const char *mode)
{
    const json_t *offered = json_object_get(profile, "modes");
    for (size_t i = 0; i < json_array_size(offered); i++) {
        const char *word = json_string_value(json_array_get(offered, i));
        if (word && strcmp(word, mode) == 0)
            return true;
    }
    return false;
}

unsigned
wanted_delay(int64_t seconds)
{
    return (unsigned)(seconds > 0 && seconds <= DELAY_MAX ? seconds : DELAY_MAX);
}

enum ca_status
wanted_check(const struct wanted *wanted, const struct key_issued *issued)
{
    CA_AUTO(names_list_clear) struct field_list asked = { 0 };
    CA_AUTO(names_list_clear) struct field_list given = { 0 };
    CA_AUTO(GENERAL_NAMES_free)
    GENERAL_NAMES *names =
        X509_get_ext_d2i(issued->certificate, NID_subject_alt_name, NULL, NULL);
    enum ca_status status = key_issued_check(issued, wanted->ca_sha256);
    if (status != CA_OK)
        return status;
    if (!names_subjects_equal(wanted->subject,
                              X509_get_subject_name(issued->certificate)))
        return ca_fail(CA_UNAUTHENTICATED, "the certificate has another subject");
    status = names_list(wanted->san, &asked);
    if (status == CA_OK)
        status = names_list(names, &given);
    if (status == CA_INTERNAL)
        return status;
    return status == CA_OK && names_lists_equal(&asked, &given)
               ? CA_OK
               : ca_fail(CA_UNAUTHENTICATED, "the certificate has other names");
}
