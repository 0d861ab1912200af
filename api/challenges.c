/* /challenges: one-time SCEP secrets, shown once. */
#include "api.h"
#include "challenge.h"
#include "names.h"
#include <string.h>

/* The record and, once, its secret and where to use it. */
static enum ca_status
answer_with_secret(struct api_call *call, const struct challenge *challenge,
                   const char *text)
{
    json_t *body = field_encode(challenge_fields, challenge);
    CA_AUTO(free)
    char *url = service_url(call->exchange->service, "scep", challenge->profile, "");
    if (!body || !url ||
        json_object_set_new(body, "challenge", json_string(text)) != 0 ||
        json_object_set_new(body, "url", json_string(url)) != 0) {
        json_decref(body);
        return ca_fail(CA_INTERNAL, "no memory for a challenge");
    }
    call->answer.version = challenge->stamp.version;
    return api_answer_json(call, body);
}

static enum ca_status
create_record(struct store_tx *tx, struct api_call *call, struct challenge *challenge)
{
    char text[CHALLENGE_TEXT_SIZE] = "";
    enum ca_status status = api_decode(call, challenge_fields, challenge);
    if (status == CA_OK)
        status = names_check_granted(challenge->subject, &challenge->san);
    if (status == CA_OK)
        challenge->created_by = strdup(call->exchange->identity.admin.name);
    if (status == CA_OK && !challenge->created_by)
        status = ca_fail(CA_INTERNAL, "no memory for a challenge");
    if (status == CA_OK)
        status = challenge_insert(tx, challenge, text);
    if (status == CA_OK)
        status =
            api_audit(tx, call, "challenge.create",
                      json_pack("{s:s, s:s, s:s*}", "user", challenge->user, "profile",
                                challenge->profile, "device", challenge->device),
                      "challenge:%s", challenge->id);
    if (status == CA_OK) {
        api_answer_location(call, "/challenges/%s", challenge->id);
        status = answer_with_secret(call, challenge, text);
    }
    OPENSSL_cleanse(text, sizeof text);
    return status;
}

static enum ca_status
create_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct challenge challenge = { 0 };
    enum ca_status status = create_record(tx, call, &challenge);
    challenge_clear(&challenge);
    return status;
}

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    struct challenge challenge = { 0 };
    enum ca_status status = challenge_load(tx, api_key(call), &challenge);
    if (status == CA_OK)
        status =
            api_answer_record(call, challenge_fields, &challenge, &challenge.stamp);
    challenge_clear(&challenge);
    return status;
}

static enum ca_status
withdraw_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    enum ca_status status = challenge_withdraw(tx, api_key(call));
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "challenge.withdraw", NULL, "challenge:%s",
                     api_key(call));
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return challenge_list(tx, api_query_text(call, "user"),
                          api_query_text(call, "state"), &list->page, api_list_visit,
                          list);
}

static const struct field *
fields(void)
{
    return challenge_fields;
}

static const struct api_query filters[] = {
    { "user", "Of this user." },
    { "state", "open, claimed, used, withdrawn, locked or expired." },
    { NULL, NULL },
};

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

static const struct api_route routes[] = {
    { "GET", "/challenges", API_ANY, API_LIST, list_step,
      "List challenges without secrets", NULL, fields, filters, .success = 200,
      .cursor = "id" },
    { "POST", "/challenges", WRITERS, API_CHANGE | API_REPEAT, create_step,
      "Create a challenge; the answer alone shows its secret, as `challenge`, and the "
      "`url` to use it at",
      fields, fields, NULL, .success = 201 },
    { "GET", "/challenges/{id}", API_ANY, 0, get_step, "Read a challenge", NULL, fields,
      NULL, .success = 200 },
    { "DELETE", "/challenges/{id}", WRITERS, API_CHANGE, withdraw_step,
      "Withdraw an open challenge", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_challenges = { "challenges", routes, NULL };
