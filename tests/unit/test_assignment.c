/* Assignments and the effective profile. */
#include "assignment.h"
#include "group.h"
#include "leak.h"
#include "scratch_records.h"

TestSuite(assignment, .init = scratch_store_open, .fini = scratch_store_close);

static void
group_make(struct store_tx *tx, const char *name, int priority, const char *member)
{
    char body[128];
    struct group group = { 0 };
    snprintf(body, sizeof body, "{\"name\": \"%s\", \"priority\": %d}", name, priority);
    record_from(group_fields, body, &group);
    CR_OK(group_insert(tx, &group));
    CR_OK(group_add_member(tx, name, member));
    group_clear(&group);
}

static enum ca_status
put(struct store_tx *tx, bool to_group, const char *target, const char *kind,
    const char *profile)
{
    struct assignment assignment = { to_group, strdup(target), strdup(kind),
                                     strdup(profile) };
    enum ca_status status = assignment_put(tx, &assignment);
    assignment_clear(&assignment);
    return status;
}

static enum ca_status
take_away(struct store_tx *tx, bool to_group, const char *target, const char *kind,
          const char *profile)
{
    struct assignment assignment = { to_group, strdup(target), strdup(kind),
                                     strdup(profile) };
    enum ca_status status = assignment_remove(tx, &assignment);
    assignment_clear(&assignment);
    return status;
}

static void
expect_effective(struct store_tx *tx, const char *profile, const char *from)
{
    CA_AUTO(free) char *found = NULL, *source = NULL;
    CR_OK(assignment_effective(tx, "alice", "scep", &found, &source));
    cr_assert_str_eq(found, profile);
    cr_assert_str_eq(source, from);
    CR_OK(assignment_allows(tx, "alice", "scep", profile));
}

Test(assignment, own_goes_before_the_strongest_group_and_that_before_default)
{
    struct store_tx *tx = scratch_begin();
    CA_AUTO(free) char *found = NULL;
    user_make(tx, "alice");
    profiles_make(tx, "p1");
    profiles_make(tx, "p2");
    profiles_make(tx, "p3");
    CR_STATUS(assignment_effective(tx, "alice", "scep", &found, NULL), CA_NOT_FOUND);
    CR_STATUS(assignment_allows(tx, "alice", "scep", "default"), CA_FORBIDDEN);
    profiles_make(tx, "default");
    expect_effective(tx, "default", "default");

    group_make(tx, "weak", 500, "alice");
    group_make(tx, "strong", 5, "alice");
    group_make(tx, "also", 5, "alice");
    CR_OK(put(tx, true, "weak", "scep", "p1"));
    expect_effective(tx, "p1", "group:weak");
    CR_STATUS(assignment_allows(tx, "alice", "scep", "default"), CA_FORBIDDEN);
    CR_OK(put(tx, true, "strong", "scep", "p2"));
    expect_effective(tx, "p2", "group:strong");
    CR_OK(put(tx, true, "also", "scep", "p3"));
    expect_effective(tx, "p3", "group:also"); /* same priority: by name */
    CR_OK(assignment_allows(tx, "alice", "scep", "p1"));

    CR_OK(put(tx, false, "alice", "scep", "p2"));
    expect_effective(tx, "p2", "user");
    CR_OK(put(tx, false, "alice", "scep", "p1"));
    expect_effective(tx, "p1", "user");
    /* Another kind is another matter. */
    CR_STATUS(assignment_allows(tx, "alice", "certificate", "p1"), CA_FORBIDDEN);
    CR_OK(assignment_allows(tx, "alice", "certificate", "default"));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(assignment, refuses_unknown_targets_and_profiles_and_takes_a_repeat)
{
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    profiles_make(tx, "p1");
    group_make(tx, "staff", 1, "alice");
    CR_STATUS(put(tx, false, "bob", "scep", "p1"), CA_NOT_FOUND);
    CR_STATUS(put(tx, false, "staff", "scep", "p1"), CA_NOT_FOUND);
    CR_STATUS(put(tx, true, "alice", "scep", "p1"), CA_NOT_FOUND);
    CR_STATUS(put(tx, false, "alice", "scep", "p2"), CA_NOT_FOUND);
    CR_STATUS(put(tx, false, "alice", "policy", "p1"), CA_NOT_FOUND);
    CR_OK(put(tx, false, "alice", "scep", "p1"));
    CR_OK(put(tx, false, "alice", "scep", "p1"));
    CR_OK(take_away(tx, false, "alice", "scep", "p1"));
    CR_STATUS(take_away(tx, false, "alice", "scep", "p1"), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

static enum ca_status
gather_assignment(const void *record, void *arg)
{
    const struct assignment *assignment = record;
    char text[256];
    snprintf(text, sizeof text, "%s%s:%s/%s", assignment->to_group ? "@" : "",
             assignment->target, assignment->kind, assignment->profile);
    gather(arg, text);
    return CA_OK;
}

Test(assignment, list_shows_own_ones_and_those_through_groups)
{
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    user_make(tx, "bob");
    profiles_make(tx, "p1");
    profiles_make(tx, "p2");
    group_make(tx, "staff", 1, "alice");
    group_make(tx, "other", 1, "bob");
    CR_OK(put(tx, false, "alice", "scep", "p1"));
    CR_OK(put(tx, true, "staff", "certificate", "p2"));
    CR_OK(put(tx, true, "other", "scep", "p2"));
    struct gathered user = { 0 }, group = { 0 };
    CR_OK(assignment_list(tx, false, "alice", gather_assignment, &user));
    cr_assert_str_eq(user.text, "alice:scep/p1 @staff:certificate/p2 ");
    CR_OK(assignment_list(tx, true, "other", gather_assignment, &group));
    cr_assert_str_eq(group.text, "@other:scep/p2 ");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
