/* How a device under management names and proves itself to its protocol (OMA-DM):
 * the id it gives, and a secret of its own beside its certificate. */
#pragma once

#include "record.h"

#define MANAGEMENT_PEER_ID_MAX 255
#define MANAGEMENT_SECRET_SIZE 33         /* 32 characters and NUL */
#define MANAGEMENT_NODES_MAX (512 * 1024) /* octets of JSON */
#define MANAGEMENT_NONCE_OCTETS 16
#define MANAGEMENT_NONCE_SIZE 25 /* of them in base64, and NUL */
#define MANAGEMENT_MD5_SIZE 16

struct management {
    char *device;                            /* uuid */
    char *peer_id;                           /* upper case, as are all comparisons */
    char *name;                              /* of the secret, or NULL without one */
    uint8_t secret_md5[MANAGEMENT_MD5_SIZE]; /* MD5(name ":" secret): the secret is
                                                random, so this tells nothing of it */
    char *nonce, *spare; /* base64: the current one, and the one before, good once */
    struct record_stamp stamp;
};

/* By what the device calls itself, in any case. CA_NOT_FOUND. */
enum ca_status management_of_peer(struct store_tx *tx, const char *peer_id,
                                  struct management *ret_management);
enum ca_status management_load(struct store_tx *tx, const char *device,
                               struct management *ret_management);
/* This device is the one of this id from now on. CA_CONFLICT when the id is that of
 * another device that is not disabled, unenrolled or gone (nothing is taken over). */
enum ca_status management_bind(struct store_tx *tx, const char *device,
                               const char *peer_id);
/* A bound device's secret, named by its uuid, and nonce, as the caller drew them: 32
 * characters, 16 octets in base64. The digest alone is kept. CA_NOT_FOUND,
 * CA_MALFORMED.
 */
enum ca_status management_give(struct store_tx *tx, const char *device,
                               const char *secret, const char *nonce);
/* The nodes of ca_manage_policy_kept, an array of texts; json_decref what is found.
 * CA_LIMIT, CA_NOT_FOUND. */
enum ca_status management_keep_nodes(struct store_tx *tx, const char *device,
                                     const json_t *nodes);
enum ca_status management_kept_nodes(struct store_tx *tx, const char *device,
                                     json_t **ret_nodes);

/* Does the secret hold (HTTP-like "Basic")? */
bool management_has_secret(const struct management *management, const char *name,
                           const char *secret);
/* Does syncml:auth-md5 hold (OMA-TS-DM_Security-V1_2 section 5.3): digest =
 * B64(MD5(B64(MD5(name:secret)) ":" nonce)) with the current nonce or the spare one?
 * `ret_spare`: it was the spare one. */
bool management_has_digest(const struct management *management, const char *digest,
                           bool *ret_spare);
/* A fresh nonce after one was used. The used one stays good once, unless it was the
 * spare one; CA_CONFLICT when another message has used it meanwhile. */
enum ca_status management_use_nonce(struct store_tx *tx,
                                    const struct management *management, bool spare,
                                    char ret_nonce[MANAGEMENT_NONCE_SIZE]);
void management_clear(struct management *management);
