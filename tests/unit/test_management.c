/* Whose id it is, and what proves it. */
#include "leak.h"
#include "management.h"
#include "pc_records.h"
#include <openssl/evp.h>

#define PEER "b5b954e81fbcb94eb79bd08be625f4ee"

TestSuite(management, .init = set_up, .fini = scratch_store_close);

Test(management, an_id_is_one_devices_until_that_is_over)
{
    struct store_tx *tx = scratch_begin();
    struct management found = { 0 };
    CR_OK(management_bind(tx, DEVICE, PEER));
    CR_OK(management_bind(tx, DEVICE, PEER)); /* again is nothing new */
    CR_STATUS(management_bind(tx, OTHER, "B5B954E81FBCB94EB79BD08BE625F4EE"),
              CA_CONFLICT);
    CR_STATUS(management_bind(tx, "none", "AA"), CA_CONFLICT);
    CR_STATUS(management_bind(tx, OTHER, ""), CA_MALFORMED);
    CR_STATUS(management_bind(tx, OTHER, "a b"), CA_MALFORMED);
    CR_OK(management_of_peer(tx, "B5B954E81FBCB94EB79BD08BE625F4EE", &found));
    cr_assert_str_eq(found.device, DEVICE);
    management_clear(&found);
    CR_OK(store_run(tx, "UPDATE device SET state = 3 WHERE id = $1",
                    STORE_VALUES(store_text(DEVICE)), NULL, NULL, NULL));
    CR_OK(management_bind(tx, OTHER, PEER));
    CR_OK(management_of_peer(tx, PEER, &found));
    cr_assert_str_eq(found.device, OTHER);
    management_clear(&found);
    CR_STATUS(management_load(tx, DEVICE, &found), CA_NOT_FOUND);
    CR_STATUS(management_of_peer(tx, "unknown", &found), CA_NOT_FOUND);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

/* What a client computes: B64(MD5(B64(MD5(name:secret)) ":" nonce)). */
static void
digest_of(const char *name, const char *secret, const char *nonce, char ret_digest[25])
{
    unsigned char md5[16], octets[32], text[128];
    char key[25];
    int size = snprintf((char *)text, sizeof text, "%s:%s", name, secret);
    cr_assert_eq(EVP_Digest(text, (size_t)size, md5, NULL, EVP_md5(), NULL), 1);
    EVP_EncodeBlock((unsigned char *)key, md5, 16);
    cr_assert_eq(EVP_DecodeBlock(octets, (const unsigned char *)nonce, 24), 18);
    size = snprintf((char *)text, sizeof text, "%s:", key);
    memcpy(text + size, octets, 16);
    cr_assert_eq(EVP_Digest(text, (size_t)size + 16, md5, NULL, EVP_md5(), NULL), 1);
    EVP_EncodeBlock((unsigned char *)ret_digest, md5, 16);
}

static void
load(struct store_tx *tx, struct management *ret)
{
    management_clear(ret);
    CR_OK(management_load(tx, DEVICE, ret));
}

Test(management, A3_a_nonce_is_used_once_and_the_one_before_once_more)
{
    struct store_tx *tx = scratch_begin();
    static const char secret[] = "0123456789abcdef0123456789abcdef";
    static const char first[] = "AAECAwQFBgcICQoLDA0ODw==";
    char second[MANAGEMENT_NONCE_SIZE], third[MANAGEMENT_NONCE_SIZE];
    char by_first[25], by_second[25], by_third[25];
    struct management record = { 0 };
    bool spare = true;
    CR_STATUS(management_give(tx, DEVICE, secret, first), CA_NOT_FOUND);
    CR_OK(management_bind(tx, DEVICE, PEER));
    load(tx, &record);
    cr_assert_not(management_has_secret(&record, DEVICE, "")); /* none drawn yet */
    cr_assert_not(management_has_digest(&record, "", &spare));
    CR_STATUS(management_give(tx, DEVICE, "short", first), CA_MALFORMED);
    CR_STATUS(management_give(tx, DEVICE, secret, "AAEC"), CA_MALFORMED);
    CR_OK(management_give(tx, DEVICE, secret, first));
    load(tx, &record);
    digest_of(DEVICE, secret, first, by_first);
    cr_assert(management_has_digest(&record, by_first, &spare));
    cr_assert_not(spare);
    by_first[3] ^= 1;
    cr_assert_not(management_has_digest(&record, by_first, &spare));
    by_first[3] ^= 1;
    CR_OK(management_use_nonce(tx, &record, spare, second));
    /* Two messages with one digest: one of them gets on. */
    CR_STATUS(management_use_nonce(tx, &record, spare, third), CA_CONFLICT);
    load(tx, &record);
    digest_of(DEVICE, secret, second, by_second);
    cr_assert(management_has_digest(&record, by_second, &spare));
    cr_assert_not(spare);
    cr_assert(management_has_digest(&record, by_first, &spare));
    cr_assert(spare);
    CR_OK(management_use_nonce(tx, &record, spare, third));
    load(tx, &record);
    digest_of(DEVICE, secret, third, by_third);
    cr_assert(management_has_digest(&record, by_third, &spare));
    cr_assert_not(management_has_digest(&record, by_first, &spare));
    cr_assert_not(management_has_digest(&record, by_second, &spare));
    management_clear(&record);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}

Test(management, A3_the_secret_itself_is_not_kept)
{
    struct store_tx *tx = scratch_begin();
    char secret[] = "fedcba9876543210fedcba9876543210";
    struct management record = { 0 };
    CR_OK(management_bind(tx, DEVICE, PEER));
    CR_OK(management_give(tx, DEVICE, secret, "AAECAwQFBgcICQoLDA0ODw=="));
    load(tx, &record);
    cr_assert(management_has_secret(&record, DEVICE, secret));
    cr_assert_not(management_has_secret(&record, OTHER, secret));
    secret[0] = secret[0] == '0' ? '1' : '0';
    cr_assert_not(management_has_secret(&record, DEVICE, secret));
    management_clear(&record);
    CR_OK(scratch_end(CA_OK));
    cr_assert_eq(scratch_integer("SELECT length(secret_md5) FROM device_management"),
                 16);
    LEAK_CHECK();
}

Test(management, nodes_of_a_policy_are_kept_with_the_device)
{
    struct store_tx *tx = scratch_begin();
    json_t *nodes = json_pack("[s, s]", "./Device/A", "./Device/B"), *found = NULL;
    CR_STATUS(management_keep_nodes(tx, DEVICE, nodes), CA_NOT_FOUND);
    CR_OK(management_bind(tx, DEVICE, PEER));
    CR_OK(management_kept_nodes(tx, DEVICE, &found));
    cr_assert_eq(json_array_size(found), 0);
    json_decref(found);
    CR_OK(management_keep_nodes(tx, DEVICE, nodes));
    CR_OK(management_kept_nodes(tx, DEVICE, &found));
    cr_assert(json_equal(nodes, found));
    json_decref(found);
    json_decref(nodes);
    char *text = malloc(MANAGEMENT_NODES_MAX + 1);
    memset(text, 'a', MANAGEMENT_NODES_MAX);
    text[MANAGEMENT_NODES_MAX] = '\0';
    json_t *large = json_pack("[s]", text);
    CR_STATUS(management_keep_nodes(tx, DEVICE, large), CA_LIMIT);
    json_decref(large);
    free(text);
    CR_OK(scratch_end(CA_OK));
    LEAK_CHECK();
}
