/* Questions of plugins: outcomes, look-ups, chains, keys, settings, state. */
#include "auto.h"
#include "clock.h"
#include "enroll.h"
#include "house_rig.h"
#include "leak.h"
#include "state.h"
#include <criterion/criterion.h>

#define DAY INT64_C(86400)

TestSuite(poll, .init = house_begin, .fini = house_end);

static void
device_enroll(struct house_device *device, const char *transaction)
{
    char text[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, NULL, text);
    house_device_make(device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, device, text, transaction), CA_OK, "%s",
                 status_message());
}

static enum ca_status
ask(const char *message, enum ca_credential_kind kind, X509 *signer,
    const struct ca_enrolment *enrolment)
{
    struct exchange exchange;
    struct ca_issued issued = { 0 };
    struct ca_credential credential = { .kind = kind,
                                        .protocol = "scep",
                                        .message = message,
                                        .endpoint = "default",
                                        .certificate = signer };
    house_exchange(&house, &exchange);
    enum ca_status status = ca_poll(&exchange.request, &credential, enrolment, &issued);
    if (status == CA_OK)
        cr_expect(issued.der.data && issued.der.size > 0 && issued.serial);
    exchange_clear(&exchange);
    return status;
}

Test(poll, A1_only_the_table_s_messages_ask_for_outcomes)
{
    struct house_device device;
    device_enroll(&device, "t1");
    struct ca_enrolment poll = { .transaction = "t1" };
    struct ca_enrolment retry = { .pkcs10 = { device.request, device.request_size },
                                  .transaction = "t1" };
    for (int type = 0; type <= 255; type++) {
        char message[8];
        snprintf(message, sizeof message, "%d", type);
        enum ca_status polled = ask(message, CA_CREDENTIAL_KEY, device.self, &poll);
        enum ca_status retried = ask(message, CA_CREDENTIAL_KEY, device.self, &retry);
        cr_expect_eq(polled, type == 20 ? CA_OK : CA_FORBIDDEN, "poll %d", type);
        cr_expect_eq(retried, type == 19 ? CA_OK : CA_FORBIDDEN, "retry %d", type);
    }
    house_device_clear(&device);
}

Test(poll, outcome_belongs_to_endpoint_transaction_and_key)
{
    struct house_device device, other;
    device_enroll(&device, "t1");
    house_device_make(&other, "alice", NULL);
    house_profile(
        &house, PROFILE_SCEP,
        "{\"name\": \"second\", \"settings\": {\"certificate\": \"default\"}}");
    struct ca_enrolment poll = { .transaction = "t1" };
    cr_expect_eq(ask("20", CA_CREDENTIAL_KEY, device.self, &poll), CA_OK);
    cr_expect_eq(ask("20", CA_CREDENTIAL_KEY, other.self, &poll), CA_NOT_FOUND);
    cr_expect_eq(ask("20", CA_CREDENTIAL_KEY, NULL, &poll), CA_NOT_FOUND);
    poll.transaction = "t2";
    cr_expect_eq(ask("20", CA_CREDENTIAL_KEY, device.self, &poll), CA_NOT_FOUND);
    poll.transaction = NULL;
    cr_expect_eq(ask("20", CA_CREDENTIAL_KEY, device.self, &poll), CA_NOT_FOUND);
    house_device_clear(&device);
    house_device_clear(&other);
}

Test(poll, revoked_certificate_is_not_given_again)
{
    struct house_device device;
    device_enroll(&device, "t1");
    house_run(&house, "UPDATE certificate SET state = 2, reason = 'key_compromise' "
                      "WHERE protocol = 'scep'");
    struct ca_enrolment poll = { .transaction = "t1" };
    cr_expect_eq(ask("20", CA_CREDENTIAL_KEY, device.self, &poll), CA_FORBIDDEN);
    house_device_clear(&device);
}

Test(poll, polled_renewal_is_found_by_the_old_key)
{
    struct house_device device, new;
    device_enroll(&device, "t1");
    house_set(&house, "approvals", "1");
    clock_set(clock_now() + 340 * DAY);
    house_device_make(&new, "alice", NULL);
    cr_assert_eq(house_renew(&house, &device, &new, "17", "r1"), CA_PENDING, "%s",
                 status_message());
    struct ca_enrolment poll = { .transaction = "r1" };
    cr_expect_eq(ask("20", CA_CREDENTIAL_CERTIFICATE, device.certificate, &poll),
                 CA_PENDING);
    cr_expect_eq(ask("20", CA_CREDENTIAL_KEY, new.self, &poll), CA_NOT_FOUND);
    house_run(&house, "UPDATE pending SET state = 1, approval_count = 1, "
                      "approvals = '\"carol\"'");
    cr_expect_eq(ask("20", CA_CREDENTIAL_CERTIFICATE, device.certificate, &poll), CA_OK,
                 "%s", status_message());
    cr_expect_eq(house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                       "protocol = 'scep' AND state = 1"),
                 1);
    house_device_clear(&device);
    house_device_clear(&new);
}

/* ---- Look-ups ---- */

static bool
is_certificate(struct ca_bytes der, X509 *wanted)
{
    CA_AUTO(openssl_free) uint8_t *octets = NULL;
    int size = i2d_X509(wanted, &octets);
    return size > 0 && der.size == (size_t)size &&
           memcmp(der.data, octets, der.size) == 0;
}

static enum ca_status
look_up(X509 *signer, X509 *wanted, const char *serial)
{
    struct exchange exchange;
    struct ca_issued issued = { 0 };
    const uint8_t *name = NULL;
    size_t size = 0;
    struct ca_credential credential = { .kind = CA_CREDENTIAL_CERTIFICATE,
                                        .protocol = "scep",
                                        .message = "21",
                                        .endpoint = "default",
                                        .certificate = signer };
    house_exchange(&house, &exchange);
    X509_NAME_get0_der(X509_get_issuer_name(wanted), &name, &size);
    enum ca_status status = CA_OK;
    if (signer)
        status = ca_authenticate(&exchange.request, &credential);
    if (status == CA_OK)
        status = ca_lookup(&exchange.request, (struct ca_bytes){ name, size }, serial,
                           &issued);
    if (status == CA_OK)
        cr_expect(is_certificate(issued.der, wanted));
    exchange_clear(&exchange);
    return status;
}

Test(poll, GetCert_gives_a_device_its_own_and_nobody_else_s)
{
    struct house_device device, other;
    char upper[64];
    device_enroll(&device, "t1");
    device_enroll(&other, "t2");
    cr_expect_eq(look_up(device.certificate, device.certificate, device.serial), CA_OK,
                 "%s", status_message());
    snprintf(upper, sizeof upper, "00%s", device.serial);
    for (char *at = upper; *at; at++)
        *at = *at >= 'a' && *at <= 'f' ? (char)(*at - 'a' + 'A') : *at;
    cr_expect_eq(look_up(device.certificate, device.certificate, upper), CA_OK, "%s",
                 status_message());
    cr_expect_eq(look_up(device.certificate, other.certificate, other.serial),
                 CA_NOT_FOUND);
    cr_expect_eq(look_up(device.certificate, device.certificate, "0f"), CA_NOT_FOUND);
    cr_expect_eq(look_up(device.certificate, device.certificate, "' OR 1=1"),
                 CA_NOT_FOUND);
    cr_expect_eq(look_up(device.certificate, device.self, device.serial), CA_NOT_FOUND);
    cr_expect_eq(look_up(NULL, device.certificate, device.serial), CA_UNAUTHENTICATED);
    house_device_clear(&device);
    house_device_clear(&other);
    house_end();
    LEAK_CHECK();
    house_begin();
}

/* ---- Chains, keys, settings ---- */

Test(poll, chain_and_keys_are_those_of_the_endpoint)
{
    struct exchange exchange;
    struct ca_chain chain = { 0 };
    struct ca_key *key = NULL;
    json_t *settings = NULL;
    house_exchange(&house, &exchange);
    struct ca_request *req = &exchange.request;
    cr_assert_eq(ca_chain(req, "scep/default", false, &chain), CA_OK, "%s",
                 status_message());
    cr_assert_eq(chain.count, 2);
    cr_expect_eq(chain.certificates[0], chain.issuer);
    cr_expect_eq(X509_check_issued(chain.certificates[1], chain.issuer), X509_V_OK);
    cr_expect_eq(ca_chain(req, "scep/default", true, &chain), CA_NOT_FOUND);
    cr_expect_eq(ca_chain(req, "scep/none", false, &chain), CA_NOT_FOUND);
    cr_expect_eq(ca_chain(req, "default", false, &chain), CA_NOT_FOUND);
    cr_expect_eq(ca_chain(req, "", false, &chain), CA_NOT_FOUND);
    cr_assert_eq(ca_key_get(req, "scep/default", CA_KEY_RA, false, 0, &key), CA_OK,
                 "%s", status_message());
    cr_expect_eq(X509_check_issued(chain.issuer, ca_key_certificate(key)), X509_V_OK);
    cr_expect_not_null(ca_key_pkey(key));
    cr_expect_eq(ca_key_pkey(key), ca_key_pkey(key));
    cr_expect_eq(ca_key_get(req, "scep/default", CA_KEY_RA, false, 1, &key),
                 CA_NOT_FOUND);
    cr_expect_eq(ca_key_get(req, "scep/default", CA_KEY_OCSP, false, 0, &key),
                 CA_NOT_FOUND);
    cr_assert_eq(ca_profile_settings(req, "scep", "default", &settings), CA_OK);
    cr_expect_str_eq(json_string_value(json_object_get(settings, "certificate")),
                     "default");
    cr_expect_eq(ca_profile_settings(req, "scep", "none", &settings), CA_NOT_FOUND);
    cr_expect_eq(ca_profile_settings(req, "none", "default", &settings), CA_NOT_FOUND);
    exchange_clear(&exchange);
    house_end();
    LEAK_CHECK();
    house_begin();
}

Test(poll, content_key_comes_out_whole_or_random_but_always_comes)
{
    struct exchange exchange;
    struct ca_key *key = NULL;
    uint8_t secret[16], out[16], encrypted[256];
    size_t size = sizeof encrypted;
    house_exchange(&house, &exchange);
    cr_assert_eq(
        ca_key_get(&exchange.request, "scep/default", CA_KEY_RA, false, 0, &key),
        CA_OK);
    memset(secret, 7, sizeof secret);
    EVP_PKEY *public_key = X509_get0_pubkey(ca_key_certificate(key));
    CA_AUTO(EVP_PKEY_CTX_free) EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(public_key, NULL);
    cr_assert(EVP_PKEY_encrypt_init(ctx) == 1 &&
              EVP_PKEY_encrypt(ctx, encrypted, &size, secret, sizeof secret) == 1);
    cr_assert_eq(ca_key_decrypt(&exchange.request, key, false,
                                (struct ca_bytes){ encrypted, size }, out, sizeof out),
                 CA_OK, "%s", status_message());
    cr_expect_arr_eq(out, secret, sizeof secret);
    encrypted[size - 1] ^= 1;
    cr_assert_eq(ca_key_decrypt(&exchange.request, key, false,
                                (struct ca_bytes){ encrypted, size }, out, sizeof out),
                 CA_OK);
    cr_expect_arr_neq(out, secret, sizeof secret);
    atomic_store(&house.service->waiting, (int)house.service->config.limits.waiting);
    cr_expect_eq(ca_key_decrypt(&exchange.request, key, false,
                                (struct ca_bytes){ encrypted, size }, out, sizeof out),
                 CA_UNAVAILABLE);
    exchange_clear(&exchange);
}

Test(poll, profile_change_counts_from_the_next_request_on)
{
    struct exchange first, second;
    json_t *settings = NULL;
    house_exchange(&house, &first);
    cr_assert_eq(ca_profile_settings(&first.request, "scep", "default", &settings),
                 CA_OK);
    cr_expect(json_is_false(json_object_get(settings, "include_issuer")));
    house_profile(
        &house, PROFILE_SCEP,
        "{\"name\": \"default\", \"settings\": {\"certificate\": \"default\", "
        "\"include_issuer\": true}}");
    cr_assert_eq(ca_profile_settings(&first.request, "scep", "default", &settings),
                 CA_OK);
    cr_expect(json_is_false(json_object_get(settings, "include_issuer")),
              "one request sees one version");
    house_exchange(&house, &second);
    cr_assert_eq(ca_profile_settings(&second.request, "scep", "default", &settings),
                 CA_OK);
    cr_expect(json_is_true(json_object_get(settings, "include_issuer")));
    exchange_clear(&first);
    exchange_clear(&second);
}

/* ---- State ---- */

Test(poll, state_is_each_plugin_s_own_and_taken_once)
{
    struct exchange scep, est;
    struct ca_bytes value = { (const uint8_t *)"v\0w", 3 }, found = { 0 };
    int64_t version = 0;
    house_exchange(&house, &scep);
    house_exchange(&house, &est);
    est.plugin = "est";
    cr_assert_eq(ca_state_put(&scep.request, "nonce", "k", value, 60), CA_OK, "%s",
                 status_message());
    cr_expect_eq(ca_state_get(&est.request, "nonce", "k", &found, NULL), CA_NOT_FOUND);
    cr_assert_eq(ca_state_get(&scep.request, "nonce", "k", &found, &version), CA_OK);
    cr_assert_eq(found.size, 3);
    cr_expect_arr_eq(found.data, "v\0w", 3);
    cr_expect_eq(ca_state_swap(&scep.request, "nonce", "k", version + 1, value, 60),
                 CA_CONFLICT);
    cr_expect_eq(ca_state_swap(&scep.request, "nonce", "k", version, value, 60), CA_OK);
    cr_expect_eq(ca_state_take(&scep.request, "nonce", "k", &found), CA_OK);
    cr_expect_eq(ca_state_take(&scep.request, "nonce", "k", &found), CA_NOT_FOUND);
    cr_assert_eq(ca_state_put(&scep.request, "nonce", "k", value, 60), CA_OK);
    clock_set(clock_now() + 61);
    cr_expect_eq(ca_state_get(&scep.request, "nonce", "k", &found, NULL), CA_NOT_FOUND);
    cr_expect_eq(ca_state_put(&scep.request, "nonce", "k", value, -1), CA_LIMIT);
    value.size = STATE_VALUE_MAX + 1;
    cr_expect_eq(ca_state_put(&scep.request, "nonce", "k", value, 60), CA_LIMIT);
    exchange_clear(&scep);
    exchange_clear(&est);
}

/* ---- Refusals that a plugin finds ---- */

Test(poll, plugin_s_refusal_is_counted_unless_the_core_knows_who_asks)
{
    static const char entries[] =
        "SELECT COUNT(*) FROM audit_entry WHERE action = 'enrol.refuse'";
    struct exchange exchange;
    char text[CHALLENGE_TEXT_SIZE];
    house_exchange(&house, &exchange);
    ca_refused(&exchange.request, "scep", "default", "badAlg", true);
    exchange_clear(&exchange);
    cr_expect_eq(house_integer(&house, entries), 0, "nobody was authenticated");
    house_challenge(&house, NULL, text);
    house_exchange(&house, &exchange);
    struct ca_credential credential = { .kind = CA_CREDENTIAL_CHALLENGE,
                                        .protocol = "scep",
                                        .message = "19",
                                        .endpoint = "default",
                                        .secret = text,
                                        .secret_size = strlen(text) };
    cr_assert_eq(ca_authenticate(&exchange.request, &credential), CA_OK);
    ca_refused(&exchange.request, "scep", "default", "badAlg", true);
    ca_refused(&exchange.request, "scep", "default", "badAlg", true);
    cr_expect_eq(house_integer(&house, entries), 1, "one entry a request");
    exchange_clear(&exchange);
}
