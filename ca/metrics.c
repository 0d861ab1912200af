/* Counters under one mutex: requests by plugin and status with their duration as a
 * histogram, and named counters; all of bounded number. */
#include "metrics.h"
#include "auto.h"
#include <pthread.h>
#include <string.h>

static const double bounds[] = { 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
                                 0.25,  0.5,    1,     2.5,  5,     10 };
#define BOUNDS (sizeof bounds / sizeof bounds[0])

struct requests {
    char plugin[METRICS_LABEL_MAX + 1];
    uint64_t by_status[CA_STATUS_COUNT];
    uint64_t buckets[BOUNDS + 1]; /* not cumulative; the last is +Inf */
    double seconds;
};

struct counter {
    const char *name;
    char label[METRICS_LABEL_MAX + 1];
    bool has_label;
    uint64_t value;
};

struct metrics {
    pthread_mutex_t lock;
    struct requests requests[METRICS_PLUGINS_MAX + 1]; /* the last is "other" */
    size_t request_count;
    struct counter counters[METRICS_COUNTERS_MAX];
    size_t counter_count;
    uint64_t dropped;
};

struct metrics *
metrics_new(void)
{
    struct metrics *metrics = calloc(1, sizeof *metrics);
    if (metrics && pthread_mutex_init(&metrics->lock, NULL) != 0) {
        free(metrics);
        return NULL;
    }
    return metrics;
}

void
metrics_free(struct metrics *metrics)
{
    if (!metrics)
        return;
    pthread_mutex_destroy(&metrics->lock);
    free(metrics);
}

/* Copies a label, cut between characters. */
static void
copy_label(const char *label, char ret_label[METRICS_LABEL_MAX + 1])
{
    size_t size = strnlen(label, METRICS_LABEL_MAX + 1);
    if (size > METRICS_LABEL_MAX) {
        size = METRICS_LABEL_MAX;
        while (size > 0 && ((unsigned char)label[size] & 0xc0) == 0x80)
            size--;
    }
    memcpy(ret_label, label, size);
    ret_label[size] = '\0';
}

static struct requests *
requests_find(struct metrics *metrics, const char *plugin)
{
    char label[METRICS_LABEL_MAX + 1];
    copy_label(plugin ? plugin : "none", label);
    for (size_t i = 0; i < metrics->request_count; i++)
        if (strcmp(metrics->requests[i].plugin, label) == 0)
            return &metrics->requests[i];
    struct requests *requests = &metrics->requests[metrics->request_count];
    if (metrics->request_count < METRICS_PLUGINS_MAX)
        metrics->request_count++;
    else
        strcpy(label, "other");
    memcpy(requests->plugin, label, sizeof label);
    return requests;
}

void
metrics_request(struct metrics *metrics, const char *plugin, enum ca_status status,
                double seconds)
{
    size_t bucket = 0;
    if (!metrics || (unsigned)status >= CA_STATUS_COUNT)
        return;
    if (!(seconds > 0)) /* a clock set back, or not a number */
        seconds = 0;
    while (bucket < BOUNDS && seconds > bounds[bucket])
        bucket++;
    pthread_mutex_lock(&metrics->lock);
    struct requests *requests = requests_find(metrics, plugin);
    requests->by_status[status]++;
    requests->buckets[bucket]++;
    requests->seconds += seconds;
    pthread_mutex_unlock(&metrics->lock);
}

static struct counter *
counter_find(struct metrics *metrics, const char *name, const char *label)
{
    char copy[METRICS_LABEL_MAX + 1] = "";
    if (label)
        copy_label(label, copy);
    for (size_t i = 0; i < metrics->counter_count; i++) {
        struct counter *counter = &metrics->counters[i];
        if (strcmp(counter->name, name) == 0 && counter->has_label == (label != NULL) &&
            strcmp(counter->label, copy) == 0)
            return counter;
    }
    if (metrics->counter_count == METRICS_COUNTERS_MAX)
        return NULL;
    struct counter *counter = &metrics->counters[metrics->counter_count++];
    *counter = (struct counter){ .name = name, .has_label = label != NULL };
    memcpy(counter->label, copy, sizeof copy);
    return counter;
}

void
metrics_count(struct metrics *metrics, const char *name, const char *label)
{
    if (!metrics)
        return;
    pthread_mutex_lock(&metrics->lock);
    struct counter *counter = counter_find(metrics, name, label);
    if (counter)
        counter->value++;
    else
        metrics->dropped++;
    pthread_mutex_unlock(&metrics->lock);
}

/* `{key="value"` with the three escapes of the text format; the caller closes it. */
static void
print_label(struct text_buffer *buffer, const char *key, const char *value)
{
    text_print(buffer, "{%s=\"", key);
    for (; *value; value++)
        if (*value == '\n')
            text_append(buffer, "\\n", 2);
        else if (*value == '\\' || *value == '"')
            text_print(buffer, "\\%c", *value);
        else
            text_append(buffer, value, 1);
    text_append(buffer, "\"", 1);
}

static void
print_head(struct text_buffer *buffer, const char *name, const char *type,
           const char *help)
{
    text_print(buffer, "# HELP sealwright_%s %s\n# TYPE sealwright_%s %s\n", name, help,
               name, type);
}

static void
print_requests(struct text_buffer *buffer, const struct requests *requests)
{
    for (int status = 0; status < CA_STATUS_COUNT; status++) {
        if (requests->by_status[status] == 0)
            continue;
        text_print(buffer, "sealwright_requests_total");
        print_label(buffer, "plugin", requests->plugin);
        text_print(buffer, ",status=\"%s\"} %llu\n", ca_status_name(status),
                   (unsigned long long)requests->by_status[status]);
    }
}

static void
print_durations(struct text_buffer *buffer, const struct requests *requests)
{
    uint64_t total = 0;
    for (size_t i = 0; i <= BOUNDS; i++) {
        total += requests->buckets[i];
        text_print(buffer, "sealwright_request_seconds_bucket");
        print_label(buffer, "plugin", requests->plugin);
        if (i < BOUNDS)
            text_print(buffer, ",le=\"%g\"} %llu\n", bounds[i],
                       (unsigned long long)total);
        else
            text_print(buffer, ",le=\"+Inf\"} %llu\n", (unsigned long long)total);
    }
    text_print(buffer, "sealwright_request_seconds_sum");
    print_label(buffer, "plugin", requests->plugin);
    text_print(buffer, "} %.6f\n", requests->seconds);
    text_print(buffer, "sealwright_request_seconds_count");
    print_label(buffer, "plugin", requests->plugin);
    text_print(buffer, "} %llu\n", (unsigned long long)total);
}

static void
print_counter(struct text_buffer *buffer, const struct counter *counter)
{
    text_print(buffer, "sealwright_%s_total", counter->name);
    if (counter->has_label) {
        print_label(buffer, "kind", counter->label);
        text_append(buffer, "}", 1);
    }
    text_print(buffer, " %llu\n", (unsigned long long)counter->value);
}

/* A family's samples stand together, in the order the families first came up. */
static void
print_counters(struct text_buffer *buffer, const struct metrics *metrics)
{
    for (size_t i = 0; i < metrics->counter_count; i++) {
        const char *name = metrics->counters[i].name;
        size_t first = 0;
        while (strcmp(metrics->counters[first].name, name) != 0)
            first++;
        if (first < i)
            continue;
        text_print(buffer, "# TYPE sealwright_%s_total counter\n", name);
        for (size_t j = i; j < metrics->counter_count; j++)
            if (strcmp(metrics->counters[j].name, name) == 0)
                print_counter(buffer, &metrics->counters[j]);
    }
}

void
metrics_format(struct metrics *metrics, struct text_buffer *buffer)
{
    if (!metrics)
        return;
    print_head(buffer, "build_info", "gauge", "Version of this process.");
    text_print(buffer, "sealwright_build_info{version=\"%s\"} 1\n", SEALWRIGHT_VERSION);
    pthread_mutex_lock(&metrics->lock);
    bool has_other = *metrics->requests[METRICS_PLUGINS_MAX].plugin;
    size_t count = metrics->request_count + has_other;
    print_head(buffer, "requests_total", "counter", "Requests by plugin and status.");
    for (size_t i = 0; i < count; i++)
        print_requests(buffer, &metrics->requests[i]);
    print_head(buffer, "request_seconds", "histogram", "Time to answer by plugin.");
    for (size_t i = 0; i < count; i++)
        print_durations(buffer, &metrics->requests[i]);
    print_counters(buffer, metrics);
    print_head(buffer, "metrics_dropped_total", "counter",
               "Counts without room for another name and label.");
    text_print(buffer, "sealwright_metrics_dropped_total %llu\n",
               (unsigned long long)metrics->dropped);
    pthread_mutex_unlock(&metrics->lock);
}
