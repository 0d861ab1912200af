/* Composes mails. Everything variable in a header is checked here, whatever the caller
 * did, and texts leave as quoted-printable, so that no line of theirs can be anything
 * but text. */
#include "mime.h"
#include "auto.h"
#include "clock.h"
#include <string.h>
#include <time.h>

#define LINE_MAX_OCTETS 76 /* RFC 2045 section 6.7 */
#define WORD_OCTETS 39     /* of an encoded word: 52 characters of base64 */
#define BOUNDARY_SIZE 40
#define ADDRESS_LETTERS                                                                \
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"                   \
    "!#$%&'*+-/=?^_`{|}~."

bool
mime_address_is_good(const char *address)
{
    size_t size = strnlen(address, MIME_ADDRESS_MAX + 1);
    size_t local = strspn(address, ADDRESS_LETTERS);
    if (size > MIME_ADDRESS_MAX || local == 0 || address[local] != '@' ||
        address[0] == '.' || address[local - 1] == '.')
        return false;
    const char *domain = address + local + 1;
    size_t length =
        strspn(domain, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                       "0123456789.-");
    return length > 0 && domain[length] == '\0' && domain[0] != '.' &&
           domain[0] != '-' && domain[length - 1] != '.';
}

/* ---- Headers ---- */

static bool
is_plain(const char *text)
{
    for (const char *c = text; *c; c++)
        if (*c < 0x20 || *c > 0x7e)
            return false;
    return strstr(text, "=?") == NULL && strlen(text) <= 60 && *text != ' ';
}

/* RFC 2047 section 2: as many encoded words as it takes, a line each. */
static void
words_append(struct text_buffer *to, const char *text)
{
    const char *between = "";
    while (*text) {
        size_t length = text_whole_length(text, WORD_OCTETS);
        char *encoded = base64_format(text, length);
        if (!encoded || length == 0) {
            to->failed = true;
            secret_free(encoded);
            return;
        }
        text_print(to, "%s=?UTF-8?B?%s?=", between, encoded);
        secret_free(encoded);
        between = "\r\n ";
        text += length;
    }
}

static void
subject_append(struct text_buffer *to, const char *subject)
{
    text_print(to, "Subject: ");
    if (is_plain(subject))
        text_print(to, "%s", subject);
    else
        words_append(to, subject);
    text_print(to, "\r\n");
}

static void
from_append(struct text_buffer *to, const struct mime_message *message)
{
    const char *name = message->from_name;
    text_print(to, "From: ");
    if (name && *name) {
        bool is_atom = is_plain(name) && !strpbrk(name, "\"\\");
        if (is_atom)
            text_print(to, "\"%s\"", name);
        else
            words_append(to, name);
        text_print(to, "\r\n ");
    }
    text_print(to, "<%s>\r\n", message->from);
}

/* In English whatever the locale (RFC 5322 section 3.3). */
static void
date_append(struct text_buffer *to, int64_t date)
{
    static const char *const days[] = {
        "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"
    };
    static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                          "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    time_t seconds = (time_t)date;
    struct tm tm;
    if (!gmtime_r(&seconds, &tm)) {
        to->failed = true;
        return;
    }
    text_print(to, "Date: %s, %02d %s %04d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday],
               tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
               tm.tm_sec);
}

static void
headers_append(struct text_buffer *to, const struct mime_message *message)
{
    date_append(to, message->date);
    from_append(to, message);
    text_print(to, "To: <%s>\r\n", message->to);
    subject_append(to, message->subject);
    text_print(to, "Message-ID: <%s%s>\r\n", message->id, strchr(message->from, '@'));
    text_print(to, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\n");
}

/* ---- Bodies ---- */

/* RFC 2045 section 6.7. A line that begins with a dot or "From " is left as it is: SMTP
 * doubles dots, and nothing of ours is kept in an mbox. */
static void
quoted_append(struct text_buffer *to, const char *text)
{
    size_t column = 0;
    for (; *text; text++) {
        bool is_crlf = text[0] == '\r' && text[1] == '\n';
        if (*text == '\n' || is_crlf) {
            text_print(to, "\r\n");
            text += is_crlf;
            column = 0;
            continue;
        }
        bool ends_line = text[1] == '\n' || text[1] == '\r' || text[1] == '\0';
        bool is_blank = *text == ' ' || *text == '\t';
        bool is_literal =
            (*text > 0x20 && *text < 0x7f && *text != '=') || (is_blank && !ends_line);
        size_t width = is_literal ? 1 : 3;
        if (column + width > LINE_MAX_OCTETS - 1) {
            text_print(to, "=\r\n");
            column = 0;
        }
        if (is_literal)
            text_append(to, text, 1);
        else
            text_print(to, "=%02X", (unsigned)(unsigned char)*text);
        column += width;
    }
    text_print(to, "\r\n");
}

static void
text_part_append(struct text_buffer *to, const char *type, const char *text)
{
    text_print(to,
               "Content-Type: %s; charset=UTF-8\r\n"
               "Content-Transfer-Encoding: quoted-printable\r\n\r\n",
               type);
    quoted_append(to, text);
}

static void
picture_append(struct text_buffer *to, const struct mime_message *message)
{
    char *encoded = base64_format(message->picture, message->picture_size);
    if (!encoded) {
        to->failed = true;
        return;
    }
    text_print(to, "Content-Type: image/png; name=\"qr.png\"\r\n"
                   "Content-Transfer-Encoding: base64\r\n"
                   "Content-ID: <" MIME_PICTURE_ID ">\r\n"
                   "Content-Disposition: inline; filename=\"qr.png\"\r\n\r\n");
    size_t size = strlen(encoded);
    for (size_t at = 0; at < size; at += LINE_MAX_OCTETS) {
        size_t length = size - at < LINE_MAX_OCTETS ? size - at : LINE_MAX_OCTETS;
        text_append(to, encoded + at, length);
        text_append(to, "\r\n", 2);
    }
    secret_free(encoded);
}

static void
related_append(struct text_buffer *to, const struct mime_message *message,
               const char *boundary)
{
    text_print(to,
               "Content-Type: multipart/related; type=\"text/html\";\r\n"
               " boundary=\"%s\"\r\n\r\n--%s\r\n",
               boundary, boundary);
    text_part_append(to, "text/html", message->html);
    text_print(to, "--%s\r\n", boundary);
    picture_append(to, message);
    text_print(to, "--%s--\r\n", boundary);
}

/* "=_" never stands in quoted-printable text nor in base64. */
static enum ca_status
boundary_draw(char ret_boundary[BOUNDARY_SIZE])
{
    uint8_t octets[16];
    char hex[2 * sizeof octets + 1];
    enum ca_status status = random_bytes(octets, sizeof octets);
    if (status != CA_OK)
        return status;
    hex_format(octets, sizeof octets, hex);
    snprintf(ret_boundary, BOUNDARY_SIZE, "=_%s", hex);
    return CA_OK;
}

static enum ca_status
alternative_append(struct text_buffer *to, const struct mime_message *message)
{
    char outer[BOUNDARY_SIZE], inner[BOUNDARY_SIZE];
    enum ca_status status = boundary_draw(outer);
    if (status == CA_OK)
        status = boundary_draw(inner);
    if (status != CA_OK)
        return status;
    text_print(to,
               "Content-Type: multipart/alternative;\r\n boundary=\"%s\"\r\n\r\n"
               "--%s\r\n",
               outer, outer);
    text_part_append(to, "text/plain", message->text);
    text_print(to, "--%s\r\n", outer);
    if (message->picture)
        related_append(to, message, inner);
    else
        text_part_append(to, "text/html", message->html);
    text_print(to, "--%s--\r\n", outer);
    return CA_OK;
}

static bool
is_id(const char *id)
{
    return *id && id[strspn(id, "abcdefghijklmnopqrstuvwxyz0123456789-")] == '\0';
}

enum ca_status
mime_compose(const struct mime_message *message, struct text_buffer *ret_octets)
{
    const char *name = message->from_name ? message->from_name : "";
    if (!mime_address_is_good(message->from) || !mime_address_is_good(message->to))
        return ca_fail(CA_MALFORMED, "%s of a mail is no mail address",
                       mime_address_is_good(message->from) ? "recipient" : "sender");
    if (!text_is_clean(message->subject, strlen(message->subject)) ||
        !text_is_clean(name, strlen(name)) || !is_id(message->id))
        return ca_fail(CA_MALFORMED, "a mail's header has control characters");
    enum ca_status status = CA_OK;
    headers_append(ret_octets, message);
    if (message->html)
        status = alternative_append(ret_octets, message);
    else
        text_part_append(ret_octets, "text/plain", message->text);
    if (status == CA_OK && ret_octets->failed)
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    return status;
}
