/* Release at the end of the scope: `CA_AUTO(X509_free) X509 *cert = NULL;` for every
 * release function listed here. A value handed on is taken out with CA_STEAL. */
#pragma once
/* Plugins see a copy: one of the two counts. */
#ifndef SEALWRIGHT_AUTO_H
#define SEALWRIGHT_AUTO_H

#include <jansson.h>
#include <openssl/asn1.h>
#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define CA_AUTO(release) __attribute__((cleanup(release##_auto)))

/* The pointer's value, leaving NULL behind: ownership moves to the receiver. */
#define CA_STEAL(pointer)                                                              \
    (__extension__({                                                                   \
        __typeof__(pointer) stolen_ = (pointer);                                       \
        (pointer) = NULL;                                                              \
        stolen_;                                                                       \
    }))

#define CA_AUTO_RELEASE(type, release)                                                 \
    static inline void __attribute__((unused)) release##_auto(type **pointer)          \
    {                                                                                  \
        if (*pointer)                                                                  \
            release(*pointer);                                                         \
    }

static inline void __attribute__((unused)) free_auto(void *pointer)
{
    free(*(void **)pointer);
}

static inline void
openssl_free(void *pointer)
{
    OPENSSL_free(pointer);
}
static inline void __attribute__((unused)) openssl_free_auto(void *pointer)
{
    OPENSSL_free(*(void **)pointer);
}

CA_AUTO_RELEASE(FILE, fclose)
CA_AUTO_RELEASE(json_t, json_decref)
CA_AUTO_RELEASE(ASN1_INTEGER, ASN1_INTEGER_free)
CA_AUTO_RELEASE(ASN1_OBJECT, ASN1_OBJECT_free)
CA_AUTO_RELEASE(ASN1_OCTET_STRING, ASN1_OCTET_STRING_free)
CA_AUTO_RELEASE(ASN1_TYPE, ASN1_TYPE_free)
CA_AUTO_RELEASE(BIGNUM, BN_free)
CA_AUTO_RELEASE(BIO, BIO_free_all)
CA_AUTO_RELEASE(BN_CTX, BN_CTX_free)
CA_AUTO_RELEASE(CMS_ContentInfo, CMS_ContentInfo_free)
CA_AUTO_RELEASE(EVP_CIPHER_CTX, EVP_CIPHER_CTX_free)
CA_AUTO_RELEASE(EVP_MD_CTX, EVP_MD_CTX_free)
CA_AUTO_RELEASE(EVP_PKEY, EVP_PKEY_free)
CA_AUTO_RELEASE(EVP_PKEY_CTX, EVP_PKEY_CTX_free)
CA_AUTO_RELEASE(GENERAL_NAME, GENERAL_NAME_free)
CA_AUTO_RELEASE(GENERAL_NAMES, GENERAL_NAMES_free)
CA_AUTO_RELEASE(X509, X509_free)
CA_AUTO_RELEASE(X509_CRL, X509_CRL_free)
CA_AUTO_RELEASE(X509_EXTENSION, X509_EXTENSION_free)
CA_AUTO_RELEASE(X509_NAME, X509_NAME_free)
CA_AUTO_RELEASE(X509_PUBKEY, X509_PUBKEY_free)
CA_AUTO_RELEASE(X509_REQ, X509_REQ_free)
CA_AUTO_RELEASE(X509_STORE, X509_STORE_free)
CA_AUTO_RELEASE(X509_STORE_CTX, X509_STORE_CTX_free)

static inline void __attribute__((unused)) x509_stack_free_auto(STACK_OF(X509) **stack)
{
    sk_X509_pop_free(*stack, X509_free);
}
static inline void __attribute__((unused))
x509_extensions_free_auto(STACK_OF(X509_EXTENSION) **stack)
{
    sk_X509_EXTENSION_pop_free(*stack, X509_EXTENSION_free);
}

#endif
