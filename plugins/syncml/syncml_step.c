/* One step of a session and the core: what the device did is told, and what there is
 * for it goes into the session. */
#include "syncml_step.h"
#include "auto.h"
#include "base64.h"
#include <openssl/rand.h>
#include <string.h>

enum ca_status
syncml_step_token(char ret_token[SYNCML_TOKEN_SIZE])
{
    uint8_t octets[SYNCML_TOKEN_SIZE / 2];
    if (RAND_bytes(octets, sizeof octets) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no randomness for a session");
    for (size_t i = 0; i < sizeof octets; i++)
        snprintf(ret_token + 2 * i, 3, "%02x", octets[i]);
    return CA_OK;
}

enum ca_status
syncml_step_open(struct syncml_step *step)
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

/* The report of this policy by an earlier session, or NULL. */
static const json_t *
policy_before(const struct syncml_step *step)
{
    const json_t *policy = json_object_get(step->managed.report, "policy");
    const char *name = text_of(policy, "name");
    bool is_same = name && step->session.policy &&
                   strcmp(name, text_of(step->session.policy, "name")) == 0;
    return is_same ? policy : NULL;
}

/* Noted before the first node goes out, and again when all are settled: a session that
 * breaks off between the two leaves no node that nobody knows. */
static enum ca_status
policy_keep(struct syncml_step *step, bool done)
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

enum ca_status
syncml_step_policy(struct syncml_step *step)
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
    json_t *report = json_pack(
        "{s:O, s:O, s:O, s:O*}", "name", json_object_get(policy, "name"), "version",
        json_object_get(policy, "version"), "failed", json_object_get(policy, "failed"),
        "without_user", json_object_get(policy, "without_user"));
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
scep_report(struct syncml_step *step)
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

enum ca_status
syncml_step_record(struct syncml_step *step)
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
        status = syncml_step_policy(step);
    return status == CA_OK ? scep_report(step) : status;
}

static enum ca_status
give_scep(struct syncml_step *step)
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
queue_too_large(struct syncml_step *step, const json_t *command)
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
give_queue(struct syncml_step *step)
{
    struct syncml_session *session = &step->session;
    json_t *state = session->state, *held = json_object_get(state, "held");
    json_t *commands = NULL;
    size_t room = SYNCML_COMMANDS_MAX - json_array_size(session->commands);
    if (json_array_size(held) == 0) {
        char token[SYNCML_TOKEN_SIZE];
        enum ca_status status = syncml_step_token(token);
        if (status == CA_OK && json_object_set_new(state, "token", json_string(token)))
            status = ca_fail(CA_INTERNAL, "no memory for a session");
        if (status == CA_OK)
            status = ca_manage_claim(step->req, token, room > 1 ? (int64_t)room : 1,
                                     &commands);
        if (status != CA_OK)
            return status;
        step->has_claimed = true;
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

enum ca_status
syncml_step_give(struct syncml_step *step)
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
    syncml_session_policy(session, policy_before(step));
    status = give_scep(step);
    return status == CA_OK ? give_queue(step) : status;
}
