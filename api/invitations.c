/* /users/{name}/invitation: a mail with a link by which a user sets the self-service
 * password. The code is in the mail alone. */
#include "api.h"
#include "auto.h"
#include "clock.h"
#include "invitation.h"
#include "mail.h"
#include <openssl/crypto.h>

struct new_invitation {
    int64_t expires_in;
};

static const struct field invitation_fields[] = {
    { FIELD(new_invitation, expires_in), .type = FIELD_DURATION, .min = 60,
      .max = INVITATION_SECONDS_MAX, .initial = "\"P2D\"",
      .help = "How long link and code may be used, from now." },
    FIELD_END,
};

struct invitation_out {
    char *user;
    int64_t expires;
};

static const struct field out_fields[] = {
    { FIELD(invitation_out, user), .type = FIELD_TEXT, .help = "The user." },
    { FIELD(invitation_out, expires), .type = FIELD_TIME,
      .help = "From then on link and code are worth nothing." },
    FIELD_END,
};

struct invitation_step {
    const char *code;
    int64_t expires;
    const struct mail_draft *draft;
};

static enum ca_status
create_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    char expires[21];
    const struct invitation_step *step = arg;
    const char *user = call->parameters[0];
    enum ca_status status = invitation_save(tx, user, step->code, step->expires);
    if (status == CA_OK)
        status = mail_enqueue(tx, step->draft);
    if (status == CA_OK)
        status = api_audit(tx, call, "user.invite", NULL, "user:%s", user);
    if (status != CA_OK)
        return status;
    time_format(step->expires, expires);
    return api_answer_json(call,
                           json_pack("{s:s, s:s}", "user", user, "expires", expires));
}

/* The mail's secret is sealed before the store is asked to write. */
static enum ca_status
invite(struct api_call *call, struct invitation_step *step)
{
    CA_AUTO(mail_draft_free) struct mail_draft *draft = NULL;
    const struct mail_invitation invitation = {
        .user = call->parameters[0],
        .code = step->code,
        .expires = step->expires,
        .created_by = call->exchange->identity.admin.name,
    };
    enum ca_status status =
        mail_invitation(call->exchange->service, &invitation, &draft);
    step->draft = draft;
    return status == CA_OK ? api_write(call, create_step, step) : status;
}

static enum ca_status
create(struct api_call *call)
{
    char code[INVITATION_CODE_SIZE];
    struct new_invitation body = { 0 };
    enum ca_status status = api_decode(call, invitation_fields, &body);
    if (status == CA_OK)
        status = invitation_draw(code);
    if (status != CA_OK)
        return status;
    struct invitation_step step = { .code = code,
                                    .expires = clock_now() + body.expires_in };
    status = invite(call, &step);
    OPENSSL_cleanse(code, sizeof code);
    return status;
}

static enum ca_status
withdraw_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    enum ca_status status = invitation_withdraw(tx, api_key(call));
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "user.invite_withdraw", NULL, "user:%s", api_key(call));
}

static const struct field *
input(void)
{
    return invitation_fields;
}

static const struct field *
output(void)
{
    return out_fields;
}

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

static const struct api_route routes[] = {
    { "POST", "/users/{name}/invitation", WRITERS, API_CHANGE | API_REPEAT, NULL,
      "Mail a link by which a local user sets the self-service password", input, output,
      NULL, .success = 201, .handle = create },
    { "DELETE", "/users/{name}/invitation", WRITERS, API_CHANGE, withdraw_step,
      "Withdraw a user's open invitation", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_invitations = { "invitations", routes, NULL };
