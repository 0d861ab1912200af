/* What plugins ask about people and the organisation: login tokens, the profiles that
 * somebody may enrol by, names and links. */
#include "assignment.h"
#include "auth.h"
#include "auto.h"
#include "clock.h"
#include "endpoint.h"
#include "grant.h"
#include "login.h"
#include "refuse.h"
#include <string.h>

#define PROFILES_MOST 256 /* that one user may enrol by */

int64_t
ca_now(const struct ca_request *req)
{
    (void)req;
    return clock_now();
}

struct token_issue {
    struct login login;
    int64_t seconds;
    char text[LOGIN_TEXT_SIZE];
};

static enum ca_status
token_write(struct store_tx *tx, void *arg)
{
    struct token_issue *issue = arg;
    return login_issue(tx, &issue->login, issue->seconds, issue->text);
}

enum ca_status
ca_login_token_issue(struct ca_request *req, int64_t seconds, const char **ret_text)
{
    struct exchange *exchange = exchange_of(req);
    const struct identity *identity = &exchange->identity;
    /* Who came with a token gets no second one of it. */
    if (identity->kind != IDENTITY_USER || !identity->user || !identity->grant ||
        (identity->grant->challenge && login_is_id(identity->grant->challenge)))
        return refuse(exchange,
                      ca_fail(CA_UNAUTHENTICATED, "no user has logged in by password"),
                      &(struct refusal_place){ .protocol = exchange->plugin });
    struct token_issue issue = { .login = { .user = identity->user,
                                            .made =
                                                identity->grant->user.stamp.created },
                                 .seconds = seconds };
    if (identity->grant->challenge)
        snprintf(issue.login.under, sizeof issue.login.under, "%s",
                 identity->grant->challenge);
    char *text = ca_request_alloc(req, LOGIN_TEXT_SIZE);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a login token");
    enum ca_status status = store_write(exchange->service->store, token_write, &issue);
    if (status == CA_OK) {
        memcpy(text, issue.text, LOGIN_TEXT_SIZE);
        *ret_text = text;
    }
    OPENSSL_cleanse(issue.text, sizeof issue.text);
    return status;
}

/* The profiles of one user, held until the request ends. */
struct profiles {
    struct profile_cache *cache;
    const char *user, *protocol;
    struct store_tx *tx;
    char *own;
    const struct profile_cached *items[PROFILES_MOST];
    size_t count;
};

static void
profiles_clear(struct profiles *profiles)
{
    for (size_t i = 0; i < profiles->count; i++)
        profile_cached_release(profiles->items[i]);
    free(profiles->own);
    profiles->own = NULL;
    profiles->count = 0;
}

static bool
is_issued_over(const struct profile *profile, const char *protocol)
{
    for (unsigned i = 0; i < PROTOCOL_COUNT; i++) {
        if (strcmp(profile_protocol_words[i], protocol) == 0)
            return (profile->settings.certificate.protocols & (1u << i)) != 0;
    }
    return false;
}

static enum ca_status
profiles_add(struct profiles *profiles, const char *name)
{
    const struct profile_cached *cached = NULL;
    for (size_t i = 0; i < profiles->count; i++) {
        if (strcmp(profiles->items[i]->profile.name, name) == 0)
            return CA_OK;
    }
    enum ca_status status = profile_cache_get(profiles->cache, profiles->tx,
                                              PROFILE_CERTIFICATE, name, &cached);
    if (status != CA_OK)
        return status;
    if (!is_issued_over(&cached->profile, profiles->protocol)) {
        profile_cached_release(cached);
        return CA_OK;
    }
    if (profiles->count == PROFILES_MOST) {
        profile_cached_release(cached);
        return ca_fail(CA_LIMIT, "user '%s' has more than %d profiles", profiles->user,
                       PROFILES_MOST);
    }
    profiles->items[profiles->count++] = cached;
    return CA_OK;
}

static enum ca_status
visit_assignment(const void *record, void *arg)
{
    const struct assignment *assignment = record;
    if (strcmp(assignment->kind, profile_kind_words[PROFILE_CERTIFICATE]) != 0)
        return CA_OK;
    return profiles_add(arg, assignment->profile);
}

static int
compare_names(const void *a, const void *b)
{
    const struct profile_cached *const *one = a, *const *two = b;
    return strcmp((*one)->profile.name, (*two)->profile.name);
}

static enum ca_status
profiles_read(struct store_tx *tx, void *arg)
{
    struct profiles *profiles = arg;
    profiles_clear(profiles);
    profiles->tx = tx;
    enum ca_status status = assignment_effective(
        tx, profiles->user, profile_kind_words[PROFILE_CERTIFICATE], &profiles->own,
        NULL);
    if (status == CA_NOT_FOUND)
        return CA_OK;
    if (status == CA_OK)
        status = profiles_add(profiles, profiles->own);
    size_t first = profiles->count; /* 1, or 0: not over this protocol */
    if (status == CA_OK)
        status = assignment_list(tx, false, profiles->user, visit_assignment, profiles);
    if (status == CA_OK)
        qsort(profiles->items + first, profiles->count - first,
              sizeof profiles->items[0], compare_names);
    return status;
}

static void
profiles_release(void *pointer)
{
    profiles_clear(pointer);
    free(pointer);
}

enum ca_status
ca_profiles(struct ca_request *req, const char *protocol, ca_profile_visit visit,
            void *arg)
{
    struct exchange *exchange = exchange_of(req);
    const struct identity *identity = &exchange->identity;
    bool may = identity->kind == IDENTITY_USER || identity->kind == IDENTITY_DEVICE ||
               identity->kind == IDENTITY_RENEWAL;
    if (!may || !identity->user)
        return refuse(exchange, ca_fail(CA_UNAUTHENTICATED, "nobody asks for profiles"),
                      &(struct refusal_place){ .protocol = exchange->plugin });
    struct profiles *profiles = calloc(1, sizeof *profiles);
    if (!profiles)
        return ca_fail(CA_INTERNAL, "no memory for profiles");
    enum ca_status status = exchange_keep(exchange, profiles, profiles_release);
    if (status != CA_OK)
        return status;
    profiles->cache = exchange->service->profiles;
    profiles->user = identity->user;
    profiles->protocol = protocol;
    status = store_read(exchange->service->store, profiles_read, profiles);
    for (size_t i = 0; status == CA_OK && i < profiles->count; i++) {
        const struct profile_cached *cached = profiles->items[i];
        const char *description = cached->profile.description;
        struct ca_profile profile = {
            .name = cached->profile.name,
            .description = description ? description : "",
            .settings = cached->settings,
            .changed = cached->profile.stamp.updated,
            .is_own = strcmp(cached->profile.name, profiles->own) == 0,
        };
        status = visit(arg, &profile);
    }
    return status;
}

static const char *
copy(struct ca_request *req, const char *text, bool *failed)
{
    size_t size = text ? strlen(text) : 0;
    char *copied = ca_request_alloc(req, size + 1);
    if (copied && size > 0)
        memcpy(copied, text, size);
    *failed = *failed || !copied;
    return copied;
}

struct template_question {
    const char *base_url, *oid;
    char name[RECORD_NAME_MAX + 1]; /* "": none */
};

static enum ca_status
visit_template(const void *record, void *arg)
{
    struct template_question *question = arg;
    const char *name = record;
    char oid[CA_TEMPLATE_OID_SIZE];
    ca_template_oid(question->base_url, name, oid);
    if (strcmp(oid, question->oid) == 0)
        snprintf(question->name, sizeof question->name, "%s", name);
    return CA_OK;
}

static enum ca_status
template_read(struct store_tx *tx, void *arg)
{
    struct template_question *question = arg;
    question->name[0] = '\0';
    return profile_names(tx, PROFILE_CERTIFICATE, visit_template, question);
}

enum ca_status
ca_template_profile(struct ca_request *req, const char *oid, const char **ret_name)
{
    struct service *service = exchange_of(req)->service;
    bool failed = false;
    pthread_rwlock_rdlock(&service->lock);
    struct template_question question = {
        .base_url = copy(req, service->organisation.base_url, &failed), .oid = oid
    };
    pthread_rwlock_unlock(&service->lock);
    if (failed)
        return ca_fail(CA_INTERNAL, "no memory for a template's name");
    enum ca_status status = store_read(service->store, template_read, &question);
    if (status != CA_OK)
        return status;
    if (!question.name[0])
        return ca_fail(CA_NOT_FOUND, "no profile has template %.96s", oid);
    *ret_name = copy(req, question.name, &failed);
    return failed ? ca_fail(CA_INTERNAL, "no memory for a template's name") : CA_OK;
}

/* Copied under the lock, for a reload may exchange it at any time. */
enum ca_status
ca_organisation(struct ca_request *req, struct ca_organisation *ret_organisation)
{
    struct service *service = exchange_of(req)->service;
    struct ca_organisation names = { 0 };
    bool failed = false;
    pthread_rwlock_rdlock(&service->lock);
    const struct organisation *organisation = &service->organisation;
    size_t count = organisation->mail_domains.count;
    const char **domains = ca_request_alloc(req, (count + 1) * sizeof *domains);
    for (size_t i = 0; domains && i < count; i++)
        domains[i] =
            copy(req, ((char *const *)organisation->mail_domains.items)[i], &failed);
    names.name = copy(req, organisation->name, &failed);
    names.base_url = copy(req, organisation->base_url, &failed);
    names.plain_url = copy(req, organisation->plain_url, &failed);
    names.mail_domains = domains;
    pthread_rwlock_unlock(&service->lock);
    if (failed || !domains)
        return ca_fail(CA_INTERNAL, "no memory for the organisation's names");
    *ret_organisation = names;
    return CA_OK;
}
