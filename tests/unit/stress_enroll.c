/* Many enrolments at once through the whole core: as many certificates as secrets, no
 * serial twice. A plain program, for ThreadSanitizer; prints rate and CPU time. */
#include "house.h"
#include "text.h"
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#define THREADS_DEFAULT 32
#define ROUNDS_DEFAULT 4
#define THREADS_MAX 256

static struct house house;
static int rounds = ROUNDS_DEFAULT;
static atomic_int issued, failed;

struct worker {
    pthread_t thread;
    struct house_device *devices;
    char (*secrets)[CHALLENGE_TEXT_SIZE];
};

static void *
work(void *arg)
{
    struct worker *worker = arg;
    for (int i = 0; i < rounds; i++) {
        enum ca_status status =
            house_enroll(&house, &worker->devices[i], worker->secrets[i], "t");
        if (status == CA_OK) {
            atomic_fetch_add(&issued, 1);
            continue;
        }
        atomic_fetch_add(&failed, 1);
        fprintf(stderr, "%s: %s\n", ca_status_name(status), status_message());
    }
    return NULL;
}

static void
worker_make(struct worker *worker)
{
    worker->devices = calloc((size_t)rounds, sizeof *worker->devices);
    worker->secrets = calloc((size_t)rounds, sizeof *worker->secrets);
    for (int i = 0; i < rounds; i++) {
        house_device_make_with(&worker->devices[i], EVP_EC_gen("P-256"), "alice", NULL);
        house_challenge(&house, NULL, worker->secrets[i]);
    }
}

static void
worker_clear(struct worker *worker)
{
    for (int i = 0; i < rounds; i++)
        house_device_clear(&worker->devices[i]);
    free(worker->devices);
    free(worker->secrets);
}

static double
seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The store says what the threads cannot have made up. */
static int
judge(int wanted)
{
    static const char serials[] =
        "SELECT COUNT(DISTINCT serial) FROM certificate WHERE protocol = 'scep'";
    int64_t recorded = house_integer(&house, serials);
    int64_t complete = house_integer(&house, "SELECT COUNT(*) FROM certificate WHERE "
                                             "protocol = 'scep' AND state = 1");
    int64_t used =
        house_integer(&house, "SELECT COUNT(*) FROM challenge WHERE state = 2");
    bool is_good = atomic_load(&failed) == 0 && atomic_load(&issued) == wanted &&
                   recorded == wanted && complete == wanted && used == wanted;
    if (!is_good)
        fprintf(stderr,
                "wanted %d, answered %d, failed %d, serials %" PRId64
                ", complete %" PRId64 ", secrets used %" PRId64 "\n",
                wanted, atomic_load(&issued), atomic_load(&failed), recorded, complete,
                used);
    return is_good ? 0 : 1;
}

int
main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : THREADS_DEFAULT;
    rounds = argc > 2 ? atoi(argv[2]) : ROUNDS_DEFAULT;
    if (threads < 1 || threads > THREADS_MAX || rounds < 1)
        return 2;
    static struct worker workers[THREADS_MAX];
    house_build(&house);
    for (int i = 0; i < threads; i++)
        worker_make(&workers[i]);
    double began = seconds_of(CLOCK_MONOTONIC);
    double cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < threads; i++)
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            return 2;
    for (int i = 0; i < threads; i++)
        pthread_join(workers[i].thread, NULL);
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    double took = seconds_of(CLOCK_MONOTONIC) - began;
    int wanted = threads * rounds;
    int outcome = judge(wanted);
    printf("%d enrolments, %.0f a second, %.3f ms of CPU each\n", wanted, wanted / took,
           cpu * 1000 / wanted);
    for (int i = 0; i < threads; i++)
        worker_clear(&workers[i]);
    house_remove(&house);
    return outcome;
}
