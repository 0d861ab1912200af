/* One question to the OpenID provider: bounded in time and size, no redirects. */
#include "fetch.h"
#include "oidc.h"
#include <string.h>

static bool
set_up(CURL *curl, const struct oidc_request *request, struct fetch_body *body)
{
    const struct config_oidc *config = request->config;
    const struct fetch_bounds bounds = { "http,https", OIDC_CONNECT_MS,
                                         (long)config->timeout_ms };
    return fetch_begin(curl, request->url, &bounds) && fetch_body_into(curl, body) &&
           fetch_trust(curl, config->ca_file) &&
           (!request->form ||
            (curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->form) == CURLE_OK)) &&
           (!request->user ||
            (curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) == CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_USERNAME, request->user) == CURLE_OK &&
             curl_easy_setopt(curl, CURLOPT_PASSWORD, request->password) == CURLE_OK));
}

/* RFC 6749 section 5.2: a word of its list, which may go into the log. */
static void
word_take(const json_t *object, char ret_word[64])
{
    const char *word = json_string_value(json_object_get(object, "error"));
    bool is_plain = word && strlen(word) < 64 &&
                    word[strspn(word, "abcdefghijklmnopqrstuvwxyz_")] == '\0';
    snprintf(ret_word, 64, "%s", is_plain ? word : "no reason");
}

enum ca_status
oidc_http(const struct oidc_request *request, json_t **ret_object)
{
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    struct fetch_body body = { &text, OIDC_ANSWER_MAX };
    CA_AUTO(curl_easy_cleanup) CURL *curl = curl_easy_init();
    if (!curl || !set_up(curl, request, &body))
        return ca_fail(CA_INTERNAL, "cannot set up a question to the provider");
    CURLcode result = curl_easy_perform(curl);
    if (result != CURLE_OK)
        return ca_fail(CA_UNAVAILABLE, "the provider: %s", curl_easy_strerror(result));
    long code = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    json_error_t error;
    CA_AUTO(json_decref)
    json_t *object =
        text.data ? json_loadb(text.data, text.size, JSON_REJECT_DUPLICATES, &error)
                  : NULL;
    if (code == 400 || code == 401) {
        char word[64];
        word_take(object, word);
        return ca_fail(CA_UNAUTHENTICATED, "the provider refuses the code: %s", word);
    }
    if (code != 200 || !json_is_object(object))
        return ca_fail(CA_UNAVAILABLE, "the provider answers %ld%s", code,
                       code == 200 ? " without a JSON object" : "");
    *ret_object = CA_STEAL(object);
    return CA_OK;
}
