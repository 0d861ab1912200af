/* What the tests of log-ins share: a credential, a token by it, an enrolment by either.
 */
#pragma once

#include "house.h"
#include "login.h"
#include <criterion/criterion.h>

static inline enum ca_status __attribute__((unused))
login_by(struct exchange *exchange, const char *protocol, const char *message,
         enum ca_credential_kind kind, const char *user, const char *secret)
{
    struct ca_credential credential = { .kind = kind,
                                        .protocol = protocol,
                                        .message = message,
                                        .endpoint = "",
                                        .user = user,
                                        .secret = secret,
                                        .secret_size = secret ? strlen(secret) : 0 };
    return ca_authenticate(&exchange->request, &credential);
}

/* Alice's, by this password. */
static inline void __attribute__((unused))
login_token_get(struct house *at, const char *secret, int64_t seconds,
                char ret_token[LOGIN_TEXT_SIZE])
{
    struct exchange exchange;
    const char *text = NULL;
    house_exchange(at, &exchange);
    cr_assert_eq(login_by(&exchange, "discovery", "login", CA_CREDENTIAL_PASSWORD,
                          "alice", secret),
                 CA_OK);
    cr_assert_eq(ca_login_token_issue(&exchange.request, seconds, &text), CA_OK);
    cr_assert_eq(strlen(text), LOGIN_TEXT_SIZE - 1);
    snprintf(ret_token, LOGIN_TEXT_SIZE, "%s", text);
    exchange_clear(&exchange);
}

/* A CA_CREDENTIAL_PASSWORD or CA_CREDENTIAL_LOGIN_TOKEN, then one enrolment. */
static inline enum ca_status __attribute__((unused))
login_enroll(struct house *at, enum ca_credential_kind kind, const char *secret)
{
    struct exchange exchange;
    struct house_device device = { 0 };
    struct ca_issued issued = { 0 };
    house_device_make(&device, "alice", NULL);
    house_exchange(at, &exchange);
    enum ca_status status =
        login_by(&exchange, "wstep", "Issue", kind, "alice", secret);
    if (status == CA_OK) {
        struct ca_enrolment enrolment = { .pkcs10 = { device.request,
                                                      device.request_size } };
        cr_expect_str_eq(exchange.identity.endpoint, "certificate/default");
        status = ca_enroll(&exchange.request, &enrolment, &issued);
        cr_expect_eq(issued.der.size > 0, status == CA_OK);
        cr_expect_eq(ca_enroll(&exchange.request, &enrolment, &issued),
                     CA_UNAUTHENTICATED, "one enrolment a credential");
    }
    exchange_clear(&exchange);
    house_device_clear(&device);
    return status;
}
