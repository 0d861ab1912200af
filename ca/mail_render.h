/* A waiting mail and its template become text, and text becomes octets. Pure. */
#pragma once

#include "config.h"
#include "letter.h"
#include "outbox.h"

#define MAIL_TIME_SIZE 24 /* "2026-11-28 10:00 UTC" */
void mail_time_format(int64_t seconds, char ret_text[MAIL_TIME_SIZE]);

/* The activation URI of a mail's content and a password (NULL: the client asks for it):
 * docs/protocols/activation.md. Appends; CA_LIMIT above QR_TEXT_MAX. */
enum ca_status mail_link_make(const json_t *content, const char *password,
                              struct text_buffer *ret_link);

/* A letter with its variables filled in; secret_free the texts. */
struct mail_text {
    char *subject, *text, *html;
    struct text_buffer link; /* what the picture shows; empty: no picture */
};
void mail_text_clear(struct mail_text *text);

/* Fills a letter in from a mail's content and its opened secret (or NULL). With
 * `is_preview` the picture stands in the HTML itself. CA_FORBIDDEN: a variable without
 * a value; CA_LIMIT. */
enum ca_status mail_text_make(const struct letter *letter, const json_t *content,
                              const char *secret, bool is_preview,
                              struct mail_text *ret_text);
/* What a letter's variables are in a preview, and its secret (NULL: it has none). */
json_t *mail_sample(const struct letter_kind *kind, const char **ret_secret);

/* The octets to hand over. `from_name` when the configuration has none. */
enum ca_status mail_render(const struct config_mail *server, const char *from_name,
                           const struct outbox *mail, const struct mail_text *text,
                           struct text_buffer *ret_octets);
