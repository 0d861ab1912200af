/* Issuers, their CRLs and the helper keys. */
#include "authority.h"
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "scratch_store.h"
#include <criterion/criterion.h>
#include <pthread.h>

#define NOW 1795341600

static const char chain_pem[] =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIByDCCAW2gAwIBAgIUMEGWf5RCtsh87og42krTykXqCHkwCgYIKoZIzj0EAwIw\n"
    "ODELMAkGA1UEBhMCREUxFjAUBgNVBAoMDUV4YW1wbGUsIEluYy4xETAPBgNVBAMM\n"
    "CFByw7xmIENBMCAXDTI2MTEyNjA1MzA1NFoYDzIxMjYxMTAyMDUzMDU0WjA4MQsw\n"
    "CQYDVQQGEwJERTEWMBQGA1UECgwNRXhhbXBsZSwgSW5jLjERMA8GA1UEAwwIUHLD\n"
    "vGYgQ0EwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAASi+ec0U7ZTqCoSLinA8RiO\n"
    "DVIJD63m2O1Sb8Uce/P+QLkWuPtrnIMSt5ZW6lIK4CAhaLLxvH9SkZOeGhk6RC/4\n"
    "o1MwUTAdBgNVHQ4EFgQUxVSQcnnx8RETzwklrHJiR4ORK7MwHwYDVR0jBBgwFoAU\n"
    "xVSQcnnx8RETzwklrHJiR4ORK7MwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQD\n"
    "AgNJADBGAiEAsaqFCqDLbodS3jBiE4fGEhM2RW6O94FgfKZUP8Yfy5UCIQCrFtA0\n"
    "mmtWicU/U8I5h/fSHOjtw/QaPR01d/rupLYx0A==\n"
    "-----END CERTIFICATE-----\n";

static void
authority_start(void)
{
    scratch_store_open();
    clock_set(NOW);
}

TestSuite(authority, .init = authority_start, .fini = scratch_store_close);

static enum ca_status
insert_closure(struct store_tx *tx, void *arg)
{
    return authority_insert(tx, arg);
}

static enum ca_status
update_closure(struct store_tx *tx, void *arg)
{
    return authority_update(tx, arg);
}

static enum ca_status
load_closure(struct store_tx *tx, void *arg)
{
    return authority_load(tx, "issuing", arg);
}

static struct authority
authority_make(const char *name, const char *chain)
{
    struct authority authority = { .state = AUTHORITY_ACTIVE };
    authority.name = strdup(name);
    authority.key = strdup("pkcs11:token=ca;object=issuing");
    authority.chain = chain ? strdup(chain) : NULL;
    authority.crl.lifetime_seconds = 604800;
    authority.crl.overlap_seconds = 86400;
    return authority;
}

Test(authority, goes_in_and_comes_out_with_the_subject_of_its_certificate)
{
    struct authority in = authority_make("issuing", chain_pem), out = { 0 };
    cr_assert_eq(store_read(scratch_store, load_closure, &out), CA_NOT_FOUND);
    cr_assert_eq(store_write(scratch_store, insert_closure, &in), CA_OK, "%s",
                 status_message());
    cr_expect_str_eq(in.subject, "CN=Pr\xc3\xbc"
                                 "f CA,O=Example\\, Inc.,C=DE");
    cr_assert_eq(store_read(scratch_store, load_closure, &out), CA_OK);
    CA_AUTO(json_decref) json_t *first = field_encode(authority_fields, &in);
    CA_AUTO(json_decref) json_t *second = field_encode(authority_fields, &out);
    cr_expect(json_equal(first, second));
    const json_t *crl = json_object_get(first, "crl");
    cr_expect_eq(json_integer_value(json_object_get(crl, "lifetime_seconds")), 604800);
    cr_expect_eq(json_integer_value(json_object_get(crl, "overlap_seconds")), 86400);
    cr_expect_str_eq(out.chain, chain_pem);
    cr_expect_null(out.parent);
    authority_clear(&out);
    cr_assert_eq(store_write(scratch_store, insert_closure, &in), CA_CONFLICT);
    authority_clear(&in);
    LEAK_CHECK();
}

Test(authority, update_is_over_the_version_that_was_read)
{
    struct authority first = authority_make("issuing", NULL), second = { 0 };
    cr_assert_eq(store_write(scratch_store, insert_closure, &first), CA_OK);
    cr_expect_null(first.subject);
    cr_assert_eq(store_read(scratch_store, load_closure, &second), CA_OK);
    first.state = AUTHORITY_RETIRED;
    first.chain = strdup(chain_pem);
    cr_assert_eq(store_write(scratch_store, update_closure, &first), CA_OK);
    cr_expect_eq(first.stamp.version, 2);
    cr_expect_not_null(first.subject);
    cr_assert_eq(store_write(scratch_store, update_closure, &second), CA_CONFLICT);
    cr_expect_eq(second.stamp.version, 1);
    authority_clear(&second);
    cr_assert_eq(store_read(scratch_store, load_closure, &second), CA_OK);
    cr_expect_eq(second.state, AUTHORITY_RETIRED);
    authority_clear(&first);
    authority_clear(&second);
    LEAK_CHECK();
}

Test(authority, what_cannot_be_is_refused)
{
    struct authority authority = authority_make("issuing", "not PEM");
    cr_expect_eq(store_write(scratch_store, insert_closure, &authority), CA_MALFORMED);
    authority.crl.overlap_seconds = authority.crl.lifetime_seconds;
    free(authority.chain);
    authority.chain = NULL;
    cr_expect_eq(store_write(scratch_store, insert_closure, &authority), CA_MALFORMED);
    authority.crl.overlap_seconds = 60;
    authority.next = strdup("issuing");
    cr_expect_eq(store_write(scratch_store, insert_closure, &authority), CA_MALFORMED);
    cr_expect_eq(scratch_integer("SELECT COUNT(*) FROM authority"), 0);
    authority_clear(&authority);
    LEAK_CHECK();
}

Test(authority, I5_key_is_a_pkcs11_uri_without_pin)
{
    static const struct {
        const char *key;
        bool is_good;
    } cases[] = {
        { "pkcs11:token=ca;object=issuing", true },
        { "pkcs11:token=ca?pin-value=1234", false },
        { "pkcs11:token=ca?pin-source=file:/etc/pin", false },
        { "pkcs11:token=ca?PIN-value=1234", false },
        { "pkcs11:token=ca?p%69n-value=1234", false },
        { "pkcs11:token=ca;pin-source=/etc/pin", false },
        { "pkcs11:pin-value=1;token=ca", false },
        { "pkcs11:object=pin-key", true },
        { "/etc/key.pem", false },
        { "", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(json_decref)
        json_t *json = json_pack("{s:s, s:s}", "name", "issuing", "key", cases[i].key);
        struct authority authority = { 0 };
        struct field_errors errors = { 0 };
        cr_expect_eq(field_decode(authority_fields, json, &authority, &errors),
                     cases[i].is_good ? CA_OK : CA_MALFORMED, "%s", cases[i].key);
        field_clear(authority_fields, &authority);
    }
    LEAK_CHECK();
}

static enum ca_status
name_visit(const void *record, void *arg)
{
    text_print(arg, "%s ", ((const struct authority *)record)->name);
    return CA_OK;
}

static enum ca_status
list_closure(struct store_tx *tx, void *arg)
{
    enum ca_status status =
        authority_list(tx, &(struct record_page){ NULL, 2 }, name_visit, arg);
    text_print(arg, "| ");
    return status == CA_OK
               ? authority_list(tx, &(struct record_page){ "b", 2 }, name_visit, arg)
               : status;
}

Test(authority, list_comes_in_pages)
{
    static const char *const names[] = { "c", "a", "b" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        struct authority authority = authority_make(names[i], NULL);
        cr_assert_eq(store_write(scratch_store, insert_closure, &authority), CA_OK);
        authority_clear(&authority);
    }
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    cr_assert_eq(store_read(scratch_store, list_closure, &text), CA_OK);
    cr_assert_str_eq(text.data, "a b | c ");
    LEAK_CHECK();
}

struct crl_call {
    struct authority_crl crl;
    int64_t number, revision;
    bool with_der;
};

static enum ca_status
draw_closure(struct store_tx *tx, void *arg)
{
    struct crl_call *call = arg;
    return authority_crl_draw(tx, "issuing", &call->number, &call->revision);
}

static enum ca_status
touch_closure(struct store_tx *tx, void *arg)
{
    (void)arg;
    return authority_crl_touch(tx, "issuing");
}

static enum ca_status
save_closure(struct store_tx *tx, void *arg)
{
    return authority_crl_save(tx, "issuing", &((struct crl_call *)arg)->crl);
}

static enum ca_status
crl_load_closure(struct store_tx *tx, void *arg)
{
    struct crl_call *call = arg;
    return authority_crl_load(tx, "issuing", call->with_der, &call->crl);
}

static int64_t
draw(void)
{
    struct crl_call call = { 0 };
    cr_assert_eq(store_write(scratch_store, draw_closure, &call), CA_OK);
    return call.number;
}

static enum ca_status
save(int64_t number, char *der)
{
    struct crl_call call = { .crl = { .number = number,
                                      .this_update = NOW,
                                      .next_update = NOW + 604800,
                                      .built_revision = number,
                                      .der = der,
                                      .der_size = strlen(der) } };
    return store_write(scratch_store, save_closure, &call);
}

Test(authority, V1_crl_numbers_rise_over_failed_builds_and_restarts)
{
    cr_assert_eq(draw(), 1);
    cr_assert_eq(draw(), 2, "the first build failed");
    char second[] = "second", first[] = "first";
    cr_assert_eq(save(2, second), CA_OK);
    cr_assert_eq(save(1, first), CA_CONFLICT, "a late build of a lower number");
    cr_assert_eq(save(2, first), CA_CONFLICT);
    cr_assert_eq(save(3, first), CA_CONFLICT, "3 was never drawn");
    store_close(scratch_store);
    cr_assert_eq(store_open(scratch_path, &scratch_store), CA_OK);
    cr_assert_eq(draw(), 3);
    struct crl_call call = { .with_der = true };
    cr_assert_eq(store_read(scratch_store, crl_load_closure, &call), CA_OK);
    cr_expect_eq(call.crl.number, 2);
    cr_expect(call.crl.der_size == 6 && memcmp(call.crl.der, "second", 6) == 0);
    authority_crl_clear(&call.crl);
    LEAK_CHECK();
}

struct drawer {
    pthread_t thread;
    struct store *store;
    int64_t numbers[20];
};

static void *
drawer_main(void *arg)
{
    struct drawer *drawer = arg;
    for (size_t i = 0; i < 20; i++) {
        struct crl_call call = { 0 };
        if (store_write(drawer->store, draw_closure, &call) == CA_OK)
            drawer->numbers[i] = call.number;
    }
    return NULL;
}

Test(authority, V1_crl_numbers_of_parallel_instances_are_never_the_same)
{
    enum { COUNT = 6, EACH = 20 };
    struct drawer drawers[COUNT];
    struct store *other = NULL;
    bool is_drawn[COUNT * EACH + 1] = { false };
    cr_assert_eq(store_open(scratch_path, &other), CA_OK);
    for (int i = 0; i < COUNT; i++) {
        drawers[i] = (struct drawer){ .store = i % 2 ? other : scratch_store };
        cr_assert_eq(pthread_create(&drawers[i].thread, NULL, drawer_main, &drawers[i]),
                     0);
    }
    for (int i = 0; i < COUNT; i++) {
        pthread_join(drawers[i].thread, NULL);
        for (int j = 0; j < EACH; j++) {
            int64_t number = drawers[i].numbers[j];
            cr_assert(number >= 1 && number <= COUNT * EACH && !is_drawn[number],
                      "number %lld", (long long)number);
            cr_assert(j == 0 || number > drawers[i].numbers[j - 1]);
            is_drawn[number] = true;
        }
    }
    store_close(other);
    LEAK_CHECK();
}

Test(authority, revocation_makes_the_crl_stale)
{
    struct crl_call call = { 0 };
    char der[] = "der";
    cr_assert_eq(store_read(scratch_store, crl_load_closure, &call), CA_NOT_FOUND);
    cr_assert_eq(store_write(scratch_store, touch_closure, NULL), CA_OK);
    cr_assert_eq(store_read(scratch_store, crl_load_closure, &call), CA_NOT_FOUND);
    cr_assert_eq(store_write(scratch_store, draw_closure, &call), CA_OK);
    cr_expect_eq(call.revision, 1);
    cr_assert_eq(store_write(scratch_store, touch_closure, NULL), CA_OK);
    call.crl = (struct authority_crl){ .number = call.number,
                                       .this_update = NOW,
                                       .next_update = NOW + 60,
                                       .built_revision = call.revision,
                                       .der = der,
                                       .der_size = 3 };
    cr_assert_eq(store_write(scratch_store, save_closure, &call), CA_OK);
    call = (struct crl_call){ .with_der = false };
    cr_assert_eq(store_read(scratch_store, crl_load_closure, &call), CA_OK);
    cr_expect_eq(call.crl.revision, 2);
    cr_expect_eq(call.crl.built_revision, 1, "one came in while it was built");
    cr_expect_null(call.crl.der);
    cr_expect_eq(call.crl.der_size, 0);
    authority_crl_clear(&call.crl);
    LEAK_CHECK();
}

static enum ca_status
helper_insert_closure(struct store_tx *tx, void *arg)
{
    return helper_insert(tx, arg);
}

static enum ca_status
helper_visit(const void *record, void *arg)
{
    const struct helper *helper = record;
    text_print(arg, "%s %s %s %d %zu; ", helper->name, helper_role_words[helper->role],
               helper->issuer ? helper->issuer : "-", helper->current,
               helper->certificate_size);
    return CA_OK;
}

static enum ca_status
helper_list_closure(struct store_tx *tx, void *arg)
{
    return helper_list(tx, helper_visit, arg);
}

Test(authority, new_helper_key_takes_the_place_of_the_current_one)
{
    char key[] = "pkcs11:object=x", issuing[] = "issuing", other[] = "other";
    char a[] = "ra-1", b[] = "ra-2", c[] = "ra-other", d[] = "audit-1", e[] = "ra-0";
    char der[] = "DER";
    const struct {
        struct helper helper;
        enum ca_status status;
    } cases[] = {
        { { a, HELPER_RA, issuing, key, true, der, 3 }, CA_OK },
        { { c, HELPER_RA, other, key, true, NULL, 0 }, CA_OK },
        { { d, HELPER_AUDIT, NULL, key, true, NULL, 0 }, CA_OK },
        { { b, HELPER_RA, issuing, key, true, NULL, 0 }, CA_OK },
        { { a, HELPER_RA, issuing, key, true, NULL, 0 }, CA_CONFLICT },
        { { e, HELPER_RA, issuing, key, false, NULL, 0 }, CA_OK },
        { { e, HELPER_OCSP, NULL, key, true, NULL, 0 }, CA_MALFORMED },
        { { e, HELPER_SEALING, issuing, key, true, NULL, 0 }, CA_MALFORMED },
        { { e, HELPER_ROLE_COUNT, issuing, key, true, NULL, 0 }, CA_MALFORMED },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct helper helper = cases[i].helper;
        cr_expect_eq(store_write(scratch_store, helper_insert_closure, &helper),
                     cases[i].status, "case %zu: %s", i, status_message());
    }
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    cr_assert_eq(store_read(scratch_store, helper_list_closure, &text), CA_OK);
    cr_expect_str_eq(text.data, "ra-other ra other 1 0; ra-2 ra issuing 1 0; "
                                "audit-1 audit - 1 0; ra-1 ra issuing 0 3; "
                                "ra-0 ra issuing 0 0; ");
    LEAK_CHECK();
}
