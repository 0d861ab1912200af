/* What of the directory needs no server: escapes, DNs, names of groups, the
 * configuration's own refusals, and the roster. Real servers: test_directory.py. */
#include "auto.h"
#include "directory_sync.h"
#include "group.h"
#include "leak.h"
#include "login_guard.h"
#include "password.h"
#include "roster.h"
#include "scratch_records.h"
#include "text.h"
#include <criterion/criterion.h>
#include <string.h>

Test(directory, R7_a_value_in_a_filter_is_a_value)
{
    static const struct {
        const char *value, *wanted;
    } cases[] = {
        { "alice", "alice" },
        { "*", "\\2a" },
        { "a)(uid=*", "a\\29\\28uid\\3d\\2a" },
        { "back\\slash", "back\\5cslash" },
        { "J\xc3\xb6rg", "J\\c3\\b6rg" },
        { "", "" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
        directory_filter_escape(&buffer, cases[i].value);
        cr_expect_str_eq(buffer.data ? buffer.data : "", cases[i].wanted);
    }
    LEAK_CHECK();
}

Test(directory, a_dn_has_one_writing)
{
    static const char *const same[] = {
        "cn=Field Staff,ou=groups,dc=example,dc=com",
        "CN=field staff, OU=Groups, DC=Example, DC=com"
    };
    CA_AUTO(free) char *first = NULL;
    CA_AUTO(free) char *second = NULL;
    CA_AUTO(free) char *none = NULL;
    CR_OK(directory_dn_normalise(same[0], &first));
    CR_OK(directory_dn_normalise(same[1], &second));
    cr_expect_str_eq(first, second);
    CR_STATUS(directory_dn_normalise("no dn at all", &none), CA_MALFORMED);
    LEAK_CHECK();
}

static void
expect_group(const struct config_directory_groups *config, const char *dn,
             const char *wanted)
{
    CA_AUTO(free) char *normal = NULL;
    CA_AUTO(free) char *name = NULL;
    CR_OK(directory_dn_normalise(dn, &normal));
    enum ca_status status = directory_group_name(config, normal, &name);
    cr_expect_eq(status, wanted ? CA_OK : CA_NOT_FOUND, "%s: %s", dn, status_message());
    if (wanted && status == CA_OK)
        cr_expect_str_eq(name, wanted);
}

Test(directory, groups_are_named_by_the_map_or_by_their_first_value)
{
    struct config_directory_groups config = { .map = json_object() };
    expect_group(&config, "cn=Field Staff,ou=groups,dc=example", "field-staff");
    expect_group(&config, "cn=vip,dc=example", "vip");
    expect_group(&config, "cn=-vip,dc=example", NULL);
    expect_group(&config, "cn=B\xc3\xbcro,dc=example", NULL);
    json_object_set_new(config.map, "CN=Field Staff,ou=groups,dc=example",
                        json_string("outdoors"));
    expect_group(&config, "cn=field staff,ou=groups,dc=example", "outdoors");
    expect_group(&config, "cn=vip,dc=example", NULL);
    json_decref(config.map);
    LEAK_CHECK();
}

/* ---- Configuration ---- */

#define CONFIG(members)                                                                \
    "{\"listeners\": [{\"port\": 8080}], \"directory\": {\"server\": "                 \
    "\"ldap.example\", "                                                               \
    "\"base\": \"dc=example\", \"ca_file\": \"ca.pem\"" members "}}"

Test(directory, W4_its_configuration_is_refused_with_the_members_name)
{
    static const struct {
        const char *text, *word;
    } cases[] = {
        { CONFIG(""), NULL },
        { CONFIG(", \"security\": \"none\""), "directory/security" },
        { CONFIG(", \"bind_dn\": \"cn=x\""), "directory/password_source" },
        { CONFIG(", \"password_source\": \"file:x\""), "directory/bind_dn" },
        { CONFIG(", \"bind_dn\": \"cn=x\", \"password_source\": \"secret\""),
          "directory/password_source" },
        { CONFIG(", \"filter\": \"objectClass=x\""), "directory/filter" },
        { CONFIG(", \"filter\": \"(a=b)(c=d)\""), "directory/filter" },
        { CONFIG(", \"disabled_filter\": \"(a=b\""), "directory/disabled_filter" },
        { CONFIG(", \"attributes\": {\"name\": \"\"}"), "directory/attributes/name" },
        { CONFIG(", \"attributes\": {\"email\": \"mail;x\"}"),
          "directory/attributes/email" },
        { CONFIG(", \"attributes\": {\"email\": \"\"}"), NULL },
        { CONFIG(", \"attributes\": {\"more\": {\"upn\": \"x\"}}"),
          "directory/attributes/more" },
        { CONFIG(", \"groups\": {\"map\": {\"cn=x\": \"Not A Name\"}}"),
          "directory/groups/map" },
        { CONFIG(", \"interval\": \"PT5S\""), "directory/interval" },
        { CONFIG(", \"password\": \"secret\""), "directory/password" },
        { "{\"listeners\": [{\"port\": 8080}], \"directory\": {\"server\": \"x y\"}}",
          "directory/server" },
        { "{\"listeners\": [{\"port\": 8080}], \"directory\": {\"server\": \"x\"}}",
          "directory/base" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct config config = { 0 };
        enum ca_status status =
            config_parse(cases[i].text, strlen(cases[i].text), "/etc", &config);
        cr_expect_eq(status, cases[i].word ? CA_MALFORMED : CA_OK, "%s: %s",
                     cases[i].text, status_message());
        if (cases[i].word)
            cr_expect_not_null(strstr(status_message(), cases[i].word), "%s: %s",
                               cases[i].text, status_message());
        if (status == CA_OK)
            config_clear(&config);
    }
    LEAK_CHECK();
}

Test(directory, W4_what_is_no_dn_stops_the_start)
{
    struct config_directory config = { .server = (char *)(uintptr_t) "x",
                                       .base = (char *)(uintptr_t) "dc=example" };
    CR_OK(directory_check(&config));
    config.bind_dn = (char *)(uintptr_t) "reader";
    CR_STATUS(directory_check(&config), CA_MALFORMED);
    cr_expect_not_null(strstr(status_message(), "directory/bind_dn"));
    config.server = NULL;
    CR_OK(directory_check(&config));
}

Test(directory, governs_what_it_has_an_attribute_for)
{
    struct config_directory config = {
        .server = (char *)(uintptr_t) "x",
        .attributes = { .email = (char *)(uintptr_t) "mail",
                        .display_name = (char *)(uintptr_t) "",
                        .work_space = (char *)(uintptr_t) "",
                        .upn = (char *)(uintptr_t) "userPrincipalName",
                        .more = json_pack("{s:s}", "title", "title") },
    };
    cr_expect(directory_governs(&config, "email"));
    cr_expect_not(directory_governs(&config, "display_name"));
    cr_expect_not(directory_governs(&config, "work_space"));
    cr_expect(directory_governs(&config, "attributes.upn"));
    cr_expect(directory_governs(&config, "attributes.title"));
    cr_expect_not(directory_governs(&config, "attributes.note"));
    cr_expect_not(directory_governs(&config, "state"));
    config.server = NULL;
    cr_expect_not(directory_governs(&config, "email"));
    json_decref(config.attributes.more);
}

Test(directory, A0_an_empty_password_never_binds)
{
    struct config_directory config = { .server = (char *)(uintptr_t) "192.0.2.1" };
    bool is_right = true;
    CR_OK(directory_verify(&config, "alice", "1", "", &is_right));
    cr_expect_not(is_right);
}

/* ---- Roster ---- */

Test(directory, a_person_is_one_user_and_goes_with_him)
{
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    struct roster_entry alice = { .id = (char *)(uintptr_t) "1",
                                  .user = (char *)(uintptr_t) "alice",
                                  .dn = (char *)(uintptr_t) "uid=alice" };
    struct roster_entry found = { 0 };
    int64_t active = 0;
    user_make(tx, "alice");
    CR_STATUS(roster_find(tx, "1", &found), CA_NOT_FOUND);
    CR_OK(roster_put(tx, &alice));
    alice.dn = (char *)(uintptr_t) "uid=alice,ou=moved";
    alice.disabled = true;
    CR_OK(roster_put(tx, &alice));
    CR_OK(roster_of_user(tx, "alice", &found));
    cr_expect_str_eq(found.dn, "uid=alice,ou=moved");
    cr_expect(found.disabled);
    roster_entry_clear(&found);
    CR_OK(roster_count_active(tx, &active));
    cr_expect_eq(active, 1);
    CR_OK(user_delete(tx, "alice", 1));
    CR_STATUS(roster_find(tx, "1", &found), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    struct store_tx *again = scratch_begin();
    struct roster_entry other = alice;
    other.id = (char *)(uintptr_t) "2";
    CR_OK(roster_put(again, &alice));
    CR_STATUS(roster_put(again, &other), CA_CONFLICT);
    cr_expect_eq(scratch_end(CA_CONFLICT), CA_CONFLICT);
    scratch_store_close();
    LEAK_CHECK();
}

Test(directory, a_group_of_its_own_ends_with_the_group)
{
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    struct group group = { .name = (char *)(uintptr_t) "vip", .priority = 1 };
    bool has = true;
    CR_OK(group_insert(tx, &group));
    CR_OK(roster_has_group(tx, "vip", &has));
    cr_expect_not(has);
    CR_OK(roster_put_group(tx, "vip"));
    CR_OK(roster_put_group(tx, "vip"));
    CR_OK(roster_has_group(tx, "vip", &has));
    cr_expect(has);
    CR_OK(group_delete(tx, "vip", 1));
    CR_OK(roster_has_group(tx, "vip", &has));
    cr_expect_not(has);
    CR_OK(scratch_end(CA_OK));
    scratch_store_close();
    LEAK_CHECK();
}

Test(directory, A0_no_password_is_set_here_for_its_users)
{
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    struct user user = { .name = (char *)(uintptr_t) "alice", .source = USER_LDAP };
    CR_OK(user_insert(tx, &user));
    CR_STATUS(password_save(tx, "alice", "scrypt$14$8$5$x$y"), CA_FORBIDDEN);
    CR_OK(password_save(tx, "alice", PASSWORD_OF_DIRECTORY));
    CR_STATUS(password_remove(tx, "alice"), CA_NOT_FOUND);
    bool matches = true;
    CR_OK(scratch_end(CA_OK));
    CR_STATUS(password_verify(PASSWORD_OF_DIRECTORY, "directory", 9, &matches),
              CA_INTERNAL);
    scratch_store_close();
    LEAK_CHECK();
}

/* ---- Throttle ---- */

Test(directory, A7_tries_are_counted_but_take_no_turn_and_are_not_remembered)
{
    struct login_guard *guard = login_guard_new();
    struct login_attempt attempt = { "192.0.2.1", "alice", "directory",
                                     "secret",    6,       true };
    cr_assert_eq(login_guard_enter(guard, &attempt), CA_OK);
    login_guard_leave(guard, &attempt, true);
    cr_expect_not(login_guard_knows(guard, &attempt));
    for (int i = 0; i < LOGIN_ELSEWHERE_MOST; i++) {
        char user[16];
        snprintf(user, sizeof user, "u%d", i);
        attempt.user = user;
        cr_assert_eq(login_guard_enter(guard, &attempt), CA_OK, "%d", i);
    }
    attempt.user = "more";
    cr_expect_eq(login_guard_enter(guard, &attempt), CA_UNAVAILABLE);
    struct login_attempt local = { "192.0.2.2", "bob", "v", "secret", 6, false };
    cr_expect_eq(login_guard_enter(guard, &local), CA_OK,
                 "local users have their turns");
    login_guard_leave(guard, &local, true);
    for (int i = 0; i < LOGIN_ELSEWHERE_MOST; i++)
        login_guard_leave_untried(guard, &attempt);
    attempt.user = "alice";
    for (int i = 0; i < LOGIN_USER_PER_MINUTE; i++) {
        cr_assert_eq(login_guard_enter(guard, &attempt), CA_OK, "%d", i);
        login_guard_leave(guard, &attempt, false);
    }
    cr_expect_eq(login_guard_enter(guard, &attempt), CA_LIMIT);
    login_guard_free(guard);
    LEAK_CHECK();
}
