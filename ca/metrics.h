/* Counters of this process in the Prometheus text format. */
#pragma once

#include "text.h"

struct metrics;
struct metrics *metrics_new(void);
void metrics_free(struct metrics *metrics);
/* One answered request: plugin's name, status, seconds taken. */
void metrics_request(struct metrics *metrics, const char *plugin, enum ca_status status,
                     double seconds);
/* A counter by name and one label value; names are compile-time strings. */
void metrics_count(struct metrics *metrics, const char *name, const char *label);
/* Appends all of it. */
void metrics_format(struct metrics *metrics, struct text_buffer *buffer);
