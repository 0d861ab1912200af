/* Federated log-in at an OpenID provider: from the login page to it, and from it to the
 * page that hands the token to the client, which is kept in mind by the browser. */
#include "discovery.h"

#define REFUSED                                                                        \
    "<p>The login did not work. Close this window and try again, or ask your "         \
    "administrator whether your account may enrol devices.</p>\n"

/* ?appru=ms-app://... */
enum ca_status
discovery_provider_login(void *state, struct ca_request *req)
{
    (void)state;
    const char *appru = NULL;
    enum ca_status status = ca_request_query(req, "appru", &appru);
    if (status == CA_OK)
        status = discovery_check_appru(appru);
    if (status == CA_OK)
        status = ca_provider_begin(req, "discovery", appru);
    return status == CA_OK ? CA_OK : discovery_refuse_send(req, status, NULL);
}

/* Where the token goes is the client's word of before, checked again. */
enum ca_status
discovery_provider_get(void *state, struct ca_request *req)
{
    const struct discovery *discovery = state;
    const char *appru = NULL, *token = NULL;
    enum ca_status status = ca_provider_context(req, "discovery", &appru);
    if (status == CA_OK)
        status = discovery_check_appru(appru);
    if (status != CA_OK) {
        ca_refused(req, "discovery", "", "malformed", false);
        return discovery_refuse_send(req, status, REFUSED);
    }
    status =
        ca_authenticate(req, &(struct ca_credential){ .kind = CA_CREDENTIAL_PROVIDER,
                                                      .protocol = "discovery",
                                                      .message = "login",
                                                      .endpoint = "" });
    if (status == CA_OK)
        status = ca_login_token_issue(req, discovery->login_seconds, &token);
    return status == CA_OK ? discovery_token_send(req, appru, token)
                           : discovery_refuse_send(req, status, REFUSED);
}
