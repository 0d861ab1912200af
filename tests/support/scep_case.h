/* One device before one endpoint of the double: what every SCEP test starts with. */
#pragma once

#include "fake_core.h"
#include "leak.h"
#include "scep_client.h"
#include <criterion/criterion.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

extern const struct ca_plugin ca_plugin;

static struct fake_core core;
static EVP_PKEY *device_key;
static X509 *device;
static uint8_t *csr;
static size_t csr_size;

static void __attribute__((unused)) case_open(void)
{
    fake_core_open(&core);
    device_key = EVP_RSA_gen(2048);
    device = scep_self_signed(device_key, "device", NULL);
    const struct scep_csr wanted = { .key = device_key,
                                     .cn = "device",
                                     .challenge = core.challenge };
    csr = scep_csr_build(&wanted, &csr_size);
    cr_assert(device && csr);
}

static void __attribute__((unused)) case_close(void)
{
    free(csr);
    X509_free(device);
    EVP_PKEY_free(device_key);
    fake_core_close(&core);
}

/* The good PKCSReq, to be changed by the case. */
static struct scep_client_request __attribute__((unused)) good_request(void)
{
    return (struct scep_client_request){ .key = device_key,
                                         .certificate = device,
                                         .recipient = core.ra[0].certificate,
                                         .transaction = "transaction-1",
                                         .content = csr,
                                         .content_size = csr_size };
}

static enum ca_status __attribute__((unused))
plugin_call(const char *method, const char *rest, const char *query, const void *body,
            size_t size)
{
    fake_core_request(&core, method, rest, query, body, size);
    for (const struct ca_route *route = ca_plugin.routes; route->method; route++) {
        if (strcmp(route->method, method) == 0)
            return route->handle(NULL, &core.request);
    }
    cr_assert_fail("no route for %s", method);
    return CA_INTERNAL;
}

static enum ca_status __attribute__((unused)) post(const void *body, size_t size)
{
    return plugin_call("POST", "/default", "operation=PKIOperation", body, size);
}

static enum ca_status __attribute__((unused))
send_request(const struct scep_client_request *request)
{
    size_t size;
    uint8_t *der = scep_client_build(request, &size);
    cr_assert_not_null(der);
    enum ca_status status = post(der, size);
    free(der);
    return status;
}

/* The answer as the request's signer reads it, verified with RA key `ra`. */
static struct scep_reply __attribute__((unused))
read_reply(const struct scep_client_request *request, size_t ra)
{
    struct scep_reply reply;
    cr_assert_eq(core.http_status, 200, "HTTP %d", core.http_status);
    cr_assert_str_eq(core.content_type, "application/x-pki-message");
    const char *wrong = scep_reply_read(core.body, core.size, core.ra[ra].certificate,
                                        request->key, request->certificate, &reply);
    cr_assert_null(wrong, "%s", wrong);
    cr_assert_str_eq(reply.type, "3");
    return reply;
}

static bool __attribute__((unused))
has_fail(const struct scep_client_request *request, const char *fail)
{
    struct scep_reply reply = read_reply(request, 0);
    bool is_it = strcmp(reply.status, "2") == 0 && strcmp(reply.fail, fail) == 0 &&
                 !reply.has_content && !reply.has_fail_text;
    scep_reply_clear(&reply);
    return is_it;
}

/* The end of every hostile test. */
static void __attribute__((unused)) hostile_close(void)
{
    struct scep_client_request request = good_request();
    cr_assert_eq(send_request(&request), CA_OK, "a good request passes afterwards");
    case_close();
    LEAK_CHECK();
}

/* FAILURE with this failInfo (a digit), or "400". */
static void __attribute__((unused))
expect_refused(const struct scep_client_request *request, const char *wanted,
               const char *name)
{
    enum ca_status status = send_request(request);
    cr_expect(status != CA_OK && status != CA_PENDING, "%s passes", name);
    cr_expect_eq(core.enrolls, 0, "%s reaches the core", name);
    if (strcmp(wanted, "400") == 0) {
        cr_expect_eq(status, CA_MALFORMED, "%s: %s", name, ca_status_name(status));
        cr_expect_eq(core.http_status, 0, "%s", name);
        cr_expect_eq(core.decrypts, 0, "%s costs a decryption", name);
        cr_expect(core.refusals == 1 && !core.refused_verified, "%s", name);
    } else {
        cr_expect(has_fail(request, wanted), "%s", name);
        cr_expect_eq(core.refusals + core.authenticates +
                         (core.polls && !core.refusals),
                     core.authenticates + 1, "%s is audited once", name);
    }
}

static double __attribute__((unused)) seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* A hook that changes the SignedData `data` of `message`. */
#define BEND_SIGNED(name, ...)                                                         \
    static void name(PKCS7 *message, void *arg)                                        \
    {                                                                                  \
        (void)arg;                                                                     \
        PKCS7_SIGNED *data = message->d.sign;                                          \
        (void)data;                                                                    \
        __VA_ARGS__;                                                                   \
    }
