/* Secret keys of a token: AES for sealing and wrapping, and a key for tags. Like the
 * key pairs they are used under a permit and the token's read lock, survive its
 * rebuilds, and never leave it. Never call an operation from inside a store closure. */
#pragma once

#include "token.h"

enum secret_use {
    SECRET_SEAL, /* AES-256 that encrypts and decrypts */
    SECRET_WRAP, /* AES-256 that wraps and unwraps */
    SECRET_TAG   /* 32 octets that make HMAC-SHA-256 */
};

#define SECRET_KEY_SIZE 32
#define SECRET_NONCE_SIZE 12
#define SECRET_GCM_TAG_SIZE 16
#define SECRET_GCM_MAX 65536 /* octets of a text; of an aad */
#define SECRET_IV_SIZE 16
#define SECRET_CBC_SIZE 48     /* a key of 32 octets under CBC with padding */
#define SECRET_WRAPPED_SIZE 40 /* the same under RFC 3394 */
#define SECRET_TAG_SIZE 32

struct token_secret; /* one secret key, opaque; belongs to the set */

/* The secret key named by an RFC 7512 URI, as token_key_find finds pairs: its kind,
 * length and uses are read back, and one that is extractable, not sensitive or does
 * more than `use` is CA_FORBIDDEN unless waived. CA_UNAVAILABLE when the token is down.
 */
enum ca_status token_secret_find(struct token_set *set, const char *uri,
                                 enum secret_use use, struct token_secret **ret_secret);

/* Generates one inside the token (for short-lived commands, like keygen_generate) and
 * gives its URI; free() it. CA_CONFLICT when the label exists. */
enum ca_status token_secret_generate(struct token_set *set, const char *token,
                                     const char *label, enum secret_use use,
                                     char **ret_uri);

/* The configuration's name of the token it is in. */
const char *token_secret_token(const struct token_secret *secret);

/* What a token must offer for the methods of sealing. */
enum token_method {
    TOKEN_METHOD_GCM,  /* AES-GCM, both ways, 32-octet keys */
    TOKEN_METHOD_KW,   /* AES key wrap, both ways */
    TOKEN_METHOD_CBC,  /* AES-CBC with padding, both ways */
    TOKEN_METHOD_OAEP, /* RSA-OAEP decryption */
    TOKEN_METHOD_HMAC, /* HMAC-SHA-256 */
    TOKEN_METHOD_COUNT
};
/* Does the mechanism list of the token have it? CA_NOT_FOUND: no such token;
 * CA_UNAVAILABLE: it is down. */
enum ca_status token_offers(struct token_set *set, const char *token,
                            enum token_method method, bool *ret_offers);

/* AES-GCM with the octets of `text` in place: what is sealed has SECRET_GCM_TAG_SIZE
 * octets more. */
struct secret_gcm {
    uint8_t *nonce; /* SECRET_NONCE_SIZE; a token may put one of its own here */
    const void *aad;
    size_t aad_size;
    const void *input;
    size_t input_size;
    uint8_t *output;
};
/* All of these: CA_UNAVAILABLE when the token does not do it in time (it is rebuilt
 * meanwhile), CA_UNSUPPORTED when it does not do this at all, CA_LIMIT. */
enum ca_status token_secret_seal(struct token_secret *secret,
                                 const struct secret_gcm *gcm);
/* Also CA_FORBIDDEN: what was sealed is damaged, or the token fails: the code does not
 * tell the two apart. Nothing is written then. */
enum ca_status token_secret_open(struct token_secret *secret,
                                 const struct secret_gcm *gcm);
/* The token failed where it could not have: it is rebuilt. */
void token_secret_doubt(struct token_secret *secret);

/* A key of 32 octets under CBC with padding. */
enum ca_status token_secret_encrypt(struct token_secret *secret,
                                    const uint8_t iv[SECRET_IV_SIZE],
                                    const uint8_t key[SECRET_KEY_SIZE],
                                    uint8_t ret_encrypted[SECRET_CBC_SIZE]);
enum ca_status token_secret_decrypt(struct token_secret *secret,
                                    const uint8_t iv[SECRET_IV_SIZE],
                                    const uint8_t encrypted[SECRET_CBC_SIZE],
                                    uint8_t ret_key[SECRET_KEY_SIZE]);

/* The same by RFC 3394; the key is an object of the session for a moment. */
enum ca_status token_secret_wrap(struct token_secret *secret,
                                 const uint8_t key[SECRET_KEY_SIZE],
                                 uint8_t ret_wrapped[SECRET_WRAPPED_SIZE]);
/* CA_UNSUPPORTED also where the token lets no unwrapped key be read (FIPS mode). */
enum ca_status token_secret_unwrap(struct token_secret *secret,
                                   const uint8_t wrapped[SECRET_WRAPPED_SIZE],
                                   uint8_t ret_key[SECRET_KEY_SIZE]);

/* HMAC-SHA-256. */
enum ca_status token_secret_tag(struct token_secret *secret, const void *data,
                                size_t size, uint8_t ret_tag[SECRET_TAG_SIZE]);

/* RSA-OAEP without a label, with SHA-256 (and its MGF1) or SHA-1: the text of 32
 * octets. CA_FORBIDDEN: the token refuses the ciphertext, or these parameters. */
enum ca_status token_decrypt_oaep(struct token_key *key, bool sha256,
                                  const uint8_t *encrypted, size_t size,
                                  uint8_t ret_key[SECRET_KEY_SIZE]);
