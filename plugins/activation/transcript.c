/* Length-value strings and the transcript of an exchange. */
#include "transcript.h"
#include <openssl/crypto.h>
#include <stdio.h>
#include <string.h>

void
lv_append(struct lv *lv, const void *octets, size_t size)
{
    if (lv->failed || size > sizeof lv->data - lv->size) {
        lv->failed = true;
        return;
    }
    if (size > 0)
        memcpy(lv->data + lv->size, octets, size);
    lv->size += size;
}

static void
put_size(struct lv *lv, size_t size)
{
    do {
        uint8_t group = (uint8_t)(size & 0x7f);
        size >>= 7;
        if (size > 0)
            group |= 0x80;
        lv_append(lv, &group, 1);
    } while (size > 0);
}

void
lv_put(struct lv *lv, const void *octets, size_t size)
{
    put_size(lv, size);
    lv_append(lv, octets, size);
}

void
lv_put_text(struct lv *lv, const char *text)
{
    lv_put(lv, text, strlen(text));
}

void
lv_put_label(struct lv *lv, const char *suffix)
{
    put_size(lv, strlen(LV_LABEL) + strlen(suffix));
    lv_append(lv, LV_LABEL, strlen(LV_LABEL));
    lv_append(lv, suffix, strlen(suffix));
}

struct ca_bytes
lv_bytes(const struct lv *lv)
{
    return (struct ca_bytes){ lv->data, lv->size };
}

void
lv_clear(struct lv *lv)
{
    OPENSSL_cleanse(lv->data, lv->size);
    lv->size = 0;
    lv->failed = false;
}

static void
put_pair(struct lv *lv, struct ca_bytes first, struct ca_bytes second)
{
    lv_put(lv, first.data, first.size);
    lv_put(lv, second.data, second.size);
}

void
transcript_identities(struct transcript *transcript, const char *server,
                      const char *user, const char *ref)
{
    struct lv part = { .size = 0 };
    struct lv *whole = &transcript->identities;
    lv_clear(whole);
    lv_put_label(whole, "");
    lv_put_text(&part, "server");
    lv_put_text(&part, server);
    whole->failed |= part.failed;
    lv_put(whole, part.data, part.size);
    lv_clear(&part);
    lv_put_text(&part, "client");
    lv_put_text(&part, user);
    lv_put_text(&part, ref);
    whole->failed |= part.failed;
    lv_put(whole, part.data, part.size);
}

void
transcript_nonces(struct transcript *transcript,
                  const uint8_t client[TRANSCRIPT_NONCE_SIZE],
                  const uint8_t server[TRANSCRIPT_NONCE_SIZE])
{
    memcpy(transcript->sid, client, TRANSCRIPT_NONCE_SIZE);
    memcpy(transcript->sid + TRANSCRIPT_NONCE_SIZE, server, TRANSCRIPT_NONCE_SIZE);
}

void
transcript_server(struct transcript *transcript, const char *suite,
                  struct transcript_stretch stretch, struct ca_bytes salt)
{
    char kdf[48];
    snprintf(kdf, sizeof kdf, "scrypt:%d:%d:%d", stretch.ln, stretch.r, stretch.p);
    lv_clear(&transcript->server_data);
    lv_put_text(&transcript->server_data, suite);
    lv_put_text(&transcript->server_data, kdf);
    lv_put(&transcript->server_data, salt.data, salt.size);
}

void
transcript_client(struct transcript *transcript, const char *const *suites,
                  size_t count, const char *client)
{
    struct lv joined = { .size = 0 };
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            lv_append(&joined, ",", 1);
        lv_append(&joined, suites[i], strlen(suites[i]));
    }
    struct lv *whole = &transcript->client_data;
    lv_clear(whole);
    whole->failed = joined.failed;
    lv_put(whole, joined.data, joined.size);
    lv_put_text(whole, client);
}

void
transcript_shares(const struct transcript *transcript, struct ca_bytes server,
                  struct ca_bytes client, struct lv *ret_shares)
{
    lv_clear(ret_shares);
    put_pair(ret_shares, server, lv_bytes(&transcript->server_data));
    put_pair(ret_shares, client, lv_bytes(&transcript->client_data));
}

bool
transcript_is_whole(const struct transcript *transcript)
{
    return !transcript->identities.failed && !transcript->server_data.failed &&
           !transcript->client_data.failed;
}
