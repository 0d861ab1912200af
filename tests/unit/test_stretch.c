/* Activation passwords: names, stretching, decoys and sealing, held to the vectors. */
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "seal.h"
#include "stretch.h"
#include "vectors.h"

static json_t *vectors;

static void
set_up(void)
{
    vectors = vectors_load(TEST_SOURCE "/tests/data/activation-vectors.json");
}

static void
tear_down(void)
{
    random_set(NULL);
    json_decref(vectors);
}

TestSuite(stretch, .init = set_up, .fini = tear_down);

static struct stretch_cost
cost_of(const json_t *test)
{
    return (struct stretch_cost){ (int)json_integer_value(json_object_get(test, "ln")),
                                  (int)json_integer_value(json_object_get(test, "r")),
                                  (int)json_integer_value(json_object_get(test, "p")) };
}

Test(stretch, passwords_are_stretched_as_in_the_vectors)
{
    size_t i;
    json_t *test;
    json_array_foreach (json_object_get(vectors, "stretch"), i, test) {
        struct octets salt;
        uint8_t prs[STRETCH_PRS_SIZE];
        vector_get(test, "salt", &salt);
        cr_assert_eq(
            stretch_make(vector_text(test, "password"), salt.data, cost_of(test), prs),
            CA_OK);
        vector_expect(test, "prs", prs, sizeof prs);
    }
    cr_assert_eq(i, 2);
    LEAK_CHECK();
}

Test(stretch, names_salts_and_passwords_of_every_run_are_as_in_the_vectors)
{
    size_t i;
    json_t *test;
    json_array_foreach (json_object_get(vectors, "cases"), i, test) {
        const json_t *inputs = json_object_get(test, "inputs");
        const json_t *values = json_object_get(test, "values");
        const char *sent = vector_text(inputs, "user_sent");
        char user[STRETCH_USER_MAX + 1], password[STRETCH_PASSWORD_MAX + 1];
        struct octets salt_key;
        uint8_t salt[STRETCH_SALT_SIZE], prs[STRETCH_PRS_SIZE];
        cr_assert(stretch_user(sent, strlen(sent), user));
        vector_expect(inputs, "user_canonical", user, strlen(user));
        vector_get(inputs, "salt_key", &salt_key);
        const struct stretch_name name = { user, vector_text(inputs, "ref") };
        cr_assert_eq(stretch_salt(salt_key.data, name, salt), CA_OK);
        vector_expect(values, "salt", salt, sizeof salt);
        const char *typed = vector_text(inputs, "password");
        cr_assert_eq(stretch_password(typed, strlen(typed), password), CA_OK);
        cr_assert_eq(stretch_make(password, salt, cost_of(inputs), prs), CA_OK);
        vector_expect(values, "prs", prs, sizeof prs);
    }
    cr_assert_eq(i, 4);
    LEAK_CHECK();
}

Test(stretch, a_name_without_a_password_has_the_salt_and_decoy_of_the_vector)
{
    const json_t *test = json_object_get(vectors, "decoy");
    const json_t *inputs =
        json_object_get(json_array_get(json_object_get(vectors, "cases"), 0), "inputs");
    const struct stretch_name name = { vector_text(test, "user"),
                                       vector_text(test, "ref") };
    struct octets key, session;
    uint8_t salt[STRETCH_SALT_SIZE], prs[STRETCH_PRS_SIZE];
    vector_get(inputs, "salt_key", &key);
    cr_assert_eq(stretch_salt(key.data, name, salt), CA_OK);
    vector_expect(test, "salt", salt, sizeof salt);
    vector_get(test, "decoy_key", &key);
    vector_get(test, "sn", &session);
    cr_assert_eq(stretch_decoy(key.data, name, session.data, prs), CA_OK);
    vector_expect(test, "prs", prs, sizeof prs);
    LEAK_CHECK();
}

Test(stretch, the_verifier_is_sealed_as_in_the_vector_and_opens_for_its_row_alone)
{
    const json_t *test = json_object_get(vectors, "verifier_seal");
    const struct stretch_name name = { "alice@example.com", "" };
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 }, other = { 0 };
    struct octets kek, nonce, prs;
    uint8_t blob[STRETCH_PRS_SIZE + SEAL_OVERHEAD], opened[STRETCH_PRS_SIZE];
    vector_get(test, "kek", &kek);
    vector_get(test, "nonce", &nonce);
    vector_get(test, "prs", &prs);
    stretch_verifier_aad(name, vector_text(test, "record"), &aad);
    vector_expect(test, "aad", aad.data, aad.size);
    const struct seal_text text = { prs.data, prs.size, aad.data, aad.size };
    cr_assert_eq(seal_make_with(kek.data, text, nonce.data, blob), CA_OK);
    vector_expect(test, "blob", blob, sizeof blob);
    struct seal_text sealed = { blob, sizeof blob, aad.data, aad.size };
    cr_assert_eq(seal_open(kek.data, sealed, opened), CA_OK);
    cr_assert_arr_eq(opened, prs.data, sizeof opened);
    stretch_verifier_aad(name, "act-000002", &other);
    sealed.aad = other.data;
    sealed.aad_size = other.size;
    cr_assert_eq(seal_open(kek.data, sealed, opened), CA_FORBIDDEN);
    text_buffer_clear(&other);
    LEAK_CHECK();
}

Test(stretch, an_altered_cut_or_foreign_blob_does_not_open)
{
    uint8_t key[SEAL_KEY_SIZE] = { 1 }, blob[40 + SEAL_OVERHEAD], plain[40] = { 2 };
    uint8_t opened[80], untouched[80];
    memset(opened, 0xee, sizeof opened);
    memset(untouched, 0xee, sizeof untouched);
    cr_assert_eq(
        seal_make(key, (struct seal_text){ plain, sizeof plain, "a", 1 }, blob), CA_OK);
    struct seal_text sealed = { blob, sizeof blob, "a", 1 };
    for (size_t bit = 0; bit < 8 * sizeof blob; bit++) {
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_eq(seal_open(key, sealed, opened), CA_FORBIDDEN, "bit %zu", bit);
        blob[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (sealed.size = 0; sealed.size < sizeof blob; sealed.size++)
        cr_assert_eq(seal_open(key, sealed, opened), CA_FORBIDDEN);
    key[0] = 9;
    cr_assert_eq(seal_open(key, sealed, opened), CA_FORBIDDEN);
    cr_assert_arr_eq(opened, untouched, sizeof opened);
    key[0] = 1;
    cr_assert_eq(seal_open(key, sealed, opened), CA_OK);
    cr_assert_arr_eq(opened, plain, sizeof plain);
    LEAK_CHECK();
}

Test(stretch, two_blobs_of_the_same_text_have_other_nonces)
{
    uint8_t key[SEAL_KEY_SIZE] = { 1 }, first[SEAL_OVERHEAD], second[SEAL_OVERHEAD];
    const struct seal_text text = { "", 0, "", 0 };
    cr_assert_eq(seal_make(key, text, first), CA_OK);
    cr_assert_eq(seal_make(key, text, second), CA_OK);
    cr_assert_neq(memcmp(first, second, sizeof first), 0);
}

static const struct {
    const char *sent, *canonical; /* NULL: refused */
} users[] = {
    { "alice", "alice" },
    { "  Alice@Example.COM ", "alice@example.com" },
    { "a b", "a b" },
    { "J\xc3\x9crgen", "j\xc3\x9crgen" },
    { "\xc2\x85", "\xc2\x85" },
    { "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf" },
    { "", NULL },
    { "   ", NULL },
    { "a\tb", NULL },
    { "a\x7f", NULL },
    { "\ta", NULL },
    { "\xc0\x80", NULL },
    { "\xc3", NULL },
    { "a\x80", NULL },
    { "\xe0\x80\x80", NULL },
    { "\xed\xa0\x80", NULL },
    { "\xf0\x80\x80\x80", NULL },
    { "\xf4\x90\x80\x80", NULL },
    { "\xe2\x82", NULL },
};

Test(stretch, login_names_become_canonical_or_are_refused)
{
    char user[STRETCH_USER_MAX + 1], long_name[STRETCH_USER_MAX + 2];
    for (size_t i = 0; i < sizeof users / sizeof users[0]; i++) {
        bool is_good = stretch_user(users[i].sent, strlen(users[i].sent), user);
        cr_assert_eq(is_good, users[i].canonical != NULL, "%zu", i);
        if (is_good)
            cr_assert_str_eq(user, users[i].canonical);
    }
    cr_assert(!stretch_user("a\0b", 3, user));
    memset(long_name, 'x', sizeof long_name);
    cr_assert(stretch_user(long_name, STRETCH_USER_MAX, user));
    cr_assert_eq(strlen(user), STRETCH_USER_MAX);
    cr_assert(!stretch_user(long_name, STRETCH_USER_MAX + 1, user));
}

Test(stretch, references_are_short_words)
{
    static const char *const good[] = { "", "tab-2", "A.b_c",
                                        "01234567890123456789012345678901" };
    static const char *const bad[] = { " ",   "a b",
                                       "a/b", "\xc3\xa4",
                                       "a:",  "012345678901234567890123456789012" };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(stretch_ref_is_good(good[i]), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert(!stretch_ref_is_good(bad[i]), "%s", bad[i]);
}

static enum ca_status
password_of(const char *typed, char *password)
{
    return stretch_password(typed, strlen(typed), password);
}

Test(stretch, passwords_are_printable_ascii_of_8_to_128_octets)
{
    char password[STRETCH_PASSWORD_MAX + 1] = "", typed[STRETCH_PASSWORD_MAX + 2];
    cr_assert_eq(password_of("  Correct-Horse  ", password), CA_OK);
    cr_assert_str_eq(password, "Correct-Horse");
    cr_assert_eq(password_of("1234567", password), CA_MALFORMED);
    cr_assert_eq(password_of(" 1234567 ", password), CA_MALFORMED);
    cr_assert_eq(password_of("12345678", password), CA_OK);
    cr_assert_eq(password_of("1234567\t8", password), CA_MALFORMED);
    cr_assert_eq(password_of("1234567\x7f", password), CA_MALFORMED);
    cr_assert_eq(password_of("1234567\xc3\xa4", password), CA_MALFORMED);
    cr_assert_eq(stretch_password("1234\0 5678", 9, password), CA_MALFORMED);
    memset(typed, 'x', sizeof typed);
    cr_assert_eq(stretch_password(typed, STRETCH_PASSWORD_MAX, password), CA_OK);
    cr_assert_eq(stretch_password(typed, STRETCH_PASSWORD_MAX + 1, password),
                 CA_MALFORMED);
}

Test(stretch, A3_generated_passwords_have_twelve_of_31_symbols_in_groups)
{
    char password[STRETCH_PASSWORD_MAX + 1], again[STRETCH_PASSWORD_MAX + 1];
    unsigned seen[256] = { 0 }, different = 0;
    for (int i = 0; i < 400; i++) {
        cr_assert_eq(stretch_generate(STRETCH_SYMBOLS_DEFAULT, password), CA_OK);
        cr_assert_eq(strlen(password), 14);
        cr_assert(password[4] == '-' && password[9] == '-');
        for (size_t k = 0; k < 14; k++)
            seen[(unsigned char)password[k]]++;
        cr_assert_eq(password_of(password, again), CA_OK);
    }
    for (unsigned c = 0; c < 256; c++) {
        if (seen[c] && c != '-')
            different++;
    }
    cr_assert_eq(different, 31);
    for (const char *c = "01ilo"; *c; c++)
        cr_assert_eq(seen[(unsigned char)*c], 0);
    cr_assert_eq(stretch_generate(STRETCH_SYMBOLS_DEFAULT, again), CA_OK);
    cr_assert_str_neq(password, again);
    cr_assert_eq(stretch_generate(8, password), CA_OK);
    cr_assert_eq(strlen(password), 9);
    cr_assert_eq(stretch_generate(STRETCH_SYMBOLS_MAX, password), CA_OK);
    cr_assert_eq(stretch_generate(7, password), CA_LIMIT);
    cr_assert_eq(stretch_generate(STRETCH_SYMBOLS_MAX + 1, password), CA_LIMIT);
}

static enum ca_status
no_randomness(void *octets, size_t size)
{
    (void)octets;
    (void)size;
    return CA_INTERNAL;
}

Test(stretch, without_randomness_nothing_is_generated_or_sealed)
{
    char password[STRETCH_PASSWORD_MAX + 1] = "unset";
    uint8_t key[SEAL_KEY_SIZE] = { 0 }, blob[SEAL_OVERHEAD];
    random_set(no_randomness);
    cr_assert_eq(stretch_generate(12, password), CA_INTERNAL);
    cr_assert_str_eq(password, "unset");
    cr_assert_eq(seal_make(key, (struct seal_text){ "", 0, "", 0 }, blob), CA_INTERNAL);
}

Test(stretch, only_costs_that_clients_take_are_used)
{
    static const struct stretch_cost bad[] = {
        { 9, 8, 1 },  { 18, 8, 1 }, { 14, 8, 0 },
        { 14, 8, 9 }, { 14, 7, 1 }, { 14, 16, 1 }
    };
    uint8_t salt[STRETCH_SALT_SIZE] = { 0 }, prs[STRETCH_PRS_SIZE];
    cr_assert(stretch_cost_is_taken(stretch_cost_default));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(stretch_make("12345678", salt, bad[i], prs), CA_INTERNAL);
    /* The largest memory of all that clients take: 128 MiB. */
    cr_assert_eq(stretch_make("12345678", salt, (struct stretch_cost){ 17, 8, 1 }, prs),
                 CA_OK);
}

Test(stretch, the_decoy_is_chosen_by_liveness_alone)
{
    uint8_t prs[STRETCH_PRS_SIZE], decoy[STRETCH_PRS_SIZE], wanted[STRETCH_PRS_SIZE];
    memset(prs, 0xa5, sizeof prs);
    memset(wanted, 0xa5, sizeof wanted);
    memset(decoy, 0x3c, sizeof decoy);
    stretch_choose(prs, decoy, true);
    cr_assert_arr_eq(prs, wanted, sizeof prs);
    stretch_choose(prs, decoy, false);
    cr_assert_arr_eq(prs, decoy, sizeof prs);
}
