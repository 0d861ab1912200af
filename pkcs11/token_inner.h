/* What a token set is made of. Private to this folder. */
#pragma once

#include "module.h"
#include "pin.h"
#include "token.h"
#include "uri.h"
#include <stdatomic.h>

#define TOKEN_PERMITS_DEFAULT 12
#define TOKEN_PERMITS_MAX (MODULE_LANE_SESSIONS * MODULE_LANES_MAX)
#define TOKEN_WAIT_MS_DEFAULT 10000
#define TOKEN_WAIT_MS_MAX 600000
#define TOKEN_STUCK_MS_DEFAULT 5000
#define TOKEN_WAITERS_MAX 128 /* requests that wait for one token; more are refused */

/* Departures from the key template that a configuration may accept by name. */
enum token_waiver {
    WAIVER_SOFTWARE = 1u << 0,
    WAIVER_NOT_LOCAL = 1u << 1,
    WAIVER_NOT_SENSITIVE = 1u << 2,
    WAIVER_EXTRACTABLE = 1u << 3,
    WAIVER_SIGN_AND_DECRYPT = 1u << 4,
    WAIVER_OTHER_USES = 1u << 5,
};

#define TOKEN_MODULUS_MAX 1024 /* octets: RSA of 8192 bits */

struct token_rsa {
    uint8_t modulus[TOKEN_MODULUS_MAX], exponent[16];
    size_t modulus_size, exponent_size;
};

/* A context that verifies, ready to be copied: to make one costs OpenSSL a walk over
 * all names that it knows. */
struct verifier {
    EVP_PKEY_CTX *context;
    int digest; /* NID; NID_undef: none */
    int padding;
};

struct token_key {
    struct token_key *next; /* in the token's list */
    struct token *token;
    unsigned uses; /* enum token_use */
    uint8_t id[URI_ID_MAX];
    size_t id_size;
    char label[URI_LABEL_MAX + 1];
    EVP_PKEY *public; /* OpenSSL's own, never changes */
    /* Of the first signature without a digest, and with one; or NULL. */
    _Atomic(struct verifier *) verifiers[2];
    EVP_PKEY *proxy;

    /* Under the module's lock; empty while the token is down. */
    EVP_PKEY *live[MODULE_LANES_MAX]; /* libp11's: none ever leaves this folder */
    CK_OBJECT_HANDLE object;
    struct token_rsa rsa;
    atomic_bool is_missing; /* the token is up, and does not have it any more */
};

struct token_listed {
    PKCS11_KEY *keys; /* libp11's, until the next listing */
    unsigned count;
};

struct token {
    struct token_set *set;
    struct module *module;
    char *name;
    struct uri uri;
    char *pin_source, *latch_file;
    struct pin *pin;  /* for the login after a rebuild */
    unsigned waivers; /* enum token_waiver */
    int64_t wait_ms;
    unsigned permits_wanted;
    bool may_be_missing;

    /* Under the module's lock. */
    PKCS11_SLOT *slot[MODULE_LANES_MAX]; /* NULL while the token is down */
    CK_SLOT_ID slot_id;
    struct token_listed listed[MODULE_LANES_MAX];
    struct token_key *keys; /* appended with `lock` held as well, never shortened */
    struct token_secret *secrets; /* under `lock`; likewise (secret.c) */

    bool is_up; /* under the module's state_lock */

    pthread_mutex_t lock;    /* permits, idle sessions, state, description, new keys */
    pthread_cond_t freed[2]; /* for who signs, for who decrypts */
    unsigned permits;        /* parallel operations, by the token's session limit */
    unsigned signatures, decryptions;     /* of them, at most so many sign, decrypt */
    unsigned lane_busy[MODULE_LANES_MAX]; /* signing; decryption has own sessions */
    unsigned busy, decrypting, waiting[2];
    CK_SESSION_HANDLE idle[TOKEN_PERMITS_MAX]; /* our own sessions, for decryption */
    unsigned idle_count;
    bool is_latched; /* a PIN was refused: no login again */
    bool takes_last; /* an operator wants the login even at the PIN's last try */
    char label[33], model[17], manufacturer[33], serial[17];
    bool is_software;

    pthread_mutex_t health_lock;       /* one health operation at a time */
    atomic_uint_fast64_t health_begun; /* counts them */
    enum ca_status health_status;      /* of the last one */
    int64_t health_ticks;              /* and when it began; 0: never */

    atomic_int_fast64_t operations, failures, rebuilds;
};

struct token_set {
    atomic_int references; /* the owner's and one a proxy */
    struct token *tokens;
    size_t count;
    struct module **modules;
    size_t module_count;

    pthread_mutex_t watch_lock;
    pthread_cond_t watch_changed;
    bool has_watch, watch_ends;
    pthread_t watch;
};

/* The URI of a key that the token has: its label and serial beside the key's own names.
 * free() it; NULL: memory. */
char *token_uri(const struct token *token, struct uri *key);
/* Frees the secrets of a token. */
void token_secrets_free(struct token *token);

void token_set_hold(struct token_set *set);
void token_set_drop(struct token_set *set);
