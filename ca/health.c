/* Opens what can be opened and asks each part; the store's own checks. */
#include "health.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "service.h"
#include "tbs.h"
#include "text.h"
#include <stdarg.h>
#include <string.h>

#define CLOCK_TOLERANCE 60

const char *const health_severity_words[] = { "ok", "warning", "critical", NULL };

void
health_add(struct health *health, enum health_severity severity, const char *check,
           const char *format, ...)
{
    char detail[512];
    va_list args;
    va_start(args, format);
    vsnprintf(detail, sizeof detail, format, args);
    va_end(args);
    json_array_append_new(health->findings,
                          json_pack("{s:s, s:s, s:s}", "check", check, "severity",
                                    health_severity_words[severity], "detail", detail));
    if (severity > health->worst)
        health->worst = severity;
}

void
health_check_end(struct health *health, const char *check, const X509 *certificate,
                 int64_t warn)
{
    int64_t begin = 0, end = 0, now = clock_now();
    char text[21];
    if (tbs_time_of(X509_get0_notBefore(certificate), &begin) != CA_OK ||
        tbs_time_of(X509_get0_notAfter(certificate), &end) != CA_OK) {
        health_add(health, HEALTH_CRITICAL, check, "its certificate has no dates");
        return;
    }
    time_format(end, text);
    if (now < begin || now > end)
        health_add(health, HEALTH_CRITICAL, check, "its certificate %s %s",
                   now > end ? "ended" : "is not valid yet, and ends", text);
    else
        health_add(health, end - now < warn ? HEALTH_WARNING : HEALTH_OK, check,
                   "its certificate ends %s, in %lld days", text,
                   (long long)((end - now) / 86400));
}

/* ---- Audit and clock ---- */

static enum ca_status
audit_step(struct store_tx *tx, void *arg)
{
    return audit_verify(tx, arg);
}

static void
check_audit(struct health *health)
{
    struct audit_verdict verdict = { 0 };
    char newest[21];
    if (store_read(health->store, audit_step, &verdict) != CA_OK) {
        health_add(health, HEALTH_CRITICAL, "audit", "cannot be read: %s",
                   status_message());
        return;
    }
    if (verdict.bad > 0)
        health_add(health, HEALTH_CRITICAL, "audit",
                   "%lld of %lld entries are not as they were written, the first is "
                   "%s of %s: %s",
                   (long long)verdict.bad, (long long)verdict.count,
                   verdict.first_number, verdict.first_instance, verdict.first_reason);
    else
        health_add(health, HEALTH_OK, "audit",
                   "%lld entries, without a gap, each with its hash",
                   (long long)verdict.count);
    time_format(verdict.newest, newest);
    if (verdict.newest > clock_now() + CLOCK_TOLERANCE)
        health_add(health, HEALTH_CRITICAL, "clock",
                   "the newest audit entry is of %s, in the future", newest);
    else
        health_add(health, HEALTH_OK, "clock", "not before the audit's newest entry");
}

static enum ca_status
tokens_open(struct health *health)
{
    const struct config_token *tokens = health->config->tokens.items;
    enum ca_status status = service_open_tokens(health->config, NULL, &health->tokens);
    if (status == CA_OK)
        return CA_OK;
    /* Which of them? One at a time; a latched one is not tried. */
    for (size_t i = 0; i < health->config->tokens.count; i++) {
        struct token_set *one = NULL;
        char check[96];
        snprintf(check, sizeof check, "token:%.64s", tokens[i].name);
        status = service_open_tokens(health->config, tokens[i].name, &one);
        health_add(health, status == CA_OK ? HEALTH_OK : HEALTH_CRITICAL, check, "%s",
                   status == CA_OK ? "logged in" : status_message());
        token_set_free(one);
    }
    return CA_UNAVAILABLE;
}

void
health_run(const char *path, struct health *ret_health)
{
    struct config config = { 0 };
    struct health health = { .findings = json_array(), .config = &config };
    if (config_load(path, &config) != CA_OK) {
        health_add(&health, HEALTH_CRITICAL, "configuration", "%s", status_message());
        *ret_health = health;
        ret_health->config = NULL;
        return;
    }
    health_add(&health, HEALTH_OK, "configuration", "%s", path);
    audit_set_instance(config.instance);
    if (tokens_open(&health) != CA_OK)
        health.tokens = NULL;
    if (store_open(config.store, &health.store) != CA_OK) {
        health.store = NULL;
        health_add(&health, HEALTH_CRITICAL, "store", "%s", status_message());
    } else {
        enum ca_status status = store_probe(health.store);
        health_add(&health, status == CA_OK ? HEALTH_OK : HEALTH_CRITICAL, "store",
                   "%s", status == CA_OK ? "can be written" : status_message());
        health_check_keys(&health);
        health_check_profiles(&health);
        check_audit(&health);
    }
    health_check_files(&health);
    store_close(health.store);
    token_set_free(health.tokens);
    config_clear(&config);
    *ret_health = (struct health){ .findings = health.findings, .worst = health.worst };
}

void
health_clear(struct health *health)
{
    json_decref(health->findings);
    *health = (struct health){ 0 };
}
