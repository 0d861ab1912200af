/* CRLs: what is on them, for how long, and that numbers only rise (SECURITY V1, V2,
 * V4). */
#include "certificate.h"
#include "clock.h"
#include "crl.h"
#include "house.h"
#include "leak.h"
#include "pki.h"
#include <sys/resource.h>
#include <time.h>

#define URL "http://ca.example.com/crl/issuing.crl"
#define DAY 86400
#ifdef __SANITIZE_ADDRESS__
#define GROWTH_MAX_KIB (400 * 1024)
#else
#define GROWTH_MAX_KIB (64 * 1024)
#endif

static struct house house;
static struct issuers *issuers;
static const struct issuer *issuing;

static void
set_up(void)
{
    clock_set(-1);
    house_build(&house);
    issuers = service_issuers(house.service);
    issuing = issuers_find(issuers, "issuing");
    cr_assert(issuing && issuing->key);
}

static void
tear_down(void)
{
    clock_set(-1);
    issuers_release(issuers);
    issuers = NULL;
    house_remove(&house);
}

TestSuite(crl, .init = set_up, .fini = tear_down);

struct row {
    const char *serial, *reason; /* NULL: not revoked */
    int64_t not_after;
};

static enum ca_status
row_step(struct store_tx *tx, void *arg)
{
    const struct row *row = arg;
    char serial[48], name[] = "issuing", subject[] = "CN=x", octet[] = "x";
    snprintf(serial, sizeof serial, "%s", row->serial);
    struct certificate certificate = { .serial = serial,
                                       .issuer = name,
                                       .subject = subject,
                                       .not_before = 1,
                                       .not_after = row->not_after,
                                       .der = octet,
                                       .der_size = 1 };
    struct certificate_intent intent = { .certificate = &certificate, .run = "r" };
    enum ca_status status = certificate_reserve(tx, &intent);
    if (status == CA_OK)
        status = certificate_complete(tx, serial, "r", "x", 1);
    int code;
    if (status != CA_OK || !row->reason)
        return status;
    cr_assert(certificate_reason_parse(row->reason, &code), "%s", row->reason);
    return certificate_revoke(tx, serial, code, code == 1 ? 1700000000 : 0);
}

/* A certificate in the record, revoked when there is a reason. */
static void
add_row(const char *serial, const char *reason, int64_t not_after)
{
    house_write(&house, row_step, &(struct row){ serial, reason, not_after });
}

struct latest {
    struct authority_crl crl;
    X509_CRL *decoded;
};

static enum ca_status
latest_step(struct store_tx *tx, void *arg)
{
    struct latest *latest = arg;
    return authority_crl_load(tx, "issuing", true, &latest->crl);
}

/* The kept CRL, decoded and verified. */
static X509_CRL *
latest_crl(struct authority_crl *ret_crl)
{
    struct latest latest = { .decoded = NULL };
    cr_assert_eq(store_read(house.service->store, latest_step, &latest), CA_OK, "%s",
                 status_message());
    const uint8_t *at = latest.crl.der;
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)latest.crl.der_size);
    cr_assert(crl && at == (uint8_t *)latest.crl.der + latest.crl.der_size);
    cr_assert(der_is_strict(latest.crl.der, latest.crl.der_size));
    cr_assert_eq(X509_CRL_verify(crl, X509_get0_pubkey(issuing->certificate)), 1);
    if (ret_crl)
        *ret_crl = latest.crl;
    authority_crl_clear(&latest.crl);
    return crl;
}

static void
build(void)
{
    cr_assert_eq(crl_build(house.service->store, issuing, URL), CA_OK, "%s",
                 status_message());
}

static bool
is_due(void)
{
    bool due;
    cr_assert_eq(crl_is_due(house.service->store, issuing, &due), CA_OK);
    return due;
}

static X509_REVOKED *
find(X509_CRL *crl, const char *serial)
{
    CA_AUTO(BN_free) BIGNUM *number = NULL;
    X509_REVOKED *found = NULL;
    BN_hex2bn(&number, serial);
    CA_AUTO(ASN1_INTEGER_free) ASN1_INTEGER *integer = BN_to_ASN1_INTEGER(number, NULL);
    return X509_CRL_get0_by_serial(crl, &found, integer) ? found : NULL;
}

/* The reason code of an entry; -1 without one. */
static long
reason_of(X509_REVOKED *entry)
{
    ASN1_ENUMERATED *reason =
        X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
    long code = reason ? ASN1_ENUMERATED_get(reason) : -1;
    ASN1_ENUMERATED_free(reason);
    return code;
}

static int64_t
number_of(X509_CRL *crl)
{
    CA_AUTO(ASN1_INTEGER_free)
    ASN1_INTEGER *number = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    cr_assert_not_null(number);
    return ASN1_INTEGER_get(number);
}

Test(crl, an_empty_one_is_complete)
{
    cr_assert(is_due());
    build();
    struct authority_crl kept;
    CA_AUTO(X509_CRL_free) X509_CRL *crl = latest_crl(&kept);
    cr_expect_eq(X509_CRL_get_version(crl), X509_CRL_VERSION_2);
    cr_expect_null(X509_CRL_get_REVOKED(crl));
    cr_expect_eq(X509_NAME_cmp(X509_CRL_get_issuer(crl),
                               X509_get_subject_name(issuing->certificate)),
                 0);
    cr_expect_eq(X509_CRL_get_signature_nid(crl), NID_ecdsa_with_SHA256);
    AUTHORITY_KEYID *id =
        X509_CRL_get_ext_d2i(crl, NID_authority_key_identifier, NULL, NULL);
    cr_assert(id && id->keyid);
    cr_expect_eq(ASN1_OCTET_STRING_cmp(id->keyid,
                                       X509_get0_subject_key_id(issuing->certificate)),
                 0);
    AUTHORITY_KEYID_free(id);
    int critical = 0;
    ISSUING_DIST_POINT *point =
        X509_CRL_get_ext_d2i(crl, NID_issuing_distribution_point, &critical, NULL);
    cr_assert(point && point->distpoint && critical == 1);
    GENERAL_NAME *name = sk_GENERAL_NAME_value(point->distpoint->name.fullname, 0);
    cr_expect_str_eq(
        (const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier), URL);
    ISSUING_DIST_POINT_free(point);
    cr_expect_eq(kept.next_update - kept.this_update, issuing->crl_lifetime);
    cr_expect_gt(kept.number, 0);
    cr_expect_eq(number_of(crl), kept.number);
    cr_expect(!is_due());
}

Test(crl, V2_entries_carry_reasons_and_dates)
{
    const int64_t later = clock_now() + 30 * DAY;
    time_t soon = (time_t)clock_now() + 60;
    static const struct {
        const char *serial, *reason;
        long code;
    } cases[] = {
        { "0101", "unspecified", -1 },
        { "0102", "key_compromise", 1 },
        { "0103", "superseded", 4 },
        { "0104", "cessation_of_operation", 5 },
        { "0105", "certificate_hold", 6 },
        { "7fffffffffffffffffffffffffffffff", "affiliation_changed", 3 },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        add_row(cases[i].serial, cases[i].reason, later);
    add_row("0201", NULL, later);
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *crl = latest_crl(NULL);
    cr_expect_eq(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), (int)COUNT(cases));
    for (size_t i = 0; i < COUNT(cases); i++) {
        X509_REVOKED *entry = find(crl, cases[i].serial);
        cr_assert_not_null(entry, "%s", cases[i].serial);
        cr_expect_eq(reason_of(entry), cases[i].code, "%s", cases[i].reason);
        ASN1_GENERALIZEDTIME *date =
            X509_REVOKED_get_ext_d2i(entry, NID_invalidity_date, NULL, NULL);
        cr_expect_eq(date != NULL, cases[i].code == 1);
        if (date)
            cr_expect_str_eq((const char *)ASN1_STRING_get0_data(date),
                             "20231114221320Z");
        ASN1_GENERALIZEDTIME_free(date);
        cr_expect_eq(X509_cmp_time(X509_REVOKED_get0_revocationDate(entry), &soon), -1);
    }
    cr_expect_null(find(crl, "0201"));
}

Test(crl, V2_an_entry_leaves_after_its_end_and_one_list_more)
{
    const int64_t now = clock_now();
    add_row("0301", "key_compromise", now + 100);
    clock_set(now);
    build();
    clock_set(now + 50);
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *before = latest_crl(NULL);
    cr_expect_not_null(find(before, "0301"));
    clock_set(now + 200);
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *after = latest_crl(NULL);
    cr_expect_not_null(find(after, "0301"), "the first list after its end has it");
    clock_set(now + 300);
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *gone = latest_crl(NULL);
    cr_expect_null(find(gone, "0301"));
}

static enum ca_status
release_step(struct store_tx *tx, void *arg)
{
    (void)arg;
    return certificate_revoke(tx, "0401", 8, 0);
}

Test(crl, V2_a_hold_is_released)
{
    add_row("0401", "certificate_hold", clock_now() + DAY);
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *held = latest_crl(NULL);
    cr_expect_eq(reason_of(find(held, "0401")), 6);
    house_write(&house, release_step, NULL);
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *released = latest_crl(NULL);
    cr_expect_null(find(released, "0401"));
}

static enum ca_status
touch_step(struct store_tx *tx, void *arg)
{
    (void)arg;
    return authority_crl_touch(tx, "issuing");
}

Test(crl, V1_due_before_its_end_and_after_a_revocation)
{
    const int64_t now = clock_now();
    clock_set(now);
    build();
    cr_expect(!is_due());
    house_write(&house, touch_step, NULL);
    cr_expect(is_due(), "after a revocation");
    build();
    cr_expect(!is_due());
    clock_set(now + issuing->crl_lifetime - issuing->crl_overlap - 1);
    cr_expect(!is_due());
    clock_set(now + issuing->crl_lifetime - issuing->crl_overlap);
    cr_expect(is_due(), "inside the overlap");
    struct issuer greedy = *issuing;
    greedy.crl_overlap = greedy.crl_lifetime * 2;
    bool due = true;
    clock_set(now);
    cr_expect_eq(crl_is_due(house.service->store, &greedy, &due), CA_OK);
    cr_expect(!due, "an overlap above the lifetime is not a build at every run");
}

Test(crl, V1_numbers_rise_also_over_failures_and_restarts)
{
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *first = latest_crl(NULL);
    struct issuer keyless = *issuing;
    keyless.key = NULL;
    cr_expect_eq(crl_build(house.service->store, &keyless, URL), CA_UNAVAILABLE);
    CA_AUTO(X509_CRL_free) X509_CRL *same = latest_crl(NULL);
    cr_expect_eq(X509_CRL_cmp(first, same), 0);
    cr_expect_eq(number_of(same), number_of(first), "the old one stays");
    issuers_release(issuers);
    house_reopen(&house);
    issuers = service_issuers(house.service);
    issuing = issuers_find(issuers, "issuing");
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *second = latest_crl(NULL);
    cr_expect_gt(number_of(second), number_of(first) + 1, "the failure used one up");
}

Test(crl, V1_a_bad_row_keeps_the_old_list)
{
    build();
    CA_AUTO(X509_CRL_free) X509_CRL *first = latest_crl(NULL);
    add_row("no-serial", "superseded", clock_now() + DAY);
    cr_expect_eq(crl_build(house.service->store, issuing, URL), CA_INTERNAL);
    CA_AUTO(X509_CRL_free) X509_CRL *same = latest_crl(NULL);
    cr_expect_eq(number_of(same), number_of(first));
}

Test(crl, openssl_verifies_a_chain_with_it)
{
    struct house_device device;
    char challenge[CHALLENGE_TEXT_SIZE];
    house_device_make(&device, "alice", NULL);
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    cr_assert_eq(house_enroll(&house, &device, challenge, NULL), CA_OK, "%s",
                 status_message());
    for (int revoked = 0; revoked <= 1; revoked++) {
        if (revoked)
            house_run(&house, "UPDATE certificate SET state = 2, reason = 'superseded',"
                              " revoked_at = 1700000000 WHERE user_name = 'alice'");
        build();
        CA_AUTO(X509_CRL_free) X509_CRL *crl = latest_crl(NULL);
        CA_AUTO(X509_STORE_free) X509_STORE *store = X509_STORE_new();
        CA_AUTO(X509_STORE_CTX_free) X509_STORE_CTX *context = X509_STORE_CTX_new();
        STACK_OF(X509) *others = sk_X509_new_null();
        sk_X509_push(others, issuing->certificate);
        X509_STORE_add_cert(store, sk_X509_value(issuing->chain, 0));
        X509_STORE_add_crl(store, crl);
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK | X509_V_FLAG_X509_STRICT);
        X509_STORE_CTX_init(context, store, device.certificate, others);
        int result = X509_verify_cert(context) == 1 ? X509_V_OK
                                                    : X509_STORE_CTX_get_error(context);
        cr_expect_eq(result, revoked ? X509_V_ERR_CERT_REVOKED : X509_V_OK, "%s",
                     X509_verify_cert_error_string(result));
        sk_X509_free(others);
    }
    house_device_clear(&device);
}

Test(crl, V4_a_hundred_thousand_rows_take_seconds)
{
    /* One row of the record's own making, copied. */
    add_row("40", "superseded", clock_now() + DAY);
    house_run(&house, "CREATE TABLE many AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL"
                      " SELECT i + 1 FROM n WHERE i < 99999)"
                      " SELECT certificate.* FROM certificate, n WHERE serial = '40'");
    house_run(&house, "UPDATE many SET serial = printf('41%030d', rowid)");
    house_run(&house, "INSERT INTO certificate SELECT * FROM many");
    house_run(&house, "DROP TABLE many");
    struct timespec start, end;
    struct rusage before, after;
    getrusage(RUSAGE_SELF, &before);
    clock_gettime(CLOCK_MONOTONIC, &start);
    build();
    clock_gettime(CLOCK_MONOTONIC, &end);
    getrusage(RUSAGE_SELF, &after);
    cr_expect_lt(end.tv_sec - start.tv_sec, 10);
    struct authority_crl kept;
    CA_AUTO(X509_CRL_free) X509_CRL *crl = latest_crl(&kept);
    cr_expect_eq(sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)), 100000);
    cr_expect_lt(kept.der_size, 7 * 1000 * 1000);
    /* A few copies of the list while it is built, not an object for each row;
     * AddressSanitizer keeps what was freed, up to 256 MiB. */
    cr_expect_lt(after.ru_maxrss - before.ru_maxrss, GROWTH_MAX_KIB, "grew by %ld KiB",
                 after.ru_maxrss - before.ru_maxrss);
}
