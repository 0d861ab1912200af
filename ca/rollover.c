/* `sealwright issuer rollover`: the next issuer, made ready before the present one
 * ends, and its activation. */
#include "auto.h"
#include "ceremony.h"
#include "names.h"
#include "serve.h"
#include "verb.h"
#include <openssl/pem.h>
#include <string.h>

#define YEAR INT64_C(31536000)

struct rollover {
    const char *name, *standby, *algorithm, *token;
    const char *subject; /* NULL: the present one with the standby's name */
    int64_t validity;
};

static X509 *
certificate_of(const struct authority *authority)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new_mem_buf(authority->chain, -1);
    return bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
}

/* "CN=Example Issuing CA,O=Example" for standby "issuing-2" ->
 * "CN=Example Issuing CA issuing-2,O=Example": two issuers never share a name, so that
 * a chain has one way up. free() it. */
static char *
subject_make(const struct authority *present, const char *standby)
{
    CA_AUTO(X509_free) X509 *certificate = certificate_of(present);
    CA_AUTO(free)
    char *text =
        certificate ? names_format_subject(X509_get_subject_name(certificate)) : NULL;
    if (!text)
        return NULL;
    const char *end = strncmp(text, "CN=", 3) == 0 ? text : strstr(text, ",CN=");
    end = end && end > text ? end + 1 : text;
    while (*end && (*end != ',' || (end > text && end[-1] == '\\')))
        end++;
    char *subject = NULL;
    if (asprintf(&subject, "%.*s %s%s", (int)(end - text), text, standby, end) < 0)
        return NULL;
    return subject;
}

static bool
is_root(const struct authority *authority)
{
    CA_AUTO(X509_free) X509 *certificate = certificate_of(authority);
    return certificate && X509_NAME_cmp(X509_get_subject_name(certificate),
                                        X509_get_issuer_name(certificate)) == 0;
}

/* A new root is known to who trusts the old one by the old one's certificate for it,
 * and the other way round (RFC 4210 section 4.4): both become files beside the data. */
static enum ca_status
cross_write(struct service *service, const struct ceremony *ceremony,
            const struct ceremony_cross *wanted)
{
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    CA_AUTO(free) char *path = NULL;
    char *text = NULL;
    enum ca_status status = ceremony_cross(ceremony, wanted, &made);
    if (status != CA_OK)
        return status;
    if (asprintf(&path, "%s/%s-by-%s.pem", service->config.data_directory, wanted->name,
                 wanted->by) < 0)
        path = NULL;
    if (!path || !bio ||
        PEM_write_bio(bio, "CERTIFICATE", "", made.der, (long)made.size) <= 0)
        return ca_fail(CA_INTERNAL, "no memory for a cross-certificate");
    long length = BIO_get_mem_data(bio, &text);
    status = verb_file_write(path, text, (size_t)length);
    if (status == CA_OK)
        printf("%s\n", path);
    return status;
}

static enum ca_status
issuer_make(struct service *service, const struct ceremony *ceremony,
            const struct rollover *wanted, const struct authority *present)
{
    bool is_top = is_root(present);
    if (!is_top && !present->parent)
        return ca_fail(CA_CONFLICT,
                       "an outside CA certified '%s': issuer csr and issuer import "
                       "--standby make '%s' first",
                       wanted->name, wanted->standby);
    CA_AUTO(free)
    char *subject = wanted->subject ? strdup(wanted->subject)
                                    : subject_make(present, wanted->standby);
    if (!subject)
        return ca_fail(CA_INTERNAL, "no memory for a subject");
    enum ca_status status = ceremony_create_issuer(
        ceremony, &(struct ceremony_issuer){ .name = wanted->standby,
                                             .subject = subject,
                                             .algorithm = wanted->algorithm,
                                             .parent = present->parent,
                                             .validity = wanted->validity,
                                             .path_length = is_top ? -1 : 0,
                                             .state = AUTHORITY_STANDBY });
    const struct ceremony_cross crosses[] = {
        { wanted->standby, wanted->name, wanted->validity },
        { wanted->name, wanted->standby, wanted->validity },
    };
    for (size_t i = 0; is_top && status == CA_OK && i < 2; i++)
        status = cross_write(service, ceremony, &crosses[i]);
    return status;
}

/* The standby as it is after that: made here, or imported before. */
static enum ca_status
standby_prepare(struct service *service, const struct ceremony *ceremony,
                const struct rollover *wanted, const struct authority *present)
{
    struct authority standby = { 0 };
    size_t made = 0;
    enum ca_status status = authority_read(service->store, wanted->standby, &standby);
    if (status == CA_NOT_FOUND)
        status = issuer_make(service, ceremony, wanted, present);
    else if (status == CA_OK && standby.state != AUTHORITY_STANDBY)
        status = ca_fail(CA_CONFLICT, "issuer '%s' does not stand by", wanted->standby);
    authority_clear(&standby);
    if (status == CA_OK && !is_root(present))
        status = ceremony_renew_helpers(
            ceremony,
            &(struct ceremony_renewal){
                .issuer = wanted->standby,
                .roles = { [HELPER_RA] = true, [HELPER_OCSP] = true } },
            &made);
    if (status == CA_OK)
        status = ceremony_set_next(ceremony, wanted->name, wanted->standby);
    return status;
}

static enum ca_status
rollover(struct service *service, const struct ceremony *ceremony,
         const struct rollover *wanted)
{
    struct authority present = { 0 };
    enum ca_status status = authority_read(service->store, wanted->name, &present);
    if (status == CA_OK && present.next)
        status = ca_fail(CA_CONFLICT, "'%s' has the standby '%s' already", wanted->name,
                         present.next);
    if (status == CA_OK)
        status = standby_prepare(service, ceremony, wanted, &present);
    authority_clear(&present);
    if (status == CA_OK)
        status = verb_build_crl(service, wanted->standby);
    if (status == CA_OK)
        printf("issuer '%s' stands by for '%s'; devices see it by GetNextCACert\n",
               wanted->standby, wanted->name);
    return status;
}

static enum ca_status
activate(const struct ceremony *ceremony, const char *name)
{
    CA_AUTO(free) char *standby = NULL;
    enum ca_status status = ceremony_activate(ceremony, name, &standby);
    if (status == CA_OK)
        printf("issuer '%s' issues now; '%s' signs CRLs until its last certificate is "
               "over\n",
               standby, name);
    return status;
}

static int
rollover_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2], *validity = NULL;
    bool is_activation = false;
    struct rollover wanted = { .algorithm = "p-256" };
    const struct verb_option options[] = {
        { "standby", &wanted.standby, NULL },
        { "algorithm", &wanted.algorithm, NULL },
        { "token", &wanted.token, NULL },
        { "subject", &wanted.subject, NULL },
        { "validity", &validity, NULL },
        { "activate", NULL, &is_activation },
        { NULL, NULL, NULL },
    };
    struct service *service = NULL;
    char actor[96];
    if (!verb_parse(&rollover_command, options, argc, argv, words, 1, 1))
        return 2;
    if (is_activation == (wanted.standby != NULL))
        return verb_misused(&rollover_command, "either --standby NEW or --activate");
    if (verb_duration(validity, "P10Y", &wanted.validity) != CA_OK)
        return verb_misused(&rollover_command, "%s", status_message());
    wanted.name = words[0];
    if (verb_open(context, &service) != CA_OK)
        return verb_failed(&rollover_command);
    verb_actor(actor, sizeof actor);
    const struct config_token *first = service->config.tokens.items;
    const struct ceremony ceremony = {
        .store = service->store,
        .tokens = service->tokens,
        .token = wanted.token                       ? wanted.token
                 : service->config.tokens.count > 0 ? first->name
                                                    : "",
        .plain_url = service->organisation.plain_url,
        .run = service->run,
        .actor = actor,
    };
    enum ca_status status = is_activation ? activate(&ceremony, wanted.name)
                                          : rollover(service, &ceremony, &wanted);
    int result = status == CA_OK ? 0 : verb_failed(&rollover_command);
    if (status == CA_OK)
        verb_signal_daemon(&service->config);
    service_close(service);
    return result;
}

static const char *const actions[] = { "rollover", NULL };

const struct command rollover_command = {
    .name = "issuer",
    .actions = actions,
    .summary = "issuer rollover: make the next issuer ready, then activate it",
    .help =
        "Usage: sealwright issuer rollover NAME --standby NEW [OPTION...]\n"
        "       sealwright issuer rollover NAME --activate\n"
        "\n"
        "First: makes a key in the token, a certificate by the same parent, RA and "
        "OCSP\n"
        "certificates for the issuer that is to follow NAME, and lets devices see it. "
        "For a root:\n"
        "also the cross-certificates of old and new. An imported NEW is taken as it "
        "is.\n"
        "Later --activate: NEW issues, NAME's profiles follow, NAME goes on signing "
        "CRLs.\n"
        "\n"
        "  --standby NEW        name of the new issuer\n"
        "  --algorithm ALG      p-256 (default), p-384, rsa-2048, rsa-3072, rsa-4096\n"
        "  --token NAME         the configuration's token for the keys (the first)\n"
        "  --subject TEXT       its subject (default: that of NAME with NEW)\n"
        "  --validity DURATION  of its certificate (P10Y)\n"
        "  --activate           let the standby take over\n"
        "\n"
        "Examples:\n"
        "  sealwright issuer rollover issuing --standby issuing-2\n"
        "  sealwright issuer rollover issuing --activate\n",
    .run = rollover_run,
};
