/* The tokens' part of /metrics: their state, operations, and the calls of their PKCS#11
 * libraries by function. */
#include "api.h"
#include "text.h"
#include "token.h"

static const char *const state_words[] = {
    [TOKEN_UP] = "up",
    [TOKEN_REBUILDING] = "rebuilding",
    [TOKEN_LATCHED] = "latched",
    [TOKEN_STUCK] = "stuck",
};

struct figure {
    const char *name, *type;
    int64_t (*value)(const struct token_health *health);
};

static int64_t
is_up(const struct token_health *health)
{
    return health->state == TOKEN_UP;
}

static int64_t
operations(const struct token_health *health)
{
    return health->operations;
}

static int64_t
failures(const struct token_health *health)
{
    return health->failures;
}

static int64_t
rebuilds(const struct token_health *health)
{
    return health->rebuilds;
}

static int64_t
busy(const struct token_health *health)
{
    return health->busy;
}

static const struct figure figures[] = {
    { "sealwright_token_up", "gauge", is_up },
    { "sealwright_token_operations_total", "counter", operations },
    { "sealwright_token_failures_total", "counter", failures },
    { "sealwright_token_rebuilds_total", "counter", rebuilds },
    { "sealwright_token_busy", "gauge", busy },
};

static void
figure_print(struct token_set *tokens, const struct figure *figure,
             struct text_buffer *buffer)
{
    text_print(buffer, "# TYPE %s %s\n", figure->name, figure->type);
    for (size_t i = 0; i < token_set_count(tokens); i++) {
        struct token_health health;
        token_health(tokens, i, &health);
        text_print(buffer, "%s{token=\"%s\"} %lld\n", figure->name, health.name,
                   (long long)figure->value(&health));
    }
}

static void
states_print(struct token_set *tokens, struct text_buffer *buffer)
{
    text_print(buffer, "# TYPE sealwright_token_state gauge\n");
    for (size_t i = 0; i < token_set_count(tokens); i++) {
        struct token_health health;
        token_health(tokens, i, &health);
        for (int state = TOKEN_UP; state <= TOKEN_STUCK; state++)
            text_print(buffer, "sealwright_token_state{token=\"%s\",state=\"%s\"} %d\n",
                       health.name, state_words[state], (int)health.state == state);
    }
}

typedef void (*calls_print)(const char *token, const struct token_calls *calls,
                            struct text_buffer *buffer);

static void
failures_print(const char *token, const struct token_calls *calls,
               struct text_buffer *buffer)
{
    text_print(buffer,
               "sealwright_pkcs11_failures_total{token=\"%s\",function=\"%s\"} %lld\n",
               token, calls->function, (long long)calls->failures);
}

static void
seconds_print(const char *token, const struct token_calls *calls,
              struct text_buffer *buffer)
{
    static const char name[] = "sealwright_pkcs11_call_seconds";
    const char *function = calls->function;
    for (int i = 0; i < TOKEN_BUCKETS; i++)
        text_print(buffer, "%s_bucket{token=\"%s\",function=\"%s\",le=\"%g\"} %lld\n",
                   name, token, function, (double)token_bucket_ms[i] / 1000,
                   (long long)calls->buckets[i]);
    text_print(buffer, "%s_bucket{token=\"%s\",function=\"%s\",le=\"+Inf\"} %lld\n",
               name, token, function, (long long)calls->calls);
    text_print(buffer, "%s_sum{token=\"%s\",function=\"%s\"} %.6f\n", name, token,
               function, (double)calls->total_us / 1e6);
    text_print(buffer, "%s_count{token=\"%s\",function=\"%s\"} %lld\n", name, token,
               function, (long long)calls->calls);
}

/* Tokens of one library have one count between them, under each one's name. */
static void
calls_all(struct token_set *tokens, calls_print print, struct text_buffer *buffer)
{
    for (size_t i = 0; i < token_set_count(tokens); i++) {
        struct token_health health;
        struct token_calls calls;
        token_health(tokens, i, &health);
        for (size_t at = 0; token_calls_next(tokens, i, &at, &calls);)
            print(health.name, &calls, buffer);
    }
}

void
api_tokens_metrics(struct token_set *tokens, struct text_buffer *buffer)
{
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++)
        figure_print(tokens, &figures[i], buffer);
    states_print(tokens, buffer);
    text_print(buffer, "# TYPE sealwright_pkcs11_failures_total counter\n");
    calls_all(tokens, failures_print, buffer);
    text_print(buffer, "# TYPE sealwright_pkcs11_call_seconds histogram\n");
    calls_all(tokens, seconds_print, buffer);
}
