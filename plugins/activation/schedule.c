/* Key schedule: ISK, transcript hash, HKDF and the confirmation tags. */
#include "schedule.h"
#include "auto.h"
#include <openssl/core_names.h>
#include <openssl/params.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_SIZE 16 /* "c2s confirm" */

CA_AUTO_RELEASE(EVP_MAC, EVP_MAC_free)
CA_AUTO_RELEASE(EVP_MAC_CTX, EVP_MAC_CTX_free)

const char *
schedule_direction_name(enum schedule_direction direction)
{
    return direction == SCHEDULE_C2S ? "c2s" : "s2c";
}

static EVP_MAC_CTX *
mac_new(const char *digest)
{
    char name[16];
    CA_AUTO(EVP_MAC_free) EVP_MAC *hmac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    CA_AUTO(EVP_MAC_CTX_free) EVP_MAC_CTX *ctx = hmac ? EVP_MAC_CTX_new(hmac) : NULL;
    snprintf(name, sizeof name, "%s", digest);
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, name, 0),
        OSSL_PARAM_construct_end(),
    };
    return ctx && EVP_MAC_CTX_set_params(ctx, params) == 1 ? CA_STEAL(ctx) : NULL;
}

/* The key before stays with a key of NULL. */
static bool
mac_make(EVP_MAC_CTX *ctx, struct ca_bytes key, const struct ca_bytes *parts,
         size_t count, uint8_t *ret_mac, size_t size)
{
    bool is_good = ctx && EVP_MAC_init(ctx, key.data, key.size, NULL) == 1;
    for (size_t i = 0; i < count; i++)
        is_good = is_good && EVP_MAC_update(ctx, parts[i].data, parts[i].size) == 1;
    uint8_t mac[SPEKE_HASH_MAX];
    size_t written = 0;
    is_good = is_good && EVP_MAC_final(ctx, mac, &written, sizeof mac) == 1 &&
              written >= size;
    if (is_good)
        memcpy(ret_mac, mac, size);
    OPENSSL_cleanse(mac, sizeof mac);
    return is_good;
}

bool
schedule_hmac(const char *digest, struct ca_bytes key, const struct ca_bytes *parts,
              size_t count, uint8_t *ret_mac, size_t size)
{
    CA_AUTO(EVP_MAC_CTX_free) EVP_MAC_CTX *ctx = mac_new(digest);
    return mac_make(ctx, key, parts, count, ret_mac, size);
}

/* H of two parts. */
static bool
hash_pair(const struct speke_suite *suite, const struct lv *first,
          struct ca_bytes second, uint8_t *ret_hash)
{
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    const EVP_MD *digest = suite->hash_size == 64 ? EVP_sha512() : EVP_sha256();
    return ctx && !first->failed && EVP_DigestInit_ex(ctx, digest, NULL) == 1 &&
           EVP_DigestUpdate(ctx, first->data, first->size) == 1 &&
           EVP_DigestUpdate(ctx, second.data, second.size) == 1 &&
           EVP_DigestFinal_ex(ctx, ret_hash, NULL) == 1;
}

enum ca_status
schedule_isk(const struct speke_suite *suite, struct ca_bytes sid,
             struct ca_bytes secret, struct ca_bytes shares,
             uint8_t ret_isk[SPEKE_HASH_MAX])
{
    CA_AUTO(lv_clear) struct lv head = { .size = 0 };
    char dsi[64];
    snprintf(dsi, sizeof dsi, "%s_ISK", suite->dsi);
    lv_put_text(&head, dsi);
    lv_put(&head, sid.data, sid.size);
    lv_put(&head, secret.data, secret.size);
    if (!hash_pair(suite, &head, shares, ret_isk))
        return ca_fail_openssl(CA_INTERNAL, "cannot hash the shared secret");
    return CA_OK;
}

/* th = H(lv(LABEL || " th", CI, sid) || TR) */
static bool
transcript_hash(const struct speke_suite *suite, const struct transcript *transcript,
                struct ca_bytes shares, uint8_t *ret_hash)
{
    struct lv head = { .size = 0 };
    lv_put_label(&head, " th");
    lv_put(&head, transcript->identities.data, transcript->identities.size);
    lv_put(&head, transcript->sid, sizeof transcript->sid);
    return hash_pair(suite, &head, shares, ret_hash);
}

/* What makes all keys of one schedule: HMACs with H and with SHA-256. */
struct maker {
    EVP_MAC_CTX *hash, *sha256;
};

static void
maker_clear_auto(struct maker *maker)
{
    EVP_MAC_CTX_free(maker->hash);
    EVP_MAC_CTX_free(maker->sha256);
}

/* HKDF-Extract (RFC 5869 section 2.2); PRK stays with the maker alone. */
static bool
extract(const struct maker *maker, struct ca_bytes salt, struct ca_bytes input)
{
    uint8_t prk[SPEKE_HASH_MAX];
    bool is_good = mac_make(maker->hash, salt, &input, 1, prk, input.size) &&
                   EVP_MAC_init(maker->hash, prk, input.size, NULL) == 1;
    OPENSSL_cleanse(prk, sizeof prk);
    return is_good;
}

/* HKDF-Expand to 32 octets: its first block (RFC 5869 section 2.3). */
static bool
expand_key(const struct maker *maker, const char *name,
           uint8_t ret_key[SCHEDULE_KEY_SIZE])
{
    static const struct ca_bytes prk = { NULL, 0 };
    struct lv info = { .size = 0 };
    lv_put_label(&info, "");
    lv_put_text(&info, name);
    lv_append(&info, "\x01", 1);
    const struct ca_bytes part = lv_bytes(&info);
    return mac_make(maker->hash, prk, &part, 1, ret_key, SCHEDULE_KEY_SIZE);
}

static bool
derive_side(const struct maker *maker, enum schedule_direction direction,
            struct ca_bytes hash, struct schedule_side *ret_side)
{
    const char *direction_name = schedule_direction_name(direction);
    char confirm[NAME_MAX_SIZE], encrypt[NAME_MAX_SIZE], mac[NAME_MAX_SIZE];
    struct lv content = { .size = 0 };
    snprintf(confirm, sizeof confirm, "%s confirm", direction_name);
    snprintf(encrypt, sizeof encrypt, "%s enc", direction_name);
    snprintf(mac, sizeof mac, "%s mac", direction_name);
    lv_put_label(&content, "");
    lv_put_text(&content, confirm);
    lv_put(&content, hash.data, hash.size);
    const struct ca_bytes key = { ret_side->confirm, SCHEDULE_KEY_SIZE };
    const struct ca_bytes part = lv_bytes(&content);
    return expand_key(maker, confirm, ret_side->confirm) &&
           expand_key(maker, encrypt, ret_side->encrypt) &&
           expand_key(maker, mac, ret_side->mac) &&
           mac_make(maker->sha256, key, &part, 1, ret_side->tag, SCHEDULE_TAG_SIZE);
}

/* A function of its own: the makers end before the stack is wiped. */
static bool __attribute__((noinline))
derive_sides(const struct speke_suite *suite, struct ca_bytes isk,
             struct schedule *schedule)
{
    CA_AUTO(maker_clear)
    struct maker maker = { mac_new(suite->digest), mac_new("SHA256") };
    const struct ca_bytes hash = { schedule->hash, suite->hash_size };
    struct schedule_side *sides = schedule->side;
    return extract(&maker, hash, isk) &&
           derive_side(&maker, SCHEDULE_C2S, hash, &sides[SCHEDULE_C2S]) &&
           derive_side(&maker, SCHEDULE_S2C, hash, &sides[SCHEDULE_S2C]);
}

enum ca_status
schedule_derive(const struct speke_suite *suite, const struct transcript *transcript,
                struct ca_bytes server_share, struct ca_bytes client_share,
                const uint8_t *secret, struct schedule *ret_schedule)
{
    CA_AUTO(schedule_clear)
    struct schedule schedule = { .hash_size = suite->hash_size };
    struct lv shares = { .size = 0 };
    uint8_t isk[SPEKE_HASH_MAX];
    const struct ca_bytes sid = { transcript->sid, sizeof transcript->sid };
    const struct ca_bytes input = { isk, suite->hash_size };

    transcript_shares(transcript, server_share, client_share, &shares);
    if (shares.failed || !transcript_is_whole(transcript))
        return ca_fail(CA_LIMIT, "the transcript is too long");
    enum ca_status status =
        schedule_isk(suite, sid, (struct ca_bytes){ secret, suite->field->size },
                     lv_bytes(&shares), isk);
    if (status != CA_OK)
        return status;
    bool is_good =
        transcript_hash(suite, transcript, lv_bytes(&shares), schedule.hash) &&
        derive_sides(suite, input, &schedule);
    OPENSSL_cleanse(isk, sizeof isk);
    speke_stack_wipe();
    if (!is_good)
        return ca_fail_openssl(CA_INTERNAL, "cannot derive the keys");
    *ret_schedule = schedule;
    return CA_OK;
}

void
schedule_clear(struct schedule *schedule)
{
    OPENSSL_cleanse(schedule, sizeof *schedule);
}

bool
schedule_tag_holds(const struct schedule *schedule, enum schedule_direction direction,
                   struct ca_bytes tag)
{
    return tag.size == SCHEDULE_TAG_SIZE &&
           CRYPTO_memcmp(tag.data, schedule->side[direction].tag, SCHEDULE_TAG_SIZE) ==
               0;
}
