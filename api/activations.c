/* /activations: activation passwords, made by an administrator and shown once. */
#include "activate.h"
#include "api.h"
#include "auto.h"
#include "mail.h"
#include <openssl/crypto.h>
#include <string.h>

/* What one is made by; members that are absent are as the profile says. */
struct wanted {
    char *user, *ref, *profile, *password;
    int64_t expires_in, devices;
    int lockout; /* LOCKOUT_... */
    bool mail;
};
enum { LOCKOUT_PROFILE, LOCKOUT_HARD, LOCKOUT_SOFT };
static const char *const lockout_words[] = { "profile", "hard", "soft", NULL };

static const struct field wanted_fields[] = {
    { FIELD(wanted, user), .type = FIELD_TEXT, .flags = FIELD_REQUIRED | FIELD_NAME,
      .help = "The user whose devices it activates." },
    { FIELD(wanted, ref), .type = FIELD_TEXT, .max = STRETCH_REF_MAX, .initial = "\"\"",
      .help = "Tells several passwords of one user apart; empty: the only one." },
    { FIELD(wanted, profile), .type = FIELD_TEXT, .flags = FIELD_NAME,
      .help = "The activation profile; null: the one that holds for the user." },
    { FIELD(wanted, password), .type = FIELD_TEXT, .flags = FIELD_SECRET, .min = 1,
      .max = 1024,
      .help = "The password, 8 to 128 characters of printable ASCII; null: a generated "
              "one." },
    { FIELD(wanted, expires_in), .type = FIELD_DURATION, .min = 60,
      .max = (int64_t)30 * 86400, .help = "How long it may be used, from now." },
    { FIELD(wanted, devices), .type = FIELD_INTEGER, .min = 0, .max = 1000,
      .help = "Devices that it activates; 0: as the profile says." },
    { FIELD(wanted, lockout), .type = FIELD_CHOICE, .words = lockout_words,
      .initial = "\"profile\"",
      .help = "Five wrong tries end it (hard), or each makes the next wait twice as "
              "long (soft)." },
    { FIELD(wanted, mail), .type = FIELD_BOOLEAN,
      .help = "Mail it to the user; the answer does not show it then." },
    FIELD_END,
};

static void
wanted_clear_auto(struct wanted *wanted)
{
    field_clear(wanted_fields, wanted);
}

static void
activate_draft_free_auto(struct activate_draft **draft)
{
    activate_draft_free(*draft);
}

struct creation {
    struct activate_draft *draft;
    struct mail_draft *mail; /* or NULL */
};

/* The record and, once, the password, unless the user alone gets it. */
static enum ca_status
create_answer(struct api_call *call, const struct creation *creation)
{
    const struct activate_made *made = activate_draft_made(creation->draft);
    json_t *body = field_encode(activation_fields, &made->activation);
    if (!body || (!creation->mail &&
                  json_object_set_new(body, "password", json_string(made->password)))) {
        json_decref(body);
        return ca_fail(CA_INTERNAL, "no memory for an activation password");
    }
    call->answer.version = made->activation.stamp.version;
    return api_answer_json(call, body);
}

static enum ca_status
create_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    const struct creation *creation = arg;
    const struct activation *activation =
        &activate_draft_made(creation->draft)->activation;
    enum ca_status status = activate_insert(tx, creation->draft);
    /* A mail with the password before it would only mislead. */
    if (status == CA_OK)
        status = outbox_withdraw_of(tx, activation->user, activation->ref);
    if (status == CA_OK && creation->mail)
        status = mail_enqueue(tx, creation->mail);
    if (status != CA_OK)
        return status;
    api_answer_location(call, "/activations/%s", activation->id);
    return create_answer(call, creation);
}

static enum ca_status
mail_prepare(struct api_call *call, struct creation *creation)
{
    const struct activate_made *made = activate_draft_made(creation->draft);
    const struct activation *activation = &made->activation;
    return mail_activation(call->exchange->service,
                           &(struct mail_activation){
                               .user = activation->user,
                               .ref = activation->ref,
                               .password = made->password,
                               .expires = activation->expires,
                               .two_messages = made->two_messages,
                               .created_by = activation->created_by,
                           },
                           &creation->mail);
}

/* Stretching and sealing come before the store is asked to write. */
static enum ca_status
create(struct api_call *call)
{
    CA_AUTO(wanted_clear) struct wanted body = { 0 };
    CA_AUTO(activate_draft_free) struct activate_draft *draft = NULL;
    CA_AUTO(mail_draft_free) struct mail_draft *mail = NULL;
    enum ca_status status = api_decode(call, wanted_fields, &body);
    if (status != CA_OK)
        return status;
    const struct activate_wanted wanted = {
        .user = body.user,
        .ref = body.ref,
        .profile = body.profile,
        .password = body.password,
        .expires_in = body.expires_in,
        .devices = body.devices,
        .lockout = body.lockout == LOCKOUT_PROFILE ? -1
                   : body.lockout == LOCKOUT_HARD  ? ACTIVATION_HARD
                                                   : ACTIVATION_SOFT,
        .created_by = call->exchange->identity.admin.name,
        .cause = { .actor = exchange_actor(call->exchange),
                   .protocol = "api",
                   .request = call->exchange->request.id },
    };
    status = activate_prepare(call->exchange->service, &wanted, &draft);
    struct creation creation = { .draft = draft };
    if (status == CA_OK && body.mail)
        status = mail_prepare(call, &creation);
    mail = creation.mail;
    return status == CA_OK ? api_write(call, create_step, &creation) : status;
}

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct activation activation = { 0 };
    enum ca_status status = activation_load(tx, api_key(call), &activation);
    if (status == CA_OK)
        status =
            api_answer_record(call, activation_fields, &activation, &activation.stamp);
    activation_clear(&activation);
    return status;
}

static enum ca_status
withdraw_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct activation activation = { 0 };
    enum ca_status status = activation_load(tx, api_key(call), &activation);
    if (status == CA_OK)
        status = activation_withdraw(tx, api_key(call));
    if (status == CA_OK)
        status = outbox_withdraw_of(tx, activation.user, activation.ref);
    if (status == CA_OK)
        status = api_audit(tx, call, "activation.withdraw",
                           json_pack("{s:s}", "user", activation.user), "activation:%s",
                           api_key(call));
    activation_clear(&activation);
    return status;
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return activation_list(tx, api_query_text(call, "user"),
                           api_query_text(call, "state"), &list->page, api_list_visit,
                           list);
}

static const struct field *
input(void)
{
    return wanted_fields;
}

static const struct field *
output(void)
{
    return activation_fields;
}

static const struct api_query filters[] = {
    { "user", "Of this user." },
    { "state", "open, used, withdrawn, refused, locked or expired." },
    { NULL, NULL },
};

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

/* No Idempotency-Key: the answer that it keeps would hold the password. */
static const struct api_route routes[] = {
    { "GET", "/activations", API_ANY, API_LIST, list_step,
      "List activation passwords, without the passwords", NULL, output, filters,
      .success = 200, .cursor = "id" },
    { "POST", "/activations", WRITERS, API_CHANGE, NULL,
      "Make an activation password; the answer alone shows it, as `password`, unless "
      "it "
      "is mailed",
      input, output, NULL, .success = 201, .handle = create },
    { "GET", "/activations/{id}", API_ANY, 0, get_step,
      "Read an activation password's record", NULL, output, NULL, .success = 200 },
    { "DELETE", "/activations/{id}", WRITERS, API_CHANGE, withdraw_step,
      "Withdraw an open activation password", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_activations = { "activations", routes, NULL };
