/* Field tables: JSON in and out, every refusal with its pointer, copies, schemas. */
#include "auto.h"
#include "field.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

struct part {
    char *name;
    int64_t bits;
    char *pin;
};

struct thing {
    char *name, *note, *pem, *secret;
    int64_t number, free_number, duration, time;
    bool flag;
    int choice;
    unsigned choices;
    struct field_list texts, names, parts;
    struct part part;
    json_t *json, *secret_json;
    int64_t version, made;
    struct field_list groups;
};

static const char *const words[] = { "rsa", "ec", "ed25519", NULL };

static bool
is_power_of_two(const void *member, char *ret_reason, size_t size)
{
    int64_t number = *(const int64_t *)member;
    if (number > 0 && (number & (number - 1)) == 0)
        return true;
    snprintf(ret_reason, size, "must be a power of two");
    return false;
}

static const struct field part_fields[] = {
    { FIELD(part, name), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1,
      .max = 8, .help = "How it is called." },
    { FIELD(part, bits), .type = FIELD_INTEGER, .min = 2, .max = 64, .initial = "8",
      .check = is_power_of_two },
    { FIELD(part, pin), .type = FIELD_TEXT, .flags = FIELD_SECRET },
    FIELD_END,
};

static const struct field one_part_fields[] = {
    { FIELD(part, name), .type = FIELD_TEXT, .initial = "\"inner\"" },
    { FIELD(part, bits), .type = FIELD_INTEGER, .initial = "4" },
    { FIELD(part, pin), .type = FIELD_TEXT, .flags = FIELD_SECRET },
    FIELD_END,
};

static const struct field thing_fields[] = {
    { FIELD(thing, name), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "The key." },
    { FIELD(thing, note), .type = FIELD_TEXT, .max = 12, .initial = "\"none\"" },
    { FIELD(thing, pem), .type = FIELD_TEXT, .flags = FIELD_LINES },
    { FIELD(thing, secret), .type = FIELD_TEXT, .flags = FIELD_SECRET },
    { FIELD(thing, number), .type = FIELD_INTEGER, .min = 0, .max = 5, .initial = "3" },
    { FIELD(thing, free_number), .type = FIELD_INTEGER },
    { FIELD(thing, duration), .type = FIELD_DURATION, .min = 60, .max = 86400,
      .initial = "\"PT5M\"", .help = "How long." },
    { FIELD(thing, time), .type = FIELD_TIME },
    { FIELD(thing, flag), .type = FIELD_BOOLEAN, .initial = "true" },
    { FIELD(thing, choice), .type = FIELD_CHOICE, .words = words, .initial = "\"ec\"" },
    { FIELD(thing, choices), .type = FIELD_CHOICES, .words = words },
    { FIELD(thing, texts), .type = FIELD_TEXTS, .min = 1, .max = 4, .count_max = 3,
      .initial = "[\"a\"]" },
    { FIELD(thing, names), .type = FIELD_TEXTS, .flags = FIELD_NAME },
    { FIELD(thing, parts), .type = FIELD_OBJECTS, .fields = part_fields, .count_max = 4,
      .item_size = sizeof(struct part) },
    { FIELD(thing, part), .type = FIELD_OBJECT, .fields = one_part_fields,
      .item_size = sizeof(struct part) },
    { FIELD(thing, json), .type = FIELD_JSON },
    { FIELD(thing, secret_json), .type = FIELD_JSON, .flags = FIELD_SECRET },
    { FIELD(thing, version), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY },
    { FIELD(thing, made), .type = FIELD_TIME, .flags = FIELD_READ_ONLY },
    { FIELD(thing, groups), .type = FIELD_TEXTS, .flags = FIELD_READ_ONLY },
    FIELD_END,
};

static json_t *
parse(const char *text)
{
    json_t *json = NULL;
    enum ca_status status = field_parse(text, strlen(text), 100000, &json);
    cr_assert_eq(status, CA_OK, "%s: %s", text, status_message());
    return json;
}

static struct thing
decode(const char *text)
{
    struct thing thing = { 0 };
    CA_AUTO(json_decref) json_t *json = parse(text);
    enum ca_status status = field_decode(thing_fields, json, &thing, NULL);
    cr_assert_eq(status, CA_OK, "%s: %s", text, status_message());
    return thing;
}

static void
assert_zero(const struct thing *thing)
{
    static const struct thing zero;
    cr_assert(memcmp(thing, &zero, sizeof zero) == 0, "the record is not cleared");
}

Test(field, absent_members_take_their_initial_values)
{
    static const char *const bodies[] = {
        "{\"name\":\"a\"}",
        "{\"name\":\"a\",\"note\":null,\"number\":null,\"texts\":null,\"part\":null,"
        "\"flag\":null,\"choice\":null,\"parts\":null,\"json\":null,\"version\":null}"
    };
    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct thing thing = decode(bodies[i]);
        cr_expect_str_eq(thing.note, "none");
        cr_expect_eq(thing.number, 3);
        cr_expect_eq(thing.free_number, 0);
        cr_expect_eq(thing.duration, 300);
        cr_expect(thing.flag && thing.choice == 1 && thing.choices == 0);
        cr_expect(thing.texts.count == 1 &&
                  strcmp(((char **)thing.texts.items)[0], "a") == 0);
        cr_expect_str_eq(thing.part.name, "inner");
        cr_expect_eq(thing.part.bits, 4);
        cr_expect(!thing.pem && !thing.secret && !thing.json && !thing.parts.items);
        field_clear(thing_fields, &thing);
        assert_zero(&thing);
    }
    LEAK_CHECK();
}

static const char full[] =
    "{\"name\":\"alice@example.com\",\"note\":\"M\xc3\xbcller\",\"pem\":\"-"
    "\\r\\nA\\n\","
    "\"secret\":\"s3cret\",\"number\":0,\"free_number\":-9223372036854775808,"
    "\"duration\":\"P1D\",\"time\":\"2026-11-22T10:00:00Z\",\"flag\":false,"
    "\"choice\":\"ed25519\",\"choices\":[\"ed25519\",\"rsa\"],\"texts\":[\"a\",\"bb\"],"
    "\"names\":[\"x.y\"],\"parts\":[{\"name\":\"p\",\"pin\":\"1\"},{\"name\":\"q\","
    "\"bits\":64}],\"part\":{\"name\":null,\"bits\":9,\"pin\":\"2\"},"
    "\"json\":{\"a\":[1,2.5,null]},\"secret_json\":{\"k\":[\"v\"]}}";

Test(field, every_type_is_read)
{
    struct thing thing = decode(full);
    const struct part *parts = thing.parts.items;
    cr_expect_str_eq(thing.name, "alice@example.com");
    cr_expect_str_eq(thing.note, "M\xc3\xbcller");
    cr_expect_str_eq(thing.pem, "-\r\nA\n");
    cr_expect_str_eq(thing.secret, "s3cret");
    cr_expect_eq(thing.number, 0);
    cr_expect_eq(thing.free_number, INT64_MIN);
    cr_expect_eq(thing.duration, 86400);
    cr_expect_eq(thing.time, 1795341600);
    cr_expect(!thing.flag && thing.choice == 2 && thing.choices == 5u);
    cr_expect_eq(thing.texts.count, 2);
    cr_expect_str_eq(((char **)thing.texts.items)[1], "bb");
    cr_assert_eq(thing.parts.count, 2);
    cr_expect(parts[0].bits == 8 && parts[1].bits == 64 && !parts[1].pin);
    cr_expect_str_eq(parts[0].pin, "1");
    cr_expect_str_eq(thing.part.name, "inner");
    cr_expect_eq(json_array_size(json_object_get(thing.json, "a")), 3);
    field_clear(thing_fields, &thing);
    assert_zero(&thing);
    field_clear(thing_fields, &thing);
    LEAK_CHECK();
}

Test(field, I5_what_goes_out_has_no_secret_and_every_other_member)
{
    struct thing thing = decode(full);
    CA_AUTO(json_decref) json_t *out = field_encode(thing_fields, &thing);
    CA_AUTO(json_decref)
    json_t *wanted = parse(
        "{\"name\":\"alice@example.com\",\"note\":\"M\xc3\xbcller\","
        "\"pem\":\"-\\r\\nA\\n\",\"number\":0,\"free_number\":-9223372036854775808,"
        "\"duration\":\"P1D\",\"time\":\"2026-11-22T10:00:00Z\",\"flag\":false,"
        "\"choice\":\"ed25519\",\"choices\":[\"rsa\",\"ed25519\"],"
        "\"texts\":[\"a\",\"bb\"],\"names\":[\"x.y\"],"
        "\"parts\":[{\"name\":\"p\",\"bits\":8},{\"name\":\"q\",\"bits\":64}],"
        "\"part\":{\"name\":\"inner\",\"bits\":9},\"json\":{\"a\":[1,2.5,null]},"
        "\"version\":0,\"made\":null,\"groups\":[]}");
    CA_AUTO(free) char *text = json_dumps(out, 0);
    cr_expect(json_equal(out, wanted), "%s", text);
    field_clear(thing_fields, &thing);
    LEAK_CHECK();
}

Test(field, a_record_its_table_cannot_describe_is_not_encoded)
{
    struct thing thing = decode("{\"name\":\"a\"}");
    thing.choice = 3;
    cr_expect(!field_encode(thing_fields, &thing));
    thing.choice = -1;
    cr_expect(!field_encode(thing_fields, &thing));
    thing.choice = 0;
    thing.note[0] = '\xff';
    cr_expect(!field_encode(thing_fields, &thing));
    field_clear(thing_fields, &thing);
    LEAK_CHECK();
}

/* One wrong body, the only pointer and a piece of the reason it must give. */
static const struct {
    const char *body, *pointer, *reason;
} wrong[] = {
    { "[]", "", "object" },
    { "\"x\"", "", "object" },
    { "{}", "/name", "required" },
    { "{\"name\":null}", "/name", "required" },
    { "{\"name\":\"a\",\"nome\":1}", "/nome", "unknown member" },
    { "{\"name\":\"a\",\"\":1}", "/", "unknown member" },
    { "{\"name\":\"a\",\"a/b~c\":1}", "/a~1b~0c", "unknown member" },
    { "{\"name\":\"a\",\"NAME\":\"b\"}", "/NAME", "unknown member" },
    { "{\"name\":1}", "/name", "string" },
    { "{\"name\":\"\"}", "/name", "name" },
    { "{\"name\":\"Alice\"}", "/name", "name" },
    { "{\"name\":\".a\"}", "/name", "name" },
    { "{\"name\":\"a/b\"}", "/name", "name" },
    { "{\"name\":\"a b\"}", "/name", "name" },
    { "{\"name\":\"m\xc3\xbcller\"}", "/name", "name" },
    { "{\"name\":\"a\",\"note\":\"0123456789abc\"}", "/note", "0 to 12 octets" },
    { "{\"name\":\"a\",\"note\":\"a\\nb\"}", "/note", "control" },
    { "{\"name\":\"a\",\"note\":\"\\u202e\"}", "/note", "control" },
    { "{\"name\":\"a\",\"pem\":\"a\\rb\"}", "/pem", "control" },
    { "{\"name\":\"a\",\"pem\":\"a\\r\"}", "/pem", "control" },
    { "{\"name\":\"a\",\"pem\":\"a\\n\\tb\"}", "/pem", "control" },
    { "{\"name\":\"a\",\"number\":\"1\"}", "/number", "integer" },
    { "{\"name\":\"a\",\"number\":1.0}", "/number", "integer" },
    { "{\"name\":\"a\",\"number\":6}", "/number", "0 to 5" },
    { "{\"name\":\"a\",\"number\":-1}", "/number", "0 to 5" },
    { "{\"name\":\"a\",\"duration\":300}", "/duration", "duration" },
    { "{\"name\":\"a\",\"duration\":\"5M\"}", "/duration", "duration" },
    { "{\"name\":\"a\",\"duration\":\"PT59S\"}", "/duration", "PT1M to P1D" },
    { "{\"name\":\"a\",\"duration\":\"P2D\"}", "/duration", "PT1M to P1D" },
    { "{\"name\":\"a\",\"time\":\"2026-02-30T00:00:00Z\"}", "/time", "time" },
    { "{\"name\":\"a\",\"time\":7}", "/time", "time" },
    { "{\"name\":\"a\",\"flag\":1}", "/flag", "true or false" },
    { "{\"name\":\"a\",\"flag\":\"true\"}", "/flag", "true or false" },
    { "{\"name\":\"a\",\"choice\":\"dsa\"}", "/choice", "rsa, ec, ed25519" },
    { "{\"name\":\"a\",\"choice\":1}", "/choice", "rsa, ec, ed25519" },
    { "{\"name\":\"a\",\"choices\":\"ec\"}", "/choices", "list" },
    { "{\"name\":\"a\",\"choices\":[\"ec\",\"rsa\",\"ec\"]}", "/choices/2", "already" },
    { "{\"name\":\"a\",\"choices\":[\"ec\",null]}", "/choices/1", "one of" },
    { "{\"name\":\"a\",\"texts\":[\"a\",\"\"]}", "/texts/1", "1 to 4 octets" },
    { "{\"name\":\"a\",\"texts\":[\"a\",2]}", "/texts/1", "string" },
    { "{\"name\":\"a\",\"texts\":{}}", "/texts", "list" },
    { "{\"name\":\"a\",\"texts\":[\"a\",\"b\",\"c\",\"d\"]}", "/texts", "at most 3" },
    { "{\"name\":\"a\",\"names\":[\"a\",\"B\"]}", "/names/1", "name" },
    { "{\"name\":\"a\",\"parts\":{}}", "/parts", "list" },
    { "{\"name\":\"a\",\"parts\":[{\"name\":\"a\"},1]}", "/parts/1", "object" },
    { "{\"name\":\"a\",\"parts\":[{}]}", "/parts/0/name", "required" },
    { "{\"name\":\"a\",\"parts\":[{\"name\":\"a\",\"x\":1}]}", "/parts/0/x",
      "unknown" },
    { "{\"name\":\"a\",\"parts\":[{\"name\":\"a\",\"bits\":12}]}", "/parts/0/bits",
      "power of two" },
    { "{\"name\":\"a\",\"parts\":[{\"name\":\"a\",\"bits\":65}]}", "/parts/0/bits",
      "2 to 64" },
    { "{\"name\":\"a\",\"part\":[]}", "/part", "object" },
    { "{\"name\":\"a\",\"part\":{\"bits\":true}}", "/part/bits", "integer" },
    { "{\"name\":\"a\",\"version\":0}", "/version", "read-only" },
    { "{\"name\":\"a\",\"groups\":[]}", "/groups", "read-only" },
};

Test(field, W4_each_wrong_body_is_refused_at_its_pointer)
{
    for (size_t i = 0; i < COUNT(wrong); i++) {
        struct thing thing = { 0 };
        struct field_errors errors = { 0 };
        CA_AUTO(json_decref) json_t *json = parse(wrong[i].body);
        cr_expect_eq(field_decode(thing_fields, json, &thing, &errors), CA_MALFORMED,
                     "%s", wrong[i].body);
        cr_expect_eq(errors.count, 1, "%s", wrong[i].body);
        cr_expect_str_eq(errors.items[0].pointer, wrong[i].pointer, "%s",
                         wrong[i].body);
        cr_expect(strstr(errors.items[0].reason, wrong[i].reason), "%s: %s",
                  wrong[i].body, errors.items[0].reason);
        assert_zero(&thing);
    }
    LEAK_CHECK();
}

Test(field, all_errors_are_collected_and_the_first_is_the_message)
{
    struct thing thing = { 0 };
    struct field_errors errors = { 0 };
    CA_AUTO(json_decref)
    json_t *json =
        parse("{\"name\":\"A\",\"number\":9,\"zz\":1,\"parts\":[{\"name\":\"a\"},{}]}");
    cr_assert_eq(field_decode(thing_fields, json, &thing, &errors), CA_MALFORMED);
    static const char *const pointers[] = { "/zz", "/name", "/number",
                                            "/parts/1/name" };
    cr_assert_eq(errors.count, COUNT(pointers));
    for (size_t i = 0; i < COUNT(pointers); i++)
        cr_expect_str_eq(errors.items[i].pointer, pointers[i]);
    cr_expect_str_eq(status_message(), "zz: unknown member");
    cr_expect_eq(field_decode(thing_fields, json, &thing, NULL), CA_MALFORMED);
    cr_expect_str_eq(status_message(), "zz: unknown member");
    LEAK_CHECK();
}

Test(field, R8_no_more_than_16_errors_are_kept_and_pointers_end_between_characters)
{
    struct thing thing = { 0 };
    struct field_errors errors = { 0 };
    CA_AUTO(json_decref) json_t *json = json_object();
    for (int i = 0; i < 40; i++) {
        char name[400];
        memset(name, 0, sizeof name);
        for (int j = 0; j < 130 + i; j++)
            memcpy(name + i % 2 + 2 * j, "\xc3\xbc", 2);
        if (i % 2)
            name[0] = '/';
        json_object_set_new(json, name, json_null());
    }
    cr_assert_eq(field_decode(thing_fields, json, &thing, &errors), CA_MALFORMED);
    cr_assert_eq(errors.count, 16);
    for (size_t i = 0; i < 16; i++) {
        size_t length = strlen(errors.items[i].pointer);
        cr_expect(length == 127 || length == 126, "%zu", length);
        cr_expect(text_is_clean(errors.items[i].pointer, length));
    }
    /* A list that was full before the call does not hide that this call failed. */
    cr_expect_eq(field_decode(thing_fields, json, &thing, &errors), CA_MALFORMED);
    LEAK_CHECK();
}

Test(field, I5_reasons_never_repeat_a_value)
{
    static const char *const bodies[] = {
        "{\"name\":\"HUNTER2\"}",
        "{\"name\":\"a\",\"choice\":\"HUNTER2\"}",
        "{\"name\":\"a\",\"time\":\"HUNTER2\"}",
        "{\"name\":\"a\",\"duration\":\"HUNTER2\"}",
        "{\"name\":\"a\",\"secret\":\"HUNTER2\\u0007\"}",
        "{\"name\":\"a\",\"number\":\"HUNTER2\"}"
    };
    for (size_t i = 0; i < COUNT(bodies); i++) {
        struct thing thing = { 0 };
        struct field_errors errors = { 0 };
        CA_AUTO(json_decref) json_t *json = parse(bodies[i]);
        cr_expect_eq(field_decode(thing_fields, json, &thing, &errors), CA_MALFORMED);
        cr_expect(!strstr(status_message(), "HUNTER2"), "%s", status_message());
        cr_expect(!strstr(errors.items[0].reason, "HUNTER2"));
    }
    json_t *json = NULL;
    const char *text = "{\"secret\":\"HUNTER2\" \"x\"}";
    cr_expect_eq(field_parse(text, strlen(text), 100, &json), CA_MALFORMED);
    cr_expect(!strstr(status_message(), "HUNTER2"), "%s", status_message());
    LEAK_CHECK();
}

Test(field, an_update_takes_back_what_was_read)
{
    struct thing present = decode(full), updated = { 0 };
    present.version = 7;
    present.made = 1795341600;
    char *group = strdup("staff");
    present.groups = (struct field_list){ calloc(1, sizeof group), 1 };
    ((char **)present.groups.items)[0] = group;
    CA_AUTO(json_decref) json_t *out = field_encode(thing_fields, &present);
    cr_assert_eq(field_decode_over(thing_fields, out, &present, &updated, NULL), CA_OK,
                 "%s", status_message());
    cr_expect_eq(updated.version, 7);
    cr_expect_eq(updated.made, 1795341600);
    cr_assert_eq(updated.groups.count, 1);
    cr_expect_str_eq(((char **)updated.groups.items)[0], "staff");
    cr_expect(((char **)updated.groups.items)[0] != group, "a copy");
    cr_expect_str_eq(updated.secret, "s3cret");
    cr_expect_str_eq(updated.part.pin, "2");
    cr_expect(json_equal(updated.secret_json, present.secret_json));
    CA_AUTO(json_decref) json_t *again = field_encode(thing_fields, &updated);
    cr_expect(json_equal(out, again));
    const struct part *parts = updated.parts.items;
    cr_expect(!parts[0].pin, "items of a list are new ones");
    field_clear(thing_fields, &updated);
    field_clear(thing_fields, &present);
    LEAK_CHECK();
}

Test(field, an_update_keeps_what_cannot_be_given_and_resets_the_rest)
{
    struct thing present = decode(full), updated = { 0 };
    present.version = 7;
    CA_AUTO(json_decref) json_t *body = parse("{\"secret\":\"new\"}");
    cr_assert_eq(field_decode_over(thing_fields, body, &present, &updated, NULL), CA_OK,
                 "%s", status_message());
    cr_expect_str_eq(updated.name, "alice@example.com");
    cr_expect_str_eq(updated.secret, "new");
    cr_expect_str_eq(updated.part.pin, "2");
    cr_expect_eq(updated.version, 7);
    cr_expect_str_eq(updated.note, "none");
    cr_expect(updated.number == 3 && updated.parts.count == 0 && !updated.json);
    field_clear(thing_fields, &updated);
    field_clear(thing_fields, &present);
    LEAK_CHECK();
}

Test(field, an_update_cannot_change_a_read_only_member)
{
    static const struct {
        const char *body, *pointer;
    } cases[] = {
        { "{\"version\":8}", "/version" },
        { "{\"version\":\"7\"}", "/version" },
        { "{\"made\":\"2026-11-22T10:00:00Z\"}", "/made" },
        { "{\"groups\":[\"admins\"]}", "/groups" },
    };
    struct thing present = decode(full), updated = { 0 };
    present.version = 7;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct field_errors errors = { 0 };
        CA_AUTO(json_decref) json_t *body = parse(cases[i].body);
        cr_expect_eq(field_decode_over(thing_fields, body, &present, &updated, &errors),
                     CA_MALFORMED, "%s", cases[i].body);
        cr_expect_str_eq(errors.items[0].pointer, cases[i].pointer);
        assert_zero(&updated);
    }
    field_clear(thing_fields, &present);
    LEAK_CHECK();
}

Test(field, a_copy_is_deep)
{
    struct thing thing = decode(full), copy = { 0 };
    cr_assert(field_copy(thing_fields, &thing, &copy));
    CA_AUTO(json_decref) json_t *before = field_encode(thing_fields, &thing);
    cr_expect(copy.secret && copy.secret != thing.secret && copy.json != thing.json);
    field_clear(thing_fields, &thing);
    cr_expect_str_eq(copy.secret, "s3cret");
    CA_AUTO(json_decref) json_t *after = field_encode(thing_fields, &copy);
    cr_expect(json_equal(before, after));
    field_clear(thing_fields, &copy);
    LEAK_CHECK();
}

Test(field, I5_input_is_wiped)
{
    json_t *json = parse("{\"a\":[{\"password\":\"hunter2\"}]}");
    json_t *secret =
        json_object_get(json_array_get(json_object_get(json, "a"), 0), "password");
    json_incref(secret);
    field_json_wipe(json);
    cr_expect_eq(json_string_length(secret), 7);
    cr_expect(memcmp(json_string_value(secret), "\0\0\0\0\0\0\0", 7) == 0);
    json_decref(secret);
    field_json_wipe(NULL);
    LEAK_CHECK();
}

Test(field, R8_json_has_limits)
{
    char deep[2 * 40 + 1], wide[] = "[[],[],[],\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]";
    json_t *json = NULL;
    for (int depth = 31; depth <= 34; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        enum ca_status status = field_parse(deep, 2 * (size_t)depth, 1000, &json);
        cr_expect_eq(status, depth <= 32 ? CA_OK : CA_LIMIT, "%d", depth);
        if (status == CA_OK)
            json_decref(json);
    }
    cr_expect_eq(field_parse(wide, strlen(wide), 1000, &json), CA_OK);
    json_decref(json);
    json = NULL;
    cr_expect_eq(field_parse("{}", 2, 1, &json), CA_LIMIT);
    cr_expect_eq(field_parse("!!", 2, 1, &json), CA_LIMIT, "size before content");
    cr_expect(!json);
    LEAK_CHECK();
}

Test(field, json_that_is_no_single_value_is_refused)
{
    static const struct {
        const char *text;
        size_t size;
        const char *reason;
    } cases[] = {
        { "", 0, "ends early" },
        { "{", 1, "ends early" },
        { "{} {}", 5, "after the value" },
        { "{}\0", 3, "" },
        { "{\"a\":1,\"a\":1}", 13, "member twice" },
        { "{\"a\":1,\"\\u0061\":1}", 18, "member twice" },
        { "{\"a\":{\"b\":1,\"b\":2}}", 19, "member twice" },
        { "\"\\u0000\"", 8, "NUL" },
        { "{\"\\u0000\":1}", 12, "NUL" },
        { "\"a\0b\"", 5, "" },
        { "\"\xff\"", 3, "UTF-8" },
        { "\"\xc0\xaf\"", 4, "UTF-8" },
        { "\"\\ud800\"", 8, "" },
        { "\xef\xbb\xbf{}", 5, "" },
        { "9223372036854775808", 19, "out of range" },
        { "1e999", 5, "out of range" },
        { "01", 2, "" },
        { "nul", 3, "" },
        { "{'a':1}", 7, "" },
        { "[1,]", 4, "" },
        { "// c\n1", 6, "" },
        { "NaN", 3, "" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        json_t *json = NULL;
        cr_expect_eq(field_parse(cases[i].text, cases[i].size, 1000, &json),
                     CA_MALFORMED, "%s", cases[i].text);
        cr_expect(!json);
        cr_expect(strstr(status_message(), cases[i].reason), "%s: %s", cases[i].text,
                  status_message());
        cr_expect(strstr(status_message(), "line "), "%s", status_message());
    }
    LEAK_CHECK();
}

Test(field, the_schema_says_what_is_taken)
{
    CA_AUTO(json_decref) json_t *schema = field_schema(thing_fields, true);
    CA_AUTO(json_decref)
    json_t *some = parse(
        "{\"name\":{\"type\":\"string\",\"pattern\":\"^[a-z0-9][a-z0-9._@-]{0,63}$\","
        "\"description\":\"The key.\"},"
        "\"note\":{\"type\":[\"string\",\"null\"],\"maxLength\":12,\"default\":"
        "\"none\","
        "\"description\":\"\"},"
        "\"secret\":{\"type\":[\"string\",\"null\"],\"maxLength\":1024,"
        "\"writeOnly\":true,\"description\":\"\"},"
        "\"number\":{\"type\":[\"integer\",\"null\"],\"minimum\":0,\"maximum\":5,"
        "\"default\":3,\"description\":\"\"},"
        "\"free_number\":{\"type\":[\"integer\",\"null\"],\"description\":\"\"},"
        "\"duration\":{\"type\":[\"string\",\"null\"],\"format\":\"duration\","
        "\"default\":\"PT5M\",\"description\":\"How long. From PT1M to P1D.\"},"
        "\"time\":{\"type\":[\"string\",\"null\"],\"format\":\"date-time\","
        "\"description\":\"\"},"
        "\"flag\":{\"type\":[\"boolean\",\"null\"],\"default\":true,\"description\":"
        "\"\"},"
        "\"choice\":{\"type\":[\"string\",\"null\"],\"default\":\"ec\",\"enum\":["
        "\"rsa\","
        "\"ec\",\"ed25519\",null],\"description\":\"\"},"
        "\"choices\":{\"type\":[\"array\",\"null\"],\"uniqueItems\":true,\"items\":"
        "{\"type\":\"string\",\"enum\":[\"rsa\",\"ec\",\"ed25519\"]},"
        "\"description\":\"\"},"
        "\"texts\":{\"type\":[\"array\",\"null\"],\"maxItems\":3,\"default\":[\"a\"],"
        "\"items\":{\"type\":\"string\",\"minLength\":1,\"maxLength\":4},"
        "\"description\":\"\"},"
        "\"json\":{\"description\":\"\"}}");
    const char *name;
    json_t *wanted, *properties = json_object_get(schema, "properties");
    json_object_foreach (some, name, wanted) {
        CA_AUTO(free) char *text = json_dumps(json_object_get(properties, name), 0);
        cr_expect(json_equal(json_object_get(properties, name), wanted), "%s: %s", name,
                  text);
    }
    cr_expect(json_is_false(json_object_get(schema, "additionalProperties")));
    cr_expect_eq(json_object_size(properties), 17, "all but three read-only ones");
    cr_expect(!json_object_get(properties, "version"));
    CA_AUTO(json_decref) json_t *required = parse("[\"name\"]");
    cr_expect(json_equal(json_object_get(schema, "required"), required));
    json_t *part = json_object_get(
        json_object_get(json_object_get(properties, "parts"), "items"), "properties");
    cr_expect_eq(json_object_size(part), 3);
    LEAK_CHECK();
}

Test(field, the_schema_says_what_goes_out)
{
    CA_AUTO(json_decref) json_t *schema = field_schema(thing_fields, false);
    json_t *properties = json_object_get(schema, "properties");
    cr_expect_eq(json_object_size(properties), 18, "all but two secrets");
    cr_expect_eq(json_array_size(json_object_get(schema, "required")), 18);
    cr_expect(!json_object_get(properties, "secret"));
    json_t *version = json_object_get(properties, "version");
    cr_expect(json_is_true(json_object_get(version, "readOnly")));
    cr_expect_str_eq(json_string_value(json_object_get(version, "type")), "integer");
    cr_expect(
        json_is_array(json_object_get(json_object_get(properties, "made"), "type")),
        "may be null");
    LEAK_CHECK();
}
