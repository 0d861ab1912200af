/* What the double's own files share. */
#pragma once

#include "fake_core.h"
#include <stddef.h>
#include <stdlib.h>

struct fake_memory {
    struct fake_memory *next;
    max_align_t data[];
};

static inline struct fake_core *
core_of(struct ca_request *req)
{
    return (struct fake_core *)(void *)req;
}

#define MUST(holds)                                                                    \
    do {                                                                               \
        if (!(holds))                                                                  \
            abort();                                                                   \
    } while (0)
