/* Statuses as words, and the thread's message for the operator. */
#include "status.h"
#include "text.h"
#include <errno.h>
#include <openssl/err.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MESSAGE_SIZE 512

static _Thread_local char message[MESSAGE_SIZE];

static const char *const status_words[CA_STATUS_COUNT] = {
    [CA_OK] = "ok",
    [CA_PENDING] = "pending",
    [CA_MALFORMED] = "malformed",
    [CA_UNAUTHENTICATED] = "unauthenticated",
    [CA_FORBIDDEN] = "forbidden",
    [CA_NOT_FOUND] = "not_found",
    [CA_CONFLICT] = "conflict",
    [CA_UNSUPPORTED] = "unsupported",
    [CA_LIMIT] = "limit",
    [CA_UNAVAILABLE] = "unavailable",
    [CA_INTERNAL] = "internal",
};

const char *
ca_status_name(enum ca_status status)
{
    if ((unsigned)status >= CA_STATUS_COUNT)
        return "unknown";
    return status_words[status];
}

/* Octets of the printable character at `text`; 0 for a control character or an octet
 * that is not UTF-8. */
static size_t
character_size(const char *text, size_t length)
{
    uint32_t c;
    size_t size = text_character(text, length, &c);
    return size == 0 || c < 0x20 || (c >= 0x7f && c <= 0x9f) ? 0 : size;
}

/* Replaces the message: whole characters only, everything else as \xNN. */
static void
message_set(const char *text)
{
    size_t used = 0;
    for (const char *at = text, *end = text + strlen(text); at < end;) {
        size_t size = character_size(at, (size_t)(end - at));
        if (used + (size > 0 ? size : 4) >= MESSAGE_SIZE)
            break;
        if (size > 0)
            memcpy(message + used, at, size);
        else
            snprintf(message + used, MESSAGE_SIZE - used, "\\x%02x",
                     (unsigned char)*at);
        used += size > 0 ? size : 4;
        at += size > 0 ? size : 1;
    }
    message[used] = '\0';
}

enum ca_status
ca_fail(enum ca_status status, const char *format, ...)
{
    int saved_errno = errno;
    /* Not into the message at once: it may be one of the arguments. */
    char text[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    message_set(text);
    errno = saved_errno;
    return status;
}

/* The earliest reason of the queue, which lies nearest to the cause, as ": reason". */
static void
append_reason(char *text, size_t size)
{
    const char *data = NULL;
    int flags = 0;
    unsigned long code = ERR_peek_error_all(NULL, NULL, NULL, &data, &flags);
    if (code == 0)
        return;
    const char *reason = ERR_SYSTEM_ERROR(code) ? strerror(ERR_GET_REASON(code))
                                                : ERR_reason_error_string(code);
    bool has_data = (flags & ERR_TXT_STRING) && data && *data;
    size_t used = strlen(text);
    snprintf(text + used, size - used, ": %s%s%s%s", reason ? reason : "unknown reason",
             has_data ? " (" : "", has_data ? data : "", has_data ? ")" : "");
}

enum ca_status
ca_fail_openssl(enum ca_status status, const char *format, ...)
{
    int saved_errno = errno;
    char text[MESSAGE_SIZE];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    append_reason(text, sizeof text);
    ERR_clear_error();
    message_set(text);
    errno = saved_errno;
    return status;
}

const char *
status_message(void)
{
    return message;
}

void
status_forget(void)
{
    message[0] = '\0';
}
