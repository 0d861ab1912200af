/* Requests that wait for approval. */
#include "clock.h"
#include "leak.h"
#include "pending.h"
#include "scratch_records.h"

#define NOW 1795341600

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
}

TestSuite(pending, .init = set_up, .fini = scratch_store_close);

static const uint8_t signer[32] = { 1 }, other_signer[32] = { 2 };

static enum ca_status
make(struct store_tx *tx, const char *transaction, int64_t needed, int64_t most,
     char ret_id[37])
{
    static char der[] = "pkcs10";
    CA_AUTO(json_decref) json_t *granted = json_pack("{s:s}", "subject", "CN=r7");
    struct pending pending = {
        .protocol = strdup("scep"),
        .profile = strdup("default"),
        .user = strdup("alice"),
        .subject = strdup("CN=r7"),
        .endpoint = strdup("scep/default"),
        .transaction = transaction ? strdup(transaction) : NULL,
        .approvals_needed = needed,
        .expires = NOW + 100,
        .challenge = strdup("0011223344556677"),
        .granted = json_incref(granted),
        .request = malloc(sizeof der),
        .request_size = sizeof der,
        .request_sha256 = { 9 },
    };
    memcpy(pending.request, der, sizeof der);
    memcpy(pending.signer_spki_sha256, signer, 32);
    enum ca_status status = pending_insert(tx, &pending, most);
    if (status == CA_OK)
        snprintf(ret_id, 37, "%s", pending.id);
    pending_clear(&pending);
    return status;
}

static int
state_of(struct store_tx *tx, const char *id)
{
    struct pending pending = { 0 };
    CR_OK(pending_load(tx, id, &pending));
    int state = pending.state;
    pending_clear(&pending);
    return state;
}

Test(pending, comes_back_by_id_and_by_transaction)
{
    struct store_tx *tx = scratch_begin();
    struct pending pending = { 0 };
    char id[37];
    CR_OK(make(tx, "t1", 2, 10, id));
    CR_OK(pending_load(tx, id, &pending));
    cr_assert_eq(pending.state, PENDING_WAITING);
    cr_assert_str_eq(pending.transaction, "t1");
    cr_assert_str_eq(pending.challenge, "0011223344556677");
    cr_assert_eq(pending.request_size, 7);
    cr_assert_str_eq(pending.request, "pkcs10");
    cr_assert_arr_eq(pending.signer_spki_sha256, signer, 32);
    cr_assert_eq(pending.request_sha256[0], 9);
    cr_assert_str_eq(json_string_value(json_object_get(pending.granted, "subject")),
                     "CN=r7");
    cr_assert_eq(pending.approvals.count, 0);
    pending_clear(&pending);
    CR_OK(pending_of_transaction(tx, "scep/default", "t1", signer, &pending));
    cr_assert_str_eq(pending.id, id);
    CA_AUTO(json_decref) json_t *json = field_encode(pending_fields, &pending);
    cr_assert_null(json_object_get(json, "challenge"));
    cr_assert_null(json_object_get(json, "request"));
    pending_clear(&pending);
    CR_STATUS(pending_of_transaction(tx, "scep/default", "t1", other_signer, &pending),
              CA_NOT_FOUND);
    CR_STATUS(pending_of_transaction(tx, "scep/other", "t1", signer, &pending),
              CA_NOT_FOUND);
    CR_STATUS(pending_load(tx, "none", &pending), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(pending, one_per_transaction_while_it_lives_and_at_most_so_many)
{
    struct store_tx *tx = scratch_begin();
    char id[37], second[37];
    CR_OK(make(tx, "t1", 1, 2, id));
    CR_STATUS(make(tx, "t1", 1, 2, second), CA_CONFLICT);
    CR_OK(make(tx, "t2", 1, 2, second));
    CR_STATUS(make(tx, "t3", 1, 2, second), CA_LIMIT);
    CR_STATUS(make(tx, "t1", 1, 2, second), CA_CONFLICT);
    CR_OK(pending_refuse(tx, id, "boss", "no"));
    CR_OK(make(tx, "t1", 1, 2, second));
    struct pending pending = { 0 };
    CR_OK(pending_of_transaction(tx, "scep/default", "t1", signer, &pending));
    cr_assert_eq(pending.state, PENDING_WAITING);
    pending_clear(&pending);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(pending, two_different_approvers_make_it_approved)
{
    struct store_tx *tx = scratch_begin();
    enum pending_state state = PENDING_EXPIRED;
    struct pending pending = { 0 };
    char id[37];
    CR_OK(make(tx, "t1", 2, 10, id));
    CR_STATUS(pending_finish(tx, id, "aa"), CA_CONFLICT);
    CR_OK(pending_approve(tx, id, "bob", &state));
    cr_assert_eq(state, PENDING_WAITING);
    CR_STATUS(pending_approve(tx, id, "bob", &state), CA_CONFLICT);
    CR_STATUS(pending_approve(tx, id, "a\"b", &state), CA_MALFORMED);
    CR_OK(pending_approve(tx, id, "bo", &state)); /* part of another's name */
    cr_assert_eq(state, PENDING_APPROVED);
    CR_STATUS(pending_approve(tx, id, "carol", &state), CA_CONFLICT);
    CR_STATUS(pending_approve(tx, "none", "carol", &state), CA_NOT_FOUND);
    CR_OK(pending_load(tx, id, &pending));
    cr_assert_eq(pending.approvals.count, 2);
    cr_assert_str_eq(((char **)pending.approvals.items)[0], "bob");
    cr_assert_str_eq(((char **)pending.approvals.items)[1], "bo");
    pending_clear(&pending);
    CR_OK(pending_finish(tx, id, "aa"));
    CR_STATUS(pending_finish(tx, id, "bb"), CA_CONFLICT);
    CR_STATUS(pending_reopen(tx, id, "bb"), CA_CONFLICT);
    CR_OK(pending_reopen(tx, id, "aa"));
    cr_assert_eq(state_of(tx, id), PENDING_APPROVED);
    CR_OK(pending_finish(tx, id, "bb"));
    cr_assert_eq(state_of(tx, id), PENDING_ISSUED);
    CR_STATUS(pending_refuse(tx, id, "bob", "late"), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(pending, A6_nobody_approves_an_own_request)
{
    struct store_tx *tx = scratch_begin();
    enum pending_state state = PENDING_EXPIRED;
    char id[37];
    CR_OK(make(tx, "t1", 1, 10, id));
    CR_STATUS(pending_approve(tx, id, "alice", &state), CA_FORBIDDEN);
    cr_assert_eq(state, PENDING_EXPIRED);
    cr_assert_eq(state_of(tx, id), PENDING_WAITING);
    CR_OK(pending_approve(tx, id, "bob", &state));
    cr_assert_eq(state, PENDING_APPROVED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(pending, refusal_says_who_and_why)
{
    struct store_tx *tx = scratch_begin();
    enum pending_state state;
    struct pending pending = { 0 };
    char id[37];
    CR_OK(make(tx, "t1", 1, 10, id));
    CR_OK(pending_approve(tx, id, "bob", &state));
    CR_OK(pending_refuse(tx, id, "carol", "not our device"));
    CR_STATUS(pending_refuse(tx, id, "carol", "again"), CA_CONFLICT);
    CR_STATUS(pending_refuse(tx, "none", "carol", "again"), CA_NOT_FOUND);
    CR_STATUS(pending_approve(tx, id, "dave", &state), CA_CONFLICT);
    CR_STATUS(pending_finish(tx, id, "aa"), CA_CONFLICT);
    CR_OK(pending_load(tx, id, &pending));
    cr_assert_eq(pending.state, PENDING_REFUSED);
    cr_assert_str_eq(pending.refused_by, "carol");
    cr_assert_str_eq(pending.reason, "not our device");
    pending_clear(&pending);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(pending, expires_waiting_and_approved_ones)
{
    struct store_tx *tx = scratch_begin();
    enum pending_state state;
    char waiting[37], approved[37], issued[37];
    struct gathered early = { 0 }, late = { 0 };
    CR_OK(make(tx, "t1", 1, 10, waiting));
    CR_OK(make(tx, "t2", 1, 10, approved));
    CR_OK(make(tx, "t3", 1, 10, issued));
    CR_OK(pending_approve(tx, approved, "bob", &state));
    CR_OK(pending_approve(tx, issued, "bob", &state));
    CR_OK(pending_finish(tx, issued, "aa"));
    CR_OK(pending_expire(tx, NOW + 99, gather_key, &early));
    cr_assert_eq(early.size, 0);
    clock_set(NOW + 100);
    CR_STATUS(pending_approve(tx, waiting, "bob", &state), CA_CONFLICT);
    CR_OK(pending_expire(tx, NOW + 100, gather_key, &late));
    cr_assert_eq(late.size, 2 * 37);
    cr_assert_eq(state_of(tx, waiting), PENDING_EXPIRED);
    cr_assert_eq(state_of(tx, approved), PENDING_EXPIRED);
    cr_assert_eq(state_of(tx, issued), PENDING_ISSUED);
    CR_STATUS(pending_finish(tx, approved, "bb"), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(pending, list_filters_by_state)
{
    struct store_tx *tx = scratch_begin();
    struct record_page page = { NULL, 100 };
    struct gathered all = { 0 }, waiting = { 0 }, refused = { 0 };
    char id[37];
    CR_OK(make(tx, "t1", 1, 10, id));
    CR_OK(pending_refuse(tx, id, "bob", "no"));
    CR_OK(make(tx, "t2", 1, 10, id));
    CR_OK(make(tx, NULL, 1, 10, id));
    CR_OK(make(tx, NULL, 1, 10, id));
    CR_OK(pending_list(tx, NULL, &page, gather_key, &all));
    CR_OK(pending_list(tx, "waiting", &page, gather_key, &waiting));
    CR_OK(pending_list(tx, "refused", &page, gather_key, &refused));
    cr_assert_eq(all.size, 4 * 37);
    cr_assert_eq(waiting.size, 3 * 37);
    cr_assert_eq(refused.size, 37);
    CR_STATUS(pending_list(tx, "lost", &page, gather_key, &all), CA_MALFORMED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

struct approval {
    const char *id;
    char admin[8];
    pthread_t thread;
    enum ca_status status;
    enum pending_state state;
};

static enum ca_status
approve_closure(struct store_tx *tx, void *arg)
{
    struct approval *approval = arg;
    return pending_approve(tx, approval->id, approval->admin, &approval->state);
}

static void *
approve_thread(void *arg)
{
    struct approval *approval = arg;
    approval->status = store_write(scratch_store, approve_closure, approval);
    return NULL;
}

Test(pending, parallel_approvals_are_each_counted_once)
{
    struct approval all[12];
    char id[37];
    struct store_tx *tx = scratch_begin();
    CR_OK(make(tx, "t1", 5, 10, id));
    CR_OK(scratch_end(CA_OK));
    for (int i = 0; i < 12; i++) {
        all[i] = (struct approval){ .id = id };
        snprintf(all[i].admin, sizeof all[i].admin, "a%d", i % 6);
        cr_assert_eq(pthread_create(&all[i].thread, NULL, approve_thread, &all[i]), 0);
    }
    int passed = 0, decided = 0;
    for (int i = 0; i < 12; i++) {
        pthread_join(all[i].thread, NULL);
        passed += all[i].status == CA_OK;
        decided += all[i].status == CA_OK && all[i].state == PENDING_APPROVED;
    }
    cr_assert_eq(passed, 5);
    cr_assert_eq(decided, 1);
    LEAK_CHECK();
}
