/* Is a public key fit to be certified: kind, size, curve, point, known weaknesses and
 * the block list. */
#include "keycheck.h"
#include "auto.h"
#include "der.h"
#include "digest.h"
#include "keycheck_rsa.h"
#include "pubkey.h"
#include <errno.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define BLOCKLIST_ENTRIES_MAX 4000000
#define BLOCKLIST_LINE_MAX 256
#define MODULUS_DIGEST_SIZE 10 /* openssl-blacklist: the last 80 bits of SHA-1 */
#define ED25519_SIZE 32
#define RSA_MODULUS_MAX (16384 / 8)

struct digest_list {
    uint8_t *octets;
    size_t entry_size, count, room;
};

/* Read by every enrolment, replaced as a whole by keycheck_load_blocklist. */
static pthread_rwlock_t blocklist_lock = PTHREAD_RWLOCK_INITIALIZER;
static struct digest_list blocked_keys = { .entry_size = SHA256_DIGEST_LENGTH };
static struct digest_list blocked_moduli = { .entry_size = MODULUS_DIGEST_SIZE };

static int
compare_keys(const void *a, const void *b)
{
    return memcmp(a, b, SHA256_DIGEST_LENGTH);
}

static int
compare_moduli(const void *a, const void *b)
{
    return memcmp(a, b, MODULUS_DIGEST_SIZE);
}

static bool
list_append(struct digest_list *list, const uint8_t *entry)
{
    if (list->count == list->room) {
        size_t room = list->room > 0 ? list->room * 2 : 64;
        uint8_t *octets = realloc(list->octets, room * list->entry_size);
        if (!octets)
            return false;
        list->octets = octets;
        list->room = room;
    }
    memcpy(list->octets + list->count++ * list->entry_size, entry, list->entry_size);
    return true;
}

/* One line: empty, comment, SHA-256 of an SPKI, or an openssl-blacklist entry. */
static enum ca_status
read_line(const char *line, struct digest_list *keys, struct digest_list *moduli)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    size_t length = strcspn(line, " \t\r\n#");
    char word[2 * SHA256_DIGEST_LENGTH + 1];
    if (length == 0)
        return CA_OK;
    if (length >= sizeof word || keys->count + moduli->count >= BLOCKLIST_ENTRIES_MAX)
        return CA_MALFORMED;
    memcpy(word, line, length);
    word[length] = '\0';
    bool is_added = false;
    if (hex_parse(word, digest, sizeof digest))
        is_added = list_append(keys, digest);
    else if (hex_parse(word, digest, MODULUS_DIGEST_SIZE))
        is_added = list_append(moduli, digest);
    return is_added ? CA_OK : CA_MALFORMED;
}

static enum ca_status
read_lines(FILE *file, const char *path, struct digest_list *keys,
           struct digest_list *moduli)
{
    char line[BLOCKLIST_LINE_MAX];
    for (unsigned number = 1; fgets(line, sizeof line, file); number++) {
        bool is_whole = strchr(line, '\n') || feof(file);
        if (!is_whole || read_line(line, keys, moduli) != CA_OK)
            return ca_fail(CA_MALFORMED,
                           "%s line %u is neither the SHA-256 of a public key nor an "
                           "openssl-blacklist entry",
                           path, number);
    }
    if (ferror(file))
        return ca_fail(CA_UNAVAILABLE, "cannot read %s: %s", path, strerror(errno));
    return CA_OK;
}

enum ca_status
keycheck_load_blocklist(const char *path)
{
    CA_AUTO(fclose) FILE *file = fopen(path, "re");
    if (!file)
        return ca_fail(errno == ENOENT ? CA_NOT_FOUND : CA_UNAVAILABLE,
                       "cannot open %s: %s", path, strerror(errno));
    struct digest_list keys = { .entry_size = SHA256_DIGEST_LENGTH };
    struct digest_list moduli = { .entry_size = MODULUS_DIGEST_SIZE };
    enum ca_status status = read_lines(file, path, &keys, &moduli);
    if (status == CA_OK) {
        if (keys.count > 0)
            qsort(keys.octets, keys.count, keys.entry_size, compare_keys);
        if (moduli.count > 0)
            qsort(moduli.octets, moduli.count, moduli.entry_size, compare_moduli);
        pthread_rwlock_wrlock(&blocklist_lock);
        struct digest_list old_keys = blocked_keys, old_moduli = blocked_moduli;
        blocked_keys = keys;
        blocked_moduli = moduli;
        pthread_rwlock_unlock(&blocklist_lock);
        keys = old_keys;
        moduli = old_moduli;
    }
    free(keys.octets);
    free(moduli.octets);
    return status;
}

/* The public key's own octets and its algorithm. */
struct key_view {
    const uint8_t *octets;
    int size;
    int nid;
    int parameter_type; /* V_ASN1_*; V_ASN1_UNDEF when absent */
    const void *parameter;
};

static bool
key_view(const X509_PUBKEY *spki, struct key_view *ret_view)
{
    ASN1_OBJECT *object = NULL;
    X509_ALGOR *algorithm = NULL;
    if (!X509_PUBKEY_get0_param(&object, &ret_view->octets, &ret_view->size, &algorithm,
                                spki))
        return false;
    X509_ALGOR_get0(NULL, &ret_view->parameter_type, &ret_view->parameter, algorithm);
    ret_view->nid = OBJ_obj2nid(object);
    return true;
}

static const struct profile_key *
profile_key_of(const struct certificate_profile *profile, enum key_algorithm algorithm,
               size_t *at)
{
    const struct profile_key *keys = profile->keys.items;
    while (*at < profile->keys.count) {
        const struct profile_key *key = &keys[(*at)++];
        if (key->algorithm == (int)algorithm)
            return key;
    }
    return NULL;
}

static bool
allows_rsa_bits(const struct certificate_profile *profile, int64_t bits)
{
    const struct profile_key *key;
    for (size_t at = 0; (key = profile_key_of(profile, KEY_RSA, &at));) {
        if (bits >= key->min_bits && bits <= key->max_bits)
            return true;
    }
    return false;
}

/* SHA-1 of openssl's "Modulus=HEX" line is how Debian listed its weak keys. */
static bool
is_blocked_modulus(const BIGNUM *modulus)
{
    char line[sizeof "Modulus=\n" + 2 * RSA_MODULUS_MAX];
    CA_AUTO(openssl_free) char *hex = BN_bn2hex(modulus);
    if (!hex)
        return true;
    int length = snprintf(line, sizeof line, "Modulus=%s\n", hex);
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1((const uint8_t *)line, (size_t)length, digest);
    pthread_rwlock_rdlock(&blocklist_lock);
    bool is_blocked =
        blocked_moduli.count > 0 &&
        bsearch(digest + SHA_DIGEST_LENGTH - MODULUS_DIGEST_SIZE, blocked_moduli.octets,
                blocked_moduli.count, MODULUS_DIGEST_SIZE, compare_moduli);
    pthread_rwlock_unlock(&blocklist_lock);
    return is_blocked;
}

static bool
blocks_moduli(void)
{
    pthread_rwlock_rdlock(&blocklist_lock);
    bool has_entries = blocked_moduli.count > 0;
    pthread_rwlock_unlock(&blocklist_lock);
    return has_entries;
}

/* RSAPublicKey ::= SEQUENCE { modulus INTEGER, publicExponent INTEGER } (RFC 8017
 * appendix A.1.1), and its parameters NULL (RFC 3279 section 2.3.1). The size is judged
 * before any arithmetic, so that a huge key costs nothing. */
static enum ca_status
check_rsa(const struct certificate_profile *profile, const struct key_view *view)
{
    struct der in = { view->octets, (size_t)view->size }, key, modulus, exponent;
    if (!der_take(&in, DER_SEQUENCE, &key) || in.size > 0 ||
        !der_take(&key, DER_INTEGER, &modulus) ||
        !der_take(&key, DER_INTEGER, &exponent) || key.size > 0 || modulus.size == 0 ||
        exponent.size == 0 || (modulus.at[0] & 0x80) || (exponent.at[0] & 0x80) ||
        (modulus.size > 1 && modulus.at[0] == 0 && !(modulus.at[1] & 0x80)) ||
        view->parameter_type != V_ASN1_NULL)
        return ca_fail(CA_MALFORMED, "RSA key is not encoded as RFC 3279 says");
    if (modulus.size > RSA_MODULUS_MAX + 1 || exponent.size > 8)
        return ca_fail(CA_FORBIDDEN, "RSA modulus or exponent is too long");
    CA_AUTO(BN_free) BIGNUM *n = BN_bin2bn(modulus.at, (int)modulus.size, NULL);
    CA_AUTO(BN_free) BIGNUM *e = BN_bin2bn(exponent.at, (int)exponent.size, NULL);
    if (!n || !e)
        return ca_fail(CA_INTERNAL, "no memory for an RSA key");
    int bits = BN_num_bits(n);
    if (!allows_rsa_bits(profile, bits))
        return ca_fail(CA_FORBIDDEN, "RSA key of %d bits is not allowed", bits);
    enum ca_status status = keycheck_rsa(n, e);
    if (status != CA_OK)
        return status;
    if (blocks_moduli() && is_blocked_modulus(n))
        return ca_fail(CA_FORBIDDEN, "RSA key is on the block list");
    return CA_OK;
}

static const struct {
    int nid;
    const char *name;
    int point_size; /* uncompressed: 04 || X || Y */
} curves[] = {
    { NID_X9_62_prime256v1, "P-256", 1 + 2 * 32 },
    { NID_secp384r1, "P-384", 1 + 2 * 48 },
    { NID_secp521r1, "P-521", 1 + 2 * 66 },
};

static bool
allows_curve(const struct certificate_profile *profile, const char *name)
{
    const struct profile_key *key;
    for (size_t at = 0; (key = profile_key_of(profile, KEY_EC, &at));) {
        char *const *names = key->curves.items;
        for (size_t i = 0; i < key->curves.count; i++) {
            if (strcmp(names[i], name) == 0)
                return true;
        }
    }
    return false;
}

/* RFC 5480: parameters are a namedCurve, the point is on that curve. The curves we know
 * have cofactor 1, so a point on it other than infinity has the curve's order. */
static enum ca_status
check_ec(const struct certificate_profile *profile, const struct key_view *view,
         const X509_PUBKEY *spki)
{
    if (view->parameter_type != V_ASN1_OBJECT)
        return ca_fail(CA_FORBIDDEN, "EC key has explicit or no curve parameters");
    int nid = OBJ_obj2nid(view->parameter);
    size_t i = 0, count = sizeof curves / sizeof curves[0];
    while (i < count && curves[i].nid != nid)
        i++;
    if (i == count || !allows_curve(profile, curves[i].name))
        return ca_fail(CA_FORBIDDEN, "EC curve %s is not allowed",
                       i < count          ? curves[i].name
                       : nid != NID_undef ? OBJ_nid2sn(nid)
                                          : "unknown");
    if (view->size == 1 && view->octets[0] == 0)
        return ca_fail(CA_FORBIDDEN, "EC key is the point at infinity");
    if (view->size != curves[i].point_size || view->octets[0] != 0x04)
        return ca_fail(CA_FORBIDDEN, "EC point is not in the uncompressed form");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pubkey_of(spki);
    if (!key)
        return ca_fail_openssl(CA_FORBIDDEN, "EC point is not on %s", curves[i].name);
    return CA_OK;
}

/* y of the points whose order divides 8, canonical, little-endian, sign bit cleared: a
 * signature by such a key proves nothing. */
static const uint8_t small_order[][ED25519_SIZE] = {
    { 0 },
    { 1 },
    { 0xec, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
      0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f },
    { 0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b,
      0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39,
      0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a },
    { 0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4,
      0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6,
      0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05 },
};

/* Not below p = 2^255 - 19, which is another writing of a smaller y. */
static bool
is_beyond_field(const uint8_t y[ED25519_SIZE])
{
    if (y[ED25519_SIZE - 1] != 0x7f || y[0] < 0xed)
        return false;
    for (size_t i = 1; i + 1 < ED25519_SIZE; i++) {
        if (y[i] != 0xff)
            return false;
    }
    return true;
}

static enum ca_status
check_ed25519(const struct certificate_profile *profile, const struct key_view *view)
{
    size_t at = 0;
    if (!profile_key_of(profile, KEY_ED25519, &at))
        return ca_fail(CA_FORBIDDEN, "Ed25519 keys are not allowed");
    if (view->parameter_type != V_ASN1_UNDEF || view->size != ED25519_SIZE)
        return ca_fail(CA_MALFORMED, "Ed25519 key is not encoded as RFC 8410 says");
    uint8_t y[ED25519_SIZE];
    memcpy(y, view->octets, sizeof y);
    y[ED25519_SIZE - 1] &= 0x7f;
    if (is_beyond_field(y))
        return ca_fail(CA_FORBIDDEN, "Ed25519 point is not canonical");
    for (size_t i = 0; i < sizeof small_order / sizeof small_order[0]; i++) {
        if (memcmp(small_order[i], y, sizeof y) == 0)
            return ca_fail(CA_FORBIDDEN, "Ed25519 point has a small order");
    }
    return CA_OK;
}

static enum ca_status
check_blocklist(const X509_PUBKEY *spki)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    pthread_rwlock_rdlock(&blocklist_lock);
    bool has_entries = blocked_keys.count > 0;
    pthread_rwlock_unlock(&blocklist_lock);
    if (!has_entries)
        return CA_OK;
    enum ca_status status = keycheck_digest(spki, digest);
    if (status != CA_OK)
        return status;
    pthread_rwlock_rdlock(&blocklist_lock);
    bool is_blocked = blocked_keys.count > 0 &&
                      bsearch(digest, blocked_keys.octets, blocked_keys.count,
                              SHA256_DIGEST_LENGTH, compare_keys);
    pthread_rwlock_unlock(&blocklist_lock);
    if (is_blocked)
        return ca_fail(CA_FORBIDDEN, "public key is on the block list");
    return CA_OK;
}

enum ca_status
keycheck_public(const struct certificate_profile *profile, const X509_PUBKEY *spki)
{
    struct key_view view;
    if (!key_view(spki, &view))
        return ca_fail(CA_MALFORMED, "public key cannot be read");
    enum ca_status status;
    if (view.nid == NID_rsaEncryption)
        status = check_rsa(profile, &view);
    else if (view.nid == NID_X9_62_id_ecPublicKey)
        status = check_ec(profile, &view, spki);
    else if (view.nid == NID_ED25519)
        status = check_ed25519(profile, &view);
    else
        return ca_fail(CA_UNSUPPORTED, "public keys of the kind %s are not taken",
                       view.nid != NID_undef ? OBJ_nid2sn(view.nid) : "unknown");
    return status == CA_OK ? check_blocklist(spki) : status;
}

enum ca_status
keycheck_digest(const X509_PUBKEY *spki, uint8_t ret_sha256[32])
{
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int size = i2d_X509_PUBKEY(spki, &der);
    if (size <= 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a public key");
    digest_sha256(der, (size_t)size, ret_sha256);
    return CA_OK;
}
