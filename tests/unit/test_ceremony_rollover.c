/* Roll-over of issuers and helpers: from the first standby to the end. */
#include "ceremony_rig.h"
#include "issuer.h"
#include "names.h"

TestSuite(ceremony_rollover, .init = set_up, .fini = tear_down);

static void
standby_make(void)
{
    struct ceremony_issuer next = { "issuing-2", "CN=Next", "p-256",          "root",
                                    10 * YEAR,   0,         AUTHORITY_STANDBY };
    cr_assert_eq(ceremony_create_issuer(&ceremony, &next), CA_OK, "%s",
                 status_message());
    size_t made = 0;
    struct ceremony_renewal renewal = {
        .issuer = "issuing-2", .roles = { [HELPER_RA] = true, [HELPER_OCSP] = true }
    };
    cr_assert_eq(ceremony_renew_helpers(&ceremony, &renewal, &made), CA_OK, "%s",
                 status_message());
    cr_expect_eq(made, 2);
    cr_assert_eq(ceremony_set_next(&ceremony, "issuing", "issuing-2"), CA_OK);
}

Test(ceremony_rollover, activation_moves_issuers_and_profiles_at_once)
{
    CA_AUTO(free) char *standby = NULL;
    cr_expect_eq(ceremony_activate(&ceremony, "issuing", &standby), CA_CONFLICT);
    standby_make();
    cr_assert_eq(ceremony_activate(&ceremony, "issuing", &standby), CA_OK, "%s",
                 status_message());
    cr_expect_str_eq(standby, "issuing-2");
    cr_assert_eq(service_reload(house.service), CA_OK, "%s", status_message());
    struct issuers *issuers = service_issuers(house.service);
    cr_expect_eq(issuers_find(issuers, "issuing")->state, AUTHORITY_RETIRED);
    cr_expect(issuers_find(issuers, "issuing")->key, "it still signs CRLs");
    cr_expect_null(issuers_find(issuers, "issuing")->next);
    cr_expect_eq(issuers_find(issuers, "issuing-2")->state, AUTHORITY_ACTIVE);
    issuers_release(issuers);
    struct house_device device;
    char challenge[CHALLENGE_TEXT_SIZE];
    house_device_make(&device, "alice", NULL);
    house_challenge(&house, NULL, challenge);
    cr_assert_eq(house_enroll(&house, &device, challenge, NULL), CA_OK, "%s",
                 status_message());
    CA_AUTO(free)
    char *issuer = names_format_subject(X509_get_issuer_name(device.certificate));
    cr_expect_str_eq(issuer, "CN=Next");
    cr_expect_eq(ceremony_activate(&ceremony, "issuing", &standby), CA_CONFLICT);
    house_device_clear(&device);
}

Test(ceremony_rollover, an_issuer_ends_when_its_last_certificate_is_over)
{
    CA_AUTO(free) char *standby = NULL;
    struct house_device device;
    char challenge[CHALLENGE_TEXT_SIZE];
    house_device_make(&device, "alice", NULL);
    house_challenge(&house, NULL, challenge);
    cr_assert_eq(house_enroll(&house, &device, challenge, NULL), CA_OK);
    cr_expect_eq(ceremony_retire(&ceremony, "issuing"), CA_CONFLICT);
    standby_make();
    cr_assert_eq(ceremony_activate(&ceremony, "issuing", &standby), CA_OK);
    cr_expect_eq(ceremony_retire(&ceremony, "issuing"), CA_CONFLICT);
    cr_expect(strstr(status_message(), "1 certificates of 'issuing'"), "%s",
              status_message());
    /* A revoked one stays on the list until it is over, too. */
    house_run(&house, "UPDATE certificate SET state = 2, reason = 'superseded' WHERE"
                      " issuer = 'issuing' AND profile = 'default'");
    cr_expect_eq(ceremony_retire(&ceremony, "issuing"), CA_CONFLICT);
    cr_expect_eq(ceremony_retire(&ceremony, "issuing-2"), CA_CONFLICT);
    clock_set(clock_now() + 366 * DAY);
    cr_expect_eq(ceremony_retire(&ceremony, "issuing"), CA_OK, "%s", status_message());
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM authority WHERE name ="
                                       " 'issuing' AND key IS NULL AND state = 2"),
                 1);
    house_device_clear(&device);
}

Test(ceremony_rollover, cross_certificates_lead_from_one_root_to_the_other)
{
    struct ceremony_issuer next = {
        "root-2", "CN=Next Root", "p-256", NULL, 10 * YEAR, -1, AUTHORITY_STANDBY
    };
    cr_assert_eq(ceremony_create_issuer(&ceremony, &next), CA_OK);
    cr_assert_eq(service_reload(house.service), CA_OK);
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    cr_expect_eq(ceremony_cross(&ceremony,
                                &(struct ceremony_cross){ "root", "root", YEAR },
                                &made),
                 CA_MALFORMED);
    cr_assert_eq(ceremony_cross(&ceremony,
                                &(struct ceremony_cross){ "root-2", "root", YEAR },
                                &made),
                 CA_OK, "%s", status_message());
    const uint8_t *at = made.der;
    CA_AUTO(X509_free) X509 *cross = d2i_X509(NULL, &at, (long)made.size);
    struct issuers *issuers = service_issuers(house.service);
    const struct issuer *old = issuers_find(issuers, "root");
    const struct issuer *new = issuers_find(issuers, "root-2");
    cr_expect_eq(X509_verify(cross, X509_get0_pubkey(old->certificate)), 1);
    cr_expect_eq(
        EVP_PKEY_eq(X509_get0_pubkey(cross), X509_get0_pubkey(new->certificate)), 1);
    cr_expect_eq(X509_NAME_cmp(X509_get_subject_name(cross),
                               X509_get_subject_name(new->certificate)),
                 0);
    cr_expect_eq(X509_check_ca(cross), 1);
    /* Who trusts the old root alone follows it to what the new one signs. */
    STACK_OF(X509) *chain = sk_X509_new_null();
    sk_X509_push(chain, old->certificate);
    cr_expect_eq(issuer_check(cross, chain, clock_now()), CA_OK, "%s",
                 status_message());
    sk_X509_free(chain);
    /* No room below the issuing CA, whose path length is 0. */
    cr_expect_eq(ceremony_cross(&ceremony,
                                &(struct ceremony_cross){ "root", "issuing", YEAR },
                                &made),
                 CA_FORBIDDEN);
    issuers_release(issuers);
}

/* ---- Helpers ---- */

Test(ceremony_rollover, helpers_are_renewed_when_they_end_soon)
{
    struct ceremony_renewal renewal = { .issuer = "issuing",
                                        .roles = { [HELPER_RA] = true },
                                        .window = 60 * DAY };
    size_t made = 9;
    cr_assert_eq(ceremony_renew_helpers(&ceremony, &renewal, &made), CA_OK);
    cr_expect_eq(made, 0, "it has five years");
    clock_set(clock_now() + 5 * YEAR - 50 * DAY);
    cr_assert_eq(ceremony_renew_helpers(&ceremony, &renewal, &made), CA_OK, "%s",
                 status_message());
    cr_expect_eq(made, 1);
    cr_assert_eq(service_reload(house.service), CA_OK, "%s", status_message());
    struct issuers *issuers = service_issuers(house.service);
    const struct issuer_helper *new = issuers_helper(issuers, HELPER_RA, "issuing", 0);
    const struct issuer_helper *old = issuers_helper(issuers, HELPER_RA, "issuing", 1);
    cr_assert(new &&old &&new->key && old->key &&new->key != old->key);
    cr_expect(new->current && !old->current);
    cr_expect_eq(X509_NAME_cmp(X509_get_subject_name(new->certificate),
                               X509_get_subject_name(old->certificate)),
                 0);
    cr_expect_gt(ASN1_TIME_compare(X509_get0_notAfter(new->certificate),
                                   X509_get0_notAfter(old->certificate)),
                 0);
    issuers_release(issuers);
    cr_assert_eq(ceremony_renew_helpers(&ceremony, &renewal, &made), CA_OK);
    cr_expect_eq(made, 0);
}
