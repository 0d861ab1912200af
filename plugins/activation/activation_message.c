/* What clients send: strict JSON, every member of the type and size that section 6
 * gives it. */
#include "activation.h"
#include "auto.h"
#include "base64.h"
#include <string.h>

#define CONTENT_TYPE "application/json"

static enum activation_error
bad(const char *name, const char *what)
{
    ca_fail(CA_MALFORMED, "member '%s' %s", name, what);
    return ACTIVATION_BAD_REQUEST;
}

/* "application/json", with or without parameters. */
static bool
is_json(const char *content_type)
{
    size_t length = strlen(CONTENT_TYPE);
    if (strncasecmp(content_type, CONTENT_TYPE, length) != 0)
        return false;
    const char *rest = content_type + length;
    rest += strspn(rest, " \t");
    return *rest == '\0' || *rest == ';';
}

enum activation_error
activation_read(struct ca_request *req, json_t **ret_message)
{
    if (req->body.size > ACTIVATION_BODY_MAX) {
        ca_fail(CA_LIMIT, "message of more than %d octets", ACTIVATION_BODY_MAX);
        return ACTIVATION_TOO_LARGE;
    }
    if (!is_json(req->content_type)) {
        ca_fail(CA_MALFORMED, "message of type '%.64s'", req->content_type);
        return ACTIVATION_BAD_REQUEST;
    }
    json_error_t where;
    CA_AUTO(json_decref)
    json_t *message = req->body.size == 0
                          ? NULL
                          : json_loadb((const char *)req->body.data, req->body.size,
                                       JSON_REJECT_DUPLICATES, &where);
    if (!json_is_object(message)) {
        ca_fail(CA_MALFORMED, "message that is not one JSON object");
        return ACTIVATION_BAD_REQUEST;
    }
    const json_t *version = json_object_get(message, "v");
    if (!json_is_integer(version))
        return bad("v", "is not an integer");
    if (json_integer_value(version) != 1) {
        ca_fail(CA_UNSUPPORTED, "message of version %lld",
                (long long)json_integer_value(version));
        return ACTIVATION_UNSUPPORTED_VERSION;
    }
    *ret_message = CA_STEAL(message);
    return ACTIVATION_OK;
}

enum activation_error
activation_text(const json_t *object, const char *name, size_t min, size_t max,
                const char **ret_text)
{
    const json_t *value = json_object_get(object, name);
    if (!json_is_string(value))
        return bad(name, "is not a text");
    size_t size = json_string_length(value);
    if (size < min || size > max)
        return bad(name, "is too short or too long");
    *ret_text = json_string_value(value);
    return ACTIVATION_OK;
}

enum activation_error
activation_octets(struct ca_request *req, const json_t *object, const char *name,
                  struct ca_bytes *ret_octets)
{
    const char *text = NULL;
    enum activation_error error =
        activation_text(object, name, 0, ACTIVATION_BODY_MAX, &text);
    if (error != ACTIVATION_OK)
        return error;
    enum ca_status status =
        base64url_decode(req, text, strlen(text), ACTIVATION_BODY_MAX, ret_octets);
    return status == CA_OK         ? ACTIVATION_OK
           : status == CA_INTERNAL ? ACTIVATION_UNAVAILABLE
                                   : bad(name, "is not base64url");
}

enum activation_error
activation_octets_of(struct ca_request *req, const json_t *object, const char *name,
                     size_t size, uint8_t *ret_octets)
{
    struct ca_bytes octets = { 0 };
    enum activation_error error = activation_octets(req, object, name, &octets);
    if (error != ACTIVATION_OK)
        return error;
    if (octets.size != size)
        return bad(name, "has another number of octets");
    memcpy(ret_octets, octets.data, size);
    return ACTIVATION_OK;
}

enum activation_error
activation_user(const json_t *object, const char **ret_user)
{
    const char *text = NULL;
    enum activation_error error =
        activation_text(object, "user", 1, ACTIVATION_BODY_MAX, &text);
    if (error != ACTIVATION_OK)
        return error;
    size_t begin = strspn(text, " "), end = strlen(text);
    while (end > begin && text[end - 1] == ' ')
        end--;
    if (end == begin || end - begin > ACTIVATION_USER_MAX)
        return bad("user", "is too short or too long");
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return bad("user", "has control characters");
    }
    *ret_user = text;
    return ACTIVATION_OK;
}

static enum activation_error
suites_read(const json_t *message, struct activation_hello *hello)
{
    const json_t *suites = json_object_get(message, "suites");
    size_t count = json_array_size(suites);
    if (count == 0 || count > ACTIVATION_SUITES_MAX)
        return bad("suites", "is not a list of 1 to 8 texts");
    for (size_t i = 0; i < count; i++) {
        const json_t *suite = json_array_get(suites, i);
        const char *name = json_string_value(suite);
        size_t length = json_string_length(suite);
        if (!name || length == 0 || length > ACTIVATION_SUITE_MAX ||
            strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-") != length)
            return bad("suites", "has an entry that names no suite");
        hello->suites[i] = name;
    }
    hello->suite_count = count;
    return ACTIVATION_OK;
}

enum activation_error
activation_hello_read(struct ca_request *req, const json_t *message,
                      struct activation_hello *ret_hello)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    struct activation_hello hello = { .suite_count = 0 };
    enum activation_error error = suites_read(message, &hello);
    if (error == ACTIVATION_OK)
        error = activation_user(message, &hello.user);
    if (error == ACTIVATION_OK)
        error = activation_text(message, "ref", 0, ACTIVATION_REF_MAX, &hello.ref);
    if (error == ACTIVATION_OK && hello.ref[strspn(hello.ref, letters)] != '\0')
        error = bad("ref", "has other than letters, digits, dot, line, hyphen");
    if (error == ACTIVATION_OK)
        error =
            activation_octets_of(req, message, "cn", sizeof hello.nonce, hello.nonce);
    if (error == ACTIVATION_OK)
        error =
            activation_text(message, "client", 0, ACTIVATION_CLIENT_MAX, &hello.client);
    if (error == ACTIVATION_OK)
        *ret_hello = hello;
    return error;
}

/* The lengths of share, tag and box are judged when the session is taken (section 6,
 * M3): they cost a try. */
enum activation_error
activation_enroll_read(struct ca_request *req, const json_t *message,
                       struct activation_enroll *ret_enroll)
{
    struct activation_enroll enroll = { .share = { 0 } };
    enum activation_error error =
        activation_octets_of(req, message, "sn", sizeof enroll.session, enroll.session);
    if (error == ACTIVATION_OK)
        error = activation_octets(req, message, "yc", &enroll.share);
    if (error == ACTIVATION_OK)
        error = activation_octets(req, message, "tc", &enroll.tag);
    if (error == ACTIVATION_OK)
        error = activation_octets(req, message, "csr", &enroll.box);
    if (error == ACTIVATION_OK)
        *ret_enroll = enroll;
    return error;
}
