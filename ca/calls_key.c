/* Helper keys for plugins: by endpoint and role, one operation at a time. */
#include "auto.h"
#include "endpoint.h"
#include "pubkey.h"
#include <string.h>

struct ca_key {
    const struct issuer_helper *helper; /* of the exchange's issuers */
    EVP_PKEY *pkey;                     /* the exchange's, made when asked for */
    struct exchange *exchange;
};

static int
role_of(enum ca_key_role role)
{
    switch (role) {
    case CA_KEY_RA: return HELPER_RA;
    case CA_KEY_OCSP: return HELPER_OCSP;
    case CA_KEY_SEALING: return HELPER_SEALING;
    }
    return -1;
}

enum ca_status
ca_key_get(struct ca_request *req, const char *endpoint, enum ca_key_role role,
           bool next, size_t index, struct ca_key **ret_key)
{
    struct exchange *exchange = exchange_of(req);
    const struct issuer *issuer = NULL;
    int helper_role = role_of(role);
    if (helper_role < 0)
        return ca_fail(CA_INTERNAL, "no such role of a key");
    enum ca_status status = endpoint_issuer(exchange, endpoint, next, &issuer);
    if (status != CA_OK)
        return status;
    const struct issuer_helper *helper =
        issuers_helper(exchange_issuers(exchange), helper_role,
                       role == CA_KEY_SEALING ? NULL : issuer->name, index);
    if (!helper)
        return ca_fail(CA_NOT_FOUND, "issuer '%s' has no %s key of index %zu",
                       issuer->name, helper_role_words[helper_role], index);
    if (!helper->key)
        return ca_fail(CA_UNAVAILABLE, "helper key '%s' is not in a token here",
                       helper->name);
    struct ca_key *key = ca_request_alloc(req, sizeof *key);
    if (!key)
        return ca_fail(CA_INTERNAL, "no memory for a key");
    *key = (struct ca_key){ .helper = helper, .exchange = exchange };
    *ret_key = key;
    return CA_OK;
}

X509 *
ca_key_certificate(struct ca_key *key)
{
    return key->helper->certificate;
}

EVP_PKEY *
ca_key_pkey(struct ca_key *key)
{
    if (key->pkey)
        return key->pkey;
    EVP_PKEY *pkey = token_key_pkey(key->helper->key);
    if (!pkey || exchange_keep(key->exchange, pkey, (void (*)(void *))EVP_PKEY_free))
        return NULL;
    key->pkey = pkey;
    return pkey;
}

enum ca_status
ca_key_decrypt(struct ca_request *req, struct ca_key *key, bool oaep,
               struct ca_bytes encrypted, uint8_t *ret_key, size_t key_size)
{
    struct exchange *exchange = exchange_of(req);
    struct service *service = exchange->service;
    enum ca_status status = service_wait_begin(service);
    if (status != CA_OK)
        return status;
    exchange_expect_write(exchange); /* a secret comes to be used up */
    status = token_decrypt_key(key->helper->key, oaep, encrypted.data, encrypted.size,
                               ret_key, key_size);
    service_wait_end(service);
    return status;
}

EVP_PKEY *
ca_public_key(struct ca_request *req, struct ca_bytes spki)
{
    struct exchange *exchange = exchange_of(req);
    EVP_PKEY *key = exchange_known_key(exchange, spki);
    if (key)
        return key;
    key = pubkey_decode(spki.data, spki.size);
    if (!key || exchange_keep(exchange, key, (void (*)(void *))EVP_PKEY_free) != CA_OK)
        return NULL;
    uint8_t *copy = exchange->key_count < EXCHANGE_KEYS_MAX
                        ? ca_request_alloc(req, spki.size)
                        : NULL;
    if (copy) {
        memcpy(copy, spki.data, spki.size);
        exchange->keys[exchange->key_count].spki = (struct ca_bytes){ copy, spki.size };
        exchange->keys[exchange->key_count++].key = key;
    }
    return key;
}

X509 *
ca_certificate_decode(struct ca_bytes der)
{
    return pubkey_certificate_decode(der.data, der.size);
}
