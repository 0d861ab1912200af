/* What a device says of itself when it enrols, kept with its record: claims, by which
 * at most another device of the same user is found again. */
#pragma once

#include "device.h"

#define DEVICE_ALIAS_MAX 128 /* octets */

struct device_facts {
    char *kind, *alias; /* alias NULL: it has none */
    json_t *hardware;   /* object of clean texts */
    json_t *report;     /* object */
};

/* CA_MALFORMED: a name with control characters, hardware that is no text. CA_LIMIT. */
enum ca_status device_facts_check(const struct device_facts *facts);
void device_facts_clear(struct device_facts *facts);

/* The user's own device of this kind that went by this alias last, unless it is
 * unenrolled; free() its id. CA_NOT_FOUND. */
enum ca_status device_of_alias(struct store_tx *tx, const char *owner, const char *kind,
                               const char *alias, char **ret_device);

/* Merges the facts into the device's record (members of the same name are replaced) and
 * lets it go by their alias. CA_LIMIT: more members than a record has. */
enum ca_status device_note(struct store_tx *tx, const char *device,
                           const struct device_facts *facts);
/* The alias alone, of a device that was just made with these facts. */
enum ca_status device_note_alias(struct store_tx *tx, const struct device *device,
                                 const struct device_facts *facts);
