/* Text forms shared by everyone: hex, base64, RFC 3339 times and durations, escapes. */
#pragma once

#include "status.h"
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The value of a digit of either case; -1: none. */
int hex_digit(char c);
/* Lower-case hex, NUL-terminated; `ret_text` has room for 2 * size + 1. */
void hex_format(const void *octets, size_t size, char *ret_text);
/* Hex of exactly `size` octets, either case, nothing else around it. */
bool hex_parse(const char *text, void *ret_octets, size_t size);

/* Base64 (RFC 4648 section 4), padded, without line breaks; free() it. NULL: memory. */
char *base64_format(const void *octets, size_t size);
/* Base64url (section 5) without padding; free() it. */
char *base64url_format(const void *octets, size_t size);

#define BASE64_STRICT 0u
#define BASE64_LENIENT 1u /* CR LF SP TAB skipped, '-' '_' taken, padding optional */
#define BASE64_URL 2u     /* base64url, no padding, no white space, no stray bits */
/* Decodes `length` characters into at most `size` octets; the text's own size is
 * checked before content. CA_MALFORMED, CA_LIMIT. */
enum ca_status base64_parse(const char *text, size_t length, unsigned flags,
                            void *ret_octets, size_t size, size_t *ret_size);

/* "2026-11-22T10:00:00Z"; `ret_text` has room for 21. */
void time_format(int64_t seconds, char ret_text[21]);
/* RFC 3339 with "Z" or an offset, whole seconds (a fraction is cut); years
 * 1970-9999. */
bool time_parse(const char *text, int64_t *ret_seconds);

/* ISO 8601 / RFC 3339 appendix A durations of years (365 d), months (30 d), weeks,
 * days, hours, minutes, seconds: "P1Y", "P30D", "PT5M", "P1DT12H" -> seconds. At most
 * 100 years, never negative, no fractions. */
bool duration_parse(const char *text, int64_t *ret_seconds);
/* The shortest form of weeks excluded: 86400 -> "P1D", 31536000 -> "P365D". */
void duration_format(int64_t seconds, char ret_text[32]);

/* Is it UTF-8 (shortest form, no surrogates) without control characters (below 0x20,
 * 0x7f, U+0080-U+009f) and without bidirectional or line controls (U+2028-U+202e,
 * U+2066-U+2069)? SECURITY R7. */
bool text_is_clean(const char *text, size_t length);

/* Decodes the character at `text`, of which `length` octets are there (RFC 3629 section
 * 4: shortest form, no surrogates), and returns its octets; 0 when it is none. */
size_t text_character(const char *text, size_t length, uint32_t *ret_character);

/* Octets of the longest beginning of at most `most` octets that ends with a whole
 * character of UTF-8. */
size_t text_whole_length(const char *text, size_t most);

/* ASCII without case. */
bool text_equal_ignoring_case(const char *a, const char *b);
/* `pattern` with at most one '*' per label, for one or more octets and never across a
 * dot: "*.example.com". Compares octets; names without case are folded before. */
bool text_matches(const char *pattern, const char *text);

/* A growing buffer for answers and DER; zero-initialised is empty. Any failed
 * allocation makes it `failed` for good, checked once at the end. `data` is malloc'd,
 * with a NUL behind its `size` octets; what it held is wiped when it moves or goes. */
struct text_buffer {
    char *data;
    size_t size;
    size_t room;
    bool failed;
};
void text_append(struct text_buffer *buffer, const void *octets, size_t size);
void text_print(struct text_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* The text with & < > " ' escaped, for HTML content and quoted attributes; other
 * control characters than line ends become spaces. */
void text_append_html(struct text_buffer *buffer, const char *text);
/* The text as a JSON string, where that takes no escapes: printable ASCII without " and
 * \\. False, and nothing is appended, where it does. */
bool text_append_json(struct text_buffer *buffer, const char *text);
/* A JSON string whatever the octets: those that are not UTF-8 come out as "\xNN", for a
 * peer's bad text must not keep what it did out of log and audit. NULL: memory. */
json_t *text_to_json(const char *text);
void text_buffer_clear(struct text_buffer *buffer);
static inline void __attribute__((unused))
text_buffer_clear_auto(struct text_buffer *buffer)
{
    text_buffer_clear(buffer);
}

/* Wipes and frees a string that held a secret; NULL is nothing. */
void secret_free(char *secret);
static inline void __attribute__((unused)) secret_free_auto(char **secret)
{
    secret_free(*secret);
}
