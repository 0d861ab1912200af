/* Extensions of certificates as DER, and which of them nobody but the core may write.
 */
#include "tbs_extension.h"
#include "auto.h"
#include "der.h"
#include "digest.h"
#include <openssl/sha.h>
#include <string.h>

#define CA_BUFFER CA_AUTO(text_buffer_clear) struct text_buffer

#define OID_SUBJECT_KEY_ID "2.5.29.14"
#define OID_KEY_USAGE "2.5.29.15"
#define OID_BASIC_CONSTRAINTS "2.5.29.19"
#define OID_CRL_DISTRIBUTION_POINTS "2.5.29.31"
#define OID_AUTHORITY_KEY_ID "2.5.29.35"
#define OID_AUTHORITY_INFO_ACCESS "1.3.6.1.5.5.7.1.1"
#define OID_CA_ISSUERS "1.3.6.1.5.5.7.48.2"
#define OID_OCSP "1.3.6.1.5.5.7.48.1"

static const char *const refused_ekus[] = {
    "2.5.29.37.0",            /* anyExtendedKeyUsage */
    "1.3.6.1.5.5.7.3.9",      /* OCSPSigning */
    "1.3.6.1.4.1.311.20.2.1", /* enrolment agent */
};

/* Written by the core from the profile's own members, or never: constraints, policy
 * machinery, precertificate poison, SCTs, OCSP nocheck, Microsoft's CA version,
 * application policies and SID. */
static const char *const reserved[] = {
    "2.5.29.14",               /* subjectKeyIdentifier */
    "2.5.29.15",               /* keyUsage */
    "2.5.29.16",               /* privateKeyUsagePeriod */
    "2.5.29.17",               /* subjectAltName */
    "2.5.29.18",               /* issuerAltName */
    "2.5.29.19",               /* basicConstraints */
    "2.5.29.30",               /* nameConstraints */
    "2.5.29.31",               /* cRLDistributionPoints */
    "2.5.29.32",               /* certificatePolicies */
    "2.5.29.33",               /* policyMappings */
    "2.5.29.35",               /* authorityKeyIdentifier */
    "2.5.29.36",               /* policyConstraints */
    "2.5.29.37",               /* extKeyUsage */
    "2.5.29.46",               /* freshestCRL */
    "2.5.29.54",               /* inhibitAnyPolicy */
    "1.3.6.1.5.5.7.1.1",       /* authorityInfoAccess */
    "1.3.6.1.5.5.7.1.11",      /* subjectInfoAccess */
    "1.3.6.1.5.5.7.48.1.5",    /* OCSP nocheck */
    "1.3.6.1.4.1.11129.2.4.2", /* SCT list */
    "1.3.6.1.4.1.11129.2.4.3", /* precertificate poison */
    "1.3.6.1.4.1.311.21.1",    /* CA version */
    "1.3.6.1.4.1.311.21.10",   /* application policies (ESC15) */
    "1.3.6.1.4.1.311.21.11",   /* application policy mappings */
    "1.3.6.1.4.1.311.21.12",   /* application policy constraints */
    "1.3.6.1.4.1.311.25.2",    /* SID */
    "2.16.840.1.113730.1.1",   /* Netscape certificate type */
};

static const char *const templates[] = {
    "1.3.6.1.4.1.311.20.2", /* by name */
    "1.3.6.1.4.1.311.21.7", /* by OID and version */
};

static bool
is_in(const char *const *list, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(list[i], text) == 0)
            return true;
    }
    return false;
}

bool
extension_eku_is_refused(const char *oid)
{
    return is_in(refused_ekus, sizeof refused_ekus / sizeof refused_ekus[0], oid);
}

bool
extension_is_reserved(const char *oid)
{
    return is_in(reserved, sizeof reserved / sizeof reserved[0], oid);
}

bool
extension_is_template(const char *oid)
{
    return is_in(templates, sizeof templates / sizeof templates[0], oid);
}

void
extension_wrap(struct text_buffer *list, const char *oid, bool critical,
               struct text_buffer *value)
{
    CA_BUFFER content = { 0 };
    if (!der_oid(&content, oid))
        content.failed = true;
    if (critical)
        der_append(&content, DER_BOOLEAN, "\xff", 1);
    der_wrap(&content, DER_OCTET_STRING, value);
    der_wrap(list, DER_SEQUENCE, &content);
}

void
extension_basic_constraints(struct text_buffer *list, bool is_ca, int path_length)
{
    CA_BUFFER content = { 0 };
    CA_BUFFER value = { 0 };
    if (is_ca)
        der_append(&content, DER_BOOLEAN, "\xff", 1);
    if (is_ca && path_length >= 0)
        der_number(&content, DER_INTEGER, (uint64_t)path_length);
    der_wrap(&value, DER_SEQUENCE, &content);
    extension_wrap(list, OID_BASIC_CONSTRAINTS, true, &value);
}

/* A named bit list: bit 0 is the highest of the first octet, zeros at the end go (X.690
 * section 11.2.2). */
void
extension_key_usage(struct text_buffer *list, unsigned bits)
{
    uint8_t octets[3] = { 0 };
    unsigned last = 0;
    for (unsigned bit = 0; bit < 9; bit++) {
        if (bits & 1u << bit) {
            octets[1 + bit / 8] |= (uint8_t)(0x80 >> bit % 8);
            last = bit;
        }
    }
    octets[0] = (uint8_t)(7 - last % 8);
    CA_BUFFER value = { 0 };
    der_append(&value, DER_BIT_STRING, octets, 2 + last / 8);
    extension_wrap(list, OID_KEY_USAGE, true, &value);
}

enum ca_status
extension_key_id(const X509_PUBKEY *key, uint8_t ret_id[TBS_KEY_ID_SIZE])
{
    const uint8_t *octets;
    int size;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    if (!X509_PUBKEY_get0_param(NULL, &octets, &size, NULL, key))
        return ca_fail_openssl(CA_INTERNAL, "public key cannot be read");
    digest_sha256(octets, (size_t)size, digest);
    memcpy(ret_id, digest, TBS_KEY_ID_SIZE);
    return CA_OK;
}

void
extension_subject_key_id(struct text_buffer *list, const uint8_t id[TBS_KEY_ID_SIZE])
{
    CA_BUFFER value = { 0 };
    der_append(&value, DER_OCTET_STRING, id, TBS_KEY_ID_SIZE);
    extension_wrap(list, OID_SUBJECT_KEY_ID, false, &value);
}

void
extension_authority_key_id_of(struct text_buffer *list, const uint8_t *id, size_t size)
{
    CA_BUFFER content = { 0 };
    CA_BUFFER value = { 0 };
    der_append(&content, DER_CONTEXT(0), id, size);
    der_wrap(&value, DER_SEQUENCE, &content);
    extension_wrap(list, OID_AUTHORITY_KEY_ID, false, &value);
}

enum ca_status
extension_authority_key_id(struct text_buffer *list, const X509 *issuer)
{
    CA_AUTO(ASN1_OCTET_STRING_free)
    ASN1_OCTET_STRING *id =
        X509_get_ext_d2i(issuer, NID_subject_key_identifier, NULL, NULL);
    if (!id)
        return ca_fail(CA_FORBIDDEN, "the issuer has no subjectKeyIdentifier");
    extension_authority_key_id_of(list, ASN1_STRING_get0_data(id),
                                  (size_t)ASN1_STRING_length(id));
    return CA_OK;
}

void
extension_point(struct text_buffer *point, const char *url)
{
    CA_BUFFER inner = { 0 };
    CA_BUFFER outer = { 0 };
    der_append(&inner, DER_CONTEXT(6), url, strlen(url));
    der_wrap(&outer, DER_CONTEXT_SET(0), &inner);
    der_wrap(&inner, DER_CONTEXT_SET(0), &outer);
    der_wrap(point, DER_SEQUENCE, &inner);
}

void
extension_crl(struct text_buffer *list, const char *url)
{
    CA_BUFFER point = { 0 };
    CA_BUFFER points = { 0 };
    extension_point(&point, url);
    der_wrap(&points, DER_SEQUENCE, &point);
    extension_wrap(list, OID_CRL_DISTRIBUTION_POINTS, false, &points);
}

static void
append_access(struct text_buffer *list, const char *oid, const char *url)
{
    CA_BUFFER content = { 0 };
    der_oid(&content, oid);
    der_append(&content, DER_CONTEXT(6), url, strlen(url));
    der_wrap(list, DER_SEQUENCE, &content);
}

void
extension_access(struct text_buffer *list, const char *issuer_url, const char *ocsp_url)
{
    CA_BUFFER content = { 0 };
    CA_BUFFER value = { 0 };
    if (ocsp_url)
        append_access(&content, OID_OCSP, ocsp_url);
    if (issuer_url)
        append_access(&content, OID_CA_ISSUERS, issuer_url);
    if (!ocsp_url && !issuer_url)
        return;
    der_wrap(&value, DER_SEQUENCE, &content);
    extension_wrap(list, OID_AUTHORITY_INFO_ACCESS, false, &value);
}
