/* Activation by password as plugins see it: hello and the way into enroll. */
#include "activate_call.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "log.h"
#include "refuse.h"
#include <openssl/crypto.h>
#include <string.h>

#define PROTOCOL "activation"

static void
call_release(void *arg)
{
    struct activate_call *call = arg;
    free(call->user);
    free(call->ref);
    free(call->server);
    free(call);
}

struct activate_call *
activate_call_of(struct exchange *exchange)
{
    return exchange->activation;
}

enum ca_status
activate_refuse(struct exchange *exchange, enum ca_status status)
{
    return refuse(exchange, status, &(struct refusal_place){ .protocol = PROTOCOL });
}

/* A session's place in the request, once. */
static enum ca_status
call_begin(struct exchange *exchange, const uint8_t sn[CA_ACTIVATION_NONCE],
           struct activate_call **ret_call)
{
    if (exchange->activation)
        return ca_fail(CA_INTERNAL, "one session a request");
    struct activate_call *call = calloc(1, sizeof *call);
    if (!call)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    memcpy(call->sn_octets, sn, CA_ACTIVATION_NONCE);
    hex_format(sn, CA_ACTIVATION_NONCE, call->sn);
    enum ca_status status = exchange_keep(exchange, call, call_release);
    if (status != CA_OK)
        return status;
    exchange->activation = call;
    *ret_call = call;
    return CA_OK;
}

static enum ca_status
name_take(const struct ca_activation_hello *hello, struct activate_call *call)
{
    char user[STRETCH_USER_MAX + 1], ref[STRETCH_REF_MAX + 1];
    if (!hello->user || !stretch_user(hello->user, hello->user_size, user))
        return ca_fail(CA_MALFORMED, "no login name");
    if (!hello->ref || hello->ref_size > STRETCH_REF_MAX ||
        memchr(hello->ref, '\0', hello->ref_size))
        return ca_fail(CA_MALFORMED, "no reference");
    memcpy(ref, hello->ref, hello->ref_size);
    ref[hello->ref_size] = '\0';
    if (!stretch_ref_is_good(ref))
        return ca_fail(CA_MALFORMED, "no reference");
    call->user = strdup(user);
    call->ref = strdup(ref);
    if (!call->user || !call->ref)
        return ca_fail(CA_INTERNAL, "no memory for a name");
    activate_name((struct stretch_name){ user, ref }, call->name);
    return CA_OK;
}

/* ---- hello ---- */

struct hello_question {
    const struct activate_call *call;
    struct activation_verifier verifier;
    bool is_live;
    struct activation_failures failures;
};

static enum ca_status
hello_read(struct store_tx *tx, void *arg)
{
    struct hello_question *question = arg;
    activation_verifier_clear(&question->verifier);
    enum ca_status status = activation_find(tx, question->call->user,
                                            question->call->ref, &question->verifier);
    question->is_live = status == CA_OK;
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    return activation_failures_load(tx, question->call->name, &question->failures);
}

/* What a client needs, of a live password or of none. */
static enum ca_status
offer_fill(struct exchange *exchange, struct vault *vault,
           struct hello_question *question, struct ca_activation_offer *offer)
{
    const struct activate_call *call = question->call;
    const struct stretch_name name = { call->user, call->ref };
    uint8_t decoy[STRETCH_PRS_SIZE];
    enum ca_status status =
        stretch_decoy(vault_decoy_key(vault), name, call->sn_octets, decoy);
    if (status == CA_OK)
        status = stretch_salt(vault_salt_key(vault), name, offer->salt);
    if (status == CA_OK)
        status = activate_unseal(exchange, name, &question->verifier,
                                 &question->is_live, offer->prs);
    if (status == CA_OK)
        stretch_choose(offer->prs, decoy, question->is_live);
    OPENSSL_cleanse(decoy, sizeof decoy);
    if (status != CA_OK) {
        OPENSSL_cleanse(offer->prs, sizeof offer->prs);
        return status;
    }
    offer->user = call->user;
    offer->ref = call->ref;
    offer->server = call->server;
    offer->ln = stretch_cost_default.ln;
    offer->r = stretch_cost_default.r;
    offer->p = stretch_cost_default.p;
    offer->ttl = ACTIVATE_TTL;
    return CA_OK;
}

static enum ca_status
hello_answer(struct exchange *exchange, struct activate_call *call,
             struct ca_activation_offer *ret_offer)
{
    struct service *service = exchange->service;
    struct vault *vault = atomic_load(&service->vault);
    struct ca_activation_offer offer = { .retry_after = 0 };
    struct hello_question question = { .call = call };
    if (!vault)
        return ca_fail(CA_UNAVAILABLE, "no sealing key is in use");
    enum ca_status status = activate_server(service, &call->server);
    if (status == CA_OK)
        status = activate_guard_room(service->activations, service->store,
                                     service->config.activation.sessions);
    if (status == CA_OK)
        status = store_read(service->store, hello_read, &question);
    if (status == CA_OK &&
        question.failures.count >= service->config.activation.failures_per_name) {
        ret_offer->retry_after = question.failures.expires - clock_now();
        status = ca_fail(CA_LIMIT, "too many failed enrolments for this name");
    }
    if (status == CA_OK)
        status = offer_fill(exchange, vault, &question, &offer);
    if (status == CA_OK) {
        if (question.is_live)
            snprintf(call->activation, sizeof call->activation, "%s",
                     question.verifier.activation);
        *ret_offer = offer;
    }
    OPENSSL_cleanse(offer.prs, sizeof offer.prs);
    activation_verifier_clear(&question.verifier);
    return status;
}

static enum ca_status
hello_begin(struct exchange *exchange, const struct ca_activation_hello *hello,
            const uint8_t *sn, struct ca_activation_offer *ret_offer)
{
    struct service *service = exchange->service;
    struct activate_call *call = NULL;
    enum ca_status status = call_begin(exchange, sn, &call);
    if (status == CA_OK)
        status = name_take(hello, call);
    if (status == CA_OK)
        status = activate_guard_hello(
            service->activations, &service->config.activation,
            &(struct activate_hello){ exchange->request.peer, call->name },
            &ret_offer->retry_after);
    if (status == CA_OK)
        status = service_wait_begin(service);
    if (status != CA_OK)
        return status;
    status = hello_answer(exchange, call, ret_offer);
    service_wait_end(service);
    return status;
}

enum ca_status
ca_activation_begin(struct ca_request *req, const struct ca_activation_hello *hello,
                    const uint8_t sn[CA_ACTIVATION_NONCE],
                    struct ca_activation_offer *ret_offer)
{
    struct exchange *exchange = exchange_of(req);
    return activate_refuse(exchange, hello_begin(exchange, hello, sn, ret_offer));
}

/* ---- The session ---- */

#define SESSION_SHARE_MAX 133
#define SESSION_DATA_MAX 512
#define SESSION_SUITE_MAX 32

static json_t *
octets_format(struct ca_bytes octets)
{
    CA_AUTO(free) char *text = base64url_format(octets.data, octets.size);
    return text ? json_string(text) : NULL;
}

static json_t *
content_format(const struct activate_call *call,
               const struct ca_activation_session *session)
{
    return json_pack(
        "{s:o, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "cn",
        octets_format((struct ca_bytes){ session->cn, sizeof session->cn }), "suite",
        session->suite, "user", call->user, "ref", call->ref, "server", call->server,
        "share", octets_format(session->share), "server_data",
        octets_format(session->server_data), "client_data",
        octets_format(session->client_data));
}

static enum ca_status
session_insert(struct store_tx *tx, void *arg)
{
    return activation_session_insert(tx, arg);
}

static enum ca_status
session_keep(struct exchange *exchange, const struct ca_activation_session *session)
{
    struct service *service = exchange->service;
    struct activate_call *call = exchange->activation;
    struct vault *vault = atomic_load(&service->vault);
    uint8_t scalar[ACTIVATION_SCALAR_MAX + SEAL_OVERHEAD];
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
    if (!call || !call->server || !vault)
        return ca_fail(CA_INTERNAL, "no hello to keep a session of");
    if (session->scalar.size == 0 || session->scalar.size > ACTIVATION_SCALAR_MAX ||
        session->share.size > SESSION_SHARE_MAX ||
        session->server_data.size > SESSION_DATA_MAX ||
        session->client_data.size > SESSION_DATA_MAX || !session->suite ||
        strlen(session->suite) > SESSION_SUITE_MAX)
        return ca_fail(CA_LIMIT, "a session with a member too long");
    stretch_session_aad(call->sn_octets, &aad);
    CA_AUTO(json_decref) json_t *content = content_format(call, session);
    if (aad.failed || !content)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    enum ca_status status =
        seal_make(vault_state_key(vault),
                  (struct seal_text){ session->scalar.data, session->scalar.size,
                                      aad.data, aad.size },
                  scalar);
    if (status != CA_OK)
        return status;
    struct activation_session row = {
        .sn = call->sn,
        .source = (char *)(uintptr_t)exchange->request.peer,
        .activation = call->activation,
        .expires = clock_now() + ACTIVATE_TTL,
        .content = content,
        .scalar = scalar,
        .scalar_size = session->scalar.size + SEAL_OVERHEAD,
    };
    status = store_write(service->store, session_insert, &row);
    if (status == CA_OK)
        activate_guard_opened(service->activations, exchange->request.peer);
    return status;
}

enum ca_status
ca_activation_keep(struct ca_request *req, const struct ca_activation_session *session)
{
    struct exchange *exchange = exchange_of(req);
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    status = session_keep(exchange, session);
    service_wait_end(exchange->service);
    return status;
}

/* ---- enroll, steps 2 and 3 ---- */

struct attempt {
    const struct activate_call *call;
    const uint8_t *digest;
    const char *run;
    int64_t failures_max;
    struct activation_session session;
    bool is_live, is_last;
    char name[ACTIVATE_NAME_SIZE];
};

/* The name whose failures are counted, of the session's own content. */
static enum ca_status
attempt_name(struct attempt *attempt)
{
    const json_t *content = attempt->session.content;
    const char *user = json_string_value(json_object_get(content, "user"));
    const char *ref = json_string_value(json_object_get(content, "ref"));
    if (!user || !ref)
        return ca_fail(CA_INTERNAL, "a session of the store names nobody");
    activate_name((struct stretch_name){ user, ref }, attempt->name);
    return CA_OK;
}

/* The same statements for a session with and without a password. Beyond the day's
 * failures every password is as good as none. */
static enum ca_status
attempt_write(struct store_tx *tx, void *arg)
{
    struct attempt *attempt = arg;
    int64_t failures = 0, tries = 0;
    activation_session_clear(&attempt->session);
    enum ca_status status = activation_session_spend(
        tx, attempt->call->sn, attempt->digest, attempt->run, &attempt->session);
    if (status == CA_OK)
        status = attempt_name(attempt);
    if (status == CA_OK)
        status = activation_failures_add(tx, attempt->name, &failures);
    if (status != CA_OK)
        return status;
    bool is_over = failures > attempt->failures_max;
    const char *id = is_over ? "" : attempt->session.activation;
    status = activation_attempt(tx, id, &attempt->is_live);
    if (status == CA_OK)
        status = activation_tries(tx, id, &tries);
    attempt->is_last = attempt->is_live && tries == 0;
    return status;
}

static enum ca_status
octets_give(struct ca_request *req, const json_t *content, const char *member,
            struct ca_bytes *ret_octets)
{
    const char *text = json_string_value(json_object_get(content, member));
    size_t room = text ? strlen(text) : 0, size = 0;
    uint8_t *octets = ca_request_alloc(req, room + 1);
    if (!octets)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    if (!text || base64_parse(text, room, BASE64_URL, octets, room + 1, &size) != CA_OK)
        return ca_fail(CA_INTERNAL, "a session of the store has no '%s'", member);
    *ret_octets = (struct ca_bytes){ octets, size };
    return CA_OK;
}

static enum ca_status
text_give(struct ca_request *req, const json_t *content, const char *member,
          const char **ret_text)
{
    const char *text = json_string_value(json_object_get(content, member));
    char *copy = text ? ca_request_alloc(req, strlen(text) + 1) : NULL;
    if (!text || !copy)
        return ca_fail(CA_INTERNAL, "a session of the store has no '%s'", member);
    memcpy(copy, text, strlen(text) + 1);
    *ret_text = copy;
    return CA_OK;
}

static enum ca_status
scalar_give(struct exchange *exchange, const struct activation_session *row,
            struct ca_bytes *ret_scalar)
{
    struct vault *vault = atomic_load(&exchange->service->vault);
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
    stretch_session_aad(exchange->activation->sn_octets, &aad);
    if (!vault || aad.failed || row->scalar_size <= SEAL_OVERHEAD)
        return ca_fail(CA_UNAVAILABLE, "no sealing key is in use");
    size_t size = row->scalar_size - SEAL_OVERHEAD;
    uint8_t *scalar = ca_request_alloc(&exchange->request, size);
    if (!scalar)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    *ret_scalar = (struct ca_bytes){ scalar, size };
    enum ca_status status = seal_open(
        vault_state_key(vault),
        (struct seal_text){ row->scalar, row->scalar_size, aad.data, aad.size },
        scalar);
    return status == CA_FORBIDDEN
               ? ca_fail(CA_INTERNAL, "a session of the store does not open")
               : status;
}

static enum ca_status
session_give(struct exchange *exchange, const struct activation_session *row,
             struct ca_activation_session *ret_session)
{
    struct ca_request *req = &exchange->request;
    const json_t *content = row->content;
    struct ca_activation_session session = { .suite = NULL };
    struct ca_bytes cn;
    enum ca_status status = octets_give(req, content, "cn", &cn);
    if (status == CA_OK && cn.size != sizeof session.cn)
        status = ca_fail(CA_INTERNAL, "a session of the store has no 'cn'");
    if (status != CA_OK)
        return status;
    memcpy(session.cn, cn.data, sizeof session.cn);
    status = text_give(req, content, "suite", &session.suite);
    if (status == CA_OK)
        status = text_give(req, content, "user", &session.user);
    if (status == CA_OK)
        status = text_give(req, content, "ref", &session.ref);
    if (status == CA_OK)
        status = text_give(req, content, "server", &session.server);
    if (status == CA_OK)
        status = octets_give(req, content, "share", &session.share);
    if (status == CA_OK)
        status = octets_give(req, content, "server_data", &session.server_data);
    if (status == CA_OK)
        status = octets_give(req, content, "client_data", &session.client_data);
    if (status == CA_OK)
        status = scalar_give(exchange, row, &session.scalar);
    if (status == CA_OK)
        *ret_session = session;
    return status;
}

static enum ca_status
answer_give(struct exchange *exchange, const struct activation_session *row,
            struct ca_activation_answer *ret_answer)
{
    uint8_t *body = ca_request_alloc(&exchange->request, row->answer_size + 1);
    if (!body)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    if (row->answer_size > 0)
        memcpy(body, row->answer, row->answer_size);
    *ret_answer = (struct ca_activation_answer){ (int)row->http_status,
                                                 { body, row->answer_size } };
    return CA_CONFLICT;
}

static enum ca_status
attempt_take(struct exchange *exchange, const uint8_t *digest, struct attempt *attempt)
{
    struct service *service = exchange->service;
    attempt->call = exchange->activation;
    attempt->digest = digest;
    attempt->run = service->run;
    attempt->failures_max = service->config.activation.failures_per_name;
    enum ca_status status = service_wait_begin(service);
    if (status != CA_OK)
        return status;
    exchange_expect_write(exchange);
    status = store_write(service->store, attempt_write, attempt);
    service_wait_end(service);
    return status;
}

static void
activation_session_clear_auto(struct activation_session *session)
{
    activation_session_clear(session);
}

static enum ca_status
attempt_begin(struct exchange *exchange, const uint8_t *sn, const uint8_t *digest,
              struct ca_activation_session *ret_session,
              struct ca_activation_answer *ret_answer)
{
    struct activate_call *call = NULL;
    struct attempt attempt = { .is_live = false };
    enum ca_status status = call_begin(exchange, sn, &call);
    if (status == CA_OK)
        status = attempt_take(exchange, digest, &attempt);
    CA_AUTO(activation_session_clear) struct activation_session row = attempt.session;
    if (status == CA_CONFLICT)
        return row.http_status ? answer_give(exchange, &row, ret_answer)
                               : ca_fail(CA_UNAVAILABLE, "%s", status_message());
    if (status != CA_OK)
        return status;
    call->is_live = attempt.is_live;
    call->is_last = attempt.is_last;
    memcpy(call->name, attempt.name, sizeof call->name);
    if (attempt.is_live)
        snprintf(call->activation, sizeof call->activation, "%s", row.activation);
    activate_guard_spent(exchange->service->activations, row.source);
    return session_give(exchange, &row, ret_session);
}

enum ca_status
ca_activation_attempt(struct ca_request *req, const uint8_t sn[CA_ACTIVATION_NONCE],
                      const uint8_t digest[32],
                      struct ca_activation_session *ret_session,
                      struct ca_activation_answer *ret_answer)
{
    struct exchange *exchange = exchange_of(req);
    enum ca_status status =
        attempt_begin(exchange, sn, digest, ret_session, ret_answer);
    return status == CA_CONFLICT ? status : activate_refuse(exchange, status);
}

/* ---- The end of an attempt without an answer to keep ---- */

static enum ca_status
session_end(struct store_tx *tx, void *sn)
{
    return activation_session_end(tx, sn);
}

void
activate_session_over(struct exchange *exchange)
{
    struct activate_call *call = exchange->activation;
    if (call && store_write(exchange->service->store, session_end, call->sn) != CA_OK)
        log_write(LOG_LEVEL_WARNING, NULL,
                  "an activation's session stays as if it were worked on: %s",
                  status_message());
}

void
activate_failed(struct exchange *exchange, const char *reason)
{
    const struct activate_call *call = exchange->activation;
    bool is_locked = call && call->is_last;
    refuse_reason(exchange, is_locked ? "locked" : reason,
                  &(struct refusal_place){ .protocol = PROTOCOL });
    if (is_locked)
        log_write(LOG_LEVEL_WARNING,
                  json_pack("{s:s, s:s}", "activation", call->activation, "peer",
                            exchange->request.peer),
                  "the last try at an activation password failed");
}

/* The try was counted with the attempt: this write may be lost. */
void
ca_activation_refused(struct ca_request *req, const char *reason)
{
    struct exchange *exchange = exchange_of(req);
    activate_failed(exchange, reason);
    if (service_wait_begin(exchange->service) != CA_OK)
        return;
    activate_session_over(exchange);
    service_wait_end(exchange->service);
}
