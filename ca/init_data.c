/* What a new data folder holds: the hierarchy, the first profiles and administrator. */
#include "admin.h"
#include "audit.h"
#include "auto.h"
#include "crl.h"
#include "init.h"
#include "names.h"
#include "names_text.h"
#include "organisation.h"
#include "text.h"
#include <string.h>
#include <unistd.h>

#define YEAR INT64_C(31536000)

static struct ceremony
ceremony_of(struct service *service)
{
    const struct config_token *token = service->config.tokens.items;
    return (struct ceremony){
        .store = service->store,
        .tokens = service->tokens,
        .token = token->name,
        .plain_url = service->organisation.plain_url,
        .run = service->run,
    };
}

/* ---- Subjects ---- */

/* "CN=NAME ROLE,O=NAME" with the name escaped (RFC 4514 section 2.4: "Example, Inc.");
 * free() it. NULL: no memory. */
static char *
subject_format(const char *name, const char *role)
{
    CA_AUTO(text_buffer_clear) struct text_buffer escaped = { 0 };
    char *subject = NULL;
    for (const char *at = name; *at; at++) {
        bool is_special = strchr(",+\"\\<>;=", *at) || (at == name && *at == '#');
        text_print(&escaped, "%s%c", is_special ? "\\" : "", *at);
    }
    const char *text = escaped.data ? escaped.data : "";
    if (escaped.failed || asprintf(&subject, "CN=%s %s,O=%s", text, role, text) < 0)
        return NULL;
    return subject;
}

/* "Issuing CA" is the longest of the roles. */
enum ca_status
init_options_check(const struct init_options *options)
{
    CA_AUTO(free) char *text = subject_format(options->name, "Issuing CA");
    CA_AUTO(X509_NAME_free) X509_NAME *subject = NULL;
    char reason[160];
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a subject");
    enum ca_status status = names_parse_subject(text, &subject);
    if (status == CA_MALFORMED)
        return ca_fail(CA_MALFORMED, "--name: %s", status_message());
    if (status != CA_OK)
        return status;
    if (options->domain &&
        !names_san_is_good(SAN_DNS, options->domain, reason, sizeof reason))
        return ca_fail(CA_MALFORMED, "--domain: %s", reason);
    return CA_OK;
}

/* ---- Keys and issuers ---- */

static enum ca_status
hierarchy_create(const struct init_options *options, struct service *service)
{
    struct ceremony ceremony = ceremony_of(service);
    CA_AUTO(free) char *root = subject_format(options->name, "Root CA");
    CA_AUTO(free) char *issuing = subject_format(options->name, "Issuing CA");
    CA_AUTO(free) char *ra = subject_format(options->name, "SCEP RA");
    CA_AUTO(free) char *ocsp = subject_format(options->name, "OCSP");
    if (!root || !issuing || !ra || !ocsp)
        return ca_fail(CA_INTERNAL, "no memory for a subject");
    const struct ceremony_issuer issuers[] = {
        { "root", root, "p-384", NULL, 20 * YEAR, -1, AUTHORITY_ACTIVE },
        { "issuing", issuing, "p-256", "root", 10 * YEAR, 0, AUTHORITY_ACTIVE },
    };
    const struct ceremony_helper helpers[] = {
        { HELPER_RA, "issuing", ra, "rsa-2048", 5 * YEAR },
        { HELPER_OCSP, "issuing", ocsp, "p-256", YEAR },
        { HELPER_AUDIT, NULL, NULL, "p-256", 0 },
        { HELPER_SEALING, NULL, NULL, "rsa-2048", 0 },
    };
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < sizeof issuers / sizeof *issuers; i++)
        status = ceremony_create_issuer(&ceremony, &issuers[i]);
    for (size_t i = 0; status == CA_OK && i < sizeof helpers / sizeof *helpers; i++)
        status = ceremony_create_helper(&ceremony, &helpers[i]);
    return status;
}

static enum ca_status
crls_build(struct service *service)
{
    struct issuers *issuers = service_issuers(service);
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < issuers_count(issuers); i++) {
        const struct issuer *issuer = issuers_at(issuers, i);
        CA_AUTO(free) char *url = service_url(service, "crl", issuer->name, ".crl");
        if (issuer->key)
            status = crl_build(service->store, issuer, url);
    }
    issuers_release(issuers);
    return status;
}

/* ---- Records ---- */

/* Over wstep the names come from the registry alone, and only users to whom an
 * administrator gave a password can ask: nothing opens before that. */
static const char certificate_default[] =
    "{\"name\": \"default\","
    " \"description\": \"A device of a user: TLS client authentication\","
    " \"settings\": {"
    "  \"issuer\": \"issuing\", \"validity\": \"P1Y\", \"renewal_window\": \"P30D\","
    "  \"subject\": \"CN={{user.name}},O={{organisation.name}}\","
    "  \"san\": [{\"type\": \"uri\", \"value\": \"urn:uuid:{{device.id}}\"}],"
    "  \"names_from_challenge\": true,"
    "  \"key_usage\": [\"digital_signature\", \"key_encipherment\"],"
    "  \"extended_key_usage\": [\"client_auth\"],"
    "  \"protocols\": [\"scep\", \"wstep\"], \"ocsp\": false}}";

static const char scep_default[] =
    "{\"name\": \"default\","
    " \"description\": \"SCEP with one-time challenges\","
    " \"settings\": {\"certificate\": \"default\"}}";

/* The policy tells an activation certificate from others: a UUID of ours in arcs of 28
 * bits, below the arc in which AD CS makes OIDs of an enterprise's own that way. One of
 * 2.25 (X.667) has an arc of 128 bits, which many decoders do not read. */
static const char certificate_activation[] =
    "{\"name\": \"activation\","
    " \"description\": \"What a device gets for an activation password\","
    " \"settings\": {"
    "  \"issuer\": \"issuing\", \"validity\": \"P30D\", \"renewal_window\": \"P10D\","
    "  \"subject\": \"O={{organisation.name}},OU={{device.hardware.work_space}},"
    "CN={{user.name}}\","
    "  \"san\": [{\"type\": \"uri\", \"value\": \"urn:uuid:{{device.id}}\"}],"
    "  \"key_usage\": [\"digital_signature\"],"
    "  \"extended_key_usage\": [\"client_auth\"],"
    "  \"policies\": [\"1.3.6.1.4.1.311.21.8.26953.40613236.105852588.130660061."
    "194209123\"],"
    "  \"protocols\": [\"activation\"], \"ocsp\": false}}";

static const char activation_default[] =
    "{\"name\": \"default\","
    " \"description\": \"Activation by a password that is good for one device\","
    " \"settings\": {\"certificate\": \"activation\"}}";

static enum ca_status
profile_create(struct store_tx *tx, enum profile_kind kind, const char *text)
{
    CA_AUTO(json_decref) json_t *body = NULL;
    struct profile profile = { 0 };
    enum ca_status status = field_parse(text, strlen(text), strlen(text), &body);
    if (status == CA_OK)
        status = field_decode(profile_fields(kind), body, &profile, NULL);
    profile.kind = kind;
    struct field_errors errors = { 0 };
    if (status == CA_OK)
        status = profile_check(&profile, &errors);
    if (status == CA_OK)
        status = profile_insert(tx, &profile);
    if (status == CA_OK) {
        char object[96];
        snprintf(object, sizeof object, "profile:%s/%s", profile_kind_words[kind],
                 profile.name);
        status = audit_append(tx, &(struct audit_entry){
                                      .action = "profile.create",
                                      .actor = "system",
                                      .object = object,
                                      .protocol = "command",
                                      .outcome = "ok",
                                  });
    }
    profile_clear(&profile);
    return status;
}

static enum ca_status
profiles_step(struct store_tx *tx, void *arg)
{
    (void)arg;
    enum ca_status status =
        profile_create(tx, PROFILE_CERTIFICATE, certificate_default);
    if (status == CA_OK)
        status = profile_create(tx, PROFILE_SCEP, scep_default);
    if (status == CA_OK)
        status = profile_create(tx, PROFILE_CERTIFICATE, certificate_activation);
    return status == CA_OK ? profile_create(tx, PROFILE_ACTIVATION, activation_default)
                           : status;
}

/* The address for links: the one we listen on, the host's name for "all addresses". */
static void
host_format(const char *bind, char *ret_host, size_t size)
{
    if (strcmp(bind, "0.0.0.0") == 0 || strcmp(bind, "::") == 0) {
        if (gethostname(ret_host, size) != 0)
            snprintf(ret_host, size, "localhost");
        ret_host[size - 1] = '\0';
    } else {
        snprintf(ret_host, size, strchr(bind, ':') ? "[%s]" : "%s", bind);
    }
}

static enum ca_status
organisation_step(struct store_tx *tx, void *arg)
{
    const struct init_options *options = arg;
    char host[256];
    host_format(options->bind, host, sizeof host);
    struct organisation organisation = { .name = strdup(options->name) };
    char **domains = options->domain ? calloc(1, sizeof *domains) : NULL;
    if (domains) {
        domains[0] = strdup(options->domain);
        organisation.mail_domains = (struct field_list){ domains, 1 };
    }
    enum ca_status status = CA_OK;
    if (asprintf(&organisation.base_url, "https://%s:%ld", host, options->https) < 0 ||
        asprintf(&organisation.plain_url, "http://%s:%ld", host, options->http) < 0)
        status = ca_fail(CA_INTERNAL, "no memory for an address");
    if (status == CA_OK)
        status = organisation_save(tx, &organisation);
    organisation_clear(&organisation);
    if (status != CA_OK)
        return status;
    return audit_append(tx, &(struct audit_entry){
                                .action = "organisation.create",
                                .actor = "system",
                                .object = "organisation",
                                .protocol = "command",
                                .outcome = "ok",
                            });
}

/* ---- The first administrator ---- */

static enum ca_status
admin_create(struct store_tx *tx, char **ret_secret)
{
    struct admin admin = { .name = strdup("admin"), .roles = 1u << ROLE_ADMINISTRATOR };
    struct admin_token token = { .admin = strdup("admin"),
                                 .description = strdup("made by init") };
    enum ca_status status = admin_insert(tx, &admin);
    if (status == CA_OK)
        status = admin_token_insert(tx, &token, ret_secret);
    if (status == CA_OK)
        status = audit_append(tx, &(struct audit_entry){
                                      .action = "admin.create",
                                      .actor = "system",
                                      .object = "admin:admin",
                                      .protocol = "command",
                                      .outcome = "ok",
                                  });
    admin_clear(&admin);
    admin_token_clear(&token);
    return status;
}

static enum ca_status
admin_step(struct store_tx *tx, void *arg)
{
    char **secret = arg;
    secret_free(CA_STEAL(*secret)); /* of a first run of this step */
    return admin_create(tx, secret);
}

static enum ca_status
admin_write(struct service *service, const char *folder)
{
    CA_AUTO(secret_free) char *secret = NULL;
    CA_AUTO(secret_free) char *line = NULL;
    CA_AUTO(free) char *path = NULL;
    enum ca_status status = store_write(service->store, admin_step, &secret);
    if (status != CA_OK)
        return status;
    if (asprintf(&path, "%s/admin.token", folder) < 0 ||
        asprintf(&line, "%s\n", secret) < 0)
        return ca_fail(CA_INTERNAL, "no memory for a token");
    return init_file_write(path, line, strlen(line), 0600);
}

/* ---- Files ---- */

static enum ca_status
chain_write(const struct ceremony *ceremony, const char *issuer, const char *folder,
            const char *name)
{
    CA_AUTO(free) char *pem = NULL;
    CA_AUTO(free) char *path = NULL;
    enum ca_status status = ceremony_chain(ceremony, issuer, &pem);
    if (status != CA_OK)
        return status;
    if (asprintf(&path, "%s/%s", folder, name) < 0)
        return ca_fail(CA_INTERNAL, "no memory for a path");
    return init_file_write(path, pem, strlen(pem), 0644);
}

enum ca_status
init_data_create(const struct init_options *options, struct service *service)
{
    enum ca_status status =
        store_write(service->store, organisation_step, (void *)(uintptr_t)options);
    if (status == CA_OK)
        status = service_reload(service);
    if (status == CA_OK)
        status = hierarchy_create(options, service);
    if (status == CA_OK)
        status = service_reload(service);
    if (status == CA_OK)
        status = store_write(service->store, profiles_step, NULL);
    if (status == CA_OK)
        status = crls_build(service);
    if (status == CA_OK)
        status = init_tls_renew(service);
    if (status == CA_OK)
        status = admin_write(service, options->data);
    struct ceremony ceremony = ceremony_of(service);
    if (status == CA_OK)
        status = chain_write(&ceremony, "root", options->data, "root.pem");
    if (status == CA_OK)
        status = chain_write(&ceremony, "issuing", options->data, "chain.pem");
    return status;
}

enum ca_status
init_data_seal(struct service *service, enum init_activation *ret_activation)
{
    const struct config_token *first = service->config.tokens.items;
    struct vault_wanted wanted = { .token = first->name, .mode = VAULT_TOKEN };
    enum init_activation activation = INIT_ACTIVATION_TOKEN;
    enum ca_status status = vault_create(service->store, service->tokens, &wanted);
    if (status == CA_UNSUPPORTED) {
        activation = INIT_ACTIVATION_MEMORY;
        wanted.mode = VAULT_MEMORY;
        status = vault_create(service->store, service->tokens, &wanted);
    }
    if (status == CA_UNSUPPORTED) {
        activation = INIT_ACTIVATION_NONE;
        status = CA_OK;
    }
    if (status == CA_OK)
        *ret_activation = activation;
    return status;
}
