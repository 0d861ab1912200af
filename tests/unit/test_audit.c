/* The audit log. */
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "scratch_table.h"
#include <criterion/criterion.h>
#include <openssl/sha.h>

#define NOW 1795341600 /* 2026-11-22T10:00:00Z, a whole minute */

static void
log_start(void)
{
    scratch_store_open();
    clock_set(NOW);
    audit_set_instance("one");
}

TestSuite(audit, .init = log_start, .fini = scratch_store_close);

static enum ca_status
append_closure(struct store_tx *tx, void *arg)
{
    return audit_append(tx, arg);
}

static enum ca_status
append(const char *action, const char *actor, const char *object)
{
    struct audit_entry entry = { .action = action,
                                 .actor = actor,
                                 .object = object,
                                 .protocol = "api",
                                 .request = "r-1",
                                 .outcome = "ok" };
    return store_write(scratch_store, append_closure, &entry);
}

struct refusal {
    const char *protocol, *source, *reason;
    int64_t count;
};

static enum ca_status
refusal_closure(struct store_tx *tx, void *arg)
{
    const struct refusal *refusal = arg;
    return audit_count_refusals(tx, refusal->protocol, refusal->source, refusal->reason,
                                refusal->count);
}

static enum ca_status
refuse(const char *source, const char *reason, int64_t count)
{
    struct refusal refusal = { "scep", source, reason, count };
    return store_write(scratch_store, refusal_closure, &refusal);
}

/* A listing as text: "number action actor xcount; ". */
struct listing {
    struct audit_filter filter;
    struct record_page page;
    struct text_buffer text;
    json_t *last;
};

static enum ca_status
listing_visit(const void *record, void *arg)
{
    struct listing *listing = arg;
    const struct audit_row *row = record;
    text_print(&listing->text, "%lld %s %s x%lld; ", (long long)row->number,
               row->action, row->actor, (long long)row->count);
    json_decref(listing->last);
    listing->last = field_encode(audit_row_fields, row);
    return CA_OK;
}

static enum ca_status
listing_closure(struct store_tx *tx, void *arg)
{
    struct listing *listing = arg;
    text_buffer_clear(&listing->text);
    return audit_list(tx, &listing->filter, &listing->page, listing_visit, listing);
}

static void
expect_listing(struct listing listing, const char *expected)
{
    enum ca_status status = store_read(scratch_store, listing_closure, &listing);
    cr_assert_eq(status, CA_OK, "%s", status_message());
    cr_expect_str_eq(listing.text.data ? listing.text.data : "", expected);
    text_buffer_clear(&listing.text);
    json_decref(listing.last);
}

struct leaf_check {
    int64_t number;
    size_t count;
};

static enum ca_status
leaf_row(const struct store_row *row, void *arg)
{
    struct leaf_check *check = arg;
    const char *text = store_row_text(row, 1);
    size_t size = 0;
    const void *leaf = store_row_blob(row, 2, &size);
    cr_assert_eq(store_row_integer(row, 0), check->number++);
    CA_AUTO(text_buffer_clear) struct text_buffer octets = { 0 };
    text_append(&octets, "", 1);
    text_append(&octets, text, strlen(text));
    unsigned char hash[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)octets.data, octets.size, hash);
    cr_expect(size == sizeof hash && memcmp(hash, leaf, size) == 0, "%s", text);
    /* Canonical: what a parser gives back in sorted form is the same octets. */
    CA_AUTO(json_decref) json_t *entry = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    CA_AUTO(free) char *again = json_dumps(entry, JSON_COMPACT | JSON_SORT_KEYS);
    cr_expect_str_eq(again, text);
    check->count++;
    return CA_OK;
}

static enum ca_status
leaves_closure(struct store_tx *tx, void *arg)
{
    return store_run(tx,
                     "SELECT number, entry, leaf FROM audit_entry WHERE instance = $1"
                     " ORDER BY number",
                     STORE_VALUES(store_text("one")), leaf_row, arg, NULL);
}

static enum ca_status
text_row(const struct store_row *row, void *arg)
{
    *(char **)arg = strdup(store_row_text(row, 0));
    return CA_OK;
}

static enum ca_status
text_closure(struct store_tx *tx, void *arg)
{
    return store_run(tx, "SELECT entry FROM audit_entry WHERE number = 0",
                     STORE_NO_VALUES, text_row, arg, NULL);
}

Test(audit, leaf_is_the_hash_of_the_canonical_entry)
{
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:i, s:s}", "tries", 3, "at", "x");
    struct audit_entry entry = { "user.update", "admin:alice", "user:bob", "api",
                                 "r-7",         "ok",          detail };
    cr_assert_eq(store_write(scratch_store, append_closure, &entry), CA_OK);
    CA_AUTO(free) char *text = NULL;
    cr_assert_eq(store_read(scratch_store, text_closure, &text), CA_OK);
    cr_expect_str_eq(text, "{\"action\":\"user.update\",\"actor\":\"admin:alice\","
                           "\"detail\":{\"at\":\"x\",\"tries\":3},\"instance\":\"one\","
                           "\"number\":0,\"object\":\"user:bob\",\"outcome\":\"ok\","
                           "\"protocol\":\"api\",\"request\":\"r-7\","
                           "\"time\":\"2026-11-22T10:00:00Z\"}");
    cr_assert_eq(append("a.b", "system", NULL), CA_OK);
    cr_assert_eq(append("bad \xff octet\n", "peer:\xc3\xa9", NULL), CA_OK);
    struct leaf_check check = { 0 };
    cr_assert_eq(store_read(scratch_store, leaves_closure, &check), CA_OK);
    cr_expect_eq(check.count, 3);
    LEAK_CHECK();
}

static enum ca_status
undone_closure(struct store_tx *tx, void *arg)
{
    enum ca_status status = audit_append(tx, arg);
    return status == CA_OK ? ca_fail(CA_FORBIDDEN, "no") : status;
}

Test(audit, undone_entry_leaves_no_gap)
{
    struct audit_entry entry = { .action = "x", .actor = "system", .outcome = "ok" };
    cr_assert_eq(append("first", "system", NULL), CA_OK);
    cr_assert_eq(store_write(scratch_store, undone_closure, &entry), CA_FORBIDDEN);
    cr_assert_eq(append("second", "system", NULL), CA_OK);
    expect_listing((struct listing){ 0 }, "1 second system x1; 0 first system x1; ");
}

Test(audit, instances_have_logs_of_their_own)
{
    cr_assert_eq(append("a", "system", NULL), CA_OK);
    audit_set_instance("two");
    cr_assert_eq(append("b", "system", NULL), CA_OK);
    expect_listing((struct listing){ 0 }, "0 b system x1; ");
    expect_listing((struct listing){ .filter.instance = "one" }, "0 a system x1; ");
}

Test(audit, without_an_instance_nothing_is_appended)
{
    audit_set_instance("");
    cr_expect_eq(append("a", "system", NULL), CA_INTERNAL);
    cr_expect_eq(refuse("192.0.2.1", "signature", 1), CA_INTERNAL);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry"), 0);
}

Test(audit, entry_too_large_is_refused)
{
    CA_AUTO(free) char *large = malloc(70000);
    memset(large, 'a', 69999);
    large[69999] = '\0';
    CA_AUTO(json_decref) json_t *detail = json_pack("{s:s}", "a", large);
    struct audit_entry entry = { .action = "x", .actor = "system", .detail = detail };
    cr_assert_eq(store_write(scratch_store, append_closure, &entry), CA_LIMIT);
    cr_assert_eq(append("y", "system", NULL), CA_OK);
    expect_listing((struct listing){ 0 }, "0 y system x1; ");
    LEAK_CHECK();
}

Test(audit, filters_and_pages)
{
    static const struct {
        const char *action, *actor, *object;
    } entries[] = {
        { "a", "admin:x", "user:1" },
        { "b", "admin:x", "user:2" },
        { "a", "admin:y", "user:1" },
        { "b", "admin:y", NULL },
    };
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        clock_set(NOW + (int64_t)i * 10);
        cr_assert_eq(append(entries[i].action, entries[i].actor, entries[i].object),
                     CA_OK);
    }
    expect_listing((struct listing){ .filter.action = "a" },
                   "2 a admin:y x1; 0 a admin:x x1; ");
    expect_listing((struct listing){ .filter.actor = "admin:y" },
                   "3 b admin:y x1; 2 a admin:y x1; ");
    expect_listing((struct listing){ .filter.object = "user:1" },
                   "2 a admin:y x1; 0 a admin:x x1; ");
    expect_listing(
        (struct listing){ .filter = { .object = "user:1", .actor = "admin:x" } },
        "0 a admin:x x1; ");
    expect_listing(
        (struct listing){ .filter = { .since = NOW + 10, .until = NOW + 30 } },
        "2 a admin:y x1; 1 b admin:x x1; ");
    expect_listing((struct listing){ .page.limit = 2 },
                   "3 b admin:y x1; 2 a admin:y x1; ");
    expect_listing((struct listing){ .page = { "2", 5 } },
                   "1 b admin:x x1; 0 a admin:x x1; ");
    expect_listing((struct listing){ .page = { "0", 5 } }, "");
    expect_listing((struct listing){ .filter.action = "' OR 1=1 --" }, "");
}

Test(audit, cursor_that_is_no_number_is_refused)
{
    static const char *const cases[] = { "", "x", "1x", "-2", "99999999999999999999" };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct listing listing = { .page.after = cases[i] };
        cr_expect_eq(store_read(scratch_store, listing_closure, &listing), CA_MALFORMED,
                     "'%s'", cases[i]);
    }
}

Test(audit, refusals_of_a_minute_are_one_row_then_one_leaf)
{
    for (int i = 0; i < 5; i++)
        cr_assert_eq(refuse("192.0.2.1", "signature", 1), CA_OK, "%s",
                     status_message());
    cr_assert_eq(refuse("192.0.2.1", "signature", 10), CA_OK);
    cr_assert_eq(refuse("192.0.2.2", "signature", 1), CA_OK);
    cr_assert_eq(refuse("192.0.2.2", "challenge", 2), CA_OK);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_refusal"), 3);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry"), 0);
    expect_listing((struct listing){ 0 }, "-1 request.refuse peer:192.0.2.1 x15; "
                                          "-1 request.refuse peer:192.0.2.2 x2; "
                                          "-1 request.refuse peer:192.0.2.2 x1; ");
    expect_listing((struct listing){ .filter.actor = "peer:192.0.2.1" },
                   "-1 request.refuse peer:192.0.2.1 x15; ");
    expect_listing((struct listing){ .filter.action = "other" }, "");
    expect_listing((struct listing){ .page = { "-1", 5 } }, "");
    clock_set(NOW + 60);
    cr_assert_eq(refuse("192.0.2.3", "signature", 1), CA_OK);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_refusal"), 1);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry"), 3);
    struct leaf_check check = { 0 };
    cr_assert_eq(store_read(scratch_store, leaves_closure, &check), CA_OK);
    cr_expect_eq(check.count, 3);
    struct listing listing = { .filter.actor = "peer:192.0.2.1" };
    cr_assert_eq(store_read(scratch_store, listing_closure, &listing), CA_OK);
    cr_expect_eq(json_integer_value(json_object_get(listing.last, "count")), 15);
    cr_expect_str_eq(json_string_value(json_object_get(listing.last, "time")),
                     "2026-11-22T10:00:00Z");
    const json_t *detail = json_object_get(listing.last, "detail");
    cr_expect_str_eq(json_string_value(json_object_get(detail, "reason")), "signature");
    cr_expect_eq(strlen(json_string_value(json_object_get(listing.last, "leaf"))), 64);
    text_buffer_clear(&listing.text);
    json_decref(listing.last);
    LEAK_CHECK();
}

static enum ca_status
fold_closure(struct store_tx *tx, void *arg)
{
    return audit_fold_refusals(tx, *(int64_t *)arg);
}

Test(audit, fold_takes_only_minutes_that_are_over)
{
    int64_t now = NOW + 59;
    cr_assert_eq(refuse("192.0.2.1", "signature", 1), CA_OK);
    cr_assert_eq(store_write(scratch_store, fold_closure, &now), CA_OK);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry"), 0);
    now = NOW + 60;
    cr_assert_eq(store_write(scratch_store, fold_closure, &now), CA_OK);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry"), 1);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_refusal"), 0);
}

static enum ca_status
flood_closure(struct store_tx *tx, void *arg)
{
    (void)arg;
    for (int i = 0; i < 1200; i++) {
        char source[32];
        snprintf(source, sizeof source, "2001:db8::%x", i);
        enum ca_status status = audit_count_refusal(tx, "scep", source, "signature");
        if (status != CA_OK)
            return status;
    }
    return CA_OK;
}

Test(audit, flood_from_many_sources_is_bounded_and_counted)
{
    cr_assert_eq(store_write(scratch_store, flood_closure, NULL), CA_OK, "%s",
                 status_message());
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_refusal"), 1001);
    cr_expect_eq(scratch_integer("SELECT SUM(count) FROM audit_refusal"), 1200);
    cr_expect_eq(scratch_integer("SELECT count FROM audit_refusal WHERE source = '*'"),
                 200);
}

Test(audit, R7_source_and_reason_of_a_peer_come_out_clean)
{
    char large[1000];
    memset(large, 'a', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    cr_assert_eq(refuse("a\nb\xff", large, 1), CA_OK);
    expect_listing((struct listing){ 0 }, "-1 request.refuse peer:a?b? x1; ");
    cr_expect_eq(scratch_integer("SELECT LENGTH(reason) FROM audit_refusal"), 255);
}

Test(audit, I2_full_disk_fails_the_append_and_what_it_belongs_to)
{
    disk_limit(4096);
    cr_expect_eq(append("certificate.issue", "system", "certificate:01"),
                 CA_UNAVAILABLE);
    cr_expect_eq(refuse("192.0.2.1", "signature", 1), CA_UNAVAILABLE);
    disk_limit(RLIM_INFINITY);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM audit_entry"), 0);
    cr_expect_eq(append("certificate.issue", "system", "certificate:01"), CA_OK, "%s",
                 status_message());
    expect_listing((struct listing){ 0 }, "0 certificate.issue system x1; ");
}
