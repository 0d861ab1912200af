/* Serials being signed: a short list under one lock. */
#include "flight.h"
#include "auto.h"
#include <pthread.h>
#include <string.h>
#include <time.h>

struct flight {
    struct flight *next;
    char serial[48];
};

struct flights {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    struct flight *first;
};

struct flights *
flights_new(void)
{
    struct flights *flights = calloc(1, sizeof *flights);
    if (!flights)
        return NULL;
    pthread_mutex_init(&flights->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&flights->ended, &monotonic);
    pthread_condattr_destroy(&monotonic);
    return flights;
}

void
flights_free(struct flights *flights)
{
    if (!flights)
        return;
    while (flights->first) {
        struct flight *flight = flights->first;
        flights->first = flight->next;
        free(flight);
    }
    pthread_cond_destroy(&flights->ended);
    pthread_mutex_destroy(&flights->lock);
    free(flights);
}

/* The link that leads to the serial's flight, or to NULL. */
static struct flight **
flight_find(struct flights *flights, const char *serial)
{
    struct flight **at = &flights->first;
    while (*at && strcmp((*at)->serial, serial) != 0)
        at = &(*at)->next;
    return at;
}

bool
flight_begin(struct flights *flights, const char *serial)
{
    struct flight *flight = calloc(1, sizeof *flight);
    if (!flight || strlen(serial) >= sizeof flight->serial) {
        free(flight);
        return false;
    }
    snprintf(flight->serial, sizeof flight->serial, "%s", serial);
    pthread_mutex_lock(&flights->lock);
    bool is_free = *flight_find(flights, serial) == NULL;
    if (is_free) {
        flight->next = flights->first;
        flights->first = flight;
    }
    pthread_mutex_unlock(&flights->lock);
    if (!is_free)
        free(flight);
    return is_free;
}

void
flight_end(struct flights *flights, const char *serial)
{
    pthread_mutex_lock(&flights->lock);
    struct flight **at = flight_find(flights, serial);
    struct flight *flight = *at;
    if (flight)
        *at = flight->next;
    pthread_cond_broadcast(&flights->ended);
    pthread_mutex_unlock(&flights->lock);
    free(flight);
}

bool
flight_wait(struct flights *flights, const char *serial, int64_t milliseconds)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += milliseconds / 1000;
    until.tv_nsec += milliseconds % 1000 * 1000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&flights->lock);
    int waited = 0;
    while (waited == 0 && *flight_find(flights, serial))
        waited = pthread_cond_timedwait(&flights->ended, &flights->lock, &until);
    bool is_over = *flight_find(flights, serial) == NULL;
    pthread_mutex_unlock(&flights->lock);
    return is_over;
}
