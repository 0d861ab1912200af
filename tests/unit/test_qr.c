/* QR codes: PNG and SVG show the same modules. That a scanner reads them is asked in
 * test_mail.py. */
#include "auto.h"
#include "leak.h"
#include "qr.h"
#include <criterion/criterion.h>
#include <string.h>

#define SCALE 5
#define QUIET 4

static uint32_t
number(const char *octets)
{
    const uint8_t *at = (const uint8_t *)octets;
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* The stored octets behind IHDR (33 octets), the head of IDAT (8) and zlib's (2). */
static uint8_t *
pixels(const struct text_buffer *png, size_t *ret_size)
{
    const uint8_t *at = (const uint8_t *)png->data + 33 + 8 + 2;
    uint8_t *octets = malloc(png->size);
    size_t size = 0;
    bool is_last = false;
    while (!is_last) {
        size_t length = (size_t)at[1] | (size_t)at[2] << 8;
        is_last = at[0] == 1;
        cr_assert_eq(length ^ 0xffff, (size_t)at[3] | (size_t)at[4] << 8);
        memcpy(octets + size, at + 5, length);
        size += length;
        at += 5 + length;
    }
    *ret_size = size;
    return octets;
}

static bool
svg_is_dark(const char *svg, int row, int column)
{
    const char *at = strstr(svg, "/><path d=");
    for (at = strchr(at, 'M'); at; at = strchr(at + 1, 'M')) {
        int x = 0, y = 0, run = 0;
        cr_assert_eq(sscanf(at, "M%d %dh%d", &x, &y, &run), 3);
        if (y == row && column >= x && column < x + run)
            return true;
    }
    return false;
}

Test(qr, png_and_svg_show_the_same)
{
    CA_AUTO(text_buffer_clear) struct text_buffer png = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer svg = { 0 };
    const char *text = "https://ca.example.com/activate#v=1&user=alice";
    cr_assert_eq(qr_png(text, &png), CA_OK);
    cr_assert_eq(qr_svg(text, &svg), CA_OK);
    cr_assert_eq(memcmp(png.data, "\x89PNG\r\n\x1a\n", 8), 0);
    int width = (int)number(png.data + 16);
    cr_assert_eq(number(png.data + 20), (uint32_t)width);
    int modules = width / SCALE;
    cr_expect_eq((modules - 2 * QUIET - 17) % 4, 0, "%d modules", modules);
    size_t size = 0, line = (size_t)(width + 7) / 8 + 1;
    CA_AUTO(free) uint8_t *octets = pixels(&png, &size);
    cr_assert_eq(size, line * (size_t)width);
    int dark = 0;
    for (int row = 0; row < modules; row++) {
        for (int column = 0; column < modules; column++) {
            size_t x = (size_t)column * SCALE + 2;
            uint8_t octet = octets[line * ((size_t)row * SCALE + 2) + 1 + x / 8];
            bool is_dark = (octet & (0x80 >> x % 8)) == 0;
            cr_assert_eq(is_dark, svg_is_dark(svg.data, row, column), "%d,%d", row,
                         column);
            dark += is_dark;
        }
    }
    cr_expect_gt(dark, 200);
    LEAK_CHECK();
}

Test(qr, a_link_has_a_longest_length)
{
    char text[QR_TEXT_MAX + 2];
    memset(text, 'x', sizeof text);
    text[QR_TEXT_MAX + 1] = '\0';
    CA_AUTO(text_buffer_clear) struct text_buffer png = { 0 };
    cr_expect_eq(qr_png(text, &png), CA_LIMIT);
    cr_expect_eq(qr_svg(text, &png), CA_LIMIT);
    cr_expect_eq(png.size, 0);
    text[QR_TEXT_MAX] = '\0';
    cr_expect_eq(qr_png(text, &png), CA_OK);
    LEAK_CHECK();
}
