/* The verb `activate`: its command line, and what is printed at the end. */
#include "activate_client.h"
#include "activate_exchange.h"
#include "activate_secret.h"
#include "auto.h"
#include "cli_table.h"
#include <stddef.h>
#include <string.h>
#include <sys/resource.h>

#define WAIT_MAX 60

static const char help[] =
    "Usage: sealwright activate --server URL --user NAME [OPTION...]\n"
    "       sealwright activate LINK [OPTION...]\n"
    "\n"
    "Activates this device with an activation password (ECSPEKE-ACT-1): agrees on "
    "keys\n"
    "with the server, gets a certificate, reports the device, enrols its working\n"
    "certificate by the SCEP profile that it is given, and reads its policy. LINK is "
    "that\n"
    "of the mail or the QR code; '-' reads it from standard input, where no list of\n"
    "processes shows the password in it.\n"
    "\n"
    "Options:\n"
    "  --server URL              https address to activate at\n"
    "  --user NAME               login name or mail address\n"
    "  --ref REF                 which of several activation passwords (default: "
    "none)\n"
    "  --password-file FILE      activation password (default: asked for)\n"
    "  --out DIR                 folder for what comes of it (default: ./activation)\n"
    "  --out-password-file FILE  password of the keys' files (default: asked for)\n"
    "  --key-token URI           make keys in this token, e.g. pkcs11:token=device\n"
    "  --key-module FILE         its PKCS#11 library\n"
    "  --key-pin FILE            file with its PIN\n"
    "  --scep-mode MODE          simple, assisted or proxy (default: the first of "
    "them\n"
    "                            that the profile offers)\n"
    "  --only-activate           neither SCEP nor policy\n"
    "  --wait SECONDS            then wait so long for another policy\n"
    "\n"
    "With --cacert the server's certificate is checked from the start; without it the\n"
    "exchange alone proves the server, and only the user's name is told before.\n"
    "\n"
    "Files: activation.p12 and scep.p12 (with --key-token: .pem), root.pem, "
    "policy.json.\n"
    "\n"
    "Examples:\n"
    "  sealwright activate --server https://ca.example.com:8443 --user alice\n"
    "  sealwright activate - <link --out /var/lib/device --out-password-file "
    "/dev/fd/3\n"
    "  sealwright activate --server https://ca.example.com:8443 --user alice \\\n"
    "    --key-token pkcs11:token=device --key-module /usr/lib/softhsm/libsofthsm2.so "
    "\\\n"
    "    --key-pin /etc/device.pin\n";

static const struct {
    const char *name;
    size_t offset; /* of a text in the options */
} texts[] = {
    { "server", offsetof(struct activate_options, server) },
    { "user", offsetof(struct activate_options, user) },
    { "ref", offsetof(struct activate_options, ref) },
    { "password-file", offsetof(struct activate_options, password_file) },
    { "out", offsetof(struct activate_options, out) },
    { "out-password-file", offsetof(struct activate_options, out_password_file) },
    { "key-token", offsetof(struct activate_options, place.uri) },
    { "key-module", offsetof(struct activate_options, place.module) },
    { "key-pin", offsetof(struct activate_options, place.pin) },
    { "scep-mode", offsetof(struct activate_options, scep_mode) },
};

static int
misused(const char *reason)
{
    fprintf(stderr, "sealwright activate: %s; see sealwright activate --help\n",
            reason);
    return 2;
}

static int
failed(void)
{
    fprintf(stderr, "sealwright activate: %s\n", status_message());
    return 1;
}

/* Where the value of `--NAME` goes, NULL: no such option. */
static const char **
text_find(struct activate_options *options, const char *name, size_t length)
{
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strlen(texts[i].name) == length && memcmp(texts[i].name, name, length) == 0)
            return (const char **)(void *)((char *)options + texts[i].offset);
    }
    return NULL;
}

static bool
wait_parse(const char *text, int64_t *ret_seconds)
{
    char *end = NULL;
    *ret_seconds = strtol(text, &end, 10);
    return *text && !*end && *ret_seconds >= 1 && *ret_seconds <= WAIT_MAX;
}

/* Reads argv[at] and its value; the number of words, 0: `ret_reason`. */
static int
option_take(struct activate_options *options, char **argv, int at,
            const char **ret_reason)
{
    const char *name = argv[at] + 2;
    size_t length = strcspn(name, "=");
    const char *wait = NULL;
    if (strcmp(name, "only-activate") == 0) {
        options->only_activate = true;
        return 1;
    }
    bool is_wait = length == 4 && memcmp(name, "wait", 4) == 0;
    const char **value = is_wait ? &wait : text_find(options, name, length);
    *ret_reason = "an option is unknown or lacks its value";
    if (!value || (!name[length] && !argv[at + 1]))
        return 0;
    *value = name[length] ? name + length + 1 : argv[at + 1];
    *ret_reason = "--wait takes 1 to 60 seconds";
    if (is_wait && !wait_parse(wait, &options->wait))
        return 0;
    return name[length] ? 1 : 2;
}

/* The command line; `ret_link` is the word that is no option, or NULL. */
static bool
options_parse(struct activate_options *options, char **argv, char **ret_link,
              const char **ret_reason)
{
    char *link = NULL;
    int words = 1;
    for (int at = 1; argv[at]; at += words) {
        words = strncmp(argv[at], "--", 2) == 0
                    ? option_take(options, argv, at, ret_reason)
                    : 1;
        if (words == 0)
            return false;
        *ret_reason = "either --server and --user, or one link";
        if (strncmp(argv[at], "--", 2) == 0)
            continue;
        if (link)
            return false;
        link = argv[at];
    }
    bool is_token = options->place.uri;
    *ret_reason = "either --server and --user, or one link";
    if ((link != NULL) == (options->server != NULL) ||
        (options->server != NULL) != (options->user != NULL) || (link && options->ref))
        return false;
    *ret_reason = "--scep-mode takes simple, assisted or proxy";
    if (options->scep_mode && !activate_scep_mode_is_known(options->scep_mode))
        return false;
    *ret_reason = "--key-token, --key-module and --key-pin belong together";
    *ret_link = link;
    return is_token == (options->place.module != NULL) &&
           is_token == (options->place.pin != NULL);
}

/* Takes the password out of the list of processes as soon as it is read. */
static enum ca_status
link_take(char *word, struct activate_link *ret_link)
{
    CA_AUTO(secret_free) char *text = NULL;
    enum ca_status status = CA_OK;
    if (strcmp(word, "-") == 0)
        status = activate_secret_read("-", "", 0, &text);
    else if (!(text = strdup(word)))
        status = ca_fail(CA_INTERNAL, "no memory");
    else
        OPENSSL_cleanse(word, strlen(word));
    return status == CA_OK ? activate_link_parse(text, ret_link) : status;
}

static enum ca_status
link_make(const struct activate_options *options, struct activate_link *ret_link)
{
    ret_link->base = strdup(options->server);
    ret_link->user = strdup(options->user);
    ret_link->ref = strdup(options->ref ? options->ref : "");
    ret_link->server = activate_authority(options->server);
    if (!ret_link->server)
        return ca_fail(CA_MALFORMED,
                       "--server wants an address like https://ca.example.com:8443");
    return ret_link->base && ret_link->user && ret_link->ref
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory");
}

static int
outcome_print(const struct command_context *context, const struct activate *activate)
{
    bool holds = context->json
                     ? json_dumpf(activate->outcome, stdout, JSON_INDENT(2)) == 0 &&
                           puts("") >= 0
                     : cli_record_print(stdout, activate->outcome);
    return holds && fflush(stdout) == 0 ? 0 : 1;
}

static int
run(const struct command_context *context, int argc, char **argv)
{
    const struct rlimit none = { 0, 0 };
    struct activate_options options = { .out = "./activation",
                                        .ca_file = context->ca_file };
    struct activate activate = { .options = &options };
    const char *reason = "";
    char *link = NULL;
    setrlimit(RLIMIT_CORE, &none); /* SECURITY I5 */
    (void)argc;                    /* a NULL ends them */
    if (!options_parse(&options, argv, &link, &reason))
        return misused(reason);
    enum ca_status status =
        link ? link_take(link, &activate.link) : link_make(&options, &activate.link);
    if (status == CA_OK)
        status = activate_run(&activate);
    /* A device that is activated and no more is worth telling, too. */
    int result =
        json_object_size(activate.outcome) > 0 ? outcome_print(context, &activate) : 0;
    if (status != CA_OK)
        result = failed();
    activate_clear(&activate);
    return result;
}

const struct command activate_command = {
    .name = "activate",
    .summary = "activate this device with an activation password",
    .help = help,
    .run = run,
};
