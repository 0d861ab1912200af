/* Self-service by the login of an OpenID provider: the way there and the way back. */
#include "auto.h"
#include "self.h"

/* Why it did not work is the log's; people learn what to do. */
static enum ca_status
refuse_page(struct exchange *exchange, enum ca_status status)
{
    struct self_page page = { .title = "Log in", .status = 403 };
    const char *text = "The login did not work. Try again, or ask your administrator "
                       "whether your account may use this page.";
    if (status == CA_INTERNAL)
        return status;
    if (status == CA_UNAVAILABLE) {
        page.status = 503;
        text = "The login service does not answer now. Try again in a moment.";
    } else if (status == CA_LIMIT) {
        page.status = 429;
        text = "Too many attempts. Wait a minute and try again.";
    } else if (status == CA_UNSUPPORTED) {
        page.status = 404;
        text = "There is no other login than by password.";
    }
    if ((page.status == 503 || page.status == 429) &&
        ca_respond_header(&exchange->request, "Retry-After",
                          page.status == 503 ? "10" : "60") != CA_OK)
        return CA_INTERNAL;
    self_print(&page, "<h1>Log in</h1>\n");
    self_error(&page, text);
    self_print(&page, "<p><a href=\"login\">Back to the login</a></p>\n");
    enum ca_status sent = self_page_send(exchange, &page);
    return sent == CA_OK ? status : sent;
}

/* Where there is a session another log-in would leave it alive: its cookie does not
 * come with the way back. */
enum ca_status
self_provider_login(void *state, struct ca_request *req)
{
    (void)state;
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_session_find(exchange_of(req), &session);
    if (status == CA_OK)
        return self_redirect(exchange_of(req), "./");
    if (status == CA_UNAUTHENTICATED)
        status = ca_provider_begin(req, "self", "");
    return status == CA_OK ? CA_OK : refuse_page(exchange_of(req), status);
}

/* The session's cookie is SameSite=Strict: it is not sent where another site's page led
 * here, so a page of ours goes on instead of a redirect. */
enum ca_status
self_provider_get(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    struct self_page page = { .title = "Logged in", .goes_on = true };
    enum ca_status status =
        ca_authenticate(req, &(struct ca_credential){ .kind = CA_CREDENTIAL_PROVIDER,
                                                      .protocol = "self",
                                                      .message = "login",
                                                      .endpoint = "" });
    if (status == CA_OK)
        status = self_session_open(exchange, NULL);
    if (status != CA_OK)
        return refuse_page(exchange, status);
    self_print(&page, "<h1>Logged in</h1>\n<p><a href=\"./\">Go on</a></p>\n");
    return self_page_send(exchange, &page);
}
