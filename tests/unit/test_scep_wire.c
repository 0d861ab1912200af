/* SCEP from the client's side: who is trusted, what an answer must say. */
#include "leak.h"
#include "pki.h"
#include "scep_wire.h"
#include <openssl/pkcs7.h>

static EVP_PKEY *ca_key, *ra_key, *key, *other_key;
static X509 *ca, *ra, *self, *issued, *stranger;

static void
add(X509 *made, int nid, const char *value)
{
    CA_AUTO(X509_EXTENSION_free)
    X509_EXTENSION *one = value ? X509V3_EXT_conf_nid(NULL, NULL, nid, value) : NULL;
    cr_assert(!value || (one && X509_add_ext(made, one, -1)), "%s", value);
}

#define AGENT "1.3.6.1.4.1.311.20.2.1"

static X509 *
certify(EVP_PKEY *subject_key, const char *cn, X509 *issuer, EVP_PKEY *signer,
        const char *const extensions[2]) /* keyUsage, extendedKeyUsage */
{
    X509 *made = X509_new();
    CA_AUTO(X509_NAME_free) X509_NAME *name = pki_name(cn);
    X509_set_version(made, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 7);
    X509_set_subject_name(made, name);
    X509_set_issuer_name(made, issuer ? X509_get_subject_name(issuer) : name);
    ASN1_TIME_set(X509_getm_notBefore(made), PKI_NOW - 1000);
    ASN1_TIME_set(X509_getm_notAfter(made), PKI_NOW + 1000);
    X509_set_pubkey(made, subject_key);
    add(made, NID_key_usage, extensions[0]);
    add(made, NID_ext_key_usage, extensions[1]);
    add(made, NID_basic_constraints, issuer ? NULL : "critical,CA:TRUE");
    cr_assert(X509_sign(made, signer, EVP_sha256()) > 0);
    return made;
}

static void
begin(void)
{
    static const char *const signs[] = { "keyCertSign", NULL };
    static const char *const both[] = { "digitalSignature,keyEncipherment", AGENT };
    static const char *const device[] = { "digitalSignature", "clientAuth" };
    ca_key = pki_ec("P-256");
    ra_key = pki_rsa(2048);
    key = pki_rsa(2048);
    other_key = pki_rsa(2048);
    ca = certify(ca_key, "ca", NULL, ca_key, signs);
    ra = certify(ra_key, "ra", ca, ca_key, both);
    issued = certify(key, "dev", ca, ca_key, device);
    stranger = certify(other_key, "ra", ca, other_key, both);
    CA_AUTO(X509_NAME_free) X509_NAME *name = pki_name("dev");
    cr_assert_eq(scep_wire_self_sign(key, name, PKI_NOW, &self), CA_OK);
}

static void
end(void)
{
    EVP_PKEY *keys[] = { ca_key, ra_key, key, other_key };
    X509 *certificates[] = { ca, ra, self, issued, stranger };
    for (size_t i = 0; i < COUNT(keys); i++)
        EVP_PKEY_free(keys[i]);
    for (size_t i = 0; i < COUNT(certificates); i++)
        X509_free(certificates[i]);
    LEAK_CHECK();
}

TestSuite(scep_wire, .init = begin, .fini = end);

static STACK_OF(X509) *
stack_of(X509 *one, X509 *two)
{
    STACK_OF(X509) *stack = sk_X509_new_null();
    X509 *both[] = { one, two };
    for (size_t i = 0; i < 2; i++) {
        if (both[i])
            cr_assert(X509_up_ref(both[i]) && sk_X509_push(stack, both[i]));
    }
    return stack;
}

static enum ca_status
trust(X509 *one, X509 *two, X509 *pinned, int64_t now)
{
    struct scep_wire_pins pins = { .ra_count = 0 };
    CA_AUTO(x509_stack_free) STACK_OF(X509) *stack = stack_of(one, two);
    CA_AUTO(scep_wire_authority_clear) struct scep_wire_authority authority = { 0 };
    cr_assert(X509_digest(pinned, EVP_sha256(), pins.ca, NULL));
    enum ca_status status = scep_wire_trust(stack, &pins, now, &authority);
    if (status == CA_OK) {
        cr_assert_eq(authority.issuer, ca);
        cr_assert_eq(authority.recipient, ra);
        cr_assert_eq(sk_X509_num(authority.chain), 2);
    }
    return status;
}

Test(scep_wire, trusts_the_pinned_ca_and_an_ra_that_it_has_signed)
{
    cr_assert_eq(trust(ra, ca, ca, PKI_NOW), CA_OK);
    cr_assert_eq(trust(ca, ra, ca, PKI_NOW), CA_OK);
    cr_assert_eq(trust(ra, ca, self, PKI_NOW), CA_FORBIDDEN, "not the pinned one");
    cr_assert_eq(trust(stranger, ca, ca, PKI_NOW), CA_FORBIDDEN, "a name is no proof");
    cr_assert_eq(trust(issued, ca, ca, PKI_NOW), CA_FORBIDDEN, "its key encrypts not");
    cr_assert_eq(trust(ra, ca, ca, PKI_NOW + 2000), CA_FORBIDDEN, "it has expired");
    cr_assert_eq(trust(ca, NULL, ca, PKI_NOW), CA_FORBIDDEN, "EC takes no envelope");
}

/* What an enrolled device could add to an upstream's answer, and who is an RA. */
Test(scep_wire, a_device_of_the_ca_is_none_of_its_ras)
{
    enum { SERVER = 1, PINNED = 2, OTHER_PINNED = 4 };
    static const char both[] = "digitalSignature,keyEncipherment";
    static const struct {
        const char *extensions[2];
        unsigned how;
        bool is_trusted;
    } cases[] = {
        { { both, AGENT }, 0, true },
        { { both, "clientAuth," AGENT }, 0, true },
        { { both, "clientAuth" }, 0, false },
        { { both, "anyExtendedKeyUsage" }, 0, false },
        { { both, NULL }, 0, false },
        { { NULL, AGENT }, 0, false }, /* no keyUsage says so */
        { { "digitalSignature", AGENT }, 0, false },
        { { both, NULL }, SERVER, true },
        { { both, AGENT }, SERVER, true },
        { { both, "clientAuth" }, SERVER, false },
        { { both, "serverAuth" }, SERVER, false },
        { { NULL, NULL }, SERVER, false },
        { { both, NULL }, PINNED, true },
        { { both, "clientAuth" }, PINNED, true },
        { { both, "clientAuth" }, OTHER_PINNED | PINNED, true },
        { { both, AGENT }, OTHER_PINNED, false },
        { { both, NULL }, OTHER_PINNED | SERVER, false },
        { { NULL, NULL }, PINNED, false },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_free)
        X509 *one = certify(other_key, "x", ca, ca_key, cases[i].extensions);
        CA_AUTO(x509_stack_free) STACK_OF(X509) *stack = stack_of(ca, one);
        CA_AUTO(scep_wire_authority_clear) struct scep_wire_authority found = { 0 };
        struct scep_wire_pins pins = { .is_from_server = cases[i].how & SERVER };
        cr_assert(X509_digest(ca, EVP_sha256(), pins.ca, NULL));
        if (cases[i].how & OTHER_PINNED)
            cr_assert(X509_digest(ra, EVP_sha256(), pins.ra[pins.ra_count++], NULL));
        if (cases[i].how & PINNED)
            cr_assert(X509_digest(one, EVP_sha256(), pins.ra[pins.ra_count++], NULL));
        cr_assert_eq(scep_wire_trust(stack, &pins, PKI_NOW, &found),
                     cases[i].is_trusted ? CA_OK : CA_FORBIDDEN, "case %zu: %s", i,
                     status_message());
        cr_assert_eq(found.recipient, cases[i].is_trusted ? one : NULL);
    }
}

Test(scep_wire, tells_of_an_authority_only_who_speaks_for_it)
{
    static const char *const signs[] = { "digitalSignature", AGENT };
    CA_AUTO(X509_free) X509 *signer = certify(other_key, "signs", ca, ca_key, signs);
    CA_AUTO(x509_stack_free) STACK_OF(X509) *stack = stack_of(ca, ra);
    CA_AUTO(x509_stack_free) STACK_OF(X509) *more = stack_of(issued, signer);
    CA_AUTO(x509_stack_free) STACK_OF(X509) *told = NULL;
    CA_AUTO(scep_wire_authority_clear) struct scep_wire_authority found = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets der = { 0 };
    const char *type = NULL;
    struct scep_wire_pins pins = { .ra_count = 0 };
    cr_assert(X509_digest(ca, EVP_sha256(), pins.ca, NULL));
    while (sk_X509_num(more) > 0)
        cr_assert(sk_X509_push(stack, sk_X509_pop(more)));
    cr_assert_eq(scep_wire_trust(stack, &pins, PKI_NOW, &found), CA_OK);
    cr_assert_eq(sk_X509_num(found.signers), 3);
    cr_assert_eq(scep_wire_authority_encode(&found, &der, &type), CA_OK);
    cr_assert_str_eq(type, "application/x-x509-ca-ra-cert");
    cr_assert_eq(scep_wire_certificates(der.data, der.size, &told), CA_OK);
    cr_assert_eq(sk_X509_num(told), 3);
    for (int i = 0; i < 3; i++)
        cr_assert_neq(X509_cmp(sk_X509_value(told, i), issued), 0);
}

/* ---- CertRep ---- */

struct answer {
    const char *type, *status, *transaction;
    const uint8_t *nonce;
    X509 *signer;
    EVP_PKEY *signer_key;
    X509 *recipient;
    X509 *certificate;
    bool is_bare; /* without content */
    bool signs_twice;
};

static void
attribute(CMS_SignerInfo *signer, const char *oid, int type, const void *value,
          size_t size)
{
    CA_AUTO(ASN1_OBJECT_free) ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    cr_assert_eq(CMS_signed_add1_attr_by_OBJ(signer, object, type, value, (int)size),
                 1);
}

static struct scep_octets
degenerate(X509 *certificate)
{
    PKCS7 *alone = PKCS7_new();
    cr_assert(alone && PKCS7_set_type(alone, NID_pkcs7_signed) &&
              PKCS7_content_new(alone, NID_pkcs7_data) &&
              PKCS7_set_detached(alone, 1) &&
              PKCS7_add_certificate(alone, certificate));
    uint8_t *der = NULL;
    int size = i2d_PKCS7(alone, &der);
    PKCS7_free(alone);
    cr_assert_gt(size, 0);
    struct scep_octets octets = { malloc((size_t)size), (size_t)size };
    memcpy(octets.data, der, octets.size);
    OPENSSL_free(der);
    return octets;
}

static struct scep_octets
answer_build(const struct answer *answer)
{
    CA_AUTO(scep_octets_clear)
    struct scep_octets inner = degenerate(answer->certificate);
    CA_AUTO(scep_octets_clear) struct scep_octets envelope = { 0 };
    cr_assert_eq(scep_wire_envelope(answer->recipient, "aes256", inner.data, inner.size,
                                    &envelope),
                 CA_OK);
    const unsigned flags =
        CMS_BINARY | CMS_PARTIAL | (answer->is_bare ? CMS_DETACHED : 0u);
    CA_AUTO(BIO_free_all)
    BIO *in = BIO_new_mem_buf(envelope.data, answer->is_bare ? 0 : (int)envelope.size);
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, in, flags);
    CMS_SignerInfo *signer =
        CMS_add1_signer(cms, answer->signer, answer->signer_key, EVP_sha256(), flags);
    if (answer->signs_twice)
        cr_assert(CMS_add1_signer(cms, answer->signer, answer->signer_key, EVP_sha384(),
                                  flags | CMS_NOCERTS));
    attribute(signer, "2.16.840.1.113733.1.9.2", V_ASN1_PRINTABLESTRING, answer->type,
              strlen(answer->type));
    attribute(signer, "2.16.840.1.113733.1.9.3", V_ASN1_PRINTABLESTRING, answer->status,
              strlen(answer->status));
    attribute(signer, "2.16.840.1.113733.1.9.4", V_ASN1_PRINTABLESTRING, "2", 1);
    attribute(signer, "2.16.840.1.113733.1.9.6", V_ASN1_OCTET_STRING, answer->nonce,
              16);
    attribute(signer, "2.16.840.1.113733.1.9.7", V_ASN1_PRINTABLESTRING,
              answer->transaction, strlen(answer->transaction));
    cr_assert_eq(CMS_final(cms, in, NULL, flags & ~CMS_PARTIAL), 1);
    uint8_t *der = NULL;
    int size = i2d_CMS_ContentInfo(cms, &der);
    struct scep_octets octets = { malloc((size_t)size), (size_t)size };
    memcpy(octets.data, der, octets.size);
    OPENSSL_free(der);
    return octets;
}

static const uint8_t nonce[16] = "0123456789abcde", another[16] = "another nonce..";

Test(scep_wire, opens_the_answer_of_that_ca_to_that_message_alone)
{
    const struct answer right = { "3",    "0",  "t",    nonce, ra,
                                  ra_key, self, issued, false, false };
    struct answer cases[14];
    for (size_t i = 0; i < COUNT(cases); i++)
        cases[i] = right;
    cases[1].type = "19";
    cases[2].status = "1";
    cases[3].transaction = "u";
    cases[4].nonce = another;
    cases[5].signer = stranger;
    cases[5].signer_key = other_key;
    cases[6].recipient = ra;
    cases[7].status = "2";
    cases[8].status = "3";
    cases[9].status = "";
    cases[10].is_bare = cases[11].is_bare = cases[12].is_bare = true;
    cases[13].signs_twice = true;
    cases[11].status = "2";
    cases[12].status = "3";
    static const enum ca_status wanted[] = { CA_OK,        CA_FORBIDDEN, CA_MALFORMED,
                                             CA_FORBIDDEN, CA_FORBIDDEN, CA_FORBIDDEN,
                                             CA_MALFORMED, CA_OK,        CA_OK,
                                             CA_MALFORMED, CA_MALFORMED, CA_OK,
                                             CA_OK,        CA_FORBIDDEN };
    CA_AUTO(x509_stack_free) STACK_OF(X509) *signers = stack_of(ra, ca);
    struct scep_wire sent = { .type = "19",
                              .transaction = "t",
                              .key = key,
                              .certificate = self,
                              .digest = EVP_sha256() };
    memcpy(sent.nonce, nonce, sizeof nonce);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(scep_octets_clear) struct scep_octets der = answer_build(&cases[i]);
        CA_AUTO(scep_wire_reply_clear) struct scep_wire_reply reply = { 0 };
        cr_assert_eq(scep_wire_open(&sent, signers, der.data, der.size, &reply),
                     wanted[i], "case %zu: %s", i, status_message());
        if (i == 0)
            cr_assert_eq(X509_cmp(scep_wire_own(&reply, key), issued), 0);
        if (i == 13) /* not for what the one or the other says */
            cr_assert_not_null(strstr(status_message(), "not signed by that CA"));
        if (i == 7 || i == 11)
            cr_assert(reply.status == SCEP_WIRE_FAILURE && reply.fail == 2);
        if (i == 8 || i == 12)
            cr_assert_eq(reply.status, SCEP_WIRE_PENDING);
    }
    /* Every octet of the right one counts. */
    CA_AUTO(scep_octets_clear) struct scep_octets der = answer_build(&right);
    for (size_t i = 0; i < der.size; i += 97) {
        CA_AUTO(scep_wire_reply_clear) struct scep_wire_reply reply = { 0 };
        der.data[i] ^= 0x55;
        enum ca_status status =
            scep_wire_open(&sent, signers, der.data, der.size, &reply);
        cr_assert(status != CA_OK || scep_wire_own(&reply, key), "octet %zu", i);
        der.data[i] ^= 0x55;
    }
    CA_AUTO(scep_wire_reply_clear) struct scep_wire_reply reply = { 0 };
    cr_assert_eq(scep_wire_open(&sent, signers, der.data, der.size - 1, &reply),
                 CA_MALFORMED);
    cr_assert_eq(scep_wire_open(&sent, signers, "", 0, &reply), CA_MALFORMED);
}

Test(scep_wire, reads_certificates_in_both_forms)
{
    CA_AUTO(scep_octets_clear) struct scep_octets many = degenerate(ca);
    CA_AUTO(openssl_free) uint8_t *single = NULL;
    CA_AUTO(x509_stack_free) STACK_OF(X509) *one = NULL;
    CA_AUTO(x509_stack_free) STACK_OF(X509) *two = NULL;
    CA_AUTO(x509_stack_free) STACK_OF(X509) *none = NULL;
    int size = i2d_X509(ca, &single);
    cr_assert_eq(scep_wire_certificates(single, (size_t)size, &one), CA_OK);
    cr_assert_eq(scep_wire_certificates(many.data, many.size, &two), CA_OK);
    cr_assert_eq(X509_cmp(sk_X509_value(one, 0), sk_X509_value(two, 0)), 0);
    cr_assert_eq(scep_wire_certificates(single, (size_t)size - 1, &none), CA_MALFORMED);
    cr_assert_eq(scep_wire_certificates("", 0, &none), CA_MALFORMED);
    cr_assert_eq(scep_wire_certificates("x", 1, &none), CA_MALFORMED);
}

Test(scep_wire, takes_two_ciphers)
{
    CA_AUTO(scep_octets_clear) struct scep_octets a = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets b = { 0 };
    CA_AUTO(scep_octets_clear) struct scep_octets c = { 0 };
    cr_assert_eq(scep_wire_envelope(ra, "aes128", "x", 1, &a), CA_OK);
    cr_assert_eq(scep_wire_envelope(ra, "aes256", "x", 1, &b), CA_OK);
    cr_assert_eq(scep_wire_envelope(ra, "des3", "x", 1, &c), CA_UNSUPPORTED);
}

Test(scep_wire, writes_operations_and_messages_into_the_url)
{
    CA_AUTO(free) char *plain = scep_wire_url("http://h/scep", "GetCACert", "a b&c=%");
    CA_AUTO(free) char *bare = scep_wire_url("http://h/scep", "PKIOperation", NULL);
    cr_assert_str_eq(plain,
                     "http://h/scep?operation=GetCACert&message=a%20b%26c%3D%25");
    cr_assert_str_eq(bare, "http://h/scep?operation=PKIOperation");
}

Test(scep_wire, polls_by_both_names)
{
    CA_AUTO(X509_NAME_free) X509_NAME *one = pki_name("ca");
    CA_AUTO(X509_NAME_free) X509_NAME *two = pki_name("dev");
    CA_AUTO(scep_octets_clear) struct scep_octets der = { 0 };
    cr_assert_eq(scep_wire_poll(one, two, &der), CA_OK);
    const uint8_t *at = der.data + 2;
    cr_assert_eq(der.data[0], 0x30);
    cr_assert_eq(der.data[1], der.size - 2);
    CA_AUTO(X509_NAME_free) X509_NAME *first = d2i_X509_NAME(NULL, &at, 64);
    CA_AUTO(X509_NAME_free) X509_NAME *second = d2i_X509_NAME(NULL, &at, 64);
    cr_assert_eq(X509_NAME_cmp(first, one), 0);
    cr_assert_eq(X509_NAME_cmp(second, two), 0);
    cr_assert_eq(at, der.data + der.size);
}
