/* QR codes: libqrencode finds the modules, the pictures are written here. */
#include "qr.h"
#include "auto.h"
#include <openssl/crypto.h>
#include <qrencode.h>
#include <string.h>

#define QUIET 4          /* modules round the code (ISO/IEC 18004 section 5.3.8) */
#define SCALE 5          /* pixels of a module in PNG */
#define STORED_MAX 65535 /* octets of a stored block (RFC 1951 section 3.2.4) */

/* The library's modules hold the secret too. */
static void
code_free(QRcode *code)
{
    OPENSSL_cleanse(code->data, (size_t)code->width * (size_t)code->width);
    QRcode_free(code);
}
CA_AUTO_RELEASE(QRcode, code_free)

static enum ca_status
code_make(const char *text, QRcode **ret_code)
{
    size_t size = strlen(text);
    if (size > QR_TEXT_MAX)
        return ca_fail(CA_LIMIT, "a text of %zu octets for a QR code, at most %d", size,
                       QR_TEXT_MAX);
    QRcode *code = QRcode_encodeString8bit(text, 0, QR_ECLEVEL_M);
    if (!code)
        return ca_fail(CA_INTERNAL, "cannot make a QR code");
    *ret_code = code;
    return CA_OK;
}

/* Is the module dark? Outside the code, in the quiet zone, none is. */
static bool
is_dark(const QRcode *code, int row, int column)
{
    if (row < 0 || column < 0 || row >= code->width || column >= code->width)
        return false;
    return (code->data[row * code->width + column] & 1) != 0;
}

/* ---- PNG (RFC 2083): one bit a pixel, stored without compression ---- */

static void
put_32(uint8_t octets[4], uint32_t value)
{
    for (int i = 0; i < 4; i++)
        octets[i] = (uint8_t)(value >> (24 - 8 * i));
}

/* RFC 2083 section 15 */
static uint32_t
crc_of(const uint8_t *octets, size_t size)
{
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= octets[i];
        for (int bit = 0; bit < 8; bit++)
            crc = (crc >> 1) ^ (UINT32_C(0xedb88320) & (0 - (crc & 1)));
    }
    return ~crc;
}

/* RFC 1950 section 9 */
static uint32_t
adler_of(const uint8_t *octets, size_t size)
{
    uint32_t a = 1, b = 0;
    for (size_t i = 0; i < size; i++) {
        a = (a + octets[i]) % 65521;
        b = (b + a) % 65521;
    }
    return b << 16 | a;
}

static void
chunk_append(struct text_buffer *to, const char type[4], const void *data, size_t size)
{
    uint8_t number[4];
    put_32(number, (uint32_t)size);
    text_append(to, number, sizeof number);
    size_t start = to->size;
    text_append(to, type, 4);
    text_append(to, data, size);
    if (to->failed)
        return;
    put_32(number, crc_of((const uint8_t *)to->data + start, to->size - start));
    text_append(to, number, sizeof number);
}

/* zlib's frame round stored blocks (RFC 1950, 1951). */
static void
stored_append(struct text_buffer *to, const uint8_t *octets, size_t size)
{
    text_append(to, "\x78\x01", 2);
    for (size_t at = 0; at < size; at += STORED_MAX) {
        size_t length = size - at < STORED_MAX ? size - at : STORED_MAX;
        uint8_t head[5] = { at + length == size, (uint8_t)length,
                            (uint8_t)(length >> 8), (uint8_t)~length,
                            (uint8_t)(~length >> 8) };
        text_append(to, head, sizeof head);
        text_append(to, octets + at, length);
    }
    uint8_t sum[4];
    put_32(sum, adler_of(octets, size));
    text_append(to, sum, sizeof sum);
}

/* One row of modules as `SCALE` rows of pixels, each after its filter octet. */
static void
rows_append(struct text_buffer *to, const QRcode *code, int row, size_t width)
{
    size_t octets = (width + 7) / 8;
    uint8_t *line = calloc(1, octets + 1);
    if (!line) {
        to->failed = true;
        return;
    }
    memset(line + 1, 0xff, octets);
    for (size_t x = 0; x < width; x++)
        if (is_dark(code, row, (int)(x / SCALE) - QUIET))
            line[1 + x / 8] &= (uint8_t) ~(0x80 >> x % 8);
    for (int i = 0; i < SCALE; i++)
        text_append(to, line, octets + 1);
    OPENSSL_cleanse(line, octets + 1);
    free(line);
}

enum ca_status
qr_png(const char *text, struct text_buffer *ret_png)
{
    CA_AUTO(code_free) QRcode *code = NULL;
    CA_AUTO(text_buffer_clear) struct text_buffer pixels = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer packed = { 0 };
    enum ca_status status = code_make(text, &code);
    if (status != CA_OK)
        return status;
    size_t width = (size_t)(code->width + 2 * QUIET) * SCALE;
    for (int row = -QUIET; row < code->width + QUIET; row++)
        rows_append(&pixels, code, row, width);
    if (pixels.failed)
        return ca_fail(CA_INTERNAL, "no memory for a picture");
    stored_append(&packed, (const uint8_t *)pixels.data, pixels.size);
    if (packed.failed)
        return ca_fail(CA_INTERNAL, "no memory for a picture");
    uint8_t header[13] = { [8] = 1 }; /* one bit, greyscale, nothing special */
    put_32(header, (uint32_t)width);
    put_32(header + 4, (uint32_t)width);
    text_append(ret_png, "\x89PNG\r\n\x1a\n", 8);
    chunk_append(ret_png, "IHDR", header, sizeof header);
    chunk_append(ret_png, "IDAT", packed.data, packed.size);
    chunk_append(ret_png, "IEND", NULL, 0);
    return ret_png->failed ? ca_fail(CA_INTERNAL, "no memory for a picture") : CA_OK;
}

/* One path of the dark runs of each row. */
enum ca_status
qr_svg(const char *text, struct text_buffer *ret_svg)
{
    CA_AUTO(code_free) QRcode *code = NULL;
    enum ca_status status = code_make(text, &code);
    if (status != CA_OK)
        return status;
    int width = code->width + 2 * QUIET;
    text_print(ret_svg,
               "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" "
               "role=\"img\" aria-label=\"QR code\" shape-rendering=\"crispEdges\">"
               "<path fill=\"#fff\" d=\"M0 0h%dv%dH0z\"/><path d=\"",
               width, width, width, width);
    for (int row = 0; row < code->width; row++) {
        for (int column = 0; column < code->width; column++) {
            int run = 0;
            while (is_dark(code, row, column + run))
                run++;
            if (run > 0)
                text_print(ret_svg, "M%d %dh%dv1h-%dz", column + QUIET, row + QUIET,
                           run, run);
            column += run;
        }
    }
    text_print(ret_svg, "\"/></svg>\n");
    return ret_svg->failed ? ca_fail(CA_INTERNAL, "no memory for a picture") : CA_OK;
}
