/* Is this instance fit for requests? Each reason by name, red or green. */
#include "auto.h"
#include "clock.h"
#include "crl.h"
#include "profile.h"
#include "service.h"
#include <string.h>
#include <sys/statvfs.h>

#define PROBE_FRESH_MS 1000   /* how long the store's answer counts */
#define PROBE_OVERDUE_MS 8000 /* a store that has not answered for so long is away */
#define DISK_FREE_MIN (64ULL * 1024 * 1024)
#define PROFILES_MOST 1000

static void
add(struct readiness *readiness, const char *check, bool ok, const char *detail)
{
    json_array_append_new(
        readiness->reasons,
        json_pack("{s:s, s:b, s:s}", "check", check, "ok", ok, "detail", detail));
    readiness->ready = readiness->ready && ok;
}

static bool
is_valid_now(const X509 *certificate)
{
    time_t now = (time_t)clock_now();
    return X509_cmp_time(X509_get0_notBefore(certificate), &now) < 0 &&
           X509_cmp_time(X509_get0_notAfter(certificate), &now) > 0;
}

static const char *
state_word(enum token_state state)
{
    switch (state) {
    case TOKEN_UP: return "up";
    case TOKEN_REBUILDING: return "down: is looked for and opened again";
    case TOKEN_LATCHED: return "latched: the PIN was wrong, an operator must act";
    case TOKEN_STUCK: return "stuck: an operation does not return";
    }
    return "unknown";
}

static bool
is_in(const struct token_key *key, const char *token)
{
    return key && strcmp(token_key_token(key), token) == 0;
}

/* Can the instance do without this token? All it has for us is the keys of issuers that
 * another token has, too, and can sign with now. */
static bool
is_covered(const struct issuers *issuers, const char *token)
{
    bool covers = false;
    for (size_t i = 0; i < issuers_count(issuers); i++) {
        const struct issuer *issuer = issuers_at(issuers, i);
        if (!is_in(issuer->key, token) && !is_in(issuer->standby, token))
            continue;
        if (!issuer->standby || !issuer_is_up(issuer))
            return false;
        covers = true;
    }
    for (int role = 0; role < HELPER_ROLE_COUNT; role++) {
        const struct issuer_helper *helper;
        for (size_t i = 0; (helper = issuers_helper(issuers, role, NULL, i)) != NULL;
             i++) {
            if (helper->current && is_in(helper->key, token))
                return false;
        }
    }
    return covers;
}

static void
check_tokens(struct service *service, const struct issuers *issuers,
             struct readiness *readiness)
{
    for (size_t i = 0; i < token_set_count(service->tokens); i++) {
        struct token_health health;
        char check[96];
        token_health(service->tokens, i, &health);
        snprintf(check, sizeof check, "token:%s", health.name);
        bool is_up = health.state == TOKEN_UP;
        bool is_spare = !is_up && is_covered(issuers, health.name);
        add(readiness, check, is_up || is_spare,
            is_spare ? "down, its keys sign in another token"
                     : state_word(health.state));
    }
}

/* One thread asks the store, at most once a second; the others read what it learned, so
 * that a store that hangs never holds up the answer of more than one. */
static void
check_store(struct service *service, struct readiness *readiness)
{
    int64_t now = clock_ticks();
    pthread_mutex_lock(&service->probe.lock);
    bool is_fresh =
        service->probe.answered && now - service->probe.answered < PROBE_FRESH_MS;
    pthread_mutex_unlock(&service->probe.lock);
    if (!is_fresh && pthread_mutex_trylock(&service->probe.running) == 0) {
        status_forget();
        enum ca_status status = store_probe(service->store);
        pthread_mutex_lock(&service->probe.lock);
        service->probe.ok = status == CA_OK;
        snprintf(service->probe.detail, sizeof service->probe.detail, "%s",
                 status == CA_OK ? "writable" : status_message());
        service->probe.answered = clock_ticks();
        pthread_mutex_unlock(&service->probe.lock);
        pthread_mutex_unlock(&service->probe.running);
    }
    pthread_mutex_lock(&service->probe.lock);
    bool is_overdue = now - service->probe.answered > PROBE_OVERDUE_MS;
    add(readiness, "store", service->probe.ok && !is_overdue,
        is_overdue ? "does not answer" : service->probe.detail);
    pthread_mutex_unlock(&service->probe.lock);
}

static void
check_disk(struct service *service, struct readiness *readiness)
{
    struct statvfs disk;
    char detail[96];
    if (!service->config.data_directory)
        return;
    if (statvfs(service->config.data_directory, &disk) != 0) {
        add(readiness, "disk", false, "the data folder cannot be read");
        return;
    }
    unsigned long long room = (unsigned long long)disk.f_bavail * disk.f_frsize;
    snprintf(detail, sizeof detail, "%llu MiB free", room / (1024 * 1024));
    add(readiness, "disk", room >= DISK_FREE_MIN, detail);
}

struct crl_question {
    const char *issuer;
    struct authority_crl crl;
};

static enum ca_status
crl_read(struct store_tx *tx, void *arg)
{
    struct crl_question *question = arg;
    return authority_crl_load(tx, question->issuer, false, &question->crl);
}

static void
check_crl(struct service *service, const struct issuer *issuer,
          struct readiness *readiness)
{
    char check[96];
    struct crl_question question = { .issuer = issuer->name };
    snprintf(check, sizeof check, "crl:%s", issuer->name);
    enum ca_status status = store_read(service->store, crl_read, &question);
    if (status == CA_NOT_FOUND)
        add(readiness, check, false, "none yet");
    else if (status != CA_OK)
        add(readiness, check, false, "cannot be read");
    else
        add(readiness, check, question.crl.next_update > clock_now(),
            question.crl.next_update > clock_now() ? "fresh" : "past its nextUpdate");
    authority_crl_clear(&question.crl);
}

static void
check_issuer(struct service *service, const struct issuer *issuer,
             struct readiness *readiness)
{
    char check[96];
    if (issuer->state != AUTHORITY_ACTIVE)
        return;
    snprintf(check, sizeof check, "issuer:%s", issuer->name);
    /* No key and nobody to sign for: a root that stays offline. */
    bool is_offline_root = !issuer->key && sk_X509_num(issuer->chain) <= 0;
    if (is_offline_root)
        return;
    bool is_valid = is_valid_now(issuer->certificate);
    bool is_up = issuer_is_up(issuer);
    add(readiness, check, is_up && is_valid,
        !issuer->key ? "its key is not in a token here"
        : !is_up     ? "its key cannot be used now"
        : is_valid   ? "can sign"
                     : "its certificate is not valid now");
    if (issuer->key)
        check_crl(service, issuer, readiness);
}

/* Which issuers serve SCEP: those that a scep profile leads to. */
struct scep_question {
    char certificates[PROFILES_MOST][RECORD_NAME_MAX + 1];
    char issuers[PROFILES_MOST][RECORD_NAME_MAX + 1];
    size_t count;
};

static enum ca_status
visit_scep(const void *record, void *arg)
{
    const struct profile *profile = record;
    struct scep_question *question = arg;
    snprintf(question->certificates[question->count++], RECORD_NAME_MAX + 1, "%s",
             profile->settings.scep.certificate);
    return CA_OK;
}

static bool
is_listed(const struct scep_question *question, size_t count, const char *issuer)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(question->issuers[i], issuer) == 0)
            return true;
    }
    return false;
}

static enum ca_status
scep_read(struct store_tx *tx, void *arg)
{
    struct scep_question *question = arg;
    struct record_page page = { .limit = PROFILES_MOST };
    size_t kept = 0;
    question->count = 0;
    enum ca_status status = profile_list(tx, PROFILE_SCEP, &page, visit_scep, question);
    for (size_t i = 0; status == CA_OK && i < question->count; i++) {
        struct profile profile = { 0 };
        status =
            profile_load(tx, PROFILE_CERTIFICATE, question->certificates[i], &profile);
        if (status != CA_OK)
            break;
        const char *issuer = profile.settings.certificate.issuer;
        if (issuer && !is_listed(question, kept, issuer))
            snprintf(question->issuers[kept++], RECORD_NAME_MAX + 1, "%s", issuer);
        profile_clear(&profile);
    }
    question->count = kept;
    return status;
}

static void
check_helpers(struct service *service, const struct issuers *issuers,
              struct readiness *readiness)
{
    struct scep_question *question = calloc(1, sizeof *question);
    if (!question || store_read(service->store, scep_read, question) != CA_OK) {
        add(readiness, "profiles", false, "cannot be read");
        free(question);
        return;
    }
    for (size_t i = 0; i < question->count; i++) {
        char check[96];
        const struct issuer_helper *ra =
            issuers_helper(issuers, HELPER_RA, question->issuers[i], 0);
        bool is_valid = ra && ra->certificate && is_valid_now(ra->certificate);
        bool is_up = ra && ra->key && token_key_is_up(ra->key);
        snprintf(check, sizeof check, "ra:%s", question->issuers[i]);
        add(readiness, check, is_valid && is_up,
            !ra         ? "no RA key for SCEP"
            : !ra->key  ? "its key is not in a token here"
            : !is_up    ? "its key cannot be used now"
            : !is_valid ? "its certificate is not valid now"
                        : "can decrypt");
    }
    free(question);
}

void
service_readiness(struct service *service, struct readiness *ret_readiness)
{
    struct readiness readiness = { .ready = true, .reasons = json_array() };
    if (atomic_load(&service->draining))
        add(&readiness, "draining", false, "this instance is about to stop");
    struct issuers *issuers = service_issuers(service);
    check_tokens(service, issuers, &readiness);
    check_store(service, &readiness);
    check_disk(service, &readiness);
    for (size_t i = 0; i < issuers_count(issuers); i++)
        check_issuer(service, issuers_at(issuers, i), &readiness);
    check_helpers(service, issuers, &readiness);
    issuers_release(issuers);
    *ret_readiness = readiness;
}
