/* The client's HTTP by libcurl. */
#include "activate_http.h"
#include "activate_link.h"
#include "fetch.h"
#include "field.h"
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_MAX (4 * 1024 * 1024)
#define CONNECT_SECONDS 10L
#define CALL_SECONDS 90L /* a long poll of a policy takes 60 */
#define URL_MAX_OCTETS 4096
#define MOVES_MAX 3

struct activate_http {
    CURL *curl;
    char *base;
    X509 *root, *certificate; /* NULL before the activation */
    EVP_PKEY *key;
    char reason[CURL_ERROR_SIZE];
};

static char *
base_copy(const char *base)
{
    CA_AUTO(free) char *authority = activate_authority(base);
    char *copy = authority ? strdup(base) : NULL;
    for (size_t end = copy ? strlen(copy) : 0; end > 0 && copy[end - 1] == '/'; end--)
        copy[end - 1] = '\0';
    return copy;
}

static bool
curl_configure(struct activate_http *http, const char *ca_file)
{
    CURL *curl = http->curl;
    bool holds =
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->reason) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, CALL_SECONDS) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https") == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) ==
            CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_USERAGENT, "sealwright/" SEALWRIGHT_VERSION) ==
            CURLE_OK;
    if (holds && ca_file)
        return fetch_trust(curl, ca_file);
    /* Section 6: the exchange authenticates the server. */
    return holds && curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK;
}

enum ca_status
activate_http_open(const char *base, const char *ca_file,
                   struct activate_http **ret_http)
{
    CA_AUTO(activate_http_close) struct activate_http *http = calloc(1, sizeof *http);
    if (!http)
        return ca_fail(CA_INTERNAL, "no memory");
    http->base = base_copy(base);
    if (!http->base)
        return ca_fail(CA_MALFORMED,
                       "an address like https://ca.example.com:8443 is wanted");
    http->curl =
        curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    if (!http->curl || !curl_configure(http, ca_file))
        return ca_fail(CA_INTERNAL, "the HTTP library does not start");
    *ret_http = CA_STEAL(http);
    return CA_OK;
}

void
activate_http_close(struct activate_http *http)
{
    if (!http)
        return;
    if (http->curl) {
        curl_easy_cleanup(http->curl);
        curl_global_cleanup();
    }
    free(http->base);
    X509_free(http->root);
    X509_free(http->certificate);
    EVP_PKEY_free(http->key);
    free(http);
}

/* ---- After the activation ---- */

/* The key may be one that never leaves a token, so it goes in as it is. */
static CURLcode
context_set(CURL *curl, void *context, void *arg)
{
    const struct activate_http *http = arg;
    SSL_CTX *tls = context;
    X509_STORE *trusted = X509_STORE_new();
    (void)curl;
    if (!trusted || X509_STORE_add_cert(trusted, http->root) != 1) {
        X509_STORE_free(trusted);
        return CURLE_SSL_CACERT_BADFILE;
    }
    SSL_CTX_set_cert_store(tls, trusted);
    SSL_CTX_set_verify(tls, SSL_VERIFY_PEER, NULL);
    return SSL_CTX_use_certificate(tls, http->certificate) == 1 &&
                   SSL_CTX_use_PrivateKey(tls, http->key) == 1
               ? CURLE_OK
               : CURLE_SSL_CERTPROBLEM;
}

enum ca_status
activate_http_pin(struct activate_http *http, const char *base, X509 *root,
                  X509 *certificate, EVP_PKEY *key)
{
    char *copy = base_copy(base);
    CURL *curl = http->curl;
    if (!copy)
        return ca_fail(CA_MALFORMED, "the server names '%.100s' as its address", base);
    free(http->base);
    http->base = copy;
    if (X509_up_ref(root) != 1 || X509_up_ref(certificate) != 1 ||
        EVP_PKEY_up_ref(key) != 1)
        return ca_fail(CA_INTERNAL, "no memory");
    X509_free(http->root);
    X509_free(http->certificate);
    EVP_PKEY_free(http->key);
    http->root = root;
    http->certificate = certificate;
    http->key = key;
    bool holds =
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_CAINFO, NULL) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSL_CTX_FUNCTION, context_set) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSL_CTX_DATA, http) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_SSL_SESSIONID_CACHE, 0L) == CURLE_OK &&
        curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L) == CURLE_OK;
    return holds ? CA_OK : ca_fail(CA_INTERNAL, "the HTTP library takes no key");
}

/* ---- One call ---- */

/* What goes over the wire. */
struct sending {
    const char *method, *url, *known;
    const char *type; /* of the body; NULL: none */
    const char *accept;
    const void *body;
    size_t size;
    bool is_json; /* the answer */
};

static CURLcode
sending_send(struct activate_http *http, const struct sending *sending,
             struct text_buffer *ret_data)
{
    char known[HTTP_ETAG_MAX + 16], accept[64], type[64];
    struct fetch_body answer = { ret_data, ANSWER_MAX };
    CA_AUTO(curl_slist_free_all) struct curl_slist *headers = NULL;
    CURL *curl = http->curl;
    snprintf(known, sizeof known, "If-None-Match: %s",
             sending->known ? sending->known : "");
    snprintf(accept, sizeof accept, "Accept: %s", sending->accept);
    snprintf(type, sizeof type, "Content-Type:%s%s", sending->type ? " " : "",
             sending->type ? sending->type : "");
    bool holds = fetch_header_add(&headers, accept) &&
                 fetch_header_add(&headers, "Expect:") &&
                 fetch_header_add(&headers, type) &&
                 (!sending->known || fetch_header_add(&headers, known)) &&
                 curl_easy_setopt(curl, CURLOPT_URL, sending->url) == CURLE_OK &&
                 curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
                 curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L) == CURLE_OK &&
                 fetch_body_into(curl, &answer);
    if (holds && sending->type)
        holds = curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)sending->size) ==
                    CURLE_OK &&
                curl_easy_setopt(curl, CURLOPT_POSTFIELDS, sending->body) == CURLE_OK;
    holds = holds &&
            curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, sending->method) == CURLE_OK;
    http->reason[0] = '\0';
    CURLcode code = holds ? curl_easy_perform(curl) : CURLE_OUT_OF_MEMORY;
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, NULL);
    return code;
}

/* Nobody knows whether the server acted: the same octets get the same answer. */
static bool
is_lost(CURLcode code)
{
    return code == CURLE_GOT_NOTHING || code == CURLE_RECV_ERROR ||
           code == CURLE_SEND_ERROR || code == CURLE_PARTIAL_FILE;
}

static void
answer_take(CURL *curl, bool is_json, struct text_buffer *data,
            struct http_answer *answer)
{
    struct curl_header *header = NULL;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &answer->status);
    if (is_json && data->size > 0)
        field_parse(data->data, data->size, ANSWER_MAX, &answer->body);
    if (curl_easy_header(curl, "ETag", 0, CURLH_HEADER, -1, &header) == CURLHE_OK &&
        strlen(header->value) < sizeof answer->etag)
        snprintf(answer->etag, sizeof answer->etag, "%s", header->value);
    answer->retry_after =
        json_integer_value(json_object_get(answer->body, "retry_after"));
    if (!is_json) {
        answer->octets = *data;
        *data = (struct text_buffer){ 0 };
    }
}

static enum ca_status
sending_try(struct activate_http *http, const struct sending *sending,
            struct http_answer *answer)
{
    CURLcode code = CURLE_OK;
    for (int tries = HTTP_TRIES; tries > 0; tries--) {
        CA_AUTO(text_buffer_clear) struct text_buffer data = { 0 };
        http_answer_clear(answer);
        code = sending_send(http, sending, &data);
        if (code == CURLE_OK)
            answer_take(http->curl, sending->is_json, &data, answer);
        bool is_busy = code == CURLE_OK && answer->status == 503 &&
                       answer->retry_after > 0 && answer->retry_after <= 5;
        if (is_busy && tries > 1)
            sleep((unsigned)answer->retry_after);
        else if (!is_lost(code))
            break;
    }
    if (code == CURLE_OK)
        return CA_OK;
    return ca_fail(CA_UNAVAILABLE, "%s: %s", http->base,
                   http->reason[0] ? http->reason : curl_easy_strerror(code));
}

static enum ca_status
message_try(struct activate_http *http, const struct http_message *message,
            const char *body, struct http_answer *answer)
{
    char url[URL_MAX_OCTETS];
    const struct sending sending = { .method = message->method,
                                     .url = url,
                                     .known = message->known,
                                     .type = body ? "application/json" : NULL,
                                     .accept = "application/json",
                                     .body = body,
                                     .size = body ? strlen(body) : 0,
                                     .is_json = true };
    int length = snprintf(url, sizeof url, "%s%s", http->base, message->path);
    if (length < 0 || (size_t)length >= sizeof url)
        return ca_fail(CA_LIMIT, "the server's address is too long");
    return sending_try(http, &sending, answer);
}

enum ca_status
activate_http_call(struct activate_http *http, const struct http_message *message,
                   struct http_answer *ret_answer)
{
    CA_AUTO(free) char *body = NULL;
    if (message->body) {
        body = json_dumps(message->body, JSON_COMPACT | JSON_ENSURE_ASCII);
        if (!body)
            return ca_fail(CA_INTERNAL, "no memory");
    }
    for (int moves = 0;; moves++) {
        enum ca_status status = message_try(http, message, body, ret_answer);
        if (status != CA_OK || ret_answer->status != 421 || moves == MOVES_MAX)
            return status;
        /* Section 12: another instance has the device; the root stays the same. */
        const char *url = json_string_value(json_object_get(ret_answer->body, "url"));
        char *base = url && http->root ? base_copy(url) : NULL;
        if (!base)
            return CA_OK;
        free(http->base);
        http->base = base;
    }
}

enum ca_status
activate_http_octets(struct activate_http *http, const char *url, const void *message,
                     size_t size, struct http_answer *ret_answer)
{
    const struct sending sending = { .method = message ? "POST" : "GET",
                                     .url = url,
                                     .type =
                                         message ? "application/x-pki-message" : NULL,
                                     .accept = "*/*",
                                     .body = message,
                                     .size = size };
    enum ca_status status = sending_try(http, &sending, ret_answer);
    if (status == CA_OK && ret_answer->status != 200)
        status = ca_fail(CA_UNAVAILABLE, "SCEP is answered with status %ld",
                         ret_answer->status);
    return status;
}

void
http_answer_clear(struct http_answer *answer)
{
    text_buffer_clear(&answer->octets);
    json_decref(answer->body);
    *answer = (struct http_answer){ 0 };
}

/* ---- Refusals ---- */

static const struct {
    const char *code, *words;
} refusals[] = {
    { "auth_failed",
      "the user is unknown, or the password is wrong, used up, locked or "
      "expired" },
    { "slow_down", "too many attempts" },
    { "unavailable", "the server cannot do it now" },
    { "session_gone", "it took too long, or was answered before" },
    { "unsupported_suite", "the server wants another kind of exchange" },
    { "not_registered", "the server serves no such user" },
    { "wrong_certificate", "the server does not take this certificate" },
    { "no_profile", "there is no SCEP profile for this device" },
    { "txn_gone", "the SCEP profile has changed, expired or been used meanwhile" },
    { "upstream", "the CA behind the server does not answer as it must" },
    { "subject_mismatch", "the profile wants another subject" },
    { "san_mismatch", "the profile wants other names" },
    { "key_rejected", "the profile wants another key" },
    { "bad_signature", "the request's signature does not hold" },
};

enum ca_status
activate_http_refused(const struct http_answer *answer)
{
    const char *code = json_string_value(json_object_get(answer->body, "error"));
    const char *words = NULL;
    for (size_t i = 0; code && i < sizeof refusals / sizeof *refusals; i++) {
        if (strcmp(refusals[i].code, code) == 0)
            words = refusals[i].words;
    }
    enum ca_status status =
        answer->status == 429 || answer->status == 503 ? CA_UNAVAILABLE : CA_FORBIDDEN;
    if (answer->retry_after > 0)
        return ca_fail(status, "refused (%.40s): %s; again in %lld seconds",
                       code ? code : "", words ? words : "no reason is given",
                       (long long)answer->retry_after);
    if (!code)
        return ca_fail(status, "the server answered with status %ld", answer->status);
    return ca_fail(status, "refused (%.40s)%s%s", code, words ? ": " : "",
                   words ? words : "");
}
