/* The online verbs against a daemon of canned answers on a unix socket: what they send,
 * what they make of broken connections, refusals and odd answers. */
#include "auto.h"
#include "cli_http.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CALLS_MAX 8
#define REQUEST_MAX 8192
#define TOKEN "s3cret-t0ken"
#define WORDS_MAX 16

#define BROKEN "" /* the connection ends without an answer */
#define JSON(status, headers, body)                                                    \
    "HTTP/1.1 " status                                                                 \
    "\r\nConnection: close\r\nContent-Type: application/json\r\n" headers "\r\n" body
#define OK(body) JSON("200 OK", "", body)
#define NOTHING "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"

static struct {
    char folder[64];
    int listener;
    pthread_t thread;
    const char *const *answers; /* ended by NULL: nobody listens any more */
    char requests[CALLS_MAX][REQUEST_MAX];
    size_t count;
} fake;

static char printed[2][65536]; /* stdout, stderr of the last run */

/* One request: head, and as much body as it says. */
static void
request_read(int fd, char *text)
{
    size_t size = 0, wanted = SIZE_MAX;
    while (size < REQUEST_MAX - 1 && size < wanted) {
        ssize_t more = read(fd, text + size, REQUEST_MAX - 1 - size);
        if (more <= 0)
            break;
        size += (size_t)more;
        text[size] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        const char *length = strstr(text, "Content-Length: ");
        if (end)
            wanted = (size_t)(end + 4 - text) +
                     (length ? strtoul(length + 16, NULL, 10) : 0);
    }
}

static void *
serve(void *arg)
{
    for (const char *const *answer = fake.answers; *answer; answer++) {
        int fd = accept(fake.listener, NULL, NULL);
        if (fd < 0)
            break;
        request_read(fd, fake.requests[fake.count++]);
        size_t size = strlen(*answer);
        if (write(fd, *answer, size) != (ssize_t)size)
            fake.count = CALLS_MAX;
        close(fd);
    }
    shutdown(fake.listener, SHUT_RDWR); /* a call too many fails at once */
    return arg;
}

static void
file_make(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fake.folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void
setup(void)
{
    snprintf(fake.folder, sizeof fake.folder, "/tmp/sealwright-cli-XXXXXX");
    cr_assert_not_null(mkdtemp(fake.folder));
    file_make("admin.token", TOKEN "\n");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/sealwright.sock",
             fake.folder);
    fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(fake.listener, (struct sockaddr *)&address, sizeof address) == 0 &&
              listen(fake.listener, 8) == 0);
}

static void
teardown(void)
{
    static const char *const names[] = { "admin.token", "sealwright.sock",
                                         "out",         "body",
                                         "root.pem",    "sealwright.json",
                                         "stdout",      "stderr" };
    if (fake.listener >= 0)
        close(fake.listener);
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", fake.folder, names[i]);
        unlink(path);
    }
    rmdir(fake.folder);
}

/* Lets `stream` write into a file of the folder; its old descriptor. */
static int
divert(FILE *stream, const char *name)
{
    char path[128];
    fflush(stream);
    int kept = dup(fileno(stream));
    snprintf(path, sizeof path, "%s/%s", fake.folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && kept >= 0 && dup2(fileno(file), fileno(stream)) >= 0);
    fclose(file);
    return kept;
}

static void
restore(FILE *stream, const char *name, int kept, char *ret_text)
{
    char path[128];
    fflush(stream);
    cr_assert(dup2(kept, fileno(stream)) >= 0);
    close(kept);
    snprintf(path, sizeof path, "%s/%s", fake.folder, name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    ret_text[fread(ret_text, 1, sizeof printed[0] - 1, file)] = '\0';
    fclose(file);
}

/* Runs a line of words, "@x" is the file x of the folder; the exit status. */
static int
run_with(const struct command_context *context, const char *line,
         const char *const *answers)
{
    char text[256], files[4][128];
    char *words[WORDS_MAX + 1] = { NULL };
    char *state = NULL;
    int count = 0, used = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok_r(text, " ", &state); word && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &state)) {
        if (*word == '@')
            snprintf(files[used], sizeof files[0], "%s/%s", fake.folder, word + 1);
        words[count++] = *word == '@' ? files[used++] : word;
    }
    fake.answers = answers;
    fake.count = 0;
    memset(fake.requests, 0, sizeof fake.requests);
    cr_assert_eq(pthread_create(&fake.thread, NULL, serve, NULL), 0);
    int out = divert(stdout, "stdout"), err = divert(stderr, "stderr");
    const struct command *command = cli_commands;
    while (command->name && strcmp(command->name, words[0]) != 0)
        command++;
    int result = command->run(context, count, words);
    restore(stdout, "stdout", out, printed[0]);
    restore(stderr, "stderr", err, printed[1]);
    shutdown(fake.listener, SHUT_RDWR); /* what was not asked for is not waited for */
    pthread_join(fake.thread, NULL);
    close(fake.listener);
    fake.listener = -1;
    char path[128];
    snprintf(path, sizeof path, "%s/sealwright.sock", fake.folder);
    unlink(path);
    cr_expect_null(strstr(printed[0], TOKEN), "I5: %s", printed[0]);
    cr_expect_null(strstr(printed[1], TOKEN), "I5: %s", printed[1]);
    return result;
}

static int
run(const char *line, const char *const *answers)
{
    const struct command_context context = { .data = fake.folder };
    return run_with(&context, line, answers);
}

static int
run_json(const char *line, const char *const *answers)
{
    const struct command_context context = { .data = fake.folder, .json = true };
    return run_with(&context, line, answers);
}

static bool
sent(size_t index, const char *text)
{
    return index < fake.count && strstr(fake.requests[index], text);
}

#define ANSWERS(...) ((const char *const[]){ __VA_ARGS__, NULL })

TestSuite(cli_http, .init = setup, .fini = teardown);

Test(cli_http, records_are_asked_for_and_shown)
{
    cr_expect_eq(run("user show alice", ANSWERS(OK("{\"name\": \"alice\"}"))), 0);
    cr_expect_eq(fake.count, 1);
    cr_expect(sent(0, "GET /api/v1/users/alice HTTP/1.1\r\n"), "%s", fake.requests[0]);
    cr_expect(sent(0, "\r\nAuthorization: Bearer " TOKEN "\r\n"));
    cr_expect(sent(0, "\r\nAccept: application/json\r\n"));
    cr_expect(!sent(0, "Content-Type"));
    cr_expect(!sent(0, "Idempotency-Key"));
    cr_expect_str_eq(printed[0], "name: alice\n");
    cr_expect_str_eq(printed[1], "");
    LEAK_CHECK();
}

Test(cli_http, json_is_printed_as_json)
{
    cr_expect_eq(run_json("user show alice", ANSWERS(OK("{\"name\":\"alice\"}"))), 0);
    cr_expect_str_eq(printed[0], "{\n  \"name\": \"alice\"\n}\n");
}

Test(cli_http, lists_are_followed_to_their_end)
{
    cr_expect_eq(
        run_json("user list --state active",
                 ANSWERS(OK("{\"items\": [{\"name\": \"a\"}, {\"name\": \"b\"}],"
                            " \"next\": \"b&c\"}"),
                         OK("{\"items\": [{\"name\": \"z\"}], \"next\": null}"))),
        0);
    cr_expect(sent(0, "GET /api/v1/users?state=active&limit=1000 HTTP"));
    cr_expect(sent(1, "GET /api/v1/users?state=active&limit=1000&after=b%26c HTTP"));
    cr_expect_str_eq(printed[0],
                     "{\"items\": [\n{\"name\": \"a\"},\n{\"name\": \"b\"},\n"
                     "{\"name\": \"z\"}\n]}\n");
    LEAK_CHECK();
}

Test(cli_http, lists_end_at_the_limit)
{
    cr_expect_eq(run("user list --limit 2",
                     ANSWERS(OK("{\"items\": [{\"name\": \"a\"}], \"next\": \"a\"}"),
                             OK("{\"items\": [{\"name\": \"b\"}], \"next\": \"b\"}"))),
                 0);
    cr_expect_eq(fake.count, 2);
    cr_expect(sent(0, "/users?limit=2 HTTP"));
    cr_expect(sent(1, "/users?limit=1&after=a HTTP"));
    cr_expect_eq(strncmp(printed[0], "NAME  STATE", 11), 0, "%s", printed[0]);
}

Test(cli_http, an_absent_kind_is_every_kind)
{
    cr_expect_eq(
        run_json("profile list",
                 ANSWERS(OK("{\"items\": [{\"name\": \"a\"}], \"next\": null}"),
                         OK("{\"items\": [], \"next\": null}"),
                         OK("{\"items\": [], \"next\": null}"),
                         OK("{\"items\": [], \"next\": null}"))),
        0);
    cr_expect(sent(0, "GET /api/v1/profiles/certificate?limit=1000 "));
    cr_expect(sent(1, "GET /api/v1/profiles/scep?limit=1000 "));
    cr_expect(sent(2, "GET /api/v1/profiles/policy?limit=1000 "));
    cr_expect(sent(3, "GET /api/v1/profiles/activation?limit=1000 "));
    cr_expect_str_eq(printed[0], "{\"items\": [\n{\"name\": \"a\"}\n]}\n");
}

Test(cli_http, empty_lists_are_valid_json)
{
    cr_expect_eq(run_json("user list", ANSWERS(OK("{\"items\": [], \"next\": null}"))),
                 0);
    json_t *list = json_loads(printed[0], 0, NULL);
    cr_expect_eq(json_array_size(json_object_get(list, "items")), 0);
    cr_expect(json_is_array(json_object_get(list, "items")), "%s", printed[0]);
    json_decref(list);
}

Test(cli_http, odd_answers_are_failures)
{
    static const char *const lists[] = {
        OK("{}"),
        OK("[]"),
        OK("nonsense"),
        OK("{\"items\": {}, \"next\": null}"),
        OK("{\"items\": [{\"name\": \"a\"}, []], \"next\": null}"),
        OK("{\"items\": [{\"name\": \"a\"}, \"b\"], \"next\": null}"),
        /* it would never end */
        OK("{\"items\": [], \"next\": \"a\"}"),
    };
    for (size_t i = 0; i < COUNT(lists); i++) {
        cr_expect_eq(run("user list", ANSWERS(lists[i])), 1, "%s", lists[i]);
        cr_expect_str_eq(printed[0], "");
        cr_expect_str_eq(printed[1],
                         "sealwright user list: the answer is no list of this API\n");
        teardown();
        setup();
    }
    static const char page[] = OK("{\"items\": [{\"name\": \"a\"}], \"next\": \"a\"}");
    cr_expect_eq(run("user list", ANSWERS(page, page, page)), 1);
    cr_expect_eq(fake.count, 2, "the same page again");
    teardown();
    setup();
    cr_expect_eq(run("user list --limit 1",
                     ANSWERS(OK("{\"items\": [{\"name\": \"a\"}, {\"name\": \"b\"}],"
                                " \"next\": null}"))),
                 1, "more than was asked for");
    teardown();
    setup();
    cr_expect_eq(run("user show a", ANSWERS(OK("[1]"))), 1);
    cr_expect_str_eq(printed[1],
                     "sealwright user show: the answer is no record of this API\n");
    LEAK_CHECK();
}

Test(cli_http, changes_send_the_etag_they_read)
{
    cr_expect_eq(run("user set alice --email b@example.com --dry-run",
                     ANSWERS(JSON("200 OK", "ETag: \"7\"\r\n", "{\"name\": \"alice\"}"),
                             OK("{\"name\": \"alice\"}"))),
                 0);
    cr_expect(sent(0, "GET /api/v1/users/alice HTTP"), "%s", fake.requests[0]);
    cr_expect(sent(1, "PATCH /api/v1/users/alice?dry_run=true HTTP"));
    cr_expect(sent(1, "\r\nIf-Match: \"7\"\r\n"));
    cr_expect(sent(1, "\r\nContent-Type: application/json\r\n"));
    cr_expect(sent(1, "\r\n\r\n{\"email\":\"b@example.com\"}"));
    cr_expect_str_eq(printed[0], "name: alice\nnothing was changed (--dry-run)\n");
    LEAK_CHECK();
}

Test(cli_http, deletions_send_the_etag_they_read)
{
    cr_expect_eq(run("user delete alice",
                     ANSWERS(JSON("200 OK", "etag: \"2\"\r\n", "{}"), NOTHING)),
                 0);
    cr_expect(sent(1, "DELETE /api/v1/users/alice HTTP"));
    cr_expect(sent(1, "\r\nIf-Match: \"2\"\r\n"));
    cr_expect_str_eq(printed[0], "done\n");
}

Test(cli_http, whole_records_are_put_with_their_changes)
{
    cr_expect_eq(
        run("organisation set --name New",
            ANSWERS(JSON("200 OK", "ETag: \"4\"\r\n",
                         "{\"name\": \"Old\", \"base_url\": \"u\", \"version\": 4}"),
                    OK("{}"))),
        0);
    cr_expect(sent(1, "PUT /api/v1/organisation HTTP"));
    cr_expect(sent(1, "\r\nIf-Match: \"4\"\r\n"));
    cr_expect(sent(1, "{\"name\":\"New\",\"base_url\":\"u\",\"version\":4}"), "%s",
              fake.requests[1]);
    LEAK_CHECK();
}

Test(cli_http, a_version_in_the_file_is_the_condition)
{
    file_make("body", "{\"settings\": {}, \"version\": 3}");
    cr_expect_eq(run("profile replace scep/x @body", ANSWERS(OK("{}"))), 0);
    cr_expect_eq(fake.count, 1);
    cr_expect(sent(0, "PUT /api/v1/profiles/scep/x HTTP"));
    cr_expect(sent(0, "\r\nIf-Match: \"3\"\r\n"));
    LEAK_CHECK();
}

/* The value of a header of a request, up to its line's end. */
static void
header_of(size_t index, const char *name, char ret_value[64])
{
    const char *at = strstr(fake.requests[index], name);
    cr_assert_not_null(at, "%s in %s", name, fake.requests[index]);
    at += strlen(name);
    snprintf(ret_value, 64, "%.*s", (int)strcspn(at, "\r"), at);
}

Test(cli_http, creations_survive_one_broken_connection)
{
    char first[64], second[64];
    cr_expect_eq(run("user create alice",
                     ANSWERS(BROKEN, JSON("201 Created", "", "{\"name\": \"alice\"}"))),
                 0);
    cr_expect_eq(fake.count, 2);
    header_of(0, "Idempotency-Key: ", first);
    header_of(1, "Idempotency-Key: ", second);
    cr_expect_eq(strlen(first), 36);
    cr_expect_str_eq(first, second);
    cr_expect_str_eq(fake.requests[0], fake.requests[1]);
    cr_expect_str_eq(printed[0], "name: alice\n");
    LEAK_CHECK();
}

Test(cli_http, creations_are_sent_twice_at_most)
{
    cr_expect_eq(run("user create alice", ANSWERS(BROKEN, BROKEN, OK("{}"))), 1);
    cr_expect_eq(fake.count, 2);
    cr_expect_neq(printed[1][0], '\0');
    LEAK_CHECK();
}

Test(cli_http, changes_with_a_condition_are_sent_once)
{
    cr_expect_eq(
        run("user disable alice",
            ANSWERS(JSON("200 OK", "ETag: \"1\"\r\n", "{}"), BROKEN, OK("{}"))),
        1);
    cr_expect_eq(fake.count, 2);
}

Test(cli_http, calls_without_a_body_send_none)
{
    cr_expect_eq(run("request approve 1", ANSWERS(OK("{\"id\": \"1\"}"))), 0);
    cr_expect(sent(0, "POST /api/v1/requests/1/approve HTTP"));
    cr_expect(sent(0, "\r\nContent-Length: 0\r\n"));
    cr_expect(sent(0, "\r\nIdempotency-Key: "));
    cr_expect(!sent(0, "Content-Type"));
    cr_expect(!sent(0, "Expect"));
}

Test(cli_http, refusals_are_told_and_fail)
{
    cr_expect_eq(run("user create a",
                     ANSWERS(JSON("409 Conflict", "",
                                  "{\"title\": \"No\", \"detail\": \"user 'a' exists\","
                                  " \"instance\": \"r9\"}"))),
                 1);
    cr_expect_str_eq(printed[0], "");
    cr_expect_str_eq(printed[1], "sealwright: No\n  user 'a' exists\n  request r9\n");
}

Test(cli_http, refused_tokens_point_to_their_file)
{
    cr_expect_eq(
        run("user list", ANSWERS(JSON("401 Unauthorized", "", "{\"title\": \"T\"}"))),
        1);
    cr_expect_not_null(strstr(printed[1], "--token-file"), "%s", printed[1]);
}

Test(cli_http, redirections_are_not_followed)
{
    cr_expect_eq(run("user show a",
                     ANSWERS(JSON("302 Found", "Location: http://localhost/x\r\n", ""),
                             OK("{}"))),
                 1);
    cr_expect_eq(fake.count, 1);
}

Test(cli_http, readiness_needs_no_token_and_decides_the_status)
{
    char path[128];
    snprintf(path, sizeof path, "%s/admin.token", fake.folder);
    unlink(path);
    cr_expect_eq(
        run("status",
            ANSWERS(JSON(
                "503 Service Unavailable", "",
                "{\"status\": \"not ready\", \"checks\":"
                " [{\"check\": \"store\", \"ok\": false, \"detail\": \"full\"}]}"))),
        1);
    cr_expect(sent(0, "GET /health/ready HTTP"));
    cr_expect(!sent(0, "Authorization"));
    cr_expect_str_eq(printed[0],
                     "status: not ready\nCHECK  OK  DETAIL\nstore  no  full\n");
    cr_expect_str_eq(printed[1], "");
    LEAK_CHECK();
}

Test(cli_http, downloads_go_to_their_file)
{
    char path[128], text[16] = "";
    cr_expect_eq(run("cert get 0a --der --out @out",
                     ANSWERS("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n0123")),
                 0);
    cr_expect(sent(0, "\r\nAccept: application/pkix-cert\r\n"));
    snprintf(path, sizeof path, "%s/out", fake.folder);
    FILE *file = fopen(path, "r");
    cr_assert(file && fread(text, 1, sizeof text - 1, file) == 4);
    fclose(file);
    cr_expect_str_eq(text, "0123");
    cr_expect_str_eq(printed[0], "");
}

Test(cli_http, R7_json_for_a_terminal_is_the_same_json_without_what_it_obeys)
{
    static const char text[] = "caf\xc3\xa9 \x7f \xc2\x9b"
                               "31m \xe2\x80\xae \xf0\x9f\x94\x91";
    char body[256];
    snprintf(body, sizeof body,
             "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
             "{\"name\": \"%s\", \"esc\": \"\\u001b[2J\"}",
             text);
    cr_assert_eq(run_json("user show a", ANSWERS(body)), 0, "%s", printed[1]);
    cr_expect_not_null(strstr(printed[0], "caf\xc3\xa9 \\u007f \\u009b31m \\u202e "
                                          "\xf0\x9f\x94\x91"),
                       "%s", printed[0]);
    cr_expect_null(strchr(printed[0], '\x1b'));
    json_t *record = json_loads(printed[0], 0, NULL);
    cr_expect_str_eq(json_string_value(json_object_get(record, "name")), text);
    json_decref(record);
    teardown();
    setup();
    snprintf(body, sizeof body,
             "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
             "{\"items\": [{\"name\": \"%s\"}], \"next\": null}",
             text);
    cr_assert_eq(run_json("user list", ANSWERS(body)), 0, "%s", printed[1]);
    cr_expect_not_null(strstr(printed[0], "\\u009b31m"), "%s", printed[0]);
    json_t *list = json_loads(printed[0], 0, NULL);
    cr_expect_eq(json_array_size(json_object_get(list, "items")), 1, "%s", printed[0]);
    json_decref(list);
    LEAK_CHECK();
}

Test(cli_http, R7_what_is_no_pem_is_not_written)
{
#define PEM(body) "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" body
    static const char good[] = "-----BEGIN CERTIFICATE-----\nAAAA\n"
                               "-----END CERTIFICATE-----\n";
    static const char *const bad[] = {
        PEM(""),
        PEM("{}"),
        PEM("-----BEGIN CERTIFICATE-----\n\x1b[2J\n-----END CERTIFICATE-----\n"),
        PEM("-----BEGIN CERTIFICATE-----\n\xc2\x9b\n-----END CERTIFICATE-----\n"),
        PEM("\x1b[2J-----BEGIN CERTIFICATE-----\n"),
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        file_make("out", "before");
        cr_expect_eq(
            run(i % 2 ? "cert get 0a" : "cert get 0a --out @out", ANSWERS(bad[i])), 1);
        cr_expect_str_eq(printed[0], "");
        cr_expect_str_eq(printed[1],
                         "sealwright cert get: the answer is no certificate "
                         "of this API\n");
        teardown();
        setup();
    }
    cr_expect_eq(run("cert get 0a", ANSWERS(PEM("-----BEGIN CERTIFICATE-----\nAAAA\n"
                                                "-----END CERTIFICATE-----\n"))),
                 0);
    cr_expect_str_eq(printed[0], good);
    LEAK_CHECK();
}

/* What a daemon that is none might do: the command ends, and says so in a line. */
Test(cli_http, hostile_answers_end_in_a_plain_failure)
{
    static const char *const answers[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"name\": ", /* cut short */
        "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n{}",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"name\": \"a",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n<html>\x1b[2J</html>",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"name\": \"\x1b[2J\"}",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"name\": \"\xff\"}",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"a\": 1, \"a\": 2}",
        "HTTP/9.9 200 \x1b[2J\r\n\r\n{}",
        "\x1b[2J not HTTP at all\r\n\r\n",
        "HTTP/1.1 500 \x1b[2J\r\nConnection: close\r\n\r\n\x1b[2J",
        ("HTTP/1.1 500 No\r\nConnection: close\r\n\r\n"
         "{\"title\": \"\\u001b[2J\", \"detail\": [1], \"errors\": {\"a\": 1}}"),
        "HTTP/1.1 103 Early\r\n\r\n",
    };
    for (size_t i = 0; i < COUNT(answers); i++) {
        cr_expect_eq(run("user show a", ANSWERS(answers[i], answers[i])), 1, "%zu", i);
        cr_expect_str_eq(printed[0], "", "%zu: %s", i, printed[0]);
        cr_expect_null(strchr(printed[1], '\x1b'), "%zu: %s", i, printed[1]);
        cr_expect_eq(strncmp(printed[1], "sealwright", 10), 0, "%zu: %s", i,
                     printed[1]);
        teardown();
        setup();
    }
    LEAK_CHECK();
}

Test(cli_http, refused_downloads_leave_the_file)
{
    char path[128], text[16] = "";
    file_make("out", "before");
    cr_expect_eq(
        run("cert get 0a --out @out", ANSWERS(JSON("404 Not Found", "", "{}"))), 1);
    cr_expect(sent(0, "\r\nAccept: application/x-pem-file\r\n"));
    snprintf(path, sizeof path, "%s/out", fake.folder);
    FILE *file = fopen(path, "r");
    cr_assert(file && fread(text, 1, sizeof text - 1, file) == 6);
    fclose(file);
    cr_expect_str_eq(text, "before");
}

Test(cli_http, files_that_hold_no_token_send_nothing)
{
    static const char *const texts[] = { "",      "\n",
                                         "a b",   "a\nInjected: yes",
                                         "a\x01", "caf\xc3\xa9" };
    for (size_t i = 0; i < COUNT(texts); i++) {
        file_make("admin.token", texts[i]);
        cr_expect_eq(run("user list", ANSWERS(OK("{}"))), 1, "%s", texts[i]);
        cr_expect_eq(fake.count, 0);
        cr_expect_not_null(strstr(printed[1], "admin.token does not hold a token"),
                           "%s", printed[1]);
        teardown();
        setup();
    }
    LEAK_CHECK();
}

Test(cli_http, I5_tokens_never_leave_in_clear)
{
    static const char *const urls[] = { "http://localhost", "https://",
                                        "ca.example.com",   "https://user@host",
                                        "https://h/?a",     "" };
    file_make("root.pem", "x");
    for (size_t i = 0; i < COUNT(urls); i++) {
        const struct command_context context = { .data = fake.folder, .url = urls[i] };
        cr_expect_eq(run_with(&context, "user list", ANSWERS(OK("{}"))), 1, "%s",
                     urls[i]);
        cr_expect_eq(fake.count, 0);
        cr_expect_not_null(strstr(printed[1], "--url wants an address"), "%s", urls[i]);
        teardown();
        setup();
    }
    const struct command_context context = { .data = fake.folder,
                                             .url = "https://localhost:1/",
                                             .ca_file = "/nonexistent" };
    cr_expect_eq(run_with(&context, "user list", ANSWERS(OK("{}"))), 1);
    cr_expect_not_null(strstr(printed[1], "--cacert"), "%s", printed[1]);
    LEAK_CHECK();
}

Test(cli_http, a_missing_daemon_is_told)
{
    const struct command_context context = { .data = "/nonexistent",
                                             .token_file = NULL };
    cr_expect_eq(run_with(&context, "status", ANSWERS(OK("{}"))), 1);
    cr_expect_not_null(strstr(printed[1], "no daemon answers at /nonexistent/"), "%s",
                       printed[1]);
    LEAK_CHECK();
}

Test(cli_http, the_configuration_names_the_socket)
{
    char path[128];
    snprintf(path, sizeof path, "%s/sealwright.json", fake.folder);
    file_make(
        "sealwright.json",
        "{\"listeners\": [{\"port\": 8080}, {\"path\": \"other.sock\", \"api\": "
        "true}], \"tokens\": [{\"name\": \"main\", \"module\": \"/m.so\", \"uri\": "
        "\"pkcs11:token=x\", \"pin_source\": \"file:pin\"}]}");
    struct command_context context = { .data = "/elsewhere", .config = path };
    CA_AUTO(free) char *found = cli_socket_path(&context);
    char wanted[128];
    snprintf(wanted, sizeof wanted, "%s/other.sock", fake.folder);
    cr_assert_not_null(found);
    cr_expect_str_eq(found, wanted);
    context = (struct command_context){ .data = fake.folder };
    CA_AUTO(free) char *of_data = cli_socket_path(&context);
    cr_expect_str_eq(of_data, wanted);
    file_make("sealwright.json", "{");
    CA_AUTO(free) char *fallback = cli_socket_path(&context);
    snprintf(wanted, sizeof wanted, "%s/sealwright.sock", fake.folder);
    cr_expect_str_eq(fallback, wanted);
    LEAK_CHECK();
}
