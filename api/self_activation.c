/* Activation passwords in the self-service: what is open, one of the user's own choice,
 * a generated one by mail. */
#include "activate.h"
#include "activation.h"
#include "auto.h"
#include "form.h"
#include "mail.h"
#include "mail_render.h"
#include "self.h"
#include <string.h>

#define SHOWN_MOST 20

static void
activate_draft_free_auto(struct activate_draft **draft)
{
    activate_draft_free(*draft);
}

/* ---- The part of the overview ---- */

struct shown {
    const char *user;
    struct self_page *page;
    size_t begin, count;
};

static enum ca_status
activation_row(const void *record, void *arg)
{
    char time[MAIL_TIME_SIZE];
    struct shown *shown = arg;
    const struct activation *activation = record;
    mail_time_format(activation->expires, time);
    self_print(shown->page, "<li>Password%s", *activation->ref ? " for " : "");
    self_put(shown->page, activation->ref);
    self_print(shown->page,
               ": until %s, for %lld more device%s, %lld tries left</li>\n", time,
               (long long)activation->devices, activation->devices == 1 ? "" : "s",
               (long long)activation->tries);
    shown->count++;
    return CA_OK;
}

static enum ca_status
shown_read(struct store_tx *tx, void *arg)
{
    struct shown *shown = arg;
    struct text_buffer *body = &shown->page->body;
    shown->count = 0;
    if (body->data)
        body->size = shown->begin;
    return activation_list(tx, shown->user, "open",
                           &(struct record_page){ .limit = SHOWN_MOST }, activation_row,
                           shown);
}

enum ca_status
self_activation_put(struct exchange *exchange, const struct self_session *session,
                    struct self_page *page)
{
    struct shown shown = { .user = session->user, .page = page };
    self_print(page, "<h2>Activation password</h2>\n<p>With an activation password you "
                     "set up a device.</p>\n<ul>\n");
    shown.begin = page->body.size;
    enum ca_status status = store_read(exchange->service->store, shown_read, &shown);
    self_print(page, "</ul>\n");
    if (shown.count == 0)
        self_print(page, "<p>You have none that can be used.</p>\n");
    if (mail_is_configured(exchange->service)) {
        self_form_begin(page, "activation-mail", session->csrf);
        self_print(page, "<button type=\"submit\">Mail me a new activation password"
                         "</button>\n</form>\n");
    }
    self_print(page, "<p><a href=\"activation\">Set an activation password of your own"
                     "</a></p>\n");
    return status;
}

/* ---- Making one ---- */

struct making {
    struct activate_draft *draft;
    struct mail_draft *mail; /* or NULL */
};

static enum ca_status
making_write(struct store_tx *tx, void *arg)
{
    const struct making *making = arg;
    const struct activation *activation =
        &activate_draft_made(making->draft)->activation;
    enum ca_status status = activate_insert(tx, making->draft);
    if (status == CA_OK)
        status = outbox_withdraw_of(tx, activation->user, activation->ref);
    if (status == CA_OK && making->mail)
        status = mail_enqueue(tx, making->mail);
    return status;
}

static enum ca_status
making_mail(struct exchange *exchange, const struct making *making,
            struct mail_draft **ret_mail)
{
    const struct activate_made *made = activate_draft_made(making->draft);
    return mail_activation(exchange->service,
                           &(struct mail_activation){
                               .user = made->activation.user,
                               .ref = made->activation.ref,
                               .password = made->password,
                               .expires = made->activation.expires,
                               .two_messages = made->two_messages,
                           },
                           ret_mail);
}

/* `typed` NULL: a generated one, by mail. Stretching and sealing come before the store
 * is asked to write, and wait for a turn: 16 MiB each. */
static enum ca_status
make(struct exchange *exchange, const char *user, const char *typed)
{
    char actor[8 + RECORD_NAME_MAX];
    CA_AUTO(activate_draft_free) struct activate_draft *draft = NULL;
    CA_AUTO(mail_draft_free) struct mail_draft *mail = NULL;
    snprintf(actor, sizeof actor, "user:%s", user);
    const struct activate_wanted wanted = {
        .user = user,
        .ref = "",
        .password = typed,
        .self_service = true,
        .lockout = -1,
        .cause = { .actor = actor,
                   .protocol = "self",
                   .request = exchange->request.id },
    };
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    status = activate_prepare(exchange->service, &wanted, &draft);
    struct making making = { .draft = draft };
    if (status == CA_OK && !typed)
        status = making_mail(exchange, &making, &mail);
    making.mail = mail;
    if (status == CA_OK)
        status = store_write(exchange->service->store, making_write, &making);
    service_wait_end(exchange->service);
    return status;
}

/* ---- Pages ---- */

static enum ca_status
form_page(struct exchange *exchange, const struct self_session *session,
          int http_status, const char *error)
{
    struct self_page page = { .title = "Activation password", .status = http_status };
    self_print(&page, "<h1>Activation password</h1>\n");
    self_error(&page, error);
    self_print(&page,
               "<p id=\"rules\">You type it once, on the device that you set up. "
               "Take one that you use nowhere else: at least 8 letters, digits "
               "and signs, without accents.</p>\n");
    self_form_begin(&page, "activation", session->csrf);
    static const char attributes[] =
        "type=\"password\" autocomplete=\"off\" required aria-describedby=\"rules\"";
    self_input(&page, "Activation password", "new", attributes);
    self_input(&page, "Activation password again", "again", attributes);
    self_print(&page, "<button type=\"submit\">Set activation password</button>\n"
                      "</form>\n<p><a href=\"./\">Back</a></p>\n");
    return self_page_send(exchange, &page);
}

enum ca_status
self_activation_get(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_begin(exchange, false, &session);
    if (status != CA_OK || !session.user)
        return status;
    return form_page(exchange, &session, 200, NULL);
}

/* What the user can do about it is told; the operator's words are not for users, but
 * for the rules of a password. */
static enum ca_status
refuse(struct exchange *exchange, const struct self_session *session,
       enum ca_status status)
{
    const char *text = "An activation password cannot be made now. Try again later.";
    if (status == CA_UNAVAILABLE || status == CA_INTERNAL)
        return status;
    if (status == CA_MALFORMED)
        text = "This activation password is too short, too simple, or has characters "
               "that it must not have.";
    else if (status == CA_FORBIDDEN)
        text = "You may not set this activation password: it is too simple, or your "
               "administrator does not allow it.";
    else if (status == CA_CONFLICT)
        text = "It could not be mailed or set: ask your administrator.";
    else if (status == CA_LIMIT)
        text = "You made many activation passwords within the hour. Try again later.";
    enum ca_status sent =
        form_page(exchange, session, status == CA_LIMIT ? 429 : 400, text);
    return sent == CA_OK ? status : sent;
}

enum ca_status
self_activation_post(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    const char *first = NULL, *second = NULL;
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_begin(exchange, true, &session);
    if (status != CA_OK || !session.user)
        return status;
    status = form_value(req, "new", &first);
    if (status == CA_OK)
        status = form_value(req, "again", &second);
    if (status != CA_OK || !first || !second)
        return form_page(exchange, &session, 400,
                         "The activation password is missing.");
    if (strcmp(first, second) != 0)
        return form_page(exchange, &session, 400,
                         "The two activation passwords differ.");
    status = make(exchange, session.user, first);
    return status == CA_OK ? self_redirect(exchange, "./?done=activation")
                           : refuse(exchange, &session, status);
}

enum ca_status
self_activation_mail_post(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_begin(exchange, true, &session);
    if (status != CA_OK || !session.user)
        return status;
    status = make(exchange, session.user, NULL);
    return status == CA_OK ? self_redirect(exchange, "./?done=mail")
                           : refuse(exchange, &session, status);
}
