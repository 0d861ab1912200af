/* The exchange against the vectors of ECSPEKE-ACT-1: every intermediate value of the
 * honest runs, every input that must be refused. */
#include "box.h"
#include "leak.h"
#include "vectors.h"

#define OFFERED_MAX 8

/* One honest run: what its vector says, and what we make of it. */
struct run {
    const json_t *inputs, *values;
    const struct speke_suite *suite;
    struct transcript transcript;
    struct octets prs, salt;
    struct speke_scalar server_scalar, client_scalar;
    struct speke_point generator, server_share, client_share;
    struct octets plain_csr, grant, iv_c2s, iv_s2c;
};

static json_t *vectors;

static void
setup(void)
{
    vectors = vectors_load(TEST_SOURCE "/tests/data/activation-vectors.json");
}

static void
teardown(void)
{
    json_decref(vectors);
}

TestSuite(speke, .init = setup, .fini = teardown);

static void
get_scalar(const json_t *inputs, const char *name, struct speke_scalar *ret_scalar)
{
    struct octets octets;
    vector_get(inputs, name, &octets);
    cr_assert_leq(octets.size, sizeof ret_scalar->octets);
    memcpy(ret_scalar->octets, octets.data, octets.size);
}

static void
run_transcript(struct run *run, const char *server, const json_t *offered)
{
    const json_t *inputs = run->inputs;
    struct octets user, cn, sn;
    const char *suites[OFFERED_MAX];
    size_t count = json_array_size(offered);
    char user_text[255] = { 0 };
    for (size_t i = 0; i < count; i++)
        suites[i] = json_string_value(json_array_get(offered, i));
    vector_get(inputs, "user_canonical", &user);
    memcpy(user_text, user.data, user.size);
    vector_get(inputs, "cn", &cn);
    vector_get(inputs, "sn", &sn);
    const struct transcript_stretch stretch = {
        (int)json_integer_value(json_object_get(inputs, "ln")),
        (int)json_integer_value(json_object_get(inputs, "r")),
        (int)json_integer_value(json_object_get(inputs, "p")),
    };
    struct transcript *transcript = &run->transcript;
    transcript_identities(transcript, server, user_text, vector_text(inputs, "ref"));
    transcript_nonces(transcript, cn.data, sn.data);
    transcript_server(transcript, run->suite->name, stretch, octets_bytes(&run->salt));
    transcript_client(transcript, suites, count, vector_text(inputs, "client"));
    cr_assert(transcript_is_whole(transcript));
}

static void
run_shares(struct run *run)
{
    const struct transcript *transcript = &run->transcript;
    const struct ca_bytes sid = { transcript->sid, sizeof transcript->sid };
    cr_assert_eq(speke_generator(run->suite, octets_bytes(&run->prs),
                                 lv_bytes(&transcript->identities), sid,
                                 &run->generator),
                 CA_OK);
    cr_assert_eq(speke_share(run->suite, &run->generator, &run->server_scalar,
                             &run->server_share),
                 CA_OK);
    cr_assert_eq(speke_share(run->suite, &run->generator, &run->client_scalar,
                             &run->client_share),
                 CA_OK);
}

static void
run_start(struct run *run, const json_t *test)
{
    run->inputs = json_object_get(test, "inputs");
    run->values = json_object_get(test, "values");
    run->suite = speke_suite_find(vector_text(test, "suite"));
    cr_assert(run->suite);
    vector_get(run->values, "prs", &run->prs);
    vector_get(run->values, "salt", &run->salt);
    get_scalar(run->inputs, "scalar_server", &run->server_scalar);
    get_scalar(run->inputs, "scalar_client", &run->client_scalar);
    vector_get(run->inputs, "csr", &run->plain_csr);
    const char *grant = vector_text(run->inputs, "grant");
    if (grant[0] == '{') {
        run->grant.size = strlen(grant);
        memcpy(run->grant.data, grant, run->grant.size);
    } else {
        octets_parse(grant, &run->grant);
    }
    vector_get(run->inputs, "iv_c2s", &run->iv_c2s);
    vector_get(run->inputs, "iv_s2c", &run->iv_s2c);
    run_transcript(run, vector_text(run->inputs, "server"),
                   json_object_get(run->inputs, "suites_offered"));
    run_shares(run);
}

/* The schedule of the server, who has got `share`. */
static enum ca_status
run_server(struct run *run, struct ca_bytes share, struct schedule *ret_schedule)
{
    uint8_t secret[SPEKE_ELEMENT_MAX];
    enum ca_status status = speke_secret(run->suite, &run->server_scalar,
                                         &run->server_share, share, secret);
    if (status != CA_OK)
        return status;
    return schedule_derive(run->suite, &run->transcript,
                           speke_point_bytes(&run->server_share), share, secret,
                           ret_schedule);
}

static struct run *
run_named(const char *name)
{
    static struct run run;
    memset(&run, 0, sizeof run);
    run_start(&run, vector_named(json_object_get(vectors, "cases"), name));
    return &run;
}

Test(speke, length_value_strings_are_as_in_the_vectors)
{
    size_t i, j;
    json_t *test, *arg;
    json_array_foreach (json_object_get(vectors, "lv_cat"), i, test) {
        struct lv lv = { .size = 0 };
        json_array_foreach (json_object_get(test, "args"), j, arg) {
            static struct octets octets;
            octets_parse(json_string_value(arg), &octets);
            lv_put(&lv, octets.data, octets.size);
        }
        vector_expect(test, "out", lv.data, lv.size);
    }
    cr_assert_eq(i, 6);
}

Test(speke, a_length_value_string_that_does_not_fit_fails_for_good)
{
    static const uint8_t octets[LV_ROOM];
    struct lv lv = { .size = 0 };
    lv_put(&lv, octets, LV_ROOM - 1);
    cr_assert(lv.failed);
    lv_put(&lv, octets, 1);
    cr_assert(lv.failed);
    lv_clear(&lv);
    lv_append(&lv, octets, LV_ROOM);
    cr_assert(!lv.failed && lv.size == LV_ROOM);
}

static void
expect_keys(const struct run *run, const struct schedule *schedule)
{
    const json_t *keys = json_object_get(run->values, "keys");
    const struct schedule_side *c2s = &schedule->side[SCHEDULE_C2S];
    const struct schedule_side *s2c = &schedule->side[SCHEDULE_S2C];
    vector_expect(keys, "c2s confirm", c2s->confirm, SCHEDULE_KEY_SIZE);
    vector_expect(keys, "c2s enc", c2s->encrypt, SCHEDULE_KEY_SIZE);
    vector_expect(keys, "c2s mac", c2s->mac, SCHEDULE_KEY_SIZE);
    vector_expect(keys, "s2c confirm", s2c->confirm, SCHEDULE_KEY_SIZE);
    vector_expect(keys, "s2c enc", s2c->encrypt, SCHEDULE_KEY_SIZE);
    vector_expect(keys, "s2c mac", s2c->mac, SCHEDULE_KEY_SIZE);
    vector_expect(run->values, "th", schedule->hash, schedule->hash_size);
    vector_expect(run->values, "tc", c2s->tag, SCHEDULE_TAG_SIZE);
    vector_expect(run->values, "ts", s2c->tag, SCHEDULE_TAG_SIZE);
}

static void
expect_boxes(const struct run *run, const struct schedule *schedule)
{
    static uint8_t box[VECTOR_MAX], plain[VECTOR_MAX];
    const uint8_t *tc = schedule->side[SCHEDULE_C2S].tag;
    size_t size = box_size(run->plain_csr.size), plain_size;
    cr_assert_eq(box_seal_with(schedule, SCHEDULE_C2S, tc,
                               octets_bytes(&run->plain_csr), run->iv_c2s.data, box),
                 CA_OK);
    vector_expect(run->values, "box_c2s", box, size);
    cr_assert_eq(box_open(schedule, SCHEDULE_C2S, tc, (struct ca_bytes){ box, size },
                          plain, &plain_size),
                 CA_OK);
    cr_assert(plain_size == run->plain_csr.size &&
              memcmp(plain, run->plain_csr.data, plain_size) == 0);

    uint8_t aad[BOX_TAG_SIZE];
    memcpy(aad, box_tag((struct ca_bytes){ box, size }), sizeof aad);
    cr_assert_eq(box_seal_with(schedule, SCHEDULE_S2C, aad, octets_bytes(&run->grant),
                               run->iv_s2c.data, box),
                 CA_OK);
    size = box_size(run->grant.size);
    vector_expect(run->values, "box_s2c", box, size);
    cr_assert_eq(box_open(schedule, SCHEDULE_S2C, aad, (struct ca_bytes){ box, size },
                          plain, &plain_size),
                 CA_OK);
    cr_assert(plain_size == run->grant.size &&
              memcmp(plain, run->grant.data, plain_size) == 0);
}

/* The client's way to the same secret. */
static void
expect_secret(const struct run *run)
{
    uint8_t secret[SPEKE_ELEMENT_MAX], isk[SPEKE_HASH_MAX];
    struct lv shares = { .size = 0 };
    const struct ca_bytes sid = { run->transcript.sid, sizeof run->transcript.sid };
    cr_assert_eq(speke_secret(run->suite, &run->client_scalar, &run->client_share,
                              speke_point_bytes(&run->server_share), secret),
                 CA_OK);
    vector_expect(run->values, "k", secret, run->suite->field->size);
    transcript_shares(&run->transcript, speke_point_bytes(&run->server_share),
                      speke_point_bytes(&run->client_share), &shares);
    vector_expect(run->values, "transcript", shares.data, shares.size);
    cr_assert_eq(schedule_isk(run->suite, sid,
                              (struct ca_bytes){ secret, run->suite->field->size },
                              lv_bytes(&shares), isk),
                 CA_OK);
    vector_expect(run->values, "isk", isk, run->suite->hash_size);
}

static void
expect_run(const char *name)
{
    struct run *run = run_named(name);
    struct schedule schedule;
    const struct transcript *transcript = &run->transcript;
    vector_expect(run->values, "ci", transcript->identities.data,
                  transcript->identities.size);
    vector_expect(run->values, "sid", transcript->sid, sizeof transcript->sid);
    vector_expect(run->values, "ad_s", transcript->server_data.data,
                  transcript->server_data.size);
    vector_expect(run->values, "ad_c", transcript->client_data.data,
                  transcript->client_data.size);
    vector_expect(run->values, "generator", run->generator.octets, run->generator.size);
    vector_expect(run->values, "ys", run->server_share.octets, run->server_share.size);
    vector_expect(run->values, "yc", run->client_share.octets, run->client_share.size);
    expect_secret(run);
    cr_assert_eq(run_server(run, speke_point_bytes(&run->client_share), &schedule),
                 CA_OK);
    expect_keys(run, &schedule);
    expect_boxes(run, &schedule);
    schedule_clear(&schedule);
}

Test(speke, the_run_over_p521_gives_every_value_of_the_vector)
{
    expect_run("p521-basic");
    LEAK_CHECK();
}

Test(speke, the_run_with_a_reference_gives_every_value_of_the_vector)
{
    expect_run("p521-ref-and-case");
}

Test(speke, the_run_with_a_name_beyond_ascii_gives_every_value_of_the_vector)
{
    expect_run("p521-utf8-user");
}

Test(speke, the_run_over_p256_gives_every_value_of_the_vector)
{
    expect_run("p256-basic");
}

/* The vectors of one kind; counts them. */
#define NEGATIVE_EACH(i, test, kind_name)                                              \
    json_array_foreach (json_object_get(vectors, "negative"), i, test)                 \
        if (strcmp(vector_text(test, "kind"), kind_name) == 0)

Test(speke, bad_shares_are_refused_by_the_server)
{
    static struct octets share;
    size_t i, count = 0;
    json_t *test;
    NEGATIVE_EACH(i, test, "share_c")
    {
        struct run *run = run_named(vector_text(test, "base"));
        uint8_t secret[SPEKE_ELEMENT_MAX] = { 0 }, zeros[SPEKE_ELEMENT_MAX] = { 0 };
        vector_get(test, "yc", &share);
        cr_assert_eq(
            speke_share_check(run->suite, &run->server_share, octets_bytes(&share)),
            CA_MALFORMED, "%s", vector_text(test, "name"));
        cr_assert_eq(speke_secret(run->suite, &run->server_scalar, &run->server_share,
                                  octets_bytes(&share), secret),
                     CA_MALFORMED, "%s", vector_text(test, "name"));
        cr_assert_arr_eq(secret, zeros, sizeof secret);
        count++;
    }
    cr_assert_eq(count, 8);
    LEAK_CHECK();
}

Test(speke, bad_shares_are_refused_by_the_client)
{
    static struct octets share;
    size_t i, count = 0;
    json_t *test;
    NEGATIVE_EACH(i, test, "share_s")
    {
        struct run *run = run_named(vector_text(test, "base"));
        vector_get(test, "ys", &share);
        cr_assert_eq(
            speke_share_check(run->suite, &run->client_share, octets_bytes(&share)),
            CA_MALFORMED, "%s", vector_text(test, "name"));
        count++;
    }
    cr_assert_eq(count, 1);
}

static void
expect_bad_share(const struct run *run, const char *name, const uint8_t *octets,
                 size_t size)
{
    struct ca_bytes share = { octets, size };
    cr_assert_eq(speke_share_check(run->suite, &run->server_share, share), CA_MALFORMED,
                 "%s: %s", run->suite->name, name);
}

/* Every one of these in both suites. */
static void
expect_bad_shares(const char *base)
{
    struct run *run = run_named(base);
    const struct speke_point *good = &run->client_share;
    size_t half = run->suite->field->size;
    uint8_t bad[SPEKE_SHARE_MAX + 1];
    cr_assert_eq(
        speke_share_check(run->suite, &run->server_share, speke_point_bytes(good)),
        CA_OK);
    memset(bad, 0, sizeof bad);
    expect_bad_share(run, "nothing", bad, 0);
    expect_bad_share(run, "identity", bad, 1);
    expect_bad_share(run, "identity in full length", bad, good->size);
    memcpy(bad, good->octets, good->size);
    expect_bad_share(run, "an octet missing", bad, good->size - 1);
    expect_bad_share(run, "an octet too many", bad, good->size + 1);
    for (unsigned first = 0; first < 256; first++) {
        bad[0] = (uint8_t)first;
        if (first != 4)
            expect_bad_share(run, "first octet", bad, good->size);
    }
    bad[0] = 2;
    expect_bad_share(run, "compressed", bad, 1 + half);
    bad[0] = 4;
    for (size_t i = 1; i < good->size; i++) {
        bad[i] ^= 1;
        expect_bad_share(run, "an octet altered", bad, good->size);
        bad[i] ^= 1;
    }
    expect_bad_share(run, "reflected", run->server_share.octets, good->size);
    /* The mirror image of the server's share: its x, the other y. */
    memcpy(bad, run->server_share.octets, good->size);
    struct speke_element y, zero = { { 0 } };
    uint8_t wide[98] = { 0 };
    memcpy(wide + run->suite->field->wide_size - half, bad + 1 + half, half);
    run->suite->field->reduce(&y, wide);
    run->suite->field->subtract(&y, &zero, &y);
    run->suite->field->encode(bad + 1 + half, &y);
    cr_assert_neq(memcmp(bad, run->server_share.octets, good->size), 0);
    expect_bad_share(run, "reflected and mirrored", bad, good->size);
    cr_assert_eq(
        speke_share_check(run->suite, good, (struct ca_bytes){ bad, good->size }),
        CA_OK, "the mirror image is a point");
}

Test(speke, invalid_off_curve_identity_and_reflected_shares_are_refused_on_p521)
{
    expect_bad_shares("p521-basic");
    LEAK_CHECK();
}

Test(speke, invalid_off_curve_identity_and_reflected_shares_are_refused_on_p256)
{
    expect_bad_shares("p256-basic");
}

Test(speke, tags_of_another_view_do_not_hold)
{
    static struct octets share, tag;
    size_t i, count = 0;
    json_t *test;
    NEGATIVE_EACH(i, test, "tc")
    {
        struct run *run = run_named(vector_text(test, "base"));
        struct schedule schedule;
        vector_get(test, "yc", &share);
        vector_get(test, "tc", &tag);
        cr_assert_eq(run_server(run, octets_bytes(&share), &schedule), CA_OK);
        cr_assert(!schedule_tag_holds(&schedule, SCHEDULE_C2S, octets_bytes(&tag)),
                  "%s", vector_text(test, "name"));
        if (json_object_get(test, "tc_expected"))
            vector_expect(test, "tc_expected", schedule.side[SCHEDULE_C2S].tag,
                          SCHEDULE_TAG_SIZE);
        count++;
    }
    cr_assert_eq(count, 4);
}

Test(speke, a_tag_holds_only_whole_unaltered_and_in_its_direction)
{
    struct run *run = run_named("p521-basic");
    struct schedule schedule;
    uint8_t tag[SCHEDULE_TAG_SIZE + 1] = { 0 };
    cr_assert_eq(run_server(run, speke_point_bytes(&run->client_share), &schedule),
                 CA_OK);
    memcpy(tag, schedule.side[SCHEDULE_C2S].tag, SCHEDULE_TAG_SIZE);
    struct ca_bytes whole = { tag, SCHEDULE_TAG_SIZE };
    cr_assert(schedule_tag_holds(&schedule, SCHEDULE_C2S, whole));
    cr_assert(!schedule_tag_holds(&schedule, SCHEDULE_S2C, whole), "reflected");
    for (size_t size = 0; size <= sizeof tag; size++) {
        if (size != SCHEDULE_TAG_SIZE)
            cr_assert(!schedule_tag_holds(&schedule, SCHEDULE_C2S,
                                          (struct ca_bytes){ tag, size }));
    }
    for (size_t bit = 0; bit < 8 * SCHEDULE_TAG_SIZE; bit++) {
        tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert(!schedule_tag_holds(&schedule, SCHEDULE_C2S, whole));
        tag[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

Test(speke, the_servers_tag_sent_back_does_not_hold)
{
    static struct octets tag;
    size_t i, count = 0;
    json_t *test;
    NEGATIVE_EACH(i, test, "ts")
    {
        struct run *run = run_named(vector_text(test, "base"));
        struct schedule schedule;
        vector_get(test, "ts", &tag);
        cr_assert_eq(run_server(run, speke_point_bytes(&run->client_share), &schedule),
                     CA_OK);
        cr_assert(!schedule_tag_holds(&schedule, SCHEDULE_S2C, octets_bytes(&tag)));
        count++;
    }
    cr_assert_eq(count, 1);
}

/* The boxes of `kind` are refused; the base case's own one opens. */
static void
expect_bad_boxes(const char *kind, enum schedule_direction direction, size_t wanted)
{
    static struct octets box, good, aad;
    static uint8_t plain[VECTOR_MAX];
    size_t i, size, count = 0;
    json_t *test;
    NEGATIVE_EACH(i, test, kind)
    {
        struct run *run = run_named(vector_text(test, "base"));
        struct schedule schedule;
        cr_assert_eq(run_server(run, speke_point_bytes(&run->client_share), &schedule),
                     CA_OK);
        vector_get(run->values, direction == SCHEDULE_C2S ? "tc" : "box_c2s", &aad);
        const uint8_t *tag = aad.data + aad.size - BOX_TAG_SIZE;
        vector_get(run->values, kind, &good);
        cr_assert_eq(
            box_open(&schedule, direction, tag, octets_bytes(&good), plain, &size),
            CA_OK);
        vector_get(test, "box", &box);
        cr_assert_eq(
            box_open(&schedule, direction, tag, octets_bytes(&box), plain, &size),
            CA_UNAUTHENTICATED, "%s", vector_text(test, "name"));
        count++;
    }
    cr_assert_eq(count, wanted);
}

Test(speke, bad_boxes_of_a_client_are_refused)
{
    expect_bad_boxes("box_c2s", SCHEDULE_C2S, 7);
    LEAK_CHECK();
}

Test(speke, bad_boxes_of_a_server_are_refused)
{
    expect_bad_boxes("box_s2c", SCHEDULE_S2C, 2);
}

Test(speke, only_the_two_suites_exist)
{
    cr_assert_eq(speke_suite_find("ecspeke-p521"), &speke_p521);
    cr_assert_eq(speke_suite_find("ecspeke-p256"), &speke_p256);
    static const char *const others[] = { "",     "ecspeke-p384",  "ecspeke-p52",
                                          "p521", "ecspeke-p5211", "ECSPEKE-P521" };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        cr_assert_null(speke_suite_find(others[i]));
}

Test(speke, drawn_scalars_differ_and_make_shares_that_agree)
{
    struct run *run = run_named("p521-basic");
    struct speke_scalar a, b;
    struct speke_point share_a, share_b;
    uint8_t secret_a[SPEKE_ELEMENT_MAX], secret_b[SPEKE_ELEMENT_MAX];
    cr_assert_eq(speke_scalar_draw(run->suite, &a), CA_OK);
    cr_assert_eq(speke_scalar_draw(run->suite, &b), CA_OK);
    cr_assert_neq(memcmp(&a, &b, sizeof a), 0);
    cr_assert_eq(speke_share(run->suite, &run->generator, &a, &share_a), CA_OK);
    cr_assert_eq(speke_share(run->suite, &run->generator, &b, &share_b), CA_OK);
    cr_assert_eq(
        speke_secret(run->suite, &a, &share_a, speke_point_bytes(&share_b), secret_a),
        CA_OK);
    cr_assert_eq(
        speke_secret(run->suite, &b, &share_b, speke_point_bytes(&share_a), secret_b),
        CA_OK);
    cr_assert_arr_eq(secret_a, secret_b, sizeof secret_a);
    LEAK_CHECK();
}

Test(speke, a_transcript_that_does_not_fit_gives_no_keys)
{
    struct run *run = run_named("p521-basic");
    static char long_name[LV_ROOM + 1];
    struct schedule schedule = { 0 }, untouched = { 0 };
    memset(long_name, 'x', LV_ROOM);
    transcript_identities(&run->transcript, long_name, "a", "");
    cr_assert(!transcript_is_whole(&run->transcript));
    cr_assert_eq(run_server(run, speke_point_bytes(&run->client_share), &schedule),
                 CA_LIMIT);
    cr_assert_arr_eq(&schedule, &untouched, sizeof schedule);
}
