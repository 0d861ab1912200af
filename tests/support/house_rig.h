/* The house of a suite: .init = house_begin, .fini = house_end. */
#pragma once

#include "clock.h"
#include "house.h"

static struct house house;

static inline void
house_begin(void)
{
    house_build(&house);
}

static inline void
house_end(void)
{
    house_remove(&house);
    clock_set(-1);
}
