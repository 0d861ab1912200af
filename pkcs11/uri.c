/* Parses and writes RFC 7512 URIs. */
#include "uri.h"
#include "text.h"
#include <stdlib.h>
#include <string.h>

static const char scheme[] = "pkcs11:";

/* One path attribute of section 2.3 that is stored as a string. */
struct attribute {
    const char *name;
    size_t offset, room; /* in struct uri; room counts the NUL */
};

#define STRING_ATTRIBUTE(name, member)                                                 \
    {                                                                                  \
        name, offsetof(struct uri, member), sizeof((struct uri *)NULL)->member         \
    }

static const struct attribute attributes[] = {
    STRING_ATTRIBUTE("token", token),   STRING_ATTRIBUTE("manufacturer", manufacturer),
    STRING_ATTRIBUTE("model", model),   STRING_ATTRIBUTE("serial", serial),
    STRING_ATTRIBUTE("object", object),
};

/* pk11-pchar: unreserved, pk11-res-avail and '&'. */
static bool
character_is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c != '\0' && strchr("-._~:[]@!$'()*+,=&", c));
}

/* Percent-decodes `length` characters into at most `room` octets. */
static enum ca_status
value_decode(const char *name, const char *text, size_t length, uint8_t *ret_octets,
             size_t room, size_t *ret_size)
{
    size_t size = 0;
    for (size_t i = 0; i < length; i++) {
        uint8_t octet = (uint8_t)text[i];
        if (text[i] == '%') {
            char digits[3] = { 0 };
            if (length - i < 3)
                return ca_fail(CA_MALFORMED, "URI: '%s' ends inside a %%-escape", name);
            memcpy(digits, text + i + 1, 2);
            if (!hex_parse(digits, &octet, 1))
                return ca_fail(CA_MALFORMED, "URI: '%s' has a bad %%-escape", name);
            i += 2;
        } else if (!character_is_plain(text[i])) {
            return ca_fail(CA_MALFORMED, "URI: '%s' has a character to be escaped",
                           name);
        }
        if (size == room)
            return ca_fail(CA_MALFORMED, "URI: '%s' is longer than %zu octets", name,
                           room);
        ret_octets[size++] = octet;
    }
    if (size == 0)
        return ca_fail(CA_MALFORMED, "URI: '%s' is empty", name);
    *ret_size = size;
    return CA_OK;
}

static enum ca_status
string_parse(const struct attribute *attribute, const char *text, size_t length,
             struct uri *uri)
{
    char *value = (char *)uri + attribute->offset;
    size_t size = 0;
    if (value[0])
        return ca_fail(CA_MALFORMED, "URI: '%s' is there twice", attribute->name);
    enum ca_status status = value_decode(attribute->name, text, length,
                                         (uint8_t *)value, attribute->room - 1, &size);
    if (status != CA_OK)
        return status;
    if (!text_is_clean(value, size))
        return ca_fail(CA_MALFORMED, "URI: '%s' is no clean UTF-8 text",
                       attribute->name);
    return CA_OK;
}

static bool
is_word(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

static enum ca_status
attribute_parse(const char *text, size_t length, struct uri *uri, bool *has_type)
{
    const char *equal = memchr(text, '=', length);
    if (!equal)
        return ca_fail(CA_MALFORMED, "URI: an attribute has no '='");
    size_t name_length = (size_t)(equal - text);
    const char *value = equal + 1;
    size_t value_length = length - name_length - 1;

    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        if (is_word(text, name_length, attributes[i].name))
            return string_parse(&attributes[i], value, value_length, uri);
    }
    if (is_word(text, name_length, "id")) {
        if (uri->id_size > 0)
            return ca_fail(CA_MALFORMED, "URI: 'id' is there twice");
        return value_decode("id", value, value_length, uri->id, sizeof uri->id,
                            &uri->id_size);
    }
    if (is_word(text, name_length, "type")) {
        if (*has_type || !is_word(value, value_length, "private"))
            return ca_fail(CA_MALFORMED, "URI: 'type' is 'private', once, or left out");
        *has_type = true;
        return CA_OK;
    }
    return ca_fail(CA_MALFORMED, "URI: attribute '%.*s' is not taken",
                   name_length > 32 ? 32 : (int)name_length, text);
}

enum ca_status
uri_parse(const char *text, struct uri *ret_uri)
{
    struct uri uri = { 0 };
    bool has_type = false;
    if (strnlen(text, URI_TEXT_MAX + 1) > URI_TEXT_MAX)
        return ca_fail(CA_MALFORMED, "URI: longer than %d characters", URI_TEXT_MAX);
    if (strncmp(text, scheme, sizeof scheme - 1) != 0)
        return ca_fail(CA_MALFORMED, "URI: does not begin with '%s'", scheme);
    if (strchr(text, '?'))
        return ca_fail(CA_MALFORMED,
                       "URI: no query (pin-source, pin-value, module-path) "
                       "is taken: the configuration has own members");
    for (const char *at = text + sizeof scheme - 1;;) {
        size_t length = strcspn(at, ";");
        enum ca_status status = attribute_parse(at, length, &uri, &has_type);
        if (status != CA_OK)
            return status;
        if (at[length] == '\0')
            break;
        at += length + 1;
    }
    if (has_type && !uri_names_key(&uri))
        return ca_fail(CA_MALFORMED, "URI: 'type' without 'object' or 'id'");
    *ret_uri = uri;
    return CA_OK;
}

bool
uri_names_token(const struct uri *uri)
{
    return uri->token[0] || uri->serial[0];
}

bool
uri_names_key(const struct uri *uri)
{
    return uri->object[0] || uri->id_size > 0;
}

/* ";name=" or "name=" and the value, escaped but for unreserved characters. */
static void
attribute_format(struct text_buffer *text, const char *name, const void *value,
                 size_t size)
{
    static const char unreserved[] = "abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
    const uint8_t *octets = value;
    text_print(text, "%s%s=", text->size == sizeof scheme - 1 ? "" : ";", name);
    for (size_t i = 0; i < size; i++) {
        if (octets[i] != '\0' && strchr(unreserved, octets[i]))
            text_append(text, octets + i, 1);
        else
            text_print(text, "%%%02X", octets[i]);
    }
}

char *
uri_format(const struct uri *uri)
{
    struct text_buffer text = { 0 };
    text_append(&text, scheme, sizeof scheme - 1);
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        const char *value = (const char *)uri + attributes[i].offset;
        if (value[0])
            attribute_format(&text, attributes[i].name, value, strlen(value));
    }
    if (uri->id_size > 0) {
        /* RFC 7512 section 2.3: every octet of an id is escaped. */
        text_print(&text, "%sid=", text.size == sizeof scheme - 1 ? "" : ";");
        for (size_t i = 0; i < uri->id_size; i++)
            text_print(&text, "%%%02X", uri->id[i]);
    }
    if (uri_names_key(uri))
        text_print(&text, ";type=private");
    if (text.failed) {
        text_buffer_clear(&text);
        return NULL;
    }
    return text.data;
}
