/* What the inventory is asked: lists, CRL rows, and how much each statement reads. */
#include "certificate_rig.h"
#include "challenge.h"
#include "device.h"
#include "leak.h"
#include "plan.h"

static void
set_up(void)
{
    plan_watch();
    clock_set(NOW);
    scratch_store_open();
}

TestSuite(certificate_list, .init = set_up, .fini = scratch_store_close);

Test(certificate_list, list_takes_every_filter_and_pages)
{
    static const struct {
        const char *name;
        struct certificate_filter filter;
        struct record_page page;
        const char *found;
    } cases[] = {
        { "all", { 0 }, { NULL, 100 }, "aa ab bb cc " },
        { "page", { 0 }, { "aa", 2 }, "ab bb " },
        { "user", { .user = "alice" }, { NULL, 100 }, "aa ab bb cc " },
        { "other user", { .user = "bob" }, { NULL, 100 }, "" },
        { "device", { .device = "d1" }, { NULL, 2 }, "aa ab " },
        { "profile", { .profile = "default" }, { NULL, 1 }, "aa " },
        { "issuer", { .issuer = "root" }, { NULL, 100 }, "" },
        { "protocol", { .protocol = "scep" }, { "bb", 100 }, "cc " },
        { "issued", { .state = "issued" }, { NULL, 100 }, "ab " },
        { "expired", { .state = "expired" }, { NULL, 100 }, "aa " },
        { "revoked", { .state = "revoked" }, { NULL, 100 }, "bb " },
        { "intent", { .state = "intent" }, { NULL, 100 }, "cc " },
        { "expires soon", { .expires_before = NOW + 1001 }, { NULL, 100 }, "aa " },
        { "serial", { .q = "a" }, { NULL, 100 }, "aa ab bb cc " },
        { "serial of two", { .q = "AB" }, { NULL, 100 }, "ab " },
        { "subject", { .q = "o=exam" }, { NULL, 100 }, "aa ab bb cc " },
        { "no wild card", { .q = "%" }, { NULL, 100 }, "" },
        { "quote", { .q = "' OR 1=1 --" }, { NULL, 100 }, "" },
    };
    struct store_tx *tx = scratch_begin();
    issue(tx, "aa");
    clock_set(NOW + 2000);
    static const char *const later[] = { "ab", "bb", "cc" };
    for (size_t i = 0; i < 3; i++) {
        struct certificate certificate = certificate_of(later[i]);
        certificate.not_after = NOW + 9000;
        struct certificate_intent intent = { .certificate = &certificate, .run = RUN };
        CR_OK(certificate_reserve(tx, &intent));
        if (i < 2)
            CR_OK(certificate_complete(tx, later[i], RUN, "der!", 4));
    }
    CR_OK(certificate_revoke(tx, "bb", 0, 0));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gathered gathered = { 0 };
        CR_OK(certificate_list(tx, &cases[i].filter, &cases[i].page, gather_key,
                               &gathered));
        cr_expect_str_eq(gathered.text, cases[i].found, "%s: %s", cases[i].name,
                         gathered.text);
    }
    cr_assert_eq(state_of(tx, "aa"), CERTIFICATE_EXPIRED);
    struct certificate_filter unknown = { .state = "lost" };
    struct record_page page = { NULL, 1 };
    CR_STATUS(certificate_list(tx, &unknown, &page, gather_key, NULL), CA_MALFORMED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

static enum ca_status
gather_row(const void *record, void *arg)
{
    const struct certificate *certificate = record;
    char text[128];
    snprintf(text, sizeof text, "%s/%s/%lld", certificate->serial, certificate->reason,
             (long long)(certificate->revoked_at - NOW));
    gather(arg, text);
    return CA_OK;
}

Test(certificate_list, V2_crl_rows_are_the_issuers_in_serial_order_until_they_expired)
{
    struct store_tx *tx = scratch_begin();
    struct gathered now = { 0 }, later = { 0 }, other = { 0 };
    issue(tx, "cc");
    issue(tx, "aa");
    issue(tx, "bb");
    clock_set(NOW + 3);
    CR_OK(certificate_revoke(tx, "cc", 1, 0));
    CR_OK(certificate_revoke(tx, "aa", 0, 0));
    CR_OK(certificate_revoked(tx, "issuing", NOW + 1000, gather_row, &now));
    cr_assert_str_eq(now.text, "aa/unspecified/3 cc/key_compromise/3 ");
    CR_OK(certificate_revoked(tx, "issuing", NOW + 1001, gather_row, &later));
    cr_assert_str_eq(later.text, "");
    CR_OK(certificate_revoked(tx, "root", 0, gather_row, &other));
    cr_assert_str_eq(other.text, "");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(certificate_list, V4_crl_rows_come_from_one_index_alone)
{
    struct store_tx *tx = scratch_begin();
    struct gathered none = { 0 };
    plan_begin();
    CR_OK(certificate_revoked(tx, "issuing", 0, gather_row, &none));
    CR_OK(scratch_end(CA_OK));
    cr_assert(plan_says(scratch_path, "COVERING INDEX certificate_revoked"));
    LEAK_CHECK();
}

/* What an enrolment, a retry and a renewal ask of the store, and what the jobs do. */
static void
hot_statements(struct store_tx *tx, const char *device, const char *text)
{
    struct challenge challenge = { 0 };
    struct gathered gathered = { 0 };
    struct certificate renewed = { 0 };
    CA_AUTO(free) char *holder = NULL;
    CA_AUTO(json_decref) json_t *granted = NULL;
    int state = 0;
    char serial[33], wrong[17];
    CR_OK(challenge_verify(tx, text, 48, "default", &challenge, wrong));
    CR_OK(challenge_count_try(tx, challenge.id));
    CR_STATUS(transaction_state(tx, "t1", request, &state, serial), CA_NOT_FOUND);
    CR_STATUS(transaction_state(tx, "t1", NULL, &state, serial), CA_NOT_FOUND);
    CR_OK(device_touch(tx, device, true));
    CR_OK(device_claim_key(tx, device, signer, false));
    CR_OK(device_claim_key(tx, device, signer, false));
    CR_OK(device_of_key(tx, signer, &holder));
    CR_OK(reserve(tx, "aa", "t1", request, NOW - 60));
    CR_OK(challenge_claim(tx, challenge.id, "aa"));
    CR_OK(certificate_take_over(tx, "aa", "run-2", NOW + 1));
    CR_OK(certificate_complete(tx, "aa", "run-2", "der!", 4));
    CR_OK(challenge_finish(tx, challenge.id, "aa"));
    CR_OK(certificate_load(tx, "issuing", "aa", &renewed));
    CR_OK(certificate_granted(tx, "aa", &granted));
    CR_OK(certificate_revoke_device(tx, "d1", "default", "bb", 4, gather_text,
                                    &gathered));
    CR_OK(certificate_revoke_device(tx, "d1", NULL, NULL, 4, gather_text, &gathered));
    CR_OK(certificate_revoke_user(tx, "alice", 5, gather_text, &gathered));
    CR_OK(reserve(tx, "bb", NULL, NULL, 0));
    CR_OK(certificate_abandon(tx, NOW + 1, 10, gather_transaction, &gathered));
    CR_STATUS(certificate_revoke(tx, "bb", 1, 0), CA_CONFLICT);
    CR_OK(certificate_revoked(tx, "issuing", 0, gather_row, &gathered));
    struct record_page page = { NULL, 100 };
    CR_OK(certificate_list(tx, &(struct certificate_filter){ .user = "alice" }, &page,
                           gather_key, &gathered));
    CR_OK(certificate_list(tx, &(struct certificate_filter){ .device = "d1" }, &page,
                           gather_key, &gathered));
    challenge_clear(&challenge);
    certificate_clear(&renewed);
}

Test(certificate_list, no_statement_of_an_enrolment_reads_a_whole_table)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 };
    struct challenge challenge = { 0 };
    char text[CHALLENGE_TEXT_SIZE];
    user_make(tx, "alice");
    profiles_make(tx, "default");
    record_from(device_fields, "{\"owner\": \"alice\"}", &device);
    record_from(challenge_fields, "{\"user\": \"alice\", \"profile\": \"default\"}",
                &challenge);
    plan_begin();
    CR_OK(device_insert(tx, &device));
    CR_OK(challenge_insert(tx, &challenge, text));
    hot_statements(tx, device.id, text);
    device_clear(&device);
    challenge_clear(&challenge);
    CR_OK(scratch_end(CA_OK));
    plan_end(scratch_path, 25);
    LEAK_CHECK();
}
