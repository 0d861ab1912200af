/* The health check of tokens, issuers, helpers and CRLs: keys as they should be, ends
 * ahead, lists fresh. */
#include "auto.h"
#include "clock.h"
#include "health.h"
#include "text.h"
#include <string.h>

#define DAY INT64_C(86400)
#define ISSUER_WARN (180 * DAY)
#define HELPER_WARN (30 * DAY)

/* ---- Tokens ---- */

static void
check_waivers(struct health *health, const struct config_token *token)
{
    char *const *items = token->waive.items;
    for (size_t i = 0; i < token->waive.count; i++) {
        char check[160];
        snprintf(check, sizeof check, "waiver:%.64s:%.32s", token->name, items[i]);
        health_add(health, HEALTH_WARNING, check,
                   strcmp(items[i], "software") == 0
                       ? "a software token is taken, for tests only"
                       : "keys that depart from the template are taken");
    }
}

static void
check_tokens(struct health *health)
{
    const struct config_token *tokens = health->config->tokens.items;
    for (size_t i = 0; i < health->config->tokens.count; i++)
        check_waivers(health, &tokens[i]);
    for (size_t i = 0; health->tokens && i < token_set_count(health->tokens); i++) {
        struct token_health token;
        char check[96];
        enum ca_status status = token_check(health->tokens, i);
        token_health(health->tokens, i, &token);
        snprintf(check, sizeof check, "token:%.64s", token.name);
        if (status != CA_OK)
            health_add(health, HEALTH_CRITICAL, check, "%s", status_message());
        else
            health_add(health, token.is_software ? HEALTH_WARNING : HEALTH_OK, check,
                       "%s %s, serial %s%s", token.manufacturer, token.model,
                       token.serial, token.is_software ? ": software" : "");
    }
}

/* ---- What the store has ---- */

struct helper_copy {
    char name[RECORD_NAME_MAX + 1], issuer[RECORD_NAME_MAX + 1];
    char key[1024];
    int role;
    X509 *certificate;
};

struct records {
    struct authority *issuers;
    struct authority_crl *crls; /* number 0: none */
    size_t issuer_count;
    struct helper_copy *helpers; /* current ones */
    size_t helper_count;
};

static void
records_clear(struct records *records)
{
    for (size_t i = 0; i < records->issuer_count; i++) {
        field_clear(authority_fields, &records->issuers[i]);
        authority_crl_clear(&records->crls[i]);
    }
    for (size_t i = 0; i < records->helper_count; i++)
        X509_free(records->helpers[i].certificate);
    free(records->issuers);
    free(records->crls);
    free(records->helpers);
    *records = (struct records){ 0 };
}

static enum ca_status
visit_issuer(const void *record, void *arg)
{
    struct records *records = arg;
    size_t count = records->issuer_count + 1;
    void *issuers = reallocarray(records->issuers, count, sizeof *records->issuers);
    if (issuers)
        records->issuers = issuers;
    void *crls = reallocarray(records->crls, count, sizeof *records->crls);
    if (crls)
        records->crls = crls;
    if (!issuers || !crls)
        return ca_fail(CA_INTERNAL, "no memory for issuers");
    records->issuers[count - 1] = (struct authority){ 0 };
    records->crls[count - 1] = (struct authority_crl){ 0 };
    if (!field_copy(authority_fields, record, &records->issuers[count - 1]))
        return ca_fail(CA_INTERNAL, "no memory for an issuer");
    records->issuer_count = count;
    return CA_OK;
}

static enum ca_status
visit_helper(const void *record, void *arg)
{
    const struct helper *helper = record;
    struct records *records = arg;
    if (!helper->current)
        return CA_OK;
    void *helpers = reallocarray(records->helpers, records->helper_count + 1,
                                 sizeof *records->helpers);
    if (!helpers)
        return ca_fail(CA_INTERNAL, "no memory for helpers");
    records->helpers = helpers;
    struct helper_copy *copy = &records->helpers[records->helper_count++];
    *copy = (struct helper_copy){ .role = helper->role };
    snprintf(copy->name, sizeof copy->name, "%s", helper->name);
    snprintf(copy->issuer, sizeof copy->issuer, "%s",
             helper->issuer ? helper->issuer : "");
    snprintf(copy->key, sizeof copy->key, "%s", helper->key);
    const uint8_t *at = helper->certificate;
    if (at)
        copy->certificate = d2i_X509(NULL, &at, (long)helper->certificate_size);
    return CA_OK;
}

static enum ca_status
records_step(struct store_tx *tx, void *arg)
{
    struct records *records = arg;
    struct record_page page = { .limit = RECORD_PAGE_MAX };
    records_clear(records);
    enum ca_status status = authority_list(tx, &page, visit_issuer, records);
    if (status == CA_OK)
        status = helper_list(tx, visit_helper, records);
    for (size_t i = 0; status == CA_OK && i < records->issuer_count; i++) {
        status =
            authority_crl_load(tx, records->issuers[i].name, false, &records->crls[i]);
        status = status == CA_NOT_FOUND ? CA_OK : status;
    }
    return status;
}

/* ---- Issuers ---- */

static void
check_crl(struct health *health, const struct authority *issuer,
          const struct authority_crl *crl)
{
    char check[96], text[21];
    int64_t now = clock_now();
    snprintf(check, sizeof check, "crl:%.64s", issuer->name);
    time_format(crl->next_update, text);
    if (crl->number == 0)
        health_add(health, HEALTH_CRITICAL, check, "there is none yet");
    else if (now >= crl->next_update)
        health_add(health, HEALTH_CRITICAL, check, "its nextUpdate was %s", text);
    else if (now >= crl->next_update - issuer->crl.overlap_seconds / 2)
        health_add(health, HEALTH_WARNING, check,
                   "nextUpdate is %s and no newer one was made: does the daemon run?",
                   text);
    else if (crl->built_revision != crl->revision)
        health_add(health, HEALTH_WARNING, check,
                   "a revocation is not on it yet: does the daemon run?");
    else
        health_add(health, HEALTH_OK, check, "number %lld, nextUpdate %s",
                   (long long)crl->number, text);
}

/* The key by its record, with its attributes, its certificate and a signature. */
static void
check_issuer_key(struct health *health, const struct authority *issuer,
                 const X509 *certificate)
{
    struct token_key *key = NULL;
    char check[96];
    snprintf(check, sizeof check, "key:%.64s", issuer->name);
    if (!health->tokens)
        return; /* said already */
    enum ca_status status =
        token_key_find(health->tokens, issuer->key, TOKEN_USE_SIGN, certificate, &key);
    health_add(health, status == CA_OK ? HEALTH_OK : HEALTH_CRITICAL, check, "%s",
               status == CA_OK ? "signs, cannot be extracted" : status_message());
}

static void
check_issuer(struct health *health, const struct authority *issuer,
             const struct authority_crl *crl)
{
    CA_AUTO(X509_free) X509 *certificate = NULL;
    CA_AUTO(x509_stack_free) STACK_OF(X509) *chain = NULL;
    char check[96];
    snprintf(check, sizeof check, "issuer:%.64s", issuer->name);
    enum ca_status status =
        issuer_chain_decode(issuer->chain ? issuer->chain : "", &certificate, &chain);
    if (status == CA_OK)
        status = issuer_check(certificate, chain, -1);
    if (status != CA_OK) {
        health_add(health, HEALTH_CRITICAL, check, "%s", status_message());
        return;
    }
    if (issuer->state != AUTHORITY_RETIRED)
        health_check_end(health, check, certificate, ISSUER_WARN);
    if (!issuer->key) {
        bool is_offline = sk_X509_num(chain) == 0 || issuer->state == AUTHORITY_RETIRED;
        health_add(health, is_offline ? HEALTH_OK : HEALTH_CRITICAL, check,
                   "its key is not here");
        return;
    }
    check_issuer_key(health, issuer, certificate);
    check_crl(health, issuer, crl);
}

/* ---- Helpers ---- */

static void
check_helper(struct health *health, const struct helper_copy *helper)
{
    static const unsigned uses[HELPER_ROLE_COUNT] = {
        [HELPER_RA] = TOKEN_USE_SIGN | TOKEN_USE_DECRYPT,
        [HELPER_OCSP] = TOKEN_USE_SIGN,
        [HELPER_AUDIT] = TOKEN_USE_SIGN,
        [HELPER_SEALING] = TOKEN_USE_DECRYPT,
    };
    struct token_key *key = NULL;
    char check[160];
    snprintf(check, sizeof check, "%s%s%s", helper_role_words[helper->role],
             helper->issuer[0] ? ":" : "", helper->issuer);
    if (helper->certificate)
        health_check_end(health, check, helper->certificate, HELPER_WARN);
    if (!health->tokens)
        return;
    enum ca_status status = token_key_find(
        health->tokens, helper->key, uses[helper->role], helper->certificate, &key);
    snprintf(check, sizeof check, "key:%s", helper->name);
    health_add(health, status == CA_OK ? HEALTH_OK : HEALTH_CRITICAL, check, "%s",
               status == CA_OK ? "works, cannot be extracted" : status_message());
}

void
health_check_keys(struct health *health)
{
    struct records records = { 0 };
    check_tokens(health);
    if (store_read(health->store, records_step, &records) != CA_OK)
        health_add(health, HEALTH_CRITICAL, "issuers", "%s", status_message());
    else if (records.issuer_count == 0)
        health_add(health, HEALTH_WARNING, "issuers", "there are none");
    for (size_t i = 0; i < records.issuer_count; i++)
        check_issuer(health, &records.issuers[i], &records.crls[i]);
    for (size_t i = 0; i < records.helper_count; i++)
        check_helper(health, &records.helpers[i]);
    records_clear(&records);
}
