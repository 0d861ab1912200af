/* Mails from templates: values are escaped where they go into HTML, and none can leave
 * its place. */
#include "mail_render.h"
#include "auto.h"
#include "mime.h"
#include "qr.h"
#include "template.h"
#include "text.h"
#include <string.h>

#define EXPANDED_MAX (256 * 1024)
#define PICTURE_HTML "<img src=\"cid:" MIME_PICTURE_ID "\" alt=\"QR code of the link\">"

void
mail_time_format(int64_t seconds, char ret_text[MAIL_TIME_SIZE])
{
    char text[21];
    time_format(seconds, text);
    snprintf(ret_text, MAIL_TIME_SIZE, "%.10s %.5s UTC", text, text + 11);
}

void
mail_text_clear(struct mail_text *text)
{
    secret_free(text->subject);
    secret_free(text->text);
    secret_free(text->html);
    text_buffer_clear(&text->link);
    *text = (struct mail_text){ 0 };
}

/* ---- The link ---- */

/* RFC 3986 section 2.3: all but the unreserved characters. */
static void
percent_append(struct text_buffer *to, const char *text)
{
    for (; *text; text++) {
        bool is_unreserved = (*text >= 'a' && *text <= 'z') ||
                             (*text >= 'A' && *text <= 'Z') ||
                             (*text >= '0' && *text <= '9') || strchr("-._~", *text);
        if (is_unreserved)
            text_append(to, text, 1);
        else
            text_print(to, "%%%02X", (unsigned)(unsigned char)*text);
    }
}

static void
link_member(struct text_buffer *to, const char *name, const char *value)
{
    if (!value || !*value)
        return;
    text_print(to, "&%s=", name);
    percent_append(to, value);
}

static const char *
content_text(const json_t *content, const char *name)
{
    return json_string_value(json_object_get(content, name));
}

enum ca_status
mail_link_make(const json_t *content, const char *password,
               struct text_buffer *ret_link)
{
    const char *base = content_text(content, "activation.url");
    if (!base)
        return ca_fail(CA_INTERNAL, "a mail without the address of its server");
    text_print(ret_link, "%s/activate#v=1", base);
    link_member(ret_link, "user", content_text(content, "link.login"));
    link_member(ret_link, "ref", content_text(content, "link.ref"));
    link_member(ret_link, "server", content_text(content, "link.server"));
    link_member(ret_link, "password", password);
    if (ret_link->failed)
        return ca_fail(CA_INTERNAL, "no memory for a link");
    if (ret_link->size > QR_TEXT_MAX)
        return ca_fail(CA_LIMIT, "an activation link of %zu octets, at most %d",
                       ret_link->size, QR_TEXT_MAX);
    return CA_OK;
}

/* ---- Variables ---- */

struct values {
    const json_t *content;
    const char *secret, *link, *picture; /* or NULL */
    bool is_html;
    struct text_buffer value; /* the one that was asked for last */
};

static void
clean_append(struct text_buffer *to, const char *text)
{
    for (; *text; text++)
        text_append(to, (unsigned char)*text < 0x20 || *text == 0x7f ? " " : text, 1);
}

static void
invitation_link(const struct values *values, struct text_buffer *to)
{
    const char *url = content_text(values->content, "invitation.url");
    if (url && values->secret)
        text_print(to, "%s#%s", url, values->secret);
}

static const char *
look_up(const char *name, void *arg)
{
    struct values *values = arg;
    CA_AUTO(text_buffer_clear) struct text_buffer made = { 0 };
    const char *value = content_text(values->content, name);
    text_buffer_clear(&values->value);
    if (strcmp(name, "activation.qr") == 0)
        return values->picture;
    if (strcmp(name, "activation.password") == 0 ||
        strcmp(name, "invitation.code") == 0)
        value = values->secret;
    else if (strcmp(name, "activation.link") == 0)
        value = values->link;
    else if (strcmp(name, "invitation.link") == 0) {
        invitation_link(values, &made);
        value = made.data;
    }
    if (!value)
        return NULL;
    if (values->is_html)
        text_append_html(&values->value, value);
    else
        clean_append(&values->value, value);
    text_append(&values->value, "", 0);
    return values->value.failed ? NULL : values->value.data;
}

static enum ca_status
fill(const char *template, struct values *values, bool is_html, char **ret_text)
{
    values->is_html = is_html;
    enum ca_status status =
        template_expand_letter(template, look_up, values, EXPANDED_MAX, ret_text);
    text_buffer_clear(&values->value);
    return status;
}

static enum ca_status
fill_all(const struct letter *letter, struct values *values, struct mail_text *text)
{
    enum ca_status status = fill(letter->subject, values, false, &text->subject);
    if (status == CA_OK)
        status = fill(letter->text, values, false, &text->text);
    if (status == CA_OK && letter->html)
        status = fill(letter->html, values, true, &text->html);
    return status;
}

enum ca_status
mail_text_make(const struct letter *letter, const json_t *content, const char *secret,
               bool is_preview, struct mail_text *ret_text)
{
    struct mail_text text = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer svg = { 0 };
    struct values values = { .content = content, .secret = secret };
    enum ca_status status = CA_OK;
    if (content_text(content, "activation.url"))
        status = mail_link_make(content, secret, &text.link);
    if (status == CA_OK && text.link.data && is_preview)
        status = qr_svg(text.link.data, &svg);
    values.link = text.link.data;
    values.picture = is_preview ? svg.data : PICTURE_HTML;
    if (status == CA_OK)
        status = fill_all(letter, &values, &text);
    if (status != CA_OK) {
        mail_text_clear(&text);
        return status;
    }
    *ret_text = text;
    return CA_OK;
}

json_t *
mail_sample(const struct letter_kind *kind, const char **ret_secret)
{
    json_t *content = json_object();
    *ret_secret = NULL;
    for (const struct letter_variable *variable = kind->variables;
         content && variable->name; variable++) {
        bool is_secret = strcmp(variable->name, "activation.password") == 0 ||
                         strcmp(variable->name, "invitation.code") == 0;
        if (is_secret)
            *ret_secret = variable->sample;
        else
            json_object_set_new(content, variable->name, json_string(variable->sample));
    }
    const char *login = content_text(content, "user.email");
    if (content && login)
        json_object_set_new(content, "link.login", json_string(login));
    return content;
}

/* ---- Octets ---- */

enum ca_status
mail_render(const struct config_mail *server, const char *from_name,
            const struct outbox *mail, const struct mail_text *text,
            struct text_buffer *ret_octets)
{
    CA_AUTO(text_buffer_clear) struct text_buffer picture = { 0 };
    bool has_picture = text->html && strstr(text->html, "cid:" MIME_PICTURE_ID);
    if (has_picture && text->link.data) {
        enum ca_status status = qr_png(text->link.data, &picture);
        if (status != CA_OK)
            return status;
    }
    return mime_compose(&(struct mime_message){ .from = server->from,
                                                .from_name = server->from_name
                                                                 ? server->from_name
                                                                 : from_name,
                                                .to = mail->recipient,
                                                .subject = text->subject,
                                                .id = mail->id,
                                                .date = mail->stamp.created,
                                                .text = text->text,
                                                .html = text->html,
                                                .picture = picture.data,
                                                .picture_size = picture.size },
                        ret_octets);
}
