/* Mails to users: what is to be said goes into the outbox of the store, within the
 * transaction it tells of; a thread of its own renders and delivers it (mailer.h), so
 * that no request waits for a mail server. */
#pragma once

#include "outbox.h"
#include "service.h"

/* What may go into the outbox, made and sealed before its transaction. */
struct mail_draft;
void mail_draft_free(struct mail_draft *draft); /* wipes; NULL is nothing */
static inline void __attribute__((unused))
mail_draft_free_auto(struct mail_draft **draft)
{
    mail_draft_free(*draft);
}

/* Does the configuration name a mail server? */
bool mail_is_configured(const struct service *service);

/* An activation password that goes to its user. */
struct mail_activation {
    const char *user, *ref; /* the record's name; "" */
    const char *login;      /* the login name that the link says; NULL: `user` */
    const char *server;     /* the server's name in CI; NULL: base_url's authority */
    const char *password;   /* in the clear; only until mail_activation returns */
    int64_t expires;        /* of the password: the mail is worth nothing after it */
    bool two_messages;      /* instructions and password in mails of their own */
    const char *created_by; /* who asked for it; or NULL */
};
/* Draws the mails' ids and seals the password: never inside a store closure.
 * CA_UNSUPPORTED: no mail server, or no base_url to link to; CA_UNAVAILABLE: the
 * sealing key is away; CA_LIMIT: too long a link. */
enum ca_status mail_activation(struct service *service,
                               const struct mail_activation *activation,
                               struct mail_draft **ret_draft);

/* A link by which a user sets the self-service password. */
struct mail_invitation {
    const char *user;
    const char *code; /* in the clear */
    int64_t expires;
    const char *created_by;
};
enum ca_status mail_invitation(struct service *service,
                               const struct mail_invitation *invitation,
                               struct mail_draft **ret_draft);

/* Puts the draft into the outbox: with the record that it is about. May run twice.
 * CA_NOT_FOUND: no such user; CA_CONFLICT: a user without a mail address. */
enum ca_status mail_enqueue(struct store_tx *tx, const struct mail_draft *draft);

/* What a user is told without having asked, and without a secret. */
struct mail_notice {
    const char *template; /* "device_activated", "login" */
    const char *user;
    const char *device, *device_kind; /* device_activated: id, and what it is or NULL */
    const char *source;               /* the peer's address */
};
/* Into the outbox, inside the transaction that does it. CA_OK and nothing done without
 * a mail server or a mail address. */
enum ca_status mail_notice(struct store_tx *tx, const struct service *service,
                           const struct mail_notice *notice);

/* A mail that says nothing but that mail works; to any address. */
enum ca_status mail_test(struct store_tx *tx, const struct service *service,
                         const char *recipient, const char *created_by,
                         char ret_id[OUTBOX_ID_SIZE]);
