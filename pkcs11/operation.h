/* Single operations with a key: permit, read lock, the token, verification. */
#pragma once

#include "token_inner.h"

#define OPERATION_TRIES 4 /* the first, and again in three later generations */

/* A signature over a digest, or with RSA and no digest over a block as given. */
struct operation {
    const EVP_MD *digest; /* NULL: `input` is padded and signed without DigestInfo */
    int padding;          /* RSA_PKCS1_PADDING or RSA_NO_PADDING; EC: 0 */
    const uint8_t *input;
    size_t input_size;
};

/* Signs with the token and verifies with the public half. */
enum ca_status operation_sign(struct token_key *key, const struct operation *operation,
                              uint8_t *ret_signature, size_t room, size_t *ret_size);

/* RSA decryption, the text into `ret_text` (room: the modulus length). CA_OK also when
 * the token refuses the ciphertext: then *ret_refused is 1, else 0, for a select
 * without branch. CA_UNAVAILABLE when the token is not there. */
enum ca_status operation_decrypt(struct token_key *key, const CK_MECHANISM *mechanism,
                                 const uint8_t *encrypted, uint8_t *ret_text,
                                 size_t *ret_size, unsigned *ret_refused);

/* Forgets what signatures of the key left for the next ones: before it is freed. */
void operation_verifier_free(struct token_key *key);

/* What an operation holds while it is under way. */
struct grip {
    unsigned lane;       /* which of the key's live halves to use */
    uint64_t generation; /* of the sessions it uses */
};

/* Waits until the token is up, then takes a permit and the module's read lock, all by
 * `deadline` (clock_ticks). CA_UNAVAILABLE. */
enum ca_status operation_begin(struct token_key *key, bool decrypts, int64_t deadline,
                               struct grip *ret_grip);
void operation_end(struct token_key *key, bool decrypts, const struct grip *grip);

/* The same for a token's secret keys (secret.h), which have no live half. */
enum ca_status operation_enter(struct token *token, bool decrypts, int64_t deadline,
                               struct grip *ret_grip);
void operation_leave(struct token *token, bool decrypts, const struct grip *grip);

/* A session of our own, an idle one if there is one; and back again. */
enum ca_status session_take(struct token *token, CK_SESSION_HANDLE *ret_session);
void session_give(struct token *token, CK_SESSION_HANDLE session);

/* Does the code speak of session, login or device, never of what was decrypted? */
bool code_is_outage(CK_RV code);

/* One signature without permit and lock, for who holds the write lock. */
enum ca_status operation_sign_once(struct token_key *key, unsigned lane,
                                   const struct operation *operation,
                                   uint8_t *ret_signature, size_t room,
                                   size_t *ret_size);

/* The same for decryption: something encrypted with the public half comes back. */
enum ca_status operation_decrypt_test(struct token_key *key);
