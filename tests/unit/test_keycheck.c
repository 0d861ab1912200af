/* Which public keys are certified: SECURITY R2 and R3, with keys that are made weak in
 * each known way. */
#include "keycheck.h"
#include "keycheck_rsa.h"
#include "leak.h"
#include "pki.h"
#include <openssl/sha.h>
#include <time.h>
#include <unistd.h>

/* SPKI of an RSA key with any modulus and exponent. */
static X509_PUBKEY *
spki_rsa(const BIGNUM *n, const BIGNUM *e)
{
    CA_AUTO(text_buffer_clear) struct text_buffer key = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer bits = { 0 };
    uint8_t octets[4096];
    int size = BN_bn2bin(n, octets);
    der_integer(&key, octets, (size_t)size);
    size = BN_bn2bin(e, octets);
    der_integer(&key, octets, (size_t)size);
    der_wrap(&bits, DER_SEQUENCE, &key);
    X509_PUBKEY *spki = X509_PUBKEY_new();
    uint8_t *copy = OPENSSL_memdup(bits.data, bits.size);
    cr_assert(X509_PUBKEY_set0_param(spki, OBJ_nid2obj(NID_rsaEncryption), V_ASN1_NULL,
                                     NULL, copy, (int)bits.size));
    return spki;
}

static BIGNUM *
prime(int bits)
{
    BIGNUM *p = BN_new();
    cr_assert(BN_generate_prime_ex(p, bits, 0, NULL, NULL, NULL));
    return p;
}

static void
expect_modulus(const char *name, const BIGNUM *n, unsigned long e,
               enum ca_status expected, const char *word)
{
    struct certificate_profile profile;
    pki_profile(&profile);
    CA_AUTO(BN_free) BIGNUM *exponent = BN_new();
    BN_set_word(exponent, e);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = spki_rsa(n, exponent);
    cr_expect_eq(keycheck_public(&profile, spki), expected, "%s: %s", name,
                 status_message());
    if (word)
        cr_expect(strstr(status_message(), word), "%s: %s", name, status_message());
}

static void
expect_key(const char *name, EVP_PKEY *key, enum ca_status expected)
{
    struct certificate_profile profile;
    pki_profile(&profile);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(key);
    cr_expect_eq(keycheck_public(&profile, spki), expected, "%s: %s", name,
                 status_message());
}

Test(keycheck, good_keys_pass)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *rsa = pki_rsa(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *p256 = pki_ec("P-256");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *p384 = pki_ec("P-384");
    expect_key("RSA-2048", rsa, CA_OK);
    expect_key("P-256", p256, CA_OK);
    expect_key("P-384", p384, CA_OK);
    LEAK_CHECK();
}

Test(keycheck, R2_sizes_outside_the_profile_are_refused)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *small = pki_rsa(1024);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *odd = pki_rsa(2040);
    expect_key("RSA-1024", small, CA_FORBIDDEN);
    expect_key("RSA-2040", odd, CA_FORBIDDEN);
    LEAK_CHECK();
}

Test(keycheck, R2_a_huge_key_costs_next_to_nothing)
{
    CA_AUTO(BN_free) BIGNUM *n = BN_new();
    BN_rand(n, 16384, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    struct timespec start, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    for (int i = 0; i < 10; i++)
        expect_modulus("RSA-16384", n, 65537, CA_FORBIDDEN, "16384 bits");
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds = (double)(end.tv_sec - start.tv_sec) +
                     (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    cr_expect_lt(seconds, 0.2, "ten huge keys took %f s", seconds);
    CA_AUTO(BN_free) BIGNUM *beyond = BN_new();
    BN_rand(beyond, 20000, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    expect_modulus("RSA-20000", beyond, 65537, CA_FORBIDDEN, "too long");
}

Test(keycheck, R2_exponents_other_than_65537_are_refused)
{
    CA_AUTO(BN_free) BIGNUM *p = prime(1024);
    CA_AUTO(BN_free) BIGNUM *q = prime(1024);
    CA_AUTO(BN_free) BIGNUM *n = BN_new();
    CA_AUTO(BN_CTX_free) BN_CTX *context = BN_CTX_new();
    BN_mul(n, p, q, context);
    expect_modulus("good", n, 65537, CA_OK, NULL);
    expect_modulus("e = 3", n, 3, CA_FORBIDDEN, "exponent");
    expect_modulus("e = 1", n, 1, CA_FORBIDDEN, "exponent");
    expect_modulus("e = 65536", n, 65536, CA_FORBIDDEN, "exponent");
    expect_modulus("e of 63 bits", n, 0x7fffffffffffffff, CA_FORBIDDEN, "exponent");
    struct certificate_profile profile;
    pki_profile(&profile);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *huge = spki_rsa(n, n);
    cr_expect_eq(keycheck_public(&profile, huge), CA_FORBIDDEN);
    LEAK_CHECK();
}

Test(keycheck, R2_even_moduli_and_small_factors_are_refused)
{
    static const unsigned factors[] = { 3, 5, 7, 11, 167, 743, 751 };
    CA_AUTO(BN_free) BIGNUM *n = BN_new();
    for (size_t i = 0; i < COUNT(factors); i++) {
        CA_AUTO(BN_free) BIGNUM *p = prime(2046);
        BN_copy(n, p);
        BN_mul_word(n, factors[i]);
        char name[32];
        snprintf(name, sizeof name, "factor %u", factors[i]);
        expect_modulus(name, n, 65537, CA_FORBIDDEN, name);
    }
    BN_rand(n, 2048, BN_RAND_TOP_ONE, BN_RAND_BOTTOM_ODD);
    BN_sub_word(n, 1);
    expect_modulus("even", n, 65537, CA_FORBIDDEN, "even");
}

/* A prime as the weak generator makes them: k * M + (65537^a mod M). */
static BIGNUM *
roca_prime(BN_CTX *context)
{
    CA_AUTO(BN_free) BIGNUM *m = BN_new();
    CA_AUTO(BN_free) BIGNUM *k = BN_new();
    CA_AUTO(BN_free) BIGNUM *a = BN_new();
    CA_AUTO(BN_free) BIGNUM *base = BN_new();
    BIGNUM *p = BN_new();
    BN_set_word(m, 1);
    BN_set_word(base, 65537);
    for (unsigned q = 2, found = 0; found < 126; q++) {
        unsigned d = 2;
        while (d * d <= q && q % d)
            d++;
        if (d * d > q) {
            BN_mul_word(m, q);
            found++;
        }
    }
    do {
        BN_rand(a, 62, BN_RAND_TOP_ANY, BN_RAND_BOTTOM_ANY);
        BN_rand(k, 1024 - BN_num_bits(m), BN_RAND_TOP_TWO, BN_RAND_BOTTOM_ANY);
        BN_mod_exp(p, base, a, m, context);
        BN_mul(k, k, m, context);
        BN_add(p, p, k);
    } while (BN_check_prime(p, context, NULL) != 1);
    return p;
}

Test(keycheck, R2_roca_keys_are_refused)
{
    CA_AUTO(BN_CTX_free) BN_CTX *context = BN_CTX_new();
    CA_AUTO(BN_free) BIGNUM *p = roca_prime(context);
    CA_AUTO(BN_free) BIGNUM *q = roca_prime(context);
    CA_AUTO(BN_free) BIGNUM *n = BN_new();
    BN_mul(n, p, q, context);
    expect_modulus("ROCA", n, 65537, CA_FORBIDDEN, "ROCA");
    CA_AUTO(BN_free) BIGNUM *other = prime(1024);
    BN_mul(n, p, other, context);
    expect_modulus("half ROCA", n, 65537, CA_OK, NULL);
    LEAK_CHECK();
}

Test(keycheck, R2_neighbouring_primes_are_refused)
{
    /* (p - q)^2 / (8 sqrt n) rounds: 2^514 apart is found late, 2^600 is far. */
    static const struct {
        int apart; /* bits; 0: next prime */
        enum ca_status expected;
    } cases[] = { { 0, CA_FORBIDDEN },   { 100, CA_FORBIDDEN }, { 511, CA_FORBIDDEN },
                  { 514, CA_FORBIDDEN }, { 515, CA_FORBIDDEN }, { 600, CA_OK } };
    CA_AUTO(BN_CTX_free) BN_CTX *context = BN_CTX_new();
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(BN_free) BIGNUM *p = prime(1024);
        CA_AUTO(BN_free) BIGNUM *q = BN_dup(p);
        CA_AUTO(BN_free) BIGNUM *n = BN_new();
        CA_AUTO(BN_free) BIGNUM *gap = BN_new();
        BN_set_bit(gap, cases[i].apart > 0 ? cases[i].apart : 1);
        BN_sub(q, q, gap);
        while (BN_check_prime(q, context, NULL) != 1)
            BN_sub_word(q, 2);
        BN_mul(n, p, q, context);
        char name[32];
        snprintf(name, sizeof name, "2^%d apart", cases[i].apart);
        expect_modulus(name, n, 65537, cases[i].expected,
                       cases[i].expected == CA_OK ? NULL : "Fermat");
        BN_sqr(n, p, context);
        expect_modulus("a square", n, 65537, CA_FORBIDDEN, "Fermat");
    }
    LEAK_CHECK();
}

static void
load_list(const char *text, enum ca_status expected)
{
    char path[] = "/tmp/blocklist-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    close(fd);
    cr_expect_eq(keycheck_load_blocklist(path), expected, "%s", status_message());
    unlink(path);
}

/* What `openssl rsa -modulus | sha1sum | cut -c 21-40` prints. */
static void
debian_entry(EVP_PKEY *key, char ret_hex[21])
{
    CA_AUTO(BN_free) BIGNUM *n = NULL;
    cr_assert(EVP_PKEY_get_bn_param(key, "n", &n));
    CA_AUTO(openssl_free) char *hex = BN_bn2hex(n);
    CA_AUTO(text_buffer_clear) struct text_buffer line = { 0 };
    text_print(&line, "Modulus=%s\n", hex);
    uint8_t digest[SHA_DIGEST_LENGTH];
    SHA1((const uint8_t *)line.data, line.size, digest);
    hex_format(digest + 10, 10, ret_hex);
}

Test(keycheck, R2_listed_keys_are_refused)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *listed = pki_ec("P-256");
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *weak = pki_rsa(2048);
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *other = pki_rsa(2048);
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(listed);
    uint8_t digest[32];
    char hex[65], debian[21];
    cr_assert_eq(keycheck_digest(spki, digest), CA_OK);
    hex_format(digest, 32, hex);
    debian_entry(weak, debian);
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    text_print(&text, "# weak keys\n\n%064d\n%s # found in a firmware\n", 7, hex);
    text_print(&text, "00005890bc78bcbee3ca\n%s\nffff5890bc78bcbee3ca\n", debian);
    load_list(text.data, CA_OK);
    expect_key("listed", listed, CA_FORBIDDEN);
    expect_key("Debian's", weak, CA_FORBIDDEN);
    expect_key("other", other, CA_OK);
    load_list("# nothing\n", CA_OK);
    expect_key("no longer listed", listed, CA_OK);
    LEAK_CHECK();
}

Test(keycheck, R2_a_bad_list_is_refused_and_the_old_one_stays)
{
    static const char *const cases[] = {
        "xyz\n",
        "00005890bc78bcbee3c\n",
        "00005890bc78bcbee3caa\n",
        "0000000000000000000000000000000000000000000000000000000000000000ff\n",
    };
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *listed = pki_ec("P-256");
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(listed);
    uint8_t digest[32];
    char hex[66];
    cr_assert_eq(keycheck_digest(spki, digest), CA_OK);
    hex_format(digest, 32, hex);
    load_list(hex, CA_OK);
    for (size_t i = 0; i < COUNT(cases); i++)
        load_list(cases[i], CA_MALFORMED);
    cr_expect_eq(keycheck_load_blocklist("/nowhere/list"), CA_NOT_FOUND);
    expect_key("still listed", listed, CA_FORBIDDEN);
}

Test(keycheck, R3_curves_outside_the_profile_are_refused)
{
    static const char *const names[] = { "secp256k1",       "P-192",
                                         "P-224",           "P-521",
                                         "brainpoolP256r1", "brainpoolP384r1",
                                         "secp160r1" };
    for (size_t i = 0; i < COUNT(names); i++) {
        CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec(names[i]);
        expect_key(names[i], key, CA_FORBIDDEN);
    }
    LEAK_CHECK();
}

Test(keycheck, R3_explicit_parameters_are_refused)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    cr_assert(EVP_PKEY_set_utf8_string_param(key, "encoding", "explicit"));
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = pki_spki(key);
    struct certificate_profile profile;
    pki_profile(&profile);
    cr_expect_eq(keycheck_public(&profile, spki), CA_FORBIDDEN);
    cr_expect(strstr(status_message(), "explicit"), "%s", status_message());
    LEAK_CHECK();
}

/* The same key with other octets for its point. */
static X509_PUBKEY *
spki_ec(const uint8_t *point, size_t size)
{
    X509_PUBKEY *spki = X509_PUBKEY_new();
    cr_assert(X509_PUBKEY_set0_param(spki, OBJ_nid2obj(NID_X9_62_id_ecPublicKey),
                                     V_ASN1_OBJECT, OBJ_nid2obj(NID_X9_62_prime256v1),
                                     OPENSSL_memdup(point, size), (int)size));
    /* As it comes over the wire. */
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    int length = i2d_X509_PUBKEY(spki, &der);
    X509_PUBKEY_free(spki);
    const uint8_t *at = der;
    spki = d2i_X509_PUBKEY(NULL, &at, length);
    cr_assert_not_null(spki);
    return spki;
}

Test(keycheck, R3_points_that_are_no_key_are_refused)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ec("P-256");
    uint8_t good[65], off[65], compressed[33], hybrid[65];
    size_t size;
    cr_assert(EVP_PKEY_get_octet_string_param(key, "pub", good, sizeof good, &size));
    memcpy(off, good, sizeof off);
    off[64] ^= 1;
    memcpy(compressed, good, sizeof compressed);
    compressed[0] = 2 + (good[64] & 1);
    memcpy(hybrid, good, sizeof hybrid);
    hybrid[0] = 6 + (good[64] & 1);
    static const uint8_t infinity[1] = { 0 };
    uint8_t zeros[65] = { 4 }, ones[65] = { 4 };
    memset(ones + 1, 0xff, 64);
    const struct {
        const char *name;
        const uint8_t *point;
        size_t size;
        enum ca_status expected;
    } cases[] = {
        { "good", good, 65, CA_OK },
        { "off the curve", off, 65, CA_FORBIDDEN },
        { "infinity", infinity, 1, CA_FORBIDDEN },
        { "zeros", zeros, 65, CA_FORBIDDEN },
        { "beyond the field", ones, 65, CA_FORBIDDEN },
        { "compressed", compressed, 33, CA_FORBIDDEN },
        { "hybrid", hybrid, 65, CA_FORBIDDEN },
        { "cut", good, 64, CA_FORBIDDEN },
    };
    struct certificate_profile profile;
    pki_profile(&profile);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_PUBKEY_free)
        X509_PUBKEY *spki = spki_ec(cases[i].point, cases[i].size);
        cr_expect_eq(keycheck_public(&profile, spki), cases[i].expected, "%s: %s",
                     cases[i].name, status_message());
    }
    LEAK_CHECK();
}

static enum ca_status
check_ed25519(const uint8_t key[32], bool is_allowed)
{
    struct profile_key keys[] = { { .algorithm = KEY_ED25519 } };
    struct certificate_profile profile;
    pki_profile(&profile);
    if (is_allowed)
        profile.keys = (struct field_list){ keys, 1 };
    CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = X509_PUBKEY_new();
    cr_assert(X509_PUBKEY_set0_param(spki, OBJ_nid2obj(NID_ED25519), V_ASN1_UNDEF, NULL,
                                     OPENSSL_memdup(key, 32), 32));
    return keycheck_public(&profile, spki);
}

Test(keycheck, R3_ed25519_by_profile_and_not_of_small_order)
{
    CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = pki_ed25519();
    uint8_t good[32], weak[32] = { 0 };
    size_t size = sizeof good;
    cr_assert(EVP_PKEY_get_raw_public_key(key, good, &size));
    cr_expect_eq(check_ed25519(good, true), CA_OK);
    cr_expect_eq(check_ed25519(good, false), CA_FORBIDDEN);
    cr_expect_eq(check_ed25519(weak, true), CA_FORBIDDEN);
    weak[0] = 1;
    cr_expect_eq(check_ed25519(weak, true), CA_FORBIDDEN);
    weak[31] = 0x80;
    cr_expect_eq(check_ed25519(weak, true), CA_FORBIDDEN);
    memset(weak, 0xff, sizeof weak);
    cr_expect_eq(check_ed25519(weak, true), CA_FORBIDDEN);
    weak[0] = 0xec;
    weak[31] = 0x7f;
    cr_expect_eq(check_ed25519(weak, true), CA_FORBIDDEN);
    LEAK_CHECK();
}

Test(keycheck, other_kinds_are_unsupported)
{
    static const char *const kinds[] = { "ED448", "X25519" };
    for (size_t i = 0; i < COUNT(kinds); i++) {
        CA_AUTO(EVP_PKEY_free) EVP_PKEY *key = EVP_PKEY_Q_keygen(NULL, NULL, kinds[i]);
        expect_key(kinds[i], key, CA_UNSUPPORTED);
    }
    LEAK_CHECK();
}

Test(keycheck, broken_rsa_encodings_are_refused)
{
    static const struct {
        const char *name, *octets;
        size_t size;
    } cases[] = {
        { "empty", "", 0 },
        { "no sequence", "\x02\x01\x05", 3 },
        { "one integer", "\x30\x03\x02\x01\x05", 5 },
        { "third integer", "\x30\x09\x02\x01\x05\x02\x01\x03\x02\x01\x03", 11 },
        { "negative modulus", "\x30\x06\x02\x01\x85\x02\x01\x03", 8 },
        { "empty integer", "\x30\x05\x02\x00\x02\x01\x03", 7 },
        { "zero before", "\x30\x07\x02\x02\x00\x05\x02\x01\x03", 9 },
        { "after it", "\x30\x06\x02\x01\x05\x02\x01\x03\x00", 9 },
    };
    struct certificate_profile profile;
    pki_profile(&profile);
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(X509_PUBKEY_free) X509_PUBKEY *spki = X509_PUBKEY_new();
        uint8_t *copy = OPENSSL_malloc(cases[i].size + 1);
        memcpy(copy, cases[i].octets, cases[i].size);
        cr_assert(X509_PUBKEY_set0_param(spki, OBJ_nid2obj(NID_rsaEncryption),
                                         V_ASN1_NULL, NULL, copy, (int)cases[i].size));
        cr_expect_eq(keycheck_public(&profile, spki), CA_MALFORMED, "%s: %s",
                     cases[i].name, status_message());
    }
    LEAK_CHECK();
}
