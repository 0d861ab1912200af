/* The online verbs against a daemon of canned answers: what they send, and what they
 * make of broken connections. */
#include "fake_daemon.h"

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
