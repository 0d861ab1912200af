/* The login page of federated enrolment ([MS-MDE2] 3.2): plain HTML for old web views,
 * nothing loaded from anywhere, and a last page that hands the token to the client. */
#include "auto.h"
#include "discovery.h"
#include "form.h"
#include "windows.h"
#include <string.h>

#define APPRU_SCHEME "ms-app://"
#define APPRU_MAX (CA_PROVIDER_CONTEXT_MAX - 1) /* octets: a log-in keeps it in mind   \
                                                 */
#define USER_MAX 320
#define LATER_SECONDS "10"

/* Both inline texts are named in the policy by their hash: they are constants. */
#define STYLE                                                                          \
    "body{font-family:Segoe UI,Arial,sans-serif;margin:2em;max-width:24em}"            \
    "label,input,button{display:block;width:100%;box-sizing:border-box;"               \
    "font-size:1em;margin:0.4em 0}input,button{padding:0.5em}"                         \
    ".error{color:#a00000}.terms{white-space:pre-wrap}"
#define SCRIPT "window.onload=function(){document.forms[0].submit();};"

/* A member of the page; all of them are HTML already. */
struct page {
    const char *title, *body;
    const char *form_action; /* where its form may go */
    bool has_script;
    int status;
};

/* No frame-ancestors and no X-Frame-Options: the first start of Windows shows the page
 * in a frame. */
static enum ca_status
headers_send(struct ca_request *req, const struct page *page)
{
    char style[FORM_HASH_SIZE], script[FORM_HASH_SIZE] = "'none'", policy[512];
    if (!form_policy_hash(STYLE, style) ||
        (page->has_script && !form_policy_hash(SCRIPT, script)))
        return ca_fail_openssl(CA_INTERNAL, "cannot hash a page's script");
    snprintf(policy, sizeof policy,
             "default-src 'none'; style-src %s; script-src %s; form-action %s; "
             "base-uri 'none'",
             style, script, page->form_action);
    enum ca_status status = ca_respond_header(req, "Content-Security-Policy", policy);
    if (status == CA_OK)
        status = ca_respond_header(req, "Cache-Control", "no-store");
    if (status == CA_OK)
        status = ca_respond_header(req, "X-Content-Type-Options", "nosniff");
    if (status == CA_OK)
        status = ca_respond_header(req, "Referrer-Policy", "no-referrer");
    return status;
}

/* The template with its parts in place of each \1, as they are. */
static enum ca_status
format(struct ca_request *req, const char **ret_text, const char *template,
       const char *const parts[])
{
    size_t size = strlen(template) + 1;
    for (size_t i = 0; parts[i]; i++)
        size += strlen(parts[i]);
    char *text = ca_request_alloc(req, size), *to = text;
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a page");
    for (; *template; template ++) {
        if (*template == '\1' && *parts)
            to = stpcpy(to, *parts++);
        else
            *to++ = *template;
    }
    *to = '\0';
    *ret_text = text;
    return CA_OK;
}

static enum ca_status
page_send(struct ca_request *req, const struct page *page)
{
    static const char frame[] =
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<title>\1</title>\n<style>" STYLE "</style>\n\1</head>\n<body>\n\1</body>\n"
        "</html>\n";
    const char *html = NULL;
    enum ca_status status =
        format(req, &html, frame,
               (const char *const[]){
                   page->title, page->has_script ? "<script>" SCRIPT "</script>\n" : "",
                   page->body, NULL });
    if (status == CA_OK)
        status = headers_send(req, page);
    if (status != CA_OK)
        return status;
    return ca_respond(req, page->status, "text/html; charset=UTF-8", html,
                      strlen(html));
}

/* Where the token goes is the client's own word: nothing but its scheme, and nothing
 * that could leave the attribute it stands in. */
enum ca_status
discovery_check_appru(const char *appru)
{
    size_t scheme = sizeof APPRU_SCHEME - 1;
    if (!appru || strlen(appru) > APPRU_MAX ||
        strncmp(appru, APPRU_SCHEME, scheme) != 0 || !appru[scheme])
        return ca_fail(CA_MALFORMED, "appru is no " APPRU_SCHEME);
    for (const char *c = appru + scheme; *c; c++) {
        bool is_good = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') ||
                       (*c >= '0' && *c <= '9') || strchr("-._~/:%", *c);
        if (!is_good)
            return ca_fail(CA_MALFORMED, "appru with characters of no client");
    }
    return CA_OK;
}

/* The way to the OpenID provider, at the base URL, where it comes back to. */
static enum ca_status
provider_link(struct ca_request *req, const struct ca_organisation *organisation,
              const char *appru, const char **ret_html)
{
    static const char template[] =
        "<p><a href=\"\1" WINDOWS_PROVIDER_PATH "?appru=\1\">Log in with \1</a></p>\n";
    const char *name = ca_provider_name(req);
    *ret_html = "";
    if (!name || !*organisation->base_url)
        return CA_OK;
    char coded[3 * APPRU_MAX + 1], *to = coded;
    for (const char *c = appru; *c; c++) /* checked: of few characters */
        to += sprintf(to, *c == '%' ? "%%25" : "%c", *c);
    *to = '\0';
    const char *base = form_escape(req, organisation->base_url);
    const char *back = form_escape(req, coded), *who = form_escape(req, name);
    if (!base || !back || !who)
        return ca_fail(CA_INTERNAL, "no memory for a page");
    return format(req, ret_html, template,
                  (const char *const[]){ base, back, who, NULL });
}

/* Relative, so that it also works behind a proxy that serves it under another path. */
static enum ca_status
form_send(const struct discovery *discovery, struct ca_request *req, const char *appru,
          const char *user, const char *error)
{
    static const char template[] =
        "<h1>\1</h1>\n\1\1<form method=\"post\" action=\"login-agent\">\n"
        "<input type=\"hidden\" name=\"appru\" value=\"\1\">\n"
        "<label for=\"user\">User name</label>\n"
        "<input id=\"user\" name=\"user\" type=\"text\" value=\"\1\" "
        "autocomplete=\"username\">\n"
        "<label for=\"password\">Password</label>\n"
        "<input id=\"password\" name=\"password\" type=\"password\" "
        "autocomplete=\"current-password\">\n"
        "<button type=\"submit\">Continue</button>\n</form>\n\1";
    struct ca_organisation organisation;
    enum ca_status status = ca_organisation(req, &organisation);
    if (status != CA_OK)
        return status;
    const char *name = form_escape(req, organisation.name);
    const char *terms = form_escape(req, discovery->terms);
    const char *back = form_escape(req, appru), *who = form_escape(req, user);
    if (!name || !terms || !back || !who)
        return ca_fail(CA_INTERNAL, "no memory for a page");
    const char *terms_html = "", *error_html = "", *link_html = "", *body = NULL;
    status = provider_link(req, &organisation, appru, &link_html);
    if (status == CA_OK && *terms)
        status = format(req, &terms_html, "<p class=\"terms\">\1</p>\n",
                        (const char *const[]){ terms, NULL });
    if (status == CA_OK && error)
        status = format(req, &error_html, "<p class=\"error\">\1</p>\n",
                        (const char *const[]){ error, NULL });
    if (status == CA_OK)
        status = format(req, &body, template,
                        (const char *const[]){ name, error_html, terms_html, back, who,
                                               link_html, NULL });
    if (status != CA_OK)
        return status;
    return page_send(
        req, &(struct page){
                 .title = name, .body = body, .form_action = "'self'", .status = 200 });
}

/* [MS-MDE2] 3.2: a form that the page submits itself, and a button where scripts do not
 * run. The client encodes wresult in base64 by itself. */
enum ca_status
discovery_token_send(struct ca_request *req, const char *appru, const char *token)
{
    static const char template[] =
        "<form method=\"post\" action=\"\1\">\n"
        "<p><input type=\"hidden\" name=\"wresult\" value=\"\1\"/></p>\n"
        "<button type=\"submit\">Continue</button>\n</form>\n";
    const char *body = NULL;
    const char *back = form_escape(req, appru), *value = form_escape(req, token);
    if (!back || !value)
        return ca_fail(CA_INTERNAL, "no memory for a page");
    enum ca_status status =
        format(req, &body, template, (const char *const[]){ back, value, NULL });
    if (status != CA_OK)
        return status;
    return page_send(req, &(struct page){ .title = "Working...",
                                          .body = body,
                                          .form_action = "ms-app:",
                                          .has_script = true,
                                          .status = 200 });
}

/* What cannot be answered by a form: no client of ours, or nothing to say now. */
enum ca_status
discovery_refuse_send(struct ca_request *req, enum ca_status status, const char *text)
{
    bool is_later = status == CA_UNAVAILABLE;
    if (status == CA_INTERNAL)
        return status;
    if (is_later && ca_respond_header(req, "Retry-After", LATER_SECONDS) != CA_OK)
        return CA_INTERNAL;
    if (!is_later && !text)
        ca_refused(req, "discovery", "", "malformed", false);
    if (is_later)
        text = "<p>The service cannot answer now. Try again in a moment.</p>\n";
    struct page page = { .title = is_later ? "Try again"
                                  : text   ? "Not logged in"
                                           : "Not understood",
                         .body = text ? text
                                      : "<p>This page is opened by the enrolment of "
                                        "Windows alone.</p>\n",
                         .form_action = "'none'",
                         .status = is_later ? 503
                                   : text   ? 403
                                            : 400 };
    enum ca_status sent = page_send(req, &page);
    return sent == CA_OK ? status : sent;
}

/* ?appru=ms-app://...&login_hint=alice@example.com */
enum ca_status
discovery_login_get(void *state, struct ca_request *req)
{
    const char *appru = NULL, *hint = NULL;
    enum ca_status status = ca_request_query(req, "appru", &appru);
    if (status == CA_OK)
        status = ca_request_query(req, "login_hint", &hint);
    if (status == CA_OK)
        status = discovery_check_appru(appru);
    if (status != CA_OK)
        return discovery_refuse_send(req, status, NULL);
    bool is_usable = hint && strlen(hint) <= USER_MAX;
    return form_send(state, req, appru, is_usable ? hint : "", NULL);
}

struct login {
    const char *appru, *user, *password;
};

static enum ca_status
login_read(struct ca_request *req, struct login *login)
{
    enum ca_status status = form_value(req, "appru", &login->appru);
    if (status == CA_OK)
        status = form_value(req, "user", &login->user);
    if (status == CA_OK)
        status = form_value(req, "password", &login->password);
    if (status == CA_OK)
        status = discovery_check_appru(login->appru);
    if (status == CA_OK &&
        (!login->user || !login->password || strlen(login->user) > USER_MAX))
        return ca_fail(CA_MALFORMED, "a login form without user or password");
    return status;
}

enum ca_status
discovery_login_post(void *state, struct ca_request *req)
{
    const struct discovery *discovery = state;
    struct login login = { 0 };
    const char *token = NULL;
    enum ca_status status = login_read(req, &login);
    if (status != CA_OK)
        return discovery_refuse_send(req, status == CA_LIMIT ? CA_MALFORMED : status,
                                     NULL);
    struct ca_credential credential = { .kind = CA_CREDENTIAL_PASSWORD,
                                        .protocol = "discovery",
                                        .message = "login",
                                        .endpoint = "",
                                        .user = login.user,
                                        .secret = login.password,
                                        .secret_size = strlen(login.password) };
    status = ca_authenticate(req, &credential);
    if (status == CA_OK)
        status = ca_login_token_issue(req, discovery->login_seconds, &token);
    if (status == CA_OK)
        return discovery_token_send(req, login.appru, token);
    if (status == CA_UNAVAILABLE || status == CA_INTERNAL)
        return discovery_refuse_send(req, status, NULL);
    /* Unknown, wrong, locked, disabled: one text. */
    enum ca_status sent = form_send(discovery, req, login.appru, login.user,
                                    "User name or password is wrong.");
    return sent == CA_OK ? status : sent;
}
