/* CPace: generator by the map of speke_map.c, scalar multiplication by OpenSSL. */
#include "speke.h"
#include "auto.h"
#include "speke_map.h"
#include "transcript.h"
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <pthread.h>
#include <string.h>

#define DST_MAX 255
#define WIDE_MAX 98
#define UNCOMPRESSED 0x04

CA_AUTO_RELEASE(BIGNUM, BN_clear_free)

const struct speke_suite speke_p521 = {
    .name = "ecspeke-p521",
    .dsi = "CPaceP521_XMD:SHA-512_SSWU_NU_",
    .digest = "SHA512",
    .curve = NID_secp521r1,
    .block = 128,
    .hash_size = 64,
    .share_size = 133,
    .field = &speke_field_p521,
};
const struct speke_suite speke_p256 = {
    .name = "ecspeke-p256",
    .dsi = "CPaceP256_XMD:SHA-256_SSWU_NU_",
    .digest = "SHA256",
    .curve = NID_X9_62_prime256v1,
    .block = 64,
    .hash_size = 32,
    .share_size = 65,
    .field = &speke_field_p256,
};

const struct speke_suite *
speke_suite_find(const char *name)
{
    static const struct speke_suite *const suites[] = { &speke_p521, &speke_p256 };
    for (size_t i = 0; i < sizeof suites / sizeof suites[0]; i++) {
        if (strcmp(suites[i]->name, name) == 0)
            return suites[i];
    }
    return NULL;
}

struct ca_bytes
speke_point_bytes(const struct speke_point *point)
{
    return (struct ca_bytes){ point->octets, point->size };
}

/* The groups are made once and then only read. */
static EC_GROUP *group_p521, *group_p256;

static void
groups_make(void)
{
    group_p521 = EC_GROUP_new_by_curve_name(NID_secp521r1);
    group_p256 = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
}

/* When the plugin is unloaded, or the command ends. */
static void __attribute__((destructor)) groups_free(void)
{
    EC_GROUP_free(group_p521);
    EC_GROUP_free(group_p256);
}

static const EC_GROUP *
group_of(const struct speke_suite *suite)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, groups_make);
    return suite->curve == NID_secp521r1 ? group_p521 : group_p256;
}

/* H of up to three parts. */
static bool
hash_parts(EVP_MD_CTX *ctx, const EVP_MD *digest, const struct ca_bytes *parts,
           size_t count, uint8_t *ret_hash)
{
    bool is_good = EVP_DigestInit_ex(ctx, digest, NULL) == 1;
    for (size_t i = 0; i < count; i++)
        is_good = is_good && EVP_DigestUpdate(ctx, parts[i].data, parts[i].size) == 1;
    return is_good && EVP_DigestFinal_ex(ctx, ret_hash, NULL) == 1;
}

/* b0, b1 and b2; L of both suites takes two blocks of H. */
static bool
expand(const struct speke_suite *suite, EVP_MD_CTX *ctx, struct ca_bytes message,
       const struct lv *dst, uint8_t hash[2][SPEKE_HASH_MAX], uint8_t *first)
{
    static const uint8_t zeros[128];
    const EVP_MD *digest = suite->curve == NID_secp521r1 ? EVP_sha512() : EVP_sha256();
    const uint8_t length[] = { 0, (uint8_t)suite->field->wide_size, 0 };
    const uint8_t one = 1, two = 2;
    const struct ca_bytes start[] = {
        { zeros, suite->block }, message, { length, sizeof length }, lv_bytes(dst)
    };
    const struct ca_bytes one_block[] = { { first, suite->hash_size },
                                          { &one, 1 },
                                          lv_bytes(dst) };
    const struct ca_bytes two_block[] = { { first, suite->hash_size },
                                          { &two, 1 },
                                          lv_bytes(dst) };
    if (!hash_parts(ctx, digest, start, 4, first) ||
        !hash_parts(ctx, digest, one_block, 3, hash[0]))
        return false;
    for (size_t i = 0; i < suite->hash_size; i++)
        first[i] ^= hash[0][i];
    return hash_parts(ctx, digest, two_block, 3, hash[1]);
}

enum ca_status
speke_expand(const struct speke_suite *suite, struct ca_bytes message,
             struct ca_bytes dst, uint8_t *ret_octets)
{
    uint8_t hash[2][SPEKE_HASH_MAX], first[SPEKE_HASH_MAX];
    struct lv dst_prime = { .size = 0 };
    CA_AUTO(EVP_MD_CTX_free) EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (dst.size > DST_MAX)
        return ca_fail(CA_INTERNAL, "domain separation of %zu octets", dst.size);
    lv_append(&dst_prime, dst.data, dst.size);
    lv_append(&dst_prime, &(const uint8_t){ (uint8_t)dst.size }, 1);
    bool is_good = ctx && expand(suite, ctx, message, &dst_prime, hash, first);
    if (is_good) {
        size_t rest = suite->field->wide_size - suite->hash_size;
        memcpy(ret_octets, hash[0], suite->hash_size);
        memcpy(ret_octets + suite->hash_size, hash[1], rest);
    }
    OPENSSL_cleanse(hash, sizeof hash);
    OPENSSL_cleanse(first, sizeof first);
    speke_stack_wipe();
    return is_good ? CA_OK : ca_fail_openssl(CA_INTERNAL, "cannot hash to the curve");
}

static size_t
size_of_lv(size_t size)
{
    return size + (size < 0x80 ? 1 : size < 0x4000 ? 2 : 3);
}

/* gs = lv(DSI, PRS, zpad, CI, sid): the padding fills H's first block, so that the
 * password is hashed alone. */
static void
generator_string(const struct speke_suite *suite, struct ca_bytes prs,
                 struct ca_bytes identities, struct ca_bytes sid, struct lv *ret_string)
{
    static const uint8_t zeros[128];
    size_t used = 1 + size_of_lv(prs.size) + size_of_lv(strlen(suite->dsi));
    lv_put_text(ret_string, suite->dsi);
    lv_put(ret_string, prs.data, prs.size);
    lv_put(ret_string, zeros, used < suite->block ? suite->block - used : 0);
    lv_put(ret_string, identities.data, identities.size);
    lv_put(ret_string, sid.data, sid.size);
}

enum ca_status
speke_generator(const struct speke_suite *suite, struct ca_bytes prs,
                struct ca_bytes identities, struct ca_bytes sid,
                struct speke_point *ret_generator)
{
    CA_AUTO(lv_clear) struct lv string = { .size = 0 };
    struct lv dst = { .size = 0 };
    uint8_t wide[WIDE_MAX];
    generator_string(suite, prs, identities, sid, &string);
    lv_append(&dst, suite->dsi, strlen(suite->dsi));
    lv_append(&dst, "_DST", 4);
    if (string.failed)
        return ca_fail(CA_LIMIT, "identities of %zu octets", identities.size);
    enum ca_status status =
        speke_expand(suite, lv_bytes(&string), lv_bytes(&dst), wide);
    if (status != CA_OK)
        return status;
    size_t size = suite->field->size;
    ret_generator->octets[0] = UNCOMPRESSED;
    ret_generator->size = suite->share_size;
    speke_map(suite->field, wide, ret_generator->octets + 1,
              ret_generator->octets + 1 + size);
    OPENSSL_cleanse(wide, sizeof wide);
    return CA_OK;
}

enum ca_status
speke_scalar_draw(const struct speke_suite *suite, struct speke_scalar *ret_scalar)
{
    const EC_GROUP *group = group_of(suite);
    CA_AUTO(BN_clear_free) BIGNUM *number = BN_secure_new();
    if (!group || !number)
        return ca_fail_openssl(CA_INTERNAL, "no memory for a scalar");
    do {
        if (BN_priv_rand_range(number, EC_GROUP_get0_order(group)) != 1)
            return ca_fail_openssl(CA_INTERNAL, "cannot draw a scalar");
    } while (BN_is_zero(number));
    if (BN_bn2binpad(number, ret_scalar->octets, (int)suite->field->size) < 0)
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a scalar");
    speke_stack_wipe();
    return CA_OK;
}

/* What the multiplications need, released together. */
struct product {
    const EC_GROUP *group;
    EC_POINT *point;
    BIGNUM *scalar;
    BN_CTX *ctx;
};

static void
product_clear(struct product *product)
{
    EC_POINT_clear_free(product->point);
    BN_clear_free(product->scalar);
    BN_CTX_free(product->ctx);
}
static inline void
product_clear_auto(struct product *product)
{
    product_clear(product);
}

static enum ca_status
product_init(struct product *product, const struct speke_suite *suite)
{
    product->group = group_of(suite);
    if (!product->group)
        return ca_fail_openssl(CA_INTERNAL, "no curve for %s", suite->name);
    product->point = EC_POINT_new(product->group);
    product->scalar = BN_secure_new();
    product->ctx = BN_CTX_secure_new();
    if (!product->point || !product->scalar || !product->ctx)
        return ca_fail_openssl(CA_INTERNAL, "no memory for a point");
    return CA_OK;
}

/* SEC 1 section 2.3.4, uncompressed form only: range and curve equation are checked. */
static bool
product_decode(struct product *product, const struct speke_suite *suite,
               struct ca_bytes octets)
{
    return octets.size == suite->share_size && octets.data[0] == UNCOMPRESSED &&
           EC_POINT_oct2point(product->group, product->point, octets.data, octets.size,
                              product->ctx) == 1 &&
           !EC_POINT_is_at_infinity(product->group, product->point);
}

/* The point alone with a scalar is OpenSSL's constant-time path; both with the
 * generator's scalar would not be. */
static enum ca_status
product_multiply(struct product *product, const struct speke_suite *suite,
                 const struct speke_scalar *scalar)
{
    BN_set_flags(product->scalar, BN_FLG_CONSTTIME);
    if (!BN_bin2bn(scalar->octets, (int)suite->field->size, product->scalar) ||
        EC_POINT_mul(product->group, product->point, NULL, product->point,
                     product->scalar, product->ctx) != 1)
        return ca_fail_openssl(CA_INTERNAL, "cannot multiply a point");
    if (EC_POINT_is_at_infinity(product->group, product->point))
        return ca_fail(CA_MALFORMED, "the product is the identity");
    return CA_OK;
}

static bool
product_encode(struct product *product, const struct speke_suite *suite,
               uint8_t *ret_octets)
{
    return EC_POINT_point2oct(product->group, product->point,
                              POINT_CONVERSION_UNCOMPRESSED, ret_octets,
                              suite->share_size, product->ctx) == suite->share_size;
}

static enum ca_status
make_share(const struct speke_suite *suite, const struct speke_point *generator,
           const struct speke_scalar *scalar, struct speke_point *ret_share)
{
    CA_AUTO(product_clear) struct product product = { 0 };
    enum ca_status status = product_init(&product, suite);
    if (status != CA_OK)
        return status;
    if (!product_decode(&product, suite, speke_point_bytes(generator)))
        return ca_fail_openssl(CA_INTERNAL, "the generator is not on the curve");
    status = product_multiply(&product, suite, scalar);
    if (status != CA_OK)
        return status;
    if (!product_encode(&product, suite, ret_share->octets))
        return ca_fail_openssl(CA_INTERNAL, "cannot encode a share");
    ret_share->size = suite->share_size;
    return CA_OK;
}

enum ca_status
speke_share(const struct speke_suite *suite, const struct speke_point *generator,
            const struct speke_scalar *scalar, struct speke_point *ret_share)
{
    enum ca_status status = make_share(suite, generator, scalar, ret_share);
    speke_stack_wipe();
    return status;
}

/* Decodes the peer's share; a reflected one has the own x (section 2). */
static enum ca_status
peer_decode(struct product *product, const struct speke_suite *suite,
            const struct speke_point *own, struct ca_bytes peer)
{
    if (!product_decode(product, suite, peer))
        return ca_fail_openssl(CA_MALFORMED, "share of %zu octets is no point of %s",
                               peer.size, suite->name);
    if (memcmp(peer.data + 1, own->octets + 1, suite->field->size) == 0)
        return ca_fail(CA_MALFORMED, "the peer's share is the own one");
    return CA_OK;
}

enum ca_status
speke_share_check(const struct speke_suite *suite, const struct speke_point *own,
                  struct ca_bytes peer)
{
    CA_AUTO(product_clear) struct product product = { 0 };
    enum ca_status status = product_init(&product, suite);
    return status == CA_OK ? peer_decode(&product, suite, own, peer) : status;
}

static enum ca_status
make_secret(const struct speke_suite *suite, const struct speke_scalar *scalar,
            const struct speke_point *own, struct ca_bytes peer, uint8_t *ret_secret)
{
    CA_AUTO(product_clear) struct product product = { 0 };
    uint8_t octets[SPEKE_SHARE_MAX];
    enum ca_status status = product_init(&product, suite);
    if (status == CA_OK)
        status = peer_decode(&product, suite, own, peer);
    if (status == CA_OK)
        status = product_multiply(&product, suite, scalar);
    if (status != CA_OK)
        return status;
    bool is_good = product_encode(&product, suite, octets);
    if (is_good)
        memcpy(ret_secret, octets + 1, suite->field->size);
    OPENSSL_cleanse(octets, sizeof octets);
    return is_good ? CA_OK : ca_fail_openssl(CA_INTERNAL, "cannot encode the secret");
}

enum ca_status
speke_secret(const struct speke_suite *suite, const struct speke_scalar *scalar,
             const struct speke_point *own, struct ca_bytes peer,
             uint8_t ret_secret[SPEKE_ELEMENT_MAX])
{
    enum ca_status status = make_secret(suite, scalar, own, peer, ret_secret);
    speke_stack_wipe();
    return status;
}
