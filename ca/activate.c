/* New activation passwords: drawn or checked, stretched, sealed, stored. */
#include "activate.h"
#include "assignment.h"
#include "auto.h"
#include "clock.h"
#include "profile_cache.h"
#include "query.h"
#include "user.h"
#include <ctype.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <string.h>

#define HOUR_SECONDS 3600
#define STRETCH_MOST 2 /* at once: 16 MiB and 0.2 s each */

static pthread_mutex_t stretch_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t stretch_freed = PTHREAD_COND_INITIALIZER;
static int stretching;

void
activate_name(struct stretch_name name, char ret_name[ACTIVATE_NAME_SIZE])
{
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    uint8_t hash[SHA256_DIGEST_LENGTH];
    stretch_lv(name.user, strlen(name.user), &text);
    stretch_lv(name.ref, strlen(name.ref), &text);
    SHA256((const uint8_t *)text.data, text.size, hash);
    hex_format(hash, sizeof hash, ret_name);
}

enum ca_status
activate_server(struct service *service, char **ret_server)
{
    char *server = NULL;
    pthread_rwlock_rdlock(&service->lock);
    const char *url = service->organisation.base_url;
    const char *start = url ? strstr(url, "://") : NULL;
    if (start)
        server = strndup(start + 3, strcspn(start + 3, "/?#"));
    pthread_rwlock_unlock(&service->lock);
    if (!start)
        return ca_fail(CA_UNAVAILABLE, "the organisation has no base_url");
    if (!server)
        return ca_fail(CA_INTERNAL, "no memory for a server's name");
    for (char *c = server; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    *ret_server = server;
    return CA_OK;
}

/* ---- What the store says beforehand ---- */

struct activate_draft {
    struct service *service;
    const struct activate_wanted *wanted;
    struct user user;
    char *profile;                      /* name */
    struct activation_profile settings; /* its numbers; texts are not kept */
    struct activate_made made;
    char logins[ACTIVATION_LOGINS_MAX][STRETCH_USER_MAX + 1];
    size_t login_count;
    struct activation_verifier verifiers[ACTIVATION_LOGINS_MAX];
    char ids[ACTIVATION_LOGINS_MAX][ACTIVATION_ID_SIZE];
    char kids[ACTIVATION_LOGINS_MAX][SEALING_KID_MAX + 1];
};

/* SECURITY A7: before the work, and again when it is stored. Administrators' passwords
 * are theirs to bound. */
static enum ca_status
check_recent(struct store_tx *tx, const struct activate_draft *making)
{
    int64_t count = 0;
    if (!making->wanted->self_service)
        return CA_OK;
    enum ca_status status =
        store_run(tx,
                  "SELECT COUNT(*) FROM activation WHERE user_name = $1 AND "
                  "created_by IS NULL AND created > $2",
                  STORE_VALUES(store_text(making->user.name),
                               store_integer(clock_now() - HOUR_SECONDS)),
                  row_take_integer, &count, NULL);
    if (status != CA_OK || count < ACTIVATE_SELF_HOURLY)
        return status;
    return ca_fail(CA_LIMIT, "user '%s' set %d activation passwords within the hour",
                   making->user.name, ACTIVATE_SELF_HOURLY);
}

static enum ca_status
making_read(struct store_tx *tx, void *arg)
{
    struct activate_draft *making = arg;
    const struct activate_wanted *wanted = making->wanted;
    const struct profile_cached *cached = NULL;
    user_clear(&making->user);
    free(CA_STEAL(making->profile));
    enum ca_status status = user_load(tx, wanted->user, &making->user);
    if (status == CA_OK)
        status = check_recent(tx, making);
    if (status == CA_OK && wanted->profile) {
        making->profile = strdup(wanted->profile);
        status = making->profile ? CA_OK : ca_fail(CA_INTERNAL, "no memory");
    } else if (status == CA_OK) {
        status = assignment_effective(tx, making->user.name,
                                      profile_kind_words[PROFILE_ACTIVATION],
                                      &making->profile, NULL);
        if (status == CA_NOT_FOUND)
            return ca_fail(CA_NOT_FOUND, "user '%s' has no activation profile",
                           making->user.name);
    }
    if (status == CA_OK)
        status = profile_cache_get(making->service->profiles, tx, PROFILE_ACTIVATION,
                                   making->profile, &cached);
    if (status != CA_OK)
        return status;
    making->settings = cached->profile.settings.activation;
    making->settings.certificate = making->settings.notice = NULL;
    profile_cached_release(cached);
    return CA_OK;
}

static enum ca_status
making_judge(const struct activate_draft *making)
{
    const struct activation_profile *settings = &making->settings;
    if (making->user.state != USER_ACTIVE)
        return ca_fail(CA_FORBIDDEN, "user '%s' is disabled", making->user.name);
    if (!(settings->protocols &
          (ACTIVATION_PROTOCOL_PASSWORD | ACTIVATION_PROTOCOL_WINDOWS)))
        return ca_fail(CA_FORBIDDEN, "profile activation/%s allows no password",
                       making->profile);
    if (making->wanted->self_service && !settings->self_service)
        return ca_fail(CA_FORBIDDEN,
                       "profile activation/%s leaves passwords to "
                       "administrators",
                       making->profile);
    return CA_OK;
}

/* ---- The password ---- */

static int64_t
classes_of(const char *password)
{
    bool lower = false, upper = false, digit = false, other = false;
    for (const char *c = password; *c; c++) {
        lower |= islower((unsigned char)*c) != 0;
        upper |= isupper((unsigned char)*c) != 0;
        digit |= isdigit((unsigned char)*c) != 0;
        other |= !isalnum((unsigned char)*c);
    }
    return lower + upper + digit + other;
}

/* An administrator's is bound by the protocol alone, which asks for eight octets. */
static enum ca_status
password_take(struct activate_draft *making)
{
    const struct activate_wanted *wanted = making->wanted;
    const struct activation_profile *settings = &making->settings;
    char *password = making->made.password;
    if (!wanted->password)
        return stretch_generate((size_t)settings->symbols, password);
    enum ca_status status =
        stretch_password(wanted->password, strlen(wanted->password), password);
    if (status != CA_OK || !wanted->self_service)
        return status;
    if ((int64_t)strlen(password) < settings->min_length)
        return ca_fail(CA_FORBIDDEN, "the password must have %lld characters",
                       (long long)settings->min_length);
    if (classes_of(password) < settings->min_classes)
        return ca_fail(CA_FORBIDDEN,
                       "the password must have %lld of: lower-case and upper-case "
                       "letters, digits, others",
                       (long long)settings->min_classes);
    return CA_OK;
}

/* ---- Verifiers ---- */

static void
login_add(struct activate_draft *making, const char *text)
{
    char *login = making->logins[making->login_count];
    if (!text || !stretch_user(text, strlen(text), login))
        return;
    for (size_t i = 0; i < making->login_count; i++) {
        if (strcmp(making->logins[i], login) == 0)
            return;
    }
    making->login_count++;
}

static enum ca_status
stretch_bounded(const char *password, const uint8_t salt[STRETCH_SALT_SIZE],
                uint8_t ret_prs[STRETCH_PRS_SIZE])
{
    pthread_mutex_lock(&stretch_lock);
    while (stretching >= STRETCH_MOST)
        pthread_cond_wait(&stretch_freed, &stretch_lock);
    stretching++;
    pthread_mutex_unlock(&stretch_lock);
    enum ca_status status = stretch_make(password, salt, stretch_cost_default, ret_prs);
    pthread_mutex_lock(&stretch_lock);
    stretching--;
    pthread_cond_signal(&stretch_freed);
    pthread_mutex_unlock(&stretch_lock);
    return status;
}

static enum ca_status
verifier_make(struct activate_draft *making, struct vault *vault, size_t index)
{
    struct activation_verifier *verifier = &making->verifiers[index];
    const struct stretch_name name = { making->logins[index],
                                       making->made.activation.ref };
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
    uint8_t salt[STRETCH_SALT_SIZE], prs[STRETCH_PRS_SIZE];
    enum ca_status status = activation_id_draw(making->ids[index]);
    if (status == CA_OK)
        status = stretch_salt(vault_salt_key(vault), name, salt);
    if (status == CA_OK)
        status = stretch_bounded(making->made.password, salt, prs);
    if (status != CA_OK)
        return status;
    stretch_verifier_aad(name, making->ids[index], &aad);
    status = aad.failed
                 ? ca_fail(CA_INTERNAL, "no memory for an aad")
                 : vault_seal(vault,
                              (struct seal_text){ prs, sizeof prs, aad.data, aad.size },
                              verifier->blob, making->kids[index]);
    OPENSSL_cleanse(prs, sizeof prs);
    verifier->id = making->ids[index];
    verifier->activation = making->made.activation.id;
    verifier->login = making->logins[index];
    verifier->ref = making->made.activation.ref;
    verifier->kid = making->kids[index];
    return status;
}

/* ---- The record ---- */

static enum ca_status
record_fill(struct activate_draft *making)
{
    const struct activate_wanted *wanted = making->wanted;
    const struct activation_profile *settings = &making->settings;
    struct activation *activation = &making->made.activation;
    char id[ACTIVATION_ID_SIZE];
    enum ca_status status = activation_id_draw(id);
    if (status != CA_OK)
        return status;
    activation->id = strdup(id);
    activation->user = strdup(making->user.name);
    activation->ref = strdup(wanted->ref ? wanted->ref : "");
    activation->profile = wanted->profile ? strdup(wanted->profile) : NULL;
    activation->created_by = wanted->created_by ? strdup(wanted->created_by) : NULL;
    activation->expires =
        clock_now() + (wanted->expires_in ? wanted->expires_in : settings->expires_in);
    activation->devices = wanted->devices ? wanted->devices : settings->devices;
    activation->lockout = wanted->lockout >= 0 ? wanted->lockout : settings->lockout;
    activation->tries = ACTIVATION_TRIES;
    making->made.two_messages = settings->two_messages;
    if (!activation->id || !activation->user || !activation->ref ||
        (wanted->profile && !activation->profile) ||
        (wanted->created_by && !activation->created_by))
        return ca_fail(CA_INTERNAL, "no memory for an activation password");
    return CA_OK;
}

static enum ca_status
making_audit(struct store_tx *tx, const struct activate_draft *making)
{
    const struct activation *activation = &making->made.activation;
    char object[64], expires[21];
    snprintf(object, sizeof object, "activation:%s", activation->id);
    time_format(activation->expires, expires);
    CA_AUTO(json_decref)
    json_t *detail =
        json_pack("{s:s, s:s, s:s, s:s, s:I, s:s}", "user", activation->user, "ref",
                  activation->ref, "profile", making->profile, "password",
                  making->wanted->password ? "set" : "generated", "devices",
                  (json_int_t)activation->devices, "expires", expires);
    if (!detail)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    const struct lifecycle_cause *cause = &making->wanted->cause;
    return audit_append(tx, &(struct audit_entry){ .action = "activation.create",
                                                   .actor = cause->actor,
                                                   .object = object,
                                                   .protocol = cause->protocol,
                                                   .request = cause->request,
                                                   .outcome = "ok",
                                                   .detail = detail });
}

enum ca_status
activate_insert(struct store_tx *tx, struct activate_draft *making)
{
    enum ca_status status = check_recent(tx, making);
    if (status == CA_OK)
        status = activation_insert(tx, &making->made.activation, making->verifiers,
                                   making->login_count);
    return status == CA_OK ? making_audit(tx, making) : status;
}

void
activate_made_clear(struct activate_made *made)
{
    OPENSSL_cleanse(made->password, sizeof made->password);
    activation_clear(&made->activation);
}

const struct activate_made *
activate_draft_made(const struct activate_draft *draft)
{
    return &draft->made;
}

void
activate_draft_free(struct activate_draft *draft)
{
    if (!draft)
        return;
    user_clear(&draft->user);
    free(draft->profile);
    activate_made_clear(&draft->made);
    OPENSSL_cleanse(draft, sizeof *draft);
    free(draft);
}

static void
activate_draft_free_auto(struct activate_draft **draft)
{
    activate_draft_free(*draft);
}

static enum ca_status
prepare(struct activate_draft *making, struct vault *vault)
{
    enum ca_status status = making_judge(making);
    if (status == CA_OK)
        status = password_take(making);
    if (status == CA_OK)
        status = record_fill(making);
    if (status != CA_OK)
        return status;
    login_add(making, making->user.name);
    login_add(making, making->user.email);
    if (making->login_count == 0)
        return ca_fail(CA_FORBIDDEN, "user '%s' has no name to activate under",
                       making->user.name);
    for (size_t i = 0; status == CA_OK && i < making->login_count; i++)
        status = verifier_make(making, vault, i);
    return status;
}

enum ca_status
activate_prepare(struct service *service, const struct activate_wanted *wanted,
                 struct activate_draft **ret_draft)
{
    CA_AUTO(activate_draft_free)
    struct activate_draft *draft = calloc(1, sizeof *draft);
    struct vault *vault = atomic_load(&service->vault);
    if (!draft)
        return ca_fail(CA_INTERNAL, "no memory for an activation password");
    if (!vault)
        return ca_fail(CA_UNAVAILABLE, "no sealing key is in use: see `sealwright key "
                                       "sealing`");
    if (wanted->ref && !stretch_ref_is_good(wanted->ref))
        return ca_fail(CA_MALFORMED,
                       "ref: must be letters, digits, dots, lines and "
                       "hyphens, at most %d",
                       STRETCH_REF_MAX);
    draft->service = service;
    draft->wanted = wanted;
    enum ca_status status = store_read(service->store, making_read, draft);
    if (status == CA_OK)
        status = prepare(draft, vault);
    if (status == CA_OK)
        *ret_draft = CA_STEAL(draft);
    return status;
}

static enum ca_status
make_write(struct store_tx *tx, void *arg)
{
    return activate_insert(tx, arg);
}

enum ca_status
activate_make(struct service *service, const struct activate_wanted *wanted,
              struct activate_made *ret_made)
{
    CA_AUTO(activate_draft_free) struct activate_draft *draft = NULL;
    enum ca_status status = activate_prepare(service, wanted, &draft);
    if (status == CA_OK)
        status = store_write(service->store, make_write, draft);
    if (status != CA_OK)
        return status;
    *ret_made = draft->made;
    draft->made = (struct activate_made){ .two_messages = false };
    return CA_OK;
}
