/* Length-value strings, and what both sides must have seen alike: ECSPEKE-ACT-1
 * sections 3 and 5 (docs/protocols/activation.md). */
#pragma once

#include "plugin.h"

#define LV_LABEL "ECSPEKE-ACT-1"
/* The longest string: names of 254 and 32 octets, a server, eight suites and a client
 * name, or two shares of 133 octets with what belongs to them. */
#define LV_ROOM 1536

/* A string under construction; one that does not fit makes it `failed` for good. */
struct lv {
    uint8_t data[LV_ROOM];
    size_t size;
    bool failed;
};

/* Appends octets as they are; lv(octets): their number in LEB128, then they; the same
 * for a text. */
void lv_append(struct lv *lv, const void *octets, size_t size);
void lv_put(struct lv *lv, const void *octets, size_t size);
void lv_put_text(struct lv *lv, const char *text);
/* A text of two halves as one value: LABEL || " th". */
void lv_put_label(struct lv *lv, const char *suffix);
struct ca_bytes lv_bytes(const struct lv *lv);
/* Wipes what it holds. */
void lv_clear(struct lv *lv);
static inline void __attribute__((unused)) lv_clear_auto(struct lv *lv)
{
    lv_clear(lv);
}

#define TRANSCRIPT_NONCE_SIZE 16
#define TRANSCRIPT_SID_SIZE (2 * TRANSCRIPT_NONCE_SIZE)

/* scrypt as the server announces it. */
struct transcript_stretch {
    int ln, r, p;
};

/* CI, sid, ADs and ADc of one exchange. All public. */
struct transcript {
    struct lv identities;
    uint8_t sid[TRANSCRIPT_SID_SIZE];
    struct lv server_data;
    struct lv client_data;
};

/* CI: names in canonical form (section 4). */
void transcript_identities(struct transcript *transcript, const char *server,
                           const char *user, const char *ref);
/* sid = cn || sn. */
void transcript_nonces(struct transcript *transcript,
                       const uint8_t client[TRANSCRIPT_NONCE_SIZE],
                       const uint8_t server[TRANSCRIPT_NONCE_SIZE]);
/* ADs of the suite chosen, the scrypt parameters and the salt. */
void transcript_server(struct transcript *transcript, const char *suite,
                       struct transcript_stretch stretch, struct ca_bytes salt);
/* ADc of the suites offered, in their order, and the client's name. */
void transcript_client(struct transcript *transcript, const char *const *suites,
                       size_t count, const char *client);
/* TR = lv(Ys, ADs) || lv(Yc, ADc). */
void transcript_shares(const struct transcript *transcript, struct ca_bytes server,
                       struct ca_bytes client, struct lv *ret_shares);
/* Did everything fit? */
bool transcript_is_whole(const struct transcript *transcript);
