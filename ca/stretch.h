/* What an activation password becomes: names in canonical form, salt, the stretched
 * password and the decoys of names without one (ECSPEKE-ACT-1 sections 4, 7.1, 11.2).
 */
#pragma once

#include "status.h"
#include "text.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRETCH_USER_MAX 254
#define STRETCH_REF_MAX 32
#define STRETCH_PASSWORD_MIN 8
#define STRETCH_PASSWORD_MAX 128
#define STRETCH_SYMBOLS_DEFAULT 12 /* 59 bits */
#define STRETCH_SYMBOLS_MAX 64
#define STRETCH_KEY_SIZE 32
#define STRETCH_SALT_SIZE 16
#define STRETCH_PRS_SIZE 32
#define STRETCH_NONCE_SIZE 16

/* scrypt with N = 2^ln. The same for all users. */
struct stretch_cost {
    int ln, r, p;
};
extern const struct stretch_cost stretch_cost_default;
/* Does a client take it? ln 10 to 17, r = 8, p 1 to 8. */
bool stretch_cost_is_taken(struct stretch_cost cost);

/* A login name as it was sent: outer spaces off, A-Z lowered; valid UTF-8 of 1 to 254
 * octets without 0x00-0x1f and 0x7f. False, nothing written: not such a name. */
bool stretch_user(const char *sent, size_t length, char ret_user[STRETCH_USER_MAX + 1]);
/* 0 to 32 octets of A-Za-z0-9._- */
bool stretch_ref_is_good(const char *ref);
/* A password as it was typed: printable ASCII, outer spaces off, 8 to 128 octets.
 * CA_MALFORMED; the message repeats nothing of it. Wipe what comes back. */
enum ca_status stretch_password(const char *typed, size_t length,
                                char ret_password[STRETCH_PASSWORD_MAX + 1]);
/* Draws one of `symbols` (8 to 64) letters and digits in groups of four with hyphens.
 */
enum ca_status stretch_generate(size_t symbols,
                                char ret_password[STRETCH_PASSWORD_MAX + 1]);

/* Who an activation password is for, in canonical form. */
struct stretch_name {
    const char *user, *ref;
};

/* The salt of any name whatever. CA_INTERNAL. */
enum ca_status stretch_salt(const uint8_t salt_key[STRETCH_KEY_SIZE],
                            struct stretch_name name,
                            uint8_t ret_salt[STRETCH_SALT_SIZE]);
/* PRS: takes 0.2 s and 16 MiB at the default cost. CA_INTERNAL. */
enum ca_status stretch_make(const char *password, const uint8_t salt[STRETCH_SALT_SIZE],
                            struct stretch_cost cost,
                            uint8_t ret_prs[STRETCH_PRS_SIZE]);
/* The PRS of a name without a live password, for one session. CA_INTERNAL. */
enum ca_status stretch_decoy(const uint8_t decoy_key[STRETCH_KEY_SIZE],
                             struct stretch_name name,
                             const uint8_t session[STRETCH_NONCE_SIZE],
                             uint8_t ret_prs[STRETCH_PRS_SIZE]);
/* `prs` becomes the decoy unless `is_live`, without a branch on it. */
void stretch_choose(uint8_t prs[STRETCH_PRS_SIZE],
                    const uint8_t decoy[STRETCH_PRS_SIZE], bool is_live);

/* What a sealed verifier is bound to: name and row. Appends; clear the buffer. */
void stretch_verifier_aad(struct stretch_name name, const char *row,
                          struct text_buffer *ret_aad);
/* What a sealed server key ("salt", "decoy", "state") is bound to. */
void stretch_key_aad(const char *name, struct text_buffer *ret_aad);
/* A data key ("kid"), a session's scalar, a password in a waiting mail. */
void stretch_data_key_aad(const char *kid, struct text_buffer *ret_aad);
void stretch_session_aad(const uint8_t session[STRETCH_NONCE_SIZE],
                         struct text_buffer *ret_aad);
void stretch_mail_aad(struct stretch_name name, const char *mail,
                      struct text_buffer *ret_aad);
/* Appends lv of some octets. */
void stretch_lv(const void *octets, size_t size, struct text_buffer *ret_text);
