/* Any body: parsed, then read by a table with a member of every type, encoded, read
 * back and described again without a change. */
#include "field.h"
#include "fuzz.h"
#include <string.h>

#define BODY_MAX 65536

size_t fuzz_deep;

struct inner {
    char *name;
    int64_t bits;
    bool critical;
};

struct body {
    char *name, *lines, *secret;
    int64_t number, duration, time;
    bool flag;
    int choice;
    unsigned choices;
    struct field_list texts, objects;
    struct inner object;
    json_t *json;
    int64_t version;
};

static const char *const words[] = { "rsa", "ec", "ed25519", NULL };

static const struct field inner_fields[] = {
    { FIELD(inner, name), .type = FIELD_TEXT, .flags = FIELD_REQUIRED, .min = 1 },
    { FIELD(inner, bits), .type = FIELD_INTEGER, .min = -9, .max = 4096,
      .initial = "7" },
    { FIELD(inner, critical), .type = FIELD_BOOLEAN, .initial = "true" },
    FIELD_END,
};

static const struct field optional_fields[] = {
    { FIELD(inner, name), .type = FIELD_TEXT, .max = 20, .initial = "\"none\"" },
    { FIELD(inner, bits), .type = FIELD_INTEGER },
    FIELD_END,
};

static const struct field body_fields[] = {
    { FIELD(body, name), .type = FIELD_TEXT, .flags = FIELD_NAME },
    { FIELD(body, lines), .type = FIELD_TEXT, .flags = FIELD_LINES, .max = 4096 },
    { FIELD(body, secret), .type = FIELD_TEXT, .flags = FIELD_SECRET },
    { FIELD(body, number), .type = FIELD_INTEGER },
    { FIELD(body, duration), .type = FIELD_DURATION, .max = 31536000 },
    { FIELD(body, time), .type = FIELD_TIME },
    { FIELD(body, flag), .type = FIELD_BOOLEAN },
    { FIELD(body, choice), .type = FIELD_CHOICE, .words = words, .initial = "\"ec\"" },
    { FIELD(body, choices), .type = FIELD_CHOICES, .words = words },
    { FIELD(body, texts), .type = FIELD_TEXTS, .count_max = 5 },
    { FIELD(body, objects), .type = FIELD_OBJECTS, .fields = inner_fields,
      .item_size = sizeof(struct inner) },
    { FIELD(body, object), .type = FIELD_OBJECT, .fields = optional_fields,
      .item_size = sizeof(struct inner) },
    { FIELD(body, json), .type = FIELD_JSON },
    { FIELD(body, version), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY },
    FIELD_END,
};

/* What was read goes out and in again the same way. */
static void
go_round(const struct body *body)
{
    struct body copy = { 0 }, again = { 0 };
    json_t *once = field_encode(body_fields, body);
    FUZZ_ASSERT(once && field_copy(body_fields, body, &copy));
    FUZZ_ASSERT(field_decode_over(body_fields, once, &copy, &again, NULL) == CA_OK);
    json_t *twice = field_encode(body_fields, &again);
    FUZZ_ASSERT(json_equal(once, twice));
    FUZZ_ASSERT(!body->secret || strcmp(body->secret, again.secret) == 0);
    json_decref(once);
    json_decref(twice);
    field_clear(body_fields, &copy);
    field_clear(body_fields, &again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct body zero;
    struct body body = { 0 };
    struct field_errors errors = { 0 };
    json_t *json = NULL;
    if (field_parse((const char *)data, size, BODY_MAX, &json) != CA_OK)
        return 0;
    fuzz_deep++;
    enum ca_status status = field_decode(body_fields, json, &body, &errors);
    FUZZ_ASSERT((status == CA_OK) == (errors.count == 0));
    for (size_t i = 0; i < errors.count; i++) {
        json_t *text =
            json_pack("[s, s]", errors.items[i].pointer, errors.items[i].reason);
        FUZZ_ASSERT(text); /* cut at characters: still UTF-8 */
        json_decref(text);
    }
    if (status == CA_OK)
        go_round(&body);
    field_clear(body_fields, &body);
    FUZZ_ASSERT(memcmp(&body, &zero, sizeof body) == 0);
    field_json_wipe(json);
    return 0;
}
