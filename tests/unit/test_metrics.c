/* Counters: what they add up to, how they are written, that they stay bounded. */
#include "auto.h"
#include "leak.h"
#include "metrics.h"
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

static char *
format(struct metrics *metrics)
{
    struct text_buffer buffer = { 0 };
    metrics_format(metrics, &buffer);
    cr_assert(!buffer.failed);
    return buffer.data;
}

static void
expect_line(const char *text, const char *line)
{
    char wanted[300];
    snprintf(wanted, sizeof wanted, "\n%s\n", line);
    cr_expect(strstr(text, wanted), "%s is not in:\n%s", line, text);
}

static size_t
count_of(const char *text, const char *piece)
{
    size_t count = 0;
    for (const char *at = text; (at = strstr(at, piece)) != NULL; at++)
        count++;
    return count;
}

Test(metrics, requests_are_counted_by_plugin_and_status)
{
    struct metrics *metrics = metrics_new();
    metrics_request(metrics, "scep", CA_OK, 0.001);
    metrics_request(metrics, "scep", CA_OK, 0.3);
    metrics_request(metrics, "scep", CA_FORBIDDEN, 11);
    metrics_request(metrics, NULL, CA_NOT_FOUND, -1);
    metrics_request(metrics, "api", CA_OK, NAN);
    metrics_request(metrics, "api", CA_STATUS_COUNT, 1);
    CA_AUTO(free) char *text = format(metrics);
    expect_line(text, "# TYPE sealwright_requests_total counter");
    expect_line(text, "sealwright_requests_total{plugin=\"scep\",status=\"ok\"} 2");
    expect_line(text,
                "sealwright_requests_total{plugin=\"scep\",status=\"forbidden\"} 1");
    expect_line(text,
                "sealwright_requests_total{plugin=\"none\",status=\"not_found\"} 1");
    expect_line(text, "sealwright_requests_total{plugin=\"api\",status=\"ok\"} 1");
    cr_expect_eq(count_of(text, "sealwright_requests_total{"), 4);
    expect_line(text, "# TYPE sealwright_request_seconds histogram");
    expect_line(text,
                "sealwright_request_seconds_bucket{plugin=\"scep\",le=\"0.001\"} 1");
    expect_line(text,
                "sealwright_request_seconds_bucket{plugin=\"scep\",le=\"0.25\"} 1");
    expect_line(text,
                "sealwright_request_seconds_bucket{plugin=\"scep\",le=\"0.5\"} 2");
    expect_line(text, "sealwright_request_seconds_bucket{plugin=\"scep\",le=\"10\"} 2");
    expect_line(text,
                "sealwright_request_seconds_bucket{plugin=\"scep\",le=\"+Inf\"} 3");
    expect_line(text, "sealwright_request_seconds_sum{plugin=\"scep\"} 11.301000");
    expect_line(text, "sealwright_request_seconds_count{plugin=\"scep\"} 3");
    expect_line(text, "sealwright_request_seconds_sum{plugin=\"api\"} 0.000000");
    metrics_free(metrics);
    LEAK_CHECK();
}

Test(metrics, a_family_stands_together)
{
    struct metrics *metrics = metrics_new();
    metrics_count(metrics, "enrolments", "issued");
    metrics_count(metrics, "reloads", NULL);
    metrics_count(metrics, "enrolments", "refused");
    metrics_count(metrics, "enrolments", "issued");
    metrics_count(metrics, "reloads", "");
    CA_AUTO(free) char *text = format(metrics);
    cr_expect(strstr(text, "# TYPE sealwright_enrolments_total counter\n"
                           "sealwright_enrolments_total{kind=\"issued\"} 2\n"
                           "sealwright_enrolments_total{kind=\"refused\"} 1\n"
                           "# TYPE sealwright_reloads_total counter\n"
                           "sealwright_reloads_total 1\n"
                           "sealwright_reloads_total{kind=\"\"} 1\n"),
              "%s", text);
    expect_line(text, "sealwright_metrics_dropped_total 0");
    metrics_free(metrics);
    LEAK_CHECK();
}

Test(metrics, R7_labels_are_escaped)
{
    struct metrics *metrics = metrics_new();
    metrics_count(metrics, "things", "a\"b\\c\nd");
    metrics_request(metrics, "x\"} 1\ny", CA_OK, 0);
    CA_AUTO(free) char *text = format(metrics);
    expect_line(text, "sealwright_things_total{kind=\"a\\\"b\\\\c\\nd\"} 1");
    expect_line(text,
                "sealwright_requests_total{plugin=\"x\\\"} 1\\ny\",status=\"ok\"} 1");
    metrics_free(metrics);
    LEAK_CHECK();
}

Test(metrics, R8_names_and_labels_are_bounded)
{
    struct metrics *metrics = metrics_new();
    char label[2 * METRICS_LABEL_MAX + 10] = "";
    for (int i = 0; i < METRICS_COUNTERS_MAX + 5; i++) {
        snprintf(label, sizeof label, "%d", i);
        metrics_count(metrics, "things", label);
        metrics_request(metrics, label, CA_OK, 0);
    }
    metrics_count(metrics, "things", "0");
    CA_AUTO(free) char *text = format(metrics);
    cr_expect_eq(count_of(text, "sealwright_things_total{"), METRICS_COUNTERS_MAX);
    expect_line(text, "sealwright_things_total{kind=\"0\"} 2");
    expect_line(text, "sealwright_metrics_dropped_total 5");
    cr_expect_eq(count_of(text, "sealwright_requests_total{"), METRICS_PLUGINS_MAX + 1);
    expect_line(text, "sealwright_requests_total{plugin=\"other\",status=\"ok\"} 229");
    metrics_free(metrics);

    metrics = metrics_new();
    memset(label, 'a', METRICS_LABEL_MAX - 1);
    strcpy(label + METRICS_LABEL_MAX - 1, "\xc3\xbc and more");
    metrics_count(metrics, "things", label);
    CA_AUTO(free) char *cut = format(metrics);
    cr_expect(strstr(cut, "aaa\"} 1\n"), "cut before the character that has no room");
    metrics_free(metrics);
    LEAK_CHECK();
}

Test(metrics, nothing_is_measured_without_metrics)
{
    struct text_buffer buffer = { 0 };
    metrics_request(NULL, "scep", CA_OK, 1);
    metrics_count(NULL, "things", NULL);
    metrics_format(NULL, &buffer);
    metrics_free(NULL);
    cr_expect_eq(buffer.size, 0);
}

static void *
count_many(void *arg)
{
    for (int i = 0; i < 10000; i++) {
        metrics_count(arg, "things", i % 2 ? "odd" : "even");
        metrics_request(arg, "scep", CA_OK, 0.002);
    }
    return NULL;
}

Test(metrics, threads_lose_no_count)
{
    struct metrics *metrics = metrics_new();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, count_many, metrics), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    CA_AUTO(free) char *text = format(metrics);
    expect_line(text, "sealwright_things_total{kind=\"odd\"} 20000");
    expect_line(text, "sealwright_things_total{kind=\"even\"} 20000");
    expect_line(text, "sealwright_request_seconds_count{plugin=\"scep\"} 40000");
    metrics_free(metrics);
    LEAK_CHECK();
}
