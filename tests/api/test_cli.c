/* The online verbs up to the wire: options, bodies, paths, and what is printed. */
#include "auto.h"
#include "cli_http.h"
#include "cli_table.h"
#include "clock.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define WORDS_MAX 16
#define NOW 1800000000 /* 2027-01-15T08:00:00Z */

static const struct command_context context = { .data = "/nowhere" };

/* Parses a line of blank-separated words; "_" stands for an empty one. The words live
 * as long as `line`. */
static bool
parse(char *line, struct cli_call *call, char *reason, size_t size)
{
    char *words[WORDS_MAX + 1] = { NULL };
    char *state = NULL;
    int count = 0;
    static char empty[] = "";
    for (char *word = strtok_r(line, " ", &state); word && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &state))
        words[count++] = strcmp(word, "_") == 0 ? empty : word;
    const struct cli_verb *verb = cli_verb_find(words[0]);
    cr_assert_not_null(verb, "%s", words[0]);
    const struct cli_action *action =
        verb->actions->name ? cli_action_find(verb, words[1]) : verb->actions;
    cr_assert_not_null(action, "%s %s", words[0], words[1]);
    *call = (struct cli_call){ .context = &context, .verb = verb, .action = action };
    int skip = action->name ? 2 : 1;
    return cli_parse(call, count - skip, words + skip, reason, size);
}

Test(cli, words_become_calls)
{
    static const struct {
        const char *line, *method, *path, *body;
    } cases[] = {
        { "user create alice --email a@example.com --display-name Alice", "POST",
          "/api/v1/users",
          "{\"display_name\": \"Alice\", \"email\": \"a@example.com\", \"name\": "
          "\"alice\"}" },
        { "user create --email=a@b=c alice", "POST", "/api/v1/users",
          "{\"email\": \"a@b=c\", \"name\": \"alice\"}" },
        { "user create --dry-run -- --odd", "POST", "/api/v1/users?dry_run=true",
          "{\"name\": \"--odd\"}" },
        { "user set alice --email _ --attribute a=1 --attribute b=", "PATCH",
          "/api/v1/users/alice",
          "{\"attributes\": {\"a\": \"1\", \"b\": null}, \"email\": null}" },
        { "user disable alice", "PATCH", "/api/v1/users/alice",
          "{\"state\": \"disabled\"}" },
        { "user enable alice", "PATCH", "/api/v1/users/alice",
          "{\"state\": \"active\"}" },
        { "user list --q a&b=c --state active", "GET",
          "/api/v1/users?q=a%26b%3Dc&state=active", NULL },
        { "user show a?b#c%2e", "GET", "/api/v1/users/a%3Fb%23c%252e", NULL },
        { "user delete alice --dry-run", "DELETE", "/api/v1/users/alice?dry_run=true",
          NULL },
        { "group set g --priority 7", "PATCH", "/api/v1/groups/g",
          "{\"priority\": 7}" },
        { "group add g alice", "PUT", "/api/v1/groups/g/members/alice", NULL },
        { "group remove g alice", "DELETE", "/api/v1/groups/g/members/alice", NULL },
        { "assign user alice scep/default", "PUT",
          "/api/v1/users/alice/profiles/scep/default", NULL },
        { "assign group g certificate/x --remove", "DELETE",
          "/api/v1/groups/g/profiles/certificate/x", NULL },
        { "profile show scep/default", "GET", "/api/v1/profiles/scep/default", NULL },
        { "profile list scep", "GET", "/api/v1/profiles/scep", NULL },
        { "challenge create --user demo --subject CN=d --device 1 --expires-in PT10M",
          "POST", "/api/v1/challenges",
          "{\"device\": \"1\", \"expires_in\": \"PT10M\", \"profile\": \"default\", "
          "\"subject\": \"CN=d\", \"user\": \"demo\"}" },
        { "challenge create --user u --san dns:a --san dns:b --profile p", "POST",
          "/api/v1/challenges",
          "{\"profile\": \"p\", \"san\": [\"dns:a\", \"dns:b\"], \"user\": \"u\"}" },
        { "device unenrol 1", "PATCH", "/api/v1/devices/1",
          "{\"state\": \"unenrolled\"}" },
        { "cert list --expires-before P30D", "GET",
          "/api/v1/certificates?expires_before=2027-02-14T08%3A00%3A00Z", NULL },
        { "cert list --expires-before 2027-01-01T00:00:00+01:00", "GET",
          "/api/v1/certificates?expires_before=2027-01-01T00%3A00%3A00%2B01%3A00",
          NULL },
        { "audit list --since PT1H", "GET",
          "/api/v1/audit?since=2027-01-15T07%3A00%3A00Z", NULL },
        { "cert revoke 0a --reason superseded --invalidity-date P1D", "POST",
          "/api/v1/certificates/0a/revoke",
          "{\"invalidity_date\": \"2027-01-14T08:00:00Z\", \"reason\": "
          "\"superseded\"}" },
        { "cert revoke 0a", "POST", "/api/v1/certificates/0a/revoke", "{}" },
        { "request approve 1", "POST", "/api/v1/requests/1/approve", NULL },
        { "issuer set i --crl-lifetime 600 --crl-overlap 60 --next _", "PATCH",
          "/api/v1/issuers/i",
          "{\"crl\": {\"lifetime_seconds\": 600, \"overlap_seconds\": 60}, \"next\": "
          "null}" },
        { "admin create a --role auditor --role approver", "POST", "/api/v1/admins",
          "{\"name\": \"a\", \"roles\": [\"auditor\", \"approver\"]}" },
        { "admin disable a", "PATCH", "/api/v1/admins/a", "{\"disabled\": true}" },
        { "admin-token create a --expires P1D", "POST", "/api/v1/tokens",
          "{\"admin\": \"a\", \"expires\": \"2027-01-16T08:00:00Z\"}" },
        { "organisation set --mail-domain _", "PUT", "/api/v1/organisation",
          "{\"mail_domains\": []}" },
        { "status", "GET", "/health/ready", NULL },
    };
    clock_set(NOW);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[256], reason[256] = "";
        struct cli_call call;
        snprintf(line, sizeof line, "%s", cases[i].line);
        cr_expect(parse(line, &call, reason, sizeof reason), "%s: %s", cases[i].line,
                  reason);
        char *path = cli_path(&call, NULL, 0);
        char *body = call.body ? json_dumps(call.body, JSON_SORT_KEYS) : NULL;
        cr_expect_str_eq(call.method, cases[i].method, "%s", cases[i].line);
        cr_expect_str_eq(path ? path : "none", cases[i].path, "%s", cases[i].line);
        cr_expect_str_eq(body ? body : "none", cases[i].body ? cases[i].body : "none",
                         "%s", cases[i].line);
        free(path);
        free(body);
        cli_call_clear(&call);
    }
    clock_set(-1);
    LEAK_CHECK();
}

Test(cli, mistakes_are_named)
{
    static const struct {
        const char *line, *reason;
    } cases[] = {
        { "user create", "NAME is missing" },
        { "user create a b", "'b' is one word too many" },
        { "user create _", "'' is no NAME" },
        { "user show ..", "'..' is no NAME" },
        { "user show .", "'.' is no NAME" },
        { "user show a/b", "'a/b' is no NAME" },
        { "user show a --email x", "there is no option '--email' here" },
        { "user create a --emai x", "there is no option '--emai' here" },
        { "user create a -e", "there is no option '-e' here" },
        { "user create a --email", "--email wants a value" },
        { "user create a --email x --email y", "--email came twice" },
        { "user create a --dry-run=no", "--dry-run takes no value" },
        { "user create a --attribute x", "--attribute wants NAME=VALUE" },
        { "user create a --attribute =x", "--attribute wants NAME=VALUE" },
        { "user create a --email \xff", "--email wants UTF-8 text" },
        { "user create \xff", "an argument is not UTF-8 text" },
        { "user list --limit 0", "--limit wants a number above 0" },
        { "user list --limit -1", "--limit wants a number above 0" },
        { "user list --limit x", "--limit wants a number above 0" },
        { "group create g --priority 1x", "--priority wants a whole number" },
        { "group create g --priority _", "--priority wants a whole number" },
        { "group create g --priority 99999999999999999999",
          "--priority wants a whole number" },
        { "profile show scep", "'scep' is not of the form KIND/NAME" },
        { "profile show scep/", "'' is no KIND/NAME" },
        { "profile show /x", "'' is no KIND/NAME" },
        { "profile show scep/a/b", "'a/b' is no KIND/NAME" },
        { "profile show scep/..", "'..' is no KIND/NAME" },
        { "profile create scep/a", "FILE is missing" },
        { "profile create scep/a /nonexistent",
          "/nonexistent: No such file or directory" },
        { "challenge create", "--user is missing" },
        { "cert list --expires-before tomorrow",
          "--expires-before wants a time (2027-01-31T12:00:00Z) or a duration (P30D, "
          "PT10M)" },
        { "cert get 0a --out _", "--out wants a file" },
        { "request refuse 1", "--reason is missing" },
        { "status now", "'now' is one word too many" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[256], reason[256] = "";
        struct cli_call call;
        snprintf(line, sizeof line, "%s", cases[i].line);
        cr_expect(!parse(line, &call, reason, sizeof reason), "%s", cases[i].line);
        cr_expect_str_eq(reason, cases[i].reason, "%s", cases[i].line);
        cli_call_clear(&call);
    }
    LEAK_CHECK();
}

Test(cli, paths_take_cursor_and_page)
{
    char line[] = "user list --state active", reason[64];
    struct cli_call call;
    cr_assert(parse(line, &call, reason, sizeof reason));
    char *path = cli_path(&call, "a b/c", 7);
    cr_expect_str_eq(path, "/api/v1/users?state=active&limit=7&after=a%20b%2Fc");
    free(path);
    call.parameter_count = 0;
    call.action = cli_action_find(&cli_user, "show");
    cr_expect_null(cli_path(&call, NULL, 0), "a parameter that is not there");
    cli_call_clear(&call);
    LEAK_CHECK();
}

/* ---- FILE ---- */

static char file_path[64];

static void
file_write(const void *data, size_t size)
{
    snprintf(file_path, sizeof file_path, "/tmp/sealwright-cli-XXXXXX");
    int fd = mkstemp(file_path);
    cr_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
}

Test(cli, files_become_bodies)
{
    static const char text[] =
        "{\"name\": \"old\", \"kind\": \"scep\", \"version\": 3,"
        " \"created\": \"x\", \"updated\": \"y\", \"settings\": {}}";
    static const struct {
        const char *line, *body;
    } cases[] = {
        { "profile create scep/new", "{\"kind\": \"scep\", \"name\": \"new\", "
                                     "\"settings\": {}}" },
        { "profile replace scep/new", "{\"created\": \"x\", \"kind\": \"scep\", "
                                      "\"name\": \"old\", \"settings\": {}, "
                                      "\"updated\": \"y\", \"version\": 3}" },
    };
    file_write(text, sizeof text - 1);
    for (size_t i = 0; i < COUNT(cases); i++) {
        char line[256], reason[256] = "";
        struct cli_call call;
        snprintf(line, sizeof line, "%s %s", cases[i].line, file_path);
        cr_expect(parse(line, &call, reason, sizeof reason), "%s", reason);
        char *body = json_dumps(call.body, JSON_SORT_KEYS);
        cr_expect_str_eq(body, cases[i].body);
        free(body);
        cli_call_clear(&call);
    }
    unlink(file_path);
    LEAK_CHECK();
}

Test(cli, files_that_hold_no_object_are_refused)
{
    static const char *const texts[] = {
        "", "[]", "1", "{", "{\"a\": 1, \"a\": 2}", "{} {}", "{\"a\": \"\xff\"}"
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        char line[256], reason[256] = "";
        struct cli_call call;
        file_write(texts[i], strlen(texts[i]));
        snprintf(line, sizeof line, "profile set scep/a %s", file_path);
        cr_expect(!parse(line, &call, reason, sizeof reason), "%s", texts[i]);
        cr_expect_eq(strncmp(reason, file_path, strlen(file_path)), 0, "%s", reason);
        cli_call_clear(&call);
        unlink(file_path);
    }
    char *big = calloc(1, CLI_FILE_MAX + 1);
    memset(big, ' ', CLI_FILE_MAX + 1);
    file_write(big, CLI_FILE_MAX + 1);
    free(big);
    char line[256], reason[256] = "";
    struct cli_call call;
    snprintf(line, sizeof line, "profile set scep/a %s", file_path);
    cr_expect(!parse(line, &call, reason, sizeof reason));
    cr_expect_not_null(strstr(reason, "has more than 1048576 octets"), "%s", reason);
    cli_call_clear(&call);
    unlink(file_path);
    LEAK_CHECK();
}

/* ---- What is printed ---- */

static char *
printed(void (*print)(FILE *to, const json_t *value), const char *json)
{
    char *text = NULL;
    size_t size = 0;
    FILE *to = open_memstream(&text, &size);
    json_t *value = json_loads(json, JSON_DECODE_ANY, NULL);
    cr_assert(to && value, "%s", json);
    print(to, value);
    fclose(to);
    json_decref(value);
    return text;
}

static const struct cli_column columns[] = {
    { "name", "NAME" },
    { "crl.days", "DAYS" },
    { "last", "LAST ONE" },
    { NULL, NULL },
};

static void
table_print(FILE *to, const json_t *pages)
{
    struct cli_table table = { .columns = columns };
    size_t i;
    const json_t *rows;
    json_array_foreach (pages, i, rows)
        cr_assert(cli_table_print(to, &table, rows));
}

Test(cli, tables_are_aligned)
{
    char *text = printed(
        table_print,
        "[[{\"name\": \"a\", \"crl\": {\"days\": 7}, \"last\": [\"x\", \"y\"]},"
        "  {\"name\": \"Ärger\", \"last\": null},"
        "  {\"name\": \"\", \"crl\": {\"days\": true}, \"last\": {\"k\": \"v\"}}],"
        " [{\"name\": \"longer name\", \"crl\": {\"days\": -12345}, \"last\": []}]]");
    cr_expect_str_eq(text, "NAME   DAYS  LAST ONE\n"
                           "a      7     x, y\n"
                           "Ärger  -     -\n"
                           "       yes   k=v\n"
                           "longer name  -12345  -\n");
    free(text);
    text = printed(table_print, "[[]]");
    cr_expect_str_eq(text, "");
    free(text);
    LEAK_CHECK();
}

static void
record_print(FILE *to, const json_t *record)
{
    cr_assert(cli_record_print(to, record));
}

Test(cli, records_are_lines)
{
    char *text = printed(
        record_print,
        "{\"name\": \"a\", \"none\": null, \"on\": false, \"n\": 3,"
        " \"settings\": {\"keys\": [{\"algorithm\": \"rsa\", \"min_bits\": 2048},"
        "                           {\"algorithm\": \"ec\", \"curves\": [\"P-256\"]}],"
        "                \"empty\": {}},"
        " \"groups\": [\"x\", \"y\"], \"none_at_all\": [],"
        " \"chain\": \"-----BEGIN\\r\\nAA==\\n-----END\\n\"}");
    cr_expect_str_eq(text, "name: a\n"
                           "none: -\n"
                           "on: no\n"
                           "n: 3\n"
                           "settings.keys: algorithm=rsa min_bits=2048\n"
                           "settings.keys: algorithm=ec curves=P-256\n"
                           "settings.empty: -\n"
                           "groups: x, y\n"
                           "none_at_all: -\n"
                           "chain:\n"
                           "    -----BEGIN\n"
                           "    AA==\n"
                           "    -----END\n");
    free(text);
    text = printed(record_print, "{}");
    cr_expect_str_eq(text ? text : "", "");
    free(text);
    LEAK_CHECK();
}

Test(cli, R7_terminals_get_no_control_characters)
{
    static const struct {
        const char *text, *shown;
    } cases[] = {
        { "plain \xc3\xa4", "plain \xc3\xa4" },
        { "\x1b[2Jx", "\\u{001b}[2Jx" },
        { "a\nb\tc\r", "a\\u{000a}b\\u{0009}c\\u{000d}" },
        { "\x7f", "\\u{007f}" },
        { "\xc2\x9b"
          "1m",
          "\\u{009b}1m" },
        { "a\xe2\x80\xae"
          "b",
          "a\\u{202e}b" },
        { "\xe2\x81\xa6", "\\u{2066}" },
        { "\xf0\x9f\x94\x90", "\xf0\x9f\x94\x90" },
        { "\xff", "\\x{ff}" },
        { "\xe2\x80", "\\x{e2}\\x{80}" },
        { "\xc2", "\\x{c2}" },
        { "", "" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct text_buffer buffer = { 0 };
        cli_escape(&buffer, cases[i].text, strlen(cases[i].text));
        cr_expect_str_eq(buffer.data ? buffer.data : "", cases[i].shown, "case %zu", i);
        text_buffer_clear(&buffer);
    }
    char *text = printed(record_print, "{\"a\\u001b[1m\": {\"\\u009b\": [\"\\u001b\"]},"
                                       " \"l\": \"x\\n\\u001b]0;t\\u0007\"}");
    for (const char *at = text; *at; at++)
        cr_expect(*at == '\n' || (unsigned char)*at >= 0x20, "%s", text);
    cr_expect_null(strstr(text, "\xc2\x9b"));
    free(text);
    text = printed(table_print, "[[{\"name\": \"\\u001b[31m\\n\", \"last\": "
                                "{\"\\u001b\": \"\\u0001\"}}]]");
    cr_expect_null(strchr(text, '\x1b'));
    free(text);
    LEAK_CHECK();
}

Test(cli, problems_are_told)
{
    static const struct {
        const char *data, *told;
    } cases[] = {
        { "{\"type\": \"urn:sealwright:problem:malformed\", \"title\": \"Not taken\","
          " \"status\": 400, \"detail\": \"email: is no mailbox\", \"instance\": "
          "\"r1\","
          " \"errors\": [{\"pointer\": \"/email\", \"detail\": \"is no\\u001b "
          "mailbox\"}]}",
          "sealwright: Not taken\n"
          "  /email: is no\\u{001b} mailbox\n  request r1\n" },
        { "{\"title\": \"Same\", \"detail\": \"Same\"}", "sealwright: Same\n" },
        { "<html>", "sealwright: the daemon answered with status 400\n" },
        { "[1]", "sealwright: the daemon answered with status 400\n" },
        { "{\"title\": 5}", "sealwright: the daemon answered with status 400\n" },
        { NULL, "sealwright: the daemon answered with status 400\n" },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *text = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&text, &size);
        cli_problem_print(to, 400, cases[i].data,
                          cases[i].data ? strlen(cases[i].data) : 0);
        fclose(to);
        cr_expect_str_eq(text, cases[i].told);
        free(text);
    }
    LEAK_CHECK();
}

/* ---- The tables themselves ---- */

Test(cli, every_command_has_its_verb)
{
    size_t commands = 0, verbs = 0;
    for (const struct command *command = cli_commands; command->name; command++) {
        cr_expect_not_null(cli_verb_find(command->name), "%s", command->name);
        cr_expect_null(command->help, "%s", command->name);
        commands++;
    }
    while (cli_verbs[verbs])
        verbs++;
    cr_expect_eq(commands, verbs);
    cr_expect_null(cli_verb_find("token"), "reserved for tokens of PKCS#11");
}

static void
action_check(const struct cli_verb *verb, const struct cli_action *action)
{
    const char *name = action->name ? action->name : "-";
    bool is_list = action->flags & CLI_LIST;
    cr_expect_eq(is_list || action->rows, action->columns != NULL, "%s %s", verb->name,
                 name);
    cr_expect(!is_list || strcmp(action->method, "GET") == 0, "%s %s", verb->name,
              name);
    cr_expect(action->summary && action->summary[strlen(action->summary) - 1] != '.');
    size_t i = 0;
    const struct cli_option *option;
    for (; (option = cli_option_at(action, i)); i++) {
        bool goes_into_body = option->member && !(option->flags & CLI_QUERY);
        cr_expect(!goes_into_body || (action->flags & CLI_BODY), "%s %s --%s",
                  verb->name, name, option->name);
        cr_expect_eq(option->value == NULL,
                     option->type == CLI_FLAG || option->type == CLI_DELETE ||
                         option->type == CLI_DER,
                     "%s %s --%s", verb->name, name, option->name);
    }
    cr_expect(i <= 64, "%s %s has more options than cli_parse counts", verb->name,
              name);
    if (action->fixed) {
        CA_AUTO(json_decref) json_t *fixed = json_loads(action->fixed, 0, NULL);
        cr_expect(json_is_object(fixed), "%s %s", verb->name, name);
    }
}

Test(cli, tables_hold_together)
{
    for (size_t v = 0; cli_verbs[v]; v++) {
        for (const struct cli_action *action = cli_verbs[v]->actions; action->path;
             action++)
            action_check(cli_verbs[v], action);
    }
    LEAK_CHECK();
}
