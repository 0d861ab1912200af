/* RSA decryption with a token's key that tells nobody whether it went well. */
#include "auto.h"
#include "clock.h"
#include "object.h"
#include "operation.h"
#include "recovery.h"
#include "secret.h"
#include <openssl/crypto.h>
#include <openssl/rsa.h>
#include <string.h>
#include <time.h>

#define HEALTH_MS 250 /* from one health operation of a token to the next */

/* Codes that speak of session, login or device, never of the ciphertext. SoftHSM
 * answers bad padding with CKR_GENERAL_ERROR: a stranger must not be able to look like
 * an outage. */
bool
code_is_outage(CK_RV code)
{
    switch (code) {
    case CKR_DEVICE_ERROR:
    case CKR_DEVICE_MEMORY:
    case CKR_DEVICE_REMOVED:
    case CKR_SESSION_CLOSED:
    case CKR_SESSION_HANDLE_INVALID:
    case CKR_TOKEN_NOT_PRESENT:
    case CKR_TOKEN_NOT_RECOGNIZED:
    case CKR_USER_NOT_LOGGED_IN:
    case CKR_CRYPTOKI_NOT_INITIALIZED: return true;
    default: return false;
    }
}

struct decryption {
    CK_BYTE input[TOKEN_MODULUS_MAX], text[TOKEN_MODULUS_MAX];
    CK_ULONG size, text_size; /* of the modulus; of the text */
    bool is_outage;   /* the last code spoke of the token, not of the ciphertext */
    bool saw_input;   /* and it was C_Decrypt's */
    bool is_final;    /* no further try */
    unsigned suspect; /* outages that a healthy token had with this ciphertext */
};

enum ca_status
session_take(struct token *token, CK_SESSION_HANDLE *ret_session)
{
    bool has_idle = false;
    pthread_mutex_lock(&token->lock);
    if (token->idle_count > 0) {
        *ret_session = token->idle[--token->idle_count];
        has_idle = true;
    }
    pthread_mutex_unlock(&token->lock);
    return has_idle ? CA_OK : session_open(token, false, ret_session);
}

void
session_give(struct token *token, CK_SESSION_HANDLE session)
{
    bool is_kept = false;
    pthread_mutex_lock(&token->lock);
    if (token->idle_count < token->decryptions) {
        token->idle[token->idle_count++] = session;
        is_kept = true;
    }
    pthread_mutex_unlock(&token->lock);
    if (!is_kept)
        session_close(token, session);
}

/* OAEP with SHA-256 is a question to the token, which may say no. */
static bool
parameters_are_refused(const CK_MECHANISM *mechanism, CK_RV code)
{
    const CK_RSA_PKCS_OAEP_PARAMS *oaep = mechanism->pParameter;
    return mechanism->mechanism == CKM_RSA_PKCS_OAEP && oaep->hashAlg == CKM_SHA256 &&
           (code == CKR_ARGUMENTS_BAD || code == CKR_MECHANISM_INVALID ||
            code == CKR_MECHANISM_PARAM_INVALID);
}

/* One try in one session. The text's room is the modulus length: a smaller buffer
 * leaves the operation active. C_DecryptInit sees nothing of the ciphertext, so its
 * failures are the token's. */
static CK_RV
session_decrypt(struct token_key *key, CK_SESSION_HANDLE session,
                const CK_MECHANISM *mechanism, struct decryption *decryption)
{
    CK_FUNCTION_LIST *functions = key->token->module->functions;
    CK_MECHANISM own = *mechanism;
    CK_RV code = functions->C_DecryptInit(session, &own, key->object);
    decryption->is_outage = code != CKR_OK && !parameters_are_refused(mechanism, code);
    decryption->saw_input = code == CKR_OK;
    if (code != CKR_OK)
        return code;
    decryption->text_size = decryption->size;
    code = functions->C_Decrypt(session, decryption->input, decryption->size,
                                decryption->text, &decryption->text_size);
    decryption->is_outage = code_is_outage(code);
    return code;
}

/* Again in a new session when an idle one turns out to be dead. */
static enum ca_status
token_decrypt(struct token_key *key, const CK_MECHANISM *mechanism,
              struct decryption *decryption, CK_RV *ret_code)
{
    CK_RV code = CKR_OK;
    for (int tries = 0; tries < 2; tries++) {
        CK_SESSION_HANDLE session = 0;
        enum ca_status status = session_take(key->token, &session);
        if (status != CA_OK) {
            decryption->saw_input = false;
            return status;
        }
        code = session_decrypt(key, session, mechanism, decryption);
        if (!decryption->is_outage) {
            session_give(key->token, session);
            *ret_code = code;
            return CA_OK;
        }
        session_close(key->token, session);
        session_close_all(key->token); /* as dead as this one, most likely */
    }
    return module_fail(CA_UNAVAILABLE, key->token->module, "C_Decrypt", code);
}

enum ca_status
operation_decrypt_test(struct token_key *key)
{
    static const CK_MECHANISM mechanism = { CKM_RSA_PKCS, NULL, 0 };
    const uint8_t text[32] = "sealwright: is the pair a pair?";
    struct decryption decryption = { .size = (size_t)EVP_PKEY_get_size(key->public) };
    size_t size = sizeof decryption.input;
    CK_RV code = CKR_OK;
    CA_AUTO(EVP_PKEY_CTX_free)
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new(key->public, NULL);
    if (decryption.size > TOKEN_MODULUS_MAX || !context ||
        EVP_PKEY_encrypt_init(context) <= 0 ||
        EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PADDING) <= 0 ||
        EVP_PKEY_encrypt(context, decryption.input, &size, text, sizeof text) <= 0)
        return ca_fail_openssl(CA_INTERNAL, "RSA encryption");
    enum ca_status status = token_decrypt(key, &mechanism, &decryption, &code);
    if (status != CA_OK)
        return status;
    if (code != CKR_OK)
        return module_fail(CA_UNAVAILABLE, key->token->module, "C_Decrypt", code);
    if (decryption.text_size != sizeof text ||
        memcmp(decryption.text, text, sizeof text) != 0)
        return ca_fail(CA_UNAVAILABLE, "token '%s' decrypts to something else",
                       key->token->name);
    return CA_OK;
}

/* Until HEALTH_MS after the last health operation; false when somebody else found an
 * outage meanwhile. */
static bool
health_pause(struct token *token)
{
    struct module *module = token->module;
    int64_t ticks = token->health_ticks + HEALTH_MS;
    struct timespec until = { .tv_sec = ticks / 1000,
                              .tv_nsec = ticks % 1000 * 1000000 };
    int waited = 0;
    pthread_mutex_lock(&module->state_lock);
    while (waited == 0 && token->health_ticks != 0 && !module->is_rebuilding &&
           !module->is_closed)
        waited = pthread_cond_clockwait(&module->changed, &module->state_lock,
                                        CLOCK_MONOTONIC, &until);
    bool is_rebuilding = module->is_rebuilding;
    pthread_mutex_unlock(&module->state_lock);
    return !is_rebuilding;
}

/* After what looked like an outage: does the token decrypt what we made ourselves? One
 * thread asks at a time, not more often than HEALTH_MS allows, and an answer counts for
 * all whose failure came before the question (`seen`: health_begun at the failure):
 * strangers with strange ciphertexts cannot have more than that, nor can an older
 * answer hide an outage. */
static enum ca_status
health_ask(struct token_key *key, uint64_t seen)
{
    struct token *token = key->token;
    pthread_mutex_lock(&token->health_lock);
    if (atomic_load(&token->health_begun) <= seen) {
        bool is_well = health_pause(token);
        token->health_ticks = clock_ticks();
        atomic_fetch_add(&token->health_begun, 1);
        token->health_status =
            is_well ? operation_decrypt_test(key)
                    : ca_fail(CA_UNAVAILABLE, "token '%s' is down", token->name);
    }
    enum ca_status status = token->health_status;
    pthread_mutex_unlock(&token->health_lock);
    return status;
}

/* Is the token itself well after a failed try? C_OpenSession and C_DecryptInit see
 * nothing of the ciphertext, and failed in a second session as well. */
static bool
token_is_well(struct token_key *key, const struct decryption *decryption)
{
    uint64_t seen = atomic_load(&key->token->health_begun);
    return decryption->saw_input && health_ask(key, seen) == CA_OK;
}

/* One try under permit and read lock. */
static enum ca_status
decrypt_once(struct token_key *key, const CK_MECHANISM *mechanism,
             struct decryption *decryption, int64_t deadline, CK_RV *ret_code)
{
    struct token *token = key->token;
    struct grip grip;
    enum ca_status status = operation_begin(key, true, deadline, &grip);
    if (status != CA_OK) {
        decryption->is_final = true;
        return status;
    }
    status = token_decrypt(key, mechanism, decryption, ret_code);
    bool is_well = true;
    if (status != CA_OK) {
        atomic_fetch_add(&token->failures, 1);
        is_well = token_is_well(key, decryption);
        /* The token is well, and the second time it was the ciphertext. */
        if (is_well && ++decryption->suspect == 2) {
            *ret_code = CKR_GENERAL_ERROR;
            status = CA_OK;
        }
    }
    operation_end(key, true, &grip);
    atomic_fetch_add(&token->operations, 1);
    if (!is_well)
        recovery_request(token, grip.generation);
    return status;
}

enum ca_status
operation_decrypt(struct token_key *key, const CK_MECHANISM *mechanism,
                  const uint8_t *encrypted, uint8_t *ret_text, size_t *ret_size,
                  unsigned *ret_refused)
{
    int64_t deadline = clock_ticks() + key->token->wait_ms;
    struct decryption decryption = { .size = (size_t)EVP_PKEY_get_size(key->public) };
    enum ca_status status = CA_UNAVAILABLE;
    CK_RV code = CKR_OK;
    if (decryption.size > TOKEN_MODULUS_MAX)
        return ca_fail(CA_UNSUPPORTED, "RSA modulus of %lu octets", decryption.size);
    memcpy(decryption.input, encrypted, decryption.size);
    for (int tries = 0;
         tries < OPERATION_TRIES && status == CA_UNAVAILABLE && !decryption.is_final;
         tries++)
        status = decrypt_once(key, mechanism, &decryption, deadline, &code);
    if (status == CA_OK) {
        memcpy(ret_text, decryption.text, decryption.size);
        *ret_size = decryption.text_size;
        *ret_refused = code == CKR_OK ? 0 : 1;
    }
    OPENSSL_cleanse(&decryption, sizeof decryption);
    return status;
}

/* 0xff when a == b, else 0, without a branch. */
static uint8_t
equal_mask(size_t a, size_t b)
{
    size_t difference = a ^ b;
    size_t differs = (difference | (0 - difference)) >> (sizeof(size_t) * 8 - 1);
    return (uint8_t)(differs - 1);
}

enum ca_status
token_decrypt_key(struct token_key *key, bool oaep, const uint8_t *encrypted,
                  size_t size, uint8_t *ret_key, size_t key_size)
{
    CK_RSA_PKCS_OAEP_PARAMS oaep_sha1 = { .hashAlg = CKM_SHA_1,
                                          .mgf = CKG_MGF1_SHA1,
                                          .source = CKZ_DATA_SPECIFIED };
    const CK_MECHANISM mechanism = { oaep ? CKM_RSA_PKCS_OAEP : CKM_RSA_PKCS,
                                     oaep ? &oaep_sha1 : NULL,
                                     oaep ? sizeof oaep_sha1 : 0 };
    uint8_t text[TOKEN_MODULUS_MAX] = { 0 }, random[TOKEN_MODULUS_MAX];
    size_t text_size = 0;
    unsigned refused = 1;
    if (!(key->uses & TOKEN_USE_DECRYPT))
        return ca_fail(CA_FORBIDDEN, "token '%s': this key does not decrypt",
                       key->token->name);
    if (key_size == 0 || key_size > TOKEN_MODULUS_MAX)
        return ca_fail(CA_LIMIT, "a content key of %zu octets", key_size);
    enum ca_status status = random_bytes(random, key_size);
    if (status != CA_OK)
        return status;
    /* The length is in the clear: no secret hangs on this branch. */
    if (size == (size_t)EVP_PKEY_get_size(key->public))
        status =
            operation_decrypt(key, &mechanism, encrypted, text, &text_size, &refused);
    if (status == CA_OK) {
        uint8_t mask = equal_mask(text_size, key_size) & equal_mask(refused, 0);
        for (size_t i = 0; i < key_size; i++)
            ret_key[i] = (uint8_t)((text[i] & mask) | (random[i] & (uint8_t)~mask));
    }
    OPENSSL_cleanse(text, sizeof text);
    OPENSSL_cleanse(random, sizeof random);
    return status;
}

enum ca_status
token_decrypt_oaep(struct token_key *key, bool sha256, const uint8_t *encrypted,
                   size_t size, uint8_t ret_key[SECRET_KEY_SIZE])
{
    CK_RSA_PKCS_OAEP_PARAMS oaep = { .hashAlg = sha256 ? CKM_SHA256 : CKM_SHA_1,
                                     .mgf = sha256 ? CKG_MGF1_SHA256 : CKG_MGF1_SHA1,
                                     .source = CKZ_DATA_SPECIFIED };
    const CK_MECHANISM mechanism = { CKM_RSA_PKCS_OAEP, &oaep, sizeof oaep };
    uint8_t text[TOKEN_MODULUS_MAX];
    size_t text_size = 0;
    unsigned refused = 1;
    if (!(key->uses & TOKEN_USE_DECRYPT))
        return ca_fail(CA_FORBIDDEN, "token '%s': this key does not decrypt",
                       key->token->name);
    if (size != (size_t)EVP_PKEY_get_size(key->public))
        return ca_fail(CA_FORBIDDEN, "a wrapped key of %zu octets", size);
    enum ca_status status =
        operation_decrypt(key, &mechanism, encrypted, text, &text_size, &refused);
    if (status == CA_OK && (refused || text_size != SECRET_KEY_SIZE))
        status = ca_fail(CA_FORBIDDEN, "token '%s' does not decrypt a wrapped key",
                         key->token->name);
    if (status == CA_OK)
        memcpy(ret_key, text, SECRET_KEY_SIZE);
    OPENSSL_cleanse(text, sizeof text);
    return status;
}
