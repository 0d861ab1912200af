/* The ceremony: issuers made here and certified elsewhere, their refusals (SECURITY H1,
 * H2). */
#include "ceremony_key.h"
#include "ceremony_rig.h"
#include "issuer.h"
#include "keygen.h"
#include "leak.h"
#include "pki_ca.h"
#include <openssl/pem.h>

TestSuite(ceremony, .init = set_up, .fini = tear_down);

/* ---- An outside CA ---- */

struct outside {
    EVP_PKEY *key;
    X509 *root;
};

static void
extension_add(X509 *certificate, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *one =
        value ? X509V3_EXT_conf_nid(NULL, &context, nid, value) : NULL;
    cr_assert(!value || (one && X509_add_ext(certificate, one, -1)), "%s", value);
    X509_EXTENSION_free(one);
}

/* What a certificate is to have; zero: as it should be. */
struct wanted {
    const char *name, *usage, *constraints, *names, *subject;
    const EVP_MD *digest;
    int64_t from, to;
    EVP_PKEY *signer; /* in the outside's stead */
};

static X509 *
outside_sign(const struct outside *outside, EVP_PKEY *key, const struct wanted *wanted)
{
    static long serial = 100;
    X509 *certificate = X509_new();
    X509 *issuer = outside->root ? outside->root : certificate;
    CA_AUTO(X509_NAME_free)
    X509_NAME *name = pki_name(wanted->subject ? wanted->subject : "Imported");
    cr_assert(X509_set_version(certificate, X509_VERSION_3));
    cr_assert(ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++));
    cr_assert(X509_set_subject_name(certificate, name));
    cr_assert(X509_set_issuer_name(certificate, X509_get_subject_name(issuer)));
    cr_assert(X509_set_pubkey(certificate, key));
    int64_t from = wanted->from ? wanted->from : -DAY;
    int64_t to = wanted->to ? wanted->to : YEAR;
    ASN1_TIME_set(X509_getm_notBefore(certificate), (time_t)(clock_now() + from));
    ASN1_TIME_set(X509_getm_notAfter(certificate), (time_t)(clock_now() + to));
    extension_add(certificate, issuer, NID_subject_key_identifier, "hash");
    if (outside->root)
        extension_add(certificate, issuer, NID_authority_key_identifier, "keyid");
    extension_add(certificate, issuer, NID_basic_constraints,
                  wanted->constraints ? wanted->constraints : "critical,CA:TRUE");
    extension_add(certificate, issuer, NID_key_usage,
                  wanted->usage ? wanted->usage : "critical,keyCertSign,cRLSign");
    extension_add(certificate, issuer, NID_name_constraints, wanted->names);
    cr_assert(X509_sign(certificate, wanted->signer ? wanted->signer : outside->key,
                        wanted->digest ? wanted->digest : EVP_sha256()) > 0);
    return certificate;
}

static void
outside_make(struct outside *outside, const struct wanted *wanted)
{
    *outside = (struct outside){ .key = pki_ec("P-256") };
    outside->root = outside_sign(outside, outside->key, wanted);
}

static void
outside_clear(struct outside *outside)
{
    EVP_PKEY_free(outside->key);
    X509_free(outside->root);
}

static char *
pem_of(X509 *one, X509 *other)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    cr_assert(PEM_write_bio_X509(bio, one));
    cr_assert(!other || PEM_write_bio_X509(bio, other));
    long size = BIO_get_mem_data(bio, &text);
    return strndup(text, (size_t)size);
}

/* The public half of a request's key, and that the request asks for a CA. */
static EVP_PKEY *
request_key(const struct ceremony_made *made)
{
    const uint8_t *at = made->der;
    CA_AUTO(X509_REQ_free)
    X509_REQ *request = d2i_X509_REQ(NULL, &at, (long)made->size);
    cr_assert(request && at == made->der + made->size);
    cr_assert_eq(X509_REQ_verify(request, X509_REQ_get0_pubkey(request)), 1);
    STACK_OF(X509_EXTENSION) *list = X509_REQ_get_extensions(request);
    int index = X509v3_get_ext_by_NID(list, NID_basic_constraints, -1);
    cr_expect(X509_EXTENSION_get_critical(X509v3_get_ext(list, index)));
    cr_expect_geq(X509v3_get_ext_by_NID(list, NID_key_usage, -1), 0);
    sk_X509_EXTENSION_pop_free(list, X509_EXTENSION_free);
    EVP_PKEY *key = X509_REQ_get0_pubkey(request);
    EVP_PKEY_up_ref(key);
    return key;
}

static enum ca_status
import(const char *name, X509 *certificate, X509 *above)
{
    CA_AUTO(free) char *text = pem_of(certificate, NULL);
    CA_AUTO(free) char *chain = above ? pem_of(above, NULL) : NULL;
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    return ceremony_import(
        &ceremony,
        &(struct ceremony_import){ .name = name, .certificate = text, .chain = chain },
        &made);
}

static void
request_make(const char *name, struct ceremony_made *made)
{
    cr_assert_eq(ceremony_request(&ceremony,
                                  &(struct ceremony_request){ .name = name,
                                                              .subject = "CN=Imported",
                                                              .algorithm = "p-256" },
                                  made),
                 CA_OK, "%s", status_message());
}

Test(ceremony, an_outside_ca_certifies_a_key_of_the_token)
{
    struct outside outside;
    CA_AUTO(ceremony_made_clear) struct ceremony_made request = { 0 };
    outside_make(&outside, &(struct wanted){ .subject = "Outside" });
    request_make("imported", &request);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = request_key(&request);
    CA_AUTO(X509_free)
    X509 *certificate = outside_sign(&outside, key, &(struct wanted){ 0 });
    cr_assert_eq(import("imported", certificate, outside.root), CA_OK, "%s",
                 status_message());
    cr_assert_eq(service_reload(house.service), CA_OK, "%s", status_message());
    struct issuers *issuers = service_issuers(house.service);
    const struct issuer *imported = issuers_find(issuers, "imported");
    cr_assert(imported && imported->key);
    cr_expect_eq(imported->state, AUTHORITY_ACTIVE);
    cr_expect_eq(X509_cmp(imported->certificate, certificate), 0);
    cr_expect_eq(sk_X509_num(imported->chain), 1);
    issuers_release(issuers);
    cr_expect_eq(house_integer(&house,
                               "SELECT COUNT(*) FROM audit_entry WHERE action IN"
                               " ('issuer.request', 'issuer.import')"),
                 2);
    outside_clear(&outside);
}

Test(ceremony, a_renewed_certificate_takes_the_place_of_the_old_one)
{
    struct outside outside;
    CA_AUTO(ceremony_made_clear) struct ceremony_made first = { 0 };
    CA_AUTO(ceremony_made_clear) struct ceremony_made second = { 0 };
    outside_make(&outside, &(struct wanted){ .subject = "Outside" });
    request_make("imported", &first);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = request_key(&first);
    CA_AUTO(X509_free) X509 *old = outside_sign(&outside, key, &(struct wanted){ 0 });
    CA_AUTO(X509_free)
    X509 *new = outside_sign(&outside, key, &(struct wanted){ .to = 2 * YEAR });
    CA_AUTO(X509_free)
    X509 *renamed = outside_sign(&outside, key, &(struct wanted){ .subject = "Other" });
    cr_assert_eq(import("imported", old, outside.root), CA_OK, "%s", status_message());
    request_make("imported", &second);
    cr_expect_str_eq(second.key, first.key, "a renewal keeps the key");
    cr_expect_eq(import("imported", renamed, outside.root), CA_CONFLICT);
    cr_expect_eq(import("imported", new, outside.root), CA_OK, "%s", status_message());
    /* Another issuer's name, with its own key, is not taken over. */
    cr_expect_eq(import("issuing", new, outside.root), CA_CONFLICT);
    outside_clear(&outside);
}

/* ---- H2: what is not imported ---- */

struct refusal {
    struct wanted wanted;
    enum ca_status expected;
    const char *says;
};

static void
expect_refused(const struct refusal *refusal)
{
    struct outside outside;
    CA_AUTO(ceremony_made_clear) struct ceremony_made request = { 0 };
    outside_make(&outside, &(struct wanted){ .subject = "Outside" });
    request_make("imported", &request);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = request_key(&request);
    CA_AUTO(X509_free)
    X509 *certificate = outside_sign(&outside, key, &refusal->wanted);
    cr_expect_eq(import("imported", certificate, outside.root), refusal->expected, "%s",
                 status_message());
    cr_expect(strstr(status_message(), refusal->says), "%s", status_message());
    cr_expect_eq(
        house_integer(&house, "SELECT COUNT(*) FROM authority WHERE name = 'imported'"),
        0);
    outside_clear(&outside);
}

Test(ceremony, H2_expired_is_refused)
{
    expect_refused(
        &(struct refusal){ { .from = -2 * DAY, .to = -DAY }, CA_FORBIDDEN, "expired" });
}

Test(ceremony, H2_not_yet_valid_is_refused)
{
    expect_refused(&(struct refusal){ { .from = DAY }, CA_FORBIDDEN, "not yet valid" });
}

Test(ceremony, H2_without_keyCertSign_is_refused)
{
    expect_refused(&(struct refusal){
        { .usage = "critical,cRLSign" }, CA_FORBIDDEN, "keyCertSign" });
}

Test(ceremony, H2_without_cRLSign_is_refused)
{
    expect_refused(&(struct refusal){
        { .usage = "critical,keyCertSign" }, CA_FORBIDDEN, "cRLSign" });
}

Test(ceremony, H2_no_ca_is_refused)
{
    expect_refused(&(struct refusal){
        { .constraints = "critical,CA:FALSE", .usage = "critical,digitalSignature" },
        CA_FORBIDDEN,
        "" });
}

Test(ceremony, H2_sha1_is_refused)
{
    expect_refused(&(struct refusal){ { .digest = EVP_sha1() }, CA_FORBIDDEN, "weak" });
}

Test(ceremony, H2_another_signer_is_refused)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *stranger = pki_ec("P-256");
    expect_refused(
        &(struct refusal){ { .signer = stranger }, CA_FORBIDDEN, "no chain" });
}

Test(ceremony, H2_a_key_that_is_not_in_the_token_is_refused)
{
    struct outside outside;
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *elsewhere = pki_ec("P-256");
    outside_make(&outside, &(struct wanted){ .subject = "Outside" });
    CA_AUTO(X509_free)
    X509 *certificate = outside_sign(&outside, elsewhere, &(struct wanted){ 0 });
    cr_expect_eq(import("imported", certificate, outside.root), CA_NOT_FOUND);
    cr_expect(strstr(status_message(), "no token"), "%s", status_message());
    outside_clear(&outside);
}

Test(ceremony, H2_a_key_that_is_not_the_certificates_is_refused)
{
    struct outside outside;
    CA_AUTO(ceremony_made_clear) struct ceremony_made request = { 0 };
    CA_AUTO(ceremony_made_clear) struct ceremony_made other = { 0 };
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    outside_make(&outside, &(struct wanted){ .subject = "Outside" });
    request_make("imported", &request);
    request_make("other", &other);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = request_key(&request);
    CA_AUTO(X509_free)
    X509 *certificate = outside_sign(&outside, key, &(struct wanted){ 0 });
    CA_AUTO(free) char *text = pem_of(certificate, NULL);
    CA_AUTO(free) char *chain = pem_of(outside.root, NULL);
    struct ceremony_import wanted = {
        .name = "imported", .certificate = text, .chain = chain, .key = other.key
    };
    cr_expect_eq(ceremony_import(&ceremony, &wanted, &made), CA_CONFLICT);
    cr_expect(strstr(status_message(), "not the certificate's"), "%s",
              status_message());
    wanted.key = request.key;
    cr_expect_eq(ceremony_import(&ceremony, &wanted, &made), CA_OK, "%s",
                 status_message());
    outside_clear(&outside);
}

Test(ceremony, H2_no_chain_is_refused)
{
    struct outside outside, stranger;
    CA_AUTO(ceremony_made_clear) struct ceremony_made request = { 0 };
    outside_make(&outside, &(struct wanted){ .subject = "Outside" });
    outside_make(&stranger, &(struct wanted){ .subject = "Stranger" });
    request_make("imported", &request);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = request_key(&request);
    CA_AUTO(X509_free)
    X509 *certificate = outside_sign(&outside, key, &(struct wanted){ 0 });
    cr_expect_eq(import("imported", certificate, NULL), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "no chain"), "%s", status_message());
    cr_expect_eq(import("imported", certificate, stranger.root), CA_FORBIDDEN);
    /* And nothing may be beside the chain. */
    CA_AUTO(free) char *text = pem_of(certificate, NULL);
    CA_AUTO(free) char *both = pem_of(outside.root, stranger.root);
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    struct ceremony_import wanted = { .name = "imported",
                                      .certificate = text,
                                      .chain = both };
    cr_expect_eq(ceremony_import(&ceremony, &wanted, &made), CA_MALFORMED);
    outside_clear(&outside);
    outside_clear(&stranger);
}

Test(ceremony, H2_a_chain_without_room_is_refused)
{
    struct outside outside;
    CA_AUTO(ceremony_made_clear) struct ceremony_made request = { 0 };
    outside_make(&outside,
                 &(struct wanted){ .subject = "Outside",
                                   .constraints = "critical,CA:TRUE,pathlen:0" });
    request_make("imported", &request);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = request_key(&request);
    CA_AUTO(X509_free)
    X509 *certificate = outside_sign(&outside, key, &(struct wanted){ 0 });
    cr_expect_eq(import("imported", certificate, outside.root), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "path length"), "%s", status_message());
    outside_clear(&outside);
}

Test(ceremony, H2_what_is_no_pem_is_refused)
{
    static const char *const texts[] = { "", "nothing",
                                         "-----BEGIN CERTIFICATE-----\n"
                                         "MAA=\n"
                                         "-----END CERTIFICATE-----\n" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
        cr_expect_eq(ceremony_import(&ceremony,
                                     &(struct ceremony_import){
                                         .name = "x", .certificate = texts[i] },
                                     &made),
                     CA_MALFORMED, "%zu: %s", i, status_message());
    }
}

/* ---- H1: what an imported CA may sign ---- */

static void
import_with(const struct outside *outside, const struct wanted *wanted)
{
    CA_AUTO(ceremony_made_clear) struct ceremony_made request = { 0 };
    request_make("imported", &request);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = request_key(&request);
    CA_AUTO(X509_free) X509 *certificate = outside_sign(outside, key, wanted);
    cr_assert_eq(import("imported", certificate, outside->root), CA_OK, "%s",
                 status_message());
    cr_assert_eq(service_reload(house.service), CA_OK, "%s", status_message());
}

Test(ceremony, H1_the_path_length_of_an_imported_ca_holds)
{
    struct outside outside;
    outside_make(&outside, &(struct wanted){ .subject = "Outside" });
    import_with(&outside,
                &(struct wanted){ .constraints = "critical,CA:TRUE,pathlen:0" });
    const int64_t keys = house_integer(&house, "SELECT COUNT(*) FROM certificate");
    struct ceremony_issuer below = { "below", "CN=Below", "p-256",         "imported",
                                     YEAR,    0,          AUTHORITY_ACTIVE };
    cr_expect_eq(ceremony_create_issuer(&ceremony, &below), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "room"), "%s", status_message());
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate"), keys,
                 "nothing was signed");
    outside_clear(&outside);
}

Test(ceremony, H1_a_path_length_further_up_holds)
{
    struct outside outside;
    outside_make(&outside,
                 &(struct wanted){ .subject = "Outside",
                                   .constraints = "critical,CA:TRUE,pathlen:1" });
    import_with(&outside, &(struct wanted){ 0 }); /* no limit of its own */
    struct ceremony_issuer below = { "below", "CN=Below", "p-256",         "imported",
                                     YEAR,    0,          AUTHORITY_ACTIVE };
    cr_expect_eq(ceremony_create_issuer(&ceremony, &below), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "above the issuer"), "%s", status_message());
    outside_clear(&outside);
}

static enum ca_status
enroll_named(const char *san)
{
    struct house_device device;
    char challenge[CHALLENGE_TEXT_SIZE], wanted[128];
    snprintf(wanted, sizeof wanted, "dns:%s", san);
    char *items[] = { wanted };
    house_device_make(&device, "alice", NULL);
    house_challenge(&house, &(struct challenge){ .san = { items, 1 } }, challenge);
    enum ca_status status = house_enroll(&house, &device, challenge, NULL);
    house_device_clear(&device);
    return status;
}

Test(ceremony, H1_name_constraints_of_an_imported_ca_hold)
{
    struct outside outside;
    outside_make(&outside, &(struct wanted){ .subject = "Outside" });
    import_with(&outside, &(struct wanted){
                              .names = "critical,permitted;DNS:devices.example.com" });
    house_set(&house, "issuer", "\"imported\"");
    cr_expect_eq(enroll_named("a.devices.example.com"), CA_OK, "%s", status_message());
    cr_expect_eq(enroll_named("a.example.org"), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "nameConstraints"), "%s", status_message());
    outside_clear(&outside);
}

Test(ceremony, H1_name_constraints_further_up_hold)
{
    struct outside outside;
    outside_make(&outside,
                 &(struct wanted){ .subject = "Outside",
                                   .names = "critical,excluded;DNS:example.org" });
    import_with(&outside, &(struct wanted){ 0 });
    house_set(&house, "issuer", "\"imported\"");
    cr_expect_eq(enroll_named("a.devices.example.com"), CA_OK, "%s", status_message());
    cr_expect_eq(enroll_named("a.example.org"), CA_FORBIDDEN);
    outside_clear(&outside);
}
