/* An upstream's challenges: read from its page, measured, kept in files. */
#include "auto.h"
#include "leak.h"
#include "scratch_records.h"
#include "upstream.h"
#include <sys/stat.h>
#include <unistd.h>

TestSuite(upstream);

static const char page[] =
    "<HTML><P>The enrollment challenge password is: <B> 5A3B9C0D1E2F4A6B </B></P>";

Test(upstream, finds_the_challenge_in_a_page_or_a_line)
{
    static const struct {
        const char *text, *challenge;
    } cases[] = {
        { "abc-DEF_123", "abc-DEF_123" },
        { "  abc123\r\n", "abc123" },
        { page, "5A3B9C0D1E2F4A6B" },
        { "challenge password is: <b>x</b>", "x" },
        { "", NULL },
        { " \n", NULL },
        { "two words", NULL },
        { "<html>no challenge</html>", NULL },
        { "challenge password is: <B> </B>", NULL },
        { "challenge password is: <B>never ends", NULL },
        { "caf\xc3\xa9", NULL },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(secret_free) char *found = NULL;
        enum ca_status status =
            upstream_challenge_parse(cases[i].text, strlen(cases[i].text), &found);
        if (cases[i].challenge) {
            cr_assert_eq(status, CA_OK, "%s", cases[i].text);
            cr_assert_str_eq(found, cases[i].challenge);
        } else {
            cr_assert_eq(status, CA_MALFORMED, "%s", cases[i].text);
            cr_assert_null(found);
        }
    }
    /* UTF-16 as NDES sends it. */
    char wide[2 * sizeof page + 2] = "\xff\xfe";
    for (size_t i = 0; i + 1 < sizeof page; i++)
        wide[2 + 2 * i] = page[i];
    CA_AUTO(secret_free) char *found = NULL;
    CR_OK(upstream_challenge_parse(wide, 2 * sizeof page, &found));
    cr_assert_str_eq(found, "5A3B9C0D1E2F4A6B");
    CA_AUTO(secret_free) char *none = NULL;
    CR_STATUS(upstream_challenge_parse("a\0b", 3, &none), CA_MALFORMED);
    char longest[UPSTREAM_CHALLENGE_MAX + 1];
    memset(longest, 'a', sizeof longest);
    CR_STATUS(upstream_challenge_parse(longest, sizeof longest, &none), CA_MALFORMED);
    secret_free(CA_STEAL(found));
    LEAK_CHECK();
}

Test(upstream, a_static_challenge_has_80_bits)
{
    cr_assert_eq(upstream_challenge_bits(""), 0);
    cr_assert_eq(upstream_challenge_bits("aaaa"), 16, "hexadecimal digits at most");
    cr_assert_lt(upstream_challenge_bits("0123456789abcdef012"), 80);
    cr_assert_geq(upstream_challenge_bits("0123456789abcdef0123"), 80);
    cr_assert_lt(upstream_challenge_bits("abcdefghijklmnop"), 80);
    cr_assert_geq(upstream_challenge_bits("abcdefghijklmnopqr"), 80);
    cr_assert_lt(upstream_challenge_bits("Passw0rd!"), 80);
    cr_assert_geq(upstream_challenge_bits("correct-Horse-42"), 80);
}

static char folder[] = "/tmp/upstream-XXXXXX";

static void
file_make(const char *name, const char *text, mode_t mode)
{
    char path[128];
    snprintf(path, sizeof path, "%s/upstream/%s", folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
    cr_assert_eq(chmod(path, mode), 0);
}

Test(upstream, reads_secrets_that_nobody_else_may_read)
{
    char path[128], command[160];
    char *text = NULL;
    cr_assert_not_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/upstream", folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    file_make("good", "secret\r\n", 0600);
    file_make("open", "secret\n", 0640);
    file_make("empty", "", 0600);
    file_make("weak", "Passw0rd!\n", 0600);
    file_make("strong", "0123456789abcdef0123\n", 0600);
    snprintf(path, sizeof path, "%s/upstream/link", folder);
    cr_assert_eq(symlink("good", path), 0);
    CR_OK(upstream_file(folder, "good", 64, &text));
    cr_assert_str_eq(text, "secret");
    secret_free(CA_STEAL(text));
    CR_STATUS(upstream_file(folder, "good", 7, &text), CA_UNAVAILABLE);
    CR_STATUS(upstream_file(folder, "open", 64, &text), CA_UNAVAILABLE);
    CR_STATUS(upstream_file(folder, "empty", 64, &text), CA_UNAVAILABLE);
    CR_STATUS(upstream_file(folder, "link", 64, &text), CA_UNAVAILABLE);
    CR_STATUS(upstream_file(folder, "none", 64, &text), CA_UNAVAILABLE);
    struct scep_upstream upstream = { .challenge = UPSTREAM_STATIC };
    upstream.challenge_file = (char *)(uintptr_t) "weak";
    CR_STATUS(upstream_challenge(folder, &upstream, &text), CA_UNAVAILABLE);
    upstream.challenge_file = (char *)(uintptr_t) "strong";
    CR_OK(upstream_challenge(folder, &upstream, &text));
    cr_assert_str_eq(text, "0123456789abcdef0123");
    secret_free(CA_STEAL(text));
    upstream.challenge = UPSTREAM_NONE;
    CR_STATUS(upstream_challenge(folder, &upstream, &text), CA_NOT_FOUND);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
    LEAK_CHECK();
}
