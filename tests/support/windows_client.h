/* What a Windows client sends and how strictly it reads: PKCS#10 as Windows 10 makes
 * it, messages from tests/data/windows with their marks filled in, the document walked
 * in its exact order. Needs TEST_SOURCE. */
#pragma once

#include "auto.h"
#include "text.h"
#include "xml.h"
#include <criterion/criterion.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#define WINDOWS_DEVICE "6F1D0A9C3B7E4E1FA2D45C8B90E3F712"

/* A message of tests/data/windows; free() it. */
static inline char *
windows_template(const char *name)
{
    char path[512];
    struct text_buffer buffer = { 0 };
    char chunk[4096];
    size_t got;
    snprintf(path, sizeof path, "%s/tests/data/windows/%s", TEST_SOURCE, name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "%s", path);
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0)
        text_append(&buffer, chunk, got);
    fclose(file);
    cr_assert(!buffer.failed && buffer.data);
    return buffer.data;
}

/* Puts `value` in place of each mark; takes `text` over. */
static inline char *
windows_fill(char *text, const char *mark, const char *value)
{
    struct text_buffer buffer = { 0 };
    const char *at = text, *found;
    while ((found = strstr(at, mark))) {
        text_append(&buffer, at, (size_t)(found - at));
        text_append(&buffer, value, strlen(value));
        at = found + strlen(mark);
    }
    text_append(&buffer, at, strlen(at));
    cr_assert(!buffer.failed);
    free(text);
    return buffer.data;
}

/* Subject of 64 octets as PrintableString with '!' and a NUL at its end; an extension
 * that is raw text; SHA-1 under OIW's name where `is_old`, else as Windows 11. */
static inline uint8_t *
windows_csr(EVP_PKEY *key, bool is_old, size_t *ret_size)
{
    static const char cn[] = "2E1AC3D4-8B7F-4C6A-9D0E-1F2A3B!" WINDOWS_DEVICE;
    static const char id[] = WINDOWS_DEVICE;
    CA_AUTO(X509_REQ_free) X509_REQ *request = X509_REQ_new();
    CA_AUTO(x509_extensions_free)
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    CA_AUTO(ASN1_OBJECT_free)
    ASN1_OBJECT *oid = OBJ_txt2obj("1.3.6.1.4.1.311.66.1.0", 1);
    ASN1_OCTET_STRING *value = ASN1_OCTET_STRING_new();
    cr_assert(ASN1_OCTET_STRING_set(value, (const uint8_t *)id, sizeof id));
    if (!is_old)
        sk_X509_EXTENSION_push(
            extensions,
            X509V3_EXT_conf_nid(NULL, NULL, NID_ext_key_usage, "clientAuth"));
    sk_X509_EXTENSION_push(extensions,
                           X509_EXTENSION_create_by_OBJ(NULL, oid, 0, value));
    ASN1_OCTET_STRING_free(value);
    cr_assert(X509_REQ_add_extensions(request, extensions));
    cr_assert(X509_NAME_add_entry_by_NID(
        X509_REQ_get_subject_name(request), NID_commonName,
        is_old ? V_ASN1_PRINTABLESTRING : V_ASN1_UTF8STRING, (const uint8_t *)cn,
        (int)(is_old ? sizeof cn : sizeof cn - 1), -1, 0));
    cr_assert(X509_REQ_set_pubkey(request, key));
    cr_assert(X509_REQ_sign(request, key, is_old ? EVP_sha1() : EVP_sha256()) > 0);
    uint8_t *der = NULL;
    int size = i2d_X509_REQ(request, &der);
    cr_assert_gt(size, 0);
    *ret_size = (size_t)size;
    return der;
}

/* PKCS#7 over `content` by an older certificate. */
struct windows_pkcs7 {
    X509 *signer;
    EVP_PKEY *key;
    const EVP_MD *digest; /* NULL: SHA-256 */
    bool has_attributes, is_without_certificate, is_base64;
};
static inline uint8_t *
windows_renewal(const struct windows_pkcs7 *how, const uint8_t *content, size_t size,
                size_t *ret_size)
{
    int flags = PKCS7_BINARY | PKCS7_NOSMIMECAP;
    if (!how->has_attributes)
        flags |= PKCS7_NOATTR;
    if (how->is_without_certificate)
        flags |= PKCS7_NOCERTS;
    CA_AUTO(free) char *text = base64_format(content, size);
    BIO *data = how->is_base64 ? BIO_new_mem_buf(text, -1)
                               : BIO_new_mem_buf(content, (int)size);
    PKCS7 *message = PKCS7_sign(NULL, NULL, NULL, data, flags | PKCS7_PARTIAL);
    cr_assert(message &&
              PKCS7_sign_add_signer(message, how->signer, how->key,
                                    how->digest ? how->digest : EVP_sha256(), flags));
    cr_assert(PKCS7_final(message, data, flags));
    uint8_t *der = NULL;
    int length = i2d_PKCS7(message, &der);
    cr_assert_gt(length, 0);
    PKCS7_free(message);
    BIO_free(data);
    *ret_size = (size_t)length;
    return der;
}

/* ---- wap-provisioningdoc: the next element must be this one ---- */

struct windows_walk {
    const struct xml_node *at; /* the next child that was not looked at */
    const char *where;
};

static inline const struct xml_node *
walk_next(struct windows_walk *walk, const char *name, const char *attribute,
          const char *value)
{
    const struct xml_node *node = walk->at;
    cr_assert(node && xml_is(node, "", name) && xml_attribute(node, attribute) &&
                  strcmp(xml_attribute(node, attribute), value) == 0,
              "%s: expected %s '%s', found %s '%s'", walk->where, name, value,
              node ? node->name : "nothing",
              node && xml_attribute(node, attribute) ? xml_attribute(node, attribute)
                                                     : "");
    walk->at = node->next;
    return node;
}

static inline struct windows_walk
walk_into(struct windows_walk *walk, const char *type)
{
    const struct xml_node *node = walk_next(walk, "characteristic", "type", type);
    return (struct windows_walk){ node->first, type };
}

static inline void
walk_end(const struct windows_walk *walk)
{
    cr_assert(!walk->at, "%s: '%s' is too much", walk->where,
              walk->at ? walk->at->name : "");
}

/* The parm's value; `datatype` NULL: it has none. */
static inline const char *
walk_parm(struct windows_walk *walk, const char *name, const char *datatype)
{
    const struct xml_node *node = walk_next(walk, "parm", "name", name);
    const char *type = xml_attribute(node, "datatype");
    cr_assert(datatype ? type && strcmp(type, datatype) == 0 : !type, "%s/%s: datatype",
              walk->where, name);
    return xml_attribute(node, "value");
}

static inline void
walk_parm_is(struct windows_walk *walk, const char *name, const char *datatype,
             const char *expected)
{
    const char *value = walk_parm(walk, name, datatype);
    cr_assert(value && strcmp(value, expected) == 0, "%s/%s is '%s'", walk->where, name,
              value ? value : "(none)");
}

/* One certificate under its thumbprint (SHA-1 of the DER, upper-case hex); base64
 * without line breaks. X509_free it. `ret_inside` gets what follows the parm. */
static inline X509 *
walk_certificate(struct windows_walk *walk, struct windows_walk *ret_inside)
{
    const struct xml_node *node = walk->at;
    cr_assert(node && xml_is(node, "", "characteristic"), "%s: no certificate",
              walk->where);
    const char *thumbprint = xml_attribute(node, "type");
    uint8_t der[8192], digest[20];
    char expected[41];
    size_t size = 0;
    struct windows_walk inside = { node->first, thumbprint };
    const char *text = walk_parm(&inside, "EncodedCertificate", NULL);
    cr_assert_eq(
        base64_parse(text, strlen(text), BASE64_STRICT, der, sizeof der, &size), CA_OK);
    cr_assert_eq(EVP_Digest(der, size, digest, NULL, EVP_sha1(), NULL), 1);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(expected + 2 * i, 3, "%02X", digest[i]);
    cr_assert_str_eq(thumbprint, expected);
    walk->at = node->next;
    *ret_inside = inside;
    const uint8_t *at = der;
    return d2i_X509(NULL, &at, (long)size);
}
