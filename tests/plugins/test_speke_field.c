/* Field arithmetic against BIGNUM, and the map to the curve against a plain reference
 * and the figures of RFC 9380 and CPace. */
#include "leak.h"
#include "schedule.h"
#include "speke_map.h"
#include "vectors.h"
#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/obj_mac.h>
#include <openssl/rand.h>

#define RANDOM_COUNT 400
#define WIDE_MAX 98
#define EDGE_COUNT 14

struct number_field {
    const struct speke_field *field;
    int curve;
    long z;
    BIGNUM *p, *a, *b;
    BN_CTX *ctx;
};

static void
number_field_open(struct number_field *numbers, const struct speke_suite *suite, long z)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(suite->curve);
    *numbers = (struct number_field){ suite->field, suite->curve, z,           BN_new(),
                                      BN_new(),     BN_new(),     BN_CTX_new() };
    cr_assert(EC_GROUP_get_curve(group, numbers->p, numbers->a, numbers->b, NULL));
    EC_GROUP_free(group);
}

static void
number_field_close(struct number_field *numbers)
{
    BN_free(numbers->p);
    BN_free(numbers->a);
    BN_free(numbers->b);
    BN_CTX_free(numbers->ctx);
}

/* Wide inputs whose value is near what goes wrong. */
static void
edge(const struct number_field *numbers, size_t i, uint8_t *ret_octets)
{
    int size = (int)numbers->field->wide_size;
    BIGNUM *value = BN_new();
    BN_copy(value, numbers->p);
    switch (i) {
    case 0: BN_zero(value); break;
    case 1: BN_one(value); break;
    case 2: break; /* p */
    case 3: BN_sub_word(value, 1); break;
    case 4: BN_add_word(value, 1); break;
    case 5: BN_lshift1(value, value); break; /* 2p */
    case 6:
        BN_lshift1(value, value);
        BN_sub_word(value, 1);
        break;
    case 7:
        BN_one(value);
        BN_lshift(value, value, BN_num_bits(numbers->p));
        break;
    case 8:
        BN_one(value);
        BN_lshift(value, value, BN_num_bits(numbers->p) - 1);
        break;
    case 9:
        BN_one(value);
        BN_lshift(value, value, 8 * size - 1);
        break;
    case 10:
        BN_sqr(value, value, numbers->ctx);
        BN_rshift(value, value, BN_num_bits(value) - 8 * size);
        break;
    case 11:
        BN_set_word(value, 58);
        BN_lshift(value, value, 58 * 5);
        break;
    case 12: BN_sub_word(value, 2); break;
    default: /* all ones */
        BN_one(value);
        BN_lshift(value, value, 8 * size);
        BN_sub_word(value, 1);
    }
    if (BN_num_bits(value) > 8 * size)
        BN_mask_bits(value, 8 * size);
    cr_assert(BN_bn2binpad(value, ret_octets, size) == size);
    BN_free(value);
}

static void
expect_number(const struct number_field *numbers, const struct speke_element *element,
              const BIGNUM *wanted, const char *what)
{
    uint8_t got[SPEKE_ELEMENT_MAX], octets[SPEKE_ELEMENT_MAX];
    int size = (int)numbers->field->size;
    numbers->field->encode(got, element);
    cr_assert(BN_bn2binpad(wanted, octets, size) == size);
    cr_assert(memcmp(got, octets, numbers->field->size) == 0, "%s", what);
    cr_assert_eq(speke_is_zero(numbers->field, element),
                 BN_is_zero(wanted) ? UINT64_MAX : 0);
    cr_assert_eq(speke_is_odd(numbers->field, element),
                 BN_is_odd(wanted) ? UINT64_MAX : 0);
}

/* All operations on one pair. */
static void
expect_pair(const struct number_field *numbers, const uint8_t *a_octets,
            const uint8_t *b_octets)
{
    const struct speke_field *field = numbers->field;
    int size = (int)field->wide_size;
    BIGNUM *a = BN_bin2bn(a_octets, size, NULL), *b = BN_bin2bn(b_octets, size, NULL);
    BIGNUM *wanted = BN_new();
    struct speke_element x, y, got;
    BN_nnmod(a, a, numbers->p, numbers->ctx);
    BN_nnmod(b, b, numbers->p, numbers->ctx);
    field->reduce(&x, a_octets);
    field->reduce(&y, b_octets);
    expect_number(numbers, &x, a, "reduce");
    BN_mod_add(wanted, a, b, numbers->p, numbers->ctx);
    field->add(&got, &x, &y);
    expect_number(numbers, &got, wanted, "add");
    BN_mod_sub(wanted, a, b, numbers->p, numbers->ctx);
    field->subtract(&got, &x, &y);
    expect_number(numbers, &got, wanted, "subtract");
    BN_mod_mul(wanted, a, b, numbers->p, numbers->ctx);
    field->multiply(&got, &x, &y);
    expect_number(numbers, &got, wanted, "multiply");
    BN_mod_sqr(wanted, a, numbers->p, numbers->ctx);
    field->square(&got, &x);
    expect_number(numbers, &got, wanted, "square");
    field->subtract(&got, &x, &x);
    BN_zero(wanted);
    expect_number(numbers, &got, wanted, "a - a");
    /* Outputs may be inputs, and what is barely reduced multiplies as well. */
    field->add(&x, &x, &x);
    field->subtract(&x, &x, &y);
    field->multiply(&x, &x, &x);
    BN_mod_lshift1(wanted, a, numbers->p, numbers->ctx);
    BN_mod_sub(wanted, wanted, b, numbers->p, numbers->ctx);
    BN_mod_sqr(wanted, wanted, numbers->p, numbers->ctx);
    expect_number(numbers, &x, wanted, "(2a - b)^2");
    BN_free(a);
    BN_free(b);
    BN_free(wanted);
}

static void
expect_field(const struct speke_suite *suite)
{
    struct number_field numbers;
    uint8_t a[WIDE_MAX], b[WIDE_MAX];
    number_field_open(&numbers, suite, 0);
    for (size_t i = 0; i < EDGE_COUNT; i++) {
        for (size_t j = 0; j < EDGE_COUNT; j++) {
            edge(&numbers, i, a);
            edge(&numbers, j, b);
            expect_pair(&numbers, a, b);
        }
    }
    for (size_t i = 0; i < RANDOM_COUNT; i++) {
        cr_assert(RAND_bytes(a, sizeof a) == 1 && RAND_bytes(b, sizeof b) == 1);
        expect_pair(&numbers, a, b);
    }
    number_field_close(&numbers);
}

Test(speke_field, p521_computes_as_bignum_does)
{
    expect_field(&speke_p521);
    LEAK_CHECK();
}

Test(speke_field, p256_computes_as_bignum_does)
{
    expect_field(&speke_p256);
    LEAK_CHECK();
}

static void
expect_power(const struct speke_suite *suite)
{
    struct number_field numbers;
    uint8_t octets[WIDE_MAX];
    number_field_open(&numbers, suite, 0);
    BIGNUM *exponent = BN_dup(numbers.p), *a = BN_new();
    BN_sub_word(exponent, 3);
    BN_rshift(exponent, exponent, 2);
    for (size_t i = 0; i < EDGE_COUNT + 30; i++) {
        struct speke_element x;
        if (i < EDGE_COUNT)
            edge(&numbers, i, octets);
        else
            cr_assert(RAND_bytes(octets, sizeof octets) == 1);
        numbers.field->reduce(&x, octets);
        BN_bin2bn(octets, (int)numbers.field->wide_size, a);
        BN_nnmod(a, a, numbers.p, numbers.ctx);
        BN_mod_exp(a, a, exponent, numbers.p, numbers.ctx);
        numbers.field->power(&x, &x);
        expect_number(&numbers, &x, a, "a^((p-3)/4)");
    }
    BN_free(exponent);
    BN_free(a);
    number_field_close(&numbers);
}

Test(speke_field, the_power_of_both_fields_is_the_one_of_the_square_root)
{
    expect_power(&speke_p521);
    expect_power(&speke_p256);
    LEAK_CHECK();
}

Test(speke_field, the_constants_are_what_they_are_called)
{
    static const struct speke_suite *const suites[] = { &speke_p521, &speke_p256 };
    for (size_t i = 0; i < 2; i++) {
        struct number_field numbers;
        struct speke_element squared;
        number_field_open(&numbers, suites[i], 0);
        BIGNUM *z = BN_dup(numbers.p), *minus_z = BN_new();
        const BN_ULONG size_of_z = i == 0 ? 4 : 10;
        BN_sub_word(z, size_of_z);
        BN_set_word(minus_z, size_of_z);
        expect_number(&numbers, &numbers.field->one, BN_value_one(), "1");
        expect_number(&numbers, &numbers.field->b, numbers.b, "B");
        expect_number(&numbers, &numbers.field->z, z, "Z");
        numbers.field->square(&squared, &numbers.field->root);
        expect_number(&numbers, &squared, minus_z, "sqrt(-Z)^2");
        BN_add_word(numbers.a, 3);
        cr_assert_eq(BN_cmp(numbers.a, numbers.p), 0, "A is -3");
        BN_free(z);
        BN_free(minus_z);
        number_field_close(&numbers);
    }
    LEAK_CHECK();
}

/* y^2 = x^3 + A x + B */
static void
curve_at(const struct number_field *numbers, const BIGNUM *x, BIGNUM *ret_value)
{
    BIGNUM *t = BN_new();
    BN_mod_sqr(t, x, numbers->p, numbers->ctx);
    BN_mod_add(t, t, numbers->a, numbers->p, numbers->ctx);
    BN_mod_mul(t, t, x, numbers->p, numbers->ctx);
    BN_mod_add(ret_value, t, numbers->b, numbers->p, numbers->ctx);
    BN_free(t);
}

/* RFC 9380 section 6.6.2 word by word, branches and all. */
static void
reference_map(const struct number_field *numbers, const BIGNUM *u, BIGNUM *x, BIGNUM *y)
{
    BN_CTX *ctx = numbers->ctx;
    const BIGNUM *p = numbers->p;
    BIGNUM *t = BN_new(), *d = BN_new(), *z = BN_dup(p), *f = BN_new(), *h = BN_new();
    BN_sub_word(z, (BN_ULONG)-numbers->z);
    BN_mod_sqr(t, u, p, ctx);
    BN_mod_mul(t, t, z, p, ctx);
    BN_mod_sqr(d, t, p, ctx);
    BN_mod_add(d, d, t, p, ctx);
    if (BN_is_zero(d)) {
        BN_mod_mul(h, z, numbers->a, p, ctx);
        BN_mod_inverse(h, h, p, ctx);
        BN_mod_mul(x, numbers->b, h, p, ctx);
    } else {
        BN_mod_inverse(d, d, p, ctx);
        BN_add_word(d, 1);
        BN_mod_inverse(h, numbers->a, p, ctx);
        BN_mod_mul(h, h, numbers->b, p, ctx);
        BN_mod_mul(h, h, d, p, ctx);
        BN_sub(x, p, h);
        BN_nnmod(x, x, p, ctx);
    }
    curve_at(numbers, x, f);
    if (!BN_mod_sqrt(y, f, p, ctx)) {
        BN_mod_mul(x, x, t, p, ctx);
        curve_at(numbers, x, f);
        cr_assert(BN_mod_sqrt(y, f, p, ctx), "one of the two is a square");
    }
    if (BN_is_odd(u) != BN_is_odd(y))
        BN_sub(y, p, y);
    BN_free(t);
    BN_free(d);
    BN_free(z);
    BN_free(f);
    BN_free(h);
}

static void
expect_mapped(const struct number_field *numbers, const uint8_t *octets)
{
    uint8_t got_x[SPEKE_ELEMENT_MAX], got_y[SPEKE_ELEMENT_MAX];
    uint8_t wanted[SPEKE_ELEMENT_MAX];
    int size = (int)numbers->field->size;
    BIGNUM *u = BN_bin2bn(octets, (int)numbers->field->wide_size, NULL);
    BIGNUM *x = BN_new(), *y = BN_new();
    BN_nnmod(u, u, numbers->p, numbers->ctx);
    reference_map(numbers, u, x, y);
    speke_map(numbers->field, octets, got_x, got_y);
    BN_bn2binpad(x, wanted, size);
    cr_assert(memcmp(got_x, wanted, numbers->field->size) == 0, "x");
    BN_bn2binpad(y, wanted, size);
    cr_assert(memcmp(got_y, wanted, numbers->field->size) == 0, "y");
    BN_free(u);
    BN_free(x);
    BN_free(y);
}

static void
expect_map(const struct speke_suite *suite, long z)
{
    struct number_field numbers;
    uint8_t octets[WIDE_MAX];
    int size = (int)suite->field->wide_size;
    number_field_open(&numbers, suite, z);
    for (size_t i = 0; i < EDGE_COUNT; i++) {
        edge(&numbers, i, octets);
        expect_mapped(&numbers, octets);
    }
    /* Z * u^2 = -1 makes d zero, as u = 0 does. */
    BIGNUM *u = BN_new();
    BN_set_word(u, (BN_ULONG)-z);
    BN_mod_inverse(u, u, numbers.p, numbers.ctx);
    cr_assert(BN_mod_sqrt(u, u, numbers.p, numbers.ctx));
    BN_bn2binpad(u, octets, size);
    expect_mapped(&numbers, octets);
    BN_sub(u, numbers.p, u);
    BN_bn2binpad(u, octets, size);
    expect_mapped(&numbers, octets);
    BN_free(u);
    for (size_t i = 0; i < 60; i++) {
        cr_assert(RAND_bytes(octets, sizeof octets) == 1);
        expect_mapped(&numbers, octets);
    }
    number_field_close(&numbers);
}

Test(speke_field, the_map_to_p521_is_the_plain_one_and_its_exceptions)
{
    expect_map(&speke_p521, -4);
    LEAK_CHECK();
}

Test(speke_field, the_map_to_p256_is_the_plain_one_and_its_exceptions)
{
    expect_map(&speke_p256, -10);
    LEAK_CHECK();
}

/* encode_to_curve of a message, as x || y. */
static void
encode_to_curve(const struct speke_suite *suite, const char *message, const char *dst,
                uint8_t *ret_point)
{
    uint8_t wide[WIDE_MAX];
    cr_assert_eq(
        speke_expand(suite,
                     (struct ca_bytes){ (const uint8_t *)message, strlen(message) },
                     (struct ca_bytes){ (const uint8_t *)dst, strlen(dst) }, wide),
        CA_OK);
    speke_map(suite->field, wide, ret_point, ret_point + suite->field->size);
}

Test(speke_field, single_figures_of_rfc_9380_appendix_j)
{
    uint8_t point[2 * SPEKE_ELEMENT_MAX];
    struct octets wanted;
    /* J.1.2, msg = "" */
    encode_to_curve(&speke_p256, "", "QUUX-V01-CS02-with-P256_XMD:SHA-256_SSWU_NU_",
                    point);
    octets_parse("f871caad25ea3b59c16cf87c1894902f7e7b2c822c3d3f73596c5ace8ddd14d1"
                 "87b9ae23335bee057b99bac1e68588b18b5691af476234b8971bc4f011ddc99b",
                 &wanted);
    cr_assert_arr_eq(point, wanted.data, wanted.size);
    /* J.3.2, msg = "" */
    encode_to_curve(&speke_p521, "", "QUUX-V01-CS02-with-P521_XMD:SHA-512_SSWU_NU_",
                    point);
    octets_parse("01ec604b4e1e3e4c7449b7a41e366e876655538acf51fd40d08b97be066f7d020634"
                 "e906b1b6942f9174b417027c953d75fb6ec64b8cee2a3672d4f1987d13974705"
                 "00944fc439b4aad2463e5c9cfa0b0707af3c9a42e37c5a57bb4ecd12fef9fb2150"
                 "8568aedcdd8d2490472df4bbafd79081c81e99f4da3286eddf19be47e9c4cf0e91",
                 &wanted);
    cr_assert_eq(wanted.size, 132);
    cr_assert_arr_eq(point, wanted.data, wanted.size);
}

/* A public file of vectors, when somebody has put them there. */
static json_t *
public_vectors(const char *name)
{
    const char *folder = getenv("SEALWRIGHT_SAMPLES");
    char path[4096];
    if (!folder || folder[0] == 0)
        return NULL;
    snprintf(path, sizeof path, "%s/vectors/%s", folder, name);
    return vectors_load(path);
}

static void
expect_rfc9380(const json_t *root, const char *name, const struct speke_suite *suite)
{
    const json_t *set = json_object_get(root, name);
    size_t i;
    json_t *test;
    cr_assert_eq(json_array_size(json_object_get(set, "vectors")), 5);
    json_array_foreach (json_object_get(set, "vectors"), i, test) {
        uint8_t point[2 * SPEKE_ELEMENT_MAX];
        const json_t *wanted = json_object_get(test, "P");
        encode_to_curve(suite, vector_text(test, "msg"), vector_text(set, "dst"),
                        point);
        vector_expect(wanted, "x", point, suite->field->size);
        vector_expect(wanted, "y", point + suite->field->size, suite->field->size);
    }
}

Test(speke_field, public_vectors_of_rfc_9380)
{
    json_t *root = public_vectors("rfc9380-nist.json");
    if (!root)
        return; /* single figures of them are tested above */
    expect_rfc9380(root, "P521_XMD:SHA-512_SSWU_NU_", &speke_p521);
    expect_rfc9380(root, "P256_XMD:SHA-256_SSWU_NU_", &speke_p256);
    json_decref(root);
    LEAK_CHECK();
}

static void
get_scalar(const json_t *test, const char *name, struct speke_scalar *ret_scalar)
{
    struct octets octets;
    vector_get(test, name, &octets);
    memcpy(ret_scalar->octets, octets.data, octets.size);
}

/* TR = lv(Ya, ADa) || lv(Yb, ADb) */
static void
cpace_shares(const json_t *test, struct lv *ret_shares)
{
    static const char *const parts[] = { "Ya", "ADa", "Yb", "ADb" };
    for (size_t i = 0; i < 4; i++) {
        struct octets octets;
        vector_get(test, parts[i], &octets);
        lv_put(ret_shares, octets.data, octets.size);
    }
}

static void
expect_cpace(const json_t *test, const struct speke_suite *suite)
{
    struct octets prs, identities, sid;
    struct speke_point generator, share_a, share_b;
    struct speke_scalar a, b;
    uint8_t secret[SPEKE_ELEMENT_MAX], isk[SPEKE_HASH_MAX];
    struct lv shares = { .size = 0 };
    vector_get(test, "PRS", &prs);
    vector_get(test, "CI", &identities);
    vector_get(test, "sid", &sid);
    get_scalar(test, "ya", &a);
    get_scalar(test, "yb", &b);
    cr_assert_eq(speke_generator(suite, octets_bytes(&prs), octets_bytes(&identities),
                                 octets_bytes(&sid), &generator),
                 CA_OK);
    vector_expect(test, "g", generator.octets, generator.size);
    cr_assert_eq(speke_share(suite, &generator, &a, &share_a), CA_OK);
    cr_assert_eq(speke_share(suite, &generator, &b, &share_b), CA_OK);
    vector_expect(test, "Ya", share_a.octets, share_a.size);
    vector_expect(test, "Yb", share_b.octets, share_b.size);
    cr_assert_eq(speke_secret(suite, &a, &share_a, speke_point_bytes(&share_b), secret),
                 CA_OK);
    vector_expect(test, "K", secret, suite->field->size);
    cpace_shares(test, &shares);
    cr_assert_eq(schedule_isk(suite, octets_bytes(&sid),
                              (struct ca_bytes){ secret, suite->field->size },
                              lv_bytes(&shares), isk),
                 CA_OK);
    vector_expect(test, "ISK_IR", isk, suite->hash_size);
}

/* One multiplication, and two encodings that must be refused. */
static void
expect_cpace_points(const json_t *test, const struct speke_suite *suite)
{
    const json_t *valid = json_object_get(test, "Valid");
    struct octets octets;
    struct speke_scalar scalar;
    struct speke_point own = { .size = suite->share_size };
    uint8_t secret[SPEKE_ELEMENT_MAX], zeros[SPEKE_ELEMENT_MAX] = { 0 };
    get_scalar(valid, "s", &scalar);
    vector_get(valid, "X", &octets);
    cr_assert_eq(speke_secret(suite, &scalar, &own, octets_bytes(&octets), secret),
                 CA_OK);
    vector_expect(valid, "G.scalar_mult_vfy(s,X) (only X-coordinate)", secret,
                  suite->field->size);
    memset(secret, 0, sizeof secret);
    static const char *const bad[] = { "Invalid Y1", "Invalid Y2" };
    for (size_t i = 0; i < 2; i++) {
        vector_get(test, bad[i], &octets);
        cr_assert_eq(speke_secret(suite, &scalar, &own, octets_bytes(&octets), secret),
                     CA_MALFORMED);
        cr_assert_arr_eq(secret, zeros, sizeof zeros);
    }
}

Test(speke_field, public_vectors_of_cpace)
{
    json_t *root = public_vectors("cpace-nist.json");
    if (!root)
        return; /* single figures of them are tested above */
    expect_cpace(json_object_get(root, "G_NistP521"), &speke_p521);
    expect_cpace(json_object_get(root, "G_NistP256"), &speke_p256);
    expect_cpace_points(json_object_get(root, "G_NistP521_points"), &speke_p521);
    expect_cpace_points(json_object_get(root, "G_NistP256_points"), &speke_p256);
    json_decref(root);
    LEAK_CHECK();
}

Test(speke_field, a_single_figure_of_cpace_draft_21)
{
    static const uint8_t sid[] = { 0x7e, 0x4b, 0x47, 0x91, 0xd6, 0xa8, 0xef, 0x01,
                                   0x9b, 0x93, 0x6c, 0x79, 0xfb, 0x7f, 0x2c, 0x57 };
    const struct ca_bytes prs = { (const uint8_t *)"Password", 8 };
    const struct ca_bytes identities = { (const uint8_t *)"\x0b"
                                                          "A_initiator\x0b"
                                                          "B_responder",
                                         24 };
    struct speke_point generator;
    struct octets x;
    cr_assert_eq(speke_generator(&speke_p521, prs, identities,
                                 (struct ca_bytes){ sid, sizeof sid }, &generator),
                 CA_OK);
    octets_parse("00aefb79f4ba40369bbe78a5c873b2ce75be111516deed28c5899a8bbf8a96db",
                 &x);
    cr_assert_arr_eq(generator.octets + 1, x.data, x.size);
}
