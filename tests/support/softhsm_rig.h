/* The token of a suite: .init = hsm_make, .fini = hsm_remove. */
#pragma once

#include "softhsm.h"

static struct softhsm hsm;

static inline void
hsm_make(void)
{
    softhsm_make(&hsm, "ca");
}

static inline void
hsm_remove(void)
{
    softhsm_remove(&hsm);
}
