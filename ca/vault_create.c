/* New sealing keys: made in the token, tried, and kept with the server keys. */
#include "auto.h"
#include "clock.h"
#include "vault_inner.h"
#include <openssl/crypto.h>
#include <string.h>

struct creation {
    const struct sealing_key *key;
    struct server_key server[SERVER_COUNT];
    bool is_new; /* server keys and all */
};

static enum ca_status
creation_write(struct store_tx *tx, void *arg)
{
    const struct creation *creation = arg;
    enum ca_status status = sealing_insert(tx, creation->key);
    for (size_t i = 0; status == CA_OK && i < SERVER_COUNT; i++)
        status = creation->is_new ? server_key_insert(tx, &creation->server[i])
                                  : server_key_reseal(tx, &creation->server[i]);
    return status;
}

static enum ca_status
creation_seal(struct vault *vault, const struct sealing_key *key,
              struct creation *creation)
{
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < SERVER_COUNT; i++) {
        CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
        char kid[SEALING_KID_MAX + 1];
        struct server_key *server = &creation->server[i];
        server->name = strdup(vault_server_names[i]);
        server->kid = strdup(key->kid);
        stretch_key_aad(vault_server_names[i], &aad);
        if (!server->name || !server->kid || aad.failed)
            return ca_fail(CA_INTERNAL, "no memory for a server key");
        status = vault_seal(vault,
                            (struct seal_text){ vault->memory->server[i],
                                                STRETCH_KEY_SIZE, aad.data, aad.size },
                            server->blob, kid);
    }
    return status;
}

static enum ca_status
kid_draw(char ret_kid[SEALING_KID_MAX + 1])
{
    uint8_t octets[6];
    enum ca_status status = random_bytes(octets, sizeof octets);
    if (status != CA_OK)
        return status;
    hex_format(octets, sizeof octets, ret_kid);
    return CA_OK;
}

static enum ca_status
token_key_make(struct token_set *tokens, const struct vault_wanted *wanted,
               struct sealing_key *key)
{
    char label[VAULT_LABEL_SIZE];
    bool has_gcm = false;
    enum ca_status status =
        token_offers(tokens, wanted->token, TOKEN_METHOD_GCM, &has_gcm);
    if (status == CA_OK && !has_gcm)
        return ca_fail(CA_UNSUPPORTED,
                       "token '%s' lacks CKM_AES_GCM: activation needs `kek = memory` "
                       "there",
                       wanted->token);
    vault_label(key->kid, "", label);
    key->method = SEALING_TOKEN;
    return status == CA_OK ? token_secret_generate(tokens, wanted->token, label,
                                                   SECRET_SEAL, &key->key)
                           : status;
}

static enum ca_status
data_key_make(struct token_set *tokens, const struct vault_wanted *wanted,
              struct sealing_key *key)
{
    uint8_t data_key[VAULT_KEY_SIZE];
    enum ca_status status = random_bytes(data_key, sizeof data_key);
    if (status == CA_OK)
        status = vault_wrap(tokens, wanted, data_key, key);
    OPENSSL_cleanse(data_key, sizeof data_key);
    return status;
}

/* Server keys drawn anew, or those that an open vault has. */
static enum ca_status
server_keys_take(struct vault *vault, struct vault *old)
{
    if (!old)
        return random_bytes(vault->memory->server, sizeof vault->memory->server);
    memcpy(vault->memory->server, old->memory->server, sizeof vault->memory->server);
    return CA_OK;
}

/* The vault as it is before, in whatever mode; NULL when there is none. */
static enum ca_status
old_open(struct store *store, struct token_set *tokens, struct vault **ret_old)
{
    enum ca_status status = vault_open(store, tokens, VAULT_TOKEN, ret_old);
    if (status == CA_CONFLICT)
        status = vault_open(store, tokens, VAULT_MEMORY, ret_old);
    return status == CA_NOT_FOUND ? CA_OK : status;
}

static void
sealing_clear_auto(struct sealing_key *key)
{
    sealing_clear(key);
}

enum ca_status
vault_create(struct store *store, struct token_set *tokens,
             const struct vault_wanted *wanted)
{
    CA_AUTO(vault_free) struct vault *old = NULL;
    CA_AUTO(vault_free) struct vault *vault = vault_new(tokens, wanted->mode);
    CA_AUTO(sealing_clear) struct sealing_key key = { .current = true };
    struct creation creation = { .key = &key };
    char kid[SEALING_KID_MAX + 1];
    enum ca_status status = old_open(store, tokens, &old);
    if (status == CA_OK)
        status = kid_draw(kid);
    if (status != CA_OK)
        return status;
    key.kid = strdup(kid);
    if (!vault || !key.kid)
        return ca_fail(CA_INTERNAL, "no memory for a sealing key");
    status = vault_lock(vault);
    if (status == CA_OK)
        status = wanted->mode == VAULT_TOKEN ? token_key_make(tokens, wanted, &key)
                                             : data_key_make(tokens, wanted, &key);
    if (status == CA_OK)
        status = vault_add(vault, &key);
    if (status == CA_OK)
        status = server_keys_take(vault, old);
    if (status == CA_OK)
        status = creation_seal(vault, &key, &creation);
    creation.is_new = !old;
    if (status == CA_OK)
        status = store_write(store, creation_write, &creation);
    for (size_t i = 0; i < SERVER_COUNT; i++)
        server_key_clear(&creation.server[i]);
    return status;
}
