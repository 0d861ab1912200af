/* The XML signature of certificate-authenticated messages: one shape, verified by
 * canonical XML of libxml2 and OpenSSL. */
#include "auto.h"
#include "base64.h"
#include "soap.h"
#include <libxml/c14n.h>
#include <libxml/parser.h>
#include <openssl/sha.h>
#include <string.h>

#define SIGNATURE_MAX 1024 /* octets: RSA of 8192 bits */
#define RSA_BITS_MIN 2048
#define EXCLUSIVE_C14N "http://www.w3.org/2001/10/xml-exc-c14n#"
#define RSA_SHA256 "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256"
#define SHA256_URI "http://www.w3.org/2001/04/xmlenc#sha256"
#define ENVELOPED SOAP_SPACE_SIGNATURE "enveloped-signature"

/* What the signature says, all of it checked to be what is verified. */
struct signature {
    const struct xml_node *info;
    struct ca_bytes digest, value;
};

static void
document_free_auto(xmlDoc **document)
{
    if (*document)
        xmlFreeDoc(*document);
}

static void
octets_free_auto(xmlChar **octets)
{
    if (*octets)
        xmlFree(*octets);
}

static void
output_close_auto(xmlOutputBuffer **output)
{
    if (*output)
        xmlOutputBufferClose(*output);
}

/* An element with this Algorithm and nothing inside. */
static enum ca_status
must_be(const struct xml_node *parent, const char *name, const char *algorithm)
{
    const struct xml_node *node = NULL;
    enum ca_status status = xml_must(parent, SOAP_SPACE_SIGNATURE, name, &node);
    if (status != CA_OK)
        return status;
    const char *given = xml_attribute(node, "Algorithm");
    if (!given || strcmp(given, algorithm) != 0 || node->first)
        return ca_fail(CA_MALFORMED, "%s is not %s", name, algorithm);
    return CA_OK;
}

static enum ca_status
check_children(const struct xml_node *node, size_t wanted)
{
    size_t count = 0;
    for (const struct xml_node *child = node->first; child; child = child->next)
        count++;
    if (count != wanted)
        return ca_fail(CA_MALFORMED, "%zu elements in %s, not %zu", count, node->name,
                       wanted);
    return CA_OK;
}

static enum ca_status
decode(struct ca_request *req, const struct xml_node *parent, const char *name,
       struct ca_bytes *ret_octets)
{
    const struct xml_node *node = NULL;
    enum ca_status status = xml_must(parent, SOAP_SPACE_SIGNATURE, name, &node);
    if (status != CA_OK)
        return status;
    return base64_decode(req, node->text, node->text_size, SIGNATURE_MAX, ret_octets);
}

/* URI="" with the enveloped transform alone: the whole document but the signature. */
static enum ca_status
read_reference(struct ca_request *req, const struct xml_node *info,
               struct signature *signature)
{
    const struct xml_node *reference = NULL, *transforms = NULL;
    enum ca_status status =
        xml_must(info, SOAP_SPACE_SIGNATURE, "Reference", &reference);
    if (status != CA_OK)
        return status;
    const char *uri = xml_attribute(reference, "URI");
    if (!uri || *uri)
        return ca_fail(CA_MALFORMED, "the signature is not over the whole message");
    status = check_children(reference, 3);
    if (status == CA_OK)
        status = xml_must(reference, SOAP_SPACE_SIGNATURE, "Transforms", &transforms);
    if (status == CA_OK)
        status = check_children(transforms, 1);
    if (status == CA_OK)
        status = must_be(transforms, "Transform", ENVELOPED);
    if (status == CA_OK)
        status = must_be(reference, "DigestMethod", SHA256_URI);
    if (status == CA_OK)
        status = decode(req, reference, "DigestValue", &signature->digest);
    if (status == CA_OK && signature->digest.size != SHA256_DIGEST_LENGTH)
        return ca_fail(CA_MALFORMED, "DigestValue of %zu octets",
                       signature->digest.size);
    return status;
}

/* [MS-MDE2] 3.3.4.1.1.1. The one signature of the document is in its Security header;
 * KeyInfo is not looked at, for there is one token only. */
static enum ca_status
read_signature(struct ca_request *req, const struct soap_request *soap,
               struct signature *signature)
{
    const struct xml_node *node = NULL;
    if (xml_count_all(soap->envelope, SOAP_SPACE_SIGNATURE, "Signature") != 1 ||
        xml_count_all(soap->envelope, SOAP_SPACE_SIGNATURE, "SignedInfo") != 1)
        return ca_fail(CA_MALFORMED, "not exactly one signature");
    enum ca_status status =
        xml_must(soap->security, SOAP_SPACE_SIGNATURE, "Signature", &node);
    if (status == CA_OK)
        status = xml_must(node, SOAP_SPACE_SIGNATURE, "SignedInfo", &signature->info);
    if (status == CA_OK)
        status = check_children(signature->info, 3);
    if (status == CA_OK)
        status = must_be(signature->info, "CanonicalizationMethod", EXCLUSIVE_C14N);
    if (status == CA_OK)
        status = must_be(signature->info, "SignatureMethod", RSA_SHA256);
    if (status == CA_OK)
        status = read_reference(req, signature->info, signature);
    if (status == CA_OK)
        status = decode(req, node, "SignatureValue", &signature->value);
    return status;
}

/* The first element of the name in document order; there is one, as was counted. */
static xmlNode *
find(xmlNode *node, const char *name)
{
    xmlNode *top = node;
    while (node) {
        if (node->type == XML_ELEMENT_NODE && node->ns &&
            xmlStrEqual(node->name, (const xmlChar *)name) &&
            xmlStrEqual(node->ns->href, (const xmlChar *)SOAP_SPACE_SIGNATURE))
            return node;
        if (node->type == XML_ELEMENT_NODE && node->children) {
            node = node->children;
            continue;
        }
        while (node != top && !node->next)
            node = node->parent;
        node = node == top ? NULL : node->next;
    }
    return NULL;
}

/* Is the node inside the element that is canonicalised? Namespace nodes come with their
 * element as `parent`. */
static int
is_visible(void *element, xmlNode *node, xmlNode *parent)
{
    if (node && node->type == XML_NAMESPACE_DECL)
        node = parent;
    for (; node; node = node->parent) {
        if (node == element)
            return 1;
    }
    return 0;
}

/* Exclusive canonical XML of one element. */
static enum ca_status
canonicalise(xmlDoc *document, xmlNode *element, struct ca_request *req,
             struct ca_bytes *ret_octets)
{
    __attribute__((cleanup(output_close_auto))) xmlOutputBuffer *output =
        xmlAllocOutputBuffer(NULL);
    if (!output || xmlC14NExecute(document, is_visible, element, XML_C14N_EXCLUSIVE_1_0,
                                  NULL, 0, output) < 0)
        return ca_fail(CA_INTERNAL, "cannot canonicalise XML");
    size_t size = xmlOutputBufferGetSize(output);
    uint8_t *copy = ca_request_alloc(req, size + 1);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for canonical XML");
    memcpy(copy, xmlOutputBufferGetContent(output), size);
    *ret_octets = (struct ca_bytes){ copy, size };
    return CA_OK;
}

static enum ca_status
verify_value(X509 *certificate, struct ca_bytes info, struct ca_bytes value)
{
    EVP_PKEY *key = X509_get0_pubkey(certificate);
    if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA ||
        EVP_PKEY_get_bits(key) < RSA_BITS_MIN)
        return ca_fail_openssl(CA_UNAUTHENTICATED,
                               "the token's key is no RSA key of %d bits",
                               RSA_BITS_MIN);
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *context = EVP_MD_CTX_new();
    if (!context || EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
        EVP_DigestVerify(context, value.data, value.size, info.data, info.size) != 1)
        return ca_fail_openssl(CA_UNAUTHENTICATED, "the signature does not hold");
    return CA_OK;
}

/* Section 4.4.3.2 of XML-DSig: no transform makes octets of the node set, so that
 * inclusive canonical XML 1.0 without comments does. */
static enum ca_status
verify_digest(xmlDoc *document, struct ca_bytes wanted)
{
    __attribute__((cleanup(octets_free_auto))) xmlChar *octets = NULL;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    int size = xmlC14NDocDumpMemory(document, NULL, XML_C14N_1_0, NULL, 0, &octets);
    if (size < 0 || !octets)
        return ca_fail(CA_INTERNAL, "cannot canonicalise XML");
    SHA256(octets, (size_t)size, digest);
    OPENSSL_cleanse(octets, (size_t)size);
    if (CRYPTO_memcmp(digest, wanted.data, sizeof digest) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "the message is not what was signed");
    return CA_OK;
}

enum ca_status
soap_signature_verify(struct ca_request *req, const struct soap_request *soap,
                      X509 *certificate)
{
    struct signature signature = { 0 };
    enum ca_status status = read_signature(req, soap, &signature);
    if (status != CA_OK)
        return status;
    /* The octets that xml_read took already, so that nothing new can be in them. */
    __attribute__((cleanup(document_free_auto))) xmlDoc *document =
        xmlReadMemory((const char *)req->body.data, (int)req->body.size, NULL, "UTF-8",
                      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING |
                          XML_PARSE_NOCDATA | XML_PARSE_IGNORE_ENC);
    xmlNode *root = document ? xmlDocGetRootElement(document) : NULL;
    xmlNode *whole = root ? find(root, "Signature") : NULL;
    xmlNode *info = whole ? find(whole, "SignedInfo") : NULL;
    if (!info)
        return ca_fail(CA_INTERNAL, "the signature is not found again");
    struct ca_bytes octets = { 0 };
    status = canonicalise(document, info, req, &octets);
    if (status == CA_OK)
        status = verify_value(certificate, octets, signature.value);
    if (status != CA_OK)
        return status;
    xmlUnlinkNode(whole);
    xmlFreeNode(whole);
    return verify_digest(document, signature.digest);
}
