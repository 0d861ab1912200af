/* What a fuzz target is: it takes any octets and counts those that got past its first
 * checks, so that a target that refuses everything early is found out. */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* Inputs that were not turned away at the door; each target defines and counts it. */
extern size_t fuzz_deep;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts, sanitised or not: an invariant of the decoder does not hold. */
#define FUZZ_ASSERT(holds)                                                             \
    do {                                                                               \
        if (!(holds))                                                                  \
            __builtin_trap();                                                          \
    } while (0)
