/* Groups and their members. */
#include "clock.h"
#include "group.h"
#include "leak.h"
#include "scratch_records.h"

TestSuite(group, .init = scratch_store_open, .fini = scratch_store_close);

static void
group_make(struct store_tx *tx, const char *body)
{
    struct group group = { 0 };
    record_from(group_fields, body, &group);
    CR_OK(group_insert(tx, &group));
    CR_STATUS(group_insert(tx, &group), CA_CONFLICT);
    group_clear(&group);
}

Test(group, comes_back_and_changes_only_over_its_version)
{
    struct store_tx *tx = scratch_begin();
    struct group group = { 0 };
    group_make(tx, "{\"name\": \"staff\", \"description\": \"all\", \"priority\": 7}");
    CR_OK(group_load(tx, "staff", &group));
    cr_assert_str_eq(group.description, "all");
    cr_assert_eq(group.priority, 7);
    group.priority = 9;
    CR_OK(group_update(tx, &group));
    cr_assert_eq(group.stamp.version, 2);
    group.stamp.version = 1;
    CR_STATUS(group_update(tx, &group), CA_CONFLICT);
    group_clear(&group);
    CR_STATUS(group_load(tx, "none", &group), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(group, priority_is_bounded_and_has_a_default)
{
    struct group group = { 0 };
    record_from(group_fields, "{\"name\": \"a\"}", &group);
    cr_assert_eq(group.priority, 100);
    group_clear(&group);
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:s, s:i}", "name", "a", "priority", 1001);
    cr_assert_eq(field_decode(group_fields, body, &group, NULL), CA_MALFORMED);
    LEAK_CHECK();
}

Test(group, members_come_and_go)
{
    struct store_tx *tx = scratch_begin();
    group_make(tx, "{\"name\": \"staff\"}");
    user_make(tx, "alice");
    user_make(tx, "bob");
    user_make(tx, "carol");
    CR_OK(group_add_member(tx, "staff", "carol"));
    CR_OK(group_add_member(tx, "staff", "alice"));
    CR_OK(group_add_member(tx, "staff", "bob"));
    CR_OK(group_add_member(tx, "staff", "alice"));
    CR_STATUS(group_add_member(tx, "staff", "dave"), CA_NOT_FOUND);
    CR_STATUS(group_add_member(tx, "none", "alice"), CA_NOT_FOUND);
    struct gathered gathered = { 0 };
    struct record_page page = { NULL, 2 };
    CR_OK(group_members(tx, "staff", &page, gather_text, &gathered));
    cr_assert_str_eq(gathered.text, "alice bob ");
    page.after = "bob";
    CR_OK(group_members(tx, "staff", &page, gather_text, &gathered));
    cr_assert_str_eq(gathered.text, "alice bob carol ");
    CR_OK(group_remove_member(tx, "staff", "bob"));
    CR_STATUS(group_remove_member(tx, "staff", "bob"), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM group_member"), 2);
    LEAK_CHECK();
}

Test(group, delete_takes_its_members_along_but_no_user)
{
    struct store_tx *tx = scratch_begin();
    group_make(tx, "{\"name\": \"staff\"}");
    group_make(tx, "{\"name\": \"boss\"}");
    user_make(tx, "alice");
    CR_OK(group_add_member(tx, "staff", "alice"));
    CR_OK(group_add_member(tx, "boss", "alice"));
    CR_STATUS(group_delete(tx, "staff", 2), CA_CONFLICT);
    CR_STATUS(group_delete(tx, "none", 1), CA_NOT_FOUND);
    CR_OK(group_delete(tx, "staff", 1));
    struct gathered gathered = { 0 };
    struct record_page page = { NULL, 10 };
    CR_OK(group_list(tx, &page, gather_key, &gathered));
    cr_assert_str_eq(gathered.text, "boss ");
    CR_OK(scratch_end(CA_OK));
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM group_member"), 1);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM users"), 1);
    LEAK_CHECK();
}
