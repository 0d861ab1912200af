/* Templates: what is taken, what it becomes, and what is refused. */
#include "auto.h"
#include "leak.h"
#include "template.h"
#include <criterion/criterion.h>
#include <string.h>

#define COUNT(cases) (sizeof(cases) / sizeof(cases)[0])

static bool
is_known(const char *name)
{
    return strncmp(name, "user.", 5) == 0;
}

static const char *
look_up(const char *name, void *arg)
{
    cr_assert_eq(arg, NULL);
    if (strcmp(name, "user.name") == 0)
        return "alice";
    if (strcmp(name, "user.email") == 0)
        return "alice@example.com";
    if (strcmp(name, "user.empty") == 0)
        return "";
    if (strcmp(name, "user.evil") == 0)
        return "{{user.email}} {{ }";
    return NULL;
}

Test(template, variables_take_their_values)
{
    static const struct {
        const char *text, *expanded;
    } cases[] = {
        { "", "" },
        { "plain", "plain" },
        { "{{user.name}}", "alice" },
        { "CN={{user.name}},E={{user.email}}.", "CN=alice,E=alice@example.com." },
        { "{{user.name}}{{user.name}}", "alicealice" },
        { "{{user.name|bob}}", "alice" },
        { "{{user.none|bob}}", "bob" },
        { "{{user.none|}}", "" },
        { "{{user.none|a|b c}}", "a|b c" },
        { "{{user.empty|bob}}", "" },
        { "a|b", "a|b" },
        { "M\xc3\xbcller {{user.none|\xe6\x9d\xb1}}", "M\xc3\xbcller \xe6\x9d\xb1" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        CA_AUTO(free) char *text = NULL;
        char reason[100] = "";
        cr_expect(template_check(cases[i].text, NULL, reason, sizeof reason), "%s: %s",
                  cases[i].text, reason);
        cr_assert_eq(template_expand(cases[i].text, look_up, NULL, 100, &text), CA_OK,
                     "%s", cases[i].text);
        cr_expect_str_eq(text, cases[i].expanded);
    }
    LEAK_CHECK();
}

Test(template, R7_a_value_is_never_expanded_again)
{
    CA_AUTO(free) char *text = NULL;
    cr_assert_eq(template_expand("<{{user.evil}}>", look_up, NULL, 100, &text), CA_OK);
    cr_expect_str_eq(text, "<{{user.email}} {{ }>");
    LEAK_CHECK();
}

Test(template, stray_braces_and_bad_names_are_refused)
{
    static const char *const cases[] = {
        "{",
        "}",
        "{{",
        "}}",
        "{{}}",
        "{{|x}}",
        "{user.name}",
        "{{user.name}",
        "{{user.name",
        "user.name}}",
        "{{{user.name}}}",
        "{{user.{{name}}}}",
        "{{user.none|{}}}",
        "{{user.none|a}b}}",
        "{{ user.name }}",
        "{{User.name}}",
        "{{user/name}}",
        "{{user.name\n}}",
        "{{m\xc3\xbcller}}",
        "a{b",
        "{{user.name}}}",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char reason[100] = "", *text = NULL;
        cr_expect(!template_check(cases[i], NULL, reason, sizeof reason), "%s",
                  cases[i]);
        cr_expect(strncmp(reason, "has a", 5) == 0, "%s", reason);
        cr_expect_eq(template_expand(cases[i], look_up, NULL, 100, &text), CA_MALFORMED,
                     "%s", cases[i]);
        cr_expect(!text);
    }
    LEAK_CHECK();
}

Test(template, unknown_names_are_refused_by_name)
{
    char reason[100] = "";
    cr_expect(template_check("{{user.any}}", is_known, reason, sizeof reason));
    cr_expect(
        !template_check("{{user.a}}{{usr.b|c}}", is_known, reason, sizeof reason));
    cr_expect_str_eq(reason, "has an unknown variable 'usr.b'");
}

Test(template, R6_a_missing_value_refuses_by_name)
{
    char *text = NULL;
    cr_expect_eq(
        template_expand("CN={{user.name}},L={{user.city}}", look_up, NULL, 99, &text),
        CA_FORBIDDEN);
    cr_expect_str_eq(status_message(), "variable 'user.city' has no value");
    cr_expect(!text);
    LEAK_CHECK();
}

static char *
repeat(const char *piece, size_t count)
{
    struct text_buffer buffer = { 0 };
    for (size_t i = 0; i < count; i++)
        text_print(&buffer, "%s", piece);
    cr_assert(!buffer.failed);
    return buffer.data;
}

Test(template, R8_size_variables_and_names_have_limits)
{
    static const struct {
        const char *piece;
        size_t most;
        const char *head, *tail;
    } cases[] = {
        { "x", TEMPLATE_SIZE_MAX, "", "" },
        { "{{user.name}}", TEMPLATE_VARIABLES_MAX, "", "" },
        { "a", TEMPLATE_NAME_MAX, "{{", "|}}" },
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        for (size_t more = 0; more < 2; more++) {
            char reason[100] = "", text[2000];
            CA_AUTO(free) char *pieces = repeat(cases[i].piece, cases[i].most + more);
            snprintf(text, sizeof text, "%s%s%s", cases[i].head, pieces, cases[i].tail);
            cr_expect_eq(template_check(text, NULL, reason, sizeof reason), more == 0,
                         "%zu: %s", i, reason);
        }
    LEAK_CHECK();
}

Test(template, R8_an_expansion_has_a_limit)
{
    char *text = NULL;
    cr_expect_eq(template_expand("a{{user.name}}", look_up, NULL, 6, &text), CA_OK);
    free(text);
    text = NULL;
    cr_expect_eq(template_expand("a{{user.name}}", look_up, NULL, 5, &text), CA_LIMIT);
    cr_expect_eq(template_expand("ab", look_up, NULL, 1, &text), CA_LIMIT);
    cr_expect_eq(template_expand("{{user.none|ab}}", look_up, NULL, 1, &text),
                 CA_LIMIT);
    cr_expect(!text);
    LEAK_CHECK();
}
