/* The private keys of a token, whoever made them: listed with their attributes, and
 * destroyed. For short-lived commands. */
#pragma once

#include "token.h"

enum keylist_flag { KEYLIST_NO, KEYLIST_YES, KEYLIST_UNKNOWN };

/* The attributes that say what a key is worth, in the order of keylist_flag_names. */
#define KEYLIST_FLAGS 14
struct keylist_attribute {
    const char *name;     /* "CKA_SENSITIVE" */
    const char *demanded; /* "true", "false", or NULL: by the key's use, or open */
};
extern const struct keylist_attribute keylist_attributes[KEYLIST_FLAGS];

struct keylist_key {
    const char *token; /* name in the configuration */
    char *uri;         /* RFC 7512, as records keep it */
    char *label;
    char id[2 * 64 + 1]; /* hex */
    const char *kind;    /* "rsa", "ec" or "other" */
    int bits;            /* RSA modulus, or size of the curve; 0: not told */
    unsigned uses;       /* enum token_use */
    enum keylist_flag flags[KEYLIST_FLAGS];
    bool has_public;
};
typedef enum ca_status (*keylist_visit)(const struct keylist_key *key, void *arg);

/* Visits every private key of token `name`, at most KEYLIST_MAX. The visitor may use
 * the set. CA_NOT_FOUND: no such token; CA_UNAVAILABLE. */
#define KEYLIST_MAX 4096
enum ca_status keylist_run(struct token_set *set, const char *name, keylist_visit visit,
                           void *arg);

/* Destroys the pair that the URI names, both halves, for ever: exactly one pair or
 * CA_NOT_FOUND, CA_CONFLICT. The caller has asked. */
enum ca_status keylist_destroy(struct token_set *set, const char *uri);
