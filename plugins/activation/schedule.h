/* From the shared secret to the keys and confirmation tags of both directions
 * (section 5.2). */
#pragma once

#include "speke.h"
#include "transcript.h"

#define SCHEDULE_KEY_SIZE 32
#define SCHEDULE_TAG_SIZE 32

enum schedule_direction {
    SCHEDULE_C2S, /* client to server */
    SCHEDULE_S2C,
    SCHEDULE_DIRECTION_COUNT
};

/* One direction's keys, each for one message, and the sender's confirmation tag. */
struct schedule_side {
    uint8_t confirm[SCHEDULE_KEY_SIZE];
    uint8_t encrypt[SCHEDULE_KEY_SIZE];
    uint8_t mac[SCHEDULE_KEY_SIZE];
    uint8_t tag[SCHEDULE_TAG_SIZE]; /* tc or ts */
};
struct schedule {
    struct schedule_side side[SCHEDULE_DIRECTION_COUNT];
    uint8_t hash[SPEKE_HASH_MAX]; /* th, which every tag is over */
    size_t hash_size;
};

/* ISK = H(lv(DSI || "_ISK", sid, K) || TR): CPace's own key, before this protocol's. */
enum ca_status schedule_isk(const struct speke_suite *suite, struct ca_bytes sid,
                            struct ca_bytes secret, struct ca_bytes shares,
                            uint8_t ret_isk[SPEKE_HASH_MAX]);

/* All keys and tags for K in `suite->field->size` octets; schedule_clear wipes them. */
enum ca_status schedule_derive(const struct speke_suite *suite,
                               const struct transcript *transcript,
                               struct ca_bytes server_share,
                               struct ca_bytes client_share, const uint8_t *secret,
                               struct schedule *ret_schedule);
void schedule_clear(struct schedule *schedule);
static inline void __attribute__((unused))
schedule_clear_auto(struct schedule *schedule)
{
    schedule_clear(schedule);
}

/* Is this the tag of the peer that sends in `direction`? In constant time; another
 * length is a mismatch. */
bool schedule_tag_holds(const struct schedule *schedule,
                        enum schedule_direction direction, struct ca_bytes tag);

/* "c2s" or "s2c". */
const char *schedule_direction_name(enum schedule_direction direction);

/* HMAC of `count` parts; false when OpenSSL fails. */
bool schedule_hmac(const char *digest, struct ca_bytes key,
                   const struct ca_bytes *parts, size_t count, uint8_t *ret_mac,
                   size_t size);
