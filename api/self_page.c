/* The frame of the self-service pages: headers, style, and the pieces they are made of.
 */
#include "audit.h"
#include "auto.h"
#include "form.h"
#include "self.h"
#include <stdarg.h>
#include <string.h>

/* Both inline texts are named in the policy by their hash: they are constants. */
#define STYLE                                                                          \
    "body{font-family:sans-serif;line-height:1.5;margin:2em auto;max-width:46em;"      \
    "padding:0 1em;color:#1a1a1a;background:#fff}"                                     \
    "label{display:block;margin-top:.8em;font-weight:bold}"                            \
    "input{font-size:1em;padding:.4em;width:100%;max-width:26em;box-sizing:border-"    \
    "box;"                                                                             \
    "border:1px solid #555}button{font-size:1em;padding:.5em 1em;margin-top:1em}"      \
    "table{border-collapse:collapse;width:100%}"                                       \
    "th,td{text-align:left;padding:.3em .6em;border-bottom:1px solid #999}"            \
    "caption{text-align:left;font-weight:bold}"                                        \
    ".error{border:2px solid #a00000;padding:.5em 1em}"                                \
    ".done{border:2px solid #00600f;padding:.5em 1em}"                                 \
    "a:focus,button:focus,input:focus{outline:3px solid #0b57d0;outline-offset:2px}"
/* The code never leaves the browser before the form is sent. */
#define SCRIPT                                                                         \
    "window.addEventListener('DOMContentLoaded',function(){"                           \
    "var c=location.hash.slice(1);if(c){document.getElementById('code').value=c;"      \
    "history.replaceState(null,'',location.pathname);"                                 \
    "document.getElementById('new').focus();}});"
#define ANSWER_MAX (256 * 1024)
#define TRANSPORT_SECONDS "31536000" /* a year */

void
self_put(struct self_page *page, const char *text)
{
    text_append_html(&page->body, text ? text : "");
}

void
self_print(struct self_page *page, const char *html, ...)
{
    char text[2048];
    va_list arguments;
    va_start(arguments, html);
    int size = vsnprintf(text, sizeof text, html, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof text)
        page->body.failed = true;
    else
        text_append(&page->body, text, (size_t)size);
}

void
self_form_begin(struct self_page *page, const char *action, const char *token)
{
    self_print(page,
               "<form method=\"post\" action=\"%s\">\n"
               "<input type=\"hidden\" name=\"token\" value=\"%s\">\n",
               action, token);
}

void
self_input(struct self_page *page, const char *label, const char *name,
           const char *attributes)
{
    self_print(page, "<label for=\"%s\">%s</label>\n<input id=\"%s\" name=\"%s\" %s>\n",
               name, label, name, name, attributes);
}

void
self_error(struct self_page *page, const char *text)
{
    if (!text)
        return;
    self_print(page, "<p class=\"error\" role=\"alert\">");
    self_put(page, text);
    self_print(page, "</p>\n");
}

void
self_done(struct self_page *page, const char *text)
{
    if (text)
        self_print(page, "<p class=\"done\" role=\"status\">%s</p>\n", text);
}

/* RFC 6797. The pages are served over TLS alone; what else this host name has is not
 * ours to decide: no includeSubDomains. */
static enum ca_status
strict_send(struct ca_request *req)
{
    return ca_respond_header(req, "Strict-Transport-Security",
                             "max-age=" TRANSPORT_SECONDS);
}

static enum ca_status
headers_send(struct ca_request *req, const struct self_page *page)
{
    char style[FORM_HASH_SIZE], script[FORM_HASH_SIZE] = "'none'", policy[512];
    if (!form_policy_hash(STYLE, style) ||
        (page->fills_code && !form_policy_hash(SCRIPT, script)))
        return ca_fail_openssl(CA_INTERNAL, "cannot hash a page's style");
    snprintf(policy, sizeof policy,
             "default-src 'none'; style-src %s; script-src %s; form-action 'self'; "
             "base-uri 'none'; frame-ancestors 'none'",
             style, script);
    const struct {
        const char *name, *value;
    } headers[] = {
        { "Content-Security-Policy", policy },
        { "Cache-Control", "no-store" },
        { "X-Content-Type-Options", "nosniff" },
        { "X-Frame-Options", "DENY" },
        { "Referrer-Policy", "no-referrer" },
        { "Cross-Origin-Opener-Policy", "same-origin" },
    };
    enum ca_status status = strict_send(req);
    for (size_t i = 0; status == CA_OK && i < sizeof headers / sizeof *headers; i++)
        status = ca_respond_header(req, headers[i].name, headers[i].value);
    return status;
}

enum ca_status
self_page_send(struct exchange *exchange, struct self_page *page)
{
    struct ca_organisation organisation;
    CA_AUTO(text_buffer_clear) struct text_buffer html = { 0 };
    enum ca_status status = ca_organisation(&exchange->request, &organisation);
    text_print(&html,
               "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
               "<meta name=\"viewport\" content=\"width=device-width, "
               "initial-scale=1\">\n<title>%s - ",
               page->title);
    text_append_html(&html, status == CA_OK ? organisation.name : "");
    text_print(&html, "</title>\n<style>%s</style>\n", STYLE);
    if (page->fills_code)
        text_print(&html, "<script>%s</script>\n", SCRIPT);
    if (page->goes_on)
        text_print(&html, "<meta http-equiv=\"refresh\" content=\"0;url=./\">\n");
    text_print(&html, "</head>\n<body>\n<main>\n");
    text_append(&html, page->body.data ? page->body.data : "", page->body.size);
    text_print(&html, "</main>\n</body>\n</html>\n");
    bool is_whole = !html.failed && !page->body.failed && html.size < ANSWER_MAX;
    text_buffer_clear(&page->body);
    if (status == CA_OK && !is_whole)
        status = ca_fail(CA_INTERNAL, "no memory for a page");
    if (status == CA_OK)
        status = headers_send(&exchange->request, page);
    if (status != CA_OK)
        return status;
    return ca_respond(&exchange->request, page->status ? page->status : 200,
                      "text/html; charset=UTF-8", html.data, html.size);
}

enum ca_status
self_redirect(struct exchange *exchange, const char *to)
{
    enum ca_status status = strict_send(&exchange->request);
    if (status == CA_OK)
        status = ca_respond_header(&exchange->request, "Location", to);
    if (status == CA_OK)
        status = ca_respond_header(&exchange->request, "Cache-Control", "no-store");
    return status == CA_OK ? ca_respond(&exchange->request, 303, NULL, NULL, 0)
                           : status;
}

enum ca_status
self_audit(struct store_tx *tx, const struct exchange *exchange, const char *user,
           const char *action, const char *object, json_t *detail)
{
    CA_AUTO(json_decref) json_t *owned = detail;
    CA_AUTO(free) char *actor = NULL;
    if (asprintf(&actor, "user:%s", user) < 0) {
        actor = NULL;
        return ca_fail(CA_INTERNAL, "no memory for an audit entry");
    }
    return audit_append(tx, &(struct audit_entry){ .action = action,
                                                   .actor = actor,
                                                   .object = object ? object : actor,
                                                   .protocol = "self",
                                                   .request = exchange->request.id,
                                                   .outcome = "ok",
                                                   .detail = owned });
}
