/* Signs with a token's key: bounded, in parallel, and never unverified. */
#include "operation.h"
#include "auto.h"
#include "clock.h"
#include "recovery.h"
#include <errno.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>
#include <time.h>

#define SIGNATURE_MAX 1024 /* RSA of 8192 bits */

static struct timespec
ticks_timespec(int64_t ticks)
{
    return (struct timespec){ .tv_sec = ticks / 1000,
                              .tv_nsec = ticks % 1000 * 1000000 };
}

/* The lane with the fewest signatures under way: each has MODULE_LANE_SESSIONS
 * sessions. */
static unsigned
lane_choose(const struct token *token)
{
    unsigned best = 0;
    for (unsigned i = 1; i < token->module->lane_count; i++) {
        if (token->lane_busy[i] < token->lane_busy[best])
            best = i;
    }
    return best;
}

static bool
permit_is_free(const struct token *token, bool decrypts)
{
    return token->busy < token->permits &&
           (decrypts ? token->decrypting < token->decryptions
                     : token->busy - token->decrypting < token->signatures);
}

static enum ca_status
permit_take(struct token *token, bool decrypts, int64_t deadline, unsigned *ret_lane)
{
    struct timespec until = ticks_timespec(deadline);
    int error = 0;
    pthread_mutex_lock(&token->lock);
    if (token->waiting[0] + token->waiting[1] >= TOKEN_WAITERS_MAX)
        error = EAGAIN;
    token->waiting[decrypts]++;
    while (error == 0 && !permit_is_free(token, decrypts))
        error = pthread_cond_clockwait(&token->freed[decrypts], &token->lock,
                                       CLOCK_MONOTONIC, &until);
    token->waiting[decrypts]--;
    bool is_free = permit_is_free(token, decrypts) && error != EAGAIN;
    if (is_free) {
        token->busy++;
        token->decrypting += decrypts ? 1 : 0;
        *ret_lane = decrypts ? 0 : lane_choose(token);
        token->lane_busy[*ret_lane] += decrypts ? 0 : 1;
    }
    pthread_mutex_unlock(&token->lock);
    if (!is_free)
        return ca_fail(CA_UNAVAILABLE, "token '%s' is busy: no permit in time",
                       token->name);
    return CA_OK;
}

/* One of each kind may go on where both wait: neither starves, nor do all wake up for
 * one permit. */
static void
permit_give(struct token *token, bool decrypts, unsigned lane)
{
    pthread_mutex_lock(&token->lock);
    token->busy--;
    token->decrypting -= decrypts ? 1 : 0;
    token->lane_busy[lane] -= decrypts ? 0 : 1;
    for (int kind = 0; kind < 2; kind++) {
        if (token->waiting[kind] > 0 && permit_is_free(token, kind != 0))
            pthread_cond_signal(&token->freed[kind]);
    }
    pthread_mutex_unlock(&token->lock);
}

/* The live half is there: with the read lock held, it stays. */
static enum ca_status
live_check(const struct token_key *key, unsigned lane)
{
    if (key->live[lane])
        return CA_OK;
    if (key->is_missing)
        return ca_fail(CA_UNAVAILABLE, "token '%s': key '%s' is gone", key->token->name,
                       key->label);
    return ca_fail(CA_UNAVAILABLE, "token '%s' is down", key->token->name);
}

/* With a permit and the read lock; whether the token is up is looked at by the caller,
 * for it may have gone down meanwhile. */
static enum ca_status
grip_take(struct token *token, bool decrypts, int64_t deadline, struct grip *ret_grip)
{
    struct timespec until = ticks_timespec(deadline);
    struct grip grip = { 0 };
    enum ca_status status = recovery_wait(token, deadline);
    if (status == CA_OK)
        status = permit_take(token, decrypts, deadline, &grip.lane);
    if (status != CA_OK)
        return status;
    if (pthread_rwlock_clockrdlock(&token->module->lock, CLOCK_MONOTONIC, &until) !=
        0) {
        permit_give(token, decrypts, grip.lane);
        return ca_fail(CA_UNAVAILABLE, "token '%s' does not answer", token->name);
    }
    grip.generation = token->module->generation;
    *ret_grip = grip;
    return CA_OK;
}

void
operation_leave(struct token *token, bool decrypts, const struct grip *grip)
{
    pthread_rwlock_unlock(&token->module->lock);
    permit_give(token, decrypts, grip->lane);
}

enum ca_status
operation_enter(struct token *token, bool decrypts, int64_t deadline,
                struct grip *ret_grip)
{
    for (;;) {
        enum ca_status status = grip_take(token, decrypts, deadline, ret_grip);
        if (status != CA_OK || token->slot[0])
            return status;
        operation_leave(token, decrypts, ret_grip);
        if (clock_ticks() >= deadline)
            return ca_fail(CA_UNAVAILABLE, "token '%s' is down", token->name);
    }
}

enum ca_status
operation_begin(struct token_key *key, bool decrypts, int64_t deadline,
                struct grip *ret_grip)
{
    struct token *token = key->token;
    struct grip grip = { 0 };
    for (;;) {
        enum ca_status status = grip_take(token, decrypts, deadline, &grip);
        if (status != CA_OK)
            return status;
        status = live_check(key, grip.lane);
        if (status == CA_OK) {
            *ret_grip = grip;
            return CA_OK;
        }
        /* Down since we waited for it: wait again, unless this key alone is gone. */
        bool waits = !key->is_missing && clock_ticks() < deadline;
        operation_leave(token, decrypts, &grip);
        if (!waits)
            return status;
    }
}

void
operation_end(struct token_key *key, bool decrypts, const struct grip *grip)
{
    operation_leave(key->token, decrypts, grip);
}

/* A context of `pkey`, ready to sign, verify or recover as the operation says. */
static EVP_PKEY_CTX *
context_new(EVP_PKEY *pkey, const struct operation *operation,
            int (*init)(EVP_PKEY_CTX *context))
{
    CA_AUTO(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(pkey, NULL);
    if (!context || init(context) <= 0)
        return NULL;
    if (EVP_PKEY_get_base_id(pkey) == EVP_PKEY_RSA &&
        EVP_PKEY_CTX_set_rsa_padding(context, operation->padding) <= 0)
        return NULL;
    if (operation->digest &&
        EVP_PKEY_CTX_set_signature_md(context, operation->digest) <= 0)
        return NULL;
    return CA_STEAL(context);
}

static void
verifier_free(struct verifier *verifier)
{
    if (verifier)
        EVP_PKEY_CTX_free(verifier->context);
    free(verifier);
}

void
operation_verifier_free(struct token_key *key)
{
    for (size_t i = 0; i < 2; i++)
        verifier_free(atomic_exchange(&key->verifiers[i], NULL));
}

/* Keeps a copy for the key's next signatures; nothing is lost when that fails. */
static void
verifier_keep(struct token_key *key, EVP_PKEY_CTX *context, int digest, int padding)
{
    struct verifier *none = NULL, *verifier = calloc(1, sizeof *verifier);
    if (!verifier)
        return;
    *verifier = (struct verifier){ EVP_PKEY_CTX_dup(context), digest, padding };
    if (!verifier->context ||
        !atomic_compare_exchange_strong(&key->verifiers[digest != NID_undef], &none,
                                        verifier))
        verifier_free(verifier);
}

/* A context for the public half. RSA without a digest is not verified but recovered. */
static EVP_PKEY_CTX *
verifier_new(struct token_key *key, const struct operation *operation, bool recovers)
{
    int digest = operation->digest ? EVP_MD_get_type(operation->digest) : NID_undef;
    const struct verifier *known = atomic_load(&key->verifiers[digest != NID_undef]);
    if (known && known->digest == digest && known->padding == operation->padding)
        return EVP_PKEY_CTX_dup(known->context);
    EVP_PKEY_CTX *context =
        context_new(key->public, operation,
                    recovers ? EVP_PKEY_verify_recover_init : EVP_PKEY_verify_init);
    if (context && !known)
        verifier_keep(key, context, digest, operation->padding);
    return context;
}

static bool
signature_verifies(struct token_key *key, const struct operation *operation,
                   const uint8_t *signature, size_t size)
{
    uint8_t block[SIGNATURE_MAX];
    size_t block_size = sizeof block;
    bool recovers =
        !operation->digest && EVP_PKEY_get_base_id(key->public) == EVP_PKEY_RSA;
    CA_AUTO(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *context = verifier_new(key, operation, recovers);
    if (!context)
        return false;
    if (!recovers)
        return EVP_PKEY_verify(context, signature, size, operation->input,
                               operation->input_size) == 1;
    return EVP_PKEY_verify_recover(context, block, &block_size, signature, size) > 0 &&
           block_size == operation->input_size &&
           memcmp(block, operation->input, block_size) == 0;
}

/* Codes by which a healthy token declines this kind of signature before it began: to
 * rebuild would not help, and a peer could ask for it (RSA-PSS in TLS). */
static bool
fault_is_refusal(struct guard_fault fault)
{
    if (!fault.function || strcmp(fault.function, "C_SignInit") != 0)
        return false;
    switch (fault.code) {
    case CKR_FUNCTION_NOT_SUPPORTED:
    case CKR_KEY_FUNCTION_NOT_PERMITTED:
    case CKR_KEY_SIZE_RANGE:
    case CKR_KEY_TYPE_INCONSISTENT:
    case CKR_MECHANISM_INVALID:
    case CKR_MECHANISM_PARAM_INVALID: return true;
    default: return false;
    }
}

enum ca_status
operation_sign_once(struct token_key *key, unsigned lane,
                    const struct operation *operation, uint8_t *ret_signature,
                    size_t room, size_t *ret_size)
{
    uint8_t signature[SIGNATURE_MAX];
    size_t size = sizeof signature;
    ERR_clear_error();
    guard_forget();
    CA_AUTO(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *context = context_new(key->live[lane], operation, EVP_PKEY_sign_init);
    if (!context || EVP_PKEY_sign(context, signature, &size, operation->input,
                                  operation->input_size) <= 0)
        return module_fault(fault_is_refusal(guard_fault()) ? CA_UNSUPPORTED
                                                            : CA_UNAVAILABLE,
                            key->token->module, "no signature");
    ERR_clear_error(); /* a success may leave entries there */
    if (!signature_verifies(key, operation, signature, size)) {
        ERR_clear_error();
        return ca_fail(CA_UNAVAILABLE,
                       "token '%s' gave a signature that does not verify",
                       key->token->name);
    }
    if (size > room)
        return ca_fail(CA_INTERNAL, "no room for a signature of %zu octets", size);
    memcpy(ret_signature, signature, size);
    *ret_size = size;
    return CA_OK;
}

/* The same block again after a rebuild: it is the caller's TBS that is signed, whatever
 * the number of tries. */
enum ca_status
operation_sign(struct token_key *key, const struct operation *operation,
               uint8_t *ret_signature, size_t room, size_t *ret_size)
{
    struct token *token = key->token;
    int64_t deadline = clock_ticks() + token->wait_ms;
    enum ca_status status = CA_UNAVAILABLE;
    for (int tries = 0; tries < OPERATION_TRIES && status == CA_UNAVAILABLE; tries++) {
        struct grip grip;
        status = operation_begin(key, false, deadline, &grip);
        if (status != CA_OK)
            return status;
        status = operation_sign_once(key, grip.lane, operation, ret_signature, room,
                                     ret_size);
        operation_end(key, false, &grip);
        atomic_fetch_add(&token->operations, 1);
        if (status != CA_OK)
            atomic_fetch_add(&token->failures, 1);
        if (status == CA_UNAVAILABLE)
            recovery_request(token, grip.generation);
    }
    return status;
}

enum ca_status
token_sign(struct token_key *key, const EVP_MD *digest, const void *data, size_t size,
           uint8_t *ret_signature, size_t room, size_t *ret_size)
{
    uint8_t hash[EVP_MAX_MD_SIZE];
    unsigned hash_size = 0;
    if (!(key->uses & TOKEN_USE_SIGN))
        return ca_fail(CA_FORBIDDEN, "token '%s': this key does not sign",
                       key->token->name);
    if (EVP_Digest(data, size, hash, &hash_size, digest, NULL) != 1)
        return ca_fail_openssl(CA_INTERNAL, "digest");
    struct operation operation = { .digest = digest,
                                   .padding = RSA_PKCS1_PADDING,
                                   .input = hash,
                                   .input_size = hash_size };
    return operation_sign(key, &operation, ret_signature, room, ret_size);
}
