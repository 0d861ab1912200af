/* The online verbs against a daemon of canned answers: what they make of refusals, of
 * odd and of hostile answers, and of downloads. */
#include "fake_daemon.h"

TestSuite(cli_answers, .init = setup, .fini = teardown);

Test(cli_answers, odd_answers_are_failures)
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

Test(cli_answers, refusals_are_told_and_fail)
{
    cr_expect_eq(run("user create a",
                     ANSWERS(JSON("409 Conflict", "",
                                  "{\"title\": \"No\", \"detail\": \"user 'a' exists\","
                                  " \"instance\": \"r9\"}"))),
                 1);
    cr_expect_str_eq(printed[0], "");
    cr_expect_str_eq(printed[1], "sealwright: No\n  user 'a' exists\n  request r9\n");
}

Test(cli_answers, refused_tokens_point_to_their_file)
{
    cr_expect_eq(
        run("user list", ANSWERS(JSON("401 Unauthorized", "", "{\"title\": \"T\"}"))),
        1);
    cr_expect_not_null(strstr(printed[1], "--token-file"), "%s", printed[1]);
}

Test(cli_answers, redirections_are_not_followed)
{
    cr_expect_eq(run("user show a",
                     ANSWERS(JSON("302 Found", "Location: http://localhost/x\r\n", ""),
                             OK("{}"))),
                 1);
    cr_expect_eq(fake.count, 1);
}

Test(cli_answers, downloads_go_to_their_file)
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

Test(cli_answers, R7_json_for_a_terminal_is_the_same_json_without_what_it_obeys)
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

Test(cli_answers, R7_what_is_no_pem_is_not_written)
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
Test(cli_answers, hostile_answers_end_in_a_plain_failure)
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

/* "{}," times `count` behind `head`: 3 octets each of text, 240 of memory. */
static char *
many(const char *head, int count, const char *end)
{
    char *text = malloc(strlen(head) + 3 * (size_t)count + strlen(end) + 1);
    cr_assert_not_null(text);
    char *at = stpcpy(text, head);
    for (int i = 0; i < count; i++)
        at = stpcpy(at, "{},");
    strcpy(at - 1, end);
    return text;
}

Test(cli_answers, answers_of_too_many_values_are_not_read)
{
    static const char ok[] = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
                             "Content-Type: application/json\r\n\r\n{\"a\": [",
                      no[] = "HTTP/1.1 500 No\r\nConnection: close\r\n\r\n"
                             "{\"title\": \"T\", \"errors\": [";
    static const struct {
        const char *words, *head;
        int count;
        bool is_read;
    } cases[] = {
        { "user show a", ok, 240000, true },
        { "user show a", ok, 300000, false },
        { "user list", ok, 300000, false },
        { "user show a", no, 300000, false },
        { "cert get 0a --out @out", no, 300000, false },
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *text = many(cases[i].head, cases[i].count, "]}");
        int code = run(cases[i].words, ANSWERS(text));
        cr_expect_eq(code, cases[i].is_read ? 0 : 1, "%zu: %s", i, printed[1]);
        cr_expect_eq(strstr(printed[1], "more than 500000 values") != NULL,
                     !cases[i].is_read, "%zu: %s", i, printed[1]);
        free(text);
        teardown();
        setup();
    }
    /* Strings count once, whatever is in them; a download is no JSON. */
    char *text = many("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{\"a\": \"\\\"",
                      300000, "\"}");
    cr_expect_eq(run("user show a", ANSWERS(text)), 0, "%s", printed[1]);
    free(text);
    LEAK_CHECK();
}

Test(cli_answers, refused_downloads_leave_the_file)
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
