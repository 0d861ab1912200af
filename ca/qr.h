/* QR codes (ISO/IEC 18004) of links, as PNG for mails and as SVG. */
#pragma once

#include "text.h"

#define QR_TEXT_MAX 2048 /* octets: byte mode, error correction M, fits version 40 */

/* Appends a picture of the text with its quiet zone. CA_LIMIT: too long; CA_INTERNAL.
 * Clear the buffer: the picture says what the text says. */
enum ca_status qr_png(const char *text, struct text_buffer *ret_png);
enum ca_status qr_svg(const char *text, struct text_buffer *ret_svg);
