/* Users in the store. */
#include "assignment.h"
#include "clock.h"
#include "device.h"
#include "group.h"
#include "leak.h"
#include "scratch_records.h"

TestSuite(user, .init = scratch_store_open, .fini = scratch_store_close);

static const struct record_page all = { NULL, 100 };

Test(user, comes_back_as_it_went_in)
{
    clock_set(1795341600);
    struct store_tx *tx = scratch_begin();
    struct user user = { 0 }, loaded = { 0 };
    record_from(user_fields,
                "{\"name\": \"alice\", \"email\": \"alice@example.com\", "
                "\"display_name\": \"Alice M\xc3\xbcller\", \"work_space\": \"w1\", "
                "\"attributes\": {\"badge\": \"42\"}}",
                &user);
    CR_OK(user_insert(tx, &user));
    cr_assert_eq(user.stamp.version, 1);
    CR_OK(user_load(tx, "alice", &loaded));
    CA_AUTO(json_decref) json_t *before = field_encode(user_fields, &user);
    CA_AUTO(json_decref) json_t *after = field_encode(user_fields, &loaded);
    cr_assert(json_equal(before, after));
    cr_assert_eq(loaded.stamp.created, 1795341600);
    cr_assert_eq(loaded.state, USER_ACTIVE);
    CR_STATUS(user_load(tx, "alic", &loaded), CA_NOT_FOUND);
    user_clear(&user);
    user_clear(&loaded);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(user, insert_refuses_a_second_one_and_update_a_stale_version)
{
    clock_set(1000);
    struct store_tx *tx = scratch_begin();
    struct user user = { 0 };
    record_from(user_fields, "{\"name\": \"bob\"}", &user);
    CR_OK(user_insert(tx, &user));
    CR_STATUS(user_insert(tx, &user), CA_CONFLICT);
    clock_set(2000);
    user.state = USER_DISABLED;
    CR_OK(user_update(tx, &user));
    cr_assert_eq(user.stamp.version, 2);
    cr_assert_eq(user.stamp.created, 1000);
    cr_assert_eq(user.stamp.updated, 2000);
    user.stamp.version = 1;
    CR_STATUS(user_update(tx, &user), CA_CONFLICT);
    user_clear(&user);
    CR_OK(user_load(tx, "bob", &user));
    cr_assert_eq(user.state, USER_DISABLED);
    cr_assert_eq(user.stamp.version, 2);
    user_clear(&user);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(user, members_are_checked)
{
    static const struct {
        const char *name, *body, *pointer;
    } cases[] = {
        { "no name", "{}", "/name" },
        { "upper case", "{\"name\": \"Alice\"}", "/name" },
        { "no mailbox", "{\"name\": \"a\", \"email\": \"alice\"}", "/email" },
        { "two mailboxes", "{\"name\": \"a\", \"email\": \"a@b@c\"}", "/email" },
        { "header injection", "{\"name\": \"a\", \"email\": \"<a@b>,c\"}", "/email" },
        { "attribute of a number", "{\"name\": \"a\", \"attributes\": {\"b\": 1}}",
          "/attributes" },
        { "attribute with a control character",
          "{\"name\": \"a\", \"attributes\": {\"b\": \"\\u0007\"}}", "/attributes" },
        { "attribute of a bad name",
          "{\"name\": \"a\", \"attributes\": {\"b c\": \"d\"}}", "/attributes" },
        { "attributes of a list", "{\"name\": \"a\", \"attributes\": []}",
          "/attributes" },
        { "unknown state", "{\"name\": \"a\", \"state\": \"gone\"}", "/state" },
        { "groups", "{\"name\": \"a\", \"groups\": [\"b\"]}", "/groups" },
        { "source", "{\"name\": \"a\", \"source\": \"ldap\"}", "/source" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct user user = { 0 };
        struct field_errors errors = { 0 };
        CA_AUTO(json_decref) json_t *body = json_loads(cases[i].body, 0, NULL);
        cr_assert_not_null(body, "%s", cases[i].name);
        cr_expect_eq(field_decode(user_fields, body, &user, &errors), CA_MALFORMED,
                     "%s", cases[i].name);
        cr_expect_eq(errors.count, 1, "%s", cases[i].name);
        cr_expect_str_eq(errors.items[0].pointer, cases[i].pointer, "%s",
                         cases[i].name);
    }
    LEAK_CHECK();
}

static void
three_users(struct store_tx *tx)
{
    struct group group = { 0 };
    struct user user = { 0 };
    user_make(tx, "alan");
    user_make(tx, "alice");
    user_make(tx, "bob");
    record_from(group_fields, "{\"name\": \"staff\"}", &group);
    CR_OK(group_insert(tx, &group));
    CR_OK(group_add_member(tx, "staff", "alice"));
    CR_OK(group_add_member(tx, "staff", "bob"));
    CR_OK(user_load(tx, "bob", &user));
    user.state = USER_DISABLED;
    user.email = strdup("bob@example.com");
    CR_OK(user_update(tx, &user));
    user_clear(&user);
    group_clear(&group);
}

Test(user, list_takes_every_filter_and_pages)
{
    static const struct {
        const char *name;
        struct user_filter filter;
        struct record_page page;
        const char *found;
    } cases[] = {
        { "all", { 0 }, { NULL, 100 }, "alan alice bob " },
        { "first page", { 0 }, { NULL, 2 }, "alan alice " },
        { "second page", { 0 }, { "alice", 2 }, "bob " },
        { "group", { .group = "staff" }, { NULL, 100 }, "alice bob " },
        { "no such group", { .group = "boss" }, { NULL, 100 }, "" },
        { "state", { .state = "disabled" }, { NULL, 100 }, "bob " },
        { "email", { .email = "bob@example.com" }, { NULL, 100 }, "bob " },
        { "prefix", { .q = "al" }, { NULL, 100 }, "alan alice " },
        { "prefix is no pattern", { .q = "a%" }, { NULL, 100 }, "" },
        { "prefix beyond ASCII", { .q = "\xc3\xa4" }, { NULL, 100 }, "" },
        { "all of it", { "staff", NULL, "active", "a" }, { NULL, 100 }, "alice " },
    };
    struct store_tx *tx = scratch_begin();
    three_users(tx);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct gathered gathered = { 0 };
        CR_OK(user_list(tx, &cases[i].filter, &cases[i].page, gather_key, &gathered));
        cr_expect_str_eq(gathered.text, cases[i].found, "%s: %s", cases[i].name,
                         gathered.text);
    }
    struct user_filter unknown = { .state = "gone" };
    struct gathered gathered = { 0 };
    CR_STATUS(user_list(tx, &unknown, &all, gather_key, &gathered), CA_MALFORMED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

static enum ca_status
groups_of(const void *record, void *arg)
{
    const struct user *user = record;
    char *const *groups = user->groups.items;
    for (size_t i = 0; i < user->groups.count; i++)
        gather(arg, groups[i]);
    return CA_OK;
}

Test(user, A0_a_name_is_no_mail_address)
{
    static const struct {
        const char *text;
        enum ca_status status;
    } cases[] = {
        { "alice", CA_OK },
        { " Alice ", CA_OK },
        { "EXAMPLE\\Alice", CA_OK },
        { "bob@example.com", CA_OK }, /* a name of this form is one */
        { "alice@example.com", CA_NOT_FOUND },
        { "nobody", CA_NOT_FOUND },
        { "", CA_NOT_FOUND },
    };
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    user_make(tx, "bob@example.com");
    CR_OK(store_run(tx, "UPDATE users SET email = 'alice@example.com' WHERE name = $1",
                    STORE_VALUES(store_text("alice")), NULL, NULL, NULL));
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct user user = { 0 };
        cr_expect_eq(user_find_name(tx, cases[i].text, &user), cases[i].status,
                     "'%s': %s", cases[i].text, status_message());
        user_clear(&user);
    }
    struct user user = { 0 };
    CR_OK(user_find_login(tx, "alice@example.com", &user));
    user_clear(&user);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(user, groups_are_the_memberships)
{
    struct store_tx *tx = scratch_begin();
    three_users(tx);
    struct user user = { 0 };
    CR_OK(user_load(tx, "alice", &user));
    cr_assert_eq(user.groups.count, 1);
    cr_assert_str_eq(((char **)user.groups.items)[0], "staff");
    user_clear(&user);
    struct gathered gathered = { 0 };
    CR_OK(user_list(tx, NULL, &all, groups_of, &gathered));
    cr_assert_str_eq(gathered.text, "staff staff ");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(user, delete_waits_for_devices_and_takes_the_rest_along)
{
    struct store_tx *tx = scratch_begin();
    struct device device = { 0 };
    struct assignment assignment = { false, (char[]){ "alice" }, (char[]){ "scep" },
                                     (char[]){ "default" } };
    three_users(tx);
    profiles_make(tx, "default");
    CR_OK(assignment_put(tx, &assignment));
    record_from(device_fields, "{\"owner\": \"alice\", \"state\": \"active\"}",
                &device);
    CR_OK(device_insert(tx, &device));
    CR_STATUS(user_delete(tx, "alice", 1), CA_CONFLICT);
    device.state = DEVICE_UNENROLLED;
    CR_OK(device_update(tx, &device));
    CR_STATUS(user_delete(tx, "alice", 2), CA_CONFLICT);
    CR_STATUS(user_delete(tx, "carol", 1), CA_NOT_FOUND);
    struct device disabled = { 0 }, other = { 0 };
    record_from(device_fields, "{\"owner\": \"alice\", \"state\": \"disabled\"}",
                &disabled);
    record_from(device_fields, "{\"owner\": \"bob\", \"state\": \"disabled\"}", &other);
    CR_OK(device_insert(tx, &disabled));
    CR_OK(device_insert(tx, &other));
    CR_OK(
        store_run(tx,
                  "INSERT INTO challenge (id, secret_sha256, user_name, profile, san, "
                  "expires, state, tries, created, updated, version) SELECT u.name, "
                  "$1, u.name, 'default', '[]', 9, 0, 0, 1, 1, 1 FROM users u",
                  STORE_VALUES(store_blob("x", 1)), NULL, NULL, NULL));
    CR_OK(store_run(tx,
                    "INSERT INTO pending (id, user_name, state, approvals_needed, "
                    "approval_count, approvals, expires, request, signer_spki_sha256, "
                    "request_sha256, created, updated, version) SELECT u.name, u.name, "
                    "0, 1, 0, '[]', 9, $1, $1, $1, 1, 1, 1 FROM users u",
                    STORE_VALUES(store_blob("x", 1)), NULL, NULL, NULL));
    CR_OK(user_delete(tx, "alice", 1));
    /* Nobody's, and an administrator may go on with it. */
    char *id = disabled.id;
    disabled.id = NULL;
    device_clear(&disabled);
    CR_OK(device_load(tx, id, &disabled));
    cr_assert_null(disabled.owner);
    free(disabled.owner);
    disabled.owner = strdup("bob");
    CR_OK(device_update(tx, &disabled));
    free(id);
    device_clear(&disabled);
    device_clear(&other);
    device_clear(&device);
    CR_OK(scratch_end(CA_OK));
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM device WHERE owner = 'bob'"), 2);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM device WHERE owner IS NULL"), 1);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM group_member"), 1);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM assignment"), 0);
    /* A new user of that name starts with nothing, and nobody enrols for it. */
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM challenge WHERE state = 0"), 2);
    cr_assert_eq(scratch_integer("SELECT state FROM challenge WHERE id = 'alice'"), 3);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM pending WHERE state = 0"), 2);
    cr_assert_eq(scratch_integer("SELECT state FROM pending WHERE id = 'alice'"), 2);
    tx = scratch_begin();
    user_make(tx, "alice");
    struct user user = { 0 };
    CR_OK(user_load(tx, "alice", &user));
    cr_assert_eq(user.groups.count, 0);
    user_clear(&user);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
