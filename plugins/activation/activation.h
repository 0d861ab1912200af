/* Inside of the activation plugin: the messages of ECSPEKE-ACT-1 sections 6 to 8 and 12
 * (docs/protocols/activation.md). */
#pragma once

#include "plugin_activation.h"
#include "speke.h"
#include "transcript.h"

#define ACTIVATION_BODY_MAX 16384
#define ACTIVATION_SUITES_MAX 8
#define ACTIVATION_SUITE_MAX 32 /* octets of a name */
#define ACTIVATION_USER_MAX 254
#define ACTIVATION_REF_MAX 32
#define ACTIVATION_CLIENT_MAX 64
#define ACTIVATION_CSR_MAX 8192
#define ACTIVATION_NONCE_SIZE TRANSCRIPT_NONCE_SIZE
#define ACTIVATION_FACT_MAX 128 /* octets of a member of `device` or `software` */
#define ACTIVATION_WAIT_MAX 60  /* seconds of a long poll */

/* The configuration's object, from start to stop. */
struct activation {
    const struct speke_suite *suites[2]; /* enabled */
    size_t suite_count;
};

/* ---- Errors (sections 8 and 12) ---- */

enum activation_error {
    ACTIVATION_OK,
    ACTIVATION_BAD_REQUEST,
    ACTIVATION_UNSUPPORTED_VERSION,
    ACTIVATION_UNSUPPORTED_SUITE,
    ACTIVATION_INVALID_SHARE,
    ACTIVATION_AUTH_FAILED,
    ACTIVATION_WRONG_CERTIFICATE,
    ACTIVATION_NOT_REGISTERED,
    ACTIVATION_NO_PROFILE,
    ACTIVATION_REPORT_REQUIRED,
    ACTIVATION_SESSION_GONE,
    ACTIVATION_TXN_GONE,
    ACTIVATION_TOO_LARGE,
    ACTIVATION_WRONG_INSTANCE,
    ACTIVATION_SUBJECT_MISMATCH,
    ACTIVATION_SAN_MISMATCH,
    ACTIVATION_KEY_REJECTED,
    ACTIVATION_BAD_SIGNATURE,
    ACTIVATION_SLOW_DOWN,
    ACTIVATION_UPSTREAM,
    ACTIVATION_UNAVAILABLE,
    ACTIVATION_ERROR_COUNT
};

/* "bad_request". */
const char *activation_error_code(enum activation_error error);
/* What a status of the core is to a peer where a step says nothing else: CA_MALFORMED
 * bad_request, CA_LIMIT slow_down, all others unavailable. */
enum activation_error activation_error_of(enum ca_status status);

/* Answers {"v":1,"error":code}, with `retry_after` seconds unless 0 (slow_down always
 * has some), and returns the status that goes to the log; the operator's message was
 * recorded before. */
enum ca_status activation_refuse(struct ca_request *req, enum activation_error error,
                                 int64_t retry_after);
/* Likewise to a device that is activated: what the core has not refused itself goes on
 * record here, unless it may come again later. */
enum ca_status activation_refuse_device(struct ca_request *req,
                                        enum activation_error error);
/* Answers with JSON as it stands; or with an object (NULL: CA_INTERNAL, no memory).
 * Both add `no-store`. */
enum ca_status activation_send_text(struct ca_request *req, int http_status,
                                    struct ca_bytes text);
enum ca_status activation_send(struct ca_request *req, int http_status,
                               const json_t *body);

/* ---- Messages (section 6) ---- */

/* The body as a JSON object of version 1: size, content type, UTF-8, no member twice.
 * json_decref it; texts below are borrowed from it. */
enum activation_error activation_read(struct ca_request *req, json_t **ret_message);

/* A text member of `min` to `max` octets. */
enum activation_error activation_text(const json_t *object, const char *name,
                                      size_t min, size_t max, const char **ret_text);
/* A base64url member; the octets are the request's. */
enum activation_error activation_octets(struct ca_request *req, const json_t *object,
                                        const char *name, struct ca_bytes *ret_octets);
/* The same of exactly so many octets. */
enum activation_error activation_octets_of(struct ca_request *req, const json_t *object,
                                           const char *name, size_t size,
                                           uint8_t *ret_octets);
/* `user`: 1 to 254 octets without its outer spaces, no control characters. The text is
 * as it was sent. */
enum activation_error activation_user(const json_t *object, const char **ret_user);

struct activation_hello {
    const char *suites[ACTIVATION_SUITES_MAX]; /* in order of preference */
    size_t suite_count;
    const char *user, *ref, *client;
    uint8_t nonce[ACTIVATION_NONCE_SIZE]; /* cn */
};
/* M1. */
enum activation_error activation_hello_read(struct ca_request *req,
                                            const json_t *message,
                                            struct activation_hello *ret_hello);

struct activation_enroll {
    uint8_t session[ACTIVATION_NONCE_SIZE]; /* sn */
    struct ca_bytes share, tag, box;        /* yc, tc, csr: of any length */
};
/* M3. */
enum activation_error activation_enroll_read(struct ca_request *req,
                                             const json_t *message,
                                             struct activation_enroll *ret_enroll);

/* ---- The device by its certificate (section 12) ---- */

/* Who asks, by the TLS client certificate, as the core's table has it for `message`. */
enum activation_error activation_authenticate(struct ca_request *req,
                                              const char *message);
/* Answers {"v":1,"cert","chain"}, or that it cannot. */
enum ca_status activation_send_issued(struct ca_request *req,
                                      const struct ca_issued *issued);

/* ---- Resources ---- */

enum ca_status activation_lookup(void *state, struct ca_request *req);
enum ca_status activation_hello(void *state, struct ca_request *req);
enum ca_status activation_enroll(void *state, struct ca_request *req);
enum ca_status activation_device(void *state, struct ca_request *req);
enum ca_status activation_policy(void *state, struct ca_request *req);
enum ca_status activation_renew(void *state, struct ca_request *req);
enum ca_status activation_scep_profile(void *state, struct ca_request *req);
enum ca_status activation_scep(void *state, struct ca_request *req);
