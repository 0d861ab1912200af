/* One-time secrets: bound, counted, claimed once. */
#include "challenge.h"
#include "clock.h"
#include "device.h"
#include "leak.h"
#include "scratch_records.h"

#define NOW 1795341600

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    user_make(tx, "bob");
    profiles_make(tx, "default");
    profiles_make(tx, "other");
    CR_OK(scratch_end(CA_OK));
}

TestSuite(challenge, .init = set_up, .fini = scratch_store_close);

static enum ca_status
make(struct store_tx *tx, const char *body, char ret_id[17],
     char ret_text[CHALLENGE_TEXT_SIZE])
{
    struct challenge challenge = { 0 };
    record_from(challenge_fields, body, &challenge);
    enum ca_status status = challenge_insert(tx, &challenge, ret_text);
    if (status == CA_OK)
        snprintf(ret_id, 17, "%s", challenge.id);
    challenge_clear(&challenge);
    return status;
}

static const char plain[] = "{\"user\": \"alice\", \"profile\": \"default\"}";

static enum ca_status
verify(struct store_tx *tx, const char *text, const char *profile)
{
    struct challenge challenge = { 0 };
    enum ca_status status =
        challenge_verify(tx, text, strlen(text), profile, &challenge, NULL);
    challenge_clear(&challenge);
    return status;
}

static int
state_of(struct store_tx *tx, const char *id)
{
    struct challenge challenge = { 0 };
    CR_OK(challenge_load(tx, id, &challenge));
    int state = challenge.state;
    challenge_clear(&challenge);
    return state;
}

static enum ca_status
no_randomness(void *octets, size_t size)
{
    (void)octets;
    (void)size;
    return CA_INTERNAL;
}

Test(challenge, A3_secret_has_128_bits_and_is_stored_hashed)
{
    struct store_tx *tx = scratch_begin();
    char id[17], text[CHALLENGE_TEXT_SIZE], again[CHALLENGE_TEXT_SIZE];
    CR_OK(make(tx, plain, id, text));
    cr_assert_eq(strlen(text), 48);
    cr_assert_eq(strspn(text, "0123456789ABCDEF"), 48);
    cr_assert(strncasecmp(text, id, 16) == 0);
    char other[17];
    CR_OK(make(tx, plain, other, again));
    cr_assert_str_neq(text + 16, again + 16);
    CR_OK(verify(tx, text, "default"));
    random_set(no_randomness);
    char unset[CHALLENGE_TEXT_SIZE] = "unset";
    CR_STATUS(make(tx, plain, other, unset), CA_INTERNAL);
    random_set(NULL);
    cr_assert_str_eq(unset, "unset");
    CR_OK(scratch_end(CA_OK));
    /* Neither the text nor its octets are in any column. */
    char sql[256];
    snprintf(sql, sizeof sql,
             "SELECT COUNT(*) FROM challenge WHERE secret_sha256 = x'%s' OR "
             "upper(hex(secret_sha256)) = '%s' OR instr(upper(san || id), '%s') > 0",
             text + 16, text + 16, text + 16);
    cr_assert_eq(scratch_integer(sql), 0);
    cr_assert_eq(scratch_integer("SELECT MIN(length(secret_sha256)) FROM challenge"),
                 32);
    LEAK_CHECK();
}

Test(challenge, A3_refusals_are_one_status_and_only_messages_differ)
{
    struct store_tx *tx = scratch_begin();
    char id[17], text[CHALLENGE_TEXT_SIZE], changed[CHALLENGE_TEXT_SIZE + 1];
    CR_OK(make(tx, plain, id, text));
    CR_STATUS(verify(tx, "", "default"), CA_UNAUTHENTICATED);
    CR_STATUS(verify(tx, id, "default"), CA_UNAUTHENTICATED);
    snprintf(changed, sizeof changed, "%s", text);
    changed[47] = '\0';
    CR_STATUS(verify(tx, changed, "default"), CA_UNAUTHENTICATED);
    snprintf(changed, sizeof changed, "%s0", text);
    CR_STATUS(verify(tx, changed, "default"), CA_UNAUTHENTICATED);
    for (size_t i = 0; i < 48; i++) {
        memcpy(changed, text, sizeof text);
        changed[i] = text[i] == '0' ? '1' : '0';
        CR_STATUS(verify(tx, changed, "default"), CA_UNAUTHENTICATED);
    }
    for (size_t i = 0; i < 48; i++)
        changed[i] = (char)(text[i] >= 'A' ? text[i] - 'A' + 'a' : text[i]);
    if (strcmp(changed, text) != 0)
        CR_STATUS(verify(tx, changed, "default"), CA_UNAUTHENTICATED);
    CR_STATUS(verify(tx, text, "other"), CA_UNAUTHENTICATED);
    /* NUL and a tail, in and behind the length */
    struct challenge challenge = { 0 };
    memcpy(changed, text, sizeof text);
    changed[20] = '\0';
    CR_STATUS(challenge_verify(tx, changed, 48, "default", &challenge, NULL),
              CA_UNAUTHENTICATED);
    memcpy(changed, text, sizeof text);
    CR_STATUS(challenge_verify(tx, changed, 49, "default", &challenge, NULL),
              CA_UNAUTHENTICATED);
    CR_OK(verify(tx, text, "default"));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(challenge, A3_expires_to_the_second)
{
    struct store_tx *tx = scratch_begin();
    char id[17], text[CHALLENGE_TEXT_SIZE];
    CR_OK(make(tx,
               "{\"user\": \"alice\", \"profile\": \"default\", \"expires_in\": "
               "\"PT1M\"}",
               id, text));
    clock_set(NOW + 59);
    CR_OK(verify(tx, text, "default"));
    clock_set(NOW + 60);
    CR_STATUS(verify(tx, text, "default"), CA_UNAUTHENTICATED);
    CR_STATUS(challenge_claim(tx, id, "aa"), CA_CONFLICT);
    cr_assert_eq(state_of(tx, id), CHALLENGE_EXPIRED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(challenge, A3_five_wrong_tries_lock_it)
{
    struct store_tx *tx = scratch_begin();
    char id[17], text[CHALLENGE_TEXT_SIZE], wrong[CHALLENGE_TEXT_SIZE], said[17];
    struct challenge challenge = { 0 };
    CR_OK(make(tx, plain, id, text));
    memcpy(wrong, text, sizeof text);
    wrong[40] = text[40] == '0' ? '1' : '0';
    for (int i = 0; i < CHALLENGE_TRIES; i++) {
        cr_assert_eq(state_of(tx, id), CHALLENGE_OPEN);
        CR_STATUS(challenge_verify(tx, wrong, 48, "default", &challenge, said),
                  CA_UNAUTHENTICATED);
        cr_assert_str_eq(said, id);
        CR_OK(challenge_count_try(tx, said));
    }
    cr_assert_eq(state_of(tx, id), CHALLENGE_LOCKED);
    CR_STATUS(verify(tx, text, "default"), CA_UNAUTHENTICATED);
    CR_STATUS(challenge_claim(tx, id, "aa"), CA_CONFLICT);
    /* An id that nobody has is not counted anywhere. */
    wrong[0] = text[0] == '0' ? '1' : '0';
    CR_STATUS(challenge_verify(tx, wrong, 48, "default", &challenge, said),
              CA_UNAUTHENTICATED);
    cr_assert_str_eq(said, "");
    CR_OK(challenge_count_try(tx, "0000000000000000"));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(challenge, A3_is_bound_to_user_profile_device_and_names)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 };
    struct challenge challenge = { 0 };
    char id[17], text[CHALLENGE_TEXT_SIZE], body[512];
    record_from(device_fields, "{\"owner\": \"alice\"}", &device);
    CR_OK(device_insert(tx, &device));
    snprintf(body, sizeof body,
             "{\"user\": \"alice\", \"profile\": \"default\", \"device\": \"%s\", "
             "\"subject\": \"CN=r7\", \"san\": [\"dns:r7.example.com\"]}",
             device.id);
    CR_OK(make(tx, body, id, text));
    CR_OK(challenge_verify(tx, text, 48, "default", &challenge, NULL));
    cr_assert_str_eq(challenge.id, id);
    cr_assert_str_eq(challenge.user, "alice");
    cr_assert_str_eq(challenge.profile, "default");
    cr_assert_str_eq(challenge.device, device.id);
    cr_assert_str_eq(challenge.subject, "CN=r7");
    cr_assert_eq(challenge.san.count, 1);
    cr_assert_str_eq(((char **)challenge.san.items)[0], "dns:r7.example.com");
    cr_assert_eq(challenge.expires, NOW + 86400);
    challenge_clear(&challenge);

    snprintf(body, sizeof body,
             "{\"user\": \"bob\", \"profile\": \"default\", \"device\": \"%s\"}",
             device.id);
    CR_STATUS(make(tx, body, id, text), CA_FORBIDDEN);
    memcpy(strstr(body, "bob"), "eve", 3);
    CR_STATUS(make(tx, body, id, text), CA_NOT_FOUND);
    snprintf(body, sizeof body,
             "{\"user\": \"alice\", \"profile\": \"default\", \"device\": \"%s\"}",
             device.id);
    device.state = DEVICE_DISABLED;
    CR_OK(device_update(tx, &device));
    CR_STATUS(make(tx, body, id, text), CA_FORBIDDEN);
    device_clear(&device);
    CR_STATUS(make(tx, "{\"user\": \"alice\", \"profile\": \"none\"}", id, text),
              CA_NOT_FOUND);
    CR_STATUS(make(tx,
                   "{\"user\": \"alice\", \"profile\": \"default\", "
                   "\"device\": \"none\"}",
                   id, text),
              CA_NOT_FOUND);
    struct user user = { 0 };
    CR_OK(user_load(tx, "alice", &user));
    user.state = USER_DISABLED;
    CR_OK(user_update(tx, &user));
    user_clear(&user);
    CR_STATUS(make(tx, plain, id, text), CA_FORBIDDEN);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(challenge, goes_from_open_over_claimed_to_used)
{
    struct store_tx *tx = scratch_begin();
    char id[17], text[CHALLENGE_TEXT_SIZE];
    CR_OK(make(tx, plain, id, text));
    CR_STATUS(challenge_finish(tx, id, "aa"), CA_CONFLICT);
    CR_OK(challenge_claim(tx, id, "aa"));
    CR_STATUS(challenge_claim(tx, id, "bb"), CA_CONFLICT);
    CR_STATUS(challenge_withdraw(tx, id), CA_CONFLICT);
    CR_STATUS(verify(tx, text, "default"), CA_UNAUTHENTICATED);
    CR_STATUS(challenge_finish(tx, id, "bb"), CA_CONFLICT);
    CR_STATUS(challenge_release(tx, id, "bb"), CA_CONFLICT);
    CR_OK(challenge_release(tx, id, "aa"));
    CR_OK(verify(tx, text, "default"));
    CR_OK(challenge_claim(tx, id, "request"));
    clock_set(NOW + 2 * 86400);
    CR_STATUS(challenge_hand_over(tx, id, "bb", "cc"), CA_CONFLICT);
    CR_OK(challenge_hand_over(tx, id, "request", "cc"));
    CR_OK(challenge_finish(tx, id, "cc"));
    CR_STATUS(challenge_release(tx, id, "cc"), CA_CONFLICT);
    cr_assert_eq(state_of(tx, id), CHALLENGE_USED);
    struct challenge challenge = { 0 };
    CR_OK(challenge_load(tx, id, &challenge));
    cr_assert_str_eq(challenge.serial, "cc");
    challenge_clear(&challenge);
    CR_STATUS(challenge_load(tx, "none", &challenge), CA_NOT_FOUND);
    CR_STATUS(challenge_withdraw(tx, "none"), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(challenge, list_shows_states_and_no_secret)
{
    struct store_tx *tx = scratch_begin();
    char ids[4][17], text[CHALLENGE_TEXT_SIZE];
    struct record_page page = { NULL, 100 };
    static const struct {
        const char *user, *state;
        int count;
    } cases[] = {
        { NULL, NULL, 4 },         { "alice", NULL, 3 },     { "bob", NULL, 1 },
        { NULL, "open", 1 },       { NULL, "withdrawn", 1 }, { NULL, "expired", 1 },
        { "alice", "claimed", 1 }, { "carol", NULL, 0 },
    };
    CR_OK(make(tx, plain, ids[0], text));
    CR_OK(make(tx,
               "{\"user\": \"alice\", \"profile\": \"default\", \"expires_in\": "
               "\"PT1S\"}",
               ids[1], text));
    CR_OK(make(tx, plain, ids[2], text));
    CR_OK(make(tx, "{\"user\": \"bob\", \"profile\": \"other\"}", ids[3], text));
    CR_OK(challenge_claim(tx, ids[2], "aa"));
    CR_OK(challenge_withdraw(tx, ids[3]));
    clock_set(NOW + 1);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gathered gathered = { 0 };
        CR_OK(challenge_list(tx, cases[i].user, cases[i].state, &page, gather_key,
                             &gathered));
        cr_expect_eq(gathered.size, (size_t)cases[i].count * 17, "case %zu: %s", i,
                     gathered.text);
    }
    CR_STATUS(challenge_list(tx, NULL, "lost", &page, gather_key, NULL), CA_MALFORMED);
    struct challenge challenge = { 0 };
    CR_OK(challenge_load(tx, ids[0], &challenge));
    CA_AUTO(json_decref) json_t *json = field_encode(challenge_fields, &challenge);
    cr_assert_null(json_object_get(json, "expires_in"));
    cr_assert_null(json_object_get(json, "challenge"));
    challenge_clear(&challenge);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

struct claim {
    const char *id;
    char serial[8];
    pthread_t thread;
    enum ca_status status;
};

static enum ca_status
claim_closure(struct store_tx *tx, void *arg)
{
    const struct claim *claim = arg;
    return challenge_claim(tx, claim->id, claim->serial);
}

static void *
claim_thread(void *arg)
{
    struct claim *claim = arg;
    claim->status = store_write(scratch_store, claim_closure, claim);
    return NULL;
}

Test(challenge, S4_of_parallel_claims_exactly_one_passes)
{
    char id[17], text[CHALLENGE_TEXT_SIZE];
    struct claim claims[16];
    for (int round = 0; round < 10; round++) {
        int passed = 0, winner = 0;
        struct store_tx *tx = scratch_begin();
        CR_OK(make(tx, plain, id, text));
        CR_OK(scratch_end(CA_OK));
        for (int i = 0; i < 16; i++) {
            claims[i] = (struct claim){ .id = id };
            snprintf(claims[i].serial, sizeof claims[i].serial, "%02x", i);
            cr_assert_eq(
                pthread_create(&claims[i].thread, NULL, claim_thread, &claims[i]), 0);
        }
        for (int i = 0; i < 16; i++) {
            pthread_join(claims[i].thread, NULL);
            cr_expect(claims[i].status == CA_OK || claims[i].status == CA_CONFLICT);
            passed += claims[i].status == CA_OK;
            winner = claims[i].status == CA_OK ? i : winner;
        }
        cr_assert_eq(passed, 1);
        tx = scratch_begin();
        CR_OK(challenge_finish(tx, id, claims[winner].serial));
        CR_OK(scratch_end(CA_OK));
    }
    LEAK_CHECK();
}

Test(challenge, members_are_checked)
{
    static const struct {
        const char *body, *pointer;
    } cases[] = {
        { "{\"profile\": \"a\"}", "/user" },
        { "{\"user\": \"a\"}", "/profile" },
        { "{\"user\": \"a\", \"profile\": \"b\", \"san\": [\"r7.example.com\"]}",
          "/san" },
        { "{\"user\": \"a\", \"profile\": \"b\", \"san\": [\"upn:r7@example.com\"]}",
          "/san" },
        { "{\"user\": \"a\", \"profile\": \"b\", \"san\": [\"dns:\"]}", "/san" },
        { "{\"user\": \"a\", \"profile\": \"b\", \"expires_in\": \"PT0S\"}",
          "/expires_in" },
        { "{\"user\": \"a\", \"profile\": \"b\", \"expires_in\": \"P91D\"}",
          "/expires_in" },
        { "{\"user\": \"a\", \"profile\": \"b\", \"subject\": \"\"}", "/subject" },
        { "{\"user\": \"a\", \"profile\": \"b\", \"state\": \"open\"}", "/state" },
        { "{\"user\": \"a\", \"profile\": \"b\", \"id\": \"0011223344556677\"}",
          "/id" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct challenge challenge = { 0 };
        struct field_errors errors = { 0 };
        CA_AUTO(json_decref) json_t *body = json_loads(cases[i].body, 0, NULL);
        cr_assert_not_null(body);
        cr_expect_eq(field_decode(challenge_fields, body, &challenge, &errors),
                     CA_MALFORMED, "%s", cases[i].body);
        cr_expect_str_eq(errors.items[0].pointer, cases[i].pointer, "%s",
                         cases[i].body);
    }
    LEAK_CHECK();
}
