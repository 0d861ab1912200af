/* A double of the activation calls in plugin.h. */
#include "fake_activation.h"
#include "fake_inner.h"
#include "stretch.h"
#include <string.h>

struct fake_activation fake_activation;

void
fake_activation_open(void)
{
    fake_activation_close();
    fake_activation = (struct fake_activation){
        .server = "uem1.example.com", .ln = 10, .r = 8, .p = 1, .policy_text = "{}"
    };
    fake_activation.policy_tag = "00112233445566778899aabbccddeeff";
}

void
fake_activation_close(void)
{
    json_decref(fake_activation.hardware);
    json_decref(fake_activation.software);
    fake_activation.hardware = fake_activation.software = NULL;
}

static void
octets_keep(struct fake_octets *to, struct ca_bytes from)
{
    MUST(from.size <= FAKE_OCTETS_MAX);
    memcpy(to->data, from.data, from.size);
    to->size = from.size;
}

static struct ca_bytes
octets_give(const struct fake_octets *from)
{
    return (struct ca_bytes){ from->data, from->size };
}

enum ca_status
ca_activation_begin(struct ca_request *req, const struct ca_activation_hello *hello,
                    const uint8_t sn[CA_ACTIVATION_NONCE],
                    struct ca_activation_offer *ret_offer)
{
    struct fake_activation *fake = &fake_activation;
    (void)req;
    fake->begins++;
    if (!stretch_user(hello->user, hello->user_size, fake->user))
        return ca_fail(CA_MALFORMED, "user");
    MUST(hello->ref_size < sizeof fake->ref && hello->ref[hello->ref_size] == '\0');
    snprintf(fake->ref, sizeof fake->ref, "%s", hello->ref);
    memcpy(fake->sn, sn, sizeof fake->sn);
    *ret_offer = (struct ca_activation_offer){ .user = fake->user,
                                               .ref = fake->ref,
                                               .server = fake->server,
                                               .ln = fake->ln,
                                               .r = fake->r,
                                               .p = fake->p,
                                               .ttl = 120,
                                               .retry_after = fake->retry_after };
    memcpy(ret_offer->salt, fake->salt, sizeof fake->salt);
    memcpy(ret_offer->prs, fake->prs, sizeof fake->prs);
    return fake->begin == CA_OK ? CA_OK : ca_fail(fake->begin, "begin");
}

enum ca_status
ca_activation_keep(struct ca_request *req, const struct ca_activation_session *session)
{
    struct fake_activation *fake = &fake_activation;
    (void)req;
    if (fake->keep != CA_OK)
        return ca_fail(fake->keep, "keep");
    memcpy(fake->cn, session->cn, sizeof fake->cn);
    snprintf(fake->suite, sizeof fake->suite, "%s", session->suite);
    octets_keep(&fake->scalar, session->scalar);
    octets_keep(&fake->share, session->share);
    octets_keep(&fake->server_data, session->server_data);
    octets_keep(&fake->client_data, session->client_data);
    fake->is_kept = true;
    fake->is_spent = false;
    fake->answered = 0;
    return CA_OK;
}

enum ca_status
ca_activation_attempt(struct ca_request *req, const uint8_t sn[CA_ACTIVATION_NONCE],
                      const uint8_t digest[32],
                      struct ca_activation_session *ret_session,
                      struct ca_activation_answer *ret_answer)
{
    struct fake_activation *fake = &fake_activation;
    (void)req;
    fake->attempts++;
    if (fake->attempt != CA_OK)
        return ca_fail(fake->attempt, "attempt");
    if (!fake->is_kept || memcmp(sn, fake->sn, sizeof fake->sn) != 0)
        return ca_fail(CA_NOT_FOUND, "no such session");
    if (fake->is_spent && (memcmp(digest, fake->digest, 32) != 0 || !fake->answered))
        return ca_fail(CA_NOT_FOUND, "spent");
    *ret_answer =
        (struct ca_activation_answer){ fake->answered, octets_give(&fake->answer) };
    if (fake->is_spent)
        return CA_CONFLICT;
    fake->is_spent = true;
    memcpy(fake->digest, digest, 32);
    *ret_session =
        (struct ca_activation_session){ .suite = fake->suite,
                                        .user = fake->user,
                                        .ref = fake->ref,
                                        .server = fake->server,
                                        .scalar = octets_give(&fake->scalar),
                                        .share = octets_give(&fake->share),
                                        .server_data = octets_give(&fake->server_data),
                                        .client_data =
                                            octets_give(&fake->client_data) };
    memcpy(ret_session->cn, fake->cn, sizeof fake->cn);
    return CA_OK;
}

void
ca_activation_refused(struct ca_request *req, const char *reason)
{
    (void)req;
    fake_activation.refusals++;
    snprintf(fake_activation.refused, sizeof fake_activation.refused, "%s", reason);
}

enum ca_status
ca_activation_proved(struct ca_request *req, struct ca_bytes pkcs10,
                     const struct ca_activation_sealer *sealer,
                     struct ca_activation_answer *ret_answer)
{
    struct fake_activation *fake = &fake_activation;
    bool is_told = fake->proved == CA_OK || fake->grant.error;
    (void)req;
    fake->proofs++;
    octets_keep(&fake->pkcs10, pkcs10);
    if (is_told) {
        struct ca_activation_answer answer = { .http_status =
                                                   fake->proved == CA_OK ? 200 : 422 };
        enum ca_status status = sealer->seal(sealer->arg, &fake->grant, &answer.body);
        if (status != CA_OK)
            return status;
        fake->answered = answer.http_status;
        octets_keep(&fake->answer, answer.body);
        *ret_answer = answer;
    }
    return fake->proved == CA_OK ? CA_OK : ca_fail(fake->proved, "proved");
}

enum ca_status
ca_activation_lookup(struct ca_request *req, const char *user, size_t user_size,
                     struct ca_activation_place *ret_place)
{
    struct fake_activation *fake = &fake_activation;
    (void)req;
    fake->looks++;
    snprintf(fake->looked, sizeof fake->looked, "%.*s", (int)user_size, user);
    ret_place->retry_after = fake->retry_after;
    if (fake->lookup != CA_OK)
        return ca_fail(fake->lookup, "lookup");
    *ret_place = (struct ca_activation_place){ .server = fake->server,
                                               .url = "https://uem1.example.com/base" };
    return CA_OK;
}

enum ca_status
ca_activation_device(struct ca_request *req, const json_t *device,
                     const json_t *software, struct ca_activation_place *ret_place)
{
    struct fake_activation *fake = &fake_activation;
    (void)req;
    if (fake->device != CA_OK)
        return ca_fail(fake->device, "device");
    fake_activation_close();
    fake->hardware = json_deep_copy(device);
    fake->software = json_deep_copy(software);
    *ret_place = (struct ca_activation_place){ .instance = "main",
                                               .url = "https://uem1.example.com" };
    return CA_OK;
}

enum ca_status
ca_activation_policy(struct ca_request *req, const char *known, int64_t seconds,
                     struct ca_activation_policy *ret_policy)
{
    struct fake_activation *fake = &fake_activation;
    snprintf(fake->known, sizeof fake->known, "%s", known ? known : "none");
    fake->waited = seconds;
    if (fake->policy != CA_OK)
        return ca_fail(fake->policy, "policy");
    json_t *policy = json_loads(fake->policy_text, 0, NULL);
    MUST(policy);
    fake_core_keep_json(req, policy);
    *ret_policy = (struct ca_activation_policy){ policy, fake->policy_tag };
    return CA_OK;
}

/* ---- SCEP ---- */

static enum ca_status
scep_note(struct ca_scep_failure *failure, const char *step, const char *profile,
          struct ca_bytes octets)
{
    struct fake_activation *fake = &fake_activation;
    snprintf(fake->scep, sizeof fake->scep, "%s %s", step, profile);
    MUST(octets.size <= sizeof fake->pkcs10.data);
    memcpy(fake->pkcs10.data, octets.data, octets.size);
    fake->pkcs10.size = octets.size;
    failure->error = fake->scep_error;
    return fake->scep_status == CA_OK ? CA_OK : ca_fail(fake->scep_status, "scep");
}

static const struct ca_bytes fake_chain[] = { { (const uint8_t *)"ra", 2 },
                                              { (const uint8_t *)"ca", 2 } };

enum ca_status
ca_activation_scep(struct ca_request *req, json_t **ret_profile,
                   struct ca_scep_failure *ret_failure)
{
    const struct ca_bytes nothing = { (const uint8_t *)"", 0 };
    enum ca_status status = scep_note(ret_failure, "profile", "", nothing);
    if (status != CA_OK)
        return status;
    json_t *profile = json_pack("{s:s, s:i}", "profile", "wifi", "version", 3);
    MUST(profile);
    fake_core_keep_json(req, profile);
    *ret_profile = profile;
    return CA_OK;
}

enum ca_status
ca_activation_scep_prepare(struct ca_request *req, const char *profile,
                           struct ca_bytes info, const char *digest,
                           struct ca_scep_prepared *ret_prepared,
                           struct ca_scep_failure *ret_failure)
{
    (void)req;
    MUST(strcmp(digest, "sha256") == 0);
    *ret_prepared = (struct ca_scep_prepared){ "T", fake_chain[0] };
    return scep_note(ret_failure, "prepare", profile, info);
}

enum ca_status
ca_activation_scep_envelope(struct ca_request *req,
                            const struct ca_scep_signature *signature,
                            struct ca_scep_enveloped *ret_enveloped,
                            struct ca_scep_failure *ret_failure)
{
    (void)req;
    MUST(strcmp(signature->txn, "T") == 0 && strcmp(signature->cipher, "aes256") == 0);
    *ret_enveloped = (struct ca_scep_enveloped){
        .envelope = fake_chain[1], .transaction = "id", .chain = fake_chain, .count = 2
    };
    return scep_note(ret_failure, "envelope", signature->profile, signature->signature);
}

enum ca_status
ca_activation_scep_enroll(struct ca_request *req, const char *profile,
                          struct ca_bytes pkcs10,
                          struct ca_scep_certificate *ret_certificate,
                          struct ca_scep_failure *ret_failure)
{
    (void)req;
    enum ca_status status = scep_note(ret_failure, "enroll", profile, pkcs10);
    *ret_certificate = status == CA_PENDING
                           ? (struct ca_scep_certificate){ .retry_after = 7 }
                           : (struct ca_scep_certificate){ .der = fake_chain[0],
                                                           .chain = fake_chain,
                                                           .count = 2 };
    return status;
}
