/* Serials in flight: one thread signs, the others wait, but not for ever. */
#include "clock.h"
#include "flight.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

Test(flight, serial_is_begun_once_until_it_ends)
{
    struct flights *flights = flights_new();
    cr_assert_not_null(flights);
    cr_expect(flight_begin(flights, "aa"));
    cr_expect(!flight_begin(flights, "aa"));
    cr_expect(flight_begin(flights, "ab"));
    flight_end(flights, "aa");
    cr_expect(flight_begin(flights, "aa"));
    flight_end(flights, "unknown");
    cr_expect(!flight_begin(flights, "ab"));
    char longer[64];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cr_expect(!flight_begin(flights, longer), "no serial is so long");
    flights_free(flights);
    LEAK_CHECK();
}

Test(flight, waiting_ends_with_the_flight_or_with_the_time)
{
    struct flights *flights = flights_new();
    cr_expect(flight_wait(flights, "aa", 10), "nobody signs it");
    cr_assert(flight_begin(flights, "aa"));
    int64_t began = clock_ticks();
    cr_expect(!flight_wait(flights, "aa", 100));
    cr_expect_geq(clock_ticks() - began, 90);
    flights_free(flights);
    LEAK_CHECK();
}

static struct flights *shared;
static atomic_int inside, most, rounds;

static void *
fly(void *arg)
{
    (void)arg;
    for (int i = 0; i < 200; i++) {
        while (!flight_begin(shared, "aa"))
            flight_wait(shared, "aa", 1000);
        int now = atomic_fetch_add(&inside, 1) + 1;
        if (now > atomic_load(&most))
            atomic_store(&most, now);
        atomic_fetch_add(&rounds, 1);
        atomic_fetch_sub(&inside, 1);
        flight_end(shared, "aa");
    }
    return NULL;
}

Test(flight, of_many_threads_one_is_inside, .timeout = 60)
{
    pthread_t threads[4];
    shared = flights_new();
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, fly, NULL), 0);
    for (size_t i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    cr_expect_eq(atomic_load(&most), 1);
    cr_expect_eq(atomic_load(&rounds), 800);
    flights_free(shared);
    LEAK_CHECK();
}
