/* Keys, requests and certificates for tests, with software keys. Every function ends
 * the test when it cannot do its part. */
#pragma once

#include "auto.h"
#include "der.h"
#include "profile.h"
#include <criterion/criterion.h>
#include <openssl/rsa.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define PKI_NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define PKI __attribute__((unused)) static

PKI EVP_PKEY *
pki_rsa(unsigned bits)
{
    EVP_PKEY *key = EVP_RSA_gen(bits);
    cr_assert_not_null(key);
    return key;
}

PKI EVP_PKEY *
pki_ec(const char *curve)
{
    EVP_PKEY *key = EVP_EC_gen(curve);
    cr_assert_not_null(key, "%s", curve);
    return key;
}

PKI EVP_PKEY *
pki_ed25519(void)
{
    EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    cr_assert_not_null(key);
    return key;
}

PKI X509_PUBKEY *
pki_spki(EVP_PKEY *key)
{
    X509_PUBKEY *spki = NULL;
    cr_assert_eq(X509_PUBKEY_set(&spki, key), 1);
    return spki;
}

PKI X509_NAME *
pki_name(const char *cn)
{
    X509_NAME *name = X509_NAME_new();
    if (cn)
        cr_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                             (const unsigned char *)cn, -1, -1, 0));
    return name;
}

/* Adds extension `nid` with its DER value to a list that X509_REQ_add_extensions
 * takes. */
PKI void
pki_extension(STACK_OF(X509_EXTENSION) **list, int nid, bool critical,
              const void *value, size_t size)
{
    if (!*list)
        *list = sk_X509_EXTENSION_new_null();
    CA_AUTO(ASN1_OCTET_STRING_free) ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
    cr_assert(ASN1_OCTET_STRING_set(octets, value, (int)size));
    X509_EXTENSION *one = X509_EXTENSION_create_by_NID(NULL, nid, critical, octets);
    cr_assert(one && sk_X509_EXTENSION_push(*list, one));
}

/* An unsigned request; extensions may be NULL. */
PKI X509_REQ *
pki_request_start(EVP_PKEY *key, const char *cn, STACK_OF(X509_EXTENSION) *extensions)
{
    X509_REQ *request = X509_REQ_new();
    CA_AUTO(X509_NAME_free) X509_NAME *name = pki_name(cn);
    cr_assert(X509_REQ_set_subject_name(request, name));
    cr_assert(X509_REQ_set_pubkey(request, key));
    if (extensions)
        cr_assert(X509_REQ_add_extensions(request, extensions));
    return request;
}

PKI X509_REQ *
pki_request(EVP_PKEY *key, const char *cn, const EVP_MD *digest)
{
    X509_REQ *request = pki_request_start(key, cn, NULL);
    cr_assert(X509_REQ_sign(request, key, digest) > 0);
    return request;
}

/* subjectAltName's DER from OpenSSL's text, e.g. "DNS:a.example,IP:192.0.2.1". */
PKI void
pki_request_san(STACK_OF(X509_EXTENSION) **list, const char *text)
{
    if (!*list)
        *list = sk_X509_EXTENSION_new_null();
    X509_EXTENSION *one = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, text);
    cr_assert(one && sk_X509_EXTENSION_push(*list, one), "%s", text);
}

/* A profile that takes RSA 2048..4096, P-256, P-384 and nothing else; static parts. */
PKI void
pki_profile(struct certificate_profile *profile)
{
    static char p256[] = "P-256", p384[] = "P-384";
    static char *curves[] = { p256, p384 };
    static struct profile_key keys[] = {
        { .algorithm = KEY_RSA, .min_bits = 2048, .max_bits = 4096 },
        { .algorithm = KEY_EC, .curves = { curves, 2 } },
    };
    *profile = (struct certificate_profile){ .validity = 365 * 86400,
                                             .backdate = 300,
                                             .keys = { keys, COUNT(keys) },
                                             .key_usage = 1u << 0 | 1u << 2 };
}
