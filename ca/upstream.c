/* Requests to an upstream CA by libcurl, and its challenges. */
#include "upstream.h"
#include "clock.h"
#include "fetch.h"
#include <ctype.h>
#include <fcntl.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONNECT_MS 5000L
#define ANSWER_MS 15000L
#define SCEP_TYPE "Content-Type: application/x-pki-message"

void
upstream_answer_clear(struct upstream_answer *answer)
{
    scep_octets_clear(&answer->body);
    *answer = (struct upstream_answer){ 0 };
}

static bool
set_up(CURL *curl, const struct upstream_request *request, struct fetch_body *body,
       struct curl_slist *headers)
{
    static const struct fetch_bounds bounds = { "http,https", CONNECT_MS, ANSWER_MS };
    bool is_good =
        fetch_begin(curl, request->url, &bounds) && fetch_body_into(curl, body);
    if (is_good && request->tls_ca) {
        struct curl_blob pem = { .data = (void *)(uintptr_t)request->tls_ca,
                                 .len = strlen(request->tls_ca),
                                 .flags = CURL_BLOB_COPY };
        is_good = curl_easy_setopt(curl, CURLOPT_CAINFO_BLOB, &pem) == CURLE_OK &&
                  curl_easy_setopt(curl, CURLOPT_CAPATH, NULL) == CURLE_OK;
    }
    if (is_good && request->credentials)
        is_good =
            curl_easy_setopt(curl, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_USERPWD, request->credentials) == CURLE_OK;
    if (is_good && request->body)
        is_good =
            curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_POST, 1L) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body) == CURLE_OK &&
            curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)request->size) ==
                CURLE_OK;
    return is_good;
}

static enum ca_status
answer_take(CURL *curl, struct text_buffer *buffer, struct upstream_answer *ret_answer)
{
    long code = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &code);
    if (code != 200)
        return ca_fail(CA_UNAVAILABLE, "the upstream answers %ld", code);
    *ret_answer =
        (struct upstream_answer){ .body = { (uint8_t *)buffer->data, buffer->size } };
    buffer->data = NULL;
    buffer->size = buffer->room = 0;
    return CA_OK;
}

enum ca_status
upstream_http(const struct upstream_request *request,
              struct upstream_answer *ret_answer)
{
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    struct fetch_body body = { &buffer, SCEP_WIRE_MOST };
    CA_AUTO(curl_easy_cleanup) CURL *curl = curl_easy_init();
    CA_AUTO(curl_slist_free_all)
    struct curl_slist *headers = curl_slist_append(NULL, SCEP_TYPE);
    if (!curl || !headers || !set_up(curl, request, &body, headers))
        return ca_fail(CA_INTERNAL, "cannot set up a request to the upstream");
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_WRITE_ERROR)
        return ca_fail(CA_LIMIT, "the upstream's answer is too large");
    if (code != CURLE_OK)
        return ca_fail(CA_UNAVAILABLE, "the upstream: %s", curl_easy_strerror(code));
    return answer_take(curl, &buffer, ret_answer);
}

/* ---- Secrets ---- */

static void
descriptor_auto(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

enum ca_status
upstream_file(const char *data_directory, const char *name, size_t most,
              char **ret_text)
{
    struct stat stat;
    CA_AUTO(free) char *path = NULL;
    if (asprintf(&path, "%s/upstream/%s", data_directory, name) < 0) {
        path = NULL;
        return ca_fail(CA_INTERNAL, "no memory for a path");
    }
    CA_AUTO(descriptor) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &stat) != 0)
        return ca_fail(CA_UNAVAILABLE, "%s cannot be read: %m", path);
    if (!S_ISREG(stat.st_mode) || (stat.st_mode & 077) != 0 ||
        (stat.st_uid != geteuid() && stat.st_uid != 0))
        return ca_fail(CA_UNAVAILABLE,
                       "%s must be a file of ours that nobody else may read", path);
    if (stat.st_size <= 0 || (size_t)stat.st_size > most)
        return ca_fail(CA_UNAVAILABLE, "%s has %lld octets, at most %zu", path,
                       (long long)stat.st_size, most);
    size_t size = (size_t)stat.st_size;
    char *text = calloc(1, size + 1);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a secret");
    if (read(fd, text, size) != (ssize_t)size || memchr(text, 0, size)) {
        OPENSSL_cleanse(text, size);
        free(text);
        return ca_fail(CA_UNAVAILABLE, "%s is no text", path);
    }
    while (size > 0 && (text[size - 1] == '\n' || text[size - 1] == '\r'))
        text[--size] = '\0';
    *ret_text = text;
    return CA_OK;
}

int
upstream_challenge_bits(const char *challenge)
{
    bool digits = false, upper = false, lower = false, other = false;
    for (const char *c = challenge; *c; c++) {
        digits = digits || isdigit((unsigned char)*c);
        upper = upper || isupper((unsigned char)*c);
        lower = lower || islower((unsigned char)*c);
        other = other || !isalnum((unsigned char)*c);
    }
    bool is_hex = strspn(challenge, "0123456789abcdef") == strlen(challenge) ||
                  strspn(challenge, "0123456789ABCDEF") == strlen(challenge);
    int kinds =
        (digits ? 10 : 0) + (upper ? 26 : 0) + (lower ? 26 : 0) + (other ? 32 : 0);
    if (is_hex && kinds > 16)
        kinds = 16;
    return kinds > 1 ? (int)((double)strlen(challenge) * log2((double)kinds)) : 0;
}

/* Case of the tag is free; the text is ASCII once NULs of UTF-16 are gone. */
static const char *
find_tag(const char *text, const char *tag)
{
    size_t size = strlen(tag);
    for (; *text; text++) {
        if (strncasecmp(text, tag, size) == 0)
            return text;
    }
    return NULL;
}

enum ca_status
upstream_challenge_parse(const void *body, size_t size, char **ret_challenge)
{
    CA_AUTO(secret_free) char *text = calloc(1, size + 1);
    const char *octets = body;
    size_t used = 0;
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a challenge");
    /* NDES answers in UTF-16 with a byte order mark. */
    bool is_wide =
        size >= 2 && (uint8_t)octets[0] == 0xff && (uint8_t)octets[1] == 0xfe;
    for (size_t i = is_wide ? 2 : 0; i < size; i++) {
        if (octets[i] != '\0')
            text[used++] = octets[i];
        else if (!is_wide)
            return ca_fail(CA_MALFORMED, "the challenge's answer is no text");
    }
    const char *start = text, *end = text + used;
    if (strchr(text, '<')) {
        const char *at = find_tag(text, "challenge password is:");
        start = at ? find_tag(at, "<b>") : NULL;
        end = start ? find_tag(start, "</b>") : NULL;
        if (!end)
            return ca_fail(CA_MALFORMED, "the answer holds no challenge");
        start += 3;
    }
    while (start < end && isspace((unsigned char)*start))
        start++;
    while (end > start && isspace((unsigned char)end[-1]))
        end--;
    size_t length = (size_t)(end - start);
    for (const char *c = start; c < end; c++) {
        if (!isgraph((unsigned char)*c))
            length = 0;
    }
    if (length == 0 || length > UPSTREAM_CHALLENGE_MAX)
        return ca_fail(CA_MALFORMED, "the answer holds no challenge");
    char *found = strndup(start, length);
    if (!found)
        return ca_fail(CA_INTERNAL, "no memory for a challenge");
    *ret_challenge = found;
    return CA_OK;
}

static enum ca_status
challenge_static(char *secret, char **ret_challenge)
{
    int bits = upstream_challenge_bits(secret);
    if (bits < UPSTREAM_CHALLENGE_BITS || strlen(secret) > UPSTREAM_CHALLENGE_MAX) {
        secret_free(secret);
        return ca_fail(CA_UNAVAILABLE,
                       "the static challenge has at most %d bits, %d are needed", bits,
                       UPSTREAM_CHALLENGE_BITS);
    }
    *ret_challenge = secret;
    return CA_OK;
}

enum ca_status
upstream_challenge(const char *data_directory, const struct scep_upstream *upstream,
                   char **ret_challenge)
{
    char *secret = NULL;
    if (upstream->challenge == UPSTREAM_NONE)
        return ca_fail(CA_NOT_FOUND, "the upstream wants no challenge");
    enum ca_status status = upstream_file(data_directory, upstream->challenge_file,
                                          2 * UPSTREAM_CHALLENGE_MAX, &secret);
    if (status != CA_OK)
        return status;
    if (upstream->challenge == UPSTREAM_STATIC)
        return challenge_static(secret, ret_challenge);
    CA_AUTO(upstream_answer_clear) struct upstream_answer answer = { 0 };
    status = upstream_http(&(struct upstream_request){ .url = upstream->challenge_url,
                                                       .tls_ca = upstream->tls_ca,
                                                       .credentials = secret },
                           &answer);
    secret_free(secret);
    if (status == CA_OK)
        status =
            upstream_challenge_parse(answer.body.data, answer.body.size, ret_challenge);
    return status == CA_OK || status == CA_INTERNAL
               ? status
               : ca_fail(CA_UNAVAILABLE, "%s", status_message());
}

/* Without TLS only a pin tells the upstream's RA from a device that has a certificate
 * of the same CA. */
static enum ca_status
pins_read(const struct scep_upstream *upstream, struct scep_wire_pins *ret_pins)
{
    const struct field_list *ras = &upstream->ra_sha256;
    struct scep_wire_pins pins = { .ra_count = ras->count };
    bool is_good = upstream->ca_sha256 && ras->count <= SCEP_WIRE_RA_MAX &&
                   hex_parse(upstream->ca_sha256, pins.ca, sizeof pins.ca);
    for (size_t i = 0; is_good && i < ras->count; i++)
        is_good = hex_parse(((char *const *)ras->items)[i], pins.ra[i], 32);
    if (!is_good)
        return ca_fail(CA_UNAVAILABLE, "no certificate of the upstream is pinned");
    if (ras->count == 0 && strncasecmp(upstream->url, "https://", 8) != 0)
        return ca_fail(CA_UNAVAILABLE, "an upstream without TLS has no ra_sha256");
    *ret_pins = pins;
    return CA_OK;
}

enum ca_status
upstream_authority(const struct scep_upstream *upstream,
                   struct scep_wire_authority *ret_authority)
{
    struct scep_wire_pins pins;
    CA_AUTO(upstream_answer_clear) struct upstream_answer answer = { 0 };
    CA_AUTO(x509_stack_free) STACK_OF(X509) *certificates = NULL;
    CA_AUTO(free)
    char *url = scep_wire_url(upstream->url, "GetCACert",
                              upstream->ca_ident ? upstream->ca_ident : "");
    if (!url)
        return ca_fail(CA_INTERNAL, "no memory for a URL");
    enum ca_status status = pins_read(upstream, &pins);
    if (status != CA_OK)
        return status;
    status = upstream_http(
        &(struct upstream_request){ .url = url, .tls_ca = upstream->tls_ca }, &answer);
    if (status == CA_OK)
        status =
            scep_wire_certificates(answer.body.data, answer.body.size, &certificates);
    if (status == CA_OK)
        status = scep_wire_trust(certificates, &pins, clock_now(), ret_authority);
    return status == CA_OK || status == CA_INTERNAL
               ? status
               : ca_fail(CA_UNAVAILABLE, "the upstream: %s", status_message());
}
