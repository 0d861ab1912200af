/* Tokens: opening, keys, and single operations with a key that never leaves its token.
 * The only module that knows libp11. Facts and reasons: docs/architecture.md, "Tokens".
 *
 * A key is handed out as a proxy EVP_PKEY: public half in OpenSSL, private operations
 * through this module under a permit and the token's read lock, so that nothing stray
 * survives a rebuild. Never call an operation from inside a store closure. */
#pragma once

#include "status.h"
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKEN_KEY_ID_SIZE 20 /* octets of a generated CKA_ID, random */
#define TOKEN_PIN_MAX 255

struct token_set; /* the tokens of one configuration */
struct token_key; /* one key pair, opaque; belongs to the set */

enum token_use { TOKEN_USE_SIGN = 1, TOKEN_USE_DECRYPT = 2 };

/* One token of the configuration. Strings are borrowed for the call. */
struct token_config {
    const char *name;           /* how configuration and messages call it */
    const char *module;         /* path of the PKCS#11 library */
    const char *uri;            /* RFC 7512, names token and/or serial, no pin-value */
    const char *pin_source;     /* "file:PATH": mode without group and other rights */
    int64_t permits;            /* parallel operations; 0: 12 */
    int64_t wait_ms;            /* longest wait for a permit or a rebuild; 0: 10000 */
    const char *const *waivers; /* "software", "not_local", "sign_and_decrypt", ...;
                                   NULL-terminated or NULL */
    const char *const
        *environment;      /* "NAME=VALUE" set before the module loads, or NULL */
    const char *arguments; /* pReserved of C_Initialize, or NULL */
    /* A refused PIN is remembered in this file, so that a restart does not try it
     * again: while it is there token_set_open refuses (CA_FORBIDDEN) or, where the
     * token may be missing, opens it latched. NULL: not remembered. */
    const char *latch_file;
    int64_t stuck_ms;      /* a call that takes longer is stuck; 0: 5000 */
    bool exits_when_stuck; /* end the process then (status 75), to be started again */
    /* token_set_open takes the token when it is not there, or latched, as well: it is
     * looked for until it comes, and then up without a further call. */
    bool may_be_missing;
};

/* Opens every token: loads the module, finds exactly one token, logs in once. A wrong
 * PIN is tried once and latched (CA_FORBIDDEN). CA_MALFORMED for a URI or pin-source
 * that does not hold to RFC 7512 or the file rules, CA_UNAVAILABLE for a token that is
 * not there (see may_be_missing for the last two). */
enum ca_status token_set_open(const struct token_config *configs, size_t count,
                              struct token_set **ret_set);
/* Before the end: nobody waits for a token that is down any more, and none is rebuilt.
 */
void token_set_quit(struct token_set *set);
/* Call it when no thread is inside an operation any more. Keys handed out by
 * token_key_pkey only refuse from then on. */
void token_set_free(struct token_set *set);

/* The key pair named by an RFC 7512 URI (object and/or id; token name or serial):
 * exactly one, or CA_NOT_FOUND / CA_CONFLICT. `certificate` (may be NULL) must carry
 * the same public key (CA_CONFLICT). Private-key attributes are read back and a key
 * that is extractable, not sensitive, or whose use is not exactly `uses` is refused
 * (CA_FORBIDDEN) unless waived. The key lives as long as the set; asking twice gives
 * the same one, whatever state the token is in. CA_UNAVAILABLE when the key is new and
 * the token is down, or may be one that was not there yet. */
enum ca_status token_key_find(struct token_set *set, const char *uri, unsigned uses,
                              const X509 *certificate, struct token_key **ret_key);

/* A proxy of the key, one new reference (EVP_PKEY_free it). Good for every OpenSSL call
 * that signs (and, for RSA with TOKEN_USE_DECRYPT, decrypts) in this process. */
EVP_PKEY *token_key_pkey(struct token_key *key);

/* Can the key be used right now? Without touching the module. */
bool token_key_is_up(struct token_key *key);

/* Does the certificate carry this key's public half? */
bool token_key_is_of(const struct token_key *key, const X509 *certificate);

/* The configuration's name of the token it is in. */
const char *token_key_token(const struct token_key *key);

/* "rsa" or "ec", and its size in bits. */
const char *token_key_kind(const struct token_key *key, int *ret_bits);

/* Signs `data` with the digest's signature of the key (RSA: PKCS#1 v1.5, EC: ECDSA as
 * DER); the signature is verified with the public half before it is returned. `room`
 * octets at ret_signature, EVP_PKEY_get_size of the key suffices. CA_UNAVAILABLE when
 * the token does not answer in time. */
enum ca_status token_sign(struct token_key *key, const EVP_MD *digest, const void *data,
                          size_t size, uint8_t *ret_signature, size_t room,
                          size_t *ret_size);

/* RSA decryption of a content key that fails silently (RFC 8894 oracle, protocols scep
 * section 7): `key_size` octets are filled with random before the token is asked; the
 * decrypted octets take their place, by constant-time select, only when the token says
 * so and the length is exactly key_size. `oaep` chooses OAEP (SHA-1, MGF1-SHA-1).
 * CA_OK in both cases; CA_UNAVAILABLE only when the token is not there. */
enum ca_status token_decrypt_key(struct token_key *key, bool oaep,
                                 const uint8_t *encrypted, size_t size,
                                 uint8_t *ret_key, size_t key_size);

enum token_state { TOKEN_UP, TOKEN_REBUILDING, TOKEN_LATCHED, TOKEN_STUCK };

struct token_health {
    const char *name;
    enum token_state state;
    char label[33], model[17], manufacturer[33], serial[17];
    int64_t operations, failures, rebuilds;
    int64_t busy;     /* permits in use */
    bool is_software; /* maker known to be a software token: warn */
};

/* An operation of our own with one of the token's keys (a session query when it has
 * none), for periodic checks: keeps idle links alive, and a failure starts a rebuild
 * that it waits for. */
enum ca_status token_check(struct token_set *set, size_t index);

/* After an operator acted: reads the PIN anew, lifts the latch of token `name` and
 * waits for the login. CA_FORBIDDEN when that PIN is refused, too. */
enum ca_status token_unlock(struct token_set *set, const char *name);

/* Calls of the module of token `index`, one function at a time: `position` starts at 0
 * and is moved on; false at the end. Buckets are cumulated, as
 * Prometheus wants them. */
#define TOKEN_BUCKETS 9
struct token_calls {
    const char *function; /* "C_Sign" */
    int64_t calls, failures;
    int64_t total_us;
    int64_t buckets[TOKEN_BUCKETS]; /* calls of at most token_bucket_ms[i] */
};
extern const int64_t token_bucket_ms[TOKEN_BUCKETS];
bool token_calls_next(struct token_set *set, size_t index, size_t *position,
                      struct token_calls *ret_calls);

/* State of token `index` (0..count-1) without touching the module. */
size_t token_set_count(const struct token_set *set);
void token_health(struct token_set *set, size_t index, struct token_health *ret_health);
