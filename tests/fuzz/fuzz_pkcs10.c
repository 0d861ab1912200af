/* PKCS#10 from decoding to the certificate's names: whatever the octets say, nothing is
 * issued that the profile does not grant, and what is built passes the linter. */
#include "auto.h"
#include "csr.h"
#include "fuzz.h"
#include "keycheck.h"
#include "lint.h"
#include "names.h"
#include "tbs.h"
#include <string.h>

#define NOW 1800000000

size_t fuzz_deep;

static char p256[] = "P-256", p384[] = "P-384", match_dns[] = "*.devices.example",
            match_ip[] = "192.0.2.*", match_uri[] = "urn:x:*",
            match_email[] = "*@example.com", subject[] = "CN={{request.cn}},O=Example",
            tls_feature[] = "1.3.6.1.5.5.7.1.24", client_auth[] = "client_auth";

static void
profile_fill(struct certificate_profile *profile)
{
    static char *curves[] = { p256, p384 }, *taken[] = { tls_feature },
                *ekus[] = { client_auth };
    static struct profile_key keys[] = {
        { .algorithm = KEY_RSA, .min_bits = 1024, .max_bits = 4096 },
        { .algorithm = KEY_EC, .curves = { curves, 2 } },
        { .algorithm = KEY_ED25519 },
    };
    static struct profile_match matches[] = { { SAN_DNS, match_dns },
                                              { SAN_IP, match_ip },
                                              { SAN_URI, match_uri },
                                              { SAN_EMAIL, match_email } };
    *profile = (struct certificate_profile){ .validity = 86400,
                                             .keys = { keys, 3 },
                                             .subject = subject,
                                             .key_usage = 1,
                                             .extended_key_usage = { ekus, 1 },
                                             .allow_sha1_request = true };
    profile->from_request.subject = SUBJECT_TAKE;
    profile->from_request.san = (struct field_list){ matches, 4 };
    profile->from_request.extensions = (struct field_list){ taken, 1 };
}

/* A root made once; the name of the key's owner is all that matters of it. */
static X509 *
issuer_make(void)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_EC_gen("P-256");
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = NULL;
    CA_AUTO(X509_NAME_free) X509_NAME *name = NULL;
    CA_AUTO(openssl_free) uint8_t *tbs = NULL;
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size, der_size;
    FUZZ_ASSERT(key && X509_PUBKEY_set(&spki, key) &&
                names_parse_subject("CN=Fuzz", &name) == CA_OK);
    struct tbs_authority wanted = { .kind = TBS_ROOT,
                                    .subject = name,
                                    .key = spki,
                                    .serial = (const uint8_t *)"\x11",
                                    .serial_size = 1,
                                    .now = NOW,
                                    .validity = 86400 * 10,
                                    .path_length = -1 };
    FUZZ_ASSERT(tbs_build_authority(&wanted, &tbs, &size) == CA_OK &&
                tbs_assemble(tbs, size, tbs, 1, &der, &der_size) == CA_OK);
    const uint8_t *at = der;
    return d2i_X509(NULL, &at, (long)der_size);
}

static void
build(const struct certificate_profile *profile, X509_REQ *request, struct names *names)
{
    static X509 *issuer;
    if (!issuer)
        issuer = issuer_make();
    struct tbs_input input = { .profile = profile,
                               .issuer = issuer,
                               .names = names,
                               .key = X509_REQ_get_X509_PUBKEY(request),
                               .request = request,
                               .serial = (const uint8_t *)"\x11",
                               .serial_size = 1,
                               .now = NOW };
    CA_AUTO(openssl_free) uint8_t *tbs = NULL;
    size_t size;
    int64_t from, to;
    /* A key of a kind that cannot sign may refuse; what is built must be right. */
    if (tbs_build(&input, &tbs, &size, &from, &to) == CA_OK)
        FUZZ_ASSERT(lint_tbs(tbs, size, issuer) == CA_OK);
}

static void
judge_names(const struct certificate_profile *profile, X509_REQ *request)
{
    struct names_sources sources = { .request = request };
    struct names names = { NULL, NULL };
    CA_AUTO(free)
    char *asked = names_format_subject(X509_REQ_get_subject_name(request));
    FUZZ_ASSERT(asked && text_is_clean(asked, strlen(asked)));
    if (names_build(profile, &sources, &names) != CA_OK)
        return;
    for (int i = 0; i < sk_GENERAL_NAME_num(names.san); i++) {
        CA_AUTO(free) char *text = names_format(sk_GENERAL_NAME_value(names.san, i));
        FUZZ_ASSERT(text && text_is_clean(text, strlen(text)) && !strchr(text, '*') &&
                    strncmp(text, "upn:", 4) != 0);
    }
    CA_AUTO(free) char *issued = names_format_subject(names.subject);
    CA_AUTO(X509_NAME_free) X509_NAME *again = NULL;
    FUZZ_ASSERT(issued && names_parse_subject(issued, &again) == CA_OK &&
                X509_NAME_cmp(again, names.subject) == 0);
    build(profile, request, &names);
    names_clear(&names);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct certificate_profile profile;
    CA_AUTO(X509_REQ_free) X509_REQ *request = NULL;
    profile_fill(&profile);
    if (csr_decode(data, size, &request) != CA_OK)
        return 0;
    fuzz_deep++;
    char *challenge = NULL;
    size_t challenge_size = 0;
    if (csr_challenge(request, &challenge, &challenge_size) == CA_OK)
        FUZZ_ASSERT(strlen(challenge) == challenge_size);
    secret_free(challenge);
    enum ca_status key = keycheck_public(&profile, X509_REQ_get_X509_PUBKEY(request));
    if (key == CA_OK)
        (void)csr_verify(&profile, request);
    if (csr_check_extensions(request) == CA_OK)
        judge_names(&profile, request);
    return 0;
}
