/* Short-lived state and leases. */
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "scratch_store.h"
#include "state.h"
#include <criterion/criterion.h>
#include <pthread.h>

#define NOW 1795341600

static void
state_start(void)
{
    scratch_store_open();
    clock_set(NOW);
}

TestSuite(state, .init = state_start, .fini = scratch_store_close);

enum verb { PUT, ADD, GET, TAKE, REMOVE, SWAP, EXPIRE };

struct call {
    enum verb verb;
    const char *space, *key, *value;
    int64_t expires, version;
    char *found;
    size_t found_size;
};

static enum ca_status
call_closure(struct store_tx *tx, void *arg)
{
    struct call *call = arg;
    size_t size = call->value ? strlen(call->value) : 0;
    void *found = NULL;
    enum ca_status status = CA_INTERNAL;
    switch (call->verb) {
    case PUT:
        return state_put(tx, call->space, call->key, call->value, size, call->expires);
    case ADD:
        return state_add(tx, call->space, call->key, call->value, size, call->expires);
    case SWAP:
        return state_swap(tx, call->space, call->key, call->version, call->value, size,
                          call->expires);
    case REMOVE: return state_remove(tx, call->space, call->key);
    case EXPIRE: return state_expire(tx, call->expires, call->version, &call->version);
    case GET:
        status = state_get(tx, call->space, call->key, &found, &call->found_size,
                           &call->version);
        break;
    case TAKE:
        status = state_take(tx, call->space, call->key, &found, &call->found_size);
        break;
    }
    free(call->found); /* of a first run: a closure may run twice */
    call->found = found;
    return status;
}

static enum ca_status
run(struct call *call)
{
    call->found = NULL;
    return store_write(scratch_store, call_closure, call);
}

static enum ca_status
put(const char *key, const char *value, int64_t expires)
{
    return run(&(struct call){ PUT, "s", key, value, expires, 0, NULL, 0 });
}

static void
expect_found(enum verb verb, const char *key, const char *value)
{
    struct call call = { .verb = verb, .space = "s", .key = key };
    enum ca_status status = run(&call);
    cr_expect_eq(status, value ? CA_OK : CA_NOT_FOUND, "%s: %s", key, status_message());
    if (value)
        cr_expect(call.found_size == strlen(value) &&
                  memcmp(call.found, value, call.found_size) == 0);
    free(call.found);
}

Test(state, put_replaces_and_take_removes)
{
    cr_assert_eq(put("k", "one", NOW + 10), CA_OK);
    cr_assert_eq(put("k", "two", NOW + 10), CA_OK);
    expect_found(GET, "k", "two");
    expect_found(GET, "k", "two");
    expect_found(TAKE, "k", "two");
    expect_found(TAKE, "k", NULL);
    expect_found(GET, "k", NULL);
    LEAK_CHECK();
}

Test(state, remove_takes_a_live_one_once)
{
    struct call call = { .verb = REMOVE, .space = "s", .key = "k" };
    cr_assert_eq(put("k", "one", NOW + 10), CA_OK);
    cr_assert_eq(put("other", "one", NOW + 10), CA_OK);
    cr_expect_eq(run(&call), CA_OK);
    cr_expect_eq(run(&call), CA_NOT_FOUND);
    expect_found(GET, "other", "one");
    cr_assert_eq(put("k", "one", NOW), CA_OK);
    cr_expect_eq(run(&call), CA_NOT_FOUND, "an expired one is not there");
    LEAK_CHECK();
}

Test(state, empty_value_is_a_value)
{
    cr_assert_eq(put("k", NULL, NOW + 10), CA_OK);
    expect_found(TAKE, "k", "");
    expect_found(TAKE, "k", NULL);
}

Test(state, spaces_are_apart)
{
    cr_assert_eq(put("k", "one", NOW + 10), CA_OK);
    struct call call = { .verb = GET, .space = "other", .key = "k" };
    cr_assert_eq(run(&call), CA_NOT_FOUND);
}

Test(state, expired_value_is_not_there)
{
    cr_assert_eq(put("k", "one", NOW + 10), CA_OK);
    clock_set(NOW + 9);
    expect_found(GET, "k", "one");
    struct call call = { .verb = GET, .space = "s", .key = "k" };
    cr_assert_eq(run(&call), CA_OK);
    free(call.found);
    clock_set(NOW + 10);
    expect_found(GET, "k", NULL);
    expect_found(TAKE, "k", NULL);
    call = (struct call){ SWAP, "s", "k", "x", NOW + 99, call.version, NULL, 0 };
    cr_assert_eq(run(&call), CA_CONFLICT);
    LEAK_CHECK();
}

Test(state, add_refuses_a_live_one_only)
{
    struct call call = { ADD, "s", "nonce", "a", NOW + 10, 0, NULL, 0 };
    cr_assert_eq(run(&call), CA_OK);
    cr_assert_eq(run(&call), CA_CONFLICT);
    clock_set(NOW + 10);
    call.value = "b";
    call.expires = NOW + 20;
    cr_assert_eq(run(&call), CA_OK);
    expect_found(GET, "nonce", "b");
}

Test(state, swap_over_an_old_version_is_a_conflict)
{
    cr_assert_eq(put("k", "one", NOW + 10), CA_OK);
    struct call seen = { .verb = GET, .space = "s", .key = "k" };
    cr_assert_eq(run(&seen), CA_OK);
    free(seen.found);
    struct call swap = { SWAP, "s", "k", "two", NOW + 10, seen.version, NULL, 0 };
    cr_assert_eq(run(&swap), CA_OK);
    cr_assert_eq(run(&swap), CA_CONFLICT);
    expect_found(GET, "k", "two");
}

Test(state, version_read_before_a_take_never_fits_again)
{
    cr_assert_eq(put("k", "one", NOW + 10), CA_OK);
    struct call seen = { .verb = GET, .space = "s", .key = "k" };
    cr_assert_eq(run(&seen), CA_OK);
    free(seen.found);
    expect_found(TAKE, "k", "one");
    cr_assert_eq(put("k", "fresh", NOW + 10), CA_OK);
    struct call swap = { SWAP, "s", "k", "stale", NOW + 10, seen.version, NULL, 0 };
    cr_assert_eq(run(&swap), CA_CONFLICT);
    expect_found(GET, "k", "fresh");
}

Test(state, R8_sizes_are_limited)
{
    char key[STATE_KEY_MAX + 2];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    cr_expect_eq(put(key, "v", NOW + 10), CA_LIMIT);
    cr_expect_eq(put("", "v", NOW + 10), CA_LIMIT);
    key[STATE_KEY_MAX] = '\0';
    cr_expect_eq(put(key, "v", NOW + 10), CA_OK);
    CA_AUTO(free) char *value = malloc(STATE_VALUE_MAX + 2);
    memset(value, 'v', STATE_VALUE_MAX + 1);
    value[STATE_VALUE_MAX + 1] = '\0';
    cr_expect_eq(put("k", value, NOW + 10), CA_LIMIT);
    value[STATE_VALUE_MAX] = '\0';
    cr_expect_eq(put("k", value, NOW + 10), CA_OK);
    LEAK_CHECK();
}

Test(state, expire_removes_the_oldest_up_to_the_limit)
{
    cr_assert_eq(put("c", "3", NOW + 3), CA_OK);
    cr_assert_eq(put("a", "1", NOW + 1), CA_OK);
    cr_assert_eq(put("b", "2", NOW + 2), CA_OK);
    cr_assert_eq(put("d", "4", NOW + 99), CA_OK);
    struct call call = { EXPIRE, NULL, NULL, NULL, NOW + 3, 2, NULL, 0 };
    cr_assert_eq(run(&call), CA_OK);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM state"), 2);
    expect_found(GET, "c", "3");
    cr_assert_eq(run(&call), CA_OK);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM state"), 1);
    expect_found(GET, "d", "4");
}

struct taker {
    pthread_t thread;
    struct call call;
    enum ca_status status;
};

static void *
taker_main(void *arg)
{
    struct taker *taker = arg;
    taker->status = run(&taker->call);
    return NULL;
}

Test(state, of_many_takers_one_gets_it)
{
    enum { COUNT = 16 };
    struct taker takers[COUNT];
    cr_assert_eq(put("once", "v", NOW + 10), CA_OK);
    for (int i = 0; i < COUNT; i++) {
        takers[i] =
            (struct taker){ .call = { .verb = TAKE, .space = "s", .key = "once" } };
        cr_assert_eq(pthread_create(&takers[i].thread, NULL, taker_main, &takers[i]),
                     0);
    }
    int passed = 0;
    for (int i = 0; i < COUNT; i++) {
        pthread_join(takers[i].thread, NULL);
        cr_expect(takers[i].status == CA_OK || takers[i].status == CA_NOT_FOUND);
        passed += takers[i].status == CA_OK;
        free(takers[i].call.found);
    }
    cr_assert_eq(passed, 1);
    LEAK_CHECK();
}

struct lease {
    const char *instance;
    int64_t now, until;
    bool is_mine;
};

static enum ca_status
lease_closure(struct store_tx *tx, void *arg)
{
    struct lease *lease = arg;
    return state_lease(tx, "crl", lease->instance, lease->now, lease->until,
                       &lease->is_mine);
}

Test(state, lease_is_one_instances_until_it_ends)
{
    static const struct {
        const char *instance;
        int64_t now, until;
        bool is_mine;
    } cases[] = {
        { "a", 100, 200, true },  { "b", 100, 200, false }, { "b", 199, 300, false },
        { "a", 150, 250, true },  { "b", 200, 300, false }, { "b", 250, 300, true },
        { "a", 260, 400, false }, { "a", 300, 400, true },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lease lease = { cases[i].instance, cases[i].now, cases[i].until,
                               !cases[i].is_mine };
        cr_assert_eq(store_write(scratch_store, lease_closure, &lease), CA_OK);
        cr_expect_eq(lease.is_mine, cases[i].is_mine, "case %zu", i);
    }
}
