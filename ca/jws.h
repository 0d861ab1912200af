/* JSON Web Signatures in compact form (RFC 7515) by RS256 and ES256 alone: everything
 * else, "none" and HMACs with a public key above all, is no signature (RFC 8725). */
#pragma once

#include "status.h"
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#define JWS_SIZE_MAX 16384     /* characters of a token */
#define JWS_SIGNATURE_MAX 1024 /* octets: RSA of 8192 bits */
#define JWS_RSA_BITS_MIN 2048
#define JWS_RSA_BITS_MAX 8192

enum jws_algorithm { JWS_RS256, JWS_ES256 };

struct jws {
    enum jws_algorithm algorithm;
    json_t *header, *claims; /* objects */
    char *text;              /* header and payload as they were signed */
    uint8_t signature[JWS_SIGNATURE_MAX];
    size_t signature_size;
};

/* Reads a token; nothing of it is believed yet. CA_UNAUTHENTICATED: not three parts of
 * base64url, members given twice, another algorithm, a critical extension. */
enum ca_status jws_parse(const char *text, struct jws *ret_jws);
/* The key of a set (RFC 7517) that may have signed it: its kid, or the only one of its
 * kind where it names none; borrowed. CA_NOT_FOUND. */
enum ca_status jws_find_key(const struct jws *jws, const json_t *keys,
                            const json_t **ret_key);
/* Does the key hold the signature? CA_UNAUTHENTICATED: no, or no key of enough bits. */
enum ca_status jws_verify(const struct jws *jws, const json_t *key);
void jws_clear(struct jws *jws);
