/* What a device says of itself when it enrols, kept with its record: claims. */
#pragma once

#include "device.h"

#define DEVICE_ALIAS_MAX 128 /* octets */

struct device_facts {
    char *kind, *alias;   /* alias NULL: it has none, and is not managed */
    char *secret, *nonce; /* of its management account (management.h), or NULL */
    json_t *hardware;     /* object of clean texts */
    json_t *report;       /* object */
};

/* CA_MALFORMED: a name with control characters, hardware that is no text. CA_LIMIT. */
enum ca_status device_facts_check(const struct device_facts *facts);
void device_facts_clear(struct device_facts *facts);

/* Merges the facts into the device's record: members of the same name are replaced.
 * CA_LIMIT: more members than a record has. */
enum ca_status device_note(struct store_tx *tx, const char *device,
                           const struct device_facts *facts);
