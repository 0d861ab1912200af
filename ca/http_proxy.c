/* What a reverse proxy says of its client, believed only from configured addresses
 * (SECURITY W2). */
#include "http_proxy.h"
#include "auto.h"
#include "text.h"
#include <openssl/pem.h>
#include <string.h>

static const char *const owned[] = { "X-Forwarded-For", "X-Forwarded-Proto",
                                     "Client-Cert", "Client-Cert-Chain", "Forwarded" };

/* The last entry of a comma-separated value of *length octets, cut off from it. */
static const char *
last_entry(const char *value, size_t *length, size_t *ret_size)
{
    size_t end = *length;
    while (end > 0 && (value[end - 1] == ' ' || value[end - 1] == '\t'))
        end--;
    size_t start = end;
    while (start > 0 && value[start - 1] != ',')
        start--;
    *length = start > 0 ? start - 1 : 0;
    while (start < end && (value[start] == ' ' || value[start] == '\t'))
        start++;
    *ret_size = end - start;
    return value + start;
}

/* Walks all X-Forwarded-For from the right. */
static enum ca_status
read_peer(const struct network_list *trusted, const struct http_field *fields,
          size_t count, struct address *peer)
{
    size_t hops = 0;
    for (size_t i = count; i > 0; i--) {
        if (!text_equal_ignoring_case(fields[i - 1].name, "X-Forwarded-For"))
            continue;
        const char *value = fields[i - 1].value;
        size_t left = strlen(value);
        do {
            size_t size;
            const char *entry = last_entry(value, &left, &size);
            struct address address;
            if (++hops > PROXY_HOPS_MAX)
                return ca_fail(CA_MALFORMED, "X-Forwarded-For: more than %d hops",
                               PROXY_HOPS_MAX);
            if (!address_parse(entry, size, &address))
                return ca_fail(CA_MALFORMED, "X-Forwarded-For: no address");
            *peer = address;
            if (!network_list_has(trusted, &address))
                return CA_OK;
        } while (left > 0);
    }
    return CA_OK;
}

/* The one header of this name that the proxy itself has set; *ret_value NULL: none. */
static enum ca_status
find_one(const struct http_field *fields, size_t count, const char *name,
         const char **ret_value)
{
    *ret_value = NULL;
    for (size_t i = 0; i < count; i++) {
        if (!text_equal_ignoring_case(fields[i].name, name))
            continue;
        if (*ret_value)
            return ca_fail(CA_MALFORMED, "two headers %s through the proxy", name);
        *ret_value = fields[i].value;
    }
    return CA_OK;
}

static enum ca_status
read_scheme(const struct http_field *fields, size_t count, bool *secure)
{
    const char *value;
    enum ca_status status = find_one(fields, count, "X-Forwarded-Proto", &value);
    if (status != CA_OK || !value)
        return status;
    bool is_https = text_equal_ignoring_case(value, "https");
    if (!is_https && !text_equal_ignoring_case(value, "http"))
        return ca_fail(CA_MALFORMED, "X-Forwarded-Proto is neither http nor https");
    *secure = is_https;
    return CA_OK;
}

/* ":BASE64:", a byte sequence of RFC 8941 section 3.3.5. */
static X509 *
certificate_of_base64(const char *text, size_t length)
{
    CA_AUTO(free) uint8_t *der = malloc(length);
    size_t size = 0;
    if (!der || length < 3 || text[length - 1] != ':' ||
        base64_parse(text + 1, length - 2, BASE64_STRICT, der, length, &size) != CA_OK)
        return NULL;
    const uint8_t *at = der;
    CA_AUTO(X509_free) X509 *certificate = d2i_X509(NULL, &at, (long)size);
    return certificate && at == der + size ? CA_STEAL(certificate) : NULL;
}

/* PEM with everything special percent-encoded: nginx's $ssl_client_escaped_cert. */
static X509 *
certificate_of_pem(const char *text, size_t length)
{
    CA_AUTO(free) char *pem = malloc(length + 1);
    if (!pem)
        return NULL;
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        if (c == '%') {
            char octet;
            char digits[3] = { i + 1 < length ? text[i + 1] : '\0',
                               i + 2 < length ? text[i + 2] : '\0', '\0' };
            if (!hex_parse(digits, &octet, 1))
                return NULL;
            c = octet;
            i += 2;
        }
        pem[used++] = c;
    }
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(pem, (int)used);
    return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

static enum ca_status
read_certificate(const struct http_field *fields, size_t count, X509 **ret_certificate)
{
    const char *value;
    enum ca_status status = find_one(fields, count, "Client-Cert", &value);
    if (status != CA_OK || !value)
        return status;
    size_t length = strlen(value);
    if (length > PROXY_CERTIFICATE_MAX)
        return ca_fail(CA_MALFORMED, "Client-Cert of %zu octets", length);
    if (length == 0 || strcmp(value, "::") == 0 || strcmp(value, "(null)") == 0)
        return CA_OK; /* how proxies write that there is none */
    X509 *certificate = value[0] == ':' ? certificate_of_base64(value, length)
                                        : certificate_of_pem(value, length);
    if (!certificate)
        return ca_fail_openssl(CA_MALFORMED, "Client-Cert is no certificate");
    *ret_certificate = certificate;
    return CA_OK;
}

enum ca_status
proxy_read(const struct network_list *trusted, const struct http_field *fields,
           size_t count, struct forwarded *forwarded)
{
    struct forwarded read = *forwarded;
    read.certificate = NULL;
    enum ca_status status = read_peer(trusted, fields, count, &read.peer);
    if (status == CA_OK)
        status = read_scheme(fields, count, &read.secure);
    if (status == CA_OK)
        status = read_certificate(fields, count, &read.certificate);
    if (status == CA_OK)
        *forwarded = read;
    return status;
}

bool
proxy_owns_header(const char *name)
{
    for (size_t i = 0; i < sizeof owned / sizeof owned[0]; i++) {
        if (text_equal_ignoring_case(name, owned[i]))
            return true;
    }
    return false;
}
