/* Management sessions of a device, as they lie in the state between two messages. */
#pragma once

#include "record.h"

#define DEVICE_SESSION_MAX 16 /* of one device; the oldest give way */

enum device_session_state { DEVICE_SESSION_RUNNING, DEVICE_SESSION_OVER };

struct device_session {
    char *id;  /* as the device calls it */
    int state; /* enum device_session_state */
    int64_t started, updated;
    int64_t messages; /* of the device */
    int64_t waiting;  /* commands without an answer yet */
};

extern const struct field device_session_fields[];

/* Those of the last minutes, in order of id. CA_INTERNAL. */
enum ca_status device_session_list(struct store_tx *tx, const char *device,
                                   const struct record_page *page, record_visit visit,
                                   void *arg);
/* Makes room for one more: every new one keeps its answers and half-sent objects for
 * minutes, and a device may call it what it likes. */
enum ca_status device_session_trim(struct store_tx *tx, const char *device);
