/* A request held against an offer, member by member. */
#include "offer_judge.h"
#include "auto.h"
#include "csr.h"
#include "keycheck.h"
#include "names_compare.h"
#include <openssl/x509v3.h>
#include <string.h>

#define USAGE_BITS 9 /* of RFC 5280 section 4.2.1.3 */

static const struct {
    const char *alg, *curve;
    int64_t bits;
} rules[] = {
    [SCEP_KEY_RSA_2048] = { "rsa", NULL, 2048 },
    [SCEP_KEY_RSA_3072] = { "rsa", NULL, 3072 },
    [SCEP_KEY_RSA_4096] = { "rsa", NULL, 4096 },
    [SCEP_KEY_P256] = { "ec", "P-256", 0 },
    [SCEP_KEY_P384] = { "ec", "P-384", 0 },
    [SCEP_KEY_P521] = { "ec", "P-521", 0 },
};

static enum ca_status
subject_judge(const struct offer *offer, const X509_NAME *subject)
{
    const uint8_t *at = offer->subject;
    CA_AUTO(X509_NAME_free)
    X509_NAME *wanted = d2i_X509_NAME(NULL, &at, (long)offer->subject_size);
    if (!wanted)
        return ca_fail_openssl(CA_INTERNAL, "an offer's subject does not parse");
    if (!names_subjects_equal(wanted, subject))
        return ca_fail(CA_FORBIDDEN, "the request has another subject than %s",
                       offer->id);
    return CA_OK;
}

static enum ca_status
san_judge(const struct offer *offer, X509_REQ *request)
{
    CA_AUTO(GENERAL_NAMES_free) GENERAL_NAMES *names = NULL;
    CA_AUTO(names_list_clear) struct field_list list = { 0 };
    enum ca_status status = names_of_request(request, &names);
    if (status == CA_OK)
        status = names_list(names, &list);
    if (status == CA_INTERNAL)
        return status;
    if (status != CA_OK || !names_lists_equal(&list, &offer->san))
        return ca_fail(CA_FORBIDDEN, "the request has other names than %s", offer->id);
    return CA_OK;
}

/* The rule is exact: what the device was told, neither less nor more. */
static bool
key_follows(const json_t *rule, EVP_PKEY *key)
{
    char group[32] = "";
    const char *curve = json_string_value(json_object_get(rule, "curve"));
    if (!curve)
        return EVP_PKEY_is_a(key, "RSA") &&
               EVP_PKEY_get_bits(key) ==
                   json_integer_value(json_object_get(rule, "bits"));
    int nid = EC_curve_nist2nid(curve);
    return EVP_PKEY_is_a(key, "EC") &&
           EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 &&
           nid != NID_undef && OBJ_txt2nid(group) == nid;
}

static enum ca_status
key_judge(const struct offer *offer, const struct certificate_profile *profile,
          X509_REQ *request)
{
    uint8_t sha256[32];
    X509_PUBKEY *spki = X509_REQ_get_X509_PUBKEY(request);
    enum ca_status status = keycheck_digest(spki, sha256);
    if (status == CA_OK)
        status = keycheck_public(profile, spki);
    if (status != CA_OK)
        return status == CA_INTERNAL ? status
                                     : ca_fail(CA_FORBIDDEN, "%s", status_message());
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509_PUBKEY(spki, &der);
    const uint8_t *at = der;
    CA_AUTO(EVP_PKEY_free)
    EVP_PKEY *key = size > 0 ? d2i_PUBKEY(NULL, &at, size) : NULL;
    if (!key || !key_follows(offer->key, key))
        return ca_fail_openssl(CA_FORBIDDEN, "the key is not the one that %s asks for",
                               offer->id);
    if (offer->spki && memcmp(offer->spki, sha256, sizeof sha256) != 0)
        return ca_fail(CA_FORBIDDEN, "%s is bound to another key", offer->id);
    return CA_OK;
}

enum ca_status
offer_judge_unsigned(const struct offer *offer,
                     const struct certificate_profile *profile, X509_REQ *request,
                     const char **ret_word)
{
    const char *word = "key_rejected";
    enum ca_status status = key_judge(offer, profile, request);
    if (status == CA_OK) {
        word = "subject_mismatch";
        status = subject_judge(offer, X509_REQ_get_subject_name(request));
    }
    if (status == CA_OK) {
        word = "san_mismatch";
        status = san_judge(offer, request);
    }
    *ret_word = status == CA_FORBIDDEN ? word : NULL;
    return status;
}

enum ca_status
offer_judge(const struct offer *offer, const struct certificate_profile *profile,
            X509_REQ *request, const char **ret_word)
{
    enum ca_status status = offer_judge_unsigned(offer, profile, request, ret_word);
    if (status != CA_OK)
        return status;
    status = csr_verify(profile, request);
    if (status == CA_OK || status == CA_INTERNAL)
        return status;
    *ret_word = "bad_signature";
    return ca_fail(CA_FORBIDDEN, "%s", status_message());
}

/* ---- What another CA would read ---- */

static bool
usage_is_ours(const struct certificate_profile *profile, const uint8_t *at, long size)
{
    const uint8_t *end = at + size;
    ASN1_BIT_STRING *bits = d2i_ASN1_BIT_STRING(NULL, &at, size);
    bool is_ours = bits && at == end;
    for (int i = 0; is_ours && i < 8 * ASN1_STRING_length(bits); i++) {
        if (ASN1_BIT_STRING_get_bit(bits, i))
            is_ours = i < USAGE_BITS && (profile->key_usage & 1u << i);
    }
    ASN1_BIT_STRING_free(bits);
    return is_ours;
}

static bool
has_purpose(const struct certificate_profile *profile, const ASN1_OBJECT *purpose)
{
    const struct field_list *list = &profile->extended_key_usage;
    for (size_t i = 0; i < list->count; i++) {
        const char *oid = profile_purpose_oid(((char *const *)list->items)[i]);
        CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *own = oid ? OBJ_txt2obj(oid, 1) : NULL;
        if (own && OBJ_cmp(own, purpose) == 0)
            return true;
    }
    return false;
}

static bool
purposes_are_ours(const struct certificate_profile *profile, const uint8_t *at,
                  long size)
{
    const uint8_t *end = at + size;
    EXTENDED_KEY_USAGE *purposes = d2i_EXTENDED_KEY_USAGE(NULL, &at, size);
    bool is_ours = purposes && at == end;
    for (int i = 0; is_ours && i < sk_ASN1_OBJECT_num(purposes); i++)
        is_ours = has_purpose(profile, sk_ASN1_OBJECT_value(purposes, i));
    EXTENDED_KEY_USAGE_free(purposes);
    return is_ours;
}

static bool
extension_passes(const struct certificate_profile *profile, X509_EXTENSION *extension)
{
    const ASN1_OCTET_STRING *value = X509_EXTENSION_get_data(extension);
    const uint8_t *at = ASN1_STRING_get0_data(value);
    long size = ASN1_STRING_length(value);
    switch (OBJ_obj2nid(X509_EXTENSION_get_object(extension))) {
    case NID_subject_alt_name: return true; /* san_judge has compared it */
    case NID_key_usage: return usage_is_ours(profile, at, size);
    case NID_ext_key_usage: return purposes_are_ours(profile, at, size);
    default: return false;
    }
}

static enum ca_status
attributes_judge(X509_REQ *request, bool takes_challenge)
{
    for (int i = 0; i < X509_REQ_get_attr_count(request); i++) {
        X509_ATTRIBUTE *attribute = X509_REQ_get_attr(request, i);
        int nid = OBJ_obj2nid(X509_ATTRIBUTE_get0_object(attribute));
        if (nid != NID_ext_req &&
            !(takes_challenge && nid == NID_pkcs9_challengePassword))
            return ca_fail(CA_FORBIDDEN, "the request has an attribute that is not "
                                         "passed on");
    }
    return CA_OK;
}

enum ca_status
offer_judge_passing(const struct certificate_profile *profile, X509_REQ *request,
                    bool takes_challenge, const char **ret_word)
{
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *extensions = NULL;
    enum ca_status status = attributes_judge(request, takes_challenge);
    if (status == CA_OK)
        status = csr_extensions(request, &extensions);
    for (int i = 0; status == CA_OK && i < sk_X509_EXTENSION_num(extensions); i++) {
        X509_EXTENSION *one = sk_X509_EXTENSION_value(extensions, i);
        char oid[80] = "";
        if (extension_passes(profile, one))
            continue;
        OBJ_obj2txt(oid, sizeof oid, X509_EXTENSION_get_object(one), 1);
        status = ca_fail_openssl(CA_FORBIDDEN,
                                 "the request asks for extension %s, which is not "
                                 "passed on",
                                 oid);
    }
    if (status == CA_MALFORMED)
        status = ca_fail(CA_FORBIDDEN, "%s", status_message());
    *ret_word = status == CA_FORBIDDEN ? "san_mismatch" : NULL;
    return status;
}

/* Does the certificate profile take such a key? */
static bool
key_is_taken(const struct certificate_profile *profile, int key)
{
    const struct profile_key *keys = profile->keys.items;
    for (size_t i = 0; i < profile->keys.count; i++) {
        if (rules[key].curve
                ? keys[i].algorithm == KEY_EC &&
                      field_list_has(&keys[i].curves, rules[key].curve)
                : keys[i].algorithm == KEY_RSA && keys[i].min_bits <= rules[key].bits &&
                      keys[i].max_bits >= rules[key].bits)
            return true;
    }
    return false;
}

enum ca_status
offer_describe(struct offer *offer, const struct names *names,
               const struct certificate_profile *certificate, int key)
{
    uint8_t *der = NULL;
    if (!key_is_taken(certificate, key))
        return ca_fail(CA_UNSUPPORTED,
                       "the certificate profile takes no key as the scep profile has "
                       "it");
    enum ca_status status = names_list(names->san, &offer->san);
    for (size_t i = 0; status == CA_OK && i < offer->san.count; i++) {
        if (strncmp(((char *const *)offer->san.items)[i], "ip:", 3) == 0)
            status = ca_fail(CA_UNSUPPORTED, "an address cannot be offered as a name");
    }
    if (status != CA_OK)
        return status;
    int size = i2d_X509_NAME(names->subject, &der);
    offer->subject = size > 0 ? malloc((size_t)size) : NULL;
    if (offer->subject) {
        memcpy(offer->subject, der, (size_t)size);
        offer->subject_size = (size_t)size;
    }
    OPENSSL_free(der);
    offer->key = rules[key].curve ? json_pack("{s:s, s:s}", "alg", rules[key].alg,
                                              "curve", rules[key].curve)
                                  : json_pack("{s:s, s:I}", "alg", rules[key].alg,
                                              "bits", (json_int_t)rules[key].bits);
    return offer->subject && offer->key
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for an offer");
}

enum ca_status
offer_check_names(const struct offer *offer, const struct names *names)
{
    CA_AUTO(names_list_clear) struct field_list list = { 0 };
    enum ca_status status = names_list(names->san, &list);
    if (status == CA_OK)
        status = subject_judge(offer, names->subject);
    if (status == CA_INTERNAL)
        return status;
    if (status != CA_OK || !names_lists_equal(&list, &offer->san))
        return ca_fail(CA_CONFLICT, "the names of %s have changed since", offer->id);
    return CA_OK;
}
