/* The last look at a TBSCertificate: every rule judged over the bytes that would be
 * signed (RFC 5280 section 4, SECURITY S1-S3, H1). */
#include "lint.h"
#include "auto.h"
#include "der.h"
#include "names.h"
#include "names_text.h"
#include "tbs.h"
#include "tbs_extension.h"
#include <string.h>

#define SERIAL_SIZE_MAX 20
#define EXTENSIONS_MAX 64
#define OID_SIZE_MAX 64

/* What the extensions said. */
struct seen {
    struct der oids[EXTENSIONS_MAX];
    size_t count;
    bool has_subject, has_san, san_is_critical;
};

#define BROKEN(...) ca_fail(CA_INTERNAL, "lint: " __VA_ARGS__)

static bool
is_equal(const struct der *a, const void *octets, size_t size)
{
    return a->size == size && memcmp(a->at, octets, size) == 0;
}

static enum ca_status
lint_head(struct der *in)
{
    struct der version, number, serial;
    if (!der_take(in, DER_CONTEXT_SET(0), &version) ||
        !der_take(&version, DER_INTEGER, &number) || version.size > 0 ||
        !is_equal(&number, "\x02", 1))
        return BROKEN("version is not 3");
    if (!der_take(in, DER_INTEGER, &serial) || serial.size == 0 ||
        serial.size > SERIAL_SIZE_MAX || (serial.at[0] & 0x80))
        return BROKEN("serial is not of 1 to %d octets and positive", SERIAL_SIZE_MAX);
    bool has_bits = false;
    for (size_t i = 0; i < serial.size; i++)
        has_bits = has_bits || serial.at[i];
    if (!has_bits || (serial.size > 1 && serial.at[0] == 0 && !(serial.at[1] & 0x80)))
        return BROKEN("serial is zero or not in its shortest form");
    return CA_OK;
}

/* The next value as a whole, which must be a SEQUENCE. */
static bool
take_sequence(struct der *in, struct der *ret_whole)
{
    uint8_t tag;
    return der_take_any(in, &tag, NULL, ret_whole) && tag == DER_SEQUENCE;
}

static enum ca_status
lint_issuer(struct der *in, const X509 *issuer)
{
    CA_AUTO(text_buffer_clear) struct text_buffer algorithm = { 0 };
    enum ca_status status = tbs_append_algorithm(&algorithm, X509_get0_pubkey(issuer));
    if (status != CA_OK)
        return status;
    struct der whole;
    if (!take_sequence(in, &whole) || algorithm.failed ||
        !is_equal(&whole, algorithm.data, algorithm.size))
        return BROKEN("signature algorithm is not that of the issuer's key");
    const unsigned char *name;
    size_t size;
    if (!X509_NAME_get0_der(X509_get_subject_name(issuer), &name, &size) ||
        !take_sequence(in, &whole) || !is_equal(&whole, name, size))
        return BROKEN("issuer differs from the issuer's subject");
    return CA_OK;
}

static enum ca_status
lint_validity(struct der *in, const X509 *issuer)
{
    int64_t from, to, issuer_from, issuer_to;
    struct der content;
    if (!der_take(in, DER_SEQUENCE, &content) || !der_take_time(&content, &from) ||
        !der_take_time(&content, &to) || content.size > 0)
        return BROKEN("validity is not as RFC 5280 section 4.1.2.5 says");
    enum ca_status status = tbs_time_of(X509_get0_notBefore(issuer), &issuer_from);
    if (status == CA_OK)
        status = tbs_time_of(X509_get0_notAfter(issuer), &issuer_to);
    if (status != CA_OK)
        return status;
    if (from > to || from < issuer_from || to > issuer_to)
        return BROKEN("validity is not inside the issuer's");
    return CA_OK;
}

/* Attributes of known types, clean and within their upper bounds; not the name of the
 * CA, which a verifier would take the leaf for. */
static enum ca_status
lint_subject(struct der *in, const X509 *issuer, struct seen *seen)
{
    struct der whole;
    if (!take_sequence(in, &whole))
        return BROKEN("subject is no SEQUENCE");
    const uint8_t *at = whole.at;
    CA_AUTO(X509_NAME_free)
    X509_NAME *name = d2i_X509_NAME(NULL, &at, (long)whole.size);
    if (!name || at != whole.at + whole.size)
        return ca_fail_openssl(CA_INTERNAL, "lint: subject cannot be decoded");
    if (X509_NAME_cmp(name, X509_get_subject_name(issuer)) == 0)
        return ca_fail(CA_FORBIDDEN, "the subject is the issuer's own name");
    seen->has_subject = X509_NAME_entry_count(name) > 0;
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        const struct names_type *type =
            names_type_of(OBJ_obj2nid(X509_NAME_ENTRY_get_object(entry)));
        CA_AUTO(openssl_free) uint8_t *utf8 = NULL;
        int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
        if (!type || size <= 0 || !text_is_clean((char *)utf8, (size_t)size))
            return BROKEN("subject has an attribute that is not issued");
        long characters = 0;
        for (int c = 0; c < size; c++)
            characters += (utf8[c] & 0xc0) != 0x80;
        if (characters > type->max)
            return BROKEN("subject has a %s above its upper bound", type->label);
    }
    return CA_OK;
}

static enum ca_status
lint_basic_constraints(struct der value)
{
    struct der content;
    if (!der_take(&value, DER_SEQUENCE, &content) || value.size > 0 || content.size > 0)
        return BROKEN("basicConstraints of a leaf is not CA:FALSE");
    return CA_OK;
}

static enum ca_status
lint_key_usage(struct der value)
{
    struct der bits;
    if (!der_take(&value, DER_BIT_STRING, &bits) || value.size > 0 || bits.size < 2 ||
        bits.size > 3 || bits.at[0] > 7)
        return BROKEN("keyUsage is malformed or empty");
    if (bits.at[1] & (0x80 >> 5 | 0x80 >> 6))
        return BROKEN("a leaf has keyCertSign or cRLSign");
    return CA_OK;
}

static enum ca_status
lint_extended_key_usage(struct der value)
{
    struct der list, oid;
    if (!der_take(&value, DER_SEQUENCE, &list) || value.size > 0 || list.size == 0)
        return BROKEN("extKeyUsage is malformed or empty");
    while (list.size > 0) {
        struct der whole = list;
        if (!der_take(&list, DER_OID, &oid))
            return BROKEN("extKeyUsage holds something else than OIDs");
        whole.size -= list.size;
        const uint8_t *at = whole.at;
        char dotted[4 * OID_SIZE_MAX];
        CA_AUTO(ASN1_OBJECT_free)
        ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &at, (long)whole.size);
        if (!object || OBJ_obj2txt(dotted, sizeof dotted, object, 1) <= 0 ||
            extension_eku_is_refused(dotted))
            return BROKEN("extKeyUsage holds a purpose that no leaf has");
    }
    return CA_OK;
}

/* Every name as text is one that we issue. */
static enum ca_status
lint_san(struct der value)
{
    const uint8_t *at = value.at;
    CA_AUTO(GENERAL_NAMES_free)
    GENERAL_NAMES *names = d2i_GENERAL_NAMES(NULL, &at, (long)value.size);
    if (!names || at != value.at + value.size || sk_GENERAL_NAME_num(names) < 1)
        return ca_fail_openssl(CA_INTERNAL, "lint: subjectAltName is malformed");
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        CA_AUTO(free) char *text = names_format(sk_GENERAL_NAME_value(names, i));
        if (!text)
            return BROKEN("subjectAltName holds a name that is not issued");
    }
    return CA_OK;
}

static const struct {
    const char *oid; /* content octets */
    size_t size;
    enum ca_status (*lint)(struct der value);
} rules[] = {
    { "\x55\x1d\x0f", 3, lint_key_usage },
    { "\x55\x1d\x11", 3, lint_san },
    { "\x55\x1d\x13", 3, lint_basic_constraints },
    { "\x55\x1d\x25", 3, lint_extended_key_usage },
};

static enum ca_status
lint_extension(struct der extension, struct seen *seen)
{
    struct der oid, flag, value;
    bool is_critical = false;
    if (!der_take(&extension, DER_OID, &oid))
        return BROKEN("an extension has no OID");
    if (der_take(&extension, DER_BOOLEAN, &flag)) {
        if (!is_equal(&flag, "\xff", 1))
            return BROKEN("an extension's critical is not DER");
        is_critical = true;
    }
    if (!der_take(&extension, DER_OCTET_STRING, &value) || extension.size > 0 ||
        !der_is_strict(value.at, value.size))
        return BROKEN("an extension's value is not DER");
    for (size_t i = 0; i < seen->count; i++) {
        if (is_equal(&seen->oids[i], oid.at, oid.size))
            return BROKEN("an extension is doubled");
    }
    if (seen->count == EXTENSIONS_MAX)
        return BROKEN("more than %d extensions", EXTENSIONS_MAX);
    seen->oids[seen->count++] = oid;
    if (is_equal(&oid, "\x55\x1d\x11", 3)) {
        seen->has_san = true;
        seen->san_is_critical = is_critical;
    }
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (is_equal(&oid, rules[i].oid, rules[i].size))
            return rules[i].lint(value);
    }
    return CA_OK;
}

static enum ca_status
lint_extensions(struct der *in, struct seen *seen)
{
    struct der outer, list, extension;
    if (!der_take(in, DER_CONTEXT_SET(3), &outer) || in->size > 0 ||
        !der_take(&outer, DER_SEQUENCE, &list) || outer.size > 0 || list.size == 0)
        return BROKEN("extensions are missing or followed by something");
    while (list.size > 0) {
        if (!der_take(&list, DER_SEQUENCE, &extension))
            return BROKEN("an extension is no SEQUENCE");
        enum ca_status status = lint_extension(extension, seen);
        if (status != CA_OK)
            return status;
    }
    if (!seen->has_subject && !(seen->has_san && seen->san_is_critical))
        return BROKEN("the subject is empty and no subjectAltName is critical");
    return CA_OK;
}

/* The TBS with a signature of nothing around it, as OpenSSL's checks want it. */
static enum ca_status
as_certificate(const uint8_t *tbs, size_t size, X509 **ret_certificate)
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t der_size;
    enum ca_status status =
        tbs_assemble(tbs, size, (const uint8_t *)"", 0, &der, &der_size);
    if (status != CA_OK)
        return status;
    const uint8_t *at = der;
    *ret_certificate = d2i_X509(NULL, &at, (long)der_size);
    if (!*ret_certificate || at != der + der_size)
        return ca_fail_openssl(CA_INTERNAL, "lint: OpenSSL cannot decode it");
    return CA_OK;
}

/* H1: names of the leaf inside the issuer's nameConstraints. */
static enum ca_status
lint_constraints(const uint8_t *tbs, size_t size, const X509 *issuer)
{
    if (X509_get_ext_by_NID(issuer, NID_name_constraints, -1) < 0)
        return CA_OK;
    NAME_CONSTRAINTS *constraints =
        X509_get_ext_d2i(issuer, NID_name_constraints, NULL, NULL);
    if (!constraints)
        return ca_fail_openssl(CA_INTERNAL, "lint: the issuer's nameConstraints");
    CA_AUTO(X509_free) X509 *certificate = NULL;
    enum ca_status status = as_certificate(tbs, size, &certificate);
    int result = X509_V_OK;
    /* The flags are not wanted: asking for them fills the altname that is checked. */
    if (status == CA_OK && (X509_get_extension_flags(certificate) & EXFLAG_INVALID))
        status = BROKEN("OpenSSL takes an extension to be invalid");
    if (status == CA_OK)
        result = NAME_CONSTRAINTS_check(certificate, constraints);
    if (status == CA_OK && result == X509_V_OK)
        result = NAME_CONSTRAINTS_check_CN(certificate, constraints);
    NAME_CONSTRAINTS_free(constraints);
    if (status == CA_OK && result != X509_V_OK)
        return ca_fail(CA_FORBIDDEN, "the issuer's nameConstraints: %s",
                       X509_verify_cert_error_string(result));
    return status;
}

enum ca_status
lint_tbs(const uint8_t *tbs, size_t size, const X509 *issuer)
{
    struct der in = { tbs, size }, content, key;
    struct seen seen = { .count = 0 };
    if (!der_is_strict(tbs, size) || !der_take(&in, DER_SEQUENCE, &content))
        return BROKEN("not strict DER");
    enum ca_status status = tbs_check_issuer(issuer, NULL);
    if (status == CA_OK)
        status = lint_head(&content);
    if (status == CA_OK)
        status = lint_issuer(&content, issuer);
    if (status == CA_OK)
        status = lint_validity(&content, issuer);
    if (status == CA_OK)
        status = lint_subject(&content, issuer, &seen);
    if (status == CA_OK && !take_sequence(&content, &key))
        status = BROKEN("public key is no SEQUENCE");
    if (status == CA_OK)
        status = lint_extensions(&content, &seen);
    return status == CA_OK ? lint_constraints(tbs, size, issuer) : status;
}

enum ca_status
lint_chain(const uint8_t *tbs, size_t size, const X509 *issuer,
           const STACK_OF(X509) *chain)
{
    enum ca_status status = lint_tbs(tbs, size, issuer);
    for (int i = 0; status == CA_OK && i < sk_X509_num(chain); i++)
        status = lint_constraints(tbs, size, sk_X509_value(chain, i));
    return status;
}
