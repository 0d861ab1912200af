/* Custody of secrets at rest: both modes, every method of wrapping, rotation, damage.
 */
#include "auto.h"
#include "leak.h"
#include "scratch_store.h"
#include "softhsm_rig.h"
#include "stretch.h"
#include "vault.h"
#include "vault_wrap.h"
#include <criterion/criterion.h>
#include <string.h>

TestSuite(vault, .init = hsm_make, .fini = hsm_remove);

static const char secret_text[32] = "thirty-two octets are a secret!";

struct stage {
    struct store *store;
    struct token_set *set;
    struct vault *vault;
};

static void
stage_create(struct stage *stage, enum vault_mode mode, enum vault_method method)
{
    cr_assert_eq(vault_create(stage->store, stage->set,
                              &(struct vault_wanted){ "hsm", mode, method }),
                 CA_OK, "%s", status_message());
}

static void
stage_begin(struct stage *stage)
{
    scratch_store_open();
    stage->store = scratch_store;
    stage->set = softhsm_open(&hsm);
    stage->vault = NULL;
}

static void
stage_open(struct stage *stage, enum vault_mode mode)
{
    cr_assert_eq(vault_open(stage->store, stage->set, mode, &stage->vault), CA_OK, "%s",
                 status_message());
}

static void
stage_end(struct stage *stage)
{
    vault_free(stage->vault);
    token_set_free(stage->set);
    scratch_store_close();
}

struct sealed {
    uint8_t blob[sizeof secret_text + SEAL_OVERHEAD];
    char kid[SEALING_KID_MAX + 1];
};

static struct sealed
seal(struct vault *vault)
{
    struct sealed sealed;
    cr_assert_eq(
        vault_seal(vault,
                   (struct seal_text){ secret_text, sizeof secret_text, "aad", 3 },
                   sealed.blob, sealed.kid),
        CA_OK, "%s", status_message());
    return sealed;
}

static enum ca_status
unseal(struct vault *vault, const struct sealed *sealed, const char *aad)
{
    char back[sizeof secret_text] = { 0 };
    enum ca_status status = vault_unseal(
        vault, sealed->kid,
        (struct seal_text){ sealed->blob, sizeof sealed->blob, aad, strlen(aad) },
        back);
    if (status == CA_OK)
        cr_assert_arr_eq(back, secret_text, sizeof back);
    return status;
}

Test(vault, seals_and_unseals_in_both_modes)
{
    static const struct {
        enum vault_mode mode;
        enum vault_method method;
    } cases[] = {
        { VAULT_TOKEN, VAULT_METHOD_ANY },  { VAULT_MEMORY, VAULT_METHOD_ANY },
        { VAULT_MEMORY, VAULT_METHOD_GCM }, { VAULT_MEMORY, VAULT_METHOD_KW },
        { VAULT_MEMORY, VAULT_METHOD_CBC }, { VAULT_MEMORY, VAULT_METHOD_OAEP },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct stage stage;
        stage_begin(&stage);
        stage_create(&stage, cases[i].mode, cases[i].method);
        stage_open(&stage, cases[i].mode);
        struct sealed sealed = seal(stage.vault);
        cr_expect_eq(sealed.blob[0], 1, "the form of every blob");
        cr_expect_eq(unseal(stage.vault, &sealed, "aad"), CA_OK, "%s",
                     status_message());
        cr_expect_eq(unseal(stage.vault, &sealed, "aae"), CA_FORBIDDEN);
        for (size_t j = 0; j < sizeof sealed.blob; j += 7) {
            sealed.blob[j] ^= 1;
            cr_expect_eq(unseal(stage.vault, &sealed, "aad"), CA_FORBIDDEN,
                         "case %zu octet %zu", i, j);
            sealed.blob[j] ^= 1;
        }
        cr_expect_eq(vault_unseal_decoy(stage.vault), CA_OK, "%s", status_message());
        /* The same keys after a restart. */
        uint8_t salt[STRETCH_KEY_SIZE], state[STRETCH_KEY_SIZE];
        memcpy(salt, vault_salt_key(stage.vault), sizeof salt);
        memcpy(state, vault_state_key(stage.vault), sizeof state);
        cr_expect_arr_neq(salt, state, sizeof salt);
        cr_expect_arr_neq(salt, vault_decoy_key(stage.vault), sizeof salt);
        vault_free(stage.vault);
        stage_open(&stage, cases[i].mode);
        cr_expect_arr_eq(vault_salt_key(stage.vault), salt, sizeof salt);
        cr_expect_eq(unseal(stage.vault, &sealed, "aad"), CA_OK);
        stage_end(&stage);
    }
    LEAK_CHECK();
}

Test(vault, a_mode_is_never_changed_by_itself)
{
    struct stage stage;
    stage_begin(&stage);
    cr_expect_eq(vault_open(stage.store, stage.set, VAULT_TOKEN, &stage.vault),
                 CA_NOT_FOUND);
    stage_create(&stage, VAULT_MEMORY, VAULT_METHOD_ANY);
    cr_expect_eq(vault_open(stage.store, stage.set, VAULT_TOKEN, &stage.vault),
                 CA_CONFLICT);
    stage_create(&stage, VAULT_TOKEN, VAULT_METHOD_ANY);
    cr_expect_eq(vault_open(stage.store, stage.set, VAULT_MEMORY, &stage.vault),
                 CA_CONFLICT);
    stage_open(&stage, VAULT_TOKEN);
    stage_end(&stage);
    LEAK_CHECK();
}

Test(vault, a_rotated_key_still_opens_what_it_sealed)
{
    struct stage stage;
    stage_begin(&stage);
    stage_create(&stage, VAULT_TOKEN, VAULT_METHOD_ANY);
    stage_open(&stage, VAULT_TOKEN);
    struct sealed before = seal(stage.vault);
    uint8_t salt[STRETCH_KEY_SIZE];
    memcpy(salt, vault_salt_key(stage.vault), sizeof salt);
    stage_create(&stage, VAULT_TOKEN, VAULT_METHOD_ANY);
    cr_expect_str_eq(seal(stage.vault).kid, before.kid, "not taken up yet");
    cr_assert_eq(vault_refresh(stage.vault, stage.store), CA_OK, "%s",
                 status_message());
    struct sealed after = seal(stage.vault);
    cr_expect_str_neq(after.kid, before.kid);
    cr_expect_eq(unseal(stage.vault, &before, "aad"), CA_OK);
    cr_expect_eq(unseal(stage.vault, &after, "aad"), CA_OK);
    /* Into the other mode and a restart: salts stay, or passwords would die. */
    stage_create(&stage, VAULT_MEMORY, VAULT_METHOD_ANY);
    vault_free(stage.vault);
    stage_open(&stage, VAULT_MEMORY);
    cr_expect_arr_eq(vault_salt_key(stage.vault), salt, sizeof salt);
    cr_expect_eq(unseal(stage.vault, &before, "aad"), CA_OK);
    cr_expect_eq(unseal(stage.vault, &after, "aad"), CA_OK);
    snprintf(after.kid, sizeof after.kid, "nobody");
    cr_expect_eq(unseal(stage.vault, &after, "aad"), CA_FORBIDDEN);
    stage_end(&stage);
    LEAK_CHECK();
}

/* Whoever writes to the database plants no data key of his own. */
Test(vault, A3_a_planted_data_key_is_refused)
{
    static const enum vault_method methods[] = { VAULT_METHOD_GCM, VAULT_METHOD_KW,
                                                 VAULT_METHOD_CBC, VAULT_METHOD_OAEP };
    const uint8_t data_key[VAULT_KEY_SIZE] = "thirty-two octets are a data key";
    struct token_set *set = softhsm_open(&hsm);
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        char kid[16];
        uint8_t back[VAULT_KEY_SIZE];
        snprintf(kid, sizeof kid, "kid-%zu", i);
        struct sealing_key key = { .kid = strdup(kid), .current = true };
        cr_assert_eq(
            vault_wrap(set, &(struct vault_wanted){ "hsm", VAULT_MEMORY, methods[i] },
                       data_key, &key),
            CA_OK, "%s", status_message());
        cr_assert_eq(vault_unwrap(set, &key, back), CA_OK, "%s", status_message());
        cr_assert_arr_eq(back, data_key, sizeof back);
        uint8_t *octets = key.blob;
        for (size_t j = 0; j < key.blob_size; j += 5) {
            octets[j] ^= 1;
            cr_expect_eq(vault_unwrap(set, &key, back), CA_FORBIDDEN,
                         "method %zu octet %zu: %s", i, j, status_message());
            octets[j] ^= 1;
        }
        key.blob_size--;
        cr_expect_eq(vault_unwrap(set, &key, back), CA_FORBIDDEN);
        key.blob_size++;
        free(key.kid);
        key.kid = strdup("another");
        cr_expect_eq(vault_unwrap(set, &key, back), CA_FORBIDDEN, "bound to its kid");
        /* The tag is not optional. */
        char *tag_key = key.tag_key;
        key.tag_key = NULL;
        if (tag_key)
            cr_expect_eq(vault_unwrap(set, &key, back), CA_FORBIDDEN);
        key.tag_key = tag_key;
        sealing_clear(&key);
    }
    token_set_free(set);
    LEAK_CHECK();
}
