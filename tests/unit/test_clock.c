/* Time and randomness, real and set. */
#include "clock.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

Test(clock, now_is_real_time_until_set)
{
    time_t real = time(NULL);
    cr_assert(clock_now() >= real && clock_now() <= real + 5);
    clock_set(1000);
    cr_assert_eq(clock_now(), 1000);
    clock_set(0);
    cr_assert_eq(clock_now(), 0);
    clock_set(-1);
    cr_assert(clock_now() >= real);
}

Test(clock, ticks_rise_in_milliseconds)
{
    int64_t before = clock_ticks();
    nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
    int64_t passed = clock_ticks() - before;
    cr_assert(passed >= 19 && passed < 5000, "%lld", (long long)passed);
}

static enum ca_status
sevens(void *octets, size_t size)
{
    memset(octets, 7, size);
    return CA_OK;
}

static enum ca_status
half_then_fail(void *octets, size_t size)
{
    memset(octets, 7, size / 2);
    return ca_fail(CA_INTERNAL, "no entropy");
}

Test(clock, random_octets_differ)
{
    unsigned char a[32] = { 0 }, b[32] = { 0 };
    cr_assert_eq(random_bytes(a, sizeof a), CA_OK);
    cr_assert_eq(random_bytes(b, sizeof b), CA_OK);
    cr_assert(memcmp(a, b, sizeof a) != 0);
    LEAK_CHECK();
}

Test(clock, S1_failed_generator_writes_nothing)
{
    unsigned char octets[16], untouched[16];
    memset(octets, 0xaa, sizeof octets);
    memset(untouched, 0xaa, sizeof untouched);
    random_set(half_then_fail);
    cr_assert_eq(random_bytes(octets, sizeof octets), CA_INTERNAL);
    cr_assert_arr_eq(octets, untouched, sizeof octets);
    char uuid[37] = "as it was";
    cr_assert_eq(random_uuid(uuid), CA_INTERNAL);
    cr_assert_str_eq(uuid, "as it was");
    cr_assert_str_eq(status_message(), "no entropy");
    random_set(NULL);
    cr_assert_eq(random_bytes(octets, sizeof octets), CA_OK);
    LEAK_CHECK();
}

Test(clock, uuid_is_of_version_4)
{
    char uuid[37], other[37];
    random_set(sevens);
    cr_assert_eq(random_uuid(uuid), CA_OK);
    cr_assert_str_eq(uuid, "07070707-0707-4707-8707-070707070707");
    random_set(NULL);
    cr_assert_eq(random_uuid(uuid), CA_OK);
    cr_assert_eq(random_uuid(other), CA_OK);
    cr_assert_str_neq(uuid, other);
    cr_assert(uuid[14] == '4' && strchr("89ab", uuid[19]));
}
