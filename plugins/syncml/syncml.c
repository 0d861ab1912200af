/* The plugin: authenticates each message, moves the session one step, answers. */
#include "syncml.h"
#include "auto.h"
#include "base64.h"
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <string.h>
#include <strings.h>

#define SPACE "session"

struct exchange_step {
    struct ca_request *req;
    struct syncml_message message;
    struct syncml_session session;
    struct ca_managed managed;
    const char *key; /* of the session's state */
    int64_t version; /* of that state, 0: new */
    bool is_over;    /* nothing is left to do */
    json_t *policy;  /* whole, or NULL */
    json_t *kept;    /* nodes of the policy, as the core has them; or NULL */
};

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
    return ca_respond(req, 200, SYNCML_TYPE, octets.data, octets.size);
}

/* An answer of the header's status alone: nothing else of the message was looked at. */
static enum ca_status
answer_alone(struct exchange_step *step, int code, const char *nonce)
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
answer_refusal(struct exchange_step *step, enum ca_status refused)
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
state_load(struct exchange_step *step)
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

/* Saved over the version that was read, so that of two messages at once one counts. */
static enum ca_status
state_save(struct exchange_step *step, struct ca_bytes answer)
{
    char digest[2 * SHA256_DIGEST_LENGTH + 1];
    json_t *state = step->session.state;
    digest_of(step->req->body, digest);
    json_object_set_new(state, "next", json_integer(step->message.header.message + 1));
    json_object_set_new(state, "request", json_string(digest));
    if (answer.size <= SYNCML_REPEAT_MAX) /* a longer one is not given again */
        json_object_set_new(state, "answer",
                            json_stringn((const char *)answer.data, answer.size));
    else
        json_object_del(state, "answer");
    json_object_del(state, "joined");
    if (step->is_over)
        json_object_set_new(state, "over", json_true());
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

static int64_t
applied_version(const struct exchange_step *step)
{
    const json_t *policy = json_object_get(step->managed.report, "policy");
    const char *name = text_of(policy, "name");
    bool is_same = name && step->session.policy &&
                   strcmp(name, text_of(step->session.policy, "name")) == 0;
    return is_same ? json_integer_value(json_object_get(policy, "version")) : 0;
}

/* Noted before the first node goes out, and again when all are settled: a session that
 * breaks off between the two leaves no node that nobody knows. */
static enum ca_status
policy_keep(struct exchange_step *step, bool done)
{
    CA_AUTO(json_decref) json_t *nodes = syncml_policy_nodes(&step->session, done);
    if (!nodes)
        return ca_fail(CA_INTERNAL, "no memory for nodes");
    if (json_equal(nodes, step->kept))
        return CA_OK;
    enum ca_status status = ca_manage_policy_kept(step->req, nodes);
    if (status == CA_OK) {
        json_decref(step->kept);
        step->kept = CA_STEAL(nodes);
    }
    return status;
}

/* What the policy came to: into the report, and what was set right into the audit. */
static enum ca_status
policy_report(struct exchange_step *step)
{
    json_t *state = step->session.state;
    json_t *policy = json_object_get(state, "policy");
    if (!syncml_session_policy_is_done(&step->session) ||
        json_object_get(policy, "reported"))
        return CA_OK;
    json_object_set_new(policy, "reported", json_true());
    enum ca_status kept = policy_keep(step, true);
    if (kept != CA_OK)
        return kept;
    CA_AUTO(json_decref)
    json_t *report =
        json_pack("{s:O, s:O, s:O}", "name", json_object_get(policy, "name"), "version",
                  json_object_get(policy, "version"), "failed",
                  json_object_get(policy, "failed"));
    enum ca_status status = ca_manage_report(step->req, "policy", report);
    if (status != CA_OK || json_array_size(json_object_get(policy, "mended")) == 0)
        return status;
    CA_AUTO(json_decref)
    json_t *detail = json_pack(
        "{s:O, s:O, s:O, s:O}", "policy", json_object_get(policy, "name"), "version",
        json_object_get(policy, "version"), "set", json_object_get(policy, "mended"),
        "failed", json_object_get(policy, "failed"));
    return ca_manage_mended(step->req, detail);
}

static enum ca_status
scep_report(struct exchange_step *step)
{
    json_t *scep = json_object_get(step->session.state, "scep");
    const char *offer = text_of(scep, "offer");
    if (!offer || json_object_get(scep, "reported"))
        return CA_OK;
    enum ca_status status = ca_manage_report(step->req, "scep", scep);
    if (status == CA_OK && json_is_true(json_object_get(scep, "failed")))
        status = ca_manage_scep_failed(step->req, offer);
    json_object_set_new(scep, "reported", json_true());
    return status;
}

/* What the device said goes into the records. */
static enum ca_status
record_all(struct exchange_step *step)
{
    struct syncml_session *session = &step->session;
    json_t *state = session->state, *info = json_object_get(state, "info");
    enum ca_status status =
        ca_manage_finish(step->req, text_of(state, "token"), session->finished);
    if (status == CA_OK && json_object_size(info) > 0) {
        status = ca_manage_report(step->req, "dev_info", info);
        json_object_clear(info);
    }
    if (status == CA_OK && json_object_get(state, "has_detail") &&
        !syncml_session_is_waiting(session)) {
        status =
            ca_manage_report(step->req, "dev_detail", json_object_get(state, "detail"));
        json_object_del(state, "has_detail");
    }
    if (status == CA_OK)
        status = policy_report(step);
    return status == CA_OK ? scep_report(step) : status;
}

static enum ca_status
give_scep(struct exchange_step *step)
{
    struct ca_scep_offer offer = { 0 };
    json_t *state = step->session.state;
    bool has_room = syncml_session_has_room(&step->session, SYNCML_SCEP_SIZE);
    if (json_object_get(state, "scep_asked") ||
        (!has_room && json_array_size(step->session.commands) > 0))
        return CA_OK;
    json_object_set_new(state, "scep_asked", json_true());
    if (!has_room) { /* SYNCML_SCEP_SIZE is more than the device's MaxMsgSize leaves */
        ca_log(step->req, "no message of this device takes a SCEP profile");
        return CA_OK;
    }
    enum ca_status status = ca_manage_scep(step->req, &offer);
    if (status == CA_NOT_FOUND || status == CA_PENDING)
        return CA_OK;
    if (status == CA_UNSUPPORTED || status == CA_FORBIDDEN) {
        CA_AUTO(json_decref)
        json_t *why = json_pack("{s:s}", "refused",
                                status == CA_UNSUPPORTED ? "unsupported" : "forbidden");
        ca_log(step->req, "no SCEP profile for this device");
        if (json_equal(why, json_object_get(step->managed.report, "scep")))
            return CA_OK;
        return ca_manage_report(step->req, "scep", why);
    }
    if (status != CA_OK)
        return status;
    const char *root = base64_encode(step->req, offer.root);
    if (!root)
        return ca_fail(CA_INTERNAL, "no memory for a root");
    syncml_session_offer_scep(&step->session, &offer, root);
    return CA_OK;
}

/* What to do alone, as a message says it. */
static json_t *
wanted_of(const json_t *command)
{
    static const char *const members[] = { "kind",   "target", "data",
                                           "format", "type",   "members" };
    json_t *wanted = json_object();
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        json_t *value = json_object_get(command, members[i]);
        if (value && !json_is_null(value))
            json_object_set(wanted, members[i], value);
    }
    return wanted;
}

/* No message of the device takes it: failed, without having been sent. */
static enum ca_status
queue_too_large(struct exchange_step *step, const json_t *command)
{
    CA_AUTO(json_decref)
    json_t *answers = json_pack("[{s:O, s:b, s:{s:s}}]", "id",
                                json_object_get(command, "id"), "failed", 1, "result",
                                "reason", "larger than the device's MaxMsgSize");
    return ca_manage_finish(step->req, text_of(step->session.state, "token"), answers);
}

/* Queued commands, as many as the message has room for; what was taken and does not fit
 * goes with the next message. */
static enum ca_status
give_queue(struct exchange_step *step)
{
    struct syncml_session *session = &step->session;
    json_t *state = session->state, *held = json_object_get(state, "held");
    json_t *commands = NULL;
    size_t room = SYNCML_COMMANDS_MAX - json_array_size(session->commands);
    if (json_array_size(held) == 0) {
        enum ca_status status =
            ca_manage_claim(step->req, text_of(state, "token"),
                            room > 1 ? (int64_t)room : 1, &commands);
        if (status != CA_OK)
            return status;
        held = json_deep_copy(commands);
        if (!held || json_object_set_new(state, "held", held) != 0)
            return ca_fail(CA_INTERNAL, "no memory for commands");
    }
    while (json_array_size(held) > 0) {
        json_t *command = json_array_get(held, 0);
        CA_AUTO(json_decref) json_t *wanted = wanted_of(command);
        enum ca_status status = CA_OK;
        if (syncml_session_has_room(session, syncml_command_size(wanted)))
            syncml_session_add(session, SYNCML_FOR_QUEUE, text_of(command, "id"),
                               wanted);
        else if (json_array_size(session->commands) > 0)
            break;
        else
            status = queue_too_large(step, command);
        if (status != CA_OK)
            return status;
        json_array_remove(held, 0);
    }
    return CA_OK;
}

static enum ca_status
give_work(struct exchange_step *step)
{
    struct syncml_session *session = &step->session;
    json_t *state = session->state;
    if (session->waits || session->wants_more || session->holds_back ||
        !step->message.is_final || syncml_session_is_waiting(session))
        return CA_OK;
    if (json_object_get(state, "detail_asked") ||
        !json_object_get(step->managed.report, "dev_detail"))
        syncml_session_ask_detail(session);
    enum ca_status status = session->policy && !json_object_get(state, "policy")
                                ? policy_keep(step, false)
                                : CA_OK;
    if (status != CA_OK)
        return status;
    syncml_session_policy(session, applied_version(step));
    status = give_scep(step);
    return status == CA_OK ? give_queue(step) : status;
}

static enum ca_status
end_session(struct exchange_step *step)
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

/* The owner's policy, with what it no longer names. */
static enum ca_status
policy_open(struct exchange_step *step)
{
    json_t *policy;
    enum ca_status status = ca_manage_policy(step->req, &policy);
    if (status != CA_OK)
        return status == CA_NOT_FOUND ? CA_OK : status;
    step->kept = json_incref(json_object_get(policy, "kept"));
    step->policy = syncml_policy_whole(policy);
    step->session.policy = step->policy;
    return step->policy ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a policy");
}

/* The device's MaxMsgSize (OMA-TS-DM_Protocol-V1_2 section 7), of this message or an
 * earlier one. false: the statuses find no place. */
static bool
limit_set(struct exchange_step *step)
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
final_hold(struct exchange_step *step)
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

static enum ca_status
run(struct exchange_step *step)
{
    struct syncml_session *session = &step->session;
    struct ca_bytes answer;
    session->statuses = json_array();
    session->commands = json_array();
    session->finished = json_array();
    session->next_id = 1;
    if (!session->statuses || !session->commands || !session->finished)
        return ca_fail(CA_INTERNAL, "no memory for a session");
    enum ca_status status = policy_open(step);
    if (status != CA_OK)
        return status;
    syncml_session_take(session, &step->message);
    if (!limit_set(step))
        return answer_alone(step, 413, NULL);
    syncml_session_settle(session, &step->message);
    final_hold(step);
    status = record_all(step);
    if (status == CA_OK && session->unenrolled)
        status = ca_manage_unenrolled(step->req);
    else if (status == CA_OK && !session->aborted)
        status = give_work(step);
    if (status == CA_OK)
        status = policy_report(step); /* a policy without items is done at once */
    if (status == CA_OK)
        status = end_session(step);
    if (status == CA_OK)
        status = syncml_answer(step->req, session, &step->message.header,
                               step->managed.by_secret ? 212 : 200, step->managed.nonce,
                               &answer);
    if (status == CA_OK)
        status = state_save(step, answer);
    if (status == CA_CONFLICT) /* the same message twice at once */
        return answer_alone(step, 400, NULL);
    return status == CA_OK ? respond(step->req, answer) : status;
}

/* ---- Which session, and who ---- */

static enum ca_status
new_session(struct exchange_step *step)
{
    uint8_t octets[16];
    char token[2 * sizeof octets + 1];
    if (RAND_bytes(octets, sizeof octets) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no randomness for a session");
    for (size_t i = 0; i < sizeof octets; i++)
        snprintf(token + 2 * i, 3, "%02x", octets[i]);
    const char *old = text_of(step->session.state, "token");
    enum ca_status status = old ? ca_manage_release(step->req, old) : CA_OK;
    json_decref(step->session.state);
    step->session.state = syncml_session_new(token);
    step->version = 0;
    if (status == CA_OK &&
        (!step->session.state ||
         json_object_set_new(step->session.state, "device",
                             json_string(step->managed.device)) != 0))
        status = ca_fail(CA_INTERNAL, "no memory for a session");
    return status;
}

/* The same bytes again: the answer was lost on its way, and is given again. */
static bool
is_repeat(const struct exchange_step *step)
{
    char digest[2 * SHA256_DIGEST_LENGTH + 1];
    const char *last = text_of(step->session.state, "request");
    digest_of(step->req->body, digest);
    return last && strcmp(last, digest) == 0 &&
           text_of(step->session.state, "answer") != NULL;
}

static enum ca_status
open_device(struct exchange_step *step)
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
proceed(struct exchange_step *step)
{
    const struct syncml_header *header = &step->message.header;
    /* A repeat is answered to who asked first alone: its bytes hold the credential, or
     * the connection does. A used digest is good for that too, and nothing else. */
    enum ca_status loaded = state_load(step);
    if (loaded != CA_OK && loaded != CA_NOT_FOUND)
        return loaded;
    enum ca_status status = open_device(step);
    if (status != CA_OK)
        return answer_refusal(step, status);
    /* A device that is over leaves its id to another, not what waits in its session. */
    const char *device = text_of(step->session.state, "device");
    if (loaded == CA_OK && (!device || strcmp(device, step->managed.device) != 0))
        loaded = CA_NOT_FOUND;
    if (loaded == CA_OK && !header->digest && is_repeat(step)) {
        const char *answer = text_of(step->session.state, "answer");
        return respond(step->req,
                       (struct ca_bytes){ (const uint8_t *)answer, strlen(answer) });
    }
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

static bool
is_type(const char *content_type, const char *wanted)
{
    size_t length = strcspn(content_type, "; ");
    return length == strlen(wanted) && strncasecmp(content_type, wanted, length) == 0;
}

/* WBXML among them: docs/protocols/syncml.md says why. */
static enum ca_status
refuse_type(struct ca_request *req)
{
    static const char words[] = "SyncML is served as " SYNCML_TYPE " alone: WBXML is "
                                "refused, DEFAULTENCODING is XML\n";
    enum ca_status status = ca_respond_header(req, "Accept", SYNCML_TYPE);
    return status == CA_OK ? ca_respond(req, 415, "text/plain; charset=utf-8", words,
                                        sizeof words - 1)
                           : status;
}

static enum ca_status
handle(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange_step step = { .req = req };
    char key[256];
    if (!is_type(req->content_type, SYNCML_TYPE) &&
        !is_type(req->content_type, SYNCML_TYPE_SHORT))
        return refuse_type(req);
    enum ca_status status = syncml_read(req, &step.message);
    if (status == CA_MALFORMED || status == CA_LIMIT) {
        ca_refused(req, "syncml", "", "malformed", false);
        return status == CA_LIMIT ? ca_respond(req, 400, "text/plain", "", 0) : status;
    }
    if (status != CA_OK)
        return status;
    char digest[2 * SHA256_DIGEST_LENGTH + 1];
    digest_of((struct ca_bytes){ (const uint8_t *)step.message.header.source,
                                 strlen(step.message.header.source) },
              digest);
    snprintf(key, sizeof key, "%s %s", digest, step.message.header.session);
    step.key = key;
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
