/* `sealwright issuer rollover`: the next issuer, made ready before the present one
 * ends. */
#include "auto.h"
#include "ceremony.h"
#include "crl.h"
#include "serve.h"
#include "service.h"
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define YEAR INT64_C(31536000)

struct rollover {
    const char *name, *standby, *algorithm, *token;
    const char
        *subject; /* RFC 4514 text; NULL: the present one with the standby's name */
};

static enum ca_status
authority_step(struct store_tx *tx, void *arg)
{
    struct authority *authority = arg;
    CA_AUTO(free) char *name = CA_STEAL(authority->name);
    enum ca_status status = authority_load(tx, name, authority);
    if (status != CA_OK)
        authority->name = CA_STEAL(name);
    return status;
}

/* "CN=Example Issuing CA,O=Example" for standby "issuing-2" ->
 * "CN=Example Issuing CA issuing-2,O=Example": two issuers never share a name, so that
 * a chain has one way up. free() it. */
static char *
subject_make(const char *present, const char *standby)
{
    const char *end = present;
    while (*end && (*end != ',' || (end > present && end[-1] == '\\')))
        end++;
    char *subject = NULL;
    if (asprintf(&subject, "%.*s %s%s", (int)(end - present), present, standby, end) <
        0)
        return NULL;
    return subject;
}

static enum ca_status
hierarchy_create(struct service *service, const struct rollover *wanted,
                 const struct authority *present)
{
    const struct config_token *token = service->config.tokens.items;
    struct ceremony ceremony = {
        .store = service->store,
        .tokens = service->tokens,
        .token = wanted->token ? wanted->token : token->name,
        .plain_url = service->organisation.plain_url,
        .run = service->run,
    };
    CA_AUTO(free)
    char *subject = wanted->subject ? strdup(wanted->subject)
                                    : subject_make(present->subject, wanted->standby);
    char ra[160];
    snprintf(ra, sizeof ra, "CN=%s SCEP RA", wanted->standby);
    enum ca_status status = ceremony_create_issuer(
        &ceremony, &(struct ceremony_issuer){ .name = wanted->standby,
                                              .subject = subject,
                                              .algorithm = wanted->algorithm,
                                              .parent = present->parent,
                                              .validity = 10 * YEAR,
                                              .path_length = present->parent ? 0 : -1,
                                              .state = AUTHORITY_STANDBY });
    if (status == CA_OK && present->parent)
        status = ceremony_create_helper(
            &ceremony, &(struct ceremony_helper){ .role = HELPER_RA,
                                                  .issuer = wanted->standby,
                                                  .subject = ra,
                                                  .algorithm = "rsa-2048",
                                                  .validity = 5 * YEAR });
    if (status == CA_OK)
        status = ceremony_set_next(&ceremony, wanted->name, wanted->standby);
    return status;
}

static enum ca_status
crl_first(struct service *service, const char *name)
{
    enum ca_status status = service_reload(service);
    if (status != CA_OK)
        return status;
    struct issuers *issuers = service_issuers(service);
    const struct issuer *issuer = issuers_find(issuers, name);
    CA_AUTO(free) char *url = service_url(service, "crl", name, ".crl");
    status = issuer ? crl_build(service->store, issuer, url)
                    : ca_fail(CA_INTERNAL, "issuer '%s' did not load", name);
    issuers_release(issuers);
    return status;
}

/* A running daemon of this data folder takes it at once. */
static void
daemon_signal(const struct config *config)
{
    CA_AUTO(fclose) FILE *file = config->pid_file ? fopen(config->pid_file, "r") : NULL;
    long pid = 0;
    if (file && fscanf(file, "%ld", &pid) == 1 && pid > 1 &&
        kill((pid_t)pid, SIGHUP) == 0)
        printf("the daemon (process %ld) reads it now\n", pid);
}

static enum ca_status
rollover(struct service *service, const struct rollover *wanted)
{
    struct authority present = { .name = strdup(wanted->name) };
    enum ca_status status = store_read(service->store, authority_step, &present);
    if (status == CA_OK && present.next)
        status = ca_fail(CA_CONFLICT, "'%s' has the standby '%s' already", wanted->name,
                         present.next);
    if (status == CA_OK)
        status = hierarchy_create(service, wanted, &present);
    authority_clear(&present);
    return status == CA_OK ? crl_first(service, wanted->standby) : status;
}

static int
rollover_run(const struct command_context *context, int argc, char **argv)
{
    static const struct option options[] = {
        { "standby", required_argument, NULL, 's' },
        { "algorithm", required_argument, NULL, 'a' },
        { "token", required_argument, NULL, 't' },
        { "subject", required_argument, NULL, 'S' },
        { NULL, 0, NULL, 0 },
    };
    struct rollover wanted = { .algorithm = "p-256" };
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 's': wanted.standby = optarg; break;
        case 'a': wanted.algorithm = optarg; break;
        case 't': wanted.token = optarg; break;
        case 'S': wanted.subject = optarg; break;
        default: return 2;
        }
    }
    if (argc - optind != 2 || !wanted.standby) {
        fputs("sealwright issuer rollover wants NAME and --standby NEW\n", stderr);
        return 2;
    }
    wanted.name = argv[optind + 1];
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none); /* the PIN passes through this process */
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    umask(077);
    CA_AUTO(free) char *path = serve_config_path(context);
    struct service *service = NULL;
    enum ca_status status = path ? service_open(path, &service) : CA_INTERNAL;
    if (status == CA_OK)
        status = rollover(service, &wanted);
    if (status != CA_OK) {
        fprintf(stderr, "sealwright issuer rollover: %s\n", status_message());
    } else {
        printf("issuer '%s' stands by for '%s'; devices see it by GetNextCACert\n",
               wanted.standby, wanted.name);
        daemon_signal(&service->config);
    }
    if (service)
        service_close(service);
    return status == CA_OK ? 0 : 1;
}

static const char *const actions[] = { "rollover", NULL };

const struct command rollover_command = {
    .name = "issuer",
    .actions = actions,
    .summary = "issuer rollover: make the next issuer ready",
    .help =
        "Usage: sealwright issuer rollover NAME --standby NEW [OPTION...]\n"
        "\n"
        "Makes a key in the token, a certificate by the same parent and an RA\n"
        "certificate for the issuer that is to follow NAME, and lets devices see it.\n"
        "\n"
        "  --standby NEW     name of the new issuer\n"
        "  --algorithm ALG   p-256 (default), p-384, rsa-2048, rsa-3072, rsa-4096\n"
        "  --token NAME      the configuration's token for the keys (the first)\n"
        "  --subject TEXT    its subject (default: that of NAME with NEW)\n"
        "\n"
        "Example:\n"
        "  sealwright issuer rollover issuing --standby issuing-2\n",
    .run = rollover_run,
};
