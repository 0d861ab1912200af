/* Devices and which keys they hold. */
#pragma once

#include "record.h"

#define DEVICE_MEMBERS_MAX 64 /* of hardware, and of report */

enum device_state { DEVICE_PENDING, DEVICE_ACTIVE, DEVICE_DISABLED, DEVICE_UNENROLLED };

struct device {
    char *id; /* uuid */
    char *owner, *kind, *instance;
    json_t *hardware, *report; /* objects */
    int state;
    int64_t last_seen;
    struct record_stamp stamp;
};

extern const struct field device_fields[];

enum ca_status device_load(struct store_tx *tx, const char *id,
                           struct device *ret_device);
/* Draws the id if NULL. CA_CONFLICT: it exists, or its owner does not. */
enum ca_status device_insert(struct store_tx *tx, struct device *device);
/* Over stamp.version; CA_CONFLICT also when its owner does not exist. */
enum ca_status device_update(struct store_tx *tx, struct device *device);
/* Takes its hold on keys with it (blocked keys stay blocked). */
enum ca_status device_delete(struct store_tx *tx, const char *id, int64_t version);

struct device_filter {
    const char *owner, *kind, *state;
    bool is_enrolled; /* all but those that are unenrolled */
};
enum ca_status device_list(struct store_tx *tx, const struct device_filter *filter,
                           const struct record_page *page, record_visit visit,
                           void *arg);

/* Enrolment: sets last_seen and PENDING -> ACTIVE. CA_FORBIDDEN when it is disabled or
 * unenrolled. */
enum ca_status device_touch(struct store_tx *tx, const char *id, bool activate);

/* Sets one member of the report ("dev_info") to an object; the others stay. What is
 * there already is not written again. Not an edit: the version stays. CA_NOT_FOUND;
 * CA_CONFLICT when another instance reports at the same moment; CA_LIMIT. */
#define DEVICE_REPORT_MAX 65536 /* octets of JSON */
enum ca_status device_report(struct store_tx *tx, const char *id, const char *member,
                             const json_t *value);

/* SECURITY R4: this device now holds the key. CA_FORBIDDEN when another device holds
 * it (unless `shared`), or it is blocked (compromised, or a CA's). */
enum ca_status device_claim_key(struct store_tx *tx, const char *device,
                                const uint8_t spki_sha256[32], bool shared);
/* The same for a key that no device has held before, not even this one. */
enum ca_status device_claim_new_key(struct store_tx *tx, const char *device,
                                    const uint8_t spki_sha256[32]);
/* Blocks a key for good with a reason word ("key_compromise", "ca_key", "weak"). */
enum ca_status device_block_key(struct store_tx *tx, const uint8_t spki_sha256[32],
                                const char *reason);
/* The device that holds the key; CA_NOT_FOUND. free() it. */
enum ca_status device_of_key(struct store_tx *tx, const uint8_t spki_sha256[32],
                             char **ret_device);
void device_clear(struct device *device);
