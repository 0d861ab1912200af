/* Webhooks: which entries of the audit log are events, in identifiers alone; keys and
 * signatures; the form of the configuration. Deliveries are in test_webhook.py. */
#include "clock.h"
#include "config.h"
#include "device.h"
#include "leak.h"
#include "scratch_records.h"
#include "webhook.h"

#define NOW 1795341600
#define ALL 15u

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
    audit_set_instance("one");
}

static void
leave(void)
{
    scratch_store_close();
    clock_set(-1);
}

TestSuite(webhook, .init = set_up, .fini = leave);

/* ---- Signatures ---- */

/* The example of the specification's own libraries. */
Test(webhook, signatures_are_those_of_Standard_Webhooks)
{
    uint8_t key[WEBHOOK_SECRET_MAX];
    size_t size = 0;
    CR_OK(webhook_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", key, &size));
    cr_assert_eq(size, 24);
    CA_AUTO(free)
    char *signature = webhook_signature(key, size, "msg_p5jXN8AQM9LWM0D4loKWxJek",
                                        1614265330, "{\"test\": 2432232314}");
    cr_expect_str_eq(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    LEAK_CHECK();
}

Test(webhook, keys_that_are_short_or_damaged_are_refused)
{
    static const char *const bad[] = { "", "too few of characters",
                                       "whsec_MfKQ9r8GKYqrTwjUPD8ILPZI",
                                       "whsec_not*base64*at*all*but*long*enough" };
    uint8_t key[WEBHOOK_SECRET_MAX];
    size_t size = 99;
    char longer[WEBHOOK_SECRET_MAX + 2];
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_expect_eq(webhook_key(bad[i], key, &size), CA_MALFORMED, "%s", bad[i]);
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    cr_expect_eq(webhook_key(longer, key, &size), CA_MALFORMED);
    cr_expect_eq(size, 99, "nothing written");
    CR_OK(webhook_key("any 24 characters, so it", key, &size));
    cr_expect_eq(size, 24);
}

/* ---- Events ---- */

struct entry {
    const char *action, *object, *detail, *outcome, *protocol;
};

static void
append(struct store_tx *tx, const struct entry *entry)
{
    CA_AUTO(json_decref)
    json_t *detail = entry->detail ? json_loads(entry->detail, 0, NULL) : NULL;
    cr_assert(!entry->detail || detail, "%s", entry->detail);
    CR_OK(audit_append(tx, &(struct audit_entry){
                               .action = entry->action,
                               .actor = "admin:a",
                               .object = entry->object,
                               .protocol = entry->protocol ? entry->protocol : "api",
                               .request = "r-1",
                               .outcome = entry->outcome ? entry->outcome : "ok",
                               .detail = detail }));
}

static void
device_make(struct store_tx *tx, char *id, char *owner, int state)
{
    struct device device = { .id = id, .owner = owner, .state = state };
    CR_OK(device_insert(tx, &device));
}

static void
sql(struct store_tx *tx, const char *text)
{
    CR_OK(store_run(tx, text, NULL, 0, NULL, NULL, NULL));
}

#define ONE "00000000-0000-4000-8000-000000000001"
#define TWO "00000000-0000-4000-8000-000000000002"
#define THREE "00000000-0000-4000-8000-000000000003"

static enum ca_status
world_make(struct store_tx *tx, void *arg)
{
    (void)arg;
    char one[] = ONE, two[] = TWO, three[] = THREE, alice[] = "alice", bob[] = "bob";
    user_make(tx, "alice");
    user_make(tx, "bob");
    device_make(tx, one, alice, DEVICE_ACTIVE);
    device_make(tx, two, bob, DEVICE_ACTIVE);
    device_make(tx, three, bob, DEVICE_UNENROLLED);
    sql(tx, "INSERT INTO user_group (name, description, priority, created, updated, "
            "version) VALUES ('staff', NULL, 100, 1, 1, 1)");
    sql(tx, "INSERT INTO group_member (group_name, user_name, created) "
            "VALUES ('staff', 'bob', 1)");
    sql(tx, "INSERT INTO assignment (to_group, target, kind, profile, created) "
            "VALUES (1, 'staff', 'policy', 'desk', 1)");
    return CA_OK;
}

static const struct {
    struct entry entry;
    const char *events; /* "type data; " of each */
} cases[] = {
    { { .action = "profile.assign",
        .object = "user:alice",
        .detail = "{\"kind\": \"policy\", \"profile\": \"x\"}" },
      "policy.changed {\"complete\":true,\"devices\":[\"" ONE
      "\"],\"scope\":\"user:alice\"}; " },
    { { .action = "profile.unassign",
        .object = "group:staff",
        .detail = "{\"kind\": \"policy\", \"profile\": \"desk\"}" },
      "policy.changed {\"complete\":true,\"devices\":[\"" TWO
      "\"],\"scope\":\"group:staff\"}; " },
    { { .action = "profile.assign",
        .object = "user:alice",
        .detail = "{\"kind\": \"scep\", \"profile\": \"x\"}" },
      "" },
    { { .action = "profile.update", .object = "profile:policy/desk" },
      "policy.changed {\"complete\":true,\"devices\":[\"" TWO
      "\"],\"scope\":\"profile:policy/desk\"}; " },
    { { .action = "profile.update", .object = "profile:policy/default" },
      "policy.changed {\"complete\":false,\"devices\":[],"
      "\"scope\":\"profile:policy/default\"}; " },
    { { .action = "profile.update", .object = "profile:certificate/default" }, "" },
    { { .action = "group.add_member",
        .object = "group:staff",
        .detail = "{\"user\": \"bob\"}" },
      "policy.changed {\"complete\":true,\"devices\":[\"" TWO
      "\"],\"scope\":\"user:bob\"}; " },
    { { .action = "user.update",
        .object = "user:bob",
        .detail = "{\"changed\": [\"email\"]}" },
      "" },
    { { .action = "user.update",
        .object = "user:bob",
        .detail = "{\"changed\": [\"email\", \"groups\"]}" },
      "policy.changed {\"complete\":true,\"devices\":[\"" TWO
      "\"],\"scope\":\"user:bob\"}; " },
    { { .action = "certificate.issue",
        .object = "certificate:0a1b",
        .detail =
            "{\"issuer\": \"issuing\", \"profile\": \"default\", \"user\": \"bob\", "
            "\"device\": \"" TWO
            "\", \"subject\": \"CN=Bob\", \"challenge\": \"login:77\"}",
        .protocol = "wstep" },
      "certificate.issued {\"certificate\":\"0a1b\",\"device\":\"" TWO
      "\",\"issuer\":\"issuing\",\"profile\":\"default\",\"user\":\"bob\"}; "
      "device.activated {\"certificate\":\"0a1b\",\"device\":\"" TWO
      "\",\"protocol\":\"wstep\",\"user\":\"bob\"}; " },
    { { .action = "certificate.issue",
        .object = "certificate:0a1c",
        .detail = "{\"device\": \"" TWO "\", \"replaces\": \"0a1b\"}",
        .protocol = "wstep" },
      "certificate.issued {\"certificate\":\"0a1c\",\"device\":\"" TWO "\"}; " },
    { { .action = "certificate.revoke",
        .object = "certificate:0a1b",
        .detail = "{\"reason\": \"superseded\", \"device\": \"" TWO "\"}" },
      "certificate.revoked {\"certificate\":\"0a1b\",\"device\":\"" TWO
      "\",\"reason\":\"superseded\"}; " },
    { { .action = "certificate.issue",
        .object = "certificate:0a1d",
        .outcome = "forbidden" },
      "" },
    { { .action = "mail.send", .object = "mail:1" }, "" },
};
#define CASES (sizeof cases / sizeof cases[0])

static enum ca_status
entries_append(struct store_tx *tx, void *arg)
{
    (void)arg;
    for (size_t i = 0; i < CASES; i++)
        append(tx, &cases[i].entry);
    return CA_OK;
}

struct reading {
    int64_t from;
    unsigned wanted;
    struct webhook_events events;
};

static enum ca_status
read_events(struct store_tx *tx, void *arg)
{
    struct reading *reading = arg;
    return webhook_events_read(tx, reading->from, reading->wanted, &reading->events);
}

static void
events_of(struct reading *reading)
{
    cr_assert_eq(store_read(scratch_store, read_events, reading), CA_OK, "%s",
                 status_message());
}

Test(webhook, what_happened_is_told_in_identifiers_alone)
{
    static struct reading reading = { .wanted = ALL };
    cr_assert_eq(store_write(scratch_store, world_make, NULL), CA_OK);
    cr_assert_eq(store_write(scratch_store, entries_append, NULL), CA_OK);
    events_of(&reading);
    cr_expect_eq(reading.events.next, (int64_t)CASES);
    size_t at = 0;
    for (size_t i = 0; i < CASES; i++) {
        char got[1024] = "";
        for (;
             at < reading.events.count && reading.events.items[at].number == (int64_t)i;
             at++) {
            const struct webhook_event *event = &reading.events.items[at];
            CA_AUTO(free)
            char *data = json_dumps(event->data, JSON_COMPACT | JSON_SORT_KEYS);
            size_t used = strlen(got);
            snprintf(got + used, sizeof got - used, "%s %s; ",
                     webhook_event_word(event->type), data);
            cr_expect_eq(event->time, NOW);
        }
        cr_expect_str_eq(got, cases[i].events, "%s %s: %s", cases[i].entry.action,
                         cases[i].entry.object, got);
    }
    cr_expect_eq(at, reading.events.count);
    webhook_events_clear(&reading.events);
    LEAK_CHECK();
}

Test(webhook, an_event_has_one_id_whoever_asks_and_others_have_others)
{
    static struct reading all = { .wanted = ALL },
                          some = { .wanted = EVENT_DEVICE_ACTIVATED };
    cr_assert_eq(store_write(scratch_store, entries_append, NULL), CA_OK);
    events_of(&all);
    events_of(&some);
    cr_assert_eq(some.events.count, 1);
    int found = 0;
    for (size_t i = 0; i < all.events.count; i++) {
        found += strcmp(all.events.items[i].id, some.events.items[0].id) == 0;
        for (size_t j = 0; j < i; j++)
            cr_expect_str_neq(all.events.items[i].id, all.events.items[j].id);
    }
    cr_expect_eq(found, 1);
    cr_expect_eq(some.events.next, (int64_t)CASES, "what is not wanted is passed over");
    webhook_events_clear(&all.events);
    webhook_events_clear(&some.events);
    audit_set_instance("two");
    cr_assert_eq(store_write(scratch_store, entries_append, NULL), CA_OK);
    events_of(&some);
    cr_expect_eq(some.events.count, 1, "an instance tells of its own log");
    webhook_events_clear(&some.events);
}

static enum ca_status
many_append(struct store_tx *tx, void *arg)
{
    (void)arg;
    for (int i = 0; i < WEBHOOK_BATCH + 3; i++)
        append(tx, &cases[9].entry);
    return CA_OK;
}

Test(webhook, a_batch_is_bounded_and_the_next_goes_on)
{
    static struct reading reading = { .wanted = ALL };
    cr_assert_eq(store_write(scratch_store, many_append, NULL), CA_OK);
    events_of(&reading);
    cr_expect_eq(reading.events.count, 2 * WEBHOOK_BATCH);
    cr_expect_eq(reading.events.next, WEBHOOK_BATCH);
    reading.from = reading.events.next;
    events_of(&reading);
    cr_expect_eq(reading.events.count, 6);
    reading.from = reading.events.next;
    events_of(&reading);
    cr_expect_eq(reading.events.count, 0);
    cr_expect_eq(reading.events.next, reading.from);
    webhook_events_clear(&reading.events);
}

/* ---- Configuration ---- */

Test(webhook, W4_the_configuration_says_who_may_be_called)
{
    static const struct {
        const char *members, *error; /* NULL: good */
    } webhooks[] = {
        { "\"url\": \"https://hooks.example.com:8443/in?x=1\"", NULL },
        { "\"url\": \"http://127.0.0.1:80/\"", NULL },
        { "\"url\": \"http://[::1]:8080/a\"", NULL },
        { "\"url\": \"http://localhost/\"", NULL },
        { "\"url\": \"http://hooks.example.com/\"", "/url: must be an https URL" },
        { "\"url\": \"http://localhost.example.com/\"", "/url: must be an https URL" },
        { "\"url\": \"http://127.0.0.1@evil.example/\"", "/url: must be an https URL" },
        { "\"url\": \"https://user@hooks.example.com/\"", "/url: must be" },
        { "\"url\": \"https:///path\"", "/url: must be" },
        { "\"url\": \"https://a b/\"", "/url: must be" },
        { "\"url\": \"file:///etc/passwd\"", "/url: must be" },
        { "\"url\": \"https://h/\", \"events\": []", "/events" },
        { "\"url\": \"https://h/\", \"events\": [\"user.created\"]", "/events" },
        { "\"url\": \"https://h/\", \"secret\": \"x\"", "/secret" },
    };
    for (size_t i = 0; i < sizeof webhooks / sizeof webhooks[0]; i++) {
        struct config config = { 0 };
        char text[512];
        snprintf(text, sizeof text,
                 "{\"listeners\": [], \"webhooks\": [{\"name\": \"w\", "
                 "\"secret_source\": \"file:hook\", %s}]}",
                 webhooks[i].members);
        enum ca_status status = config_parse(text, strlen(text), "/tmp", &config);
        const char *message = status == CA_OK ? "" : status_message();
        bool names_it = strstr(message, "webhooks/0") != NULL;
        if (webhooks[i].error)
            cr_expect(names_it && strstr(message, webhooks[i].error), "%s: %s", text,
                      message);
        else
            cr_expect_not(names_it, "%s: %s", text, message);
        config_clear(&config);
    }
}
