/* The self-service pages under /self/: plain HTML for people, by their own login. */
#pragma once

#include "exchange.h"
#include "password.h"
#include "plugin.h"
#include "text.h"

extern const struct ca_plugin api_self_plugin;

#define SELF_SESSION_SECONDS 1800 /* from the login on; then again */
#define SELF_TOKEN_SIZE 44        /* 43 characters of base64url and NUL */

/* ---- Sessions (self_session.c) ---- */

struct self_session {
    char key[65]; /* SHA-256 of the cookie, hex: its name in the state table */
    char csrf[SELF_TOKEN_SIZE];
    char password[PASSWORD_MARK_SIZE]; /* of the one it was opened with */
    int64_t born, edit; /* the user's record then: its creation and version */
    char *user;
    char *last_time, *last_source; /* of the login before; or NULL */
};
void self_session_clear(struct self_session *session);
static inline void __attribute__((unused))
self_session_clear_auto(struct self_session *session)
{
    self_session_clear(session);
}

/* Opens a session for the user whom ca_authenticate has just found, under a new secret,
 * and sets its cookie; the one whose cookie the browser sent, anybody's, ends.
 * `password`: the mark of a new one that the user has set; NULL: a log-in, by what
 * proved it, of which the user is told by mail. A password that changed since the proof
 * ends the session before it began. */
enum ca_status self_session_open(struct exchange *exchange, const char *password);
/* The session of the request's cookie. CA_UNAUTHENTICATED: none, over, the user's
 * record was changed or is another one of the name now, or the password is another one.
 */
enum ca_status self_session_find(struct exchange *exchange,
                                 struct self_session *ret_session);
enum ca_status self_session_close(struct exchange *exchange,
                                  const struct self_session *session);

/* Forms of pages without a session: sets a cookie and gives the token that belongs to
 * it. */
enum ca_status self_form_token(struct exchange *exchange,
                               char ret_token[SELF_TOKEN_SIZE]);
/* Was the form that comes back ours, sent by our own page? `session` NULL: by the
 * cookie of self_form_token. CA_FORBIDDEN. */
enum ca_status self_form_check(struct exchange *exchange,
                               const struct self_session *session);

/* ---- Pages (self_page.c) ---- */

struct self_page {
    struct text_buffer body;
    const char *title; /* fixed text */
    int status;        /* of HTTP */
    bool fills_code;   /* with the script that takes a code from the fragment */
    bool goes_on;      /* to the overview, by itself */
};
/* What was typed or stored, escaped. */
void self_put(struct self_page *page, const char *text);
void self_print(struct self_page *page, const char *html, ...)
    __attribute__((format(printf, 2, 3)));
/* <form ...> up to its hidden token. */
void self_form_begin(struct self_page *page, const char *action, const char *token);
/* A label and its input of fixed name and type. */
void self_input(struct self_page *page, const char *label, const char *name,
                const char *attributes);
/* An error summary at the top, or a notice of success; NULL is nothing. */
void self_error(struct self_page *page, const char *text);
void self_done(struct self_page *page, const char *text);
/* Answers and clears the page. */
enum ca_status self_page_send(struct exchange *exchange, struct self_page *page);
/* 303 to a page of ours, relative ("./?done=mailed"). */
enum ca_status self_redirect(struct exchange *exchange, const char *to);

/* ---- What was done ---- */

/* Appends an audit entry by this user over "self". `detail` is taken over. */
enum ca_status self_audit(struct store_tx *tx, const struct exchange *exchange,
                          const char *user, const char *action, const char *object,
                          json_t *detail);

/* ---- Handlers by theme ---- */
enum ca_status self_provider_login(void *state, struct ca_request *req);
enum ca_status self_provider_get(void *state, struct ca_request *req);
enum ca_status self_device_get(void *state, struct ca_request *req);
enum ca_status self_device_post(void *state, struct ca_request *req);
enum ca_status self_password_get(void *state, struct ca_request *req);
enum ca_status self_password_post(void *state, struct ca_request *req);
enum ca_status self_invitation_get(void *state, struct ca_request *req);
enum ca_status self_invitation_post(void *state, struct ca_request *req);
enum ca_status self_activation_get(void *state, struct ca_request *req);
enum ca_status self_activation_post(void *state, struct ca_request *req);
enum ca_status self_activation_mail_post(void *state, struct ca_request *req);
/* The activation part of the overview. */
enum ca_status self_activation_put(struct exchange *exchange,
                                   const struct self_session *session,
                                   struct self_page *page);

/* The session, or an answer that leads to the login: then CA_OK with `session->user`
 * NULL. With `checks_form` the request must be a form of ours. */
enum ca_status self_begin(struct exchange *exchange, bool checks_form,
                          struct self_session *ret_session);
