/* What records share. */
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "record.h"
#include "scratch_store.h"
#include <criterion/criterion.h>

TestSuite(record, .init = scratch_store_open, .fini = scratch_store_close);

struct thing {
    char *name;
    int64_t number;
    bool flag;
    int choice;
    unsigned bits;
    struct field_list texts;
    json_t *json;
    void *blob;
    size_t blob_size;
    uint8_t octets[4];
};

static const struct record_column columns[] = {
    RECORD_COLUMN(thing, TEXT, name),    RECORD_COLUMN(thing, INTEGER, number),
    RECORD_COLUMN(thing, BOOLEAN, flag), RECORD_COLUMN(thing, CHOICE, choice),
    RECORD_COLUMN(thing, CHOICES, bits), RECORD_COLUMN(thing, TEXTS, texts),
    RECORD_COLUMN(thing, JSON, json),    RECORD_COLUMN_BLOB(thing, blob, blob_size),
    RECORD_COLUMN_OCTETS(thing, octets), { .type = RECORD_COLUMN_END },
};

struct loading {
    const char *sql;
    struct thing thing;
};

static enum ca_status
load_closure(struct store_tx *tx, void *arg)
{
    struct loading *loading = arg;
    struct record_select select = { columns, sizeof(struct thing), loading->sql };
    return record_load(tx, &select, STORE_NO_VALUES, &loading->thing);
}

Test(record, row_becomes_a_record)
{
    struct loading loading = { .sql = "SELECT 'n', -7, 1, 2, 5, '[\"a\",\"\"]', "
                                      "'{\"x\":[1]}', x'0102', x'0a0b0c0d'" };
    const struct thing *thing = &loading.thing;
    cr_assert_eq(store_read(scratch_store, load_closure, &loading), CA_OK, "%s",
                 status_message());
    cr_expect_str_eq(thing->name, "n");
    cr_expect_eq(thing->number, -7);
    cr_expect(thing->flag && thing->choice == 2 && thing->bits == 5);
    cr_assert_eq(thing->texts.count, 2);
    cr_expect_str_eq(((char **)thing->texts.items)[0], "a");
    cr_expect_str_eq(((char **)thing->texts.items)[1], "");
    cr_expect_eq(json_array_size(json_object_get(thing->json, "x")), 1);
    cr_expect(thing->blob_size == 2 && memcmp(thing->blob, "\1\2", 3) == 0);
    cr_expect_arr_eq(thing->octets, "\x0a\x0b\x0c\x0d", 4);
    record_clear(columns, &loading.thing);
    cr_expect_null(thing->name);
    cr_expect_null(thing->blob);
    cr_expect_eq(thing->texts.count, 0);
    LEAK_CHECK();
}

Test(record, nulls_leave_it_empty)
{
    struct loading loading = {
        .sql = "SELECT NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL"
    };
    cr_assert_eq(store_read(scratch_store, load_closure, &loading), CA_OK);
    static const struct thing empty;
    cr_expect_null(loading.thing.name);
    cr_expect_null(loading.thing.json);
    cr_expect_null(loading.thing.blob);
    cr_expect_null(loading.thing.texts.items);
    cr_expect_arr_eq(loading.thing.octets, empty.octets, 4);
    LEAK_CHECK();
}

Test(record, what_the_store_should_not_hold_is_an_error_and_leaves_nothing)
{
    static const struct {
        const char *sql;
        enum ca_status status;
    } cases[] = {
        { "SELECT 'n', 1, 1, 1, 1, '[\"a\", 1]', '{}', x'01', x'0a0b0c0d'",
          CA_INTERNAL },
        { "SELECT 'n', 1, 1, 1, 1, '{}', '{}', x'01', x'0a0b0c0d'", CA_INTERNAL },
        { "SELECT 'n', 1, 1, 1, 1, '[\"a\"]', '{', x'01', x'0a0b0c0d'", CA_INTERNAL },
        { "SELECT 'n', 1, 1, 1, 1, '[\"a\"]', '{}', x'01', x'0a0b0c'", CA_INTERNAL },
        { "SELECT 'n' FROM admin", CA_NOT_FOUND },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct loading loading = { .sql = cases[i].sql };
        cr_expect_eq(store_read(scratch_store, load_closure, &loading), cases[i].status,
                     "%s", cases[i].sql);
        cr_expect_null(loading.thing.name);
    }
    LEAK_CHECK();
}

Test(record, texts_go_both_ways)
{
    char a[] = "a\"b", b[] = "";
    char *items[] = { a, b };
    struct field_list texts = { items, 2 }, none = { 0 }, back = { 0 };
    CA_AUTO(free) char *text = record_texts_format(&texts);
    CA_AUTO(free) char *empty = record_texts_format(&none);
    cr_expect_str_eq(text, "[\"a\\\"b\",\"\"]");
    cr_expect_str_eq(empty, "[]");
    cr_expect_null(record_json_format(NULL));
    cr_assert_eq(record_texts_parse(text, &back), CA_OK);
    cr_expect_str_eq(((char **)back.items)[0], "a\"b");
    free(((char **)back.items)[0]);
    free(((char **)back.items)[1]);
    free(back.items);
    LEAK_CHECK();
}

Test(record, page_limits_are_bounded)
{
    static const struct {
        int64_t limit, expected;
    } cases[] = { { 0, 100 },     { -1, 100 },    { 1, 1 },
                  { 1000, 1000 }, { 1001, 1000 }, { INT64_MAX, 1000 } };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_expect_eq(record_page_limit(&(struct record_page){ NULL, cases[i].limit }),
                     cases[i].expected);
    cr_expect_str_eq(record_page_after(&(struct record_page){ 0 }), "");
}

Test(record, stamp_counts_changes)
{
    struct record_stamp stamp = { 0 };
    clock_set(100);
    record_stamp_first(&stamp);
    clock_set(200);
    record_stamp_next(&stamp);
    cr_expect(stamp.created == 100 && stamp.updated == 200 && stamp.version == 2);
}
