/* A SCEP client that the end-to-end tests drive: reads one JSON object a line, writes
 * one. It keeps keys and certificates by name and builds messages as right or as wrong
 * as the test asks for; sending is the test's own business. */
#include "scep_tool.h"
#include "scep_client.h"
#include <jansson.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_SIZE (4 * 1024 * 1024)
#define NAMES_MAX 256

struct named {
    char name[32];
    EVP_PKEY *key;
    X509 *certificate;
};

static struct named names[NAMES_MAX];
static size_t names_count;

static const char *
text_of(const json_t *command, const char *member)
{
    return json_string_value(json_object_get(command, member));
}

static struct named *
name_find(const char *name)
{
    for (size_t i = 0; name && i < names_count; i++) {
        if (strcmp(names[i].name, name) == 0)
            return &names[i];
    }
    return NULL;
}

static struct named *
name_make(const char *name)
{
    struct named *found = name_find(name);
    if (found || !name || names_count == NAMES_MAX)
        return found;
    found = &names[names_count++];
    snprintf(found->name, sizeof found->name, "%s", name);
    return found;
}

static EVP_PKEY *
key_of(const json_t *command, const char *member)
{
    struct named *found = name_find(text_of(command, member));
    return found ? found->key : NULL;
}

static X509 *
certificate_of(const json_t *command, const char *member)
{
    struct named *found = name_find(text_of(command, member));
    return found ? found->certificate : NULL;
}

/* ---- base64 ---- */

static json_t *
octets_encode(const uint8_t *octets, size_t size)
{
    char *text = malloc(size / 3 * 4 + 8);
    if (!text)
        return NULL;
    int length = EVP_EncodeBlock((unsigned char *)text, octets, (int)size);
    json_t *encoded = json_stringn(text, (size_t)length);
    free(text);
    return encoded;
}

/* The member's octets; NULL when it is absent. free() it. */
static uint8_t *
octets_of(const json_t *command, const char *member, size_t *ret_size)
{
    const char *text = text_of(command, member);
    if (!text)
        return NULL;
    size_t length = strlen(text), padding = 0;
    while (padding < 2 && length > padding && text[length - 1 - padding] == '=')
        padding++;
    uint8_t *octets = malloc(length + 1);
    int size =
        octets ? EVP_DecodeBlock(octets, (const unsigned char *)text, (int)length) : -1;
    if (size < 0) {
        free(octets);
        return NULL;
    }
    *ret_size = (size_t)size - padding;
    return octets;
}

/* Takes `der`. */
static json_t *
der_answer(uint8_t *der, size_t size)
{
    if (!der)
        return json_pack("{s:s}", "error", "not built");
    json_t *answer = json_pack("{s:o}", "der", octets_encode(der, size));
    free(der);
    return answer;
}

static json_t *
done(bool is_done)
{
    return is_done ? json_object() : json_pack("{s:s}", "error", "not done");
}

/* ---- Keys and certificates ---- */

/* "rsa:2048", "ec:P-256", "ed25519". */
static json_t *
key_make(const json_t *command)
{
    const char *kind = text_of(command, "kind");
    struct named *named = name_make(text_of(command, "name"));
    if (!named || !kind)
        return done(false);
    EVP_PKEY_free(named->key);
    if (strncmp(kind, "rsa:", 4) == 0)
        named->key = EVP_RSA_gen((unsigned)strtoul(kind + 4, NULL, 10));
    else if (strncmp(kind, "ec:", 3) == 0)
        named->key = EVP_EC_gen(kind + 3);
    else
        named->key = EVP_PKEY_Q_keygen(NULL, NULL, kind);
    return done(named->key);
}

/* A private key in PEM, which another program made. */
static json_t *
key_load(const json_t *command)
{
    size_t size = 0;
    uint8_t *pem = octets_of(command, "pem", &size);
    struct named *named = name_make(text_of(command, "name"));
    BIO *in = pem ? BIO_new_mem_buf(pem, (int)size) : NULL;
    if (in && named) {
        EVP_PKEY_free(named->key);
        named->key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    }
    BIO_free(in);
    free(pem);
    return done(named && named->key);
}

static json_t *
certificate_load(const json_t *command)
{
    size_t size;
    uint8_t *der = octets_of(command, "der", &size);
    const uint8_t *at = der;
    struct named *named = name_make(text_of(command, "name"));
    if (der && named) {
        X509_free(named->certificate);
        named->certificate = d2i_X509(NULL, &at, (long)size);
    }
    bool is_read = der && named && named->certificate;
    free(der);
    return done(is_read);
}

/* A certificate of `cn` for the key: self-signed, or signed by the key `by` in the name
 * of certificate `issuer`, with the serial of certificate `like`. */
static json_t *
certificate_make(const json_t *command)
{
    EVP_PKEY *key = key_of(command, "key"), *by = key_of(command, "by");
    X509 *issuer = certificate_of(command, "issuer");
    X509 *like = certificate_of(command, "like");
    struct named *named = name_make(text_of(command, "name"));
    const char *cn = text_of(command, "cn");
    X509 *made = key && cn && named ? scep_self_signed(key, cn, NULL) : NULL;
    if (!made)
        return done(false);
    bool is_made = true;
    if (issuer)
        is_made = X509_set_issuer_name(made, X509_get_subject_name(issuer)) == 1;
    if (like)
        is_made = is_made &&
                  X509_set_serialNumber(made, X509_get_serialNumber(like)) == 1 &&
                  X509_set_subject_name(made, X509_get_subject_name(like)) == 1;
    if (by)
        is_made = is_made && X509_sign(made, by, EVP_sha256()) > 0;
    X509_free(named->certificate);
    named->certificate = made;
    return done(is_made);
}

/* ---- Messages ---- */

static json_t *
csr_make(const json_t *command)
{
    size_t size = 0;
    const char *digest = text_of(command, "digest");
    const struct scep_csr csr = {
        .key = key_of(command, "key"),
        .cn = text_of(command, "cn"),
        .challenge = text_of(command, "challenge"),
        .challenge_type = V_ASN1_UTF8STRING,
        .san = text_of(command, "san"),
        .digest = digest ? EVP_get_digestbyname(digest) : NULL,
        .bend = scep_tool_csr_bend(text_of(command, "bend")),
    };
    if (!csr.key)
        return done(false);
    uint8_t *der = scep_csr_build(&csr, &size);
    if (der && json_is_true(json_object_get(command, "broken")))
        der[size - 1] ^= 1;
    return der_answer(der, size);
}

static json_t *
message_make(const json_t *command)
{
    size_t content_size = 0, envelope_size = 0, nonce_size = 0, block_size = 0;
    size_t key_size = 0, size = 0;
    const char *cipher = text_of(command, "cipher"),
               *digest = text_of(command, "digest");
    uint8_t *content = octets_of(command, "content", &content_size);
    uint8_t *envelope = octets_of(command, "envelope", &envelope_size);
    uint8_t *nonce = octets_of(command, "nonce", &nonce_size);
    uint8_t *block = octets_of(command, "block", &block_size);
    uint8_t *content_key = octets_of(command, "content_key", &key_size);
    const struct scep_tool_bend bend = scep_tool_bend_find(text_of(command, "bend"));
    const struct scep_client_request request = {
        .key = key_of(command, "key"),
        .certificate = certificate_of(command, "certificate"),
        .recipient = certificate_of(command, "recipient"),
        .type = text_of(command, "type"),
        .transaction = text_of(command, "transaction"),
        .nonce = nonce_size == 16 ? nonce : NULL,
        .content = content,
        .content_size = content_size,
        .cipher = cipher ? EVP_get_cipherbyname(cipher) : NULL,
        .digest = digest ? EVP_get_digestbyname(digest) : NULL,
        .oaep = json_is_true(json_object_get(command, "oaep")),
        .block = block_size == 256 ? block : NULL,
        .content_key = content_key,
        .content_is_padded = json_is_true(json_object_get(command, "padded")),
        .envelope = envelope,
        .envelope_size = envelope_size,
        .bend_envelope = bend.envelope,
        .bend_attributes = bend.attributes,
        .bend_signed = bend.message,
    };
    uint8_t *der = NULL;
    if (request.key && request.certificate && request.recipient && content)
        der = scep_client_build(&request, &size);
    free(content);
    free(envelope);
    free(nonce);
    free(block);
    free(content_key);
    return der_answer(der, size);
}

static json_t *
issuer_and_serial(const json_t *command)
{
    size_t size = 0;
    uint8_t *der = NULL;
    X509 *issuer = certificate_of(command, "issuer");
    BIGNUM *number = NULL;
    const char *serial = text_of(command, "serial");
    ASN1_INTEGER *integer = serial && BN_hex2bn(&number, serial) > 0
                                ? BN_to_ASN1_INTEGER(number, NULL)
                                : NULL;
    if (issuer && integer)
        der = scep_issuer_and_serial(X509_get_subject_name(issuer), integer, &size);
    ASN1_INTEGER_free(integer);
    BN_free(number);
    return der_answer(der, size);
}

static json_t *
issuer_and_subject(const json_t *command)
{
    size_t size = 0;
    uint8_t *der = NULL;
    X509 *issuer = certificate_of(command, "issuer");
    X509 *subject = certificate_of(command, "subject");
    if (issuer && subject)
        der = scep_issuer_and_subject(X509_get_subject_name(issuer),
                                      X509_get_subject_name(subject), &size);
    return der_answer(der, size);
}

/* ---- Answers ---- */

static json_t *
certificate_encode(X509 *certificate)
{
    uint8_t *der = NULL;
    int size = certificate ? i2d_X509(certificate, &der) : 0;
    json_t *encoded = size > 0 ? octets_encode(der, (size_t)size) : json_null();
    OPENSSL_free(der);
    return encoded;
}

static json_t *
reply_read(const json_t *command)
{
    size_t size = 0;
    uint8_t *der = octets_of(command, "der", &size);
    struct scep_reply reply = { 0 };
    const char *wrong = "no answer";
    if (der)
        wrong = scep_reply_read(der, size, certificate_of(command, "ra"),
                                key_of(command, "key"),
                                certificate_of(command, "certificate"), &reply);
    json_t *answer =
        json_pack("{s:s*, s:s, s:s, s:s, s:s*, s:o, s:o, s:b, s:b, s:i, s:o, s:b}",
                  "error", wrong, "type", reply.type, "status", reply.status, "fail",
                  reply.fail, "transaction", reply.transaction, "sender_nonce",
                  octets_encode(reply.sender_nonce, 16), "recipient_nonce",
                  octets_encode(reply.recipient_nonce, 16), "has_content",
                  (int)reply.has_content, "has_fail_text", (int)reply.has_fail_text,
                  "count", reply.certificate_count, "certificate",
                  certificate_encode(reply.certificate), "has_crl", reply.crl != NULL);
    scep_reply_clear(&reply);
    free(der);
    return answer;
}

static const struct {
    const char *word;
    json_t *(*run)(const json_t *command);
} commands[] = {
    { "key", key_make },
    { "key_load", key_load },
    { "load", certificate_load },
    { "certificate", certificate_make },
    { "csr", csr_make },
    { "message", message_make },
    { "issuer_and_serial", issuer_and_serial },
    { "issuer_and_subject", issuer_and_subject },
    { "read", reply_read },
};

static json_t *
command_run(const char *line)
{
    json_t *command = json_loads(line, 0, NULL), *answer = NULL;
    const char *word = text_of(command, "do");
    for (size_t i = 0; word && i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(commands[i].word, word) == 0)
            answer = commands[i].run(command);
    }
    json_decref(command);
    return answer ? answer : json_pack("{s:s}", "error", "no such command");
}

static void
names_clear(void)
{
    for (size_t i = 0; i < names_count; i++) {
        EVP_PKEY_free(names[i].key);
        X509_free(names[i].certificate);
    }
}

int
main(void)
{
    char *line = malloc(LINE_MAX_SIZE);
    while (line && fgets(line, LINE_MAX_SIZE, stdin)) {
        json_t *answer = command_run(line);
        json_dumpf(answer, stdout, JSON_COMPACT);
        putchar('\n');
        fflush(stdout);
        json_decref(answer);
    }
    names_clear();
    free(line);
    return 0;
}
