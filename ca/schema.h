/* The schema's text and its upgrades, numbered from 1, each applied once in order. */
#pragma once

#include <stddef.h>

struct schema_step {
    int version;
    const char *const *statements; /* NULL-terminated */
};

extern const struct schema_step schema_steps[];
extern const size_t schema_step_count;
