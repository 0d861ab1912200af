/* /mail and /mail-templates: what waits for the mail server, and what mails say. */
#include "api.h"
#include "auto.h"
#include "letter.h"
#include "mail.h"
#include "mail_render.h"
#include "mime.h"
#include "outbox.h"
#include <string.h>

/* ---- The outbox ---- */

static enum ca_status
mail_answer(struct store_tx *tx, struct api_call *call, const char *id)
{
    struct outbox mail = { 0 };
    enum ca_status status = outbox_load(tx, id, &mail);
    if (status == CA_OK)
        status = api_answer_record(call, outbox_fields, &mail, &mail.stamp);
    outbox_clear(&mail);
    return status;
}

static enum ca_status
get_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    return mail_answer(tx, call, api_key(call));
}

static enum ca_status
list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    struct outbox_filter filter = { .user = api_query_text(call, "user"),
                                    .state = api_query_text(call, "state"),
                                    .template = api_query_text(call, "template") };
    return outbox_list(tx, &filter, &list->page, api_list_visit, list);
}

static enum ca_status
retry_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    enum ca_status status = outbox_retry(tx, api_key(call));
    if (status == CA_OK)
        status = api_audit(tx, call, "mail.retry", NULL, "mail:%s", api_key(call));
    return status == CA_OK ? mail_answer(tx, call, api_key(call)) : status;
}

static enum ca_status
withdraw_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    enum ca_status status = outbox_withdraw(tx, api_key(call));
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "mail.withdraw", NULL, "mail:%s", api_key(call));
}

struct test_request {
    char *recipient;
};

static bool
check_recipient(const void *member, char *ret_reason, size_t size)
{
    snprintf(ret_reason, size, "must be a mail address in ASCII");
    return mime_address_is_good(*(char *const *)member);
}

static const struct field test_fields[] = {
    { FIELD(test_request, recipient), .type = FIELD_TEXT, .flags = FIELD_REQUIRED,
      .min = 3, .max = MIME_ADDRESS_MAX, .check = check_recipient,
      .help = "Where it goes." },
    FIELD_END,
};

static enum ca_status
test_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    char id[OUTBOX_ID_SIZE] = "";
    const struct test_request *request = arg;
    enum ca_status status = mail_test(tx, call->exchange->service, request->recipient,
                                      call->exchange->identity.admin.name, id);
    if (status == CA_OK)
        status = api_audit(tx, call, "mail.test", NULL, "mail:%s", id);
    if (status == CA_OK)
        status = mail_answer(tx, call, id);
    if (status == CA_OK)
        api_answer_location(call, "/mail/%s", id);
    return status;
}

static enum ca_status
test(struct api_call *call)
{
    struct test_request request = { 0 };
    enum ca_status status = api_decode(call, test_fields, &request);
    if (status == CA_OK)
        status = api_write(call, test_step, &request);
    field_clear(test_fields, &request);
    return status;
}

/* ---- Templates ---- */

static enum ca_status
template_load(struct store_tx *tx, const char *name, void *ret_letter)
{
    return letter_load(tx, name, ret_letter);
}

static enum ca_status
template_save(struct store_tx *tx, void *letter)
{
    return letter_save(tx, letter);
}

static enum ca_status
letter_rules(struct api_call *call, const void *letter)
{
    letter_check(letter, &call->errors);
    return call->errors.count == 0
               ? CA_OK
               : ca_fail(CA_MALFORMED, "%s %s", call->errors.items[0].pointer + 1,
                         call->errors.items[0].reason);
}

static enum ca_status
template_list_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)call;
    struct api_list *list = arg;
    return letter_list(tx, &list->page, api_list_visit, list);
}

static enum ca_status
versions_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    struct api_list *list = arg;
    return letter_versions(tx, call->parameters[0], &list->page, api_list_visit, list);
}

static void
letter_clear_auto(struct letter *letter)
{
    letter_clear(letter);
}

static enum ca_status
reset_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    const char *name = call->parameters[0];
    CA_AUTO(letter_clear) struct letter before = { 0 }, after = { 0 };
    enum ca_status status = letter_load(tx, name, &before);
    if (status == CA_OK)
        status = api_check_version(call, before.stamp.version);
    if (status == CA_OK)
        status = letter_reset(tx, name, before.stamp.version);
    if (status == CA_OK)
        status =
            api_audit(tx, call, "mail_template.reset", NULL, "mail_template:%s", name);
    if (status == CA_OK)
        status = letter_load(tx, name, &after);
    if (status != CA_OK)
        return status;
    return api_answer_record(call, letter_fields, &after, &after.stamp);
}

/* ---- Preview ---- */

struct preview {
    char *subject, *text, *html;
};

static const struct field preview_fields[] = {
    { FIELD(preview, subject), .type = FIELD_TEXT, .min = 1, .max = LETTER_SUBJECT_MAX,
      .help = "In place of the template's; in the answer with values filled in." },
    { FIELD(preview, text), .type = FIELD_TEXT, .flags = FIELD_LINES, .min = 1,
      .max = LETTER_TEXT_MAX, .help = "Likewise." },
    { FIELD(preview, html), .type = FIELD_TEXT, .flags = FIELD_LINES, .min = 1,
      .max = LETTER_TEXT_MAX,
      .help = "Likewise; in the answer with the picture inside as SVG." },
    FIELD_END,
};

/* What stands in the body counts; the rest is what holds now. */
static void
preview_over(struct preview *body, struct letter *letter)
{
    char **const from[] = { &body->subject, &body->text, &body->html };
    char **const to[] = { &letter->subject, &letter->text, &letter->html };
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        if (!*from[i])
            continue;
        free(*to[i]);
        *to[i] = CA_STEAL(*from[i]);
    }
}

static enum ca_status
preview_make(struct api_call *call, const struct letter *letter)
{
    const char *secret = NULL;
    struct mail_text text = { 0 };
    CA_AUTO(json_decref)
    json_t *content = mail_sample(letter_kind_find(letter->name), &secret);
    if (!content)
        return ca_fail(CA_INTERNAL, "no memory for a preview");
    enum ca_status status = mail_text_make(letter, content, secret, true, &text);
    if (status == CA_OK)
        status =
            api_answer_json(call, json_pack("{s:s, s:s, s:s?}", "subject", text.subject,
                                            "text", text.text, "html", text.html));
    mail_text_clear(&text);
    return status;
}

static enum ca_status
preview_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    CA_AUTO(letter_clear) struct letter letter = { 0 };
    enum ca_status status = letter_load(tx, call->parameters[0], &letter);
    if (status != CA_OK)
        return status;
    preview_over(arg, &letter);
    status = letter_rules(call, &letter);
    return status == CA_OK ? preview_make(call, &letter) : status;
}

static enum ca_status
preview(struct api_call *call)
{
    struct preview body = { 0 };
    enum ca_status status = api_decode(call, preview_fields, &body);
    if (status == CA_OK)
        status = api_read(call, preview_step, &body);
    field_clear(preview_fields, &body);
    return status;
}

/* ---- The tables ---- */

static const struct field *
fields(void)
{
    return outbox_fields;
}

static const struct field *
template_fields(void)
{
    return letter_fields;
}

static const struct field *
test_input(void)
{
    return test_fields;
}

static const struct field *
preview_table(void)
{
    return preview_fields;
}

static const struct api_query filters[] = {
    { "user", "To this user." },
    { "state", "waiting, sent, failed, expired or withdrawn." },
    { "template", "Made by this template." },
    { NULL, NULL },
};

#define WRITERS (API_ADMINISTRATOR | API_OPERATOR)

static const struct api_kind kind = {
    .noun = "mail_template",
    .path = "/mail-templates",
    .fields = template_fields,
    .size = sizeof(struct letter),
    .key_offset = offsetof(struct letter, name),
    .stamp_offset = offsetof(struct letter, stamp),
    .load = template_load,
    .update = template_save,
    .check = letter_rules,
};

static const struct api_route routes[] = {
    { "GET", "/mail", API_ANY, API_LIST, list_step, "List mails without what they say",
      NULL, fields, filters, .success = 200, .cursor = "id" },
    { "POST", "/mail/test", API_ADMINISTRATOR, API_CHANGE | API_REPEAT, NULL,
      "Send a mail that only says that mail works", test_input, fields, NULL,
      .success = 201, .handle = test },
    { "GET", "/mail/{id}", API_ANY, 0, get_step, "Read what became of a mail", NULL,
      fields, NULL, .success = 200 },
    { "POST", "/mail/{id}/retry", WRITERS, API_CHANGE | API_REPEAT, retry_step,
      "Hand a waiting or failed mail over now", NULL, fields, NULL, .success = 200 },
    { "DELETE", "/mail/{id}", WRITERS, API_CHANGE, withdraw_step,
      "Withdraw a mail that was not sent; wipes what it says", NULL, NULL, NULL,
      .success = 204 },
    { "GET", "/mail-templates", API_ANY, API_LIST, template_list_step,
      "List mail templates", NULL, template_fields, NULL, .success = 200,
      .cursor = "name" },
    { "GET", "/mail-templates/{name}", API_ANY, 0, api_kind_get, "Read a mail template",
      NULL, template_fields, NULL, .success = 200 },
    { "PUT", "/mail-templates/{name}", API_ADMINISTRATOR, API_CHANGE | API_IF_MATCH,
      api_kind_put, "Replace a mail template", template_fields, template_fields, NULL,
      .success = 200 },
    { "PATCH", "/mail-templates/{name}", API_ADMINISTRATOR, API_CHANGE | API_IF_MATCH,
      api_kind_patch, "Change members of a mail template", template_fields,
      template_fields, NULL, .success = 200 },
    { "POST", "/mail-templates/{name}/reset", API_ADMINISTRATOR,
      API_CHANGE | API_REPEAT, reset_step, "Take the program's own text again", NULL,
      template_fields, NULL, .success = 200 },
    { "POST", "/mail-templates/{name}/preview", API_ANY, API_CHANGE | API_REPEAT, NULL,
      "Show a template, or what it would be, with sample values", preview_table,
      preview_table, NULL, .success = 200, .handle = preview },
    { "GET", "/mail-templates/{name}/versions", API_ANY, API_LIST, versions_step,
      "List the versions of a mail template", NULL, template_fields, NULL,
      .success = 200, .cursor = "version" },
    { .method = NULL },
};
const struct api_resource api_mails = { "mails", routes, &kind };
