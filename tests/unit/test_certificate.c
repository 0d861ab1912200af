/* One certificate's life: from intent to end, each step once. */
#include "certificate_rig.h"
#include "leak.h"

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
}

TestSuite(certificate, .init = set_up, .fini = scratch_store_close);

static const uint8_t another[32] = { 3 };

static enum ca_status
reserve_first(struct store_tx *tx, const char *serial)
{
    struct certificate certificate = certificate_of(serial);
    return certificate_reserve(tx, &(struct certificate_intent){
                                       .certificate = &certificate,
                                       .run = RUN,
                                       .is_first = true,
                                   });
}

Test(certificate, intent_becomes_the_certificate)
{
    struct store_tx *tx = scratch_begin();
    struct certificate loaded = { 0 };
    CR_OK(reserve(tx, "aa", NULL, NULL, 0));
    CR_OK(certificate_load(tx, NULL, "aa", &loaded));
    cr_assert_eq(loaded.state, CERTIFICATE_INTENT);
    cr_assert_eq(loaded.der_size, 3);
    certificate_clear(&loaded);
    clock_set(NOW + 5);
    CR_STATUS(certificate_complete(tx, "aa", "run-2", "der!", 4), CA_CONFLICT);
    CR_OK(certificate_complete(tx, "aa", RUN, "der!", 4));
    CR_STATUS(certificate_complete(tx, "aa", RUN, "den!", 4), CA_CONFLICT);
    CR_STATUS(certificate_complete(tx, "bb", RUN, "der!", 4), CA_CONFLICT);
    CR_OK(certificate_load(tx, "issuing", "aa", &loaded));
    cr_assert_eq(loaded.state, CERTIFICATE_ISSUED);
    cr_assert_eq(loaded.der_size, 4);
    cr_assert_arr_eq(loaded.der, "der!", 4);
    cr_assert_str_eq(loaded.subject, "CN=a,O=Example");
    cr_assert_eq(loaded.san.count, 2);
    cr_assert_str_eq(((char **)loaded.san.items)[1], "email:a@example.com");
    cr_assert_eq(loaded.stamp.version, 2);
    cr_assert_eq(loaded.stamp.created, NOW);
    cr_assert_null(loaded.reason);
    certificate_clear(&loaded);
    CR_STATUS(certificate_load(tx, "other", "aa", &loaded), CA_NOT_FOUND);
    CR_STATUS(certificate_load(tx, NULL, "ab", &loaded), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate, S1_a_serial_is_drawn_once)
{
    struct store_tx *tx = scratch_begin();
    issue(tx, "aa");
    CR_STATUS(reserve(tx, "aa", NULL, NULL, 0), CA_CONFLICT);
    CR_OK(reserve(tx, "bb", "t1", request, 0));
    CR_STATUS(reserve(tx, "bb", "t2", request, 0), CA_CONFLICT);
    CR_OK(certificate_revoke(tx, "aa", 0, 0));
    CR_STATUS(reserve(tx, "aa", NULL, NULL, 0), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM certificate"), 2);
    LEAK_CHECK();
}

Test(certificate, one_answer_per_transaction_signer_and_request)
{
    struct store_tx *tx = scratch_begin();
    int state = -1;
    char serial[33] = "";
    CR_STATUS(transaction_state(tx, "t1", request, &state, serial), CA_NOT_FOUND);
    CR_OK(reserve(tx, "aa", "t1", request, NOW - 60));
    CR_STATUS(reserve(tx, "bb", "t1", request, NOW - 60), CA_CONFLICT);
    /* However old an intent is, it stays the one. */
    CR_STATUS(reserve(tx, "bb", "t1", request, NOW + 1000), CA_CONFLICT);
    CR_OK(certificate_complete(tx, "aa", RUN, "der!", 4));
    CR_STATUS(reserve(tx, "bb", "t1", request, NOW - 60), CA_CONFLICT);
    CR_OK(transaction_state(tx, "t1", request, &state, serial));
    cr_assert_str_eq(serial, "aa");
    cr_assert_eq(state, CERTIFICATE_ISSUED);
    /* Another request under the same id is a new one; a poll finds the latest. */
    clock_set(NOW + 10);
    CR_OK(reserve(tx, "cc", "t1", another, NOW - 60));
    CR_OK(transaction_state(tx, "t1", NULL, &state, serial));
    cr_assert_str_eq(serial, "cc");
    CR_OK(transaction_state(tx, "t1", request, &state, serial));
    cr_assert_str_eq(serial, "aa");
    /* The same message months later is a new request. */
    CR_OK(reserve(tx, "dd", "t1", request, NOW + 1));
    CR_OK(transaction_state(tx, "t1", request, &state, serial));
    cr_assert_str_eq(serial, "dd");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate, A4_of_two_first_ones_for_a_device_one_is_reserved)
{
    struct store_tx *tx = scratch_begin();
    CR_OK(reserve_first(tx, "aa"));
    CR_OK(scratch_end(CA_OK));
    tx = scratch_begin();
    CR_STATUS(reserve_first(tx, "bb"), CA_FORBIDDEN);
    CR_STATUS(scratch_end(CA_FORBIDDEN), CA_FORBIDDEN);
    tx = scratch_begin();
    cr_expect_eq(state_of(tx, "aa"), CERTIFICATE_INTENT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate, transactions_of_others_are_not_found)
{
    struct store_tx *tx = scratch_begin();
    struct certificate_transaction found = { 0 };
    CR_OK(reserve(tx, "aa", "t1", request, 0));
    CR_STATUS(
        certificate_of_transaction(tx, "scep/other", "t1", signer, request, &found),
        CA_NOT_FOUND);
    CR_STATUS(
        certificate_of_transaction(tx, "scep/default", "t1", another, request, &found),
        CA_NOT_FOUND);
    CR_STATUS(
        certificate_of_transaction(tx, "scep/default", "t2", signer, NULL, &found),
        CA_NOT_FOUND);
    CR_STATUS(
        certificate_of_transaction(tx, "scep/defaultt1", "", signer, NULL, &found),
        CA_NOT_FOUND);
    CR_OK(certificate_of_transaction(tx, "scep/default", "t1", signer, NULL, &found));
    cr_assert_str_eq(found.challenge, "0011223344556677");
    cr_assert_str_eq(found.run, RUN);
    cr_assert_str_eq(found.replaces, "beef");
    cr_assert_null(found.pending);
    cr_assert_eq(found.created, NOW);
    cr_assert_eq(found.completed, 0);
    certificate_transaction_clear(&found);
    /* Without a transaction there is nothing to find and nothing unique. */
    CR_OK(reserve(tx, "bb", NULL, NULL, 0));
    CR_OK(reserve(tx, "cc", NULL, NULL, 0));
    /* Without a request's digest the triple is unique. */
    CR_OK(reserve(tx, "dd", "t3", NULL, 0));
    CR_STATUS(reserve(tx, "ee", "t3", NULL, 0), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate, granted_names_stay_with_the_intent)
{
    struct store_tx *tx = scratch_begin();
    struct certificate certificate = certificate_of("aa");
    CA_AUTO(json_decref) json_t *granted = json_pack("{s:s}", "subject", "CN=r7");
    CA_AUTO(json_decref) json_t *kept = NULL, *none = NULL;
    struct certificate_intent intent = { .certificate = &certificate,
                                         .run = RUN,
                                         .granted = granted };
    CR_OK(certificate_reserve(tx, &intent));
    CR_OK(reserve(tx, "bb", NULL, NULL, 0));
    CR_OK(certificate_granted(tx, "aa", &kept));
    cr_assert(json_equal(granted, kept));
    CR_OK(certificate_granted(tx, "bb", &none));
    cr_assert_null(none);
    CR_STATUS(certificate_granted(tx, "cc", &none), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate, I1_an_orphan_is_taken_over_once_and_its_first_run_may_not_complete)
{
    struct store_tx *tx = scratch_begin();
    CR_OK(reserve(tx, "aa", "t1", request, 0));
    CR_STATUS(certificate_take_over(tx, "aa", "run-2", NOW), CA_CONFLICT);
    CR_STATUS(certificate_take_over(tx, "aa", RUN, NOW + 1), CA_CONFLICT);
    clock_set(NOW + 30);
    CR_OK(certificate_take_over(tx, "aa", "run-2", NOW + 1));
    CR_STATUS(certificate_take_over(tx, "aa", "run-3", NOW + 1), CA_CONFLICT);
    CR_STATUS(certificate_complete(tx, "aa", RUN, "der!", 4), CA_CONFLICT);
    CR_OK(certificate_complete(tx, "aa", "run-2", "der!", 4));
    clock_set(NOW + 60);
    CR_STATUS(certificate_take_over(tx, "aa", "run-3", NOW + 50), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate, I1_old_intents_are_abandoned_oldest_first)
{
    struct store_tx *tx = scratch_begin();
    struct gathered first = { 0 }, second = { 0 }, third = { 0 };
    CR_OK(reserve(tx, "cc", "t1", request, 0));
    clock_set(NOW + 1);
    CR_OK(reserve(tx, "bb", NULL, NULL, 0));
    clock_set(NOW + 2);
    CR_OK(reserve(tx, "aa", NULL, NULL, 0));
    CR_OK(certificate_abandon(tx, NOW + 2, 1, gather_transaction, &first));
    cr_assert_str_eq(first.text, "cc/0011223344556677/4 ");
    CR_OK(certificate_abandon(tx, NOW + 2, 100, gather_transaction, &second));
    cr_assert_str_eq(second.text, "bb/0011223344556677/4 ");
    CR_OK(certificate_abandon(tx, NOW + 2, 100, gather_transaction, &third));
    cr_assert_str_eq(third.text, "");
    CR_STATUS(certificate_complete(tx, "cc", RUN, "der!", 4), CA_CONFLICT);
    cr_assert_eq(state_of(tx, "cc"), CERTIFICATE_ABANDONED);
    /* The same message may be answered anew. */
    CR_OK(reserve(tx, "dd", "t1", request, 0));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate, revocation_is_final_but_for_hold_and_compromise)
{
    struct store_tx *tx = scratch_begin();
    struct certificate loaded = { 0 };
    issue(tx, "aa");
    issue(tx, "bb");
    CR_OK(reserve(tx, "cc", NULL, NULL, 0));
    clock_set(NOW + 10);
    CR_OK(certificate_revoke(tx, "aa", 1, NOW - 5));
    CR_OK(certificate_load(tx, NULL, "aa", &loaded));
    cr_assert_eq(loaded.state, CERTIFICATE_REVOKED);
    cr_assert_str_eq(loaded.reason, "key_compromise");
    cr_assert_eq(loaded.revoked_at, NOW + 10);
    cr_assert_eq(loaded.invalidity_date, NOW - 5);
    certificate_clear(&loaded);
    CR_STATUS(certificate_revoke(tx, "aa", 4, 0), CA_CONFLICT);
    CR_STATUS(certificate_revoke(tx, "aa", 8, 0), CA_CONFLICT);
    CR_STATUS(certificate_revoke(tx, "cc", 1, 0), CA_CONFLICT);
    CR_STATUS(certificate_revoke(tx, "dd", 1, 0), CA_NOT_FOUND);
    /* RFC 5280 5.3.1: 2 and 10 are of CAs and attribute authorities. */
    static const int bad[] = { -1, 2, 7, 10, 11 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CR_STATUS(certificate_revoke(tx, "bb", bad[i], 0), CA_MALFORMED);
    CR_STATUS(certificate_revoke(tx, "bb", 1, NOW + 11), CA_MALFORMED);
    CR_STATUS(certificate_revoke(tx, "bb", 8, 0), CA_CONFLICT);
    /* V2: hold, release, hold, and then another reason with the hold's date. */
    CR_OK(certificate_revoke(tx, "bb", 6, 0));
    CR_STATUS(certificate_revoke(tx, "bb", 6, 0), CA_CONFLICT);
    CR_OK(certificate_revoke(tx, "bb", 8, 0));
    cr_assert_eq(state_of(tx, "bb"), CERTIFICATE_ISSUED);
    CR_OK(certificate_revoke(tx, "bb", 6, 0));
    clock_set(NOW + 20);
    CR_OK(certificate_revoke(tx, "bb", 5, 0));
    CR_OK(certificate_load(tx, NULL, "bb", &loaded));
    cr_assert_str_eq(loaded.reason, "cessation_of_operation");
    cr_assert_eq(loaded.revoked_at, NOW + 10);
    certificate_clear(&loaded);
    CR_STATUS(certificate_revoke(tx, "bb", 8, 0), CA_CONFLICT);
    /* R4: a key found compromised later is still said to be; nothing else changes. */
    CR_STATUS(certificate_revoke(tx, "bb", 4, 0), CA_CONFLICT);
    CR_OK(certificate_revoke(tx, "bb", 1, NOW));
    CR_OK(certificate_load(tx, NULL, "bb", &loaded));
    cr_assert_str_eq(loaded.reason, "key_compromise");
    cr_assert_eq(loaded.revoked_at, NOW + 10);
    cr_assert_eq(loaded.invalidity_date, NOW);
    certificate_clear(&loaded);
    CR_STATUS(certificate_revoke(tx, "bb", 1, 0), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate, reasons_have_words)
{
    int code = -1;
    for (int i = 0; i < 11; i++) {
        if (i == 7) {
            cr_assert_null(certificate_reason_words[i]);
            continue;
        }
        cr_assert(certificate_reason_parse(certificate_reason_words[i], &code));
        cr_assert_eq(code, i);
    }
    cr_assert_not(certificate_reason_parse("", &code));
    cr_assert_not(certificate_reason_parse("Superseded", &code));
}

Test(certificate, A5_a_device_or_user_loses_all_it_holds)
{
    struct store_tx *tx = scratch_begin();
    struct gathered replaced = { 0 }, device = { 0 }, user = { 0 };
    issue(tx, "aa");
    issue(tx, "bb");
    issue(tx, "cc");
    CR_OK(reserve(tx, "dd", NULL, NULL, 0));
    /* A replacement keeps the new one, and what is being signed. */
    CR_OK(certificate_revoke_device(tx, "d1", "default", "bb", 4, gather_text,
                                    &replaced));
    cr_assert_str_eq(replaced.text, "aa cc ");
    cr_assert_eq(state_of(tx, "dd"), CERTIFICATE_INTENT);
    CR_OK(certificate_revoke_device(tx, "d1", "other", NULL, 4, gather_text, &device));
    CR_OK(certificate_revoke_device(tx, "d2", NULL, NULL, 4, gather_text, &device));
    cr_assert_str_eq(device.text, "");
    CR_OK(certificate_revoke_device(tx, "d1", NULL, NULL, 5, gather_text, &device));
    cr_assert_str_eq(device.text, "bb ");
    cr_assert_eq(state_of(tx, "dd"), CERTIFICATE_ABANDONED);
    CR_STATUS(certificate_complete(tx, "dd", RUN, "der!", 4), CA_CONFLICT);
    issue(tx, "ee");
    CR_OK(reserve(tx, "ff", NULL, NULL, 0));
    CR_OK(certificate_revoke_user(tx, "bob", 5, gather_text, &user));
    CR_OK(certificate_revoke_user(tx, "alice", 5, gather_text, &user));
    cr_assert_str_eq(user.text, "ee ");
    CR_STATUS(certificate_complete(tx, "ff", RUN, "der!", 4), CA_CONFLICT);
    CR_STATUS(certificate_revoke_user(tx, "alice", 7, gather_text, &user),
              CA_MALFORMED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

struct reservation {
    char serial[33];
    pthread_t thread;
    enum ca_status status;
};

static enum ca_status
reserve_closure(struct store_tx *tx, void *arg)
{
    const struct reservation *reservation = arg;
    return reserve(tx, reservation->serial, "t1", request, NOW - 60);
}

static void *
reserve_thread(void *arg)
{
    struct reservation *reservation = arg;
    reservation->status = store_write(scratch_store, reserve_closure, reservation);
    return NULL;
}

Test(certificate, S4_of_parallel_intents_of_one_message_one_passes)
{
    struct reservation all[12];
    int passed = 0;
    for (int i = 0; i < 12; i++) {
        snprintf(all[i].serial, sizeof all[i].serial, "%032x", i);
        cr_assert_eq(pthread_create(&all[i].thread, NULL, reserve_thread, &all[i]), 0);
    }
    for (int i = 0; i < 12; i++) {
        pthread_join(all[i].thread, NULL);
        cr_expect(all[i].status == CA_OK || all[i].status == CA_CONFLICT);
        passed += all[i].status == CA_OK;
    }
    cr_assert_eq(passed, 1);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM certificate"), 1);
    LEAK_CHECK();
}
