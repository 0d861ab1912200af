/* What keeps tokens well between requests: checks, unlocking, counts of calls. */
#include "auto.h"
#include "bringup.h"
#include "clock.h"
#include "object.h"
#include "operation.h"
#include "recovery.h"
#include <openssl/rsa.h>
#include <string.h>
#include <unistd.h>

static const uint8_t check_text[] = "sealwright: are you there?";

static enum ca_status
check_sign(struct token_key *key)
{
    uint8_t signature[1024];
    size_t size = 0;
    return token_sign(key, EVP_sha256(), check_text, sizeof check_text, signature,
                      sizeof signature, &size);
}

/* Something made with the public half comes back; never a stranger's ciphertext. */
static enum ca_status
check_decrypt(struct token_key *key)
{
    uint8_t encrypted[1024], text[sizeof check_text];
    size_t size = sizeof encrypted;
    CA_AUTO(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key->public, NULL);
    if (!context || EVP_PKEY_encrypt_init(context) <= 0 ||
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) <= 0 ||
        EVP_PKEY_encrypt(context, encrypted, &size, check_text, sizeof check_text) <= 0)
        return ca_fail_openssl(CA_INTERNAL, "RSA encryption");
    enum ca_status status =
        token_decrypt_key(key, false, encrypted, size, text, sizeof text);
    if (status == CA_OK && memcmp(text, check_text, sizeof text) != 0)
        status = ca_fail(CA_UNAVAILABLE, "token '%s' decrypts to something else",
                         key->token->name);
    return status;
}

/* The session of a token without keys: still logged in? */
static enum ca_status
check_session(struct token *token)
{
    CK_SESSION_HANDLE session = 0;
    CK_SESSION_INFO info = { 0 };
    enum ca_status status = recovery_wait(token, clock_ticks() + token->wait_ms);
    if (status != CA_OK)
        return status;
    pthread_rwlock_rdlock(&token->module->lock);
    uint64_t generation = token->module->generation;
    status = token->slot[0]
                 ? session_open(token, false, &session)
                 : ca_fail(CA_UNAVAILABLE, "token '%s' is down", token->name);
    if (status == CA_OK) {
        CK_RV code = token->module->functions->C_GetSessionInfo(session, &info);
        session_close(token, session);
        if (code != CKR_OK)
            status =
                module_fail(CA_UNAVAILABLE, token->module, "C_GetSessionInfo", code);
        else if (info.state != CKS_RO_USER_FUNCTIONS &&
                 token->slot[0]->token->loginRequired)
            status = ca_fail(CA_UNAVAILABLE, "token '%s' is not logged in any more",
                             token->name);
    }
    pthread_rwlock_unlock(&token->module->lock);
    if (status != CA_OK)
        recovery_request(token, generation);
    return status;
}

enum ca_status
token_check(struct token_set *set, size_t index)
{
    struct token *token = &set->tokens[index];
    pthread_rwlock_rdlock(&token->module->lock);
    struct token_key *key = token->keys;
    while (key && key->is_missing)
        key = key->next;
    pthread_rwlock_unlock(&token->module->lock);
    if (!key)
        return check_session(token);
    return key->uses & TOKEN_USE_SIGN ? check_sign(key) : check_decrypt(key);
}

enum ca_status
token_unlock(struct token_set *set, const char *name)
{
    struct token *token = NULL;
    struct pin *pin = NULL;
    for (size_t i = 0; i < set->count; i++) {
        if (strcmp(set->tokens[i].name, name) == 0)
            token = &set->tokens[i];
    }
    if (!token)
        return ca_fail(CA_NOT_FOUND, "no token '%s' is configured", name);
    enum ca_status status = pin_read(token->pin_source, &pin);
    if (status != CA_OK)
        return status;
    if (token->latch_file)
        unlink(token->latch_file);
    pthread_rwlock_wrlock(&token->module->lock);
    pin_free(token->pin);
    token->pin = pin;
    token->takes_last = true;
    pthread_mutex_lock(&token->lock);
    token->is_latched = false;
    pthread_mutex_unlock(&token->lock);
    uint64_t generation = token->module->generation;
    pthread_rwlock_unlock(&token->module->lock);
    (void)ca_fail(CA_OK, "an operator unlocked token '%s'", name);
    recovery_request(token, generation);
    status = recovery_wait(token, clock_ticks() + token->wait_ms);
    return recovery_state(token) == TOKEN_LATCHED ? CA_FORBIDDEN : status;
}

const int64_t token_bucket_ms[TOKEN_BUCKETS] = { 1, 2, 5, 10, 20, 50, 100, 500, 2000 };
_Static_assert(TOKEN_BUCKETS == GUARD_BUCKETS, "the guard counts by the same bounds");

bool
token_calls_next(struct token_set *set, size_t index, size_t *position,
                 struct token_calls *ret_calls)
{
    const struct guard *guard = set->tokens[index].module->guard;
    while (*position < guard_count_size()) {
        struct guard_count count;
        guard_count(guard, (*position)++, &count);
        if (count.calls == 0)
            continue;
        *ret_calls = (struct token_calls){ .function = count.function,
                                           .calls = count.calls,
                                           .failures = count.failures,
                                           .total_us = count.total_us };
        int64_t sum = 0;
        for (size_t i = 0; i < TOKEN_BUCKETS; i++)
            ret_calls->buckets[i] = sum += count.buckets[i];
        return true;
    }
    return false;
}
