/* Builds whole services for tests; built once and linked to them. */
#include "house.h"
#include "auto.h"
#include "ceremony.h"
#include "device.h"
#include "organisation.h"
#include "user.h"
#include <criterion/criterion.h>
#include <string.h>

#define YEAR INT64_C(31536000)

static const char certificate_default[] =
    "{\"name\": \"default\", \"settings\": {"
    " \"issuer\": \"issuing\", \"validity\": \"P1Y\", \"renewal_window\": \"P30D\","
    " \"subject\": \"CN={{user.name}},O={{organisation.name}}\","
    " \"san\": [{\"type\": \"uri\", \"value\": \"urn:uuid:{{device.id}}\"}],"
    " \"from_request\": {\"san\": [{\"type\": \"dns\","
    "                               \"match\": \"*.devices.example.com\"}]},"
    " \"names_from_challenge\": true, \"ocsp\": false,"
    " \"extended_key_usage\": [\"client_auth\"], \"protocols\": [\"scep\"]}}";

static const char scep_default[] =
    "{\"name\": \"default\", \"settings\": {\"certificate\": \"default\"}}";

static void
must(enum ca_status status, const char *what)
{
    if (status != CA_OK)
        fprintf(stderr, "%s: %s: %s\n", what, ca_status_name(status), status_message());
    cr_assert_eq(status, CA_OK, "%s", what);
}

void
house_write(struct house *house, store_fn fn, void *arg)
{
    must(store_write(house->service->store, fn, arg), "write");
}

static void
config_write(struct house *house)
{
    snprintf(house->config, sizeof house->config, "%s/sealwright.json",
             house->hsm.folder);
    snprintf(house->store, sizeof house->store, "%s/store.db", house->hsm.folder);
    CA_AUTO(fclose) FILE *file = fopen(house->config, "w");
    cr_assert_not_null(file, "%s", house->config);
    fprintf(file,
            "{\"instance\": \"house\", \"store\": \"sqlite:store.db\","
            " \"log_level\": \"error\","
            " \"listeners\": [{\"path\": \"api.sock\", \"api\": true}],"
            " \"tokens\": [{\"name\": \"hsm\", \"module\": \"%s\", \"uri\": \"%s\","
            "   \"pin_source\": \"%s\", \"waive\": [\"software\"]}]}\n",
            house->hsm.config.module, house->hsm.uri, house->hsm.pin_source);
}

static enum ca_status
organisation_step(struct store_tx *tx, void *arg)
{
    (void)arg;
    struct organisation organisation = {
        .name = strdup("Example"),
        .base_url = strdup("https://ca.example.com"),
        .plain_url = strdup("http://ca.example.com"),
    };
    enum ca_status status = organisation_save(tx, &organisation);
    organisation_clear(&organisation);
    return status;
}

static void
hierarchy_build(struct house *house)
{
    struct ceremony ceremony = { .store = house->service->store,
                                 .tokens = house->service->tokens,
                                 .token = "hsm",
                                 .plain_url = "http://ca.example.com",
                                 .run = house->service->run };
    const struct ceremony_issuer issuers[] = {
        { "root", "CN=Example Root,O=Example", "p-256", NULL, 20 * YEAR, -1,
          AUTHORITY_ACTIVE },
        { "issuing", "CN=Example Issuing,O=Example", "p-256", "root", 10 * YEAR, 0,
          AUTHORITY_ACTIVE },
    };
    const struct ceremony_helper ra = { HELPER_RA, "issuing", "CN=Example RA,O=Example",
                                        "rsa-2048", 5 * YEAR };
    must(ceremony_create_issuer(&ceremony, &issuers[0]), "root");
    must(ceremony_create_issuer(&ceremony, &issuers[1]), "issuing");
    must(ceremony_create_helper(&ceremony, &ra), "RA");
}

void
house_build(struct house *house)
{
    *house = (struct house){ 0 };
    softhsm_make(&house->hsm, "house");
    config_write(house);
    must(service_open(house->config, &house->service), "service_open");
    house_write(house, organisation_step, NULL);
    hierarchy_build(house);
    house_profile(house, PROFILE_CERTIFICATE, certificate_default);
    house_profile(house, PROFILE_SCEP, scep_default);
    house_user(house, "alice");
    must(service_reload(house->service), "service_reload");
}

void
house_close(struct house *house)
{
    service_close(house->service);
    house->service = NULL;
}

void
house_reopen(struct house *house)
{
    house_close(house);
    must(service_open(house->config, &house->service), "service_open");
}

void
house_remove(struct house *house)
{
    house_close(house);
    softhsm_remove(&house->hsm);
}

struct profile_step {
    enum profile_kind kind;
    const json_t *body;
};

static enum ca_status
profile_put(struct store_tx *tx, void *arg)
{
    const struct profile_step *step = arg;
    struct field_errors errors = { 0 };
    struct profile profile = { 0 }, old = { 0 };
    enum ca_status status =
        field_decode(profile_fields(step->kind), step->body, &profile, &errors);
    if (status != CA_OK)
        return status;
    profile.kind = (int)step->kind;
    status = profile_check(&profile, &errors);
    if (status == CA_OK)
        status = profile_load(tx, step->kind, profile.name, &old);
    if (status == CA_OK) {
        profile.stamp = old.stamp;
        status = profile_update(tx, &profile);
    } else if (status == CA_NOT_FOUND) {
        status = profile_insert(tx, &profile);
    }
    profile_clear(&old);
    profile_clear(&profile);
    return status;
}

void
house_profile(struct house *house, enum profile_kind kind, const char *text)
{
    CA_AUTO(json_decref) json_t *body = json_loads(text, 0, NULL);
    cr_assert_not_null(body, "%s", text);
    struct profile_step step = { kind, body };
    house_write(house, profile_put, &step);
}

static enum ca_status
profile_read(struct store_tx *tx, void *arg)
{
    struct profile profile = { 0 };
    enum ca_status status = profile_load(tx, PROFILE_CERTIFICATE, "default", &profile);
    if (status != CA_OK)
        return status;
    CA_AUTO(json_decref)
    json_t *record = field_encode(profile_fields(PROFILE_CERTIFICATE), &profile);
    profile_clear(&profile);
    *(json_t **)arg = json_incref(json_object_get(record, "settings"));
    return CA_OK;
}

void
house_set(struct house *house, const char *member, const char *value)
{
    CA_AUTO(json_decref) json_t *settings = NULL;
    must(store_read(house->service->store, profile_read, &settings), "profile");
    json_t *wanted = json_loads(value, JSON_DECODE_ANY, NULL);
    cr_assert(wanted && json_object_set_new(settings, member, wanted) == 0, "%s",
              value);
    CA_AUTO(json_decref)
    json_t *body = json_pack("{s:s, s:O}", "name", "default", "settings", settings);
    struct profile_step step = { PROFILE_CERTIFICATE, body };
    house_write(house, profile_put, &step);
}

static enum ca_status
user_step(struct store_tx *tx, void *arg)
{
    const char *name = arg;
    struct user user = { .name = strdup(name),
                         .email = strdup("user@example.com"),
                         .display_name = strdup(name),
                         .work_space = strdup("work"),
                         .attributes = json_object() };
    enum ca_status status = user_insert(tx, &user);
    user_clear(&user);
    return status;
}

void
house_user(struct house *house, const char *name)
{
    CA_AUTO(free) char *copy = strdup(name);
    house_write(house, user_step, copy);
}

struct challenge_step {
    const struct challenge *wanted;
    char text[CHALLENGE_TEXT_SIZE];
};

static char *
copy_or(const char *text, const char *otherwise)
{
    if (!text && !otherwise)
        return NULL;
    return strdup(text ? text : otherwise);
}

static enum ca_status
challenge_step(struct store_tx *tx, void *arg)
{
    struct challenge_step *step = arg;
    const struct challenge *wanted = step->wanted;
    struct challenge challenge = {
        .user = copy_or(wanted ? wanted->user : NULL, "alice"),
        .profile = copy_or(wanted ? wanted->profile : NULL, "default"),
        .device = copy_or(wanted ? wanted->device : NULL, NULL),
        .subject = copy_or(wanted ? wanted->subject : NULL, NULL),
        .expires_in = wanted && wanted->expires_in ? wanted->expires_in : 86400,
    };
    if (wanted && wanted->san.count > 0) {
        char **items = calloc(wanted->san.count, sizeof *items);
        for (size_t i = 0; i < wanted->san.count; i++)
            items[i] = strdup(((char *const *)wanted->san.items)[i]);
        challenge.san = (struct field_list){ items, wanted->san.count };
    }
    enum ca_status status = challenge_insert(tx, &challenge, step->text);
    challenge_clear(&challenge);
    return status;
}

void
house_challenge(struct house *house, const struct challenge *wanted,
                char ret_text[CHALLENGE_TEXT_SIZE])
{
    struct challenge_step step = { .wanted = wanted };
    house_write(house, challenge_step, &step);
    memcpy(ret_text, step.text, CHALLENGE_TEXT_SIZE);
}

struct statement {
    const char *sql;
    int64_t answer;
};

static enum ca_status
integer_row(const struct store_row *row, void *arg)
{
    *(int64_t *)arg = store_row_integer(row, 0);
    return CA_OK;
}

static enum ca_status
statement_run(struct store_tx *tx, void *arg)
{
    struct statement *statement = arg;
    return store_run(tx, statement->sql, STORE_NO_VALUES, integer_row,
                     &statement->answer, NULL);
}

int64_t
house_integer(struct house *house, const char *sql)
{
    struct statement statement = { sql, -1 };
    must(store_read(house->service->store, statement_run, &statement), sql);
    return statement.answer;
}

void
house_run(struct house *house, const char *sql)
{
    struct statement statement = { sql, -1 };
    house_write(house, statement_run, &statement);
}

void
house_exchange(struct house *house, struct exchange *ret_exchange)
{
    *ret_exchange = (struct exchange){
        .request = { .id = "0123456789abcdef",
                     .method = "POST",
                     .path = "/scep/default",
                     .rest = "/default",
                     .query = "",
                     .content_type = "",
                     .authorization = "",
                     .peer = "192.0.2.1" },
        .service = house->service,
        .plugin = "scep",
    };
}

static void
self_sign(struct house_device *device, const char *cn)
{
    X509 *self = X509_new();
    X509_NAME *name = X509_get_subject_name(self);
    cr_assert(X509_set_version(self, X509_VERSION_3));
    cr_assert(ASN1_INTEGER_set(X509_get_serialNumber(self), 1));
    cr_assert(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8,
                                         (const unsigned char *)cn, -1, -1, 0));
    cr_assert(X509_set_issuer_name(self, name));
    cr_assert(X509_gmtime_adj(X509_getm_notBefore(self), -300));
    cr_assert(X509_gmtime_adj(X509_getm_notAfter(self), 86400));
    cr_assert(X509_set_pubkey(self, device->key));
    cr_assert(X509_sign(self, device->key, EVP_sha256()) > 0);
    device->self = self;
}

void
house_device_ask(struct house_device *device, const char *cn, const char *san)
{
    CA_AUTO(X509_REQ_free) X509_REQ *request = X509_REQ_new();
    CA_AUTO(x509_extensions_free)
    STACK_OF(X509_EXTENSION) *extensions = sk_X509_EXTENSION_new_null();
    if (cn)
        cr_assert(X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN",
                                             MBSTRING_UTF8, (const unsigned char *)cn,
                                             -1, -1, 0));
    if (san) {
        sk_X509_EXTENSION_push(
            extensions, X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, san));
        cr_assert(X509_REQ_add_extensions(request, extensions));
    }
    cr_assert(X509_REQ_set_pubkey(request, device->key));
    cr_assert(X509_REQ_sign(request, device->key, EVP_sha256()) > 0);
    OPENSSL_free(device->request);
    device->request = NULL;
    int size = i2d_X509_REQ(request, &device->request);
    cr_assert(size > 0);
    device->request_size = (size_t)size;
}

void
house_device_make(struct house_device *device, const char *cn, const char *san)
{
    house_device_make_with(device, EVP_RSA_gen(2048), cn, san);
}

void
house_device_make_with(struct house_device *device, EVP_PKEY *key, const char *cn,
                       const char *san)
{
    cr_assert_not_null(key);
    *device = (struct house_device){ .key = key };
    self_sign(device, cn ? cn : "device");
    house_device_ask(device, cn, san);
}

void
house_device_clear(struct house_device *device)
{
    EVP_PKEY_free(device->key);
    X509_free(device->self);
    X509_free(device->certificate);
    OPENSSL_free(device->request);
    *device = (struct house_device){ 0 };
}

static void
device_take(struct house_device *device, const struct ca_issued *issued)
{
    const uint8_t *at = issued->der.data;
    X509_free(device->certificate);
    device->certificate = d2i_X509(NULL, &at, (long)issued->der.size);
    cr_assert(device->certificate && at == issued->der.data + issued->der.size);
    snprintf(device->serial, sizeof device->serial, "%s", issued->serial);
}

enum ca_status
house_enroll(struct house *house, struct house_device *device, const char *challenge,
             const char *transaction)
{
    struct exchange exchange;
    struct ca_issued issued = { 0 };
    house_exchange(house, &exchange);
    struct ca_enrolment enrolment = {
        .pkcs10 = { device->request, device->request_size },
        .transaction = transaction ? transaction : "t",
        .signer = device->self,
    };
    struct ca_credential key = { .kind = CA_CREDENTIAL_KEY,
                                 .protocol = "scep",
                                 .message = "19",
                                 .endpoint = "default",
                                 .certificate = device->self };
    struct ca_credential secret = { .kind = CA_CREDENTIAL_CHALLENGE,
                                    .protocol = "scep",
                                    .message = "19",
                                    .endpoint = "default",
                                    .secret = challenge,
                                    .secret_size = challenge ? strlen(challenge) : 0,
                                    .certificate = device->self };
    enum ca_status status = ca_poll(&exchange.request, &key, &enrolment, &issued);
    if (status == CA_NOT_FOUND) {
        status = ca_authenticate(&exchange.request, &secret);
        /* As the plugin: a copy of the message may have claimed the secret. */
        if (status == CA_UNAUTHENTICATED) {
            enum ca_status other =
                ca_poll(&exchange.request, &key, &enrolment, &issued);
            if (other == CA_OK || other == CA_PENDING || other == CA_UNAVAILABLE)
                status = other;
        } else if (status == CA_OK)
            status = ca_enroll(&exchange.request, &enrolment, &issued);
    }
    if (status == CA_OK)
        device_take(device, &issued);
    exchange_clear(&exchange);
    return status;
}

enum ca_status
house_renew(struct house *house, const struct house_device *device,
            struct house_device *new, const char *message, const char *transaction)
{
    struct exchange exchange;
    struct ca_issued issued = { 0 };
    house_exchange(house, &exchange);
    struct ca_enrolment enrolment = {
        .pkcs10 = { new->request, new->request_size },
        .transaction = transaction,
        .signer = device->certificate,
    };
    struct ca_credential credential = { .kind = CA_CREDENTIAL_CERTIFICATE,
                                        .protocol = "scep",
                                        .message = message,
                                        .endpoint = "default",
                                        .certificate = device->certificate };
    enum ca_status status =
        ca_poll(&exchange.request, &credential, &enrolment, &issued);
    if (status == CA_NOT_FOUND) {
        status = ca_authenticate(&exchange.request, &credential);
        if (status == CA_OK)
            status = ca_enroll(&exchange.request, &enrolment, &issued);
    }
    if (status == CA_OK)
        device_take(new, &issued);
    exchange_clear(&exchange);
    return status;
}

enum ca_status
house_poll(struct house *house, struct house_device *device, const char *transaction)
{
    struct exchange exchange;
    struct ca_issued issued = { 0 };
    house_exchange(house, &exchange);
    struct ca_enrolment enrolment = { .transaction = transaction };
    struct ca_credential key = { .kind = CA_CREDENTIAL_KEY,
                                 .protocol = "scep",
                                 .message = "20",
                                 .endpoint = "default",
                                 .certificate = device->self };
    enum ca_status status = ca_poll(&exchange.request, &key, &enrolment, &issued);
    if (status == CA_OK)
        device_take(device, &issued);
    exchange_clear(&exchange);
    return status;
}
