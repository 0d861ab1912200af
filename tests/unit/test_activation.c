/* Activation passwords: counted, shared by their login names, ended in every way. */
#include "activation.h"
#include "clock.h"
#include "leak.h"
#include "scratch_records.h"

#define NOW 1795341600
#define DAY 86400

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    user_make(tx, "bob");
    CR_OK(store_run(tx,
                    "INSERT INTO profile (kind, name, settings, created, updated, "
                    "version) VALUES ('activation', 'tablet', '{}', 0, 0, 1)",
                    STORE_NO_VALUES, NULL, NULL, NULL));
    CR_OK(scratch_end(CA_OK));
}

static void
tear_down(void)
{
    random_set(NULL);
    scratch_store_close();
}

TestSuite(activation, .init = set_up, .fini = tear_down);

/* A password of these members, with a verifier for each login name (NULL ends). */
static enum ca_status
make(struct store_tx *tx, const char *body, const char *const *logins,
     char ret_id[ACTIVATION_ID_SIZE])
{
    struct activation activation = { 0 };
    struct activation_verifier verifiers[ACTIVATION_LOGINS_MAX + 1];
    char rows[ACTIVATION_LOGINS_MAX + 1][ACTIVATION_ID_SIZE];
    char ids[ACTIVATION_LOGINS_MAX + 1][64];
    size_t count = 0;
    record_from(activation_fields, body, &activation);
    CR_OK(activation_id_draw(ret_id));
    activation.id = strdup(ret_id);
    for (; logins[count]; count++) {
        CR_OK(activation_id_draw(rows[count]));
        snprintf(ids[count], sizeof ids[count], "%s", logins[count]);
        verifiers[count] = (struct activation_verifier){
            .id = rows[count], .login = ids[count], .kid = rows[0], .blob = { 7 }
        };
    }
    enum ca_status status = activation_insert(tx, &activation, verifiers, count);
    if (status == CA_OK)
        cr_assert_eq(activation.stamp.version, 1);
    activation_clear(&activation);
    return status;
}

static const char *const alice_names[] = { "alice", "alice@example.com", NULL };
static const char *const bob_names[] = { "bob", NULL };
static const char alice[] = "{\"user\": \"alice\"}";
static const char bob[] = "{\"user\": \"bob\"}";

static struct activation
look(struct store_tx *tx, const char *id)
{
    struct activation activation = { 0 };
    CR_OK(activation_load(tx, id, &activation));
    struct activation figures = activation;
    figures.id = figures.user = figures.ref = NULL;
    figures.profile = figures.created_by = NULL;
    activation_clear(&activation);
    return figures;
}

/* Is there a live password for this name, and which? */
static bool
finds(struct store_tx *tx, const char *login, const char *ref, const char *id)
{
    struct activation_verifier verifier = { 0 };
    enum ca_status status = activation_find(tx, login, ref, &verifier);
    cr_assert(status == CA_OK || status == CA_NOT_FOUND);
    if (status != CA_OK)
        return false;
    cr_assert_str_eq(verifier.activation, id);
    cr_assert_str_eq(verifier.login, login);
    cr_assert_str_eq(verifier.ref, ref);
    cr_assert_eq(verifier.blob[0], 7);
    activation_verifier_clear(&verifier);
    return true;
}

static bool
attempts(struct store_tx *tx, const char *id)
{
    bool is_live;
    CR_OK(activation_attempt(tx, id, &is_live));
    return is_live;
}

static int64_t
verifiers_of(struct store_tx *tx, const char *id)
{
    int64_t rows = 0;
    CR_OK(store_run(tx, "SELECT 1 FROM activation_verifier WHERE activation = $1",
                    STORE_VALUES(store_text(id)), NULL, NULL, &rows));
    return rows;
}

Test(activation, a_password_is_found_by_each_login_name_and_its_reference)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE], tablet[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    CR_OK(make(tx, "{\"user\": \"alice\", \"ref\": \"tab-2\", \"profile\": \"tablet\"}",
               alice_names, tablet));
    cr_assert(finds(tx, "alice", "", id));
    cr_assert(finds(tx, "alice@example.com", "", id));
    cr_assert(finds(tx, "alice", "tab-2", tablet));
    cr_assert(!finds(tx, "alice", "tab-3", NULL));
    cr_assert(!finds(tx, "bob", "", NULL));
    struct activation made = look(tx, id);
    cr_assert_eq(made.state, ACTIVATION_OPEN);
    cr_assert_eq(made.tries, 5);
    cr_assert_eq(made.devices, 1);
    cr_assert_eq(made.expires, NOW + 2 * DAY);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(activation, nothing_is_made_for_unknown_or_disabled_users_and_unknown_profiles)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    static const char *const none[] = { NULL };
    static const char *const five[] = { "a", "b", "c", "d", "e", NULL };
    CR_STATUS(make(tx, "{\"user\": \"carol\"}", bob_names, id), CA_NOT_FOUND);
    CR_STATUS(make(tx, "{\"user\": \"bob\", \"profile\": \"phone\"}", bob_names, id),
              CA_NOT_FOUND);
    CR_STATUS(make(tx, bob, none, id), CA_LIMIT);
    CR_STATUS(make(tx, bob, five, id), CA_LIMIT);
    CR_OK(store_run(tx, "UPDATE users SET state = 1 WHERE name = 'bob'",
                    STORE_NO_VALUES, NULL, NULL, NULL));
    CR_STATUS(make(tx, bob, bob_names, id), CA_FORBIDDEN);
    CR_OK(scratch_end(CA_OK));
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM activation"), 0);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM activation_verifier"), 0);
    LEAK_CHECK();
}

Test(activation, members_out_of_range_are_refused)
{
    static const char *const bad[] = {
        "{\"user\": \"alice\", \"expires_in\": \"PT59S\"}",
        "{\"user\": \"alice\", \"expires_in\": \"P31D\"}",
        "{\"user\": \"alice\", \"devices\": 0}",
        "{\"user\": \"alice\", \"ref\": \"a b\"}",
        "{\"user\": \"alice\", \"ref\": \"012345678901234567890123456789012\"}",
        "{\"user\": \"alice\", \"tries\": 9}",
        "{\"user\": \"alice\", \"lockout\": \"none\"}",
        "{\"ref\": \"x\"}",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CA_AUTO(json_decref) json_t *json = json_loads(bad[i], 0, NULL);
        struct activation activation = { 0 };
        CR_STATUS(field_decode(activation_fields, json, &activation, NULL),
                  CA_MALFORMED);
    }
    LEAK_CHECK();
}

Test(activation, a_new_password_kills_the_previous_one_of_its_reference)
{
    struct store_tx *tx = scratch_begin();
    char first[ACTIVATION_ID_SIZE], other[ACTIVATION_ID_SIZE];
    char second[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, first));
    CR_OK(make(tx, "{\"user\": \"alice\", \"ref\": \"x\"}", alice_names, other));
    CR_OK(make(tx, alice, alice_names, second));
    cr_assert_eq(look(tx, first).state, ACTIVATION_WITHDRAWN);
    cr_assert_eq(verifiers_of(tx, first), 0);
    cr_assert(!attempts(tx, first));
    cr_assert(finds(tx, "alice", "", second));
    cr_assert(finds(tx, "alice", "x", other));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(activation, A2_a_login_name_never_leads_to_another_user)
{
    static const char *const shared[] = { "alice@example.com", NULL };
    char id[ACTIVATION_ID_SIZE], other[ACTIVATION_ID_SIZE];
    struct store_tx *tx = scratch_begin();
    CR_OK(make(tx, alice, alice_names, id));
    CR_OK(scratch_end(CA_OK));
    tx = scratch_begin();
    CR_STATUS(make(tx, bob, shared, other), CA_CONFLICT);
    scratch_end(CA_CONFLICT);
    /* Once the other's is dead, the name is free. */
    clock_set(NOW + 2 * DAY);
    tx = scratch_begin();
    CR_OK(make(tx, bob, shared, other));
    cr_assert(finds(tx, "alice@example.com", "", other));
    cr_assert_eq(verifiers_of(tx, id), 1, "alice's other name");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(activation, A3_five_tries_by_any_of_its_names_lock_it)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    for (int i = 0; i < ACTIVATION_TRIES; i++) {
        cr_assert(finds(tx, i % 2 ? "alice" : "alice@example.com", "", id));
        cr_assert(attempts(tx, id));
    }
    cr_assert(!finds(tx, "alice", "", NULL));
    cr_assert(!finds(tx, "alice@example.com", "", NULL));
    cr_assert(!attempts(tx, id));
    cr_assert_eq(look(tx, id).state, ACTIVATION_LOCKED);
    cr_assert_eq(look(tx, id).tries, 0);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(activation, the_fifth_try_may_be_the_right_one)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    for (int i = 0; i < ACTIVATION_TRIES; i++)
        cr_assert(attempts(tx, id));
    CR_OK(activation_refuse(tx, id));
    cr_assert_eq(look(tx, id).tries, 5);
    cr_assert_eq(look(tx, id).refusals, 1);
    cr_assert(finds(tx, "alice", "", id));
    CR_OK(scratch_end(CA_OK));
}

Test(activation, the_tenth_refused_request_ends_it)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    for (int i = 0; i < ACTIVATION_REFUSALS; i++) {
        cr_assert(attempts(tx, id));
        CR_OK(activation_refuse(tx, id));
    }
    cr_assert_eq(look(tx, id).state, ACTIVATION_REFUSED);
    cr_assert_eq(verifiers_of(tx, id), 0);
    cr_assert(!attempts(tx, id));
    CR_STATUS(activation_refuse(tx, id), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
}

Test(activation, soft_lockout_waits_twice_as_long_each_time)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    int64_t now = NOW;
    CR_OK(make(tx,
               "{\"user\": \"alice\", \"lockout\": \"soft\", \"expires_in\": \"P30D\"}",
               alice_names, id));
    for (int i = 0; i < 15; i++) {
        int64_t delay = (int64_t)2 << (i < 12 ? i : 12);
        cr_assert(attempts(tx, id), "%d", i);
        cr_assert_eq(look(tx, id).next_try, now + delay);
        clock_set(now + delay - 1);
        cr_assert(!attempts(tx, id));
        cr_assert(!finds(tx, "alice", "", NULL));
        now += delay;
        clock_set(now);
        cr_assert(finds(tx, "alice", "", id));
    }
    cr_assert_eq(look(tx, id).tries, 5);
    cr_assert_eq(look(tx, id).failures, 15);
    cr_assert(attempts(tx, id));
    CR_OK(activation_refuse(tx, id));
    cr_assert_eq(look(tx, id).failures, 0);
    cr_assert(finds(tx, "alice", "", id), "no delay once it was right");
    CR_OK(scratch_end(CA_OK));
}

Test(activation, A3_expires_to_the_second)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    int64_t count;
    CR_OK(make(tx, "{\"user\": \"alice\", \"expires_in\": \"PT1M\"}", alice_names, id));
    clock_set(NOW + 59);
    cr_assert(attempts(tx, id));
    CR_OK(activation_purge(tx, &count));
    cr_assert_eq(count, 0);
    clock_set(NOW + 60);
    cr_assert(!attempts(tx, id));
    cr_assert(!finds(tx, "alice", "", NULL));
    cr_assert_eq(look(tx, id).state, ACTIVATION_EXPIRED);
    CR_OK(activation_purge(tx, &count));
    cr_assert_eq(count, 2);
    CR_OK(scratch_end(CA_OK));
}

Test(activation, A5_a_user_disabled_after_hello_has_no_try)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    cr_assert(finds(tx, "alice", "", id));
    CR_OK(store_run(tx, "UPDATE users SET state = 1 WHERE name = 'alice'",
                    STORE_NO_VALUES, NULL, NULL, NULL));
    cr_assert(!attempts(tx, id));
    cr_assert_eq(look(tx, id).tries, 5);
    CR_OK(scratch_end(CA_OK));
}

Test(activation, an_id_of_nothing_runs_the_same_and_takes_nothing)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    cr_assert(!attempts(tx, ""));
    cr_assert_eq(look(tx, id).tries, 5);
    CR_OK(scratch_end(CA_OK));
}

Test(activation, S4_a_single_use_password_gives_one_device)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    cr_assert(attempts(tx, id) && attempts(tx, id), "two that have said hello");
    CR_OK(activation_take(tx, id));
    CR_STATUS(activation_take(tx, id), CA_CONFLICT);
    cr_assert(!finds(tx, "alice", "", NULL), "not while the token signs");
    CR_OK(activation_finish(tx, id));
    cr_assert_eq(look(tx, id).state, ACTIVATION_USED);
    cr_assert_eq(look(tx, id).used, NOW);
    cr_assert_eq(verifiers_of(tx, id), 0);
    CR_STATUS(activation_finish(tx, id), CA_CONFLICT);
    CR_STATUS(activation_release(tx, id), CA_CONFLICT);
    CR_STATUS(activation_take(tx, id), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(activation, a_reservation_given_up_gives_device_and_try_back)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    for (int i = 0; i < 3; i++)
        cr_assert(attempts(tx, id));
    CR_OK(activation_take(tx, id));
    CR_OK(activation_release(tx, id));
    cr_assert_eq(look(tx, id).devices, 1);
    cr_assert_eq(look(tx, id).tries, 3, "the one try, not those of others");
    cr_assert(finds(tx, "alice", "", id));
    CR_OK(scratch_end(CA_OK));
}

Test(activation, of_two_devices_in_the_making_one_may_fail_after_the_other)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, "{\"user\": \"alice\", \"devices\": 2}", alice_names, id));
    cr_assert(attempts(tx, id) && attempts(tx, id));
    CR_OK(activation_take(tx, id));
    CR_OK(activation_take(tx, id));
    CR_OK(activation_finish(tx, id));
    cr_assert_eq(look(tx, id).state, ACTIVATION_OPEN);
    CR_OK(activation_release(tx, id));
    cr_assert_eq(look(tx, id).devices, 1);
    cr_assert_eq(look(tx, id).tries, 5);
    cr_assert(finds(tx, "alice", "", id));
    CR_OK(scratch_end(CA_OK));
}

Test(activation, withdrawn_while_the_token_signs_it_stays_withdrawn)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    cr_assert(attempts(tx, id));
    CR_OK(activation_take(tx, id));
    CR_OK(activation_withdraw(tx, id));
    cr_assert_eq(verifiers_of(tx, id), 0);
    CR_OK(activation_finish(tx, id));
    cr_assert_eq(look(tx, id).state, ACTIVATION_WITHDRAWN);
    cr_assert_eq(look(tx, id).used, NOW);
    CR_STATUS(activation_withdraw(tx, id), CA_CONFLICT);
    CR_STATUS(activation_withdraw(tx, "0000000000000000"), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
}

Test(activation, a_user_made_anew_has_none_of_the_old_passwords)
{
    struct store_tx *tx = scratch_begin();
    char id[ACTIVATION_ID_SIZE];
    CR_OK(make(tx, alice, alice_names, id));
    CR_OK(user_delete(tx, "alice", 1));
    user_make(tx, "alice");
    cr_assert(!finds(tx, "alice", "", NULL));
    cr_assert(!attempts(tx, id));
    cr_assert_eq(verifiers_of(tx, id), 0);
    CR_OK(scratch_end(CA_OK));
}

static void
expect_list(struct store_tx *tx, const char *user, const char *state,
            const char *wanted)
{
    struct gathered gathered = { .size = 0 };
    CR_OK(activation_list(tx, user, state, &(struct record_page){ NULL, 0 }, gather_key,
                          &gathered));
    cr_assert_str_eq(gathered.text, wanted, "%s: '%s'", state ? state : "all",
                     gathered.text);
}

Test(activation, lists_show_states_as_they_are_now)
{
    struct store_tx *tx = scratch_begin();
    char open[ACTIVATION_ID_SIZE], locked[ACTIVATION_ID_SIZE], old[ACTIVATION_ID_SIZE];
    char wanted[64];
    CR_OK(make(tx, alice, alice_names, open));
    CR_OK(make(tx, bob, bob_names, locked));
    CR_OK(make(tx, "{\"user\": \"bob\", \"ref\": \"x\", \"expires_in\": \"PT1M\"}",
               bob_names, old));
    for (int i = 0; i < ACTIVATION_TRIES; i++)
        cr_assert(attempts(tx, locked));
    clock_set(NOW + 60);
    snprintf(wanted, sizeof wanted, "%s ", open);
    expect_list(tx, NULL, "open", wanted);
    expect_list(tx, "alice", NULL, wanted);
    snprintf(wanted, sizeof wanted, "%s ", locked);
    expect_list(tx, NULL, "locked", wanted);
    snprintf(wanted, sizeof wanted, "%s ", old);
    expect_list(tx, "bob", "expired", wanted);
    expect_list(tx, NULL, "used", "");
    CR_STATUS(activation_list(tx, NULL, "new", &(struct record_page){ NULL, 0 },
                              gather_key, NULL),
              CA_MALFORMED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

static enum ca_status
no_randomness(void *octets, size_t size)
{
    (void)octets;
    (void)size;
    return CA_INTERNAL;
}

Test(activation, without_randomness_there_is_no_id)
{
    char id[ACTIVATION_ID_SIZE] = "unset";
    random_set(no_randomness);
    cr_assert_eq(activation_id_draw(id), CA_INTERNAL);
    cr_assert_str_eq(id, "unset");
}
