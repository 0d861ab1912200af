/* `sealwright issuer create|csr|import|renew-helpers|retire`: the CAs of this domain,
 * made, certified elsewhere, kept and ended. */
#include "auto.h"
#include "ceremony.h"
#include "crl.h"
#include "serve.h"
#include "verb.h"
#include <openssl/pem.h>
#include <string.h>
#include <unistd.h>

#define PATH_LENGTH_MOST 16

/* What an issuer verb works with, once the service is open. */
struct work {
    const struct command *command;
    struct service *service;
    struct ceremony ceremony;
    char actor[96];
};

/* False: said why. work_close it. */
static bool
work_open(const struct command *command, const struct command_context *context,
          const char *token, struct work *work)
{
    *work = (struct work){ .command = command };
    if (verb_open(context, &work->service) != CA_OK) {
        verb_failed(command);
        return false;
    }
    const struct config_token *first = work->service->config.tokens.items;
    verb_actor(work->actor, sizeof work->actor);
    work->ceremony = (struct ceremony){
        .store = work->service->store,
        .tokens = work->service->tokens,
        .token = token                                    ? token
                 : work->service->config.tokens.count > 0 ? first->name
                                                          : "",
        .plain_url = work->service->organisation.plain_url,
        .run = work->service->run,
        .actor = work->actor,
    };
    return true;
}

/* After a change: the daemon sees it. The exit status. */
static int
work_close(struct work *work, enum ca_status status)
{
    int result = status == CA_OK ? 0 : verb_failed(work->command);
    if (status == CA_OK)
        verb_signal_daemon(&work->service->config);
    service_close(work->service);
    return result;
}

enum ca_status
verb_build_crl(struct service *service, const char *name)
{
    enum ca_status status = service_reload(service);
    if (status != CA_OK)
        return status;
    struct issuers *issuers = service_issuers(service);
    const struct issuer *issuer = issuers_find(issuers, name);
    CA_AUTO(free) char *url = service_url(service, "crl", name, ".crl");
    if (!issuer)
        status = ca_fail(CA_INTERNAL, "issuer '%s' did not load", name);
    else if (issuer->key)
        status = crl_build(service->store, issuer, url);
    issuers_release(issuers);
    return status;
}

static enum ca_status
pem_write(const char *path, const char *label, const struct ceremony_made *made)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    char *text = NULL;
    if (!bio || PEM_write_bio(bio, label, "", made->der, (long)made->size) <= 0)
        return ca_fail_openssl(CA_INTERNAL, "no PEM");
    long length = BIO_get_mem_data(bio, &text);
    if (!path) {
        fwrite(text, 1, (size_t)length, stdout);
        return CA_OK;
    }
    return verb_file_write(path, text, (size_t)length);
}

/* ---- issuer create ---- */

/* -1 without a limit; a CA below another one signs leaves only unless told. */
static bool
path_length_parse(const char *text, const char *parent, long *ret_length)
{
    *ret_length = parent ? 0 : -1;
    if (!text)
        return true;
    if (strcmp(text, "none") == 0) {
        *ret_length = -1;
        return true;
    }
    return verb_number("path-length", text, 0, PATH_LENGTH_MOST, ret_length) == CA_OK;
}

static int
create_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2], *parent = NULL, *subject = NULL, *algorithm = NULL;
    const char *token = NULL, *validity = NULL, *length = NULL;
    bool is_standby = false;
    const struct verb_option options[] = {
        { "subject", &subject, NULL },     { "parent", &parent, NULL },
        { "algorithm", &algorithm, NULL }, { "token", &token, NULL },
        { "validity", &validity, NULL },   { "path-length", &length, NULL },
        { "standby", NULL, &is_standby },  { NULL, NULL, NULL },
    };
    const struct command *command = &issuer_create_command;
    struct ceremony_issuer wanted = { 0 };
    long path_length = 0;
    if (!verb_parse(command, options, argc, argv, words, 1, 1))
        return 2;
    if (!subject)
        return verb_misused(command, "--subject is missing");
    if (!path_length_parse(length, parent, &path_length))
        return verb_misused(command, "%s", status_message());
    if (verb_duration(validity, parent ? "P10Y" : "P20Y", &wanted.validity) != CA_OK)
        return verb_misused(command, "%s", status_message());
    wanted.name = words[0];
    wanted.subject = subject;
    wanted.algorithm = algorithm ? algorithm : parent ? "p-256" : "p-384";
    wanted.parent = parent;
    wanted.path_length = (int)path_length;
    wanted.state = is_standby ? AUTHORITY_STANDBY : AUTHORITY_ACTIVE;
    struct work work;
    if (!work_open(command, context, token, &work))
        return 1;
    enum ca_status status = ceremony_create_issuer(&work.ceremony, &wanted);
    if (status == CA_OK)
        status = verb_build_crl(work.service, words[0]);
    if (status == CA_OK)
        printf("issuer '%s' is made\n", words[0]);
    return work_close(&work, status);
}

/* ---- issuer csr and issuer import ---- */

static int
csr_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2], *subject = NULL, *algorithm = "p-256", *token = NULL;
    const char *out = NULL;
    const struct verb_option options[] = {
        { "subject", &subject, NULL }, { "algorithm", &algorithm, NULL },
        { "token", &token, NULL },     { "out", &out, NULL },
        { NULL, NULL, NULL },
    };
    const struct command *command = &issuer_csr_command;
    if (!verb_parse(command, options, argc, argv, words, 1, 1))
        return 2;
    if (!subject)
        return verb_misused(command, "--subject is missing");
    if (out && access(out, F_OK) == 0) { /* before a key is made in vain */
        (void)ca_fail(CA_CONFLICT, "%s exists", out);
        return verb_failed(command);
    }
    struct work work;
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    if (!work_open(command, context, token, &work))
        return 1;
    enum ca_status status = ceremony_request(
        &work.ceremony,
        &(struct ceremony_request){
            .name = words[0], .subject = subject, .algorithm = algorithm },
        &made);
    if (status == CA_OK)
        status = pem_write(out, "CERTIFICATE REQUEST", &made);
    if (status == CA_OK)
        fprintf(stderr, "the key is %s\n", made.key);
    int result = status == CA_OK ? 0 : verb_failed(command);
    service_close(work.service);
    return result;
}

static int
import_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2], *certificate = NULL, *chain = NULL, *key = NULL;
    bool is_standby = false, only_check = false;
    const struct verb_option options[] = {
        { "certificate", &certificate, NULL },
        { "chain", &chain, NULL },
        { "key", &key, NULL },
        { "standby", NULL, &is_standby },
        { "check", NULL, &only_check },
        { NULL, NULL, NULL },
    };
    const struct command *command = &issuer_import_command;
    if (!verb_parse(command, options, argc, argv, words, 1, 1))
        return 2;
    if (!certificate)
        return verb_misused(command, "--certificate is missing");
    CA_AUTO(free) char *certificate_text = NULL;
    CA_AUTO(free) char *chain_text = NULL;
    size_t size = 0;
    if (verb_file_read(certificate, &certificate_text, &size) != CA_OK ||
        (chain && verb_file_read(chain, &chain_text, &size) != CA_OK))
        return verb_failed(command);
    struct work work;
    CA_AUTO(ceremony_made_clear) struct ceremony_made made = { 0 };
    if (!work_open(command, context, NULL, &work))
        return 1;
    enum ca_status status =
        ceremony_import(&work.ceremony,
                        &(struct ceremony_import){
                            .name = words[0],
                            .certificate = certificate_text,
                            .chain = chain_text,
                            .key = key,
                            .state = is_standby ? AUTHORITY_STANDBY : AUTHORITY_ACTIVE,
                            .only_check = only_check,
                        },
                        &made);
    if (status == CA_OK && !only_check)
        status = verb_build_crl(work.service, words[0]);
    if (status == CA_OK)
        printf(only_check ? "issuer '%s' could be imported\n"
                          : "issuer '%s' is imported; see issuer renew-helpers\n",
               words[0]);
    return work_close(&work, status);
}

/* ---- issuer renew-helpers ---- */

/* Every active issuer that has others above it, or the one named. */
static enum ca_status
helpers_renew(struct work *work, struct ceremony_renewal *renewal, size_t *ret_made)
{
    struct issuers *issuers = service_issuers(work->service);
    const char *only = renewal->issuer;
    enum ca_status status = CA_OK;
    size_t made = 0, seen = 0;
    for (size_t i = 0; status == CA_OK && i < issuers_count(issuers); i++) {
        const struct issuer *issuer = issuers_at(issuers, i);
        if (only ? strcmp(only, issuer->name) != 0
                 : issuer->state != AUTHORITY_ACTIVE || !issuer->key ||
                       sk_X509_num(issuer->chain) == 0)
            continue;
        renewal->issuer = issuer->name;
        status = ceremony_renew_helpers(&work->ceremony, renewal, &made);
        *ret_made += made;
        seen++;
    }
    issuers_release(issuers);
    if (status == CA_OK && only && seen == 0)
        status = ca_fail(CA_NOT_FOUND, "no issuer '%s'", only);
    return status;
}

static int
helpers_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2], *role = NULL, *token = NULL, *window = NULL;
    bool is_forced = false;
    const struct verb_option options[] = {
        { "role", &role, NULL },     { "token", &token, NULL },
        { "window", &window, NULL }, { "force", NULL, &is_forced },
        { NULL, NULL, NULL },
    };
    const struct command *command = &issuer_helpers_command;
    struct ceremony_renewal renewal = { 0 };
    if (!verb_parse(command, options, argc, argv, words, 0, 1))
        return 2;
    if (verb_duration(window, "P60D", &renewal.window) != CA_OK)
        return verb_misused(command, "%s", status_message());
    if (is_forced)
        renewal.window = -1;
    renewal.issuer = words[0];
    renewal.roles[HELPER_RA] = !role || strcmp(role, "ra") == 0;
    renewal.roles[HELPER_OCSP] = !role || strcmp(role, "ocsp") == 0;
    if (!renewal.roles[HELPER_RA] && !renewal.roles[HELPER_OCSP])
        return verb_misused(command, "--role is ra or ocsp");
    struct work work;
    size_t made = 0;
    if (!work_open(command, context, token, &work))
        return 1;
    enum ca_status status = helpers_renew(&work, &renewal, &made);
    if (status == CA_OK)
        printf("%zu new\n", made);
    return work_close(&work, status);
}

/* ---- issuer retire ---- */

static int
retire_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2];
    const struct command *command = &issuer_retire_command;
    struct work work;
    if (!verb_parse(command, NULL, argc, argv, words, 1, 1))
        return 2;
    if (!work_open(command, context, NULL, &work))
        return 1;
    /* A last list first: the key is gone afterwards. */
    enum ca_status status = verb_build_crl(work.service, words[0]);
    if (status == CA_OK)
        status = ceremony_retire(&work.ceremony, words[0]);
    if (status == CA_OK)
        printf("issuer '%s' has ended; its key can be destroyed\n", words[0]);
    return work_close(&work, status);
}

/* ---- The verbs ---- */

static const char *const create_actions[] = { "create", NULL };
const struct command issuer_create_command = {
    .name = "issuer",
    .actions = create_actions,
    .summary = "issuer create: make a root or a CA below an issuer here",
    .help =
        "Usage: sealwright issuer create NAME --subject TEXT [OPTION...]\n"
        "\n"
        "Makes a key in a token and its certificate, self-signed or by --parent, and a "
        "first CRL.\n"
        "\n"
        "  --subject TEXT       \"CN=Example Issuing CA,O=Example\"\n"
        "  --parent NAME        issuer that certifies it (none: a root)\n"
        "  --algorithm ALG      p-256, p-384, rsa-2048, rsa-3072, rsa-4096 (a root: "
        "p-384)\n"
        "  --token NAME         the configuration's token for the key (the first)\n"
        "  --validity DURATION  P20Y for a root, else P10Y; at most the parent's\n"
        "  --path-length N      CAs that may follow below; none: no limit (0 with "
        "--parent)\n"
        "  --standby            it does not issue before it is activated\n"
        "\n"
        "Examples:\n"
        "  sealwright issuer create root --subject \"CN=Example Root CA,O=Example\"\n"
        "  sealwright issuer create vpn --parent root --subject \"CN=Example VPN CA\" "
        "--validity P5Y\n",
    .run = create_run,
};

static const char *const csr_actions[] = { "csr", NULL };
const struct command issuer_csr_command = {
    .name = "issuer",
    .actions = csr_actions,
    .summary = "issuer csr: ask an outside CA to certify a key here",
    .help = "Usage: sealwright issuer csr NAME --subject TEXT [OPTION...]\n"
            "\n"
            "Makes a key in a token and a PKCS#10 request for a CA certificate, for an "
            "offline root\n"
            "to sign; then `issuer import`. Where issuer NAME exists, its own key is "
            "used: to renew\n"
            "its certificate.\n"
            "\n"
            "  --subject TEXT   \"CN=Example Issuing CA,O=Example\"\n"
            "  --algorithm ALG  p-256 (default), p-384, rsa-2048, rsa-3072, rsa-4096\n"
            "  --token NAME     the configuration's token for the key (the first)\n"
            "  --out FILE       the request goes there, not to standard output\n"
            "\n"
            "Example:\n"
            "  sealwright issuer csr issuing --subject \"CN=Example Issuing CA\" --out "
            "issuing.csr\n",
    .run = csr_run,
};

static const char *const import_actions[] = { "import", NULL };
const struct command issuer_import_command = {
    .name = "issuer",
    .actions = import_actions,
    .summary = "issuer import: take the certificate that an outside CA signed",
    .help = "Usage: sealwright issuer import NAME --certificate FILE [OPTION...]\n"
            "\n"
            "Finds the key of the certificate in the tokens and checks the certificate "
            "and its chain\n"
            "up to the root. Of an issuer that exists it takes a renewed certificate "
            "with the same\n"
            "key and subject.\n"
            "\n"
            "  --certificate FILE  PEM, the one certificate\n"
            "  --chain FILE        PEM of the CAs above it, the root included\n"
            "  --key URI           its key, when it is not to be searched for\n"
            "  --standby           it does not issue before it is activated\n"
            "  --check             only check, record nothing\n"
            "\n"
            "Example:\n"
            "  sealwright issuer import issuing --certificate issuing.pem --chain "
            "root.pem\n",
    .run = import_run,
};

static const char *const helpers_actions[] = { "renew-helpers", NULL };
const struct command issuer_helpers_command = {
    .name = "issuer",
    .actions = helpers_actions,
    .summary = "issuer renew-helpers: new RA and OCSP keys before theirs end",
    .help = "Usage: sealwright issuer renew-helpers [NAME] [OPTION...]\n"
            "\n"
            "For issuer NAME, or every active one that is no root: a new RA and OCSP "
            "key with its\n"
            "certificate where there is none or it ends soon. The previous ones stay "
            "for an overlap.\n"
            "\n"
            "  --role ROLE        ra or ocsp alone\n"
            "  --window DURATION  what soon is (P60D)\n"
            "  --force            whenever it ends\n"
            "  --token NAME       the configuration's token for the keys (the first)\n"
            "\n"
            "Example:\n"
            "  sealwright issuer renew-helpers --window P90D\n",
    .run = helpers_run,
};

static const char *const retire_actions[] = { "retire", NULL };
const struct command issuer_retire_command = {
    .name = "issuer",
    .actions = retire_actions,
    .summary = "issuer retire: end an issuer whose certificates are over",
    .help = "Usage: sealwright issuer retire NAME\n"
            "\n"
            "Signs a last CRL and forgets the key of an issuer that was rolled over. "
            "Refused while a\n"
            "certificate of it is valid or a profile names it. `key destroy` ends the "
            "key itself.\n"
            "\n"
            "Example:\n"
            "  sealwright issuer retire issuing\n",
    .run = retire_run,
};
