/* Request bodies: civetweb knows neither a size nor an end of its patience. */
#include "http_body.h"
#include "auto.h"
#include "clock.h"
#include "http_socket.h"
#include "text.h"
#include <civetweb.h>

#define PIECE 4096     /* octets asked for at once */
#define SKIP_MAX (2 << 20) /* octets of an unwanted body */
#define SKIP_MILLISECONDS 300

/* The reason why mg_read gave nothing. */
static int
refuse_broken(int64_t deadline, size_t size)
{
    if (clock_ticks() >= deadline) {
        ca_fail(CA_MALFORMED, "body not sent in time, %zu octets were", size);
        return 408;
    }
    ca_fail(CA_MALFORMED, "body broke off or is badly chunked, after %zu octets", size);
    return 400;
}

/* The buffer grows with what has come, never with what was announced. */
static int
read_pieces(struct mg_connection *connection, const struct http_framing *framing,
            size_t max, int64_t deadline, struct text_buffer *buffer)
{
    char piece[PIECE];
    bool has_length = framing->content_length >= 0;
    while (!has_length || buffer->size < (size_t)framing->content_length) {
        /* One octet more than fits tells a body that is too large. */
        size_t room = max - buffer->size;
        int got = mg_read(connection, piece, room < PIECE ? room + 1 : PIECE);
        if (got < 0 || (got == 0 && has_length))
            return refuse_broken(deadline, buffer->size);
        if (got == 0)
            return 0; /* the last chunk */
        if ((size_t)got > room) {
            ca_fail(CA_LIMIT, "body of more than %zu octets", max);
            return 413;
        }
        text_append(buffer, piece, (size_t)got);
        OPENSSL_cleanse(piece, (size_t)got); /* perhaps a password */
        if (buffer->failed) {
            ca_fail(CA_INTERNAL, "no memory for a body");
            return 500;
        }
        if (clock_ticks() >= deadline)
            return refuse_broken(deadline, buffer->size);
    }
    return 0;
}

int
body_read(struct mg_connection *connection, const struct http_framing *framing,
          size_t max, int64_t deadline, struct ca_bytes *ret_body)
{
    if (!framing->is_chunked && framing->content_length <= 0) {
        *ret_body = (struct ca_bytes){ 0 };
        return 0;
    }
    if (framing->content_length > 0 && (uint64_t)framing->content_length > max) {
        ca_fail(CA_LIMIT, "body of %lld octets, at most %zu are taken",
                (long long)framing->content_length, max);
        return 413;
    }
    struct text_buffer buffer = { 0 };
    socket_set_deadline(deadline);
    int refusal = read_pieces(connection, framing, max, deadline, &buffer);
    socket_set_deadline(0);
    if (refusal != 0) {
        text_buffer_clear(&buffer);
        return refusal;
    }
    *ret_body = (struct ca_bytes){ (const uint8_t *)buffer.data, buffer.size };
    return 0;
}

void
body_skip(struct mg_connection *connection)
{
    char piece[PIECE];
    socket_set_deadline(clock_ticks() + SKIP_MILLISECONDS);
    for (size_t skipped = 0; skipped < SKIP_MAX;) {
        int got = mg_read(connection, piece, sizeof piece);
        if (got <= 0)
            break;
        skipped += (size_t)got;
    }
    socket_set_deadline(0);
}
