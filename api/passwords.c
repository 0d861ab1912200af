/* /users/{name}/password: what a local user logs in with. Set and removed, never read.
 */
#include "api.h"
#include "auto.h"
#include "password.h"
#include "user.h"
#include <string.h>

struct new_password {
    char *password;
};

static const struct field password_fields[] = {
    { FIELD(new_password, password), .type = FIELD_TEXT,
      .flags = FIELD_REQUIRED | FIELD_SECRET, .min = 1, .max = 1024,
      .help = "The new password: 8 to 128 characters of printable ASCII, none that is "
              "tried first, not the user's name." },
    FIELD_END,
};

static void
new_password_clear_auto(struct new_password *body)
{
    field_clear(password_fields, body);
}

static enum ca_status
user_read(struct store_tx *tx, void *arg)
{
    struct user user = { 0 };
    enum ca_status status = user_load(tx, arg, &user);
    user_clear(&user);
    return status;
}

static enum ca_status
put_step(struct store_tx *tx, struct api_call *call, void *verifier)
{
    enum ca_status status = password_save(tx, api_key(call), verifier);
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "user.password", NULL, "user:%s", api_key(call));
}

/* The work on the password is done before the store is asked to write. */
static enum ca_status
put(struct api_call *call)
{
    char reason[160], verifier[PASSWORD_VERIFIER_SIZE];
    CA_AUTO(new_password_clear) struct new_password body = { 0 };
    enum ca_status status = api_decode(call, password_fields, &body);
    if (status != CA_OK)
        return status;
    if (!password_is_good(api_key(call), body.password, reason, sizeof reason)) {
        field_error_add(&call->errors, "/password", "%s", reason);
        return ca_fail(CA_MALFORMED, "password: %s", reason);
    }
    status = store_read(api_store(call), user_read, (void *)(uintptr_t)api_key(call));
    if (status == CA_OK)
        status = password_derive(body.password, strlen(body.password), verifier);
    return status == CA_OK ? api_write(call, put_step, verifier) : status;
}

static enum ca_status
delete_step(struct store_tx *tx, struct api_call *call, void *arg)
{
    (void)arg;
    enum ca_status status = password_remove(tx, api_key(call));
    if (status != CA_OK)
        return status;
    return api_audit(tx, call, "user.password_remove", NULL, "user:%s", api_key(call));
}

static const struct field *
input(void)
{
    return password_fields;
}

static const struct api_route routes[] = {
    { "PUT", "/users/{name}/password", API_ADMINISTRATOR, API_CHANGE, NULL,
      "Set the password a local user logs in with; unlocks it", input, NULL, NULL,
      .success = 204, .handle = put },
    { "DELETE", "/users/{name}/password", API_ADMINISTRATOR, API_CHANGE, delete_step,
      "Remove a user's password", NULL, NULL, NULL, .success = 204 },
    { .method = NULL },
};
const struct api_resource api_passwords = { "passwords", routes, NULL };
