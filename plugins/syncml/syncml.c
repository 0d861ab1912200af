/* The plugin: authenticates each message, moves the session one step, answers. */
#include "auto.h"
#include "base64.h"
#include "syncml_step.h"
#include <openssl/sha.h>
#include <string.h>

#define SPACE "session"

static void
digest_of(struct ca_bytes octets, char ret_hex[2 * SHA256_DIGEST_LENGTH + 1])
{
    uint8_t sha256[SHA256_DIGEST_LENGTH];
    SHA256(octets.data, octets.size, sha256);
    for (size_t i = 0; i < sizeof sha256; i++)
        snprintf(ret_hex + 2 * i, 3, "%02x", sha256[i]);
}

static enum ca_status
respond(struct ca_request *req, struct ca_bytes octets)
{
    return ca_respond(req, 200, syncml_answer_type(req->content_type), octets.data,
                      octets.size);
}

/* An answer of the header's status alone: nothing else of the message was looked at. */
static enum ca_status
answer_alone(struct syncml_step *step, int code, const char *nonce)
{
    struct ca_bytes octets;
    struct syncml_session session = { .state = syncml_session_new(""), .next_id = 1 };
    json_object_set_new(session.state, "own",
                        json_integer(step->message.header.message - 1));
    enum ca_status status =
        syncml_answer(step->req, &session, &step->message.header, code, nonce, &octets);
    syncml_session_clear(&session);
    return status == CA_OK ? respond(step->req, octets) : status;
}

static enum ca_status
answer_refusal(struct syncml_step *step, enum ca_status refused)
{
    const char *nonce;
    enum ca_status status;
    if (refused == CA_UNAUTHENTICATED) {
        status = ca_manage_nonce(step->req, step->message.header.source, &nonce);
        return status == CA_OK ? answer_alone(step, 401, nonce) : status;
    }
    if (refused == CA_FORBIDDEN)
        return answer_alone(step, 403, NULL);
    return refused == CA_MALFORMED ? answer_alone(step, 400, NULL) : refused;
}

/* The state of a running session; CA_NOT_FOUND. */
static enum ca_status
state_load(struct syncml_step *step)
{
    struct ca_bytes value;
    enum ca_status status =
        ca_state_get(step->req, SPACE, step->key, &value, &step->version);
    if (status != CA_OK)
        return status;
    step->session.state =
        json_loadb((const char *)value.data, value.size, JSON_REJECT_DUPLICATES, NULL);
    return json_is_object(step->session.state)
               ? CA_OK
               : ca_fail(CA_INTERNAL, "a session's state is no object");
}

/* What the API says of the session. */
static json_t *
shown_of(const struct syncml_step *step)
{
    const json_t *state = step->session.state;
    size_t waiting = json_array_size(json_object_get(state, "pending")) +
                     json_array_size(json_object_get(state, "held"));
    return json_pack(
        "{s:s, s:b, s:I, s:I, s:I, s:I}", "id", step->message.header.session, "over",
        step->is_over, "started", (json_int_t)integer_of(state, "started"), "updated",
        (json_int_t)ca_now(step->req), "messages",
        (json_int_t)step->message.header.message, "waiting", (json_int_t)waiting);
}

/* The answer, kept for a repeat: its octets are in the form and of the type that it was
 * sent in. A longer one is not given again. */
static void
answer_keep(struct syncml_step *step, struct ca_bytes answer)
{
    json_t *state = step->session.state;
    const char *type = syncml_answer_type(step->req->content_type);
    json_object_del(state, "answer");
    json_object_set_new(state, "answer_type", json_string(type));
    if (answer.size > SYNCML_REPEAT_MAX)
        return;
    json_object_set_new(state, "answer",
                        syncml_type_is_wbxml(type)
                            ? json_string(base64_encode(step->req, answer))
                            : json_stringn((const char *)answer.data, answer.size));
}

static enum ca_status
answer_again(struct syncml_step *step)
{
    const char *text = text_of(step->session.state, "answer");
    const char *type = text_of(step->session.state, "answer_type");
    struct ca_bytes answer = { (const uint8_t *)text, strlen(text) };
    if (syncml_type_is_wbxml(type)) {
        enum ca_status status =
            base64_decode(step->req, text, answer.size, SYNCML_REPEAT_MAX, &answer);
        if (status != CA_OK)
            return status;
    }
    return ca_respond(step->req, 200, type ? type : SYNCML_TYPE, answer.data,
                      answer.size);
}

/* Saved over the version that was read, so that of two messages at once one counts. */
static enum ca_status
state_save(struct syncml_step *step, struct ca_bytes answer)
{
    char digest[2 * SHA256_DIGEST_LENGTH + 1];
    json_t *state = step->session.state;
    digest_of(step->req->body, digest);
    json_object_set_new(state, "next", json_integer(step->message.header.message + 1));
    json_object_set_new(state, "request", json_string(digest));
    answer_keep(step, answer);
    json_object_del(state, "joined");
    if (step->is_over)
        json_object_set_new(state, "over", json_true());
    if (json_object_set_new(state, "shown", shown_of(step)) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    char *text = json_dumps(state, JSON_COMPACT);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    struct ca_bytes value = { (const uint8_t *)text, strlen(text) };
    enum ca_status status =
        step->version > 0
            ? ca_state_swap(step->req, SPACE, step->key, step->version, value,
                            SYNCML_SESSION_SECONDS)
            : ca_state_put(step->req, SPACE, step->key, value, SYNCML_SESSION_SECONDS);
    OPENSSL_cleanse(text, strlen(text));
    free(text);
    return status;
}

/* ---- One step ---- */

static enum ca_status
end_session(struct syncml_step *step)
{
    const struct syncml_session *session = &step->session;
    bool idle = json_array_size(session->commands) == 0 && !session->wants_more &&
                !session->holds_back && !session->waits && step->message.is_final &&
                !syncml_session_is_waiting(session);
    step->is_over = idle || session->aborted || session->unenrolled;
    if (!step->is_over || !(session->aborted || session->unenrolled))
        return CA_OK;
    json_object_set_new(session->state, "pending", json_array());
    return ca_manage_release(step->req, text_of(session->state, "token"));
}

/* The device's MaxMsgSize (OMA-TS-DM_Protocol-V1_2 section 7), of this message or an
 * earlier one. false: the statuses find no place. */
static bool
limit_set(struct syncml_step *step)
{
    const struct syncml_header *header = &step->message.header;
    json_t *state = step->session.state;
    if (header->max_size > 0)
        json_object_set_new(state, "max_size", json_integer(header->max_size));
    return syncml_answer_fit(
        &step->session, header,
        (size_t)json_integer_value(json_object_get(state, "max_size")));
}

/* The device asks for held statuses by a message of its own, final or not: its package
 * has ended when the message did that they belong to. */
static void
final_hold(struct syncml_step *step)
{
    struct syncml_session *session = &step->session;
    if (json_is_true(json_object_get(session->state, "left_final")))
        step->message.is_final = true;
    if (session->aborted || session->unenrolled) {
        session->holds_back = false;
        json_object_del(session->state, "left");
    }
    if (session->holds_back)
        json_object_set_new(session->state, "left_final",
                            json_boolean(step->message.is_final));
    else
        json_object_del(session->state, "left_final");
}

/* Two messages at once, and the other counts: what was claimed for this one's answer
 * waits again. */
static enum ca_status
lose(struct syncml_step *step)
{
    enum ca_status status =
        step->has_claimed
            ? ca_manage_release(step->req, text_of(step->session.state, "token"))
            : CA_OK;
    return status == CA_OK ? answer_alone(step, 400, NULL) : status;
}

static enum ca_status
run(struct syncml_step *step)
{
    struct syncml_session *session = &step->session;
    struct ca_bytes answer;
    session->statuses = json_array();
    session->commands = json_array();
    session->finished = json_array();
    session->next_id = 1;
    if (!session->statuses || !session->commands || !session->finished)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    enum ca_status status = syncml_step_open(step);
    if (status != CA_OK)
        return status;
    syncml_session_take(session, &step->message);
    if (!limit_set(step))
        return answer_alone(step, 413, NULL);
    syncml_session_settle(session, &step->message);
    final_hold(step);
    status = syncml_step_record(step);
    if (status == CA_OK && session->unenrolled)
        status = ca_manage_unenrolled(step->req);
    else if (status == CA_OK && !session->aborted)
        status = syncml_step_give(step);
    if (status == CA_OK)
        status = syncml_step_policy(step); /* a policy without items is done at once */
    if (status == CA_OK)
        status = end_session(step);
    if (status == CA_OK)
        status = syncml_answer(step->req, session, &step->message.header,
                               step->managed.by_secret ? 212 : 200, step->managed.nonce,
                               &answer);
    if (status == CA_OK)
        status = state_save(step, answer);
    if (status == CA_CONFLICT)
        return lose(step);
    return status == CA_OK ? respond(step->req, answer) : status;
}

/* ---- Which session, and who ---- */

static enum ca_status
new_session(struct syncml_step *step)
{
    char token[SYNCML_TOKEN_SIZE];
    const char *old = text_of(step->session.state, "token");
    enum ca_status status = syncml_step_token(token);
    if (status == CA_OK && old)
        status = ca_manage_release(step->req, old);
    if (status != CA_OK)
        return status;
    json_decref(step->session.state);
    step->session.state = syncml_session_new(token);
    step->version = 0;
    if (!step->session.state ||
        json_object_set_new(step->session.state, "started",
                            json_integer(ca_now(step->req))) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    return CA_OK;
}

/* The same bytes again: the answer was lost on its way, and is given again. */
static bool
is_repeat(const struct syncml_step *step)
{
    char digest[2 * SHA256_DIGEST_LENGTH + 1];
    const char *last = text_of(step->session.state, "request");
    digest_of(step->req->body, digest);
    return last && strcmp(last, digest) == 0 &&
           text_of(step->session.state, "answer") != NULL;
}

static enum ca_status
open_device(struct syncml_step *step)
{
    const struct syncml_header *header = &step->message.header;
    struct ca_management management = {
        .protocol = "syncml",
        .peer_id = header->source,
        .certificate = step->req->peer_certificate,
        .name = header->name,
        .secret = header->secret,
        .digest = header->digest,
        .session = header->session,
        .resume = header->message > 1 && !header->has_credential,
    };
    return ca_manage_open(step->req, &management, &step->managed);
}

static enum ca_status
proceed(struct syncml_step *step)
{
    const struct syncml_header *header = &step->message.header;
    char key[64];
    enum ca_status status = open_device(step);
    if (status != CA_OK)
        return answer_refusal(step, status);
    /* By the record, not by the id that another device may have later. */
    snprintf(key, sizeof key, "%s %s", step->managed.device, header->session);
    step->key = key;
    enum ca_status loaded = state_load(step);
    if (loaded != CA_OK && loaded != CA_NOT_FOUND)
        return loaded;
    /* A repeat is answered to who asked first alone: its bytes hold the credential, or
     * the connection does. A used digest is good for that too, and nothing else. */
    if (loaded == CA_OK && !header->digest && is_repeat(step))
        return answer_again(step);
    if (header->message == 1) {
        status = new_session(step);
        return status == CA_OK ? run(step) : status;
    }
    json_t *state = step->session.state;
    bool follows =
        loaded == CA_OK && !json_object_get(state, "over") &&
        json_integer_value(json_object_get(state, "next")) == header->message;
    /* The message after a 401 brings the credential under the next number. */
    if (!follows && header->message == 2 && step->managed.by_secret) {
        status = new_session(step);
        if (status == CA_OK)
            json_object_set_new(step->session.state, "own", json_integer(1));
        return status == CA_OK ? run(step) : status;
    }
    if (!follows) {
        ca_refused(step->req, "syncml", "", "message_order", true);
        return answer_alone(step, 400, NULL);
    }
    return run(step);
}

static enum ca_status
refuse_type(struct ca_request *req)
{
    static const char types[] = SYNCML_TYPE ", " SYNCML_TYPE_WBXML;
    static const char words[] =
        "SyncML is served as " SYNCML_TYPE " and " SYNCML_TYPE_WBXML "\n";
    enum ca_status status = ca_respond_header(req, "Accept", types);
    return status == CA_OK ? ca_respond(req, 415, "text/plain; charset=utf-8", words,
                                        sizeof words - 1)
                           : status;
}

static enum ca_status
handle(void *state, struct ca_request *req)
{
    (void)state;
    struct syncml_step step = { .req = req };
    if (!syncml_answer_type(req->content_type))
        return refuse_type(req);
    enum ca_status status = syncml_read(req, &step.message);
    if (status == CA_MALFORMED || status == CA_LIMIT) {
        ca_refused(req, "syncml", "", "malformed", false);
        return status == CA_LIMIT ? ca_respond(req, 400, "text/plain", "", 0) : status;
    }
    if (status != CA_OK)
        return status;
    status = proceed(&step);
    syncml_session_clear(&step.session);
    json_decref(step.policy);
    json_decref(step.kept);
    return status;
}

static enum ca_status
init(const json_t *settings, void **ret_state)
{
    if (settings && json_object_size(settings) > 0)
        return ca_fail(
            CA_MALFORMED, "plugin syncml has no member '%s'",
            json_object_iter_key(json_object_iter((json_t *)(uintptr_t)settings)));
    *ret_state = NULL;
    return CA_OK;
}

static const struct ca_route routes[] = {
    { "POST", SYNCML_PATH, SYNCML_BODY_MAX, CA_ROUTE_TLS_ONLY, handle },
    { 0 },
};

extern const struct ca_plugin ca_plugin;
CA_EXPORT const struct ca_plugin ca_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "syncml",
    .routes = routes,
    .init = init,
};
