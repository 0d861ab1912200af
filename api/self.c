/* The self-service: login, overview, logout, and the table of its pages. */
#include "self.h"
#include "auto.h"
#include "device.h"
#include "form.h"
#include "mail_render.h"
#include "user.h"
#include <string.h>

#define USER_MAX 320
#define FORM_MAX 4096
#define DEVICES_MOST 100

/* ?done=WORD behind a redirect: fixed texts, whatever the word. */
static const char *
done_text(struct ca_request *req)
{
    static const struct {
        const char *word, *text;
    } texts[] = {
        { "password", "Your password is set." },
        { "device", "The device was removed; its certificates are revoked." },
        { "activation", "Your activation password is set." },
        { "mail", "A mail with a new activation password is on its way." },
        { "logout", "You are logged out." },
    };
    const char *word = NULL;
    if (ca_request_query(req, "done", &word) != CA_OK || !word)
        return NULL;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        if (strcmp(texts[i].word, word) == 0)
            return texts[i].text;
    return NULL;
}

/* ---- Login ---- */

static enum ca_status
login_page(struct exchange *exchange, const char *user, int http_status,
           const char *error)
{
    char token[SELF_TOKEN_SIZE];
    struct self_page page = { .title = "Log in", .status = http_status };
    enum ca_status status = self_form_token(exchange, token);
    if (status != CA_OK)
        return status;
    self_print(&page, "<h1>Log in</h1>\n");
    self_error(&page, error);
    self_done(&page, error ? NULL : done_text(&exchange->request));
    self_form_begin(&page, "login", token);
    self_print(&page, "<label for=\"user\">User name or mail address</label>\n"
                      "<input id=\"user\" name=\"user\" type=\"text\" "
                      "autocomplete=\"username\" autocapitalize=\"none\" "
                      "spellcheck=\"false\" required value=\"");
    self_put(&page, user);
    self_print(&page, "\">\n");
    self_input(&page, "Password", "password",
               "type=\"password\" autocomplete=\"current-password\" required");
    self_print(&page, "<button type=\"submit\">Log in</button>\n</form>\n");
    const char *provider = ca_provider_name(&exchange->request);
    if (provider) {
        self_print(&page, "<p><a href=\"oidc-login\">Log in with ");
        self_put(&page, provider);
        self_print(&page, "</a></p>\n");
    }
    self_print(&page, "<p>No password yet? Ask your administrator for an "
                      "invitation.</p>\n");
    return self_page_send(exchange, &page);
}

static enum ca_status
login_get(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_session_find(exchange, &session);
    if (status == CA_OK)
        return self_redirect(exchange, "./");
    if (status != CA_UNAUTHENTICATED)
        return status;
    return login_page(exchange, "", 200, NULL);
}

/* Unknown, wrong, locked, disabled: one text. */
static enum ca_status
login_refuse(struct exchange *exchange, const char *user, enum ca_status status)
{
    if (status == CA_UNAVAILABLE || status == CA_INTERNAL)
        return status;
    bool is_limit = status == CA_LIMIT;
    if (is_limit)
        ca_respond_header(&exchange->request, "Retry-After", "60");
    enum ca_status sent =
        login_page(exchange, user, is_limit ? 429 : 403,
                   is_limit ? "Too many attempts. Wait a minute and try again."
                            : "User name or password is wrong.");
    return sent == CA_OK ? status : sent;
}

static enum ca_status
login_post(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    const char *user = NULL, *password = NULL;
    if (self_form_check(exchange, NULL) != CA_OK) {
        ca_refused(req, "self", "", "form", false);
        return login_page(exchange, "", 403, "The page was too old. Try again.");
    }
    enum ca_status status = form_value(req, "user", &user);
    if (status == CA_OK)
        status = form_value(req, "password", &password);
    if (status != CA_OK || !user || !password || strlen(user) > USER_MAX)
        return login_page(exchange, "", 400, "User name or password is missing.");
    status = ca_authenticate(
        req, &(struct ca_credential){ .kind = CA_CREDENTIAL_PASSWORD,
                                      .protocol = "self",
                                      .message = "login",
                                      .endpoint = "",
                                      .user = user,
                                      .secret = password,
                                      .secret_size = strlen(password) });
    if (status != CA_OK)
        return login_refuse(exchange, user, status);
    status = self_session_open(exchange, NULL);
    return status == CA_OK ? self_redirect(exchange, "./") : status;
}

static enum ca_status
logout_post(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_begin(exchange, true, &session);
    if (status != CA_OK || !session.user)
        return status;
    status = self_session_close(exchange, &session);
    return status == CA_OK ? self_redirect(exchange, "login?done=logout") : status;
}

/* ---- What every page behind the login begins with ---- */

static enum ca_status
stale_page(struct exchange *exchange)
{
    struct self_page page = { .title = "Not understood", .status = 403 };
    ca_refused(&exchange->request, "self", "", "form", false);
    self_print(&page, "<h1>Not understood</h1>\n<p>This request did not come from a "
                      "page of yours.</p>\n<p><a href=\"./\">Back</a></p>\n");
    return self_page_send(exchange, &page);
}

enum ca_status
self_begin(struct exchange *exchange, bool checks_form,
           struct self_session *ret_session)
{
    enum ca_status status = self_session_find(exchange, ret_session);
    if (status == CA_UNAUTHENTICATED)
        return self_redirect(exchange, "login");
    if (status != CA_OK || !checks_form)
        return status;
    status = self_form_check(exchange, ret_session);
    if (status != CA_OK) {
        self_session_clear(ret_session);
        return stale_page(exchange);
    }
    return CA_OK;
}

/* ---- Overview ---- */

struct overview {
    const char *name;
    struct user user;
    struct self_page *page;
    size_t devices, body; /* shown so far; where their part begins */
};

static const char *const device_words[] = { "being set up", "active", "disabled",
                                            "removed" };

static const char *
device_name(const struct device *device)
{
    static const char *const members[] = { "name", "model", "device_name" };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        const char *name =
            json_string_value(json_object_get(device->hardware, members[i]));
        if (name && *name)
            return name;
    }
    return device->kind ? device->kind : "";
}

static enum ca_status
device_row(const void *record, void *arg)
{
    char time[MAIL_TIME_SIZE] = "never";
    struct overview *overview = arg;
    const struct device *device = record;
    struct self_page *page = overview->page;
    if (device->last_seen > 0)
        mail_time_format(device->last_seen, time);
    self_print(page, "<tr><th scope=\"row\">");
    self_put(page, device_name(device));
    self_print(page, "</th><td>");
    self_put(page, device->id);
    self_print(page, "</td><td>%s</td><td>%s</td><td><a href=\"device?id=%s\">Remove",
               device_words[device->state], time, device->id);
    self_print(page, "<span> %s</span></a></td></tr>\n", device->id);
    overview->devices++;
    return CA_OK;
}

static enum ca_status
overview_read(struct store_tx *tx, void *arg)
{
    struct overview *overview = arg;
    struct text_buffer *body = &overview->page->body;
    user_clear(&overview->user);
    overview->devices = 0;
    if (body->data)
        body->size = overview->body;
    enum ca_status status = user_load(tx, overview->name, &overview->user);
    if (status != CA_OK)
        return status;
    self_print(overview->page,
               "<table>\n<caption>Your devices</caption>\n<thead><tr>"
               "<th scope=\"col\">Device</th><th scope=\"col\">Id</th>"
               "<th scope=\"col\">State</th><th scope=\"col\">Last seen</th>"
               "<th scope=\"col\">Action</th></tr></thead>\n<tbody>\n");
    status = device_list(
        tx, &(struct device_filter){ .owner = overview->name, .is_enrolled = true },
        &(struct record_page){ .limit = DEVICES_MOST }, device_row, overview);
    self_print(overview->page, "</tbody>\n</table>\n");
    return status;
}

static void
overview_head(struct self_page *page, const struct self_session *session,
              const char *done)
{
    self_print(page, "<h1>Your devices and passwords</h1>\n");
    self_done(page, done);
    self_print(page, "<p>Logged in as <strong>");
    self_put(page, session->user);
    self_print(page, "</strong>.");
    if (session->last_time) {
        self_print(page, " Login before this one: ");
        self_put(page, session->last_time);
        self_print(page, " from ");
        self_put(page, session->last_source);
        self_print(page, ".");
    }
    self_print(page, "</p>\n");
}

static enum ca_status
overview_fill(struct exchange *exchange, const struct self_session *session,
              struct self_page *page)
{
    struct overview overview = { .name = session->user, .page = page };
    overview_head(page, session, done_text(&exchange->request));
    enum ca_status status = self_activation_put(exchange, session, page);
    if (status != CA_OK)
        return status;
    self_print(page, "<h2>Devices</h2>\n");
    overview.body = page->body.size;
    status = store_read(exchange->service->store, overview_read, &overview);
    if (status == CA_OK && overview.devices == 0)
        self_print(page, "<p>You have no device.</p>\n");
    if (status == CA_OK && overview.devices == DEVICES_MOST)
        self_print(page,
                   "<p>No more than %d devices are shown: there may be others."
                   "</p>\n",
                   DEVICES_MOST);
    if (status == CA_OK && overview.user.source == USER_LOCAL)
        self_print(page,
                   "<h2>Password</h2>\n<p><a href=\"password\">Change the password "
                   "of this page</a></p>\n");
    user_clear(&overview.user);
    self_form_begin(page, "logout", session->csrf);
    self_print(page, "<button type=\"submit\">Log out</button>\n</form>\n");
    return status;
}

static enum ca_status
overview_get(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    struct self_page page = { .title = "Self-service" };
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_begin(exchange, false, &session);
    if (status != CA_OK || !session.user)
        return status;
    status = overview_fill(exchange, &session, &page);
    if (status == CA_OK)
        return self_page_send(exchange, &page);
    text_buffer_clear(&page.body);
    return status;
}

static enum ca_status
root_get(void *state, struct ca_request *req)
{
    (void)state;
    return self_redirect(exchange_of(req), "self/");
}

/* What a browser shows of an activation link; the fragment stays in it. */
static enum ca_status
activate_get(void *state, struct ca_request *req)
{
    (void)state;
    struct self_page page = { .title = "Activate a device" };
    self_print(&page,
               "<h1>Activate a device</h1>\n<p>Open this link with the activation "
               "client on the device, or copy it whole into the client.</p>\n");
    return self_page_send(exchange_of(req), &page);
}

static const struct ca_route routes[] = {
    { "GET", "/self", 0, CA_ROUTE_TLS_ONLY, root_get },
    { "GET", "/self/", 0, CA_ROUTE_TLS_ONLY, overview_get },
    { "GET", "/self/login", 0, CA_ROUTE_TLS_ONLY, login_get },
    { "POST", "/self/login", FORM_MAX, CA_ROUTE_TLS_ONLY, login_post },
    { "POST", "/self/logout", FORM_MAX, CA_ROUTE_TLS_ONLY, logout_post },
    { "GET", "/self/oidc-login", 0, CA_ROUTE_TLS_ONLY, self_provider_login },
    { "GET", CA_PROVIDER_PATH_SELF, 0, CA_ROUTE_TLS_ONLY, self_provider_get },
    { "GET", "/self/device", 0, CA_ROUTE_TLS_ONLY, self_device_get },
    { "POST", "/self/device", FORM_MAX, CA_ROUTE_TLS_ONLY, self_device_post },
    { "GET", "/self/password", 0, CA_ROUTE_TLS_ONLY, self_password_get },
    { "POST", "/self/password", FORM_MAX, CA_ROUTE_TLS_ONLY, self_password_post },
    { "GET", "/self/invitation", 0, CA_ROUTE_TLS_ONLY, self_invitation_get },
    { "POST", "/self/invitation", FORM_MAX, CA_ROUTE_TLS_ONLY, self_invitation_post },
    { "GET", "/self/activation", 0, CA_ROUTE_TLS_ONLY, self_activation_get },
    { "POST", "/self/activation", FORM_MAX, CA_ROUTE_TLS_ONLY, self_activation_post },
    { "POST", "/self/activation-mail", FORM_MAX, CA_ROUTE_TLS_ONLY,
      self_activation_mail_post },
    { "GET", "/activate", 0, CA_ROUTE_TLS_ONLY, activate_get },
    { NULL, NULL, 0, 0, NULL },
};

const struct ca_plugin api_self_plugin = {
    .abi = CA_PLUGIN_ABI,
    .name = "self",
    .routes = routes,
};
