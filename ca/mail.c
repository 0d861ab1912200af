/* Drafts of mails, made before the transaction they belong to, and what goes into the
 * outbox with it. */
#include "mail.h"
#include "auto.h"
#include "clock.h"
#include "letter.h"
#include "mail_render.h"
#include "stretch.h"
#include "user.h"
#include <openssl/crypto.h>
#include <string.h>

#define DRAFT_MAILS_MAX 2

struct mail_draft {
    struct outbox mails[DRAFT_MAILS_MAX];
    size_t count;
};

static void
user_clear_auto(struct user *user)
{
    user_clear(user);
}

void
mail_draft_free(struct mail_draft *draft)
{
    for (size_t i = 0; draft && i < draft->count; i++)
        outbox_clear(&draft->mails[i]);
    free(draft);
}

bool
mail_is_configured(const struct service *service)
{
    return service->config.mail.server != NULL;
}

/* ---- What every mail says ---- */

struct place {
    char *organisation, *base_url;
    const char *authority; /* of base_url, inside it */
};

static void
place_clear_auto(struct place *place)
{
    free(place->organisation);
    free(place->base_url);
}

static enum ca_status
place_find(const struct service *service, struct place *ret_place)
{
    /* The lock is the one part of the service that a reader changes. */
    pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&service->lock;
    pthread_rwlock_rdlock(lock);
    const struct organisation *organisation = &service->organisation;
    ret_place->organisation = strdup(organisation->name ? organisation->name : "");
    ret_place->base_url = strdup(organisation->base_url ? organisation->base_url : "");
    pthread_rwlock_unlock(lock);
    if (!ret_place->organisation || !ret_place->base_url)
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    const char *scheme = strstr(ret_place->base_url, "://");
    ret_place->authority = scheme ? scheme + 3 : ret_place->base_url;
    return CA_OK;
}

static bool
put(json_t *content, const char *name, const char *value)
{
    return json_object_set_new(content, name, json_string(value ? value : "")) == 0;
}

/* "host" or "host:port" in lower case, without a path. */
static bool
put_server(json_t *content, const struct place *place)
{
    size_t length = strcspn(place->authority, "/");
    json_t *name = json_stringn(place->authority, length);
    return json_object_set_new(content, "server.name", name) == 0;
}

static json_t *
content_new(const struct place *place)
{
    json_t *content = json_object();
    if (content && put(content, "organisation.name", place->organisation) &&
        put_server(content, place))
        return content;
    json_decref(content);
    return NULL;
}

static bool
put_time(json_t *content, const char *name, int64_t seconds)
{
    char text[MAIL_TIME_SIZE];
    mail_time_format(seconds, text);
    return put(content, name, text);
}

static bool
put_user(json_t *content, const struct user *user)
{
    bool has_name = user->display_name && *user->display_name;
    return put(content, "user.name", user->name) &&
           put(content, "user.email", user->email) &&
           put(content, "user.display_name",
               has_name ? user->display_name : user->name);
}

/* ---- Drafts ---- */

static bool
outbox_name(struct outbox *mail, const char *template, const char *user,
            const char *ref, const char *created_by)
{
    char id[OUTBOX_ID_SIZE];
    if (outbox_id_draw(id) != CA_OK)
        return false;
    mail->id = strdup(id);
    mail->template = strdup(template);
    mail->user = strdup(user);
    mail->ref = strdup(ref);
    mail->created_by = created_by ? strdup(created_by) : NULL;
    return mail->id && mail->template && mail->user && mail->ref &&
           (!created_by || mail->created_by);
}

/* The next mail of a draft; NULL: no memory or no randomness. */
static struct outbox *
draft_mail(struct mail_draft *draft, const char *template,
           const struct mail_activation *about, const json_t *content)
{
    struct outbox *mail = &draft->mails[draft->count++];
    mail->content = json_deep_copy(content);
    mail->expires = about->expires;
    bool is_whole = mail->content && outbox_name(mail, template, about->user,
                                                 about->ref, about->created_by);
    return is_whole ? mail : NULL;
}

/* ECSPEKE-ACT-1 section 11.1: bound to user, ref and mail. */
static enum ca_status
secret_seal(struct service *service, struct outbox *mail, const char *secret)
{
    char kid[SEALING_KID_MAX + 1] = "";
    size_t size = strlen(secret);
    struct vault *vault = atomic_load(&service->vault);
    if (!vault)
        return ca_fail(CA_UNAVAILABLE, "no sealing key is open for a mail's secret");
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
    stretch_mail_aad((struct stretch_name){ mail->user, mail->ref }, mail->id, &aad);
    mail->secret = malloc(size + SEAL_OVERHEAD);
    if (aad.failed || !mail->secret)
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    mail->secret_size = size + SEAL_OVERHEAD;
    enum ca_status status =
        vault_seal(vault, (struct seal_text){ secret, size, aad.data, aad.size },
                   mail->secret, kid);
    if (status == CA_OK && !(mail->kid = strdup(kid)))
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    return status;
}

static enum ca_status
draft_add(struct service *service, struct mail_draft *draft, const char *template,
          const struct mail_activation *about, const json_t *content)
{
    struct outbox *mail = draft_mail(draft, template, about, content);
    if (!mail)
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    return about->password ? secret_seal(service, mail, about->password) : CA_OK;
}

static enum ca_status
check_configured(const struct service *service, const struct place *place)
{
    if (!mail_is_configured(service))
        return ca_fail(CA_UNSUPPORTED,
                       "no mail server: set mail.server in the configuration file");
    if (!*place->base_url)
        return ca_fail(CA_UNSUPPORTED, "the organisation has no base_url to link to");
    return CA_OK;
}

static bool
put_activation(json_t *content, const struct place *place,
               const struct mail_activation *activation)
{
    const char *login = activation->login ? activation->login : activation->user;
    bool is_elsewhere =
        activation->server && strcmp(activation->server, place->authority) != 0;
    return put(content, "activation.url", place->base_url) &&
           put_time(content, "activation.expires", activation->expires) &&
           put(content, "link.login", login) &&
           put(content, "link.ref", activation->ref) &&
           (!is_elsewhere || put(content, "link.server", activation->server));
}

/* A link that does not fit is found now, not at delivery. */
static enum ca_status
check_link(const json_t *content, const char *password)
{
    CA_AUTO(text_buffer_clear) struct text_buffer link = { 0 };
    return mail_link_make(content, password, &link);
}

/* Instructions first; the second mail alone has the secret. */
static enum ca_status
draft_activation(struct service *service, struct mail_draft *draft,
                 const struct mail_activation *activation, const json_t *content)
{
    struct mail_activation instructions = *activation;
    if (!activation->two_messages)
        return draft_add(service, draft, "activation", activation, content);
    instructions.password = NULL;
    enum ca_status status =
        draft_add(service, draft, "activation_instructions", &instructions, content);
    if (status == CA_OK)
        status = draft_add(service, draft, "activation_password", activation, content);
    return status;
}

enum ca_status
mail_activation(struct service *service, const struct mail_activation *activation,
                struct mail_draft **ret_draft)
{
    CA_AUTO(place_clear) struct place place = { 0 };
    enum ca_status status = place_find(service, &place);
    if (status == CA_OK)
        status = check_configured(service, &place);
    if (status != CA_OK)
        return status;
    CA_AUTO(json_decref) json_t *content = content_new(&place);
    CA_AUTO(mail_draft_free) struct mail_draft *draft = calloc(1, sizeof *draft);
    if (!draft || !content || !put_activation(content, &place, activation))
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    status = check_link(content, activation->password);
    if (status == CA_OK)
        status = draft_activation(service, draft, activation, content);
    if (status == CA_OK)
        *ret_draft = CA_STEAL(draft);
    return status;
}

enum ca_status
mail_invitation(struct service *service, const struct mail_invitation *invitation,
                struct mail_draft **ret_draft)
{
    CA_AUTO(place_clear) struct place place = { 0 };
    CA_AUTO(free) char *url = NULL;
    enum ca_status status = place_find(service, &place);
    if (status == CA_OK)
        status = check_configured(service, &place);
    if (status != CA_OK)
        return status;
    if (asprintf(&url, "%s/self/invitation", place.base_url) < 0)
        url = NULL;
    CA_AUTO(json_decref) json_t *content = content_new(&place);
    CA_AUTO(mail_draft_free) struct mail_draft *draft = calloc(1, sizeof *draft);
    if (!url || !draft || !content || !put(content, "invitation.url", url) ||
        !put_time(content, "invitation.expires", invitation->expires))
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    const struct mail_activation about = { .user = invitation->user,
                                           .ref = "",
                                           .password = invitation->code,
                                           .expires = invitation->expires,
                                           .created_by = invitation->created_by };
    status = draft_add(service, draft, "invitation", &about, content);
    if (status == CA_OK)
        *ret_draft = CA_STEAL(draft);
    return status;
}

/* ---- Into the outbox ---- */

static enum ca_status
enqueue_one(struct store_tx *tx, const struct outbox *from, const struct user *user)
{
    CA_AUTO(json_decref) json_t *content = json_deep_copy(from->content);
    if (!content || !put_user(content, user))
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    struct outbox mail = *from;
    mail.recipient = user->email;
    mail.content = content;
    return outbox_insert(tx, &mail);
}

enum ca_status
mail_enqueue(struct store_tx *tx, const struct mail_draft *draft)
{
    CA_AUTO(user_clear) struct user user = { 0 };
    const struct outbox *first = &draft->mails[0];
    enum ca_status status = user_load(tx, first->user, &user);
    if (status != CA_OK)
        return status;
    if (!user.email || !*user.email)
        return ca_fail(CA_CONFLICT, "user '%s' has no mail address", user.name);
    if (strncmp(first->template, "activation", strlen("activation")) == 0)
        status = outbox_withdraw_of(tx, user.name, first->ref);
    for (size_t i = 0; status == CA_OK && i < draft->count; i++)
        status = enqueue_one(tx, &draft->mails[i], &user);
    return status;
}

static bool
put_notice(json_t *content, const struct mail_notice *notice)
{
    return put(content, "device.id", notice->device) &&
           put(content, "device.kind", notice->device_kind) &&
           put(content, "event.source", notice->source) &&
           put_time(content, "event.time", clock_now());
}

enum ca_status
mail_notice(struct store_tx *tx, const struct service *service,
            const struct mail_notice *notice)
{
    CA_AUTO(place_clear) struct place place = { 0 };
    CA_AUTO(user_clear) struct user user = { 0 };
    if (!mail_is_configured(service))
        return CA_OK;
    enum ca_status status = user_load(tx, notice->user, &user);
    if (status != CA_OK || !user.email || !*user.email)
        return status;
    status = place_find(service, &place);
    if (status != CA_OK)
        return status;
    struct outbox mail = { .content = content_new(&place) };
    if (mail.content && put_notice(mail.content, notice) &&
        outbox_name(&mail, notice->template, user.name, "", NULL))
        status = enqueue_one(tx, &mail, &user);
    else
        status = ca_fail(CA_INTERNAL, "no memory for a mail");
    outbox_clear(&mail);
    return status;
}

enum ca_status
mail_test(struct store_tx *tx, const struct service *service, const char *recipient,
          const char *created_by, char ret_id[OUTBOX_ID_SIZE])
{
    CA_AUTO(place_clear) struct place place = { 0 };
    if (!mail_is_configured(service))
        return ca_fail(CA_UNSUPPORTED,
                       "no mail server: set mail.server in the configuration file");
    enum ca_status status = place_find(service, &place);
    if (status != CA_OK)
        return status;
    struct outbox mail = { .content = content_new(&place),
                           .recipient = strdup(recipient) };
    if (mail.content && mail.recipient &&
        put_time(mail.content, "event.time", clock_now()) &&
        outbox_name(&mail, "test", "", "", created_by)) {
        free(mail.user);
        mail.user = NULL;
        status = outbox_insert(tx, &mail);
    } else {
        status = ca_fail(CA_INTERNAL, "no memory for a mail");
    }
    if (status == CA_OK)
        snprintf(ret_id, OUTBOX_ID_SIZE, "%s", mail.id);
    outbox_clear(&mail);
    return status;
}
