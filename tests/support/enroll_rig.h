/* What the tests of enrolment share: a house, and what was counted in its store. */
#pragma once

#include "clock.h"
#include "house.h"
#include "issue.h"
#include <criterion/criterion.h>

#define DAY INT64_C(86400)

static struct house house;

static inline void
build(void)
{
    house_build(&house);
}

static inline void
leave(void)
{
    issue_pause = NULL;
    house_remove(&house);
    clock_set(-1);
}

/* Certificates of devices, whatever the ceremony recorded beside them. */
static inline int64_t
count_devices_certificates(const char *condition)
{
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT COUNT(*) FROM certificate WHERE protocol = 'scep' AND %s",
             condition);
    return house_integer(&house, sql);
}

static inline int64_t
count_issued(void)
{
    return count_devices_certificates("state = 1");
}

static inline void
secret(char text[CHALLENGE_TEXT_SIZE])
{
    house_challenge(&house, NULL, text);
}

static inline void
device_enroll(struct house_device *device)
{
    char text[CHALLENGE_TEXT_SIZE];
    secret(text);
    house_device_make(device, "alice", NULL);
    cr_assert_eq(house_enroll(&house, device, text, NULL), CA_OK, "%s",
                 status_message());
}
