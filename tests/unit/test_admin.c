/* Administrators and their tokens. */
#include "admin.h"
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "scratch_store.h"
#include <criterion/criterion.h>

#define NOW 1795341600
#define ADMINISTRATOR (1u << ROLE_ADMINISTRATOR)
#define OPERATOR (1u << ROLE_OPERATOR)
#define AUDITOR (1u << ROLE_AUDITOR)

static void
admin_start(void)
{
    scratch_store_open();
    clock_set(NOW);
}

TestSuite(admin, .init = admin_start, .fini = scratch_store_close);

struct call {
    struct admin *admin;
    struct admin_token *token;
    const char *name, *secret;
    int64_t version;
    const uint8_t *sha256;
    char *drawn;
};

static enum ca_status
insert_closure(struct store_tx *tx, void *arg)
{
    return admin_insert(tx, ((struct call *)arg)->admin);
}

static enum ca_status
update_closure(struct store_tx *tx, void *arg)
{
    return admin_update(tx, ((struct call *)arg)->admin);
}

static enum ca_status
delete_closure(struct store_tx *tx, void *arg)
{
    const struct call *call = arg;
    return admin_delete(tx, call->name, call->version);
}

static enum ca_status
load_closure(struct store_tx *tx, void *arg)
{
    const struct call *call = arg;
    return admin_load(tx, call->name, call->admin);
}

static enum ca_status
token_closure(struct store_tx *tx, void *arg)
{
    struct call *call = arg;
    return admin_token_insert(tx, call->token, &call->drawn);
}

static enum ca_status
token_delete_closure(struct store_tx *tx, void *arg)
{
    return admin_token_delete(tx, ((struct call *)arg)->name);
}

static enum ca_status
of_token_closure(struct store_tx *tx, void *arg)
{
    const struct call *call = arg;
    return admin_of_token(tx, call->secret, call->admin);
}

static enum ca_status
of_certificate_closure(struct store_tx *tx, void *arg)
{
    const struct call *call = arg;
    return admin_of_certificate(tx, call->sha256, call->admin);
}

static enum ca_status
insert(const char *name, unsigned roles, const char *sha256)
{
    struct admin admin = { .roles = roles };
    admin.name = strdup(name);
    admin.certificate_sha256 = sha256 ? strdup(sha256) : NULL;
    enum ca_status status =
        store_write(scratch_store, insert_closure, &(struct call){ .admin = &admin });
    admin_clear(&admin);
    return status;
}

static enum ca_status
load(const char *name, struct admin *ret_admin)
{
    struct call call = { .name = name, .admin = ret_admin };
    return store_read(scratch_store, load_closure, &call);
}

/* Loads, changes and saves. */
static enum ca_status
change(const char *name, unsigned roles, bool disabled)
{
    struct admin admin = { 0 };
    cr_assert_eq(load(name, &admin), CA_OK);
    admin.roles = roles;
    admin.disabled = disabled;
    enum ca_status status =
        store_write(scratch_store, update_closure, &(struct call){ .admin = &admin });
    admin_clear(&admin);
    return status;
}

static enum ca_status delete (const char *name, int64_t version) {
    struct call call = { .name = name, .version = version };
    return store_write(scratch_store, delete_closure, &call);
}

/* A token of the admin; secret_free it. */
static char *
token_make(const char *admin, int64_t expires, enum ca_status expected)
{
    struct admin_token token = { .expires = expires };
    token.admin = strdup(admin);
    struct call call = { .token = &token };
    enum ca_status status = store_write(scratch_store, token_closure, &call);
    cr_expect_eq(status, expected, "%s", status_message());
    cr_expect_eq(call.drawn != NULL, expected == CA_OK);
    cr_expect_eq(token.id != NULL, expected == CA_OK);
    admin_token_clear(&token);
    return call.drawn;
}

static void
expect_login(const char *secret, const char *name)
{
    struct admin admin = { 0 };
    struct call call = { .secret = secret, .admin = &admin };
    enum ca_status status = store_read(scratch_store, of_token_closure, &call);
    cr_expect_eq(status, name ? CA_OK : CA_UNAUTHENTICATED, "%s", status_message());
    if (name)
        cr_expect_str_eq(admin.name, name);
    cr_expect_null(strstr(status_message(), secret), "I5: the secret is in a message");
    admin_clear(&admin);
}

Test(admin, goes_in_and_comes_out)
{
    struct admin admin = { 0 };
    cr_assert_eq(insert("alice", ADMINISTRATOR | AUDITOR, NULL), CA_OK);
    cr_assert_eq(insert("alice", OPERATOR, NULL), CA_CONFLICT);
    cr_assert_eq(load("alice", &admin), CA_OK);
    cr_expect_eq(admin.roles, ADMINISTRATOR | AUDITOR);
    cr_expect_eq(admin.stamp.version, 1);
    cr_expect_eq(admin.stamp.created, NOW);
    CA_AUTO(json_decref) json_t *json = field_encode(admin_fields, &admin);
    CA_AUTO(json_decref)
    json_t *roles = json_pack("[s, s]", "administrator", "auditor");
    cr_expect(json_equal(json_object_get(json, "roles"), roles));
    admin_clear(&admin);
    cr_assert_eq(load("bob", &admin), CA_NOT_FOUND);
    LEAK_CHECK();
}

Test(admin, stale_update_is_a_conflict)
{
    struct admin stale = { 0 };
    cr_assert_eq(insert("alice", ADMINISTRATOR, NULL), CA_OK);
    cr_assert_eq(load("alice", &stale), CA_OK);
    clock_set(NOW + 5);
    cr_assert_eq(change("alice", ADMINISTRATOR | OPERATOR, false), CA_OK);
    struct call call = { .admin = &stale };
    cr_assert_eq(store_write(scratch_store, update_closure, &call), CA_CONFLICT);
    cr_assert_eq(stale.stamp.version, 1);
    admin_clear(&stale);
    cr_assert_eq(load("alice", &stale), CA_OK);
    cr_expect_eq(stale.stamp.version, 2);
    cr_expect_eq(stale.stamp.updated, NOW + 5);
    cr_expect_eq(stale.stamp.created, NOW);
    cr_expect_eq(stale.roles, ADMINISTRATOR | OPERATOR);
    admin_clear(&stale);
    LEAK_CHECK();
}

Test(admin, A6_last_enabled_administrator_stays)
{
    cr_assert_eq(insert("alice", ADMINISTRATOR, NULL), CA_OK);
    cr_assert_eq(insert("bob", OPERATOR | AUDITOR, NULL), CA_OK);
    cr_expect_eq(delete ("alice", 1), CA_CONFLICT);
    cr_expect_not_null(strstr(status_message(), "last"), "%s", status_message());
    cr_expect_eq(change("alice", OPERATOR, false), CA_CONFLICT);
    cr_expect_eq(change("alice", ADMINISTRATOR, true), CA_CONFLICT);
    cr_expect_eq(change("alice", ADMINISTRATOR | AUDITOR, false), CA_OK);
    cr_assert_eq(insert("carol", ADMINISTRATOR, NULL), CA_OK);
    cr_assert_eq(change("carol", ADMINISTRATOR, true), CA_OK);
    cr_expect_eq(delete ("alice", 2), CA_CONFLICT, "carol is disabled");
    cr_assert_eq(change("carol", ADMINISTRATOR, false), CA_OK);
    cr_expect_eq(delete ("alice", 1), CA_CONFLICT, "another version");
    cr_expect_eq(delete ("alice", 2), CA_OK);
    cr_expect_eq(delete ("alice", 2), CA_NOT_FOUND);
    cr_expect_eq(delete ("carol", 3), CA_CONFLICT);
    cr_expect_eq(delete ("bob", 1), CA_OK);
    LEAK_CHECK();
}

/* Two that would each leave the other as the last, in one group and in one transaction.
 */
static enum ca_status
both_closure(struct store_tx *tx, void *arg)
{
    (void)arg;
    enum ca_status status = admin_delete(tx, "alice", 1);
    return status == CA_OK ? admin_delete(tx, "bob", 1) : status;
}

Test(admin, A6_two_deletions_do_not_take_both)
{
    cr_assert_eq(insert("alice", ADMINISTRATOR, NULL), CA_OK);
    cr_assert_eq(insert("bob", ADMINISTRATOR, NULL), CA_OK);
    cr_assert_eq(store_write(scratch_store, both_closure, NULL), CA_CONFLICT);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM admin"), 2);
}

Test(admin, certificate_logs_in_whom_it_belongs_to)
{
    static const char hex[] =
        "00ff0000000000000000000000000000000000000000000000000000000000aa";
    uint8_t sha256[32] = { 0, 0xff };
    sha256[31] = 0xaa;
    struct admin admin = { 0 };
    struct call call = { .sha256 = sha256, .admin = &admin };
    cr_assert_eq(insert("root", ADMINISTRATOR, NULL), CA_OK);
    cr_assert_eq(store_read(scratch_store, of_certificate_closure, &call),
                 CA_UNAUTHENTICATED);
    cr_assert_eq(insert("alice", OPERATOR, hex), CA_OK);
    cr_assert_eq(insert("bob", OPERATOR, hex), CA_CONFLICT,
                 "one certificate, one admin");
    cr_assert_eq(store_read(scratch_store, of_certificate_closure, &call), CA_OK);
    cr_assert_str_eq(admin.name, "alice");
    admin_clear(&admin);
    sha256[0] = 1;
    cr_assert_eq(store_read(scratch_store, of_certificate_closure, &call),
                 CA_UNAUTHENTICATED);
    sha256[0] = 0;
    cr_assert_eq(change("alice", OPERATOR, true), CA_OK);
    cr_assert_eq(store_read(scratch_store, of_certificate_closure, &call),
                 CA_UNAUTHENTICATED);
    LEAK_CHECK();
}

Test(admin, A6_token_logs_in_until_it_ends)
{
    cr_assert_eq(insert("alice", ADMINISTRATOR, NULL), CA_OK);
    cr_assert_eq(insert("bob", OPERATOR, NULL), CA_OK);
    CA_AUTO(secret_free) char *lasting = token_make("alice", 0, CA_OK);
    CA_AUTO(secret_free) char *ending = token_make("bob", NOW + 60, CA_OK);
    CA_AUTO(secret_free) char *other = token_make("bob", NOW + 60, CA_OK);
    cr_assert_eq(strlen(lasting), 43, "256 bits as base64url");
    cr_assert_str_neq(ending, other);
    expect_login(lasting, "alice");
    expect_login(ending, "bob");
    clock_set(NOW + 59);
    expect_login(ending, "bob");
    clock_set(NOW + 60);
    expect_login(ending, NULL);
    expect_login(lasting, "alice");
    clock_set(NOW);
    cr_assert_eq(change("bob", OPERATOR, true), CA_OK);
    expect_login(ending, NULL);
    token_make("nobody", 0, CA_NOT_FOUND);
    token_make("alice", NOW, CA_MALFORMED);
    LEAK_CHECK();
}

Test(admin, A6_what_is_no_token_does_not_log_in)
{
    cr_assert_eq(insert("alice", ADMINISTRATOR, NULL), CA_OK);
    CA_AUTO(secret_free) char *secret = token_make("alice", 0, CA_OK);
    char changed[64];
    snprintf(changed, sizeof changed, "%s", secret);
    changed[20] = changed[20] == 'A' ? 'B' : 'A';
    expect_login(changed, NULL);
    snprintf(changed, sizeof changed, "%s=", secret);
    expect_login(changed, NULL);
    snprintf(changed, sizeof changed, "%.42s", secret);
    expect_login(changed, NULL);
    struct admin admin = { 0 };
    struct call call = { .secret = "", .admin = &admin };
    cr_expect_eq(store_read(scratch_store, of_token_closure, &call),
                 CA_UNAUTHENTICATED);
    LEAK_CHECK();
}

Test(admin, I5_token_is_not_in_the_store)
{
    cr_assert_eq(insert("alice", ADMINISTRATOR, NULL), CA_OK);
    CA_AUTO(secret_free) char *secret = token_make("alice", 0, CA_OK);
    store_close(scratch_store);
    CA_AUTO(fclose) FILE *stream = fopen(scratch_path, "r");
    CA_AUTO(free) char *whole = calloc(1, 4 * 1024 * 1024);
    size_t size = fread(whole, 1, 4 * 1024 * 1024, stream);
    cr_assert_gt(size, 4096);
    cr_expect_not_null(memmem(whole, size, "alice", 5));
    cr_expect_null(memmem(whole, size, secret, strlen(secret)));
    uint8_t octets[32];
    size_t octets_size = 0;
    cr_assert_eq(base64_parse(secret, strlen(secret), BASE64_URL, octets, sizeof octets,
                              &octets_size),
                 CA_OK);
    cr_expect_null(memmem(whole, size, octets, octets_size));
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK);
    LEAK_CHECK();
}

static enum ca_status
name_visit(const void *record, void *arg)
{
    text_print(arg, "%s ", ((const struct admin *)record)->name);
    return CA_OK;
}

static enum ca_status
token_visit(const void *record, void *arg)
{
    CA_AUTO(json_decref) json_t *json = field_encode(admin_token_fields, record);
    CA_AUTO(free) char *text = json_dumps(json, JSON_COMPACT);
    cr_expect_null(strstr(text, "secret"));
    text_print(arg, "%s ", ((const struct admin_token *)record)->admin);
    return CA_OK;
}

static enum ca_status
list_closure(struct store_tx *tx, void *arg)
{
    return admin_list(tx, &(struct record_page){ "a", 2 }, name_visit, arg);
}

static enum ca_status
token_list_closure(struct store_tx *tx, void *arg)
{
    struct record_page page = { 0 };
    enum ca_status status = admin_token_list(tx, "bob", &page, token_visit, arg);
    text_print(arg, "| ");
    if (status == CA_OK)
        status = admin_token_list(tx, NULL, &page, token_visit, arg);
    return status;
}

Test(admin, lists_come_in_pages_and_tokens_without_secrets)
{
    static const char *const names[] = { "d", "a", "c", "b" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        cr_assert_eq(insert(names[i], ADMINISTRATOR, NULL), CA_OK);
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    cr_assert_eq(store_read(scratch_store, list_closure, &text), CA_OK);
    cr_assert_str_eq(text.data, "b c ");
    cr_assert_eq(insert("bob", OPERATOR, NULL), CA_OK);
    for (int i = 0; i < 3; i++)
        secret_free(token_make("bob", 0, CA_OK));
    CA_AUTO(text_buffer_clear) struct text_buffer tokens = { 0 };
    cr_assert_eq(store_read(scratch_store, token_list_closure, &tokens), CA_OK);
    cr_assert_str_eq(tokens.data, "bob bob bob | bob bob bob ");
    LEAK_CHECK();
}

Test(admin, tokens_go_with_their_admin_and_by_id)
{
    cr_assert_eq(insert("alice", ADMINISTRATOR, NULL), CA_OK);
    cr_assert_eq(insert("bob", OPERATOR, NULL), CA_OK);
    struct admin_token token = { .admin = strdup("alice") };
    struct call call = { .token = &token };
    cr_assert_eq(store_write(scratch_store, token_closure, &call), CA_OK);
    CA_AUTO(secret_free) char *alice = call.drawn;
    CA_AUTO(secret_free) char *bob = token_make("bob", 0, CA_OK);
    call.name = token.id;
    cr_assert_eq(store_write(scratch_store, token_delete_closure, &call), CA_OK);
    cr_assert_eq(store_write(scratch_store, token_delete_closure, &call), CA_NOT_FOUND);
    expect_login(alice, NULL);
    expect_login(bob, "bob");
    cr_assert_eq(delete ("bob", 1), CA_OK);
    cr_assert_eq(insert("bob", OPERATOR, NULL), CA_OK);
    expect_login(bob, NULL);
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM admin_token"), 0);
    admin_token_clear(&token);
    LEAK_CHECK();
}

Test(admin, input_is_checked)
{
    static const struct {
        const char *json;
        bool is_good;
    } cases[] = {
        { "{\"name\": \"alice\", \"roles\": [\"operator\"]}", true },
        { "{\"name\": \"alice\", \"roles\": []}", false },
        { "{\"name\": \"alice\"}", false },
        { "{\"name\": \"Alice\", \"roles\": [\"operator\"]}", false },
        { "{\"name\": \"alice\", \"roles\": [\"root\"]}", false },
        { "{\"name\": \"a\", \"roles\": [\"operator\"], \"certificate_sha256\": "
          "\"00\"}",
          false },
        { "{\"name\": \"a\", \"roles\": [\"operator\"], \"certificate_sha256\": "
          "\"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\"}",
          true },
        { "{\"name\": \"a\", \"roles\": [\"operator\"], \"certificate_sha256\": "
          "\"00112233445566778899AABBCCDDEEFF00112233445566778899aabbccddeeff\"}",
          false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(json_decref) json_t *json = json_loads(cases[i].json, 0, NULL);
        struct admin admin = { 0 };
        struct field_errors errors = { 0 };
        cr_expect_eq(field_decode(admin_fields, json, &admin, &errors),
                     cases[i].is_good ? CA_OK : CA_MALFORMED, "%s", cases[i].json);
        field_clear(admin_fields, &admin);
    }
    LEAK_CHECK();
}
