/* The smallest working protocol: copy this folder to begin one of your own.
 * docs/plugin.md walks through it. */
#include "auto.h"
#include "plugin.h"
#include <string.h>

#define GREETING_MAX 64 /* octets; every limit has a name */
#define GUEST_MAX 32
#define SECRET_MAX 256

/* What the plugin knows from start to stop; only read while requests run, for they run
 * in many threads at once. What must last longer, or be the same for all instances,
 * goes to ca_state_put. */
struct skeleton {
    char *greeting;
};

/* A decoder: octets of the peer -> what the handler works with. Length before content,
 * and nothing but what is known to be good. */
static enum ca_status
skeleton_parse_guest(const char *text, const char **ret_guest)
{
    size_t length = strlen(text);
    if (length == 0 || length > GUEST_MAX)
        return ca_fail(CA_MALFORMED, "guest of %zu octets", length);
    for (size_t i = 0; i < length; i++) {
        bool is_letter =
            (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z');
        if (!is_letter)
            return ca_fail(CA_MALFORMED, "guest with other than letters");
    }
    *ret_guest = text;
    return CA_OK;
}

/* "Bearer SECRET" (RFC 6750 section 2.1); the scheme has no case. */
static enum ca_status
skeleton_parse_bearer(const char *authorization, const char **ret_secret)
{
    static const char scheme[] = "Bearer ";
    if (strncasecmp(authorization, scheme, sizeof scheme - 1) != 0)
        return ca_fail(CA_UNAUTHENTICATED, "no bearer credential");
    const char *secret = authorization + sizeof scheme - 1;
    size_t length = strlen(secret);
    if (length == 0 || length > SECRET_MAX)
        return ca_fail(CA_UNAUTHENTICATED, "bearer credential of %zu octets", length);
    *ret_secret = secret;
    return CA_OK;
}

/* An encoder: what the core said -> octets for the peer. */
static enum ca_status
skeleton_answer(struct ca_request *req, const char *greeting, const char *guest)
{
    char text[GREETING_MAX + GUEST_MAX + 8];
    int size = snprintf(text, sizeof text, "%s, %s!\n", greeting, guest);
    enum ca_status status = ca_respond_header(req, "Cache-Control", "no-store");
    if (status != CA_OK)
        return status;
    return ca_respond(req, 200, "text/plain; charset=utf-8", text, (size_t)size);
}

/* GET /skeleton/hello?guest=Ada */
static enum ca_status
skeleton_hello(void *state, struct ca_request *req)
{
    const struct skeleton *skeleton = state;
    const char *text = NULL, *guest = "world";
    enum ca_status status = ca_request_query(req, "guest", &text);
    if (status == CA_OK && text)
        status = skeleton_parse_guest(text, &guest);
    if (status != CA_OK)
        return status; /* the host answers 400 and logs the message, once */
    return skeleton_answer(req, skeleton->greeting, guest);
}

/* GET /skeleton/whoami with a bearer secret. Only the core decides who somebody is: its
 * table names every (protocol, message, kind of credential) that is good for anything.
 * This one is not in it, so that the answer is a refusal whatever the secret, and the
 * core has audited it. */
static enum ca_status
skeleton_whoami(void *state, struct ca_request *req)
{
    const struct skeleton *skeleton = state;
    struct ca_credential credential = { .kind = CA_CREDENTIAL_CHALLENGE,
                                        .protocol = "skeleton",
                                        .message = "whoami",
                                        .endpoint = "default" };
    enum ca_status status =
        skeleton_parse_bearer(req->authorization, &credential.secret);
    if (status != CA_OK)
        return status;
    credential.secret_size = strlen(credential.secret);
    status = ca_authenticate(req, &credential);
    if (status != CA_OK)
        return status; /* the status and no more: a peer must not learn why */
    return skeleton_answer(req, skeleton->greeting, "friend");
}

/* The configuration's {"greeting": "Hello"}; an unknown member stops the start. */
static enum ca_status
skeleton_init(const json_t *settings, void **ret_state)
{
    const char *greeting = "Hello";
    const char *member;
    json_t *value;
    json_object_foreach ((json_t *)(uintptr_t)settings, member, value) {
        if (strcmp(member, "greeting") != 0)
            return ca_fail(CA_MALFORMED, "settings/%s: unknown member", member);
        greeting = json_string_value(value);
    }
    if (!greeting || strlen(greeting) > GREETING_MAX)
        return ca_fail(CA_MALFORMED, "settings/greeting: text of at most %d octets",
                       GREETING_MAX);
    struct skeleton *skeleton = calloc(1, sizeof *skeleton);
    if (!skeleton)
        return ca_fail(CA_INTERNAL, "no memory");
    skeleton->greeting = strdup(greeting);
    if (!skeleton->greeting) {
        free(skeleton);
        return ca_fail(CA_INTERNAL, "no memory");
    }
    *ret_state = skeleton;
    return CA_OK;
}

static void
skeleton_fini(void *state)
{
    struct skeleton *skeleton = state;
    free(skeleton->greeting);
    free(skeleton);
}

/* Routes are data: the host knows all of them before it listens. A body is as large as
 * its route says and no larger, other methods get 405, HEAD is answered by GET. */
static const struct ca_route skeleton_routes[] = {
    { "GET", "/skeleton/hello", 0, 0, skeleton_hello },
    { "GET", "/skeleton/whoami", 0, CA_ROUTE_TLS_ONLY, skeleton_whoami },
    { NULL, NULL, 0, 0, NULL },
};

/* The one symbol that the host looks for. */
extern const struct ca_plugin ca_plugin;
CA_EXPORT const struct ca_plugin ca_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "skeleton",
    .routes = skeleton_routes,
    .init = skeleton_init,
    .fini = skeleton_fini,
};
