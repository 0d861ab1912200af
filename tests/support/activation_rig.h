/* What the tests of activation share: a house with sealing keys and an activation
 * profile, and the calls of the plugin in their order, with an exchange that proves
 * what the test says it proves. */
#pragma once

#include "activate.h"
#include "activation_session.h"
#include "clock.h"
#include "house.h"
#include "issue.h"
#include "plugin_activation.h"
#include <criterion/criterion.h>
#include <openssl/sha.h>
#include <string.h>

static struct house house;

static const char rig_certificate[] =
    "{\"name\": \"activation\", \"settings\": {\"issuer\": \"issuing\","
    " \"validity\": \"P30D\", \"renewal_window\": \"P10D\","
    " \"subject\": \"O={{organisation.name}},OU={{device.hardware.work_space}},"
    "CN={{user.name}}\","
    " \"san\": [{\"type\": \"uri\", \"value\": \"urn:uuid:{{device.id}}\"}],"
    " \"key_usage\": [\"digital_signature\"],"
    " \"extended_key_usage\": [\"client_auth\"], \"policies\": "
    "[\"1.3.6.1.4.1.99999.1\"],"
    " \"protocols\": [\"activation\"], \"ocsp\": false}}";
static const char rig_activation[] =
    "{\"name\": \"default\", \"settings\": {\"certificate\": \"activation\"}}";

static inline void
rig_open_vault(void)
{
    cr_assert_eq(service_open_vault(house.service), CA_OK, "%s", status_message());
    /* A test says more hellos than a device does. */
    house.service->config.activation.hellos_per_source = 10000;
    house.service->config.activation.hellos_per_name = 10000;
    house.service->config.activation.hellos_per_second = 10000;
    house.service->config.activation.open_per_source = 10000;
}

static inline void
rig_build(void)
{
    house_build(&house);
    cr_assert_eq(
        vault_create(house.service->store, house.service->tokens,
                     &(struct vault_wanted){ "hsm", VAULT_TOKEN, VAULT_METHOD_ANY }),
        CA_OK, "%s", status_message());
    house_profile(&house, PROFILE_CERTIFICATE, rig_certificate);
    house_profile(&house, PROFILE_ACTIVATION, rig_activation);
    rig_open_vault();
}

static inline void
rig_leave(void)
{
    issue_pause = NULL;
    house_remove(&house);
    clock_set(-1);
}

/* A new password of alice's; the id into `ret_id`. */
static inline void
rig_password(const struct activate_wanted *wanted, char ret_id[ACTIVATION_ID_SIZE])
{
    struct activate_wanted filled = { .user = "alice",
                                      .lockout = -1,
                                      .cause = { "admin:a", "api", "" } };
    struct activate_made made;
    if (wanted) {
        filled = *wanted;
        filled.cause = (struct lifecycle_cause){ "admin:a", "api", "" };
    }
    cr_assert_eq(activate_make(house.service, &filled, &made), CA_OK, "%s",
                 status_message());
    snprintf(ret_id, ACTIVATION_ID_SIZE, "%s", made.activation.id);
    activate_made_clear(&made);
}

/* hello: the offer, and a session with this scalar. */
static inline enum ca_status
rig_hello(const char *user, uint8_t ret_sn[16], struct ca_activation_offer *ret_offer)
{
    struct exchange exchange;
    house_exchange(&house, &exchange);
    cr_assert_eq(random_bytes(ret_sn, 16), CA_OK);
    memset(ret_offer, 0, sizeof *ret_offer);
    enum ca_status status = ca_activation_begin(
        &exchange.request, &(struct ca_activation_hello){ user, strlen(user), "", 0 },
        ret_sn, ret_offer);
    if (status == CA_OK)
        status = ca_activation_keep(
            &exchange.request,
            &(struct ca_activation_session){
                .cn = "sixteen octets.",
                .suite = "ecspeke-p521",
                .scalar = { (const uint8_t *)"a scalar of the exchange", 24 },
                .share = { (const uint8_t *)"share", 5 },
                .server_data = { (const uint8_t *)"ads", 3 },
                .client_data = { (const uint8_t *)"adc", 3 } });
    exchange_clear(&exchange);
    return status;
}

/* The first step of an enroll, as if its worker were busy from then on. */
static inline enum ca_status
rig_attempt(const uint8_t sn[16], const char *body)
{
    struct ca_activation_session session;
    struct ca_activation_answer answer;
    struct exchange exchange;
    uint8_t digest[32];
    house_exchange(&house, &exchange);
    SHA256((const uint8_t *)body, strlen(body), digest);
    enum ca_status status =
        ca_activation_attempt(&exchange.request, sn, digest, &session, &answer);
    exchange_clear(&exchange);
    return status;
}

/* What enroll came to. */
struct rig_enroll {
    enum ca_status attempt, proved;
    char error[16]; /* of a sealed refusal */
    char workspace[65], device[40];
    X509 *certificate; /* X509_free it */
    char answer[64];   /* a stored one */
    int answer_status;
};

/* Takes what the grant says, and answers with a text. */
static inline enum ca_status
rig_seal(void *arg, const struct ca_activation_grant *grant, struct ca_bytes *ret_body)
{
    struct rig_enroll *result = arg;
    *ret_body = (struct ca_bytes){ (const uint8_t *)"the answer", 10 };
    if (grant->error) {
        snprintf(result->error, sizeof result->error, "%s", grant->error);
        cr_expect_not_null(grant->detail);
        return CA_OK;
    }
    const uint8_t *at = grant->certificate.data;
    result->certificate = d2i_X509(NULL, &at, (long)grant->certificate.size);
    cr_assert_not_null(result->certificate);
    snprintf(result->workspace, sizeof result->workspace, "%s", grant->workspace);
    snprintf(result->device, sizeof result->device, "%s", grant->device);
    cr_expect_eq(grant->chain_count, 2);
    cr_expect_str_eq(grant->organisation, "Example");
    cr_expect_str_eq(grant->url, "https://ca.example.com");
    return CA_OK;
}

/* enroll with a body of this text: `reason` is what the exchange fails by, or NULL for
 * a proof of this request. */
static inline struct rig_enroll
rig_enroll(const uint8_t sn[16], const char *body, const char *reason,
           const struct house_device *device)
{
    struct rig_enroll result = { .proved = CA_STATUS_COUNT };
    struct ca_activation_session session;
    struct ca_activation_answer answer = { 0 };
    struct exchange exchange;
    uint8_t digest[32];
    house_exchange(&house, &exchange);
    SHA256((const uint8_t *)body, strlen(body), digest);
    result.attempt =
        ca_activation_attempt(&exchange.request, sn, digest, &session, &answer);
    if (result.attempt == CA_OK) {
        cr_expect_eq(session.scalar.size, 24);
        cr_expect_arr_eq(session.scalar.data, "a scalar of the exchange", 24);
        cr_expect_str_eq(session.server, "ca.example.com");
        cr_expect_arr_eq(session.cn, "sixteen octets.", 16);
    }
    if (result.attempt == CA_CONFLICT) {
        result.answer_status = answer.http_status;
        snprintf(result.answer, sizeof result.answer, "%.*s", (int)answer.body.size,
                 (const char *)answer.body.data);
    }
    if (result.attempt == CA_OK && reason)
        ca_activation_refused(&exchange.request, reason);
    else if (result.attempt == CA_OK)
        result.proved = ca_activation_proved(
            &exchange.request,
            (struct ca_bytes){ device->request, device->request_size },
            &(struct ca_activation_sealer){ rig_seal, &result }, &answer);
    if (result.proved == CA_OK || result.proved == CA_FORBIDDEN) {
        cr_expect_eq(answer.http_status, result.error[0] ? 422 : 200);
        cr_expect_arr_eq(answer.body.data, "the answer", 10);
    }
    exchange_clear(&exchange);
    return result;
}

/* hello and enroll of a device that knows the password. */
static inline struct rig_enroll
rig_activate(const char *user, const struct house_device *device)
{
    uint8_t sn[16];
    struct ca_activation_offer offer;
    cr_assert_eq(rig_hello(user, sn, &offer), CA_OK, "%s", status_message());
    return rig_enroll(sn, "body", NULL, device);
}
