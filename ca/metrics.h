/* Counters of this process in the Prometheus text format. */
#pragma once

#include "text.h"

#define METRICS_PLUGINS_MAX 32   /* others are counted as "other" */
#define METRICS_COUNTERS_MAX 256 /* pairs of name and label; others as dropped */
#define METRICS_LABEL_MAX 64     /* octets, cut */

/* Threads may share it. Every call takes NULL for "not measured". */
struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);
/* One answered request: plugin's name (NULL: none took it), status, seconds taken. */
void metrics_request(struct metrics *metrics, const char *plugin, enum ca_status status,
                     double seconds);
/* One more of a counter, `sealwright_<name>_total{kind="<label>"}`, or without label
 * when that is NULL; names are compile-time strings of [a-z0-9_]. */
void metrics_count(struct metrics *metrics, const char *name, const char *label);
/* Appends all of it. */
void metrics_format(struct metrics *metrics, struct text_buffer *buffer);
