/* Clean text, comparison and patterns, growing buffers, and the end of secrets. */
#include "text.h"
#include "auto.h"
#include <openssl/crypto.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

size_t
text_character(const char *at, size_t length, uint32_t *ret_character)
{
    const unsigned char *text = (const unsigned char *)at;
    static const uint32_t lowest[] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (length == 0)
        return 0;
    if (text[0] < 0x80) {
        *ret_character = text[0];
        return 1;
    }
    if (text[0] < 0xc2 || text[0] > 0xf4)
        return 0;
    size_t size = text[0] < 0xe0 ? 2 : text[0] < 0xf0 ? 3 : 4;
    if (size > length)
        return 0;
    uint32_t character = text[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (text[i] & 0x3fu);
    }
    if (character < lowest[size] || character > 0x10ffff ||
        (character >= 0xd800 && character <= 0xdfff))
        return 0;
    *ret_character = character;
    return size;
}

static bool
is_control(uint32_t c)
{
    return c < 0x20 || (c >= 0x7f && c <= 0x9f) || (c >= 0x2028 && c <= 0x202e) ||
           (c >= 0x2066 && c <= 0x2069);
}

size_t
text_whole_length(const char *text, size_t most)
{
    size_t length = strnlen(text, most + 1);
    if (length <= most)
        return length;
    length = most;
    while (length > 0 && ((unsigned char)text[length] & 0xc0) == 0x80)
        length--;
    return length;
}

bool
text_is_clean(const char *text, size_t length)
{
    for (size_t at = 0; at < length;) {
        uint32_t character;
        size_t size = text_character(text + at, length - at, &character);
        if (size == 0 || is_control(character))
            return false;
        at += size;
    }
    return true;
}

static char
fold(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

bool
text_equal_ignoring_case(const char *a, const char *b)
{
    while (*a && fold(*a) == fold(*b)) {
        a++;
        b++;
    }
    return fold(*a) == fold(*b);
}

static bool
label_matches(const char *pattern, size_t pattern_size, const char *text, size_t size)
{
    const char *star = memchr(pattern, '*', pattern_size);
    if (!star)
        return pattern_size == size && memcmp(pattern, text, size) == 0;
    size_t before = (size_t)(star - pattern);
    size_t after = pattern_size - before - 1;
    if (memchr(star + 1, '*', after) || size < before + after + 1)
        return false;
    return memcmp(pattern, text, before) == 0 &&
           memcmp(star + 1, text + size - after, after) == 0;
}

bool
text_matches(const char *pattern, const char *text)
{
    for (;;) {
        size_t pattern_size = strcspn(pattern, "."), size = strcspn(text, ".");
        if (!label_matches(pattern, pattern_size, text, size))
            return false;
        pattern += pattern_size;
        text += size;
        if (*pattern != *text)
            return false;
        if (*pattern == '\0')
            return true;
        pattern++;
        text++;
    }
}

/* Room for `more` octets and a NUL; what the buffer held moves without a trace. */
static bool
buffer_grow(struct text_buffer *buffer, size_t more)
{
    if (buffer->failed)
        return false;
    if (more < buffer->room - buffer->size)
        return true;
    size_t room = buffer->room > 0 ? buffer->room : 256;
    while (room <= SIZE_MAX / 2 && room - buffer->size <= more)
        room *= 2;
    char *data = room - buffer->size > more ? malloc(room) : NULL;
    if (!data) {
        buffer->failed = true;
        return false;
    }
    if (buffer->data) {
        memcpy(data, buffer->data, buffer->size);
        OPENSSL_cleanse(buffer->data, buffer->size);
        free(buffer->data);
    }
    buffer->data = data;
    buffer->room = room;
    return true;
}

void
text_append(struct text_buffer *buffer, const void *octets, size_t size)
{
    if (!buffer_grow(buffer, size))
        return;
    if (size > 0)
        memcpy(buffer->data + buffer->size, octets, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void
text_print(struct text_buffer *buffer, const char *format, ...)
{
    if (!buffer_grow(buffer, 0))
        return;
    size_t left = buffer->room - buffer->size;
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(buffer->data + buffer->size, left, format, args);
    va_end(args);
    if (length < 0)
        buffer->failed = true;
    else if ((size_t)length >= left && buffer_grow(buffer, (size_t)length))
        vsnprintf(buffer->data + buffer->size, (size_t)length + 1, format, again);
    va_end(again);
    if (!buffer->failed)
        buffer->size += (size_t)length;
}

void
text_append_html(struct text_buffer *buffer, const char *text)
{
    for (; *text; text++) {
        bool is_control =
            ((unsigned char)*text < 0x20 && *text != '\n') || *text == 0x7f;
        switch (*text) {
        case '&': text_append(buffer, "&amp;", 5); break;
        case '<': text_append(buffer, "&lt;", 4); break;
        case '>': text_append(buffer, "&gt;", 4); break;
        case '"': text_append(buffer, "&#34;", 5); break;
        case '\'': text_append(buffer, "&#39;", 5); break;
        default: text_append(buffer, is_control ? " " : text, 1);
        }
    }
}

bool
text_append_json(struct text_buffer *buffer, const char *text)
{
    size_t size = 0;
    for (; text[size]; size++) {
        if (text[size] < 0x20 || text[size] > 0x7e || text[size] == '"' ||
            text[size] == '\\')
            return false;
    }
    text_append(buffer, "\"", 1);
    text_append(buffer, text, size);
    text_append(buffer, "\"", 1);
    return true;
}

json_t *
text_to_json(const char *text)
{
    json_t *string = json_string(text);
    if (string)
        return string;
    CA_AUTO(text_buffer_clear) struct text_buffer escaped = { 0 };
    for (const char *at = text; *at; at++) {
        if ((unsigned char)*at < 0x80)
            text_append(&escaped, at, 1);
        else
            text_print(&escaped, "\\x%02x", (unsigned char)*at);
    }
    return escaped.failed ? NULL : json_string(escaped.data);
}

void
text_buffer_clear(struct text_buffer *buffer)
{
    if (buffer->data)
        OPENSSL_cleanse(buffer->data, buffer->size);
    free(buffer->data);
    *buffer = (struct text_buffer){ 0 };
}

void
secret_free(char *secret)
{
    if (secret)
        OPENSSL_cleanse(secret, strlen(secret));
    free(secret);
}
