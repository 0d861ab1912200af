/* SCEP for activated devices (section 13): what a device is told, and its requests that
 * the server completes or carries for it. */
#include "activation.h"
#include "auto.h"
#include "base64.h"
#include <string.h>

#define NAME_MAX_SIZE 65 /* octets of a profile's name, with NUL */
#define TXN_MAX 64
#define WORD_MAX 16 /* octets of "digest" and "cipher" */

static const struct {
    const char *word;
    enum activation_error error;
} words[] = {
    { "no_profile", ACTIVATION_NO_PROFILE },
    { "report_required", ACTIVATION_REPORT_REQUIRED },
    { "txn_gone", ACTIVATION_TXN_GONE },
    { "subject_mismatch", ACTIVATION_SUBJECT_MISMATCH },
    { "san_mismatch", ACTIVATION_SAN_MISMATCH },
    { "key_rejected", ACTIVATION_KEY_REJECTED },
    { "bad_signature", ACTIVATION_BAD_SIGNATURE },
    { "upstream", ACTIVATION_UPSTREAM },
};

/* The core's word, or what its status is where it says none. */
static enum ca_status
refuse(struct ca_request *req, enum ca_status status,
       const struct ca_scep_failure *failure)
{
    enum activation_error error = activation_error_of(status);
    if (status == CA_UNAUTHENTICATED || status == CA_FORBIDDEN)
        error = ACTIVATION_WRONG_CERTIFICATE;
    for (size_t i = 0; failure->error && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].word, failure->error) == 0)
            error = words[i].error;
    }
    return activation_refuse_device(req, error);
}

static json_t *
octets_encode(struct ca_request *req, struct ca_bytes octets)
{
    const char *text = base64url_encode(req, octets);
    return text ? json_string(text) : NULL;
}

static json_t *
chain_encode(struct ca_request *req, const struct ca_bytes *chain, size_t count)
{
    CA_AUTO(json_decref) json_t *list = json_array();
    for (size_t i = 0; i < count; i++) {
        if (json_array_append_new(list, octets_encode(req, chain[i])) != 0)
            return NULL;
    }
    return CA_STEAL(list);
}

/* ---- GET /activation/v1/scep-profile ---- */

enum ca_status
activation_scep_profile(void *state, struct ca_request *req)
{
    json_t *profile = NULL;
    struct ca_scep_failure failure = { NULL };
    (void)state;
    enum activation_error error = activation_authenticate(req, "scep-profile");
    if (error != ACTIVATION_OK)
        return activation_refuse_device(req, error);
    enum ca_status status = ca_activation_scep(req, &profile, &failure);
    if (status != CA_OK)
        return refuse(req, status, &failure);
    CA_AUTO(json_decref) json_t *body = json_pack("{s:i}", "v", 1);
    if (!body || json_object_update(body, profile) != 0)
        return ca_fail(CA_INTERNAL, "no memory for a profile");
    return activation_send(req, 200, body);
}

/* ---- POST /activation/v1/scep/<profile>/prepare ---- */

static enum ca_status
prepare(struct ca_request *req, const char *profile, const json_t *message)
{
    struct ca_bytes info = { 0 };
    const char *digest = NULL;
    struct ca_scep_prepared prepared = { 0 };
    struct ca_scep_failure failure = { NULL };
    enum activation_error error = activation_octets(req, message, "cri", &info);
    if (error == ACTIVATION_OK)
        error = activation_text(message, "digest", 1, WORD_MAX, &digest);
    if (error != ACTIVATION_OK)
        return activation_refuse_device(req, error);
    enum ca_status status =
        ca_activation_scep_prepare(req, profile, info, digest, &prepared, &failure);
    if (status != CA_OK)
        return refuse(req, status, &failure);
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:i, s:s, s:o}", "v", 1, "txn", prepared.txn,
                             "tbs_digest", octets_encode(req, prepared.digest));
    return activation_send(req, 200, body);
}

/* ---- POST .../envelope ---- */

static enum ca_status
envelope(struct ca_request *req, const char *profile, const json_t *message)
{
    struct ca_scep_signature signature = { .profile = profile };
    struct ca_scep_enveloped enveloped = { .count = 0 };
    struct ca_scep_failure failure = { NULL };
    enum activation_error error =
        activation_text(message, "txn", 1, TXN_MAX, &signature.txn);
    if (error == ACTIVATION_OK)
        error = activation_octets(req, message, "sig", &signature.signature);
    if (error == ACTIVATION_OK)
        error = activation_text(message, "cipher", 1, WORD_MAX, &signature.cipher);
    if (error != ACTIVATION_OK)
        return activation_refuse_device(req, error);
    enum ca_status status =
        ca_activation_scep_envelope(req, &signature, &enveloped, &failure);
    if (status != CA_OK)
        return refuse(req, status, &failure);
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:i, s:o, s:s, s:o}", "v", 1, "enveloped",
                             octets_encode(req, enveloped.envelope), "transaction_id",
                             enveloped.transaction, "ca",
                             chain_encode(req, enveloped.chain, enveloped.count));
    return activation_send(req, 200, body);
}

/* ---- POST .../enroll ---- */

static enum ca_status
enroll(struct ca_request *req, const char *profile, const json_t *message)
{
    struct ca_bytes pkcs10 = { 0 };
    struct ca_scep_certificate issued = { .count = 0 };
    struct ca_scep_failure failure = { NULL };
    enum activation_error error = activation_octets(req, message, "csr", &pkcs10);
    if (error != ACTIVATION_OK)
        return activation_refuse_device(req, error);
    enum ca_status status =
        ca_activation_scep_enroll(req, profile, pkcs10, &issued, &failure);
    if (status == CA_PENDING) {
        CA_AUTO(json_decref)
        json_t *later = json_pack("{s:i, s:I}", "v", 1, "retry_after",
                                  (json_int_t)issued.retry_after);
        return activation_send(req, 202, later);
    }
    if (status != CA_OK)
        return refuse(req, status, &failure);
    CA_AUTO(json_decref)
    json_t *body =
        json_pack("{s:i, s:o, s:o}", "v", 1, "cert", octets_encode(req, issued.der),
                  "chain", chain_encode(req, issued.chain, issued.count));
    return activation_send(req, 200, body);
}

/* ---- Routes ---- */

static const struct {
    const char *name;
    enum ca_status (*run)(struct ca_request *req, const char *profile,
                          const json_t *message);
} steps[] = {
    { "prepare", prepare },
    { "envelope", envelope },
    { "enroll", enroll },
};

/* "/<profile>/<step>" behind the route's path. */
enum ca_status
activation_scep(void *state, struct ca_request *req)
{
    char profile[NAME_MAX_SIZE];
    CA_AUTO(json_decref) json_t *message = NULL;
    const char *name = req->rest + strspn(req->rest, "/");
    size_t size = strcspn(name, "/"), step = 0, count = sizeof steps / sizeof steps[0];
    (void)state;
    enum activation_error error = activation_read(req, &message);
    if (error != ACTIVATION_OK)
        return activation_refuse_device(req, error);
    while (step < count &&
           (name[size] != '/' || strcmp(steps[step].name, name + size + 1) != 0))
        step++;
    if (size == 0 || size >= sizeof profile || step == count)
        return ca_fail(CA_NOT_FOUND, "no such resource");
    memcpy(profile, name, size);
    profile[size] = '\0';
    error = activation_authenticate(req, "scep-profile");
    return error == ACTIVATION_OK ? steps[step].run(req, profile, message)
                                  : activation_refuse_device(req, error);
}
