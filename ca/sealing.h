/* The keys that seal secrets at rest, as the store keeps them: references and wrapped
 * data keys, never a key in the clear; and the server keys of activation, sealed
 * (ECSPEKE-ACT-1 section 11). */
#pragma once

#include "record.h"

#define SEALING_KID_MAX 32

/* The key is in the token, or is a data key that keys of the token wrap. */
enum sealing_method {
    SEALING_TOKEN,
    SEALING_GCM,
    SEALING_KW,
    SEALING_CBC,
    SEALING_OAEP_SHA256,
    SEALING_OAEP_SHA1,
    SEALING_METHOD_COUNT
};
extern const char *const sealing_method_words[];

struct sealing_key {
    char *kid;
    int method;    /* enum sealing_method */
    char *key;     /* pkcs11 URI: what seals, or wraps the data key */
    char *tag_key; /* pkcs11 URI of the HMAC key, or NULL */
    bool current;  /* what is sealed from now on, is sealed under it */
    int64_t created;
    void *blob; /* the wrapped data key; none in the token's own mode */
    size_t blob_size;
};

/* The new current key. CA_CONFLICT: the kid exists. */
enum ca_status sealing_insert(struct store_tx *tx, const struct sealing_key *key);
/* Visits struct sealing_key, the current one first. */
enum ca_status sealing_list(struct store_tx *tx, record_visit visit, void *arg);
/* Removes keys that are not current and seal nothing any more. */
enum ca_status sealing_purge(struct store_tx *tx, int64_t *ret_count);
void sealing_clear(struct sealing_key *key);
bool sealing_copy(const struct sealing_key *key, struct sealing_key *ret_key);

#define SERVER_KEY_BLOB_SIZE 61

struct server_key {
    char *name; /* "salt", "decoy", "state" */
    char *kid;
    uint8_t blob[SERVER_KEY_BLOB_SIZE];
};
/* CA_CONFLICT: it exists, and nobody replaces it. */
enum ca_status server_key_insert(struct store_tx *tx, const struct server_key *key);
/* The same key sealed anew, under another kid. */
enum ca_status server_key_reseal(struct store_tx *tx, const struct server_key *key);
enum ca_status server_key_load(struct store_tx *tx, const char *name,
                               struct server_key *ret_key);
void server_key_clear(struct server_key *key);
