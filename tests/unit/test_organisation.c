/* The organisation. */
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "organisation.h"
#include "scratch_store.h"
#include <criterion/criterion.h>

#define NOW 1795341600

static void
organisation_start(void)
{
    scratch_store_open();
    clock_set(NOW);
}

TestSuite(organisation, .init = organisation_start, .fini = scratch_store_close);

static enum ca_status
save_closure(struct store_tx *tx, void *arg)
{
    return organisation_save(tx, arg);
}

static enum ca_status
load_closure(struct store_tx *tx, void *arg)
{
    return organisation_load(tx, arg);
}

static enum ca_status
decode(const char *text, struct organisation *ret_organisation)
{
    CA_AUTO(json_decref) json_t *json = json_loads(text, 0, NULL);
    cr_assert_not_null(json, "%s", text);
    struct field_errors errors = { 0 };
    return field_decode(organisation_fields, json, ret_organisation, &errors);
}

static const char example[] = "{\"name\": \"Example Fleet\", \"mail_domains\": "
                              "[\"example.com\", \"a-1.example.org\"],"
                              " \"base_url\": \"https://ca.example.com\","
                              " \"plain_url\": \"http://ca.example.com:8080/pki\"}";

Test(organisation, goes_in_and_comes_out)
{
    struct organisation in = { 0 }, out = { 0 };
    cr_assert_eq(store_read(scratch_store, load_closure, &out), CA_NOT_FOUND);
    cr_assert_eq(decode(example, &in), CA_OK, "%s", status_message());
    cr_assert_eq(store_write(scratch_store, save_closure, &in), CA_OK, "%s",
                 status_message());
    cr_assert_eq(in.stamp.version, 1);
    cr_assert_eq(store_read(scratch_store, load_closure, &out), CA_OK);
    CA_AUTO(json_decref) json_t *first = field_encode(organisation_fields, &in);
    CA_AUTO(json_decref) json_t *second = field_encode(organisation_fields, &out);
    cr_assert(json_equal(first, second));
    cr_assert_eq(out.mail_domains.count, 2);
    cr_assert_eq(out.stamp.created, NOW);
    organisation_clear(&in);
    organisation_clear(&out);
    cr_assert_null(out.name);
    LEAK_CHECK();
}

Test(organisation, there_is_one_and_old_versions_do_not_overwrite)
{
    struct organisation first = { 0 }, second = { 0 };
    cr_assert_eq(decode(example, &first), CA_OK);
    cr_assert_eq(decode(example, &second), CA_OK);
    cr_assert_eq(store_write(scratch_store, save_closure, &first), CA_OK);
    cr_assert_eq(store_write(scratch_store, save_closure, &second), CA_CONFLICT);
    second.stamp = first.stamp;
    clock_set(NOW + 5);
    cr_assert_eq(store_write(scratch_store, save_closure, &first), CA_OK);
    cr_assert_eq(first.stamp.version, 2);
    cr_assert_eq(first.stamp.created, NOW);
    cr_assert_eq(first.stamp.updated, NOW + 5);
    cr_assert_eq(store_write(scratch_store, save_closure, &second), CA_CONFLICT);
    cr_assert_eq(second.stamp.version, 1, "a failed save changes nothing");
    organisation_clear(&first);
    organisation_clear(&second);
    LEAK_CHECK();
}

Test(organisation, W2_urls_and_domains_are_what_links_can_be_made_of)
{
    static const struct {
        const char *member, *value;
        bool is_good;
    } cases[] = {
        { "base_url", "\"https://ca.example.com\"", true },
        { "base_url", "\"https://ca.example.com:8443/a/b\"", true },
        { "base_url", "\"https://[2001:db8::1]:8443\"", true },
        { "base_url", "\"http://ca.example.com\"", false },
        { "base_url", "\"https://ca.example.com/\"", false },
        { "base_url", "\"https://\"", false },
        { "base_url", "\"https:///path\"", false },
        { "base_url", "\"https://:8443\"", false },
        { "base_url", "\"https://user@ca.example.com\"", false },
        { "base_url", "\"https://ca.example.com?x\"", false },
        { "base_url", "\"https://ca.example.com#x\"", false },
        { "base_url", "\"https://ca example.com\"", false },
        { "base_url", "\"https://c\\u00e4.example.com\"", false },
        { "base_url", "\"javascript:alert(1)\"", false },
        { "base_url", "null", false },
        { "plain_url", "\"http://ca.example.com\"", true },
        { "plain_url", "\"https://ca.example.com\"", false },
        { "plain_url", "\"http://ca.example.com/\"", false },
        { "mail_domains", "[]", true },
        { "mail_domains", "[\"example.com\"]", true },
        { "mail_domains", "[\"Example.com\"]", false },
        { "mail_domains", "[\"example\"]", false },
        { "mail_domains", "[\"example.com.\"]", false },
        { "mail_domains", "[\".example.com\"]", false },
        { "mail_domains", "[\"a..example.com\"]", false },
        { "mail_domains", "[\"-a.example.com\"]", false },
        { "mail_domains", "[\"a-.example.com\"]", false },
        { "mail_domains", "[\"*.example.com\"]", false },
        { "mail_domains", "[\"alice@example.com\"]", false },
        { "name", "\"\"", false },
        { "name", "\"a\\nb\"", false },
        { "other", "1", false },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        CA_AUTO(json_decref) json_t *json = json_loads(example, 0, NULL);
        json_object_set_new(json, cases[i].member,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        struct organisation organisation = { 0 };
        struct field_errors errors = { 0 };
        enum ca_status status =
            field_decode(organisation_fields, json, &organisation, &errors);
        cr_expect_eq(status, cases[i].is_good ? CA_OK : CA_MALFORMED, "%s %s: %s",
                     cases[i].member, cases[i].value, status_message());
        field_clear(organisation_fields, &organisation);
    }
    LEAK_CHECK();
}
