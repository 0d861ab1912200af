/* What the tests of the ceremony share: a house, and the ceremony in its token. */
#pragma once

#include "ceremony.h"
#include "clock.h"
#include "house.h"
#include <criterion/criterion.h>

#define YEAR INT64_C(31536000)
#define DAY INT64_C(86400)

static struct house house;
static struct ceremony ceremony;

static void
set_up(void)
{
    house_build(&house);
    ceremony = (struct ceremony){ .store = house.service->store,
                                  .tokens = house.service->tokens,
                                  .token = "hsm",
                                  .plain_url = "http://ca.example.com",
                                  .run = house.service->run };
}

static void
tear_down(void)
{
    house_remove(&house);
    clock_set(-1);
}
