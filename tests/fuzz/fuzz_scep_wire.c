/* Any octets as what a SCEP server sends, by the first of them: GetCACert's answer, a
 * CertRep, what a CertRep that holds has inside, and what is enveloped in there. One
 * key is the server's and the client's. */
#include "fuzz.h"
#include "scep_wire.h"
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>

#define NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define NONCE "0123456789abcdef"

size_t fuzz_deep;

static const char pem[] =
    "-----BEGIN RSA PRIVATE KEY-----\n"
    "MIIEowIBAAKCAQEAn34hgJKIgxu0Nmwr6gtAR8QajnvrmVjbvjGP1oPf+MIlZrCw\n"
    "yu5hEAvi4RHli/Fh7yOcNmfQCsTFycTRQN1zw/Bk7Md8bAw5ENv4iKfuAu7kK+SB\n"
    "EAJvVUwcLfrXAtnu/3xsSm+eSdVbVJJPIAbXALm9P4KWlAYfkEDXSlwEq7CIwvLy\n"
    "oiPxX66lKxlAkqrDTF8HUlhs2HpkJ/68dGQQg/L0b2+yWRXqYjBXiBZA3R5uPn1+\n"
    "RjmOCzF90MNW0JiNYB/34LUJTxqsWr1x+6WEtbQuUP/e7PkM/PWn6OPsZVqShzXF\n"
    "gtxczL3Fcqz5srgpc1Ma64gzSULjP/8pxYNQewIDAQABAoIBAEgK7lEoX3dxdSa8\n"
    "F94BNQj1wNUpjpNW+vNfacyJBwtTjxdiqokPwlJAPDxUHC7pWsZtfGtq2yNyHLF2\n"
    "MNsu7NLN7JizxzT7FG/UHOCFklJK3FAjSFUV9HpABd6TFroX/Qf0iOnan1JUiIuc\n"
    "Bxe9XzLZs21TrHayiWFcmKLjC80NGm81n1SzEytRKKskV4/VngFHAbev86rgxwDt\n"
    "fOH47uEh7kXPIu2qQ47l7bCEMf1x5BXmGC+medY6UXxbBCLPQwwZcEzgHWrYsO9I\n"
    "5qlT4iQyLvCCr805xs6Tm+KDx9MQX1e1bLTQUEzc42rbIvyqvjj6QKQxwtykap1A\n"
    "3P16QlECgYEA3fTl+oUKOiv9uJIRVgTkjKkAkx1WY9zEYVhDtl86vv1h0q97TUkV\n"
    "Uh7949/9tnHAlzdOGEMcaBPGAB08YYojlfGJKBoXRcJIDxb50yFFU1vKBZIkOxvz\n"
    "HVuzB+lsyBBCCvFZ4PmR2HsWXnje2FvPLSo5ActVJqbVsZZPKVCiihMCgYEAt/SX\n"
    "4eChuGRU/WgMwvRB6Z0Feh/x4MOQ2AiRcDIL6tUxsQdCuoNK8kaXaNEus1gBVrtG\n"
    "AMZf9O+pV6UvUTy1GYJ9+MWv9wNonta8BQQNpU77KNWsjNKk2xsPftC6Ih6zGuQN\n"
    "2yAd4EcgwQb6x7CSkbrpQkJl2sJgra7zKruJbPkCgYEAj0QKRiAlr9LBXKd75SgX\n"
    "VeuoYU0ofCD96U+NtWPWiX0H7XQzhHlN98nlW3czTtYx1+ls0SBQb6WDwoMcfGEs\n"
    "Axb6zxW4O+DhnkvYSb1KADpZNitUk4rA7AxKjSrQenp0BpguyZaN20vn7mbagJES\n"
    "MzbzwQK8HczGVnCM/D/+Cl0CgYBTsiuwj73E4ZFxwneb8/pRSioFyKcKdrBeOnfB\n"
    "rmORsvJq8zy/E6Fz3f5hqFsxKidhyM8u5xMdpDVONU/0DETxmFesanWHU7u0GUtu\n"
    "lMuInQjVKXLal7R+JC/GqT0m7QTchUpwmoo9Ut9qM7zCQmpNd9dNWFxzTeEi5Oiq\n"
    "Vq1OMQKBgDQ5dehKNkRRyOvpqPtSx0f63k75+eXo+2kRxQUuk5wy8Fx9ytC9LTLQ\n"
    "chSzx5qYbqkJQWl+3sbQgWgoYKvVsHVS1OfCRnf/cXK6ZTlF4sla12IklFVKXC7A\n"
    "AySCVOZdPcis3NCm0kIuHohJpZ12vpHeruv15X7w2ZpOx84PBt8f\n"
    "-----END RSA PRIVATE KEY-----\n"
    "-----BEGIN CERTIFICATE-----\n"
    "MIIC/jCCAeagAwIBAgIBATANBgkqhkiG9w0BAQsFADAPMQ0wCwYDVQQDDARmdXp6\n"
    "MCAXDTI2MTEyNjEyNDAzOVoYDzIxMjYxMTAyMTI0MDM5WjAPMQ0wCwYDVQQDDARm\n"
    "dXp6MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAn34hgJKIgxu0Nmwr\n"
    "6gtAR8QajnvrmVjbvjGP1oPf+MIlZrCwyu5hEAvi4RHli/Fh7yOcNmfQCsTFycTR\n"
    "QN1zw/Bk7Md8bAw5ENv4iKfuAu7kK+SBEAJvVUwcLfrXAtnu/3xsSm+eSdVbVJJP\n"
    "IAbXALm9P4KWlAYfkEDXSlwEq7CIwvLyoiPxX66lKxlAkqrDTF8HUlhs2HpkJ/68\n"
    "dGQQg/L0b2+yWRXqYjBXiBZA3R5uPn1+RjmOCzF90MNW0JiNYB/34LUJTxqsWr1x\n"
    "+6WEtbQuUP/e7PkM/PWn6OPsZVqShzXFgtxczL3Fcqz5srgpc1Ma64gzSULjP/8p\n"
    "xYNQewIDAQABo2MwYTAdBgNVHQ4EFgQUCZW/1g5gsoMlobMJoeM4BJBj6L0wHwYD\n"
    "VR0jBBgwFoAUCZW/1g5gsoMlobMJoeM4BJBj6L0wDwYDVR0TAQH/BAUwAwEB/zAO\n"
    "BgNVHQ8BAf8EBAMCAqQwDQYJKoZIhvcNAQELBQADggEBADBEAq5KKIRH+AopEqVp\n"
    "ntJFuxW+pWiZPu79uCeDg2pWbEqHFLz7q7aP2v373129XrTrQRgAD08+IZdYM4fQ\n"
    "HDQvBGc+ZoXaYK0EESIP1GBRMyZyXkckrk0hvsczuZb3G5z5gTER7ACGTaF81n4x\n"
    "+5XbEKDpR+N2qapPsp0cl7V8V1nnJ6qM87J2K35GNHijPAmf7R5z0t6g+B1UQpZg\n"
    "rIeM1cYVDz8bDnZXHECm0zFasuAqawdErYHAh8lw5lg34O0Dfpx1u5AnZzMT2sOB\n"
    "AUBMfRtHa3YV5EelI9KmhA/I4ioEVEKDeNdeUoVCBWAn9rTCtjOMJ+v2UHYup09H\n"
    "WF0=\n"
    "-----END CERTIFICATE-----\n";

static EVP_PKEY *key;
static X509 *certificate;
static STACK_OF(X509) *signers;

static void
begin(void)
{
    BIO *in = BIO_new_mem_buf(pem, -1);
    key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    certificate = PEM_read_bio_X509(in, NULL, NULL, NULL);
    BIO_free(in);
    signers = sk_X509_new_null();
    FUZZ_ASSERT(key && certificate && sk_X509_push(signers, certificate));
}

static void
authority(const uint8_t *data, size_t size)
{
    struct scep_wire_pins pins = { .is_from_server = true };
    CA_AUTO(x509_stack_free) STACK_OF(X509) *certificates = NULL;
    CA_AUTO(scep_wire_authority_clear) struct scep_wire_authority found = { 0 };
    enum ca_status status = scep_wire_certificates(data, size, &certificates);
    FUZZ_ASSERT((status == CA_OK) == (certificates != NULL));
    if (status != CA_OK)
        return;
    fuzz_deep++;
    int count = sk_X509_num(certificates);
    FUZZ_ASSERT(count >= 1 && count <= SCEP_WIRE_CERTIFICATES_MAX);
    X509 *pinned = sk_X509_value(certificates, count - 1);
    FUZZ_ASSERT(X509_digest(pinned, EVP_sha256(), pins.ca, NULL) == 1);
    if (scep_wire_trust(certificates, &pins, NOW, &found) != CA_OK)
        return;
    FUZZ_ASSERT(found.issuer == pinned || X509_cmp(found.issuer, pinned) == 0);
    FUZZ_ASSERT(found.recipient && sk_X509_num(found.chain) >= 1);
    FUZZ_ASSERT(sk_X509_num(found.chain) <= SCEP_WIRE_CERTIFICATES_MAX + 1);
}

static void
reply(const uint8_t *data, size_t size)
{
    const struct scep_wire sent = { .type = "19",
                                    .transaction = "t",
                                    .nonce = NONCE,
                                    .key = key,
                                    .certificate = certificate,
                                    .digest = EVP_sha256() };
    CA_AUTO(scep_wire_reply_clear) struct scep_wire_reply got = { 0 };
    if (scep_wire_open(&sent, signers, data, size, &got) != CA_OK) {
        FUZZ_ASSERT(!got.certificates);
        return;
    }
    fuzz_deep++;
    FUZZ_ASSERT((got.status == SCEP_WIRE_SUCCESS) == (got.certificates != NULL));
    FUZZ_ASSERT(got.status == SCEP_WIRE_SUCCESS || got.status == SCEP_WIRE_FAILURE ||
                got.status == SCEP_WIRE_PENDING);
    FUZZ_ASSERT(got.fail >= -1 && got.fail <= 99);
    (void)scep_wire_own(&got, key);
}

static bool
attribute(CMS_SignerInfo *signer, const char *oid, int type, const char *value)
{
    ASN1_OBJECT *object = OBJ_txt2obj(oid, 1);
    int is_added =
        CMS_signed_add1_attr_by_OBJ(signer, object, type, value, (int)strlen(value));
    ASN1_OBJECT_free(object);
    return is_added == 1;
}

/* A CertRep of status SUCCESS around these octets. */
static void
signed_reply(const uint8_t *data, size_t size)
{
    const unsigned flags = CMS_BINARY | CMS_PARTIAL;
    uint8_t *der = NULL;
    CA_AUTO(BIO_free_all) BIO *in = BIO_new_mem_buf(data, (int)size);
    CA_AUTO(CMS_ContentInfo_free)
    CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, in, flags);
    CMS_SignerInfo *signer =
        CMS_add1_signer(cms, certificate, key, EVP_sha256(), flags);
    FUZZ_ASSERT(
        attribute(signer, "2.16.840.1.113733.1.9.2", V_ASN1_PRINTABLESTRING, "3") &&
        attribute(signer, "2.16.840.1.113733.1.9.3", V_ASN1_PRINTABLESTRING, "0") &&
        attribute(signer, "2.16.840.1.113733.1.9.6", V_ASN1_OCTET_STRING, NONCE) &&
        attribute(signer, "2.16.840.1.113733.1.9.7", V_ASN1_PRINTABLESTRING, "t") &&
        CMS_final(cms, in, NULL, CMS_BINARY) == 1);
    int length = i2d_CMS_ContentInfo(cms, &der);
    FUZZ_ASSERT(length > 0);
    reply(der, (size_t)length);
    OPENSSL_free(der);
}

static void
enveloped_reply(const uint8_t *data, size_t size)
{
    CA_AUTO(scep_octets_clear) struct scep_octets envelope = { 0 };
    FUZZ_ASSERT(scep_wire_envelope(certificate, "aes256", data, size, &envelope) ==
                CA_OK);
    signed_reply(envelope.data, envelope.size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const kinds[])(const uint8_t *data,
                                 size_t size) = { authority, reply, signed_reply,
                                                  enveloped_reply };
    if (!key)
        begin();
    if (size > 0)
        kinds[data[0] % 4](data + 1, size - 1);
    ERR_clear_error();
    return 0;
}
