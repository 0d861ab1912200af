/* The steps of an activation, in the order in which they happen. */
#include "activate_client.h"
#include "activate_exchange.h"
#include "activate_secret.h"
#include "auto.h"
#include "field.h"
#include <openssl/pem.h>
#include <string.h>
#include <sys/utsname.h>

#define KEY_FILE "activation.p12"
#define CERTIFICATE_FILE "activation.pem"
#define ROOT_FILE "root.pem"
#define POLICY_FILE "policy.json"
#define FACT_MAX 128

enum ca_status
activate_tell(struct activate *activate, const char *name, const char *text)
{
    return json_object_set_new(activate->outcome, name, json_string(text)) == 0
               ? CA_OK
               : ca_fail(CA_MALFORMED, "'%s' of the answer is no text", name);
}

/* ---- Before: who, where, and where to put it ---- */

static enum ca_status
files_check(const struct activate *activate)
{
    static const char *const names[] = { KEY_FILE, CERTIFICATE_FILE, ROOT_FILE };
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < sizeof names / sizeof *names; i++)
        status = key_file_check(activate->options->out, names[i]);
    return status;
}

/* The password ends with its first use: everything else is asked for before. */
static enum ca_status
secrets_ask(struct activate *activate)
{
    const struct activate_options *options = activate->options;
    enum ca_status status = CA_OK;
    if (!activate->link.password || options->password_file) {
        char *typed = NULL;
        status = activate_secret_read(options->password_file,
                                      "Activation password: ", 0, &typed);
        if (status != CA_OK)
            return status;
        secret_free(activate->link.password);
        activate->link.password = typed;
    }
    if (!options->place.uri)
        status = activate_secret_read(options->out_password_file,
                                      "Password for the key's file: ", 1,
                                      &activate->out_password);
    if (status != CA_OK)
        return status;
    char password[STRETCH_PASSWORD_MAX + 1];
    status = stretch_password(activate->link.password, strlen(activate->link.password),
                              password);
    if (status == CA_OK) {
        secret_free(activate->link.password);
        activate->link.password = strdup(password);
    }
    OPENSSL_cleanse(password, sizeof password);
    return status == CA_OK && !activate->link.password
               ? ca_fail(CA_INTERNAL, "no memory")
               : status;
}

/* ---- M0 ---- */

static enum ca_status
place_take(struct activate *activate, const json_t *place)
{
    const char *server = json_string_value(json_object_get(place, "server"));
    const char *url = json_string_value(json_object_get(place, "url"));
    CA_AUTO(free) char *authority = url ? activate_authority(url) : NULL;
    if (!server || !*server || !authority)
        return ca_fail(CA_MALFORMED, "the discovery's answer names no server");
    free(activate->link.server);
    free(activate->link.base);
    activate->link.server = strdup(server);
    activate->link.base = strdup(url);
    return activate->link.server && activate->link.base
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory");
}

/* Asks where the user activates; a server without a directory is asked itself. */
static enum ca_status
place_discover(struct activate *activate)
{
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    CA_AUTO(activate_http_close) struct activate_http *http = NULL;
    CA_AUTO(json_decref)
    json_t *request = json_pack("{s:i, s:s}", "v", 1, "user", activate->link.user);
    enum ca_status status =
        activate_http_open(activate->link.base, activate->options->ca_file, &http);
    if (status == CA_OK)
        status = activate_http_call(
            http,
            &(struct http_message){ "POST", "/discovery/v1/lookup", request, NULL },
            &answer);
    if (status != CA_OK)
        return status;
    if (answer.status == 200)
        return place_take(activate, answer.body);
    return answer.status == 404 && !json_object_get(answer.body, "error")
               ? CA_OK
               : activate_http_refused(&answer);
}

/* ---- M1 to M4 ---- */

static enum ca_status
hello_exchange(struct activate *activate, struct exchange_client *client)
{
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    CA_AUTO(json_decref) json_t *hello = NULL;
    enum ca_status status = exchange_hello(client, &hello);
    if (status == CA_OK)
        status = activate_http_call(
            activate->http,
            &(struct http_message){ "POST", ACTIVATE_PATH_HELLO, hello, NULL },
            &answer);
    if (status != CA_OK)
        return status;
    if (answer.status != 200)
        return activate_http_refused(&answer);
    uint8_t prs[STRETCH_PRS_SIZE];
    status = exchange_stretch(client, answer.body, activate->link.password, prs);
    if (status == CA_OK)
        status = exchange_reply(client, answer.body, prs);
    OPENSSL_cleanse(prs, sizeof prs);
    return status;
}

/* The request under the agreed keys; the content of the answer's box. */
static enum ca_status
enroll_exchange(struct activate *activate, struct exchange_client *client,
                long *ret_http, json_t **ret_content)
{
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    CA_AUTO(json_decref) json_t *enroll = NULL;
    CA_AUTO(openssl_free) uint8_t *der = NULL;
    size_t size = 0;
    enum ca_status status = key_request(
        activate->key, &(struct key_names){ .digest = EVP_sha256() }, &der, &size);
    if (status == CA_OK)
        status = exchange_enroll(client, (struct ca_bytes){ der, size }, &enroll);
    if (status == CA_OK)
        status = activate_http_call(
            activate->http,
            &(struct http_message){ "POST", "/activation/v1/enroll", enroll, NULL },
            &answer);
    if (status != CA_OK)
        return status;
    if (answer.status != 200 && answer.status != 422)
        return activate_http_refused(&answer);
    *ret_http = answer.status;
    return exchange_answer(client, answer.body, ret_content);
}

static enum ca_status
sealed_refusal(const json_t *refusal)
{
    const char *code = json_string_value(json_object_get(refusal, "error"));
    const char *detail = json_string_value(json_object_get(refusal, "detail"));
    return ca_fail(CA_FORBIDDEN, "refused (%.40s): %.300s", code ? code : "",
                   detail ? detail : "no reason is given");
}

static enum ca_status
grant_take(struct activate *activate, const json_t *grant)
{
    static const char *const members[] = { "device", "workspace", "org", "url" };
    enum ca_status status =
        key_issued_read(grant, activate->key, NULL, &activate->issued);
    for (size_t i = 0; status == CA_OK && i < sizeof members / sizeof *members; i++) {
        const char *text = json_string_value(json_object_get(grant, members[i]));
        status = text ? activate_tell(activate, members[i], text)
                      : ca_fail(CA_MALFORMED, "the grant has no '%s'", members[i]);
    }
    return status;
}

static enum ca_status
exchange_run(struct activate *activate)
{
    static const char *const suites[EXCHANGE_SUITES + 1] = { "ecspeke-p521" };
    struct exchange_client client = { .suites = suites,
                                      .client = EXCHANGE_CLIENT,
                                      .sent = activate->link.user,
                                      .ref = activate->link.ref,
                                      .server = activate->link.server };
    json_t *content = NULL;
    long http_status = 0;
    enum ca_status status = hello_exchange(activate, &client);
    if (status == CA_OK)
        status = enroll_exchange(activate, &client, &http_status, &content);
    if (status == CA_OK)
        status = http_status == 200 ? grant_take(activate, content)
                                    : sealed_refusal(content);
    exchange_client_clear(&client);
    field_json_wipe(content);
    return status;
}

/* ---- After: the pinned root, the files, the report ---- */

static enum ca_status
root_write(const struct activate *activate)
{
    const struct key_issued root = { .certificate =
                                         key_issued_root(&activate->issued) };
    return key_issued_write(&root, activate->options->out, ROOT_FILE, NULL);
}

static enum ca_status
grant_keep(struct activate *activate)
{
    const char *directory = activate->options->out;
    const char *url = json_string_value(json_object_get(activate->outcome, "url"));
    enum ca_status status = key_issued_write(
        &activate->issued, directory,
        activate->out_password ? KEY_FILE : CERTIFICATE_FILE, activate->out_password);
    if (status == CA_OK)
        status = root_write(activate);
    if (status == CA_OK)
        status =
            activate_http_pin(activate->http, url, key_issued_root(&activate->issued),
                              activate->issued.certificate, activate->key);
    return status;
}

/* One line of a system file, as far as it is a fact that may be told. */
static json_t *
fact_read(const char *path)
{
    char line[FACT_MAX + 1] = "";
    CA_AUTO(fclose) FILE *file = path ? fopen(path, "re") : NULL;
    if (!file || !fgets(line, sizeof line, file))
        return json_string("");
    line[strcspn(line, "\n")] = '\0';
    return json_string(text_is_clean(line, strlen(line)) ? line : "");
}

static enum ca_status
device_report(struct activate *activate)
{
    CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
    struct utsname name;
    if (uname(&name) != 0)
        return ca_fail(CA_INTERNAL, "the system has no name");
    CA_AUTO(json_decref)
    json_t *report =
        json_pack("{s:i, s:{s:o, s:o, s:o, s:s}, s:{s:s, s:s, s:s, s:s}}", "v", 1,
                  "device", "vendor", fact_read("/sys/class/dmi/id/sys_vendor"),
                  "model", fact_read("/sys/class/dmi/id/product_name"), "serial",
                  fact_read("/sys/class/dmi/id/product_serial"), "imei", "", "software",
                  "os", name.sysname, "os_version", name.release, "app", "sealwright",
                  "app_version", SEALWRIGHT_VERSION);
    enum ca_status status = activate_http_call(
        activate->http,
        &(struct http_message){ "PUT", "/activation/v1/device", report, NULL },
        &answer);
    if (status != CA_OK)
        return status;
    if (answer.status != 200)
        return activate_http_refused(&answer);
    const char *instance = json_string_value(json_object_get(answer.body, "instance"));
    const char *url = json_string_value(json_object_get(answer.body, "url"));
    if (!instance || !url)
        return ca_fail(CA_MALFORMED, "the answer names no instance");
    status = activate_tell(activate, "instance", instance);
    if (status == CA_OK)
        status = activate_tell(activate, "url", url);
    return status == CA_OK
               ? activate_http_pin(activate->http, url,
                                   key_issued_root(&activate->issued),
                                   activate->issued.certificate, activate->key)
               : status;
}

/* ---- The policy ---- */

static enum ca_status
policy_write(struct activate *activate, const json_t *policy)
{
    CA_AUTO(free) char *text = json_dumps(policy, JSON_INDENT(2));
    if (!text)
        return ca_fail(CA_MALFORMED, "the policy is no JSON");
    enum ca_status status =
        key_file_write(activate->options->out, POLICY_FILE,
                       (struct ca_bytes){ (const uint8_t *)text, strlen(text) });
    const char *name = json_string_value(json_object_get(policy, "name"));
    return status == CA_OK ? activate_tell(activate, "policy", name ? name : "")
                           : status;
}

/* The policy as it is; then, when asked to wait, the next one. */
static enum ca_status
policy_fetch(struct activate *activate)
{
    char path[64] = "/activation/v1/policy", known[HTTP_ETAG_MAX] = "";
    for (int round = 0; round < (activate->options->wait > 0 ? 2 : 1); round++) {
        CA_AUTO(http_answer_clear) struct http_answer answer = { 0 };
        const struct http_message message = { "GET", path, NULL,
                                              round > 0 ? known : NULL };
        enum ca_status status = activate_http_call(activate->http, &message, &answer);
        if (status != CA_OK)
            return status;
        if (answer.status == 304)
            return CA_OK;
        if (answer.status != 200)
            return activate_http_refused(&answer);
        status = policy_write(activate, answer.body);
        if (status != CA_OK)
            return status;
        memcpy(known, answer.etag, sizeof known);
        snprintf(path, sizeof path, "/activation/v1/policy?wait=%d",
                 (int)activate->options->wait);
    }
    return CA_OK;
}

/* ---- All of it ---- */

enum ca_status
activate_run(struct activate *activate)
{
    const struct activate_options *options = activate->options;
    const struct key_kind kind = { "activation", "p-256", false };
    char *uri = NULL;
    activate->place = options->place;
    activate->outcome = json_object();
    enum ca_status status = files_check(activate);
    if (status == CA_OK)
        status = secrets_ask(activate);
    if (status == CA_OK && options->server)
        status = place_discover(activate);
    if (status == CA_OK)
        status =
            activate_http_open(activate->link.base, options->ca_file, &activate->http);
    if (status == CA_OK)
        status = key_make(&activate->place, &kind, &activate->key, &uri);
    if (status == CA_OK)
        status = exchange_run(activate);
    if (status == CA_OK)
        status = grant_keep(activate);
    if (status == CA_OK && uri)
        status = activate_tell(activate, "key", uri);
    free(uri);
    if (status == CA_OK)
        status = device_report(activate);
    if (status != CA_OK || options->only_activate)
        return status;
    /* The policy is for the working certificate (section 12), which the server must
     * know: none without a profile, and none with one of another CA. */
    status = activate_scep(activate);
    if (status == CA_NOT_FOUND)
        return activate_tell(activate, "scep_profile", "");
    return status == CA_OK && !activate->is_foreign ? policy_fetch(activate) : status;
}

void
activate_clear(struct activate *activate)
{
    activate_http_close(activate->http);
    key_issued_clear(&activate->issued);
    EVP_PKEY_free(activate->key);
    key_place_close(&activate->place);
    activate_link_clear(&activate->link);
    secret_free(activate->out_password);
    json_decref(activate->outcome);
    *activate = (struct activate){ 0 };
}
