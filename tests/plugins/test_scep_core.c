/* SCEP through the real core: token, store, profiles and the plugin's codec. */
#include "auto.h"
#include "house.h"
#include "leak.h"
#include "scep_client.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

extern const struct ca_plugin ca_plugin;

static struct house house;
static X509 *ra;
static int64_t made_before; /* the issuers' and helpers' own certificates */

static void
begin(void)
{
    house_build(&house);
    struct exchange exchange;
    struct ca_key *key;
    house_exchange(&house, &exchange);
    cr_assert_eq(
        ca_key_get(&exchange.request, "scep/default", CA_KEY_RA, false, 0, &key),
        CA_OK);
    ra = X509_dup(ca_key_certificate(key));
    exchange_clear(&exchange);
    made_before = house_integer(&house, "SELECT count(*) FROM certificate");
}

static void
end(void)
{
    X509_free(ra);
    house_remove(&house);
    LEAK_CHECK();
}

TestSuite(scep_core, .init = begin, .fini = end, .timeout = 60);

/* One device's message, and what came back. */
struct talk {
    struct scep_client_request request;
    enum ca_status status;
    int http_status;
    const char *wrong;
    struct scep_reply reply;
};

static void
talk_post(struct talk *talk)
{
    size_t size;
    uint8_t *der = scep_client_build(&talk->request, &size);
    struct exchange exchange;
    house_exchange(&house, &exchange);
    exchange.request.body = (struct ca_bytes){ der, size };
    const struct ca_route *route = ca_plugin.routes;
    while (strcmp(route->method, "POST") != 0)
        route++;
    talk->status = route->handle(NULL, &exchange.request);
    talk->http_status = exchange.answer.status;
    talk->wrong = "no answer";
    talk->reply = (struct scep_reply){ 0 };
    if (talk->http_status == 200)
        talk->wrong =
            scep_reply_read(exchange.answer.body, exchange.answer.size, ra,
                            talk->request.key, talk->request.certificate, &talk->reply);
    exchange_clear(&exchange);
    free(der);
}

static struct talk
talk_of(const struct house_device *device, X509 *signer)
{
    return (struct talk){ .request = { .key = device->key,
                                       .certificate = signer,
                                       .recipient = ra,
                                       .transaction = "t",
                                       .content = device->request,
                                       .content_size = device->request_size } };
}

/* The device's PKCS#10 again, with a challenge in it. */
static void
device_ask(struct house_device *device, const char *cn, const char *challenge)
{
    const struct scep_csr wanted = { .key = device->key,
                                     .cn = cn,
                                     .challenge = challenge };
    free(device->request);
    device->request = scep_csr_build(&wanted, &device->request_size);
    cr_assert_not_null(device->request);
}

static bool
is_failure(const struct talk *talk, const char *fail)
{
    return talk->http_status == 200 && !talk->wrong &&
           strcmp(talk->reply.status, "2") == 0 &&
           strcmp(talk->reply.fail, fail) == 0 && !talk->reply.has_content;
}

static int64_t
issued_count(void)
{
    return house_integer(&house, "SELECT count(*) FROM certificate") - made_before;
}

static struct house_device
device_make(const char *challenge)
{
    struct house_device device = { 0 };
    house_device_make(&device, "alice", NULL);
    device_ask(&device, "alice", challenge);
    return device;
}

Test(scep_core, enrols_once_and_answers_a_retry_with_the_same)
{
    char challenge[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    struct house_device device = device_make(challenge);
    struct talk first = talk_of(&device, device.self), again = first, changed = first;
    talk_post(&first);
    cr_assert_eq(first.status, CA_OK);
    cr_assert_null(first.wrong, "%s", first.wrong);
    cr_assert_str_eq(first.reply.status, "0");
    cr_expect_eq(EVP_PKEY_eq(X509_get0_pubkey(first.reply.certificate), device.key), 1);
    talk_post(&again);
    cr_assert_str_eq(again.reply.status, "0");
    cr_expect_eq(X509_cmp(first.reply.certificate, again.reply.certificate), 0);
    changed.request.transaction = "u";
    talk_post(&changed);
    cr_expect(is_failure(&changed, "2"), "a used challenge under another id");
    struct house_device thief = device_make(challenge);
    struct talk stolen = talk_of(&thief, thief.self);
    talk_post(&stolen);
    cr_expect(is_failure(&stolen, "2"), "a used challenge with another key");
    cr_expect_eq(issued_count(), 1);
    scep_reply_clear(&first.reply);
    scep_reply_clear(&again.reply);
    scep_reply_clear(&changed.reply);
    scep_reply_clear(&stolen.reply);
    house_device_clear(&device);
    house_device_clear(&thief);
}

#define PARALLEL 8

static void *
talk_run(void *talk)
{
    talk_post(talk);
    return NULL;
}

Test(scep_core, S4_parallel_uses_of_one_challenge_give_one_certificate)
{
    char challenge[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    struct house_device devices[PARALLEL];
    struct talk talks[PARALLEL];
    pthread_t threads[PARALLEL];
    for (int i = 0; i < PARALLEL; i++) {
        devices[i] = device_make(challenge);
        talks[i] = talk_of(&devices[i], devices[i].self);
    }
    for (int i = 0; i < PARALLEL; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, talk_run, &talks[i]), 0);
    int successes = 0;
    for (int i = 0; i < PARALLEL; i++) {
        pthread_join(threads[i], NULL);
        bool is_success = talks[i].status == CA_OK && !talks[i].wrong &&
                          strcmp(talks[i].reply.status, "0") == 0;
        successes += is_success;
        cr_expect(is_success || is_failure(&talks[i], "2"), "thread %d: %s", i,
                  ca_status_name(talks[i].status));
        scep_reply_clear(&talks[i].reply);
        house_device_clear(&devices[i]);
    }
    cr_expect_eq(successes, 1);
    cr_expect_eq(issued_count(), 1);
}

Test(scep_core, the_same_message_many_at_once_gives_one_certificate)
{
    char challenge[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    struct house_device device = device_make(challenge);
    struct talk talks[PARALLEL];
    pthread_t threads[PARALLEL];
    for (int i = 0; i < PARALLEL; i++)
        talks[i] = talk_of(&device, device.self);
    for (int i = 0; i < PARALLEL; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, talk_run, &talks[i]), 0);
    X509 *only = NULL;
    for (int i = 0; i < PARALLEL; i++) {
        pthread_join(threads[i], NULL);
        X509 *mine = talks[i].reply.certificate;
        cr_expect(mine || talks[i].status != CA_OK);
        cr_expect(!mine || !only || X509_cmp(mine, only) == 0, "two certificates");
        if (mine && !only)
            only = X509_dup(mine);
        scep_reply_clear(&talks[i].reply);
    }
    cr_expect_not_null(only);
    cr_expect_eq(issued_count(), 1);
    X509_free(only);
    house_device_clear(&device);
}

/* Refusals of the core come out as the one answer. */
Test(scep_core, R5_refused_content_is_one_answer)
{
    static const struct {
        const char *name, *cn, *san;
        bool with_challenge;
    } cases[] = {
        { "no challenge", "alice", NULL, false },
        { "another's name", "root", NULL, true },
        { "path as name", "../../x", NULL, true },
        { "line break", "ali\nce", NULL, true },
        { "a name that was not granted", "alice", "DNS:other.example", true },
        { "administrator's UPN", "alice",
          "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:administrator@example.com", true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char challenge[CHALLENGE_TEXT_SIZE];
        house_challenge(&house, &(struct challenge){ 0 }, challenge);
        struct house_device device = device_make(challenge);
        const struct scep_csr wanted = {
            .key = device.key,
            .cn = cases[i].cn,
            .san = cases[i].san,
            .challenge = cases[i].with_challenge ? challenge : NULL,
        };
        free(device.request);
        device.request = scep_csr_build(&wanted, &device.request_size);
        struct talk talk = talk_of(&device, device.self);
        talk_post(&talk);
        cr_expect(is_failure(&talk, "2"), "%s: %s", cases[i].name,
                  ca_status_name(talk.status));
        scep_reply_clear(&talk.reply);
        house_device_clear(&device);
    }
    cr_expect_eq(issued_count(), 0);
}

Test(scep_core, A4_renewal_outside_the_window_and_by_strangers)
{
    char challenge[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    struct house_device device = device_make(challenge);
    struct talk first = talk_of(&device, device.self);
    talk_post(&first);
    cr_assert_str_eq(first.reply.status, "0");
    static const char *const types[] = { "17", "19" };
    for (int i = 0; i < 2; i++) {
        struct talk early = talk_of(&device, first.reply.certificate);
        early.request.type = types[i];
        early.request.transaction = types[i];
        talk_post(&early);
        cr_expect(is_failure(&early, "2"), "%s before its window", types[i]);
        scep_reply_clear(&early.reply);
    }
    struct talk stranger = talk_of(&device, device.self);
    stranger.request.type = "17";
    stranger.request.transaction = "x";
    talk_post(&stranger);
    cr_expect(is_failure(&stranger, "2"), "a RenewalReq that is self-signed");
    scep_reply_clear(&stranger.reply);
    cr_expect_eq(issued_count(), 1);
    house_set(&house, "renewal_window", "\"P365D\"");
    device_ask(&device, "alice", NULL);
    struct talk renewal = talk_of(&device, first.reply.certificate);
    renewal.request.type = "17";
    renewal.request.transaction = "renewal";
    talk_post(&renewal);
    cr_assert_eq(renewal.status, CA_OK);
    cr_assert_str_eq(renewal.reply.status, "0");
    cr_expect_eq(issued_count(), 2);
    scep_reply_clear(&renewal.reply);
    scep_reply_clear(&first.reply);
    house_device_clear(&device);
}

Test(scep_core, waits_for_approval_and_polls_by_the_same_key_only)
{
    char challenge[CHALLENGE_TEXT_SIZE];
    house_set(&house, "approvals", "1");
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    struct house_device device = device_make(challenge), other = device_make(challenge);
    struct talk first = talk_of(&device, device.self);
    talk_post(&first);
    cr_assert_eq(first.status, CA_PENDING);
    cr_assert_null(first.wrong);
    cr_assert_str_eq(first.reply.status, "3");
    size_t size;
    CA_AUTO(free)
    uint8_t *content = scep_issuer_and_subject(
        X509_get_issuer_name(ra), X509_get_subject_name(device.self), &size);
    struct talk poll = talk_of(&device, device.self);
    poll.request.type = "20";
    poll.request.content = content;
    poll.request.content_size = size;
    struct talk foreign = poll, unknown = poll;
    talk_post(&poll);
    cr_expect_str_eq(poll.reply.status, "3");
    foreign.request.key = other.key;
    foreign.request.certificate = other.self;
    talk_post(&foreign);
    cr_expect(is_failure(&foreign, "4"), "another's transaction");
    unknown.request.transaction = "nobody's";
    talk_post(&unknown);
    cr_expect(is_failure(&unknown, "4"), "an unknown transaction");
    cr_expect_eq(issued_count(), 0);
    scep_reply_clear(&first.reply);
    scep_reply_clear(&poll.reply);
    scep_reply_clear(&foreign.reply);
    scep_reply_clear(&unknown.reply);
    house_device_clear(&device);
    house_device_clear(&other);
}

Test(scep_core, get_certificate_finds_the_devices_own_alone)
{
    char challenge[CHALLENGE_TEXT_SIZE];
    house_challenge(&house, &(struct challenge){ 0 }, challenge);
    struct house_device device = device_make(challenge);
    struct talk first = talk_of(&device, device.self);
    talk_post(&first);
    X509 *mine = first.reply.certificate;
    cr_assert_not_null(mine);
    size_t size;
    CA_AUTO(free)
    uint8_t *content = scep_issuer_and_serial(X509_get_issuer_name(mine),
                                              X509_get0_serialNumber(mine), &size);
    struct talk query = talk_of(&device, mine);
    query.request.type = "21";
    query.request.content = content;
    query.request.content_size = size;
    struct talk stranger = query;
    talk_post(&query);
    cr_assert_eq(query.status, CA_OK);
    cr_expect_eq(X509_cmp(query.reply.certificate, mine), 0);
    stranger.request.certificate = device.self;
    talk_post(&stranger);
    cr_expect(is_failure(&stranger, "4"), "a self-signed signer");
    CA_AUTO(free)
    uint8_t *other = scep_issuer_and_serial(X509_get_issuer_name(ra),
                                            X509_get0_serialNumber(ra), &size);
    struct talk foreign = talk_of(&device, mine);
    foreign.request.type = "21";
    foreign.request.content = other;
    foreign.request.content_size = size;
    talk_post(&foreign);
    cr_expect(is_failure(&foreign, "4"), "the RA's certificate");
    scep_reply_clear(&first.reply);
    scep_reply_clear(&query.reply);
    scep_reply_clear(&stranger.reply);
    scep_reply_clear(&foreign.reply);
    house_device_clear(&device);
}

/* Signers that bear our names but are none of ours, and those of ours that never renew.
 */
Test(scep_core, A4_certificates_of_the_ca_itself_renew_nothing)
{
    struct house_device device = device_make(NULL);
    X509 *forged = X509_dup(device.self);
    X509_set_issuer_name(forged, X509_get_issuer_name(ra));
    cr_assert(X509_sign(forged, device.key, EVP_sha256()) > 0);
    static const char *const types[] = { "17", "19" };
    for (int i = 0; i < 2; i++) {
        struct talk talk = talk_of(&device, forged);
        talk.request.type = types[i];
        talk_post(&talk);
        cr_expect(is_failure(&talk, "2"), "forged, %s", types[i]);
        scep_reply_clear(&talk.reply);
    }
    cr_expect_eq(issued_count(), 0);
    X509_free(forged);
    house_device_clear(&device);
}
