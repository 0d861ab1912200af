/* The client's half of ECSPEKE-ACT-1 (sections 4 to 6). */
#include "activate_exchange.h"
#include "auto.h"
#include "field.h"
#include "text.h"
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <string.h>

#define OCTETS_MAX 65536 /* of one member of an answer */
#define TTL_MAX 3600

enum ca_status
exchange_octets(const json_t *object, const char *name, uint8_t **ret_octets,
                size_t *ret_size)
{
    const json_t *value = json_object_get(object, name);
    const char *text = json_string_value(value);
    size_t length = json_string_length(value), size = length / 4 * 3 + 3;
    if (!text || size > OCTETS_MAX)
        return ca_fail(CA_MALFORMED, "the answer has no '%s'", name);
    CA_AUTO(free) uint8_t *octets = malloc(size);
    if (!octets)
        return ca_fail(CA_INTERNAL, "no memory");
    enum ca_status status =
        base64_parse(text, length, BASE64_URL, octets, size, ret_size);
    if (status != CA_OK)
        return ca_fail(CA_MALFORMED, "'%s' of the answer is not base64url", name);
    *ret_octets = CA_STEAL(octets);
    return CA_OK;
}

/* A member of exactly so many octets. */
static enum ca_status
octets_of(const json_t *object, const char *name, void *ret_octets, size_t size)
{
    CA_AUTO(free) uint8_t *octets = NULL;
    size_t got = 0;
    enum ca_status status = exchange_octets(object, name, &octets, &got);
    if (status != CA_OK)
        return status;
    if (got != size)
        return ca_fail(CA_MALFORMED, "'%s' of the answer has %zu octets, not %zu", name,
                       got, size);
    memcpy(ret_octets, octets, size);
    return CA_OK;
}

/* ---- M1 ---- */

enum ca_status
exchange_hello(struct exchange_client *client, json_t **ret_hello)
{
    CA_AUTO(json_decref) json_t *suites = json_array();
    for (const char *const *suite = client->suites; *suite; suite++)
        json_array_append_new(suites, json_string(*suite));
    if (!stretch_user(client->sent, strlen(client->sent), client->user))
        return ca_fail(CA_MALFORMED, "this is no login name");
    if (!stretch_ref_is_good(client->ref))
        return ca_fail(CA_MALFORMED, "this is no activation reference");
    if (RAND_bytes(client->cn, sizeof client->cn) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot draw a nonce");
    CA_AUTO(free) char *nonce = base64url_format(client->cn, sizeof client->cn);
    json_t *hello = nonce
                        ? json_pack("{s:i, s:O, s:s, s:s, s:s, s:s}", "v", 1, "suites",
                                    suites, "user", client->sent, "ref", client->ref,
                                    "cn", nonce, "client", client->client)
                        : NULL;
    if (!hello)
        return ca_fail(CA_INTERNAL, "no memory");
    *ret_hello = hello;
    return CA_OK;
}

/* ---- M2 ---- */

static enum ca_status
suite_take(struct exchange_client *client, const json_t *reply)
{
    const char *name = json_string_value(json_object_get(reply, "suite"));
    for (const char *const *suite = client->suites; name && *suite; suite++) {
        if (strcmp(*suite, name) == 0)
            client->suite = speke_suite_find(name);
    }
    return client->suite ? CA_OK
                         : ca_fail(CA_MALFORMED, "the server chose no suite of ours");
}

/* Everything but the share. */
static enum ca_status
reply_check(struct exchange_client *client, const json_t *reply,
            struct stretch_cost *ret_cost)
{
    const char *server = json_string_value(json_object_get(reply, "server"));
    const char *kdf = json_string_value(json_object_get(reply, "kdf"));
    const json_t *ttl = json_object_get(reply, "ttl");
    json_int_t cost[3];
    static const char *const names[] = { "ln", "r", "p" };
    if (json_integer_value(json_object_get(reply, "v")) != 1)
        return ca_fail(CA_MALFORMED, "the answer is not of version 1");
    if (!server || strcmp(server, client->server) != 0)
        return ca_fail(CA_MALFORMED, "the server calls itself '%.100s', not '%s'",
                       server ? server : "", client->server);
    for (size_t i = 0; i < 3; i++) {
        const json_t *number = json_object_get(reply, names[i]);
        cost[i] = json_is_integer(number) ? json_integer_value(number) : -1;
        if (cost[i] < 0 || cost[i] > 100)
            cost[i] = 0;
    }
    *ret_cost = (struct stretch_cost){ (int)cost[0], (int)cost[1], (int)cost[2] };
    if (!kdf || strcmp(kdf, "scrypt") != 0 || !stretch_cost_is_taken(*ret_cost))
        return ca_fail(CA_MALFORMED,
                       "the server wants the password stretched otherwise");
    if (!json_is_integer(ttl) || json_integer_value(ttl) < 1 ||
        json_integer_value(ttl) > TTL_MAX)
        return ca_fail(CA_MALFORMED, "the answer has no time to live");
    return suite_take(client, reply);
}

/* g from the password; then Yc, K and the keys. */
static enum ca_status
keys_make(struct exchange_client *client, struct ca_bytes peer, const uint8_t *prs)
{
    const struct speke_suite *suite = client->suite;
    struct transcript *transcript = &client->transcript;
    struct speke_point generator;
    struct speke_scalar scalar;
    uint8_t secret[SPEKE_ELEMENT_MAX];
    enum ca_status status = speke_generator(
        suite, (struct ca_bytes){ prs, STRETCH_PRS_SIZE },
        lv_bytes(&transcript->identities),
        (struct ca_bytes){ transcript->sid, sizeof transcript->sid }, &generator);
    if (status == CA_OK)
        status = speke_scalar_draw(suite, &scalar);
    if (status == CA_OK)
        status = speke_share(suite, &generator, &scalar, &client->share);
    if (status == CA_OK)
        status = speke_secret(suite, &scalar, &client->share, peer, secret);
    if (status == CA_OK)
        status =
            schedule_derive(suite, transcript, peer, speke_point_bytes(&client->share),
                            secret, &client->schedule);
    OPENSSL_cleanse(&generator, sizeof generator);
    OPENSSL_cleanse(&scalar, sizeof scalar);
    OPENSSL_cleanse(secret, sizeof secret);
    return status;
}

enum ca_status
exchange_stretch(struct exchange_client *client, const json_t *reply,
                 const char *password, uint8_t ret_prs[STRETCH_PRS_SIZE])
{
    uint8_t salt[STRETCH_SALT_SIZE];
    struct stretch_cost cost;
    enum ca_status status = reply_check(client, reply, &cost);
    if (status == CA_OK)
        status = octets_of(reply, "salt", salt, sizeof salt);
    return status == CA_OK ? stretch_make(password, salt, cost, ret_prs) : status;
}

enum ca_status
exchange_reply(struct exchange_client *client, const json_t *reply,
               const uint8_t prs[STRETCH_PRS_SIZE])
{
    uint8_t salt[STRETCH_SALT_SIZE];
    struct stretch_cost cost;
    CA_AUTO(free) uint8_t *peer = NULL;
    size_t peer_size = 0, count = 0;
    enum ca_status status = reply_check(client, reply, &cost);
    if (status == CA_OK)
        status = octets_of(reply, "sn", client->sn, sizeof client->sn);
    if (status == CA_OK)
        status = octets_of(reply, "salt", salt, sizeof salt);
    if (status == CA_OK)
        status = exchange_octets(reply, "ys", &peer, &peer_size);
    if (status != CA_OK)
        return status;
    while (client->suites[count])
        count++;
    struct transcript *transcript = &client->transcript;
    transcript_identities(transcript, client->server, client->user, client->ref);
    transcript_nonces(transcript, client->cn, client->sn);
    transcript_server(transcript, client->suite->name,
                      (struct transcript_stretch){ cost.ln, cost.r, cost.p },
                      (struct ca_bytes){ salt, sizeof salt });
    transcript_client(transcript, client->suites, count, client->client);
    return transcript_is_whole(transcript)
               ? keys_make(client, (struct ca_bytes){ peer, peer_size }, prs)
               : ca_fail(CA_MALFORMED, "names too long for the exchange");
}

/* ---- M3 ---- */

enum ca_status
exchange_enroll(struct exchange_client *client, struct ca_bytes pkcs10,
                json_t **ret_enroll)
{
    const struct schedule_side *side = &client->schedule.side[SCHEDULE_C2S];
    size_t size = box_size(pkcs10.size);
    CA_AUTO(free) uint8_t *box = malloc(size);
    if (!box)
        return ca_fail(CA_INTERNAL, "no memory");
    enum ca_status status =
        box_seal(&client->schedule, SCHEDULE_C2S, side->tag, pkcs10, box);
    if (status != CA_OK)
        return status;
    memcpy(client->tag, box_tag((struct ca_bytes){ box, size }), sizeof client->tag);
    CA_AUTO(free) char *sn = base64url_format(client->sn, sizeof client->sn);
    CA_AUTO(free)
    char *share = base64url_format(client->share.octets, client->share.size);
    CA_AUTO(free) char *tag = base64url_format(side->tag, sizeof side->tag);
    CA_AUTO(free) char *sealed = base64url_format(box, size);
    json_t *enroll = sn && share && tag && sealed
                         ? json_pack("{s:i, s:s, s:s, s:s, s:s}", "v", 1, "sn", sn,
                                     "yc", share, "tc", tag, "csr", sealed)
                         : NULL;
    if (!enroll)
        return ca_fail(CA_INTERNAL, "no memory");
    *ret_enroll = enroll;
    return CA_OK;
}

/* ---- M4 ---- */

enum ca_status
exchange_answer(const struct exchange_client *client, const json_t *answer,
                json_t **ret_content)
{
    CA_AUTO(free) uint8_t *tag = NULL;
    CA_AUTO(free) uint8_t *box = NULL;
    CA_AUTO(free) uint8_t *plain = NULL;
    size_t tag_size = 0, box_octets = 0, size = 0;
    enum ca_status status = exchange_octets(answer, "ts", &tag, &tag_size);
    if (status != CA_OK)
        return status;
    if (!schedule_tag_holds(&client->schedule, SCHEDULE_S2C,
                            (struct ca_bytes){ tag, tag_size }))
        return ca_fail(CA_UNAUTHENTICATED, "the server does not know the password");
    status = exchange_octets(answer, "grant", &box, &box_octets);
    if (status != CA_OK)
        return status;
    plain = malloc(box_octets + 1);
    if (!plain)
        return ca_fail(CA_INTERNAL, "no memory");
    status = box_open(&client->schedule, SCHEDULE_S2C, client->tag,
                      (struct ca_bytes){ box, box_octets }, plain, &size);
    if (status == CA_OK)
        status = field_parse((const char *)plain, size, OCTETS_MAX, ret_content);
    return status;
}

void
exchange_client_clear(struct exchange_client *client)
{
    schedule_clear(&client->schedule);
    OPENSSL_cleanse(client->tag, sizeof client->tag);
}
