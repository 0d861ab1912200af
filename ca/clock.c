/* The one source of time and randomness. */
#include "clock.h"
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

typedef enum ca_status (*random_source)(void *octets, size_t size);

static _Atomic int64_t set_seconds = -1;
static _Atomic random_source set_source;

int64_t
clock_now(void)
{
    int64_t seconds = atomic_load(&set_seconds);
    return seconds >= 0 ? seconds : (int64_t)time(NULL);
}

int64_t
clock_ticks(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void
clock_set(int64_t seconds)
{
    atomic_store(&set_seconds, seconds);
}

static enum ca_status
csprng(void *octets, size_t size)
{
    if (size > INT_MAX || RAND_bytes(octets, (int)size) != 1)
        return ca_fail_openssl(CA_INTERNAL, "no random octets");
    return CA_OK;
}

enum ca_status
random_bytes(void *ret_octets, size_t size)
{
    if (size == 0)
        return CA_OK;
    /* A generator that fails half way must not leave half a value behind. */
    unsigned char small[64];
    void *drawn = size <= sizeof small ? small : OPENSSL_malloc(size);
    if (!drawn)
        return ca_fail(CA_INTERNAL, "no memory for %zu random octets", size);
    random_source source = atomic_load(&set_source);
    enum ca_status status = source ? source(drawn, size) : csprng(drawn, size);
    if (status == CA_OK)
        memcpy(ret_octets, drawn, size);
    if (drawn == small)
        OPENSSL_cleanse(small, size);
    else
        OPENSSL_clear_free(drawn, size);
    return status == CA_OK ? CA_OK : CA_INTERNAL;
}

enum ca_status
random_uuid(char ret_uuid[37])
{
    unsigned char o[16];
    enum ca_status status = random_bytes(o, sizeof o);
    if (status != CA_OK)
        return status;
    o[6] = (unsigned char)(0x40 | (o[6] & 0x0f)); /* RFC 9562 section 5.4: version 4, */
    o[8] = (unsigned char)(0x80 | (o[8] & 0x3f)); /* variant 10 */
    snprintf(ret_uuid, 37,
             "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x",
             o[0], o[1], o[2], o[3], o[4], o[5], o[6], o[7], o[8], o[9], o[10], o[11],
             o[12], o[13], o[14], o[15]);
    return CA_OK;
}

void random_set(enum ca_status (*source)(void *octets, size_t size))
{
    atomic_store(&set_source, source);
}
