/* Passwords of the self-service: set by an invitation's code, changed by its owner; and
 * devices, seen and removed. */
#include "auto.h"
#include "device.h"
#include "form.h"
#include "invitation.h"
#include "lifecycle.h"
#include "mail.h"
#include "password.h"
#include "self.h"
#include <openssl/crypto.h>
#include <string.h>

#define REASON_SIZE 160
#define PASSWORD_HINT                                                                  \
    "<p id=\"rules\">8 to 128 letters, digits and signs; none that is often used, "    \
    "and "                                                                             \
    "not your user name.</p>\n"
#define NEW_ATTRIBUTES                                                                 \
    "type=\"password\" autocomplete=\"new-password\" required "                        \
    "aria-describedby=\"rules\""

/* ---- A new password, typed twice ---- */

struct new_password {
    const char *first, *second;
    char verifier[PASSWORD_VERIFIER_SIZE];
    char mark[PASSWORD_MARK_SIZE]; /* of the verifier, once it is set */
};

static enum ca_status
new_password_read(struct ca_request *req, struct new_password *password)
{
    enum ca_status status = form_value(req, "new", &password->first);
    if (status == CA_OK)
        status = form_value(req, "again", &password->second);
    if (status == CA_OK && (!password->first || !password->second))
        return ca_fail(CA_MALFORMED, "a form without a new password");
    return status;
}

/* False with a sentence for the page. */
static bool
new_password_is_good(const struct new_password *password, const char *user,
                     char *ret_reason, size_t size)
{
    char reason[REASON_SIZE];
    if (strcmp(password->first, password->second) != 0) {
        snprintf(ret_reason, size, "The two new passwords differ.");
        return false;
    }
    if (password_is_good(user, password->first, reason, sizeof reason))
        return true;
    snprintf(ret_reason, size, "The new password %s.", reason);
    return false;
}

static void
new_password_put(struct self_page *page)
{
    self_print(page, PASSWORD_HINT);
    self_input(page, "New password", "new", NEW_ATTRIBUTES);
    self_input(page, "New password again", "again", NEW_ATTRIBUTES);
}

/* ---- Changing it ---- */

static enum ca_status
password_page(struct exchange *exchange, const struct self_session *session,
              const char *error)
{
    struct self_page page = { .title = "Change password", .status = error ? 400 : 200 };
    self_print(&page, "<h1>Change password</h1>\n");
    self_error(&page, error);
    self_form_begin(&page, "password", session->csrf);
    self_input(&page, "Present password", "old",
               "type=\"password\" autocomplete=\"current-password\" required");
    new_password_put(&page);
    self_print(&page, "<button type=\"submit\">Change password</button>\n</form>\n"
                      "<p><a href=\"./\">Back</a></p>\n");
    return self_page_send(exchange, &page);
}

enum ca_status
self_password_get(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_begin(exchange, false, &session);
    if (status != CA_OK || !session.user)
        return status;
    return password_page(exchange, &session, NULL);
}

struct setting {
    const struct exchange *exchange;
    const char *user, *verifier;
    const char *code; /* of an invitation, used up with it; or NULL */
    bool is_set;      /* false: the code or the present password are no longer good */
};

/* Is the password still the one that proved the user? Of two changes at once the second
 * would otherwise undo the first, whoever made it. */
static enum ca_status
present_check(struct store_tx *tx, const struct setting *setting, bool *ret_is_same)
{
    char mark[PASSWORD_MARK_SIZE];
    struct password present = { 0 };
    enum ca_status status = password_load(tx, setting->user, &present);
    password_mark(status == CA_OK ? present.verifier : NULL, mark);
    password_clear(&present);
    if (status != CA_OK && status != CA_NOT_FOUND)
        return status;
    *ret_is_same = strcmp(mark, setting->exchange->identity.password) == 0;
    return CA_OK;
}

static enum ca_status
setting_write(struct store_tx *tx, void *arg)
{
    struct setting *setting = arg;
    enum ca_status status = CA_OK;
    setting->is_set = false;
    if (setting->code) {
        CA_AUTO(free) char *user = NULL;
        status = invitation_take(tx, setting->code, &user);
        if (status != CA_OK || !user || strcmp(user, setting->user) != 0)
            return status;
    } else {
        bool is_same = false;
        status = present_check(tx, setting, &is_same);
        if (status != CA_OK || !is_same)
            return status;
    }
    status = password_save(tx, setting->user, setting->verifier);
    if (status == CA_OK)
        status = self_audit(
            tx, setting->exchange, setting->user, "user.password", NULL,
            json_pack("{s:s}", "by", setting->code ? "invitation" : "the user"));
    setting->is_set = status == CA_OK;
    return status;
}

/* The work on the password, then the write; a session of the old one is over by it. */
static enum ca_status
password_set(struct exchange *exchange, struct setting *setting,
             struct new_password *password)
{
    enum ca_status status = service_wait_begin(exchange->service);
    if (status != CA_OK)
        return status;
    status =
        password_derive(password->first, strlen(password->first), password->verifier);
    setting->verifier = password->verifier;
    if (status == CA_OK)
        status = store_write(exchange->service->store, setting_write, setting);
    service_wait_end(exchange->service);
    password_mark(password->verifier, password->mark);
    OPENSSL_cleanse(password->verifier, sizeof password->verifier);
    return status;
}

static enum ca_status
old_password_check(struct exchange *exchange, const char *user)
{
    const char *old = NULL;
    enum ca_status status = form_value(&exchange->request, "old", &old);
    if (status != CA_OK || !old)
        return ca_fail(CA_UNAUTHENTICATED, "a form without the present password");
    return ca_authenticate(&exchange->request,
                           &(struct ca_credential){ .kind = CA_CREDENTIAL_PASSWORD,
                                                    .protocol = "self",
                                                    .message = "login",
                                                    .endpoint = "",
                                                    .user = user,
                                                    .secret = old,
                                                    .secret_size = strlen(old) });
}

static enum ca_status
password_change(struct exchange *exchange, const struct self_session *session,
                struct new_password *password)
{
    char reason[2 * REASON_SIZE];
    if (!new_password_is_good(password, session->user, reason, sizeof reason))
        return password_page(exchange, session, reason);
    struct setting setting = { .exchange = exchange, .user = session->user };
    enum ca_status status = old_password_check(exchange, session->user);
    if (status == CA_OK)
        status = password_set(exchange, &setting, password);
    if (status == CA_OK && !setting.is_set)
        status = ca_fail(CA_UNAUTHENTICATED, "the password changed meanwhile");
    if (status == CA_UNAUTHENTICATED || status == CA_FORBIDDEN) {
        enum ca_status sent =
            password_page(exchange, session, "The present password is wrong.");
        return sent == CA_OK ? status : sent;
    }
    if (status == CA_OK)
        status = self_session_close(exchange, session);
    if (status == CA_OK)
        status = self_session_open(exchange, password->mark);
    return status == CA_OK ? self_redirect(exchange, "./?done=password") : status;
}

enum ca_status
self_password_post(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    struct new_password password = { 0 };
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    enum ca_status status = self_begin(exchange, true, &session);
    if (status != CA_OK || !session.user)
        return status;
    status = new_password_read(req, &password);
    return status == CA_OK ? password_change(exchange, &session, &password) : status;
}

/* ---- By invitation ---- */

static enum ca_status
invitation_page(struct exchange *exchange, const char *error)
{
    char token[SELF_TOKEN_SIZE];
    struct self_page page = { .title = "Set your password",
                              .status = error ? 400 : 200,
                              .fills_code = true };
    enum ca_status status = self_form_token(exchange, token);
    if (status != CA_OK)
        return status;
    self_print(&page, "<h1>Set your password</h1>\n");
    self_error(&page, error);
    self_form_begin(&page, "invitation", token);
    self_input(&page, "Code from the mail", "code",
               "type=\"text\" autocomplete=\"off\" autocapitalize=\"none\" "
               "spellcheck=\"false\" required");
    new_password_put(&page);
    self_print(&page, "<button type=\"submit\">Set password</button>\n</form>\n");
    return self_page_send(exchange, &page);
}

enum ca_status
self_invitation_get(void *state, struct ca_request *req)
{
    (void)state;
    return invitation_page(exchange_of(req), NULL);
}

struct trial {
    const char *code;
    char *user;
};

static enum ca_status
trial_write(struct store_tx *tx, void *arg)
{
    struct trial *trial = arg;
    free(trial->user);
    trial->user = NULL;
    return invitation_try(tx, trial->code, &trial->user);
}

/* Unknown, wrong, used, expired: one text (SECURITY A3). */
static enum ca_status
invitation_refuse(struct exchange *exchange)
{
    ca_refused(&exchange->request, "self", "", "invitation", false);
    enum ca_status sent = invitation_page(
        exchange, "This code does not work (any more). Ask for another invitation.");
    return sent == CA_OK ? CA_UNAUTHENTICATED : sent;
}

static enum ca_status
invitation_use(struct exchange *exchange, const struct trial *trial,
               struct new_password *password)
{
    char reason[2 * REASON_SIZE];
    struct setting setting = { .exchange = exchange,
                               .user = trial->user,
                               .code = trial->code };
    if (!new_password_is_good(password, trial->user, reason, sizeof reason))
        return invitation_page(exchange, reason);
    enum ca_status status = password_set(exchange, &setting, password);
    if (status == CA_OK && !setting.is_set)
        return invitation_refuse(exchange); /* another request was faster */
    return status == CA_OK ? self_redirect(exchange, "login?done=password") : status;
}

enum ca_status
self_invitation_post(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    struct new_password password = { 0 };
    struct trial trial = { 0 };
    enum ca_status status = self_form_check(exchange, NULL);
    if (status != CA_OK) {
        ca_refused(req, "self", "", "form", false);
        return invitation_page(exchange, "The page was too old. Try again.");
    }
    status = new_password_read(req, &password);
    if (status == CA_OK)
        status = form_value(req, "code", &trial.code);
    if (status == CA_OK && !trial.code)
        status = ca_fail(CA_MALFORMED, "a form without a code");
    if (status == CA_OK)
        status = store_write(exchange->service->store, trial_write, &trial);
    if (status == CA_OK && !trial.user)
        status = invitation_refuse(exchange);
    else if (status == CA_OK)
        status = invitation_use(exchange, &trial, &password);
    free(trial.user);
    return status;
}

/* ---- Devices ---- */

static void
device_clear_auto(struct device *device)
{
    device_clear(device);
}

struct removal {
    const struct exchange *exchange;
    const char *user, *id;
    struct device *device; /* to read into, or NULL: remove it */
};

/* Another's device is none. */
static enum ca_status
own_load(struct store_tx *tx, const struct removal *removal, struct device *ret_device)
{
    enum ca_status status = device_load(tx, removal->id, ret_device);
    bool is_own = status == CA_OK && ret_device->owner &&
                  strcmp(ret_device->owner, removal->user) == 0 &&
                  ret_device->state != DEVICE_UNENROLLED;
    return status == CA_OK && !is_own
               ? ca_fail(CA_NOT_FOUND, "no such device of this user")
               : status;
}

static enum ca_status
own_read(struct store_tx *tx, void *arg)
{
    const struct removal *removal = arg;
    device_clear(removal->device);
    return own_load(tx, removal, removal->device);
}

static enum ca_status
remove_write(struct store_tx *tx, void *arg)
{
    char actor[8 + RECORD_NAME_MAX], object[48];
    const struct removal *removal = arg;
    CA_AUTO(device_clear) struct device device = { 0 };
    enum ca_status status = own_load(tx, removal, &device);
    if (status != CA_OK)
        return status;
    device.state = DEVICE_UNENROLLED;
    status = device_update(tx, &device);
    snprintf(object, sizeof object, "device:%.36s", removal->id);
    snprintf(actor, sizeof actor, "user:%s", removal->user);
    if (status == CA_OK)
        status = self_audit(tx, removal->exchange, removal->user, "device.unenrol",
                            object, json_pack("{s:s}", "by", "the device's user"));
    if (status != CA_OK)
        return status;
    return lifecycle_disable_device(
        tx, removal->id,
        &(struct lifecycle_cause){ .actor = actor,
                                   .protocol = "self",
                                   .request = removal->exchange->request.id });
}

static enum ca_status
no_device(struct exchange *exchange, enum ca_status status)
{
    struct self_page page = { .title = "No such device", .status = 404 };
    if (status != CA_NOT_FOUND)
        return status;
    self_print(&page, "<h1>No such device</h1>\n<p><a href=\"./\">Back</a></p>\n");
    enum ca_status sent = self_page_send(exchange, &page);
    return sent == CA_OK ? status : sent;
}

enum ca_status
self_device_get(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    CA_AUTO(device_clear) struct device device = { 0 };
    const char *id = NULL;
    enum ca_status status = self_begin(exchange, false, &session);
    if (status != CA_OK || !session.user)
        return status;
    status = ca_request_query(req, "id", &id);
    struct removal removal = { exchange, session.user, id ? id : "", &device };
    if (status == CA_OK)
        status = store_read(exchange->service->store, own_read, &removal);
    if (status != CA_OK)
        return no_device(exchange, status);
    struct self_page page = { .title = "Remove device" };
    self_print(&page, "<h1>Remove device</h1>\n<p>Device ");
    self_put(&page, device.id);
    self_print(&page, " (");
    self_put(&page, device.kind ? device.kind : "unknown kind");
    self_print(&page, ") loses its certificates at once and has to be activated anew. "
                      "This cannot be undone.</p>\n");
    self_form_begin(&page, "device", session.csrf);
    self_print(&page, "<input type=\"hidden\" name=\"id\" value=\"");
    self_put(&page, device.id);
    self_print(&page, "\">\n<button type=\"submit\">Remove this device</button>\n"
                      "</form>\n<p><a href=\"./\">Keep it</a></p>\n");
    return self_page_send(exchange, &page);
}

enum ca_status
self_device_post(void *state, struct ca_request *req)
{
    (void)state;
    struct exchange *exchange = exchange_of(req);
    CA_AUTO(self_session_clear) struct self_session session = { 0 };
    const char *id = NULL;
    enum ca_status status = self_begin(exchange, true, &session);
    if (status != CA_OK || !session.user)
        return status;
    status = form_value(req, "id", &id);
    struct removal removal = { exchange, session.user, id ? id : "", NULL };
    if (status == CA_OK)
        status = store_write(exchange->service->store, remove_write, &removal);
    if (status != CA_OK)
        return no_device(exchange, status);
    service_wake_jobs(exchange->service);
    return self_redirect(exchange, "./?done=device");
}
