/* SMTP by libcurl: one connection a mail, never in the clear where TLS is configured.
 */
#include "smtp.h"
#include "fetch.h"
#include "mime.h"
#include "pin.h"
#include <string.h>
#include <sys/socket.h>

CA_AUTO_RELEASE(struct pin, pin_free)

struct transfer {
    const struct smtp_mail *mail;
    size_t at;
};

static size_t
octets_read(char *to, size_t size, size_t count, void *arg)
{
    struct transfer *transfer = arg;
    size_t room = size * count, left = transfer->mail->size - transfer->at;
    size_t length = left < room ? left : room;
    memcpy(to, transfer->mail->octets + transfer->at, length);
    transfer->at += length;
    return length;
}

/* Also of the farewell, which the time of the whole does not bound. */
static long
smtp_seconds(const struct config_mail *server)
{
    return (long)(server->send_ms + 999) / 1000;
}

static bool
set_server(CURL *curl, const struct config_mail *server)
{
    bool is_v6 = strchr(server->server, ':') != NULL;
    CA_AUTO(text_buffer_clear) struct text_buffer url = { 0 };
    text_print(&url, "%s://%s%s%s:%lld/%s",
               server->security == MAIL_TLS ? "smtps" : "smtp", is_v6 ? "[" : "",
               server->server, is_v6 ? "]" : "", (long long)server->port,
               server->hello ? server->hello : "");
    long use_ssl = server->security == MAIL_NONE ? CURLUSESSL_NONE : CURLUSESSL_ALL;
    const struct fetch_bounds bounds = { "smtp,smtps", (long)server->connect_ms,
                                         (long)server->send_ms };
    return !url.failed && fetch_begin(curl, url.data, &bounds) &&
           curl_easy_setopt(curl, CURLOPT_USE_SSL, use_ssl) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SERVER_RESPONSE_TIMEOUT,
                            smtp_seconds(server)) == CURLE_OK &&
           fetch_trust(curl, server->ca_file);
}

static enum ca_status
set_login(CURL *curl, const struct config_mail *server)
{
    CA_AUTO(pin_free) struct pin *password = NULL;
    if (!server->user)
        return CA_OK;
    if (pin_read(server->password_source, &password) != CA_OK) {
        CA_AUTO(free) char *reason = strdup(status_message());
        return ca_fail(CA_UNAVAILABLE, "mail/password_source: %s",
                       reason ? reason : "no memory");
    }
    if (curl_easy_setopt(curl, CURLOPT_USERNAME, server->user) != CURLE_OK ||
        curl_easy_setopt(curl, CURLOPT_PASSWORD, pin_text(password)) != CURLE_OK)
        return ca_fail(CA_INTERNAL, "no memory for a mail server's login");
    return CA_OK;
}

static bool
set_mail(CURL *curl, const struct smtp_mail *mail, struct transfer *transfer,
         struct curl_slist **ret_to)
{
    char from[MIME_ADDRESS_MAX + 3], to[MIME_ADDRESS_MAX + 3];
    snprintf(from, sizeof from, "<%s>", mail->from);
    snprintf(to, sizeof to, "<%s>", mail->to);
    *ret_to = curl_slist_append(NULL, to);
    return *ret_to && curl_easy_setopt(curl, CURLOPT_MAIL_FROM, from) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, *ret_to) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_READFUNCTION, octets_read) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_READDATA, transfer) == CURLE_OK &&
           fetch_stop_by(curl, mail->stop);
}

/* What the outcome means for this mail. A login that is refused and a certificate that
 * does not hold are our configuration's fault, not the mail's. */
static enum ca_status
outcome(CURL *curl, CURLcode result, const char *words)
{
    long code = 0;
    if (result == CURLE_OK)
        return CA_OK;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    const char *text = *words ? words : curl_easy_strerror(result);
    bool is_ours = result == CURLE_LOGIN_DENIED || result == CURLE_USE_SSL_FAILED ||
                   result == CURLE_PEER_FAILED_VERIFICATION || code == 530 ||
                   code == 534 || code == 535 || code == 538;
    if (code >= 500 && code < 600 && !is_ours)
        return ca_fail(CA_FORBIDDEN, "the mail server refuses it (%ld): %s", code,
                       text);
    if (code >= 400 && code < 600)
        return ca_fail(CA_UNAVAILABLE, "mail server (%ld): %s", code, text);
    return ca_fail(CA_UNAVAILABLE, "mail server: %s", text);
}

/* What failed, or is stopped, does not say farewell to somebody who may be silent. */
static CURLcode
perform(CURL *curl)
{
    curl_socket_t socket = CURL_SOCKET_BAD;
    CURLcode result = curl_easy_perform(curl);
    if (result != CURLE_OK &&
        curl_easy_getinfo(curl, CURLINFO_ACTIVESOCKET, &socket) == CURLE_OK &&
        socket != CURL_SOCKET_BAD)
        shutdown(socket, SHUT_RDWR);
    return result;
}

enum ca_status
smtp_send(const struct config_mail *server, const struct smtp_mail *mail)
{
    char words[CURL_ERROR_SIZE] = "";
    struct transfer transfer = { .mail = mail };
    if (strlen(mail->from) > MIME_ADDRESS_MAX || strlen(mail->to) > MIME_ADDRESS_MAX)
        return ca_fail(CA_FORBIDDEN, "a mail address is too long");
    CA_AUTO(curl_slist_free_all) struct curl_slist *to = NULL;
    CA_AUTO(curl_easy_cleanup) CURL *curl = curl_easy_init();
    if (!curl || !set_server(curl, server) || !set_mail(curl, mail, &transfer, &to) ||
        curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words) != CURLE_OK)
        return ca_fail(CA_INTERNAL, "cannot set up a mail's delivery");
    enum ca_status status = set_login(curl, server);
    if (status != CA_OK)
        return status;
    return outcome(curl, perform(curl), words);
}
