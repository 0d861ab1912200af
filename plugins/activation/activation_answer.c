/* What clients get: the table of errors (sections 8 and 12) and JSON without spaces. */
#include "activation.h"
#include "auto.h"
#include <inttypes.h>
#include <string.h>

#define CONTENT_TYPE "application/json"
#define SLOW_DOWN_SECONDS 60 /* where the core says no time: its shortest window */

static const struct {
    const char *code;
    int http_status;
    enum ca_status status; /* for the log */
} errors[ACTIVATION_ERROR_COUNT] = {
    [ACTIVATION_OK] = { "ok", 200, CA_OK },
    [ACTIVATION_BAD_REQUEST] = { "bad_request", 400, CA_MALFORMED },
    [ACTIVATION_UNSUPPORTED_VERSION] = { "unsupported_version", 400, CA_UNSUPPORTED },
    [ACTIVATION_UNSUPPORTED_SUITE] = { "unsupported_suite", 400, CA_UNSUPPORTED },
    [ACTIVATION_INVALID_SHARE] = { "invalid_share", 400, CA_MALFORMED },
    [ACTIVATION_AUTH_FAILED] = { "auth_failed", 403, CA_UNAUTHENTICATED },
    [ACTIVATION_WRONG_CERTIFICATE] = { "wrong_certificate", 403, CA_FORBIDDEN },
    [ACTIVATION_NOT_REGISTERED] = { "not_registered", 404, CA_NOT_FOUND },
    [ACTIVATION_NO_PROFILE] = { "no_profile", 404, CA_NOT_FOUND },
    [ACTIVATION_REPORT_REQUIRED] = { "report_required", 409, CA_CONFLICT },
    [ACTIVATION_SESSION_GONE] = { "session_gone", 410, CA_NOT_FOUND },
    [ACTIVATION_TXN_GONE] = { "txn_gone", 410, CA_NOT_FOUND },
    [ACTIVATION_TOO_LARGE] = { "too_large", 413, CA_LIMIT },
    [ACTIVATION_WRONG_INSTANCE] = { "wrong_instance", 421, CA_CONFLICT },
    [ACTIVATION_SUBJECT_MISMATCH] = { "subject_mismatch", 422, CA_FORBIDDEN },
    [ACTIVATION_SAN_MISMATCH] = { "san_mismatch", 422, CA_FORBIDDEN },
    [ACTIVATION_KEY_REJECTED] = { "key_rejected", 422, CA_FORBIDDEN },
    [ACTIVATION_BAD_SIGNATURE] = { "bad_signature", 422, CA_MALFORMED },
    [ACTIVATION_SLOW_DOWN] = { "slow_down", 429, CA_LIMIT },
    [ACTIVATION_UPSTREAM] = { "upstream", 502, CA_UNAVAILABLE },
    [ACTIVATION_UNAVAILABLE] = { "unavailable", 503, CA_UNAVAILABLE },
};

const char *
activation_error_code(enum activation_error error)
{
    return errors[error].code;
}

enum activation_error
activation_error_of(enum ca_status status)
{
    return status == CA_OK          ? ACTIVATION_OK
           : status == CA_MALFORMED ? ACTIVATION_BAD_REQUEST
           : status == CA_LIMIT     ? ACTIVATION_SLOW_DOWN
                                    : ACTIVATION_UNAVAILABLE;
}

enum ca_status
activation_send_text(struct ca_request *req, int http_status, struct ca_bytes text)
{
    enum ca_status status = ca_respond_header(req, "Cache-Control", "no-store");
    return status == CA_OK
               ? ca_respond(req, http_status, CONTENT_TYPE, text.data, text.size)
               : status;
}

enum ca_status
activation_send(struct ca_request *req, int http_status, const json_t *body)
{
    CA_AUTO(free) char *text = json_dumps(body, JSON_COMPACT);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    return activation_send_text(
        req, http_status, (struct ca_bytes){ (const uint8_t *)text, strlen(text) });
}

enum ca_status
activation_refuse(struct ca_request *req, enum activation_error error,
                  int64_t retry_after)
{
    char seconds[24];
    enum ca_status status = CA_OK;
    if (error == ACTIVATION_SLOW_DOWN && retry_after <= 0)
        retry_after = SLOW_DOWN_SECONDS;
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:i, s:s}", "v", 1, "error", errors[error].code);
    if (body && retry_after > 0) {
        snprintf(seconds, sizeof seconds, "%" PRId64, retry_after);
        json_object_set_new(body, "retry_after", json_integer(retry_after));
        status = ca_respond_header(req, "Retry-After", seconds);
    }
    if (status == CA_OK)
        status = activation_send(req, errors[error].http_status, body);
    return status == CA_OK ? errors[error].status : status;
}

enum ca_status
activation_refuse_device(struct ca_request *req, enum activation_error error)
{
    if (errors[error].status != CA_UNAVAILABLE)
        ca_refused(req, "activation", "", errors[error].code, true);
    return activation_refuse(req, error, 0);
}
