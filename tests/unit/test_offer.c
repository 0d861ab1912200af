/* Offers to activated devices: drawn, replaced, claimed once, killed by mismatches. */
#include "clock.h"
#include "device.h"
#include "leak.h"
#include "offer.h"
#include "scratch_records.h"
#include <openssl/sha.h>

#define NOW 1795341600
#define LIFE 3600

static char phone[37], tablet[37];
static const uint8_t key_a[32] = { 1 }, key_b[32] = { 2 };
static const uint8_t request_a[32] = { 3 }, request_b[32] = { 4 };

static void
device_make(struct store_tx *tx, const char *owner, char ret_id[37])
{
    char text[128];
    struct device device = { 0 };
    snprintf(text, sizeof text, "{\"owner\": \"%s\", \"kind\": \"activation\"}", owner);
    record_from(device_fields, text, &device);
    CR_OK(device_insert(tx, &device));
    snprintf(ret_id, 37, "%s", device.id);
    device_clear(&device);
}

static void
set_up(void)
{
    clock_set(NOW);
    scratch_store_open();
    struct store_tx *tx = scratch_begin();
    user_make(tx, "alice");
    profiles_make(tx, "default");
    profiles_make(tx, "other");
    device_make(tx, "alice", phone);
    device_make(tx, "alice", tablet);
    CR_OK(scratch_end(CA_OK));
}

TestSuite(offer, .init = set_up, .fini = scratch_store_close);

static enum ca_status
make(struct store_tx *tx, const char *device, const char *profile, char ret_id[32],
     struct offer_secrets *ret_secrets)
{
    CA_AUTO(json_decref)
    json_t *key = json_pack("{s:s, s:i}", "alg", "rsa", "bits", 2048);
    static char uri[] = "uri:urn:uuid:1", mail[] = "email:a@example.com";
    char *san[] = { mail, uri };
    struct offer offer = { .device = (char *)(uintptr_t)device,
                           .user = (char *)(uintptr_t) "alice",
                           .profile = (char *)(uintptr_t)profile,
                           .profile_version = 3,
                           .subject = (void *)(uintptr_t) "\x30\x00",
                           .subject_size = 2,
                           .san = { san, 2 },
                           .key = key,
                           .expires = NOW + LIFE };
    enum ca_status status = offer_insert(tx, &offer, ret_secrets);
    if (status == CA_OK)
        snprintf(ret_id, 32, "%s", offer.id);
    free(offer.id);
    return status;
}

static void
run(struct store_tx *tx, const char *sql)
{
    CR_OK(store_run(tx, sql, STORE_NO_VALUES, NULL, NULL, NULL));
}

static int
state_of(struct store_tx *tx, const char *id)
{
    CA_AUTO(offer_clear) struct offer offer = { 0 };
    CR_OK(offer_load(tx, id, &offer));
    return offer.state;
}

static enum ca_status
by_secret(struct store_tx *tx, const char *secret)
{
    CA_AUTO(offer_clear) struct offer offer = { 0 };
    return offer_of_secret(tx, secret, strlen(secret), &offer);
}

static enum ca_status
by_path(struct store_tx *tx, const char *profile, const char *path)
{
    CA_AUTO(offer_clear) struct offer offer = { 0 };
    return offer_of_path(tx, profile, path, &offer);
}

Test(offer, has_two_secrets_of_which_only_hashes_are_stored)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32], sql[256];
    CR_OK(make(tx, phone, "default", id, &secrets));
    cr_assert(offer_is_id(id) && !offer_is_id("login:1") && !offer_is_id("ab12"));
    cr_assert_eq(strlen(secrets.secret), 43);
    cr_assert_eq(strlen(secrets.path), 22);
    CR_OK(by_secret(tx, secrets.secret));
    CR_OK(by_path(tx, "default", secrets.path));
    CR_STATUS(by_path(tx, "other", secrets.path), CA_NOT_FOUND);
    CR_STATUS(by_secret(tx, secrets.path), CA_NOT_FOUND);
    CR_STATUS(by_path(tx, "default", ""), CA_NOT_FOUND);
    for (size_t i = 0; i < 43; i++) {
        char changed[44];
        memcpy(changed, secrets.secret, sizeof changed);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        CR_STATUS(by_secret(tx, changed), CA_NOT_FOUND);
    }
    CA_AUTO(offer_clear) struct offer offer = { 0 };
    CR_OK(offer_load(tx, id, &offer));
    cr_assert_str_eq(offer.device, phone);
    cr_assert_eq(offer.profile_version, 3);
    cr_assert_eq(offer.san.count, 2);
    cr_assert_eq(json_integer_value(json_object_get(offer.key, "bits")), 2048);
    cr_assert_null(offer.spki);
    CR_OK(scratch_end(CA_OK));
    snprintf(sql, sizeof sql,
             "SELECT COUNT(*) FROM offer WHERE length(secret_sha256) = 32 AND "
             "length(path_sha256) = 32 AND instr(id || san || key_rule, '%s') = 0",
             secrets.secret);
    cr_assert_eq(scratch_integer(sql), 1);
    offer_clear(&offer);
    LEAK_CHECK();
}

Test(offer, is_replaced_by_the_next_of_its_device_and_profile_alone)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets first, other, second, third;
    char id[32], id_other[32], id_second[32], id_third[32];
    CR_OK(make(tx, phone, "default", id, &first));
    CR_OK(make(tx, phone, "other", id_other, &other));
    CR_OK(make(tx, tablet, "default", id_third, &third));
    CR_OK(make(tx, phone, "default", id_second, &second));
    cr_assert_eq(state_of(tx, id), OFFER_REPLACED);
    cr_assert_eq(state_of(tx, id_other), OFFER_OPEN);
    cr_assert_eq(state_of(tx, id_third), OFFER_OPEN);
    CR_STATUS(by_secret(tx, first.secret), CA_NOT_FOUND);
    CR_STATUS(by_path(tx, "default", first.path), CA_NOT_FOUND);
    CR_OK(by_secret(tx, second.secret));
    /* One that is claimed already stays what it is. */
    CR_OK(offer_claim(tx, id_second, "s1", key_a, request_a));
    CR_OK(make(tx, phone, "default", id, &first));
    cr_assert_eq(state_of(tx, id_second), OFFER_CLAIMED);
    CR_OK(by_path(tx, "default", second.path));
    /* Released when there is a newer one: there is one open offer a device. */
    CR_OK(offer_release(tx, id_second, "s1"));
    cr_assert_eq(state_of(tx, id_second), OFFER_REPLACED);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, S4_is_bound_to_the_key_that_is_to_claim_it)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32];
    CR_OK(make(tx, phone, "default", id, &secrets));
    CR_OK(offer_bind(tx, id, key_a));
    CR_OK(offer_bind(tx, id, key_a));
    CR_STATUS(offer_bind(tx, id, key_b), CA_CONFLICT);
    CR_STATUS(offer_claim(tx, id, "s1", key_b, request_a), CA_CONFLICT);
    cr_assert_eq(state_of(tx, id), OFFER_OPEN);
    CR_OK(offer_claim(tx, id, "s1", key_a, request_a));
    CR_STATUS(offer_bind(tx, id, key_a), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, is_claimed_once_and_bound_to_its_first_key)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32];
    CR_OK(make(tx, phone, "default", id, &secrets));
    CR_OK(offer_claim(tx, id, "s1", key_a, request_a));
    CR_STATUS(offer_claim(tx, id, "s2", key_a, request_a), CA_CONFLICT);
    CR_STATUS(by_secret(tx, secrets.secret), CA_NOT_FOUND);
    CR_STATUS(offer_finish(tx, id, "s2"), CA_CONFLICT);
    CR_STATUS(offer_release(tx, id, "s2"), CA_CONFLICT);
    CR_OK(offer_hand_over(tx, id, "s1", "s3"));
    CR_OK(offer_release(tx, id, "s3"));
    cr_assert_eq(state_of(tx, id), OFFER_OPEN);
    CR_STATUS(offer_claim(tx, id, "s4", key_b, request_b), CA_CONFLICT);
    CR_OK(offer_claim(tx, id, "s4", key_a, request_b));
    CR_OK(offer_finish(tx, id, "s4"));
    cr_assert_eq(state_of(tx, id), OFFER_USED);
    CR_STATUS(offer_claim(tx, id, "s5", key_a, request_b), CA_CONFLICT);
    CR_STATUS(offer_release(tx, id, "s4"), CA_CONFLICT);
    /* Retries and polls still come by its path. */
    CR_OK(by_path(tx, "default", secrets.path));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, is_found_by_the_request_that_claimed_it)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32], next[32];
    CA_AUTO(offer_clear) struct offer offer = { 0 };
    CR_OK(make(tx, phone, "default", id, &secrets));
    CR_OK(offer_claim(tx, id, "s1", key_a, request_a));
    CR_OK(offer_finish(tx, id, "s1"));
    CR_OK(offer_of_device(tx, phone, "default", request_a, &offer));
    cr_assert_str_eq(offer.id, id);
    cr_assert_str_eq(offer.serial, "s1");
    offer_clear(&offer);
    CR_STATUS(offer_of_device(tx, phone, "default", request_b, &offer), CA_NOT_FOUND);
    CR_STATUS(offer_of_device(tx, tablet, "default", request_a, &offer), CA_NOT_FOUND);
    CR_OK(make(tx, phone, "default", next, &secrets));
    CR_OK(offer_of_device(tx, phone, "default", request_b, &offer));
    cr_assert_str_eq(offer.id, next);
    offer_clear(&offer);
    CR_OK(offer_of_device(tx, phone, "default", request_a, &offer));
    cr_assert_str_eq(offer.id, id);
    offer_clear(&offer);
    clock_set(NOW + LIFE);
    CR_STATUS(offer_of_device(tx, phone, "default", request_a, &offer), CA_NOT_FOUND);
    CR_STATUS(offer_of_device(tx, phone, "default", request_b, &offer), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, is_killed_by_the_third_mismatch)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32];
    bool is_killed = true;
    CR_OK(make(tx, phone, "default", id, &secrets));
    CR_OK(offer_mismatch(tx, id, &is_killed));
    cr_assert_not(is_killed);
    CR_OK(offer_mismatch(tx, id, &is_killed));
    cr_assert_not(is_killed);
    CR_OK(by_secret(tx, secrets.secret));
    CR_OK(offer_mismatch(tx, id, &is_killed));
    cr_assert(is_killed);
    CR_STATUS(by_secret(tx, secrets.secret), CA_NOT_FOUND);
    CR_STATUS(by_path(tx, "default", secrets.path), CA_NOT_FOUND);
    CR_STATUS(offer_claim(tx, id, "s1", key_a, request_a), CA_CONFLICT);
    char renewed[OFFER_TOKEN_SIZE];
    CR_STATUS(offer_renew_secret(tx, id, renewed), CA_CONFLICT);
    CR_OK(offer_mismatch(tx, id, &is_killed));
    cr_assert_not(is_killed, "it is dead already");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, gets_another_secret_while_it_is_open)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32], renewed[OFFER_TOKEN_SIZE];
    CR_OK(make(tx, phone, "default", id, &secrets));
    CR_OK(offer_renew_secret(tx, id, renewed));
    CR_STATUS(by_secret(tx, secrets.secret), CA_NOT_FOUND);
    CR_OK(by_secret(tx, renewed));
    CR_OK(offer_claim(tx, id, "s1", key_a, request_a));
    CR_STATUS(offer_renew_secret(tx, id, renewed), CA_CONFLICT);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, ends_with_time_device_and_user)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets, unset;
    char id[32];
    CR_OK(make(tx, phone, "default", id, &secrets));
    clock_set(NOW + LIFE - 1);
    CR_OK(by_secret(tx, secrets.secret));
    CR_OK(by_path(tx, "default", secrets.path));
    clock_set(NOW + LIFE);
    CR_STATUS(by_secret(tx, secrets.secret), CA_NOT_FOUND);
    CR_STATUS(by_path(tx, "default", secrets.path), CA_NOT_FOUND);
    CR_STATUS(offer_claim(tx, id, "s1", key_a, request_a), CA_CONFLICT);
    clock_set(NOW);
    run(tx, "UPDATE users SET state = 1");
    CR_STATUS(by_path(tx, "default", secrets.path), CA_NOT_FOUND);
    run(tx, "UPDATE users SET state = 0");
    CR_OK(by_path(tx, "default", secrets.path));
    run(tx, "UPDATE device SET state = 2");
    CR_STATUS(by_path(tx, "default", secrets.path), CA_NOT_FOUND);
    CR_STATUS(make(tx, phone, "default", id, &unset), CA_FORBIDDEN);
    run(tx, "UPDATE device SET state = 1");
    run(tx, "UPDATE users SET state = 1");
    CR_STATUS(make(tx, phone, "default", id, &unset), CA_FORBIDDEN);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, passes_on_so_many_requests_a_minute)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32], other[32];
    CR_OK(make(tx, phone, "default", id, &secrets));
    CR_OK(make(tx, tablet, "default", other, &secrets));
    for (int i = 0; i < OFFER_FORWARDS; i++)
        CR_OK(offer_forward(tx, id));
    CR_STATUS(offer_forward(tx, id), CA_LIMIT);
    CR_OK(offer_forward(tx, other));
    clock_set(NOW + 60);
    CR_OK(offer_forward(tx, id));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, A7_is_made_so_many_times_an_hour_for_a_device)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32], other[32];
    for (int i = 0; i < OFFER_HOURLY; i++)
        CR_OK(make(tx, phone, "default", id, &secrets));
    CR_STATUS(make(tx, phone, "other", other, &secrets), CA_LIMIT);
    cr_expect_eq(state_of(tx, id), OFFER_OPEN, "the last one stays");
    CR_OK(make(tx, tablet, "default", other, &secrets));
    clock_set(NOW + 3600);
    CR_OK(make(tx, phone, "default", id, &secrets));
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(offer, is_removed_a_day_after_its_end)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets;
    char id[32], claimed[32];
    CR_OK(make(tx, phone, "default", id, &secrets));
    CR_OK(make(tx, tablet, "default", claimed, &secrets));
    CR_OK(offer_claim(tx, claimed, "s1", key_a, request_a));
    clock_set(NOW + LIFE + 86400);
    CR_OK(offer_expire(tx, 100));
    clock_set(NOW + LIFE + 86401);
    CR_OK(scratch_end(CA_OK));
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM offer"), 2);
    tx = scratch_begin();
    CR_OK(offer_expire(tx, 100));
    CR_OK(scratch_end(CA_OK));
    /* What is being signed is not taken away. */
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM offer"), 1);
    LEAK_CHECK();
}

static enum ca_status
no_randomness(void *octets, size_t size)
{
    (void)octets, (void)size;
    return CA_INTERNAL;
}

Test(offer, is_not_made_without_randomness)
{
    struct store_tx *tx = scratch_begin();
    struct offer_secrets secrets = { .secret = "unset" };
    char id[32];
    random_set(no_randomness);
    CR_STATUS(make(tx, phone, "default", id, &secrets), CA_INTERNAL);
    random_set(NULL);
    cr_assert_str_eq(secrets.secret, "unset");
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
