/* Where a request by libcurl goes, whom it trusts, what it sends, and when it ends. */
#include "fetch.h"
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* RFC 3927, RFC 4291 section 2.5.6. There a cloud tells its machines their secrets, and
 * nobody whom we have anything to say to. */
static bool
is_link_local(const struct sockaddr *address)
{
    uint8_t ip[16] = { 0 };
    if (address->sa_family == AF_INET) {
        memcpy(ip + 12, &((const struct sockaddr_in *)(const void *)address)->sin_addr,
               4);
        return ip[12] == 169 && ip[13] == 254;
    }
    memcpy(ip, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr,
           sizeof ip);
    static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
    return (ip[0] == 0xfe && (ip[1] & 0xc0) == 0x80) ||
           (memcmp(ip, mapped, sizeof mapped) == 0 && ip[12] == 169 && ip[13] == 254);
}

/* The address as it was resolved: no name leads around this. */
static curl_socket_t
socket_open(void *arg, curlsocktype purpose, struct curl_sockaddr *to)
{
    (void)arg;
    (void)purpose;
    if ((to->family != AF_INET && to->family != AF_INET6) || is_link_local(&to->addr))
        return CURL_SOCKET_BAD;
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

bool
fetch_begin(CURL *curl, const char *url, const struct fetch_bounds *bounds)
{
    return curl_easy_setopt(curl, CURLOPT_URL, url) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, bounds->protocols) ==
               CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) ==
               CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOPROXY, "*") == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_OPENSOCKETFUNCTION, socket_open) ==
               CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, bounds->connect_ms) ==
               CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, bounds->answer_ms) == CURLE_OK;
}

bool
fetch_trust(CURL *curl, const char *ca_file)
{
    return !ca_file || (curl_easy_setopt(curl, CURLOPT_CAINFO, ca_file) == CURLE_OK &&
                        curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK);
}

static size_t
body_take(char *data, size_t one, size_t size, void *arg)
{
    const struct fetch_body *body = arg;
    (void)one; /* always 1 */
    if (size > body->most - body->text->size)
        return 0; /* ends the transfer */
    text_append(body->text, data, size);
    return body->text->failed ? 0 : size;
}

bool
fetch_body_into(CURL *curl, struct fetch_body *body)
{
    return curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_take) == CURLE_OK &&
           curl_easy_setopt(curl, CURLOPT_WRITEDATA, body) == CURLE_OK;
}

/* Not 0 ends the transfer. */
static int
stop_look(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)a, (void)b, (void)c, (void)d;
    return atomic_load((const atomic_bool *)arg);
}

bool
fetch_stop_by(CURL *curl, const atomic_bool *stop)
{
    void *flag = (void *)(uintptr_t)stop;
    return !stop ||
           (curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, stop_look) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_XFERINFODATA, flag) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L) == CURLE_OK);
}

bool
fetch_header_add(struct curl_slist **headers, const char *text)
{
    struct curl_slist *added = curl_slist_append(*headers, text);
    if (added)
        *headers = added;
    return added;
}
