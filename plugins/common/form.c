/* Forms of login pages, decoded strictly. */
#include "form.h"
#include "escape.h"
#include <openssl/evp.h>
#include <string.h>

/* One name or value; false for a bad escape or a NUL. `to` has room for size + 1. */
static bool
decode(const char *text, size_t size, char *to)
{
    for (size_t i = 0; i < size; i++) {
        char c = text[i] == '+' ? ' ' : text[i];
        if (c == '%') {
            int octet = escape_octet(text + i + 1, size - i - 1);
            if (octet < 0)
                return false;
            c = (char)octet;
            i += 2;
        }
        if (c == '\0')
            return false;
        *to++ = c;
    }
    *to = '\0';
    return true;
}

/* The part up to `mark`, decoded, and what follows it. */
static const char *
take(struct ca_request *req, struct ca_bytes *from, char mark)
{
    const char *text = (const char *)from->data;
    const char *end = from->size > 0 ? memchr(text, mark, from->size) : NULL;
    size_t size = end ? (size_t)(end - text) : from->size;
    char *decoded = ca_request_alloc(req, size + 1);
    size_t used = size + (end != NULL);
    *from = (struct ca_bytes){ from->data + used, from->size - used };
    return decoded && decode(text, size, decoded) ? decoded : NULL;
}

enum ca_status
form_value(struct ca_request *req, const char *name, const char **ret_value)
{
    struct ca_bytes rest = req->body;
    const char *found = NULL;
    for (size_t count = 0; rest.size > 0; count++) {
        if (count == FORM_FIELDS_MAX)
            return ca_fail(CA_LIMIT, "a form of more than %d fields", FORM_FIELDS_MAX);
        const char *end = memchr(rest.data, '&', rest.size);
        size_t size = end ? (size_t)(end - (const char *)rest.data) : rest.size;
        struct ca_bytes field = { rest.data, size };
        size_t used = size + (end != NULL);
        rest = (struct ca_bytes){ rest.data + used, rest.size - used };
        const char *key = take(req, &field, '=');
        const char *value = take(req, &field, '\0');
        if (!key || !value)
            return ca_fail(CA_MALFORMED, "a form with a bad escape");
        if (strcmp(key, name) != 0)
            continue;
        if (found)
            return ca_fail(CA_MALFORMED, "form field '%s' twice", name);
        found = value;
    }
    *ret_value = found;
    return CA_OK;
}

const char *
form_escape(struct ca_request *req, const char *text)
{
    static const char special[] = "&<>\"'";
    static const char *const escapes[] = { "&amp;", "&lt;", "&gt;", "&quot;", "&#39;" };
    char *escaped = ca_request_alloc(req, 6 * strlen(text) + 1), *to = escaped;
    if (!escaped)
        return NULL;
    for (; *text; text++) {
        const char *at = strchr(special, *text);
        if (at)
            to = stpcpy(to, escapes[at - special]);
        else
            *to++ = *text;
    }
    *to = '\0';
    return escaped;
}

bool
form_policy_hash(const char *text, char ret_hash[FORM_HASH_SIZE])
{
    uint8_t digest[32];
    char encoded[48];
    if (EVP_Digest(text, strlen(text), digest, NULL, EVP_sha256(), NULL) != 1)
        return false;
    EVP_EncodeBlock((unsigned char *)encoded, digest, sizeof digest);
    snprintf(ret_hash, FORM_HASH_SIZE, "'sha256-%s'", encoded);
    return true;
}
