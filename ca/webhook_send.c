/* One event to one webhook by libcurl: signed, without redirects, bounded. */
#include "clock.h"
#include "fetch.h"
#include "pin.h"
#include "webhook.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "whsec_"

CA_AUTO_RELEASE(struct pin, pin_free)

enum ca_status
webhook_key(const char *secret, uint8_t *ret_key, size_t *ret_size)
{
    size_t length = strlen(secret), size = length;
    bool is_coded = strncmp(secret, PREFIX, sizeof PREFIX - 1) == 0;
    if (length > WEBHOOK_SECRET_MAX)
        return ca_fail(CA_MALFORMED, "a webhook's secret is too long");
    if (is_coded) {
        const char *text = secret + sizeof PREFIX - 1;
        if (base64_parse(text, strlen(text), 0, ret_key, WEBHOOK_SECRET_MAX, &size) !=
            CA_OK)
            return ca_fail(CA_MALFORMED, "a webhook's secret is no base64 behind '%s'",
                           PREFIX);
    } else {
        memcpy(ret_key, secret, length);
    }
    if (size < WEBHOOK_SECRET_MIN) {
        OPENSSL_cleanse(ret_key, size);
        return ca_fail(CA_MALFORMED, "a webhook's secret has fewer than %d octets",
                       WEBHOOK_SECRET_MIN);
    }
    *ret_size = size;
    return CA_OK;
}

char *
webhook_signature(const uint8_t *key, size_t size, const char *id, int64_t time,
                  const char *body)
{
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    uint8_t mac[EVP_MAX_MD_SIZE];
    unsigned mac_size = 0;
    char coded[2 * EVP_MAX_MD_SIZE];
    char *signature = NULL;
    text_print(&text, "%s.%lld.", id, (long long)time);
    text_append(&text, body, strlen(body));
    if (text.failed || !HMAC(EVP_sha256(), key, (int)size, (const uint8_t *)text.data,
                             text.size, mac, &mac_size))
        return NULL;
    EVP_EncodeBlock((uint8_t *)coded, mac, (int)mac_size);
    if (asprintf(&signature, "v1,%s", coded) < 0)
        return NULL;
    return signature;
}

static enum ca_status
key_read(const struct config_webhook *webhook, uint8_t *ret_key, size_t *ret_size)
{
    CA_AUTO(pin_free) struct pin *secret = NULL;
    enum ca_status status = pin_read(webhook->secret_source, &secret);
    return status == CA_OK ? webhook_key(pin_text(secret), ret_key, ret_size) : status;
}

enum ca_status
webhook_check(const struct config_webhook *webhook)
{
    uint8_t key[WEBHOOK_SECRET_MAX];
    size_t size = 0;
    enum ca_status status = key_read(webhook, key, &size);
    OPENSSL_cleanse(key, sizeof key);
    if (status == CA_OK && webhook->ca_file && access(webhook->ca_file, R_OK) != 0)
        return ca_fail(CA_UNAVAILABLE, "%s cannot be read", webhook->ca_file);
    return status;
}

/* The body: type, time and identifiers, the same whenever it is sent. */
static char *
body_make(const struct webhook_event *event)
{
    char when[21];
    time_format(event->time, when);
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:s, s:s, s:O}", "type", webhook_event_word(event->type),
                             "timestamp", when, "data", event->data);
    return body ? json_dumps(body, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
}

static enum ca_status
headers_make(const struct config_webhook *webhook, const struct webhook_event *event,
             const char *body, struct curl_slist **ret_headers)
{
    uint8_t key[WEBHOOK_SECRET_MAX];
    size_t size = 0;
    int64_t now = clock_now();
    enum ca_status status = key_read(webhook, key, &size);
    if (status != CA_OK)
        return status;
    CA_AUTO(free) char *signature = webhook_signature(key, size, event->id, now, body);
    OPENSSL_cleanse(key, sizeof key);
    char lines[3][160];
    snprintf(lines[0], sizeof lines[0], "webhook-id: %s", event->id);
    snprintf(lines[1], sizeof lines[1], "webhook-timestamp: %lld", (long long)now);
    snprintf(lines[2], sizeof lines[2], "webhook-signature: %s",
             signature ? signature : "");
    CA_AUTO(curl_slist_free_all) struct curl_slist *headers = NULL;
    bool holds =
        signature && fetch_header_add(&headers, "Content-Type: application/json");
    for (size_t i = 0; holds && i < 3; i++)
        holds = fetch_header_add(&headers, lines[i]);
    if (!holds)
        return ca_fail(CA_INTERNAL, "no memory for a webhook's headers");
    *ret_headers = CA_STEAL(headers);
    return CA_OK;
}

static size_t
answer_count(char *data, size_t one, size_t count, void *arg)
{
    (void)data;
    size_t *size = arg;
    *size += one * count;
    return *size > WEBHOOK_ANSWER_MAX ? 0 : one * count; /* 0 ends the transfer */
}

static bool
set_up(CURL *curl, const struct config_webhook *webhook, const char *body,
       struct curl_slist *headers)
{
    static const struct fetch_bounds bounds = { "http,https", WEBHOOK_CONNECT_MS,
                                                WEBHOOK_ANSWER_MS };
    return fetch_begin(curl, webhook->url, &bounds) &&
           curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
           fetch_trust(curl, webhook->ca_file);
}

static enum ca_status
perform(CURL *curl, const atomic_bool *stop)
{
    size_t size = 0;
    long code = 0;
    if (curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, answer_count) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, &size) != CURLE_OK ||
        !fetch_stop_by(curl, stop))
        return ca_fail(CA_INTERNAL, "cannot set up a webhook's delivery");
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    if (result != CURLE_OK && result != CURLE_WRITE_ERROR)
        return ca_fail(CA_UNAVAILABLE, "%s", curl_easy_strerror(result));
    if (code < 200 || code > 299)
        return ca_fail(CA_UNAVAILABLE, "it answers %ld", code);
    return CA_OK;
}

enum ca_status
webhook_send(const struct config_webhook *webhook, const struct webhook_event *event,
             const atomic_bool *stop)
{
    CA_AUTO(free) char *body = body_make(event);
    CA_AUTO(curl_slist_free_all) struct curl_slist *headers = NULL;
    CA_AUTO(curl_easy_cleanup) CURL *curl = curl_easy_init();
    if (!body || !curl)
        return ca_fail(CA_UNAVAILABLE, "no memory for an event");
    enum ca_status status = headers_make(webhook, event, body, &headers);
    if (status == CA_OK && !set_up(curl, webhook, body, headers))
        status = ca_fail(CA_INTERNAL, "cannot set up a webhook's delivery");
    if (status == CA_OK)
        status = perform(curl, stop);
    return status == CA_OK ? CA_OK : ca_fail(CA_UNAVAILABLE, "%s", status_message());
}
