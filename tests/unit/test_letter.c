/* Mail templates: the program's own are good, others are checked, versions are kept. */
#include "clock.h"
#include "leak.h"
#include "letter.h"
#include "scratch_records.h"

#define NOW 1795341600
#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

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

TestSuite(letter_store, .init = set_up, .fini = leave);

static struct letter
letter_new(const char *name, const char *subject, const char *text, const char *html)
{
    struct letter letter = { .name = strdup(name),
                             .subject = strdup(subject),
                             .text = strdup(text),
                             .html = html ? strdup(html) : NULL };
    return letter;
}

Test(letter, the_own_ones_keep_the_rules)
{
    const char *before = "";
    for (const struct letter_kind *kind = letter_kinds; kind->name; kind++) {
        struct field_errors errors = { 0 };
        struct letter letter =
            letter_new(kind->name, kind->subject, kind->text, kind->html);
        letter_check(&letter, &errors);
        cr_expect_eq(errors.count, 0, "%s%s: %s", kind->name, errors.items[0].pointer,
                     errors.items[0].reason);
        cr_expect_gt(strcmp(kind->name, before), 0, "not in order: %s", kind->name);
        before = kind->name;
        letter_clear(&letter);
    }
    LEAK_CHECK();
}

Test(letter, others_are_refused_for_what_is_wrong_with_them)
{
#define GOOD "{{activation.password}}"
    static const struct {
        const char *name, *subject, *text, *html;
        const char *pointer; /* NULL: it is good */
    } cases[] = {
        { "activation", "Hi {{user.name}}", GOOD, NULL, NULL },
        { "activation", "Hi", "{{activation.link}}", "{{activation.link}}", NULL },
        { "activation", "Hi", GOOD, GOOD "{{activation.qr}}", NULL },
        { "activation", "Hi " GOOD, GOOD, NULL, "/subject" },
        { "activation", "{{activation.link}}", GOOD, NULL, "/subject" },
        { "activation", "{{activation.qr}}", GOOD, NULL, "/subject" },
        { "activation", "Hi", GOOD "{{activation.qr}}", NULL, "/text" },
        { "activation", "Hi", "no password", NULL, "/text" },
        { "activation", "Hi", GOOD, "<p>no password</p>", "/html" },
        { "activation", "Hi", GOOD "{{user.shoe_size}}", NULL, "/text" },
        { "activation", "Hi", GOOD "{{user.name}", NULL, "/text" },
        { "activation", "Hi", GOOD "}", NULL, "/text" },
        { "activation_instructions", "Hi", "{{activation.url}}" GOOD, NULL, "/text" },
        { "activation_instructions", "{{activation.link}}", "{{activation.link}}", NULL,
          NULL },
        { "activation_password", "Hi", "{{activation.link}}", NULL, "/text" },
        { "invitation", "Hi", "{{invitation.code}}", "{{invitation.link}}", NULL },
        { "invitation", "Hi {{invitation.code}}", "{{invitation.code}}", NULL,
          "/subject" },
        { "invitation", "Hi", "{{activation.password}}", NULL, "/text" },
        { "login", "Hi", "{{event.time}}", "<p>{{event.source}}</p>", NULL },
        { "sales", "Hi", "Buy", NULL, "/name" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct field_errors errors = { 0 };
        struct letter letter =
            letter_new(cases[i].name, cases[i].subject, cases[i].text, cases[i].html);
        letter_check(&letter, &errors);
        if (cases[i].pointer) {
            cr_expect_eq(errors.count, 1, "case %zu: %zu errors", i, errors.count);
            cr_expect_str_eq(errors.items[0].pointer, cases[i].pointer, "case %zu: %s",
                             i, errors.items[0].reason);
        } else {
            cr_expect_eq(errors.count, 0, "case %zu: %s", i, errors.items[0].reason);
        }
        letter_clear(&letter);
    }
    LEAK_CHECK();
}

static void
visit_version(const struct letter *letter, struct gathered *gathered)
{
    char word[64];
    snprintf(word, sizeof word, "%lld%s", (long long)letter->stamp.version,
             letter->is_built_in ? "=own" : "");
    gather(gathered, word);
}

static enum ca_status
version_visit(const void *record, void *arg)
{
    visit_version(record, arg);
    return CA_OK;
}

static enum ca_status
name_visit(const void *record, void *arg)
{
    gather(arg, ((const struct letter *)record)->name);
    return CA_OK;
}

Test(letter_store, a_saved_one_holds_until_it_is_reset)
{
    struct store_tx *tx = scratch_begin();
    struct letter own = { 0 }, new = { 0 }, again = { 0 };
    CR_OK(letter_load(tx, "login", &own));
    cr_expect(own.is_built_in);
    cr_expect_eq(own.stamp.version, 1);
    new = letter_new("login", "Hello", "It was {{event.time}}", NULL);
    new.stamp.version = own.stamp.version;
    CR_OK(letter_save(tx, &new));
    cr_expect_eq(new.stamp.version, 2);
    CR_OK(letter_load(tx, "login", &again));
    cr_expect_not(again.is_built_in);
    cr_expect_str_eq(again.subject, "Hello");
    cr_expect_null(again.html);
    cr_expect_eq(again.stamp.created, NOW);
    letter_clear(&again);
    CR_OK(letter_reset(tx, "login", 2));
    CR_OK(letter_load(tx, "login", &again));
    cr_expect(again.is_built_in);
    cr_expect_str_eq(again.text, own.text);
    cr_expect_eq(again.stamp.version, 3);
    struct gathered gathered = { 0 };
    CR_OK(letter_versions(tx, "login", &(struct record_page){ 0 }, version_visit,
                          &gathered));
    cr_expect_str_eq(gathered.text, "3=own 2 ");
    letter_clear(&own);
    letter_clear(&new);
    letter_clear(&again);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(letter_store, a_stale_version_changes_nothing)
{
    static const int64_t stale[] = { 0, 2, 99 };
    struct store_tx *tx = scratch_begin();
    for (size_t i = 0; i < COUNT(stale); i++) {
        struct letter letter = letter_new("test", "Hello", "x", NULL);
        letter.stamp.version = stale[i];
        CR_STATUS(letter_save(tx, &letter), CA_CONFLICT);
        letter_clear(&letter);
    }
    struct letter first = letter_new("test", "First", "x", NULL), second;
    first.stamp.version = 1;
    CR_OK(letter_save(tx, &first));
    second = letter_new("test", "Second", "x", NULL);
    second.stamp.version = 1;
    CR_STATUS(letter_save(tx, &second), CA_CONFLICT);
    CR_STATUS(letter_reset(tx, "test", 1), CA_CONFLICT);
    letter_clear(&first);
    CR_OK(letter_load(tx, "test", &first));
    cr_expect_str_eq(first.subject, "First");
    letter_clear(&first);
    letter_clear(&second);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(letter_store, a_list_has_all_of_them_by_name)
{
    struct store_tx *tx = scratch_begin();
    struct gathered gathered = { 0 };
    struct letter letter = { 0 };
    CR_OK(letter_list(tx, &(struct record_page){ 0 }, name_visit, &gathered));
    cr_expect_str_eq(gathered.text,
                     "activation activation_instructions activation_password "
                     "device_activated invitation login test ");
    gathered = (struct gathered){ 0 };
    struct record_page page = { .after = "device_activated", .limit = 2 };
    CR_OK(letter_list(tx, &page, name_visit, &gathered));
    cr_expect_str_eq(gathered.text, "invitation login ");
    CR_STATUS(letter_load(tx, "sales", &letter), CA_NOT_FOUND);
    CR_STATUS(
        letter_versions(tx, "sales", &(struct record_page){ 0 }, name_visit, &gathered),
        CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
