/* M1 to M2 (section 7.1): the server's half of the exchange begins. What the password
 * is, and whether there is one, the core knows alone. */
#include "activation.h"
#include "auto.h"
#include "base64.h"
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

/* The first of the client's list that is enabled. */
static const struct speke_suite *
suite_choose(const struct activation *activation, const struct activation_hello *hello)
{
    for (size_t i = 0; i < hello->suite_count; i++) {
        for (size_t j = 0; j < activation->suite_count; j++) {
            if (strcmp(hello->suites[i], activation->suites[j]->name) == 0)
                return activation->suites[j];
        }
    }
    return NULL;
}

/* Our half: public but for the scalar. */
struct half {
    struct transcript transcript;
    struct speke_scalar scalar;
    struct speke_point share;
};

static void
half_clear_auto(struct half *half)
{
    OPENSSL_cleanse(&half->scalar, sizeof half->scalar);
}

/* g and Ys; wipes PRS and g. */
static enum ca_status
half_make(const struct speke_suite *suite, const struct activation_hello *hello,
          struct ca_activation_offer *offer, const uint8_t *sn, struct half *half)
{
    struct speke_point generator;
    struct transcript *transcript = &half->transcript;
    transcript_identities(transcript, offer->server, offer->user, offer->ref);
    transcript_nonces(transcript, hello->nonce, sn);
    transcript_server(transcript, suite->name,
                      (struct transcript_stretch){ offer->ln, offer->r, offer->p },
                      (struct ca_bytes){ offer->salt, sizeof offer->salt });
    transcript_client(transcript, hello->suites, hello->suite_count, hello->client);
    enum ca_status status =
        transcript_is_whole(transcript)
            ? speke_generator(suite, (struct ca_bytes){ offer->prs, sizeof offer->prs },
                              lv_bytes(&transcript->identities),
                              (struct ca_bytes){ transcript->sid, TRANSCRIPT_SID_SIZE },
                              &generator)
            : ca_fail(CA_INTERNAL, "the transcript does not fit");
    OPENSSL_cleanse(offer->prs, sizeof offer->prs);
    if (status == CA_OK)
        status = speke_scalar_draw(suite, &half->scalar);
    if (status == CA_OK)
        status = speke_share(suite, &generator, &half->scalar, &half->share);
    OPENSSL_cleanse(&generator, sizeof generator);
    return status;
}

static enum ca_status
half_keep(struct ca_request *req, const struct speke_suite *suite,
          const struct activation_hello *hello, const struct half *half)
{
    struct ca_activation_session session = {
        .suite = suite->name,
        .scalar = { half->scalar.octets, suite->field->size },
        .share = speke_point_bytes(&half->share),
        .server_data = lv_bytes(&half->transcript.server_data),
        .client_data = lv_bytes(&half->transcript.client_data),
    };
    memcpy(session.cn, hello->nonce, sizeof session.cn);
    return ca_activation_keep(req, &session);
}

static enum ca_status
answer(struct ca_request *req, const struct speke_suite *suite,
       const struct ca_activation_offer *offer, const uint8_t *sn,
       const struct half *half)
{
    const char *handle =
        base64url_encode(req, (struct ca_bytes){ sn, ACTIVATION_NONCE_SIZE });
    const char *salt =
        base64url_encode(req, (struct ca_bytes){ offer->salt, sizeof offer->salt });
    const char *share = base64url_encode(req, speke_point_bytes(&half->share));
    CA_AUTO(json_decref)
    json_t *body =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:s, s:I}", "v", 1,
                  "suite", suite->name, "server", offer->server, "sn", handle, "kdf",
                  "scrypt", "salt", salt, "ln", offer->ln, "r", offer->r, "p", offer->p,
                  "ys", share, "ttl", (json_int_t)offer->ttl);
    return activation_send(req, 200, body);
}

static enum ca_status
exchange_begin(struct ca_request *req, const struct speke_suite *suite,
               const struct activation_hello *hello, int64_t *ret_retry)
{
    uint8_t sn[ACTIVATION_NONCE_SIZE];
    struct ca_activation_offer offer = { .user = NULL };
    CA_AUTO(half_clear) struct half half = { .share = { .size = 0 } };
    const struct ca_activation_hello name = { hello->user, strlen(hello->user),
                                              hello->ref, strlen(hello->ref) };
    if (RAND_bytes(sn, sizeof sn) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot draw a session");
    enum ca_status status = ca_activation_begin(req, &name, sn, &offer);
    *ret_retry = offer.retry_after;
    if (status != CA_OK)
        return status;
    status = half_make(suite, hello, &offer, sn, &half);
    if (status == CA_OK)
        status = half_keep(req, suite, hello, &half);
    return status == CA_OK ? answer(req, suite, &offer, sn, &half) : status;
}

enum ca_status
activation_hello(void *state, struct ca_request *req)
{
    CA_AUTO(json_decref) json_t *message = NULL;
    struct activation_hello hello;
    int64_t retry_after = 0;
    enum activation_error error = activation_read(req, &message);
    if (error == ACTIVATION_OK)
        error = activation_hello_read(req, message, &hello);
    if (error != ACTIVATION_OK)
        return activation_refuse(req, error, 0);
    const struct speke_suite *suite = suite_choose(state, &hello);
    if (!suite) {
        ca_fail(CA_UNSUPPORTED, "none of the client's suites is enabled");
        return activation_refuse(req, ACTIVATION_UNSUPPORTED_SUITE, 0);
    }
    enum ca_status status = exchange_begin(req, suite, &hello, &retry_after);
    if (status == CA_OK)
        return CA_OK;
    return activation_refuse(req, activation_error_of(status), retry_after);
}
