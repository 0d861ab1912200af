/* A load's threads from begin to end, and the figures that every result has. */
#include "load.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SETTLE_US 30000 /* the server ends what follows its last answer */

bool
load_run_is_set(const struct load_run *run)
{
    return run->pid > 0 && run->concurrency > 0 &&
           run->concurrency <= LOAD_CONCURRENCY_MAX;
}

void
load_run(struct load_run *run, void *(*worker)(void *), void *arg)
{
    pthread_t threads[LOAD_CONCURRENCY_MAX];
    load_usage_read(run->pid, &run->before);
    run->start = load_seconds();
    for (long i = 0; i < run->concurrency; i++)
        load_must(pthread_create(&threads[i], NULL, worker, arg) == 0, "no thread");
    for (long i = 0; i < run->concurrency; i++)
        pthread_join(threads[i], NULL);
    run->seconds = load_seconds() - run->start;
    usleep(SETTLE_US);
    load_usage_read(run->pid, &run->after);
}

static int
latency_compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

void
load_run_print(const struct load_run *run, size_t count, double *latencies)
{
    double cpu = run->after.cpu - run->before.cpu;
    printf("\"count\": %zu, \"concurrency\": %ld, \"seconds\": %.2f, "
           "\"per_second\": %.1f, \"cpu_us\": %.1f, \"rss_kib\": %ld, "
           "\"rss_peak_kib\": %ld",
           count, run->concurrency, run->seconds, (double)count / run->seconds,
           cpu * 1e6 / (double)count, run->after.rss, run->after.rss_peak);
    if (!latencies)
        return;
    qsort(latencies, count, sizeof *latencies, latency_compare);
    printf(", \"p50_ms\": %.2f, \"p99_ms\": %.2f", latencies[count / 2] * 1e3,
           latencies[count * 99 / 100] * 1e3);
}
