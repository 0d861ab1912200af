/* SCEP (RFC 8894) below /scep/<profile>: routes, operations and their HTTP answers. */
#include "scep.h"
#include "auto.h"
#include "plugin_activation.h"
#include <openssl/err.h>
#include <string.h>

#define NAME_MAX_SIZE 64 /* octets of a profile's name in a path, with NUL */

#define TOKEN_MAX_SIZE 64 /* octets of the segment behind it */

/* What the path says. */
struct place {
    char name[NAME_MAX_SIZE], token[TOKEN_MAX_SIZE];
};

/* The next segment of a path, which may be absent; false for one that is too long. */
static bool
segment_take(const char **path, char *ret_segment, size_t room)
{
    while (**path == '/')
        (*path)++;
    size_t size = strcspn(*path, "/");
    if (size >= room)
        return false;
    memcpy(ret_segment, *path, size);
    ret_segment[size] = '\0';
    *path += size;
    return true;
}

/* The name of the profile: the first segment behind /scep/. The next one is the path
 * token of an activated device, or like all that follows a client's habit (4.1:
 * "/pkiclient.exe"). */
static enum ca_status
place_read(const struct ca_request *req, struct place *ret_place)
{
    const char *path = req->rest;
    if (!segment_take(&path, ret_place->name, sizeof ret_place->name) ||
        ret_place->name[0] == '\0')
        return ca_fail(CA_NOT_FOUND, "the path names no scep profile");
    if (!segment_take(&path, ret_place->token, sizeof ret_place->token))
        ret_place->token[0] = '\0';
    return CA_OK;
}

static enum ca_status
settings_read(struct ca_request *req, const char *name, struct scep_settings *settings)
{
    json_t *json;
    enum ca_status status = ca_profile_settings(req, "scep", name, &json);
    if (status != CA_OK)
        return status;
    int sha1 = 0, des3 = 0, get_crl = 0, include_issuer = 0, include_root = 0;
    if (json_unpack(json, "{s?b, s?b, s?b, s?b, s?b}", "sha1", &sha1, "des3", &des3,
                    "get_crl", &get_crl, "include_issuer", &include_issuer,
                    "include_root", &include_root) != 0)
        return ca_fail(CA_INTERNAL, "settings of scep profile '%s' do not parse", name);
    *settings = (struct scep_settings){
        .sha1 = sha1,
        .des3 = des3,
        .get_crl = get_crl,
        .include_issuer = include_issuer,
        .include_root = include_root,
    };
    return CA_OK;
}

/* The same message may be answered later: nothing was decided. */
static enum ca_status
answer_later(struct ca_request *req)
{
    enum ca_status status = ca_respond_header(req, "Retry-After", SCEP_RETRY_SECONDS);
    if (status == CA_OK)
        status = ca_respond(req, 503, "text/plain", "try again later\n", 16);
    return status == CA_OK ? CA_UNAVAILABLE : status;
}

static const char *
refusal_reason(enum scep_fail fail)
{
    switch (fail) {
    case SCEP_BAD_ALG: return "badAlg";
    case SCEP_BAD_REQUEST: return "badRequest";
    case SCEP_BAD_CERT_ID: return "badCertId";
    }
    return "badRequest";
}

/* A message that nobody signed costs no token operation: HTTP 400. From the signature
 * on every outcome is a CertRep, and every failure behind the decryption the same one.
 */
static enum ca_status
message_answer(struct scep_operation *operation, struct ca_bytes body)
{
    struct ca_request *req = operation->req;
    enum ca_status status = scep_message_decode(req, body, &operation->message);
    if (status == CA_INTERNAL || status == CA_UNAVAILABLE)
        return status;
    if (status != CA_OK) {
        ca_refused(req, "scep", operation->name, "malformed", false);
        return status == CA_LIMIT && body.size > SCEP_BODY_MAX ? CA_LIMIT
                                                               : CA_MALFORMED;
    }
    status = ca_chain(req, operation->endpoint, false, &operation->chain);
    if (status == CA_OK)
        status = scep_key_find(req, operation->endpoint, false, KU_DIGITAL_SIGNATURE,
                               &operation->signing);
    if (status != CA_OK)
        return answer_later(req);
    struct scep_answer answer;
    enum ca_status outcome = scep_request_decide(operation, &answer);
    if (outcome == CA_UNAVAILABLE)
        return answer_later(req);
    if (outcome != CA_OK && outcome != CA_PENDING && !answer.is_audited)
        ca_refused(req, "scep", operation->name, refusal_reason(answer.fail), true);
    status = scep_answer_send(operation, outcome, &answer);
    return status == CA_OK ? outcome : answer_later(req);
}

static enum ca_status
pki_operation(struct scep_operation *operation, struct ca_bytes body)
{
    enum ca_status status = message_answer(operation, body);
    scep_message_clear(&operation->message);
    return status;
}

/* Nothing of a message is looked at before its path is known to be answered. */
static enum ca_status
operation_start(struct ca_request *req, struct place *place,
                struct scep_operation *operation)
{
    enum ca_status status = place_read(req, place);
    const char *name = place->name;
    if (status == CA_OK)
        status = settings_read(req, name, &operation->settings);
    if (status == CA_OK)
        status = ca_scep_path(req, name, place->token, &operation->is_upstream);
    if (status != CA_OK)
        return status;
    size_t size = strlen(name) + sizeof "scep/";
    char *endpoint = ca_request_alloc(req, size);
    if (!endpoint)
        return ca_fail(CA_INTERNAL, "no memory for the endpoint's name");
    snprintf(endpoint, size, "scep/%s", name);
    operation->req = req;
    operation->name = name;
    operation->token = place->token;
    operation->endpoint = endpoint;
    return CA_OK;
}

/* The CA is another's: what it says is for the device. */
static enum ca_status
pass_on(struct scep_operation *operation, const char *word, struct ca_bytes message)
{
    static const char *const words[] = { "GetCACaps", "GetCACert", "GetNextCACert",
                                         "PKIOperation" };
    struct ca_request *req = operation->req;
    struct ca_scep_reply reply = { 0 };
    bool is_known = false;
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        is_known = is_known || strcmp(words[i], word) == 0;
    if (!is_known)
        return ca_fail(CA_MALFORMED, "unknown operation");
    enum ca_status status =
        ca_scep_forward(req, operation->name, operation->token, word, message, &reply);
    if (status == CA_OK)
        return ca_respond(req, 200, reply.content_type, reply.body.data,
                          reply.body.size);
    if (status != CA_UNAVAILABLE)
        return status;
    enum ca_status answered =
        ca_respond(req, 502, "text/plain", "the CA does not answer\n", 23);
    return answered == CA_OK ? status : answered;
}

static enum ca_status
get_message(struct scep_operation *operation)
{
    const char *text;
    size_t size;
    struct ca_bytes body;
    enum ca_status status =
        ca_request_query_raw(operation->req, "message", &text, &size);
    if (status == CA_OK && !text)
        status = ca_fail(CA_MALFORMED, "PKIOperation without message");
    if (status == CA_OK)
        status = scep_query_decode(operation->req, text, size, &body);
    if (status == CA_OK && operation->is_upstream)
        return pass_on(operation, "PKIOperation", body);
    if (status == CA_OK)
        return pki_operation(operation, body);
    if (status == CA_MALFORMED || status == CA_LIMIT)
        ca_refused(operation->req, "scep", operation->name, "malformed", false);
    return status;
}

static enum ca_status
handle_get(void *state, struct ca_request *req)
{
    (void)state;
    struct place place;
    struct scep_operation operation = { 0 };
    const char *word;
    enum ca_status status = operation_start(req, &place, &operation);
    if (status == CA_OK)
        status = ca_request_query(req, "operation", &word);
    if (status != CA_OK)
        return status;
    if (!word)
        return ca_fail(CA_MALFORMED, "no operation");
    if (operation.is_upstream && strcmp(word, "PKIOperation") != 0)
        return pass_on(&operation, word, (struct ca_bytes){ NULL, 0 });
    if (strcmp(word, "GetCACaps") == 0)
        return scep_caps_answer(req, operation.endpoint, &operation.settings);
    if (strcmp(word, "GetCACert") == 0)
        return scep_certificates_answer(req, operation.endpoint, &operation.settings);
    if (strcmp(word, "GetNextCACert") == 0)
        return scep_next_answer(req, operation.endpoint);
    if (strcmp(word, "PKIOperation") == 0)
        return get_message(&operation);
    return ca_fail(CA_MALFORMED, "unknown operation");
}

/* 4.3: a POST is a PKIOperation, whether it says so or not; its Content-Type is not
 * looked at, for clients send none or any. */
static enum ca_status
handle_post(void *state, struct ca_request *req)
{
    (void)state;
    struct place place;
    struct scep_operation operation = { 0 };
    const char *word;
    enum ca_status status = operation_start(req, &place, &operation);
    if (status == CA_OK)
        status = ca_request_query(req, "operation", &word);
    if (status != CA_OK)
        return status;
    if (word && strcmp(word, "PKIOperation") != 0)
        return ca_fail(CA_MALFORMED, "POST of another operation than PKIOperation");
    if (operation.is_upstream)
        return pass_on(&operation, "PKIOperation", req->body);
    return pki_operation(&operation, req->body);
}

/* All settings are the profiles'; the configuration has none. */
static enum ca_status
init(const json_t *settings, void **ret_state)
{
    if (settings && json_object_size(settings) > 0)
        return ca_fail(
            CA_MALFORMED, "plugin scep has no member '%s'",
            json_object_iter_key(json_object_iter((json_t *)(uintptr_t)settings)));
    *ret_state = NULL;
    return CA_OK;
}

static const struct ca_route routes[] = {
    { "GET", "/scep/", 0, CA_ROUTE_PREFIX, handle_get },
    { "POST", "/scep/", SCEP_BODY_MAX, CA_ROUTE_PREFIX, handle_post },
    { 0 },
};

extern const struct ca_plugin ca_plugin;
CA_EXPORT const struct ca_plugin ca_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "scep",
    .routes = routes,
    .init = init,
};
