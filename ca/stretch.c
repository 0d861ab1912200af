/* Names, salts and stretched passwords of the activation. */
#include "stretch.h"
#include "auto.h"
#include "clock.h"
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#define LABEL "ECSPEKE-ACT-1"
#define SYMBOL_GROUP 4

const struct stretch_cost stretch_cost_default = { 14, 8, 5 };

bool
stretch_cost_is_taken(struct stretch_cost cost)
{
    return cost.ln >= 10 && cost.ln <= 17 && cost.r == 8 && cost.p >= 1 && cost.p <= 8;
}

static void
trim(const char **text, size_t *length)
{
    while (*length > 0 && **text == ' ') {
        (*text)++;
        (*length)--;
    }
    while (*length > 0 && (*text)[*length - 1] == ' ')
        (*length)--;
}

bool
stretch_user(const char *sent, size_t length, char ret_user[STRETCH_USER_MAX + 1])
{
    trim(&sent, &length);
    if (length == 0 || length > STRETCH_USER_MAX)
        return false;
    for (size_t i = 0; i < length;) {
        uint32_t c;
        size_t size = text_character(sent + i, length - i, &c);
        if (size == 0 || c < 0x20 || c == 0x7f)
            return false;
        i += size;
    }
    for (size_t i = 0; i < length; i++) {
        char c = sent[i];
        ret_user[i] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    }
    ret_user[length] = '\0';
    return true;
}

bool
stretch_ref_is_good(const char *ref)
{
    size_t length = strspn(ref, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789._-");
    return ref[length] == '\0' && length <= STRETCH_REF_MAX;
}

enum ca_status
stretch_password(const char *typed, size_t length,
                 char ret_password[STRETCH_PASSWORD_MAX + 1])
{
    trim(&typed, &length);
    if (length < STRETCH_PASSWORD_MIN || length > STRETCH_PASSWORD_MAX)
        return ca_fail(CA_MALFORMED, "an activation password has %d to %d characters",
                       STRETCH_PASSWORD_MIN, STRETCH_PASSWORD_MAX);
    for (size_t i = 0; i < length; i++) {
        if (typed[i] < 0x20 || typed[i] > 0x7e)
            return ca_fail(CA_MALFORMED, "an activation password is printable ASCII");
    }
    memcpy(ret_password, typed, length);
    ret_password[length] = '\0';
    return CA_OK;
}

/* One of the 31 letters and digits that people do not confuse; evenly, by rejection. */
static enum ca_status
symbol_draw(char *ret_symbol)
{
    static const char symbols[] = "abcdefghjkmnpqrstuvwxyz23456789";
    uint8_t octet;
    do {
        enum ca_status status = random_bytes(&octet, 1);
        if (status != CA_OK)
            return status;
        octet &= 31;
    } while (octet >= sizeof symbols - 1);
    *ret_symbol = symbols[octet];
    octet = 0;
    return CA_OK;
}

enum ca_status
stretch_generate(size_t symbols, char ret_password[STRETCH_PASSWORD_MAX + 1])
{
    char password[STRETCH_PASSWORD_MAX + 1];
    size_t length = 0;
    if (symbols < STRETCH_PASSWORD_MIN || symbols > STRETCH_SYMBOLS_MAX)
        return ca_fail(CA_LIMIT, "a generated password has %d to %d symbols",
                       STRETCH_PASSWORD_MIN, STRETCH_SYMBOLS_MAX);
    enum ca_status status = CA_OK;
    for (size_t i = 0; i < symbols && status == CA_OK; i++) {
        if (i > 0 && i % SYMBOL_GROUP == 0)
            password[length++] = '-';
        status = symbol_draw(&password[length++]);
    }
    password[length] = '\0';
    if (status == CA_OK)
        memcpy(ret_password, password, length + 1);
    OPENSSL_cleanse(password, sizeof password);
    return status;
}

/* lv: the length in LEB128, then the octets. */
static void
lv_put(struct text_buffer *buffer, const void *octets, size_t size)
{
    size_t rest = size;
    do {
        uint8_t group = (uint8_t)(rest & 0x7f);
        rest >>= 7;
        if (rest > 0)
            group |= 0x80;
        text_append(buffer, &group, 1);
    } while (rest > 0);
    if (size > 0)
        text_append(buffer, octets, size);
}

static void
lv_put_text(struct text_buffer *buffer, const char *text)
{
    lv_put(buffer, text, strlen(text));
}

/* HMAC-SHA-256, of which the first `size` octets are wanted. */
static enum ca_status
keyed_hash(const uint8_t key[STRETCH_KEY_SIZE], const struct text_buffer *text,
           uint8_t *ret_hash, size_t size)
{
    uint8_t hash[32];
    unsigned written = 0;
    if (text->failed ||
        !HMAC(EVP_sha256(), key, STRETCH_KEY_SIZE, (const unsigned char *)text->data,
              text->size, hash, &written))
        return ca_fail_openssl(CA_INTERNAL, "cannot hash a name");
    memcpy(ret_hash, hash, size);
    OPENSSL_cleanse(hash, sizeof hash);
    return CA_OK;
}

enum ca_status
stretch_salt(const uint8_t salt_key[STRETCH_KEY_SIZE], struct stretch_name name,
             uint8_t ret_salt[STRETCH_SALT_SIZE])
{
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    lv_put_text(&text, LABEL " salt");
    lv_put_text(&text, name.user);
    lv_put_text(&text, name.ref);
    return keyed_hash(salt_key, &text, ret_salt, STRETCH_SALT_SIZE);
}

enum ca_status
stretch_decoy(const uint8_t decoy_key[STRETCH_KEY_SIZE], struct stretch_name name,
              const uint8_t session[STRETCH_NONCE_SIZE],
              uint8_t ret_prs[STRETCH_PRS_SIZE])
{
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    lv_put_text(&text, LABEL " decoy");
    lv_put_text(&text, name.user);
    lv_put_text(&text, name.ref);
    lv_put(&text, session, STRETCH_NONCE_SIZE);
    return keyed_hash(decoy_key, &text, ret_prs, STRETCH_PRS_SIZE);
}

void
stretch_choose(uint8_t prs[STRETCH_PRS_SIZE], const uint8_t decoy[STRETCH_PRS_SIZE],
               bool is_live)
{
    uint8_t mask = (uint8_t)(0 - (unsigned)is_live);
    __asm__("" : "+r"(mask)); /* or the compiler makes a branch of it */
    for (size_t i = 0; i < STRETCH_PRS_SIZE; i++)
        prs[i] = (uint8_t)((prs[i] & mask) | (decoy[i] & ~mask));
}

enum ca_status
stretch_make(const char *password, const uint8_t salt[STRETCH_SALT_SIZE],
             struct stretch_cost cost, uint8_t ret_prs[STRETCH_PRS_SIZE])
{
    if (!stretch_cost_is_taken(cost))
        return ca_fail(CA_INTERNAL, "no client takes scrypt:%d:%d:%d", cost.ln, cost.r,
                       cost.p);
    uint64_t n = UINT64_C(1) << cost.ln, r = (uint64_t)cost.r, p = (uint64_t)cost.p;
    uint64_t memory = 128 * r * (n + p + 2) + 4096; /* RFC 7914 section 6 */
    if (EVP_PBE_scrypt(password, strlen(password), salt, STRETCH_SALT_SIZE, n, r, p,
                       memory, ret_prs, STRETCH_PRS_SIZE) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot stretch a password");
    return CA_OK;
}

void
stretch_verifier_aad(struct stretch_name name, const char *row,
                     struct text_buffer *ret_aad)
{
    lv_put_text(ret_aad, LABEL " verifier");
    lv_put_text(ret_aad, name.user);
    lv_put_text(ret_aad, name.ref);
    lv_put_text(ret_aad, row);
}

void
stretch_key_aad(const char *name, struct text_buffer *ret_aad)
{
    lv_put_text(ret_aad, LABEL " server key");
    lv_put_text(ret_aad, name);
}

void
stretch_data_key_aad(const char *kid, struct text_buffer *ret_aad)
{
    lv_put_text(ret_aad, LABEL " data key");
    lv_put_text(ret_aad, kid);
}

void
stretch_session_aad(const uint8_t session[STRETCH_NONCE_SIZE],
                    struct text_buffer *ret_aad)
{
    lv_put_text(ret_aad, LABEL " session");
    lv_put(ret_aad, session, STRETCH_NONCE_SIZE);
}

void
stretch_mail_aad(struct stretch_name name, const char *mail,
                 struct text_buffer *ret_aad)
{
    lv_put_text(ret_aad, LABEL " mail");
    lv_put_text(ret_aad, name.user);
    lv_put_text(ret_aad, name.ref);
    lv_put_text(ret_aad, mail);
}

void
stretch_lv(const void *octets, size_t size, struct text_buffer *ret_text)
{
    lv_put(ret_text, octets, size);
}
