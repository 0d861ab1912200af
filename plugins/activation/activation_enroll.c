/* M3 to M4 (section 7.2, whose order is binding): the session is spent, a try is taken,
 * the client's tag and box are judged, and the core decides the rest. */
#include "activation.h"
#include "auto.h"
#include "base64.h"
#include "box.h"
#include <openssl/crypto.h>
#include <string.h>

#define DIGEST_SIZE 32
#define RETRY_SECONDS 1 /* while the first copy is being worked on */

/* The share is acceptable and the keys are derived (steps 4 and 5). */
static enum ca_status
keys_derive(const struct ca_activation_session *session, const uint8_t *sn,
            struct ca_bytes peer, struct schedule *ret_schedule)
{
    const struct speke_suite *suite = speke_suite_find(session->suite);
    struct transcript transcript = { .sid = { 0 } };
    struct speke_point own = { .size = session->share.size };
    struct speke_scalar scalar;
    uint8_t secret[SPEKE_ELEMENT_MAX];
    if (!suite || session->share.size != suite->share_size ||
        session->scalar.size != suite->field->size)
        return ca_fail(CA_INTERNAL, "a session that is not of its suite");
    memcpy(own.octets, session->share.data, session->share.size);
    memcpy(scalar.octets, session->scalar.data, session->scalar.size);
    transcript_identities(&transcript, session->server, session->user, session->ref);
    transcript_nonces(&transcript, session->cn, sn);
    lv_append(&transcript.server_data, session->server_data.data,
              session->server_data.size);
    lv_append(&transcript.client_data, session->client_data.data,
              session->client_data.size);
    enum ca_status status = speke_secret(suite, &scalar, &own, peer, secret);
    if (status == CA_OK)
        status = schedule_derive(suite, &transcript, speke_point_bytes(&own), peer,
                                 secret, ret_schedule);
    OPENSSL_cleanse(&scalar, sizeof scalar);
    OPENSSL_cleanse(secret, sizeof secret);
    return status;
}

/* Steps 4 to 6; the plaintext is the request's. */
static enum activation_error
request_open(struct ca_request *req, const struct activation_enroll *enroll,
             const struct ca_activation_session *session, struct schedule *schedule,
             struct ca_bytes *ret_plain)
{
    size_t size = 0;
    enum ca_status status =
        keys_derive(session, enroll->session, enroll->share, schedule);
    if (status == CA_MALFORMED)
        return ACTIVATION_INVALID_SHARE;
    if (status != CA_OK)
        return ACTIVATION_UNAVAILABLE;
    if (!schedule_tag_holds(schedule, SCHEDULE_C2S, enroll->tag)) {
        ca_fail(CA_UNAUTHENTICATED, "the client's confirmation does not hold");
        return ACTIVATION_AUTH_FAILED;
    }
    uint8_t *plain = ca_request_alloc(req, enroll->box.size + 1);
    if (!plain) {
        ca_fail(CA_INTERNAL, "no memory for a request");
        return ACTIVATION_UNAVAILABLE;
    }
    status =
        box_open(schedule, SCHEDULE_C2S, enroll->tag.data, enroll->box, plain, &size);
    if (status != CA_OK)
        return status == CA_UNAUTHENTICATED ? ACTIVATION_AUTH_FAILED
                                            : ACTIVATION_UNAVAILABLE;
    *ret_plain = (struct ca_bytes){ plain, size };
    return ACTIVATION_OK;
}

static json_t *
grant_encode(struct ca_request *req, const struct ca_activation_grant *grant)
{
    json_t *chain = json_array();
    for (size_t i = 0; i < grant->chain_count; i++)
        json_array_append_new(chain,
                              json_string(base64url_encode(req, grant->chain[i])));
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s}", "device", grant->device,
                     "workspace", grant->workspace, "org", grant->organisation, "cert",
                     base64url_encode(req, grant->certificate), "chain", chain, "url",
                     grant->url);
}

/* Whom the answer is sealed for. */
struct recipient {
    struct ca_request *req;
    const struct schedule *schedule;
    struct ca_bytes box; /* the client's */
};

/* M4: the grant, or the refusal, sealed under the T of the client's box. Its texts are
 * base64url, which JSON takes as they are. */
static enum ca_status
answer_seal(void *arg, const struct ca_activation_grant *grant,
            struct ca_bytes *ret_body)
{
    static const char format[] = "{\"v\":1,\"ts\":\"%s\",\"grant\":\"%s\"}";
    const struct recipient *recipient = arg;
    struct ca_request *req = recipient->req;
    const struct schedule_side *side = &recipient->schedule->side[SCHEDULE_S2C];
    CA_AUTO(json_decref)
    json_t *content = grant->error ? json_pack("{s:s, s:s}", "error", grant->error,
                                               "detail", grant->detail)
                                   : grant_encode(req, grant);
    CA_AUTO(free) char *text = content ? json_dumps(content, JSON_COMPACT) : NULL;
    size_t length = text ? strlen(text) : 0;
    uint8_t *sealed = text ? ca_request_alloc(req, box_size(length)) : NULL;
    if (!sealed)
        return ca_fail(CA_INTERNAL, "no memory for a grant");
    enum ca_status status =
        box_seal(recipient->schedule, SCHEDULE_S2C, box_tag(recipient->box),
                 (struct ca_bytes){ (const uint8_t *)text, length }, sealed);
    if (status != CA_OK)
        return status;
    const char *tag =
        base64url_encode(req, (struct ca_bytes){ side->tag, sizeof side->tag });
    const char *sealed_text =
        base64url_encode(req, (struct ca_bytes){ sealed, box_size(length) });
    size_t room =
        tag && sealed_text ? sizeof format + strlen(tag) + strlen(sealed_text) : 0;
    char *body = room > 0 ? ca_request_alloc(req, room) : NULL;
    if (!body)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    int size = snprintf(body, room, format, tag, sealed_text);
    *ret_body = (struct ca_bytes){ (const uint8_t *)body, (size_t)size };
    return CA_OK;
}

/* Steps 7 to 9: the password is proven. */
static enum ca_status
request_answer(struct ca_request *req, const struct activation_enroll *enroll,
               const struct schedule *schedule, struct ca_bytes pkcs10)
{
    struct recipient recipient = { req, schedule, enroll->box };
    struct ca_activation_answer answer = { 0 };
    enum ca_status status = ca_activation_proved(
        req, pkcs10, &(struct ca_activation_sealer){ answer_seal, &recipient },
        &answer);
    if (status == CA_UNAUTHENTICATED)
        return activation_refuse(req, ACTIVATION_AUTH_FAILED, 0);
    if (answer.http_status == 0)
        return activation_refuse(req, ACTIVATION_UNAVAILABLE, 0);
    enum ca_status sent = activation_send_text(req, answer.http_status, answer.body);
    return sent == CA_OK ? status : sent;
}

/* The session is this request's alone. */
static enum ca_status
session_work(struct ca_request *req, const struct activation_enroll *enroll,
             const struct ca_activation_session *session)
{
    CA_AUTO(schedule_clear) struct schedule schedule = { .hash_size = 0 };
    struct ca_bytes pkcs10 = { 0 };
    enum activation_error error =
        request_open(req, enroll, session, &schedule, &pkcs10);
    if (error == ACTIVATION_INVALID_SHARE || error == ACTIVATION_AUTH_FAILED)
        ca_activation_refused(req, activation_error_code(error));
    if (error != ACTIVATION_OK)
        return activation_refuse(req, error, 0);
    return request_answer(req, enroll, &schedule, pkcs10);
}

static enum ca_status
session_take(struct ca_request *req, const struct activation_enroll *enroll)
{
    uint8_t digest[DIGEST_SIZE];
    struct ca_activation_session session = { .suite = NULL };
    struct ca_activation_answer stored = { 0 };
    if (EVP_Digest(req->body.data, req->body.size, digest, NULL, EVP_sha256(), NULL) !=
        1) {
        ca_fail_openssl(CA_INTERNAL, "cannot hash a message");
        return activation_refuse(req, ACTIVATION_UNAVAILABLE, 0);
    }
    enum ca_status status =
        ca_activation_attempt(req, enroll->session, digest, &session, &stored);
    switch ((int)status) {
    case CA_OK: return session_work(req, enroll, &session);
    case CA_CONFLICT: return activation_send_text(req, stored.http_status, stored.body);
    case CA_PENDING:
        ca_fail(CA_UNAVAILABLE, "the same message is being worked on");
        return activation_refuse(req, ACTIVATION_UNAVAILABLE, RETRY_SECONDS);
    case CA_NOT_FOUND: return activation_refuse(req, ACTIVATION_SESSION_GONE, 0);
    default: return activation_refuse(req, ACTIVATION_UNAVAILABLE, 0);
    }
}

enum ca_status
activation_enroll(void *state, struct ca_request *req)
{
    CA_AUTO(json_decref) json_t *message = NULL;
    struct activation_enroll enroll;
    (void)state;
    enum activation_error error = activation_read(req, &message);
    if (error == ACTIVATION_OK)
        error = activation_enroll_read(req, message, &enroll);
    if (error != ACTIVATION_OK)
        return activation_refuse(req, error, 0);
    return session_take(req, &enroll);
}
