/* The working certificate by the device's SCEP profile (section 13), in the mode that
 * was asked for or the first that profile and client have in common. */
#include "activate_client.h"
#include "activate_modes.h"
#include "auto.h"
#include "field.h"
#include <string.h>

#define SCEP_FILE "scep.p12"
#define SCEP_CERTIFICATE_FILE "scep.pem"

/* In the client's order: with the fewest messages first. */
static const struct {
    const char *word;
    enum ca_status (*run)(struct activate *activate, const struct wanted *wanted,
                          struct mode_outcome *ret_outcome);
} modes[] = {
    { "simple", mode_simple },
    { "assisted", mode_assisted },
    { "proxy", mode_proxy },
};

bool
activate_scep_mode_is_known(const char *mode)
{
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if (strcmp(modes[i].word, mode) == 0)
            return true;
    }
    return false;
}

static enum ca_status
mode_run(struct activate *activate, const json_t *profile, const struct wanted *wanted,
         struct mode_outcome *ret_outcome)
{
    const char *asked = activate->options->scep_mode;
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        if ((asked && strcmp(asked, modes[i].word) != 0) ||
            !wanted_offers(profile, modes[i].word))
            continue;
        enum ca_status status = modes[i].run(activate, wanted, ret_outcome);
        return status == CA_OK ? activate_tell(activate, "scep_mode", modes[i].word)
                               : status;
    }
    return ca_fail(CA_UNSUPPORTED,
                   asked ? "profile '%s' does not offer this device mode %s"
                         : "profile '%s' has no mode that this client takes",
                   wanted->profile, asked);
}

/* From now on the device is known by its working certificate, if that is by the CA that
 * runs the server. */
static enum ca_status
issued_use(struct activate *activate, const struct mode_outcome *outcome)
{
    const struct key_issued *issued = &outcome->issued;
    const char *url = json_string_value(json_object_get(activate->outcome, "url"));
    enum ca_status status =
        key_issued_write(issued, activate->options->out,
                         activate->out_password ? SCEP_FILE : SCEP_CERTIFICATE_FILE,
                         activate->out_password);
    if (status == CA_OK && outcome->uri)
        status = activate_tell(activate, "scep_key", outcome->uri);
    activate->is_foreign = !key_issued_is_under(issued, &activate->issued);
    if (status != CA_OK || activate->is_foreign)
        return status;
    return activate_http_pin(activate->http, url, key_issued_root(&activate->issued),
                             issued->certificate, issued->key);
}

static enum ca_status
enrol(struct activate *activate, const json_t *profile)
{
    struct mode_outcome outcome = { 0 };
    struct wanted wanted;
    enum ca_status status = wanted_read(profile, &wanted);
    if (status == CA_OK)
        status = mode_run(activate, profile, &wanted, &outcome);
    if (status == CA_OK)
        status = activate_tell(activate, "scep_profile", wanted.profile);
    if (status == CA_OK)
        status = issued_use(activate, &outcome);
    mode_outcome_clear(&outcome);
    wanted_clear(&wanted);
    return status;
}

enum ca_status
activate_scep(struct activate *activate)
{
    struct http_answer answer = { 0 };
    enum ca_status status = activate_http_call(
        activate->http,
        &(struct http_message){ "GET", "/activation/v1/scep-profile", NULL, NULL },
        &answer);
    if (status == CA_OK && answer.status == 404)
        status =
            ca_fail(CA_NOT_FOUND, "the server has no SCEP profile for this device");
    else if (status == CA_OK)
        status = answer.status == 200 ? enrol(activate, answer.body)
                                      : activate_http_refused(&answer);
    field_json_wipe(answer.body); /* the challenge */
    answer.body = NULL;
    http_answer_clear(&answer);
    return status;
}
