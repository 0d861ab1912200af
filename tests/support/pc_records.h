/* Two PCs that enrolled, for the tests of what is kept about them. */
#pragma once

#include "clock.h"
#include "device.h"
#include "scratch_records.h"

#define NOW 1795341600
#define DEVICE "0b9b6c1e-8d4f-4e0c-9a53-6f1f0a4f2c11"
#define OTHER "1b9b6c1e-8d4f-4e0c-9a53-6f1f0a4f2c11"

static inline void
device_make(struct store_tx *tx, const char *id)
{
    struct device device = { .id = strdup(id), .kind = strdup("windows") };
    CR_OK(device_insert(tx, &device));
    device_clear(&device);
}

static inline void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    device_make(tx, DEVICE);
    device_make(tx, OTHER);
    CR_OK(scratch_end(CA_OK));
}
