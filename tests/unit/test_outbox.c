/* The outbox: waiting, back-off, every end, and that no end leaves a secret behind. */
#include "clock.h"
#include "leak.h"
#include "outbox.h"
#include "scratch_records.h"

#define NOW 1795341600
#define SECRET "sealed octets"

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
}

static void
leave(void)
{
    scratch_store_close();
    clock_set(-1);
}

TestSuite(outbox, .init = set_up, .fini = leave);

static void
put(struct store_tx *tx, const char *id, const char *template, const char *ref,
    int64_t expires)
{
    static char user[] = "alice", to[] = "alice@example.com", kid[] = "k1";
    static char secret[] = SECRET;
    CA_AUTO(json_decref) json_t *content = json_pack("{s:s}", "user.name", "alice");
    struct outbox mail = { .id = strdup(id),
                           .template = strdup(template),
                           .ref = strdup(ref),
                           .user = user,
                           .recipient = to,
                           .kid = kid,
                           .secret = secret,
                           .secret_size = sizeof secret,
                           .content = content,
                           .expires = expires };
    CR_OK(outbox_insert(tx, &mail));
    free(mail.id);
    free(mail.template);
    free(mail.ref);
}

static enum ca_status
id_visit(const void *record, void *arg)
{
    const struct outbox *mail = record;
    gather(arg, mail->id);
    return CA_OK;
}

static const char *
due(struct store_tx *tx, struct gathered *gathered)
{
    *gathered = (struct gathered){ 0 };
    CR_OK(outbox_due(tx, clock_now(), 10, id_visit, gathered));
    return gathered->text;
}

/* The state, and whether secret, key and content are gone. */
static void
expect_state(struct store_tx *tx, const char *id, enum outbox_state state,
             bool is_wiped)
{
    struct outbox mail = { 0 };
    CR_OK(outbox_load(tx, id, &mail));
    cr_expect_eq(mail.state, (int)state, "%s is %d", id, mail.state);
    cr_expect_eq(mail.secret == NULL, is_wiped, "%s", id);
    cr_expect_eq(mail.kid == NULL, is_wiped, "%s", id);
    cr_expect_eq(json_object_size(mail.content) == 0, is_wiped, "%s", id);
    outbox_clear(&mail);
}

Test(outbox, a_mail_waits_until_it_is_handed_over)
{
    struct gathered gathered;
    struct store_tx *tx = scratch_begin();
    put(tx, "m1", "activation", "", NOW + 100);
    put(tx, "m2", "activation", "", 0);
    cr_expect_str_eq(due(tx, &gathered), "m1 m2 ");
    expect_state(tx, "m1", OUTBOX_WAITING, false);
    CR_OK(outbox_sent(tx, "m1"));
    expect_state(tx, "m1", OUTBOX_SENT, true);
    cr_expect_str_eq(due(tx, &gathered), "m2 ");
    CR_STATUS(outbox_sent(tx, "m1"), CA_CONFLICT);
    CR_STATUS(outbox_failed(tx, "m1", "late", false), CA_CONFLICT);
    CR_STATUS(outbox_retry(tx, "m1"), CA_CONFLICT);
    CR_STATUS(outbox_withdraw(tx, "m1"), CA_CONFLICT);
    struct outbox mail = { 0 };
    CR_OK(outbox_load(tx, "m1", &mail));
    cr_expect_eq(mail.sent, NOW);
    cr_expect_eq(mail.attempts, 1);
    outbox_clear(&mail);
    CR_OK(outbox_load(tx, "m2", &mail));
    cr_expect_eq(mail.expires, NOW + OUTBOX_LIFETIME);
    cr_expect_eq(mail.secret_size, sizeof SECRET);
    cr_expect_str_eq(mail.secret, SECRET);
    outbox_clear(&mail);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(outbox, each_failure_doubles_the_wait)
{
    struct gathered gathered;
    struct store_tx *tx = scratch_begin();
    put(tx, "m1", "activation", "", NOW + OUTBOX_LIFETIME);
    int64_t now = NOW, wait = OUTBOX_RETRY_SECONDS;
    for (int i = 0; i < 14; i++) {
        CR_OK(outbox_failed(tx, "m1", "no route\r\nto host", false));
        clock_set(now + wait - 1);
        cr_expect_str_eq(due(tx, &gathered), "", "attempt %d", i);
        now += wait;
        clock_set(now);
        cr_assert_str_eq(due(tx, &gathered), "m1 ", "attempt %d", i);
        wait =
            wait * 2 < OUTBOX_RETRY_SECONDS_MAX ? wait * 2 : OUTBOX_RETRY_SECONDS_MAX;
    }
    struct outbox mail = { 0 };
    CR_OK(outbox_load(tx, "m1", &mail));
    cr_expect_eq(mail.attempts, 14);
    cr_expect_str_eq(mail.failure, "no route??to host");
    outbox_clear(&mail);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(outbox, a_final_refusal_can_be_tried_again_by_hand)
{
    struct gathered gathered;
    struct store_tx *tx = scratch_begin();
    put(tx, "m1", "activation", "", NOW + 100);
    CR_OK(outbox_failed(tx, "m1", "550 no such user", true));
    expect_state(tx, "m1", OUTBOX_FAILED, false);
    cr_expect_str_eq(due(tx, &gathered), "");
    CR_OK(outbox_retry(tx, "m1"));
    cr_expect_str_eq(due(tx, &gathered), "m1 ");
    clock_set(NOW + 100);
    cr_expect_str_eq(due(tx, &gathered), "");
    CR_STATUS(outbox_retry(tx, "m1"), CA_CONFLICT);
    CR_STATUS(outbox_retry(tx, "m9"), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(outbox, what_has_expired_is_wiped_and_later_removed)
{
    int64_t expired = 0;
    struct outbox mail = { 0 };
    struct store_tx *tx = scratch_begin();
    put(tx, "m1", "activation", "", NOW + 100);
    put(tx, "m2", "activation", "", NOW + 100);
    put(tx, "m3", "activation", "", NOW + 101);
    CR_OK(outbox_failed(tx, "m2", "550", true));
    CR_OK(outbox_tidy(tx, NOW + 99, &expired));
    cr_expect_eq(expired, 0);
    clock_set(NOW + 100);
    CR_OK(outbox_tidy(tx, NOW + 100, &expired));
    cr_expect_eq(expired, 2);
    expect_state(tx, "m1", OUTBOX_EXPIRED, true);
    expect_state(tx, "m2", OUTBOX_EXPIRED, true);
    expect_state(tx, "m3", OUTBOX_WAITING, false);
    CR_OK(outbox_tidy(tx, NOW + 101 + OUTBOX_KEEP_SECONDS, &expired));
    CR_STATUS(outbox_load(tx, "m1", &mail), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(outbox, a_newer_password_takes_the_older_ones_mail_back)
{
    struct store_tx *tx = scratch_begin();
    put(tx, "m1", "activation", "", 0);
    put(tx, "m2", "activation_password", "tablet", 0);
    put(tx, "m3", "invitation", "", 0);
    CR_OK(outbox_withdraw_of(tx, "bob", ""));
    expect_state(tx, "m1", OUTBOX_WAITING, false);
    CR_OK(outbox_withdraw_of(tx, "alice", ""));
    expect_state(tx, "m1", OUTBOX_WITHDRAWN, true);
    expect_state(tx, "m2", OUTBOX_WAITING, false);
    expect_state(tx, "m3", OUTBOX_WAITING, false);
    CR_OK(outbox_withdraw_of(tx, "alice", NULL));
    expect_state(tx, "m2", OUTBOX_WITHDRAWN, true);
    expect_state(tx, "m3", OUTBOX_WITHDRAWN, true);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(outbox, lists_filter_and_figures_count)
{
    struct gathered gathered = { 0 };
    int64_t waiting = 0, oldest = 0;
    struct store_tx *tx = scratch_begin();
    CR_OK(outbox_figures(tx, NOW, &waiting, &oldest));
    cr_expect(waiting == 0 && oldest == 0);
    put(tx, "m1", "activation", "", 0);
    clock_set(NOW + 10);
    put(tx, "m2", "login", "", 0);
    CR_OK(outbox_figures(tx, NOW + 30, &waiting, &oldest));
    cr_expect(waiting == 2 && oldest == 30, "%lld %lld", (long long)waiting,
              (long long)oldest);
    CR_OK(outbox_withdraw(tx, "m2"));
    static const struct {
        struct outbox_filter filter;
        const char *ids;
    } cases[] = {
        { { NULL, NULL, NULL }, "m1 m2 " },     { { "alice", NULL, NULL }, "m1 m2 " },
        { { "bob", NULL, NULL }, "" },          { { NULL, "waiting", NULL }, "m1 " },
        { { NULL, "withdrawn", NULL }, "m2 " }, { { NULL, NULL, "activation" }, "m1 " },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        gathered = (struct gathered){ 0 };
        CR_OK(outbox_list(tx, &cases[i].filter, &(struct record_page){ 0 }, id_visit,
                          &gathered));
        cr_expect_str_eq(gathered.text, cases[i].ids, "case %zu", i);
    }
    CR_STATUS(outbox_list(tx, &(struct outbox_filter){ .state = "lost" },
                          &(struct record_page){ 0 }, id_visit, &gathered),
              CA_MALFORMED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(outbox, copies_are_deep)
{
    struct outbox mail = { 0 }, copy = { 0 };
    struct store_tx *tx = scratch_begin();
    put(tx, "m1", "activation", "tablet", 0);
    CR_OK(outbox_load(tx, "m1", &mail));
    cr_assert(outbox_copy(&mail, &copy));
    outbox_clear(&mail);
    cr_expect_str_eq(copy.ref, "tablet");
    cr_expect_str_eq(copy.kid, "k1");
    cr_expect_str_eq(copy.secret, SECRET);
    cr_expect_eq(json_object_size(copy.content), 1);
    outbox_clear(&copy);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
