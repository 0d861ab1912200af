/* Delivers the outbox. A mail that a server took over is recorded as sent afterwards: a
 * crash in between sends it once more, with the same Message-ID. */
#include "mailer.h"
#include "audit.h"
#include "auto.h"
#include "clock.h"
#include "letter.h"
#include "log.h"
#include "mail.h"
#include "mail_render.h"
#include "metrics.h"
#include "smtp.h"
#include "state.h"
#include "stretch.h"
#include "ticker.h"
#include <curl/curl.h>
#include <openssl/crypto.h>
#include <string.h>

#define TIDY_SECONDS 30
#define BATCH 16
#define LEASE_SECONDS 30 /* beyond one delivery; renewed before each */

struct mailer {
    struct service *service;
    struct ticker *ticker;
    int64_t tidy_next; /* clock_ticks */
    bool is_failing;
};

/* ---- One mail ---- */

struct due {
    struct outbox mails[BATCH];
    size_t count;
};

static void
due_clear_auto(struct due *due)
{
    for (size_t i = 0; i < due->count; i++)
        outbox_clear(&due->mails[i]);
    due->count = 0;
}

static enum ca_status
secret_open(struct service *service, const struct outbox *mail, char **ret_secret)
{
    if (!mail->secret)
        return CA_OK;
    size_t size = mail->secret_size - SEAL_OVERHEAD;
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
    stretch_mail_aad((struct stretch_name){ mail->user ? mail->user : "", mail->ref },
                     mail->id, &aad);
    char *secret = mail->secret_size > SEAL_OVERHEAD ? calloc(1, size + 1) : NULL;
    if (!secret || aad.failed)
        return ca_fail(CA_INTERNAL, "no memory for a mail, or no secret in it");
    struct vault *vault = atomic_load(&service->vault);
    enum ca_status status =
        vault ? vault_unseal(vault, mail->kid,
                             (struct seal_text){ mail->secret, mail->secret_size,
                                                 aad.data, aad.size },
                             secret)
              : ca_fail(CA_UNAVAILABLE, "no sealing key is open for a mail's secret");
    if (status == CA_OK)
        *ret_secret = secret;
    else
        free(secret);
    return status;
}

struct letter_question {
    const char *name;
    struct letter *letter;
};

static enum ca_status
letter_read(struct store_tx *tx, void *arg)
{
    const struct letter_question *question = arg;
    letter_clear(question->letter);
    return letter_load(tx, question->name, question->letter);
}

static void
mail_text_clear_auto(struct mail_text *text)
{
    mail_text_clear(text);
}

static void
letter_clear_auto(struct letter *letter)
{
    letter_clear(letter);
}

/* Everything up to the octets; what cannot be rendered now never can. */
static enum ca_status
render(struct service *service, const struct outbox *mail,
       struct text_buffer *ret_octets)
{
    CA_AUTO(secret_free) char *secret = NULL;
    CA_AUTO(letter_clear) struct letter letter = { 0 };
    CA_AUTO(mail_text_clear) struct mail_text text = { 0 };
    struct letter_question question = { mail->template, &letter };
    enum ca_status status = store_read(service->store, letter_read, &question);
    if (status == CA_OK)
        status = secret_open(service, mail, &secret);
    if (status == CA_OK)
        status = mail_text_make(&letter, mail->content, secret, false, &text);
    const char *organisation =
        json_string_value(json_object_get(mail->content, "organisation.name"));
    if (status == CA_OK)
        status =
            mail_render(&service->config.mail, organisation, mail, &text, ret_octets);
    return status;
}

struct outcome {
    const struct outbox *mail;
    enum ca_status status;
    const char *failure;
};

static enum ca_status
outcome_audit(struct store_tx *tx, const struct outcome *outcome)
{
    char object[8 + OUTBOX_ID_SIZE];
    const struct outbox *mail = outcome->mail;
    snprintf(object, sizeof object, "mail:%s", mail->id);
    CA_AUTO(json_decref)
    json_t *detail = json_pack("{s:s, s:s*, s:s*, s:I}", "template", mail->template,
                               "user", mail->user, "failure", outcome->failure,
                               "attempts", (json_int_t)mail->attempts + 1);
    if (!detail)
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    return audit_append(tx, &(struct audit_entry){
                                .action = outcome->failure ? "mail.fail" : "mail.send",
                                .actor = "system",
                                .object = object,
                                .protocol = "smtp",
                                .request = "",
                                .outcome = ca_status_name(outcome->status),
                                .detail = detail });
}

/* A mail that was withdrawn while it was on its way stays withdrawn. */
static enum ca_status
outcome_write(struct store_tx *tx, void *arg)
{
    const struct outcome *outcome = arg;
    bool for_good = outcome->failure && outcome->status != CA_UNAVAILABLE;
    enum ca_status status = outcome->failure ? outbox_failed(tx, outcome->mail->id,
                                                             outcome->failure, for_good)
                                             : outbox_sent(tx, outcome->mail->id);
    if (status == CA_OK && (for_good || !outcome->failure))
        status = outcome_audit(tx, outcome);
    return status == CA_CONFLICT ? CA_OK : status;
}

static void
outcome_tell(struct service *service, const struct outcome *outcome)
{
    bool is_later = outcome->status == CA_UNAVAILABLE;
    const char *word = !outcome->failure ? "sent" : is_later ? "deferred" : "failed";
    metrics_count(service->metrics, "mails", word);
    if (outcome->failure)
        log_write(is_later ? LOG_LEVEL_WARNING : LOG_LEVEL_ERROR,
                  json_pack("{s:s, s:s}", "mail", outcome->mail->id, "template",
                            outcome->mail->template),
                  "mail %s: %s", word, outcome->failure);
}

/* The store's own failures come back; the mail's are recorded. */
static enum ca_status
deliver(struct service *service, const struct outbox *mail, const atomic_bool *stop)
{
    CA_AUTO(text_buffer_clear) struct text_buffer octets = { 0 };
    CA_AUTO(free) char *failure = NULL;
    enum ca_status status = render(service, mail, &octets);
    if (status == CA_OK)
        status = smtp_send(&service->config.mail,
                           &(struct smtp_mail){ .from = service->config.mail.from,
                                                .to = mail->recipient,
                                                .octets = octets.data,
                                                .size = octets.size,
                                                .stop = stop });
    if (status == CA_INTERNAL)
        status = CA_UNAVAILABLE; /* memory: it may pass later */
    if (status != CA_OK && stop && atomic_load(stop))
        return CA_OK; /* our own doing */
    if (status != CA_OK && !(failure = strdup(status_message())))
        return ca_fail(CA_INTERNAL, "no memory for a mail's failure");
    struct outcome outcome = { mail, status, failure };
    outcome_tell(service, &outcome);
    return store_write(service->store, outcome_write, &outcome);
}

/* ---- The outbox ---- */

static enum ca_status
due_visit(const void *record, void *arg)
{
    struct due *due = arg;
    const struct outbox *mail = record;
    struct outbox copy = { 0 };
    if (due->count == BATCH)
        return CA_OK;
    if (!outbox_copy(mail, &copy))
        return ca_fail(CA_INTERNAL, "no memory for a mail");
    due->mails[due->count++] = copy;
    return CA_OK;
}

static enum ca_status
due_read(struct store_tx *tx, void *arg)
{
    struct due *due = arg;
    due_clear_auto(due);
    return outbox_due(tx, clock_now(), BATCH, due_visit, due);
}

struct lease {
    const struct config *config;
    bool mine;
};

/* One delivery, and its farewell. */
static int64_t
lease_seconds(const struct config_mail *server)
{
    return LEASE_SECONDS + 2 * server->send_ms / 1000;
}

static enum ca_status
lease_write(struct store_tx *tx, void *arg)
{
    struct lease *lease = arg;
    int64_t now = clock_now();
    return state_lease(tx, "mail", lease->config->instance, now,
                       now + lease_seconds(&lease->config->mail), &lease->mine);
}

enum ca_status
mailer_run(struct service *service, const atomic_bool *stop)
{
    CA_AUTO(due_clear) struct due due = { 0 };
    if (!mail_is_configured(service))
        return CA_OK;
    enum ca_status status = store_read(service->store, due_read, &due);
    for (size_t i = 0; status == CA_OK && i < due.count; i++) {
        struct lease lease = { &service->config, false };
        if (stop && atomic_load(stop))
            return CA_OK;
        status = store_write(service->store, lease_write, &lease);
        if (status != CA_OK || !lease.mine)
            return status;
        status = deliver(service, &due.mails[i], stop);
    }
    return status;
}

/* ---- The thread ---- */

static enum ca_status
tidy_write(struct store_tx *tx, void *ret_expired)
{
    return outbox_tidy(tx, clock_now(), ret_expired);
}

static void
tidy(struct service *service)
{
    int64_t expired = 0;
    if (store_write(service->store, tidy_write, &expired) != CA_OK)
        log_write(LOG_LEVEL_ERROR, NULL, "outbox not tidied: %s", status_message());
    for (int64_t i = 0; i < expired; i++)
        metrics_count(service->metrics, "mails", "expired");
}

static void
tick(void *arg, const atomic_bool *stop)
{
    struct mailer *mailer = arg;
    if (clock_ticks() >= mailer->tidy_next) {
        tidy(mailer->service);
        mailer->tidy_next = clock_ticks() + TIDY_SECONDS * 1000;
    }
    enum ca_status status = mailer_run(mailer->service, stop);
    if (status != CA_OK && !mailer->is_failing)
        log_write(LOG_LEVEL_ERROR, NULL, "outbox: %s", status_message());
    mailer->is_failing = status != CA_OK;
}

enum ca_status
mailer_start(struct service *service, struct mailer **ret_mailer)
{
    struct mailer *mailer = calloc(1, sizeof *mailer);
    if (!mailer)
        return ca_fail(CA_INTERNAL, "no memory for the mails");
    mailer->service = service;
    enum ca_status status = CA_OK;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        status = ca_fail(CA_INTERNAL, "libcurl does not start");
    if (status == CA_OK)
        status = ticker_start("mails", tick, mailer, &mailer->ticker);
    if (status != CA_OK) {
        free(mailer);
        return status;
    }
    *ret_mailer = mailer;
    return CA_OK;
}

void
mailer_stop(struct mailer *mailer)
{
    if (!mailer)
        return;
    ticker_stop(mailer->ticker);
    free(mailer);
    curl_global_cleanup();
}
