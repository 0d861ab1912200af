/* Sealing keys in use: opened from the store, tried, and sealed and opened with. */
#include "vault.h"
#include "auto.h"
#include "clock.h"
#include "log.h"
#include "vault_inner.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>

#define DECOY_ROW "decoy"

const char *const vault_server_names[SERVER_COUNT] = { "salt", "decoy", "state" };

/* ---- Memory ---- */

enum ca_status
vault_lock(struct vault *vault)
{
    void *memory = mmap(NULL, sizeof *vault->memory, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return ca_fail(CA_INTERNAL, "no memory for sealing keys");
    if (mlock(memory, sizeof *vault->memory) != 0 ||
        madvise(memory, sizeof *vault->memory, MADV_DONTDUMP) != 0) {
        int reason = errno;
        munmap(memory, sizeof *vault->memory);
        return ca_fail(CA_UNAVAILABLE,
                       "sealing keys cannot be kept in locked memory: %s",
                       strerror(reason));
    }
    vault->memory = memory;
    return CA_OK;
}

void
vault_free(struct vault *vault)
{
    if (!vault)
        return;
    if (vault->memory) {
        OPENSSL_cleanse(vault->memory, sizeof *vault->memory);
        munmap(vault->memory, sizeof *vault->memory);
    }
    pthread_rwlock_destroy(&vault->lock);
    free(vault);
}

struct vault *
vault_new(struct token_set *tokens, enum vault_mode mode)
{
    struct vault *vault = calloc(1, sizeof *vault);
    if (!vault)
        return NULL;
    vault->tokens = tokens;
    vault->mode = mode;
    pthread_rwlock_init(&vault->lock, NULL);
    return vault;
}

/* ---- One key ---- */

static enum ca_status
key_seal(struct vault *vault, size_t index, struct seal_text text, uint8_t *ret_blob)
{
    const struct vault_key *key = &vault->keys[index];
    atomic_fetch_add(&vault->operations, 1);
    if (!key->secret)
        return seal_make(vault->memory->data[index], text, ret_blob);
    if (text.size > SEAL_PLAIN_MAX || text.aad_size > SEAL_PLAIN_MAX)
        return ca_fail(CA_LIMIT, "%zu octets to seal, at most %d", text.size,
                       SEAL_PLAIN_MAX);
    enum ca_status status = random_bytes(ret_blob + 1, SEAL_NONCE_SIZE);
    if (status != CA_OK)
        return status;
    ret_blob[0] = 0x01;
    return token_secret_seal(key->secret,
                             &(struct secret_gcm){ ret_blob + 1, text.aad,
                                                   text.aad_size, text.data, text.size,
                                                   ret_blob + 1 + SEAL_NONCE_SIZE });
}

static enum ca_status
key_open(struct vault *vault, size_t index, struct seal_text blob, void *ret_text)
{
    const struct vault_key *key = &vault->keys[index];
    const uint8_t *octets = blob.data;
    uint8_t nonce[SEAL_NONCE_SIZE];
    atomic_fetch_add(&vault->operations, 1);
    if (!key->secret)
        return seal_open(vault->memory->data[index], blob, ret_text);
    if (blob.size < SEAL_OVERHEAD || blob.size > SEAL_PLAIN_MAX + SEAL_OVERHEAD ||
        octets[0] != 0x01)
        return ca_fail(CA_FORBIDDEN, "%zu octets are no sealed secret", blob.size);
    memcpy(nonce, octets + 1, sizeof nonce);
    return token_secret_open(
        key->secret, &(struct secret_gcm){ nonce, blob.aad, blob.aad_size,
                                           octets + 1 + SEAL_NONCE_SIZE,
                                           blob.size - 1 - SEAL_NONCE_SIZE, ret_text });
}

/* What the token does not do any more is an outage to those who ask. */
static enum ca_status
token_status(enum ca_status status)
{
    return status == CA_UNSUPPORTED || status == CA_NOT_FOUND || status == CA_CONFLICT
               ? ca_fail(CA_UNAVAILABLE, "%s", status_message())
               : status;
}

/* The index of a key, which stays: keys are added, never moved. */
static bool
key_find(struct vault *vault, const char *kid, size_t *ret_index)
{
    bool is_found = false;
    pthread_rwlock_rdlock(&vault->lock);
    for (size_t i = 0; i < vault->count && !is_found; i++) {
        is_found = strcmp(vault->keys[i].kid, kid) == 0;
        if (is_found)
            *ret_index = i;
    }
    pthread_rwlock_unlock(&vault->lock);
    return is_found;
}

static void
decoy_aad(struct text_buffer *aad)
{
    stretch_verifier_aad((struct stretch_name){ "", "" }, DECOY_ROW, aad);
}

/* ---- Sealing and opening ---- */

enum ca_status
vault_seal(struct vault *vault, struct seal_text text, uint8_t *ret_blob,
           char ret_kid[SEALING_KID_MAX + 1])
{
    pthread_rwlock_rdlock(&vault->lock);
    size_t index = vault->current;
    pthread_rwlock_unlock(&vault->lock);
    enum ca_status status = token_status(key_seal(vault, index, text, ret_blob));
    if (status == CA_OK)
        memcpy(ret_kid, vault->keys[index].kid, SEALING_KID_MAX + 1);
    return status;
}

enum ca_status
vault_unseal_decoy(struct vault *vault)
{
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
    uint8_t text[STRETCH_PRS_SIZE];
    size_t index = 0;
    decoy_aad(&aad);
    if (aad.failed || !key_find(vault, vault->decoy_kid, &index))
        return ca_fail(CA_INTERNAL, "no memory for an aad");
    enum ca_status status = key_open(
        vault, index,
        (struct seal_text){ vault->decoy, sizeof vault->decoy, aad.data, aad.size },
        text);
    OPENSSL_cleanse(text, sizeof text);
    /* This cannot be damaged, so it is the token. */
    if (status == CA_FORBIDDEN) {
        if (vault->keys[index].secret)
            token_secret_doubt(vault->keys[index].secret);
        return ca_fail(CA_UNAVAILABLE, "the sealing key opens nothing: %s",
                       status_message());
    }
    return token_status(status);
}

enum ca_status
vault_unseal(struct vault *vault, const char *kid, struct seal_text blob,
             void *ret_text)
{
    size_t index = 0;
    if (!key_find(vault, kid, &index))
        return ca_fail(CA_FORBIDDEN, "no sealing key '%.32s' is there", kid);
    enum ca_status status = token_status(key_open(vault, index, blob, ret_text));
    if (status != CA_FORBIDDEN)
        return status;
    /* The code does not tell a damaged blob from a failing token: the decoy does. */
    status = vault_unseal_decoy(vault);
    return status == CA_OK ? ca_fail(CA_FORBIDDEN, "a sealed secret is damaged")
                           : status;
}

const uint8_t *
vault_salt_key(const struct vault *vault)
{
    return vault->memory->server[SERVER_SALT];
}

const uint8_t *
vault_decoy_key(const struct vault *vault)
{
    return vault->memory->server[SERVER_DECOY];
}

const uint8_t *
vault_state_key(const struct vault *vault)
{
    return vault->memory->server[SERVER_STATE];
}

int64_t
vault_operations(const struct vault *vault)
{
    return atomic_load(&vault->operations);
}

/* ---- Taking keys up ---- */

struct keys_read {
    struct sealing_key keys[VAULT_KEYS_MAX];
    size_t count;
    struct server_key server[SERVER_COUNT];
    size_t server_count;
};

static void
keys_clear(struct keys_read *read)
{
    for (size_t i = 0; i < read->count; i++)
        sealing_clear(&read->keys[i]);
    for (size_t i = 0; i < SERVER_COUNT; i++)
        server_key_clear(&read->server[i]);
    read->count = read->server_count = 0;
}

static void
keys_clear_auto(struct keys_read *read)
{
    keys_clear(read);
}

static enum ca_status
visit_key(const void *record, void *arg)
{
    struct keys_read *read = arg;
    if (read->count == VAULT_KEYS_MAX)
        return ca_fail(CA_LIMIT, "more than %d sealing keys", VAULT_KEYS_MAX);
    if (!sealing_copy(record, &read->keys[read->count]))
        return ca_fail(CA_INTERNAL, "no memory for a sealing key");
    read->count++;
    return CA_OK;
}

static enum ca_status
keys_load(struct store_tx *tx, void *arg)
{
    struct keys_read *read = arg;
    keys_clear(read);
    enum ca_status status = sealing_list(tx, visit_key, read);
    for (size_t i = 0; status == CA_OK && i < SERVER_COUNT; i++) {
        status = server_key_load(tx, vault_server_names[i], &read->server[i]);
        if (status == CA_OK)
            read->server_count++;
        else if (status == CA_NOT_FOUND)
            status = CA_OK;
    }
    return status;
}

/* Seals and opens a test value. */
static enum ca_status
key_try(struct vault *vault, size_t index)
{
    static const char value[32] = "sealwright: does the key open it";
    uint8_t blob[sizeof value + SEAL_OVERHEAD], back[sizeof value];
    enum ca_status status = key_seal(
        vault, index, (struct seal_text){ value, sizeof value, "test", 4 }, blob);
    if (status == CA_OK)
        status = key_open(vault, index,
                          (struct seal_text){ blob, sizeof blob, "test", 4 }, back);
    if (status == CA_OK && memcmp(back, value, sizeof back) != 0)
        status = ca_fail(CA_FORBIDDEN, "another text came back");
    if (status == CA_OK || status == CA_UNAVAILABLE)
        return status;
    return ca_fail(CA_UNSUPPORTED, "sealing key '%s' does not seal and open: %s%s",
                   vault->keys[index].kid, status_message(),
                   vault->keys[index].secret ? " (try `kek = memory`)" : "");
}

enum ca_status
vault_add(struct vault *vault, const struct sealing_key *record)
{
    size_t index = vault->count;
    struct vault_key *key = &vault->keys[index];
    enum ca_status status = CA_OK;
    if (index == VAULT_KEYS_MAX)
        return ca_fail(CA_LIMIT, "more than %d sealing keys", VAULT_KEYS_MAX);
    *key = (struct vault_key){ .secret = NULL };
    snprintf(key->kid, sizeof key->kid, "%s", record->kid);
    status =
        record->method == SEALING_TOKEN
            ? token_secret_find(vault->tokens, record->key, SECRET_SEAL, &key->secret)
            : vault_unwrap(vault->tokens, record, vault->memory->data[index]);
    if (status == CA_OK)
        status = key_try(vault, index);
    if (status != CA_OK)
        return status;
    pthread_rwlock_wrlock(&vault->lock);
    vault->count++;
    if (record->current)
        vault->current = index;
    pthread_rwlock_unlock(&vault->lock);
    return CA_OK;
}

static enum ca_status
mode_check(const struct vault *vault, const struct sealing_key *key)
{
    bool is_token = key->method == SEALING_TOKEN;
    if (!key->current || is_token == (vault->mode == VAULT_TOKEN))
        return CA_OK;
    return ca_fail(CA_CONFLICT,
                   "activation.kek is \"%s\", but the current sealing key '%s' is of "
                   "the other mode: make a new one with `sealwright key sealing`",
                   vault->mode == VAULT_TOKEN ? "token" : "memory", key->kid);
}

/* An older key that cannot be used any more does not keep the service down: what it
 * sealed is as good as absent. */
static enum ca_status
keys_add(struct vault *vault, const struct keys_read *read)
{
    for (size_t i = 0; i < read->count; i++) {
        const struct sealing_key *key = &read->keys[i];
        size_t known = 0;
        enum ca_status status = mode_check(vault, key);
        if (status != CA_OK)
            return status;
        if (key_find(vault, key->kid, &known)) {
            pthread_rwlock_wrlock(&vault->lock);
            vault->current = key->current ? known : vault->current;
            pthread_rwlock_unlock(&vault->lock);
            continue;
        }
        status = vault_add(vault, key);
        if (status != CA_OK && (key->current || status == CA_UNAVAILABLE))
            return status;
        if (status != CA_OK)
            log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "kid", key->kid),
                      "an old sealing key cannot be used: %s", status_message());
    }
    return CA_OK;
}

static enum ca_status
server_keys_open(struct vault *vault, const struct keys_read *read)
{
    for (size_t i = 0; i < SERVER_COUNT; i++) {
        CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
        const struct server_key *key = &read->server[i];
        size_t index = 0;
        stretch_key_aad(vault_server_names[i], &aad);
        if (!key->name || !key_find(vault, key->kid, &index))
            return ca_fail(CA_NOT_FOUND, "the server key '%s' is missing",
                           vault_server_names[i]);
        if (aad.failed)
            return ca_fail(CA_INTERNAL, "no memory for an aad");
        enum ca_status status = key_open(
            vault, index,
            (struct seal_text){ key->blob, sizeof key->blob, aad.data, aad.size },
            vault->memory->server[i]);
        if (status == CA_FORBIDDEN)
            return ca_fail(CA_FORBIDDEN, "the server key '%s' does not open",
                           vault_server_names[i]);
        if (status != CA_OK)
            return status;
    }
    return CA_OK;
}

static enum ca_status
decoy_make(struct vault *vault)
{
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
    uint8_t text[STRETCH_PRS_SIZE];
    decoy_aad(&aad);
    enum ca_status status = random_bytes(text, sizeof text);
    if (status != CA_OK || aad.failed)
        return status != CA_OK ? status : ca_fail(CA_INTERNAL, "no memory for an aad");
    status =
        vault_seal(vault, (struct seal_text){ text, sizeof text, aad.data, aad.size },
                   vault->decoy, vault->decoy_kid);
    OPENSSL_cleanse(text, sizeof text);
    return status;
}

static enum ca_status
current_check(const struct keys_read *read)
{
    if (read->count == 0 || !read->keys[0].current)
        return ca_fail(CA_NOT_FOUND, "no sealing key was made: see `sealwright key "
                                     "sealing`");
    return CA_OK;
}

enum ca_status
vault_refresh(struct vault *vault, struct store *store)
{
    CA_AUTO(keys_clear) struct keys_read read = { .count = 0 };
    enum ca_status status = store_read(store, keys_load, &read);
    if (status == CA_OK)
        status = current_check(&read);
    return status == CA_OK ? keys_add(vault, &read) : status;
}

enum ca_status
vault_open(struct store *store, struct token_set *tokens, enum vault_mode mode,
           struct vault **ret_vault)
{
    CA_AUTO(keys_clear) struct keys_read read = { .count = 0 };
    CA_AUTO(vault_free) struct vault *vault = vault_new(tokens, mode);
    enum ca_status status = store_read(store, keys_load, &read);
    if (status == CA_OK)
        status = current_check(&read);
    if (status == CA_OK && !vault)
        status = ca_fail(CA_INTERNAL, "no memory for sealing keys");
    if (status == CA_OK)
        status = vault_lock(vault);
    if (status == CA_OK)
        status = keys_add(vault, &read);
    if (status == CA_OK)
        status = server_keys_open(vault, &read);
    if (status == CA_OK)
        status = decoy_make(vault);
    if (status == CA_OK)
        *ret_vault = CA_STEAL(vault);
    return status;
}
