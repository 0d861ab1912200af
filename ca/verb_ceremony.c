/* `sealwright ceremony FILE` and `ceremony verify`: a reviewed script of acts, its
 * rehearsal, its transcript, and the proof of it later. */
#include "audit.h"
#include "auto.h"
#include "ceremony_script.h"
#include "clock.h"
#include "serve.h"
#include "text.h"
#include "verb.h"
#include <libgen.h>
#include <string.h>

struct run {
    struct service *service;
    struct ceremony ceremony;
    struct ceremony_script script;
    char actor[96];
    char sha256[65]; /* of the script's file */
};

/* ---- CRLs ---- */

struct crl_read {
    const char *issuer;
    struct authority_crl crl;
};

static enum ca_status
crl_step(struct store_tx *tx, void *arg)
{
    struct crl_read *read = arg;
    return authority_crl_load(tx, read->issuer, true, &read->crl);
}

static enum ca_status
crl_make(void *arg, const char *issuer, struct ceremony_made *ret_made)
{
    struct service *service = arg;
    struct crl_read read = { .issuer = issuer };
    enum ca_status status = verb_build_crl(service, issuer);
    if (status == CA_OK)
        status = store_read(service->store, crl_step, &read);
    if (status == CA_OK) {
        ret_made->der = OPENSSL_memdup(read.crl.der, read.crl.der_size);
        ret_made->size = read.crl.der_size;
        if (!ret_made->der)
            status = ca_fail(CA_INTERNAL, "no memory for a CRL");
    }
    authority_crl_clear(&read.crl);
    return status;
}

/* ---- The run ---- */

static bool
run_open(const struct command_context *context, struct run *run)
{
    if (verb_open(context, &run->service) != CA_OK)
        return false;
    const struct config_token *first = run->service->config.tokens.items;
    verb_actor(run->actor, sizeof run->actor);
    run->ceremony = (struct ceremony){
        .store = run->service->store,
        .tokens = run->service->tokens,
        .token = run->service->config.tokens.count > 0 ? first->name : "",
        .plain_url = run->service->organisation.plain_url,
        .run = run->service->run,
        .actor = run->actor,
    };
    return true;
}

/* The whole of it as text, members sorted; free() it. */
static char *
transcript_format(const struct run *run, json_t *acts, int64_t begun,
                  const char *outcome)
{
    char from[21], to[21];
    time_format(begun, from);
    time_format(clock_now(), to);
    json_t *people = json_array();
    char *const *names = run->script.people.items;
    for (size_t i = 0; i < run->script.people.count; i++)
        json_array_append_new(people, json_string(names[i]));
    CA_AUTO(json_decref)
    json_t *transcript = json_pack(
        "{s:s, s:s, s:o, s:s, s:s, s:s, s:s, s:s, s:s, s:O}", "ceremony",
        run->script.ceremony, "script_sha256", run->sha256, "people", people, "begun",
        from, "ended", to, "operator", run->actor, "instance", audit_instance(),
        "version", SEALWRIGHT_VERSION, "outcome", outcome, "acts", acts);
    return transcript ? json_dumps(transcript, JSON_INDENT(2) | JSON_SORT_KEYS) : NULL;
}

/* Transcript and record, also of a ceremony that failed half way. */
static enum ca_status
run_record(const struct run *run, json_t *acts, int64_t begun, const char *path,
           const char *outcome)
{
    CA_AUTO(free) char *text = transcript_format(run, acts, begun, outcome);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a transcript");
    enum ca_status status = verb_file_write(path, text, strlen(text));
    if (status == CA_OK)
        status = ceremony_record_append(&run->ceremony, text, strlen(text),
                                        run->script.ceremony, outcome);
    if (status == CA_OK)
        printf("transcript: %s\n", path);
    return status;
}

static void
acts_print(const struct command_context *context, json_t *acts)
{
    static const struct cli_column columns[] = {
        { "act", "ACT" }, { "name", "NAME" },      { "role", "ROLE" },
        { "key", "KEY" }, { "would_end", "ENDS" }, { "outcome", "OUTCOME" },
        { NULL, NULL },
    };
    verb_print_rows(context, columns, json_incref(acts));
}

/* A transcript's path that nothing has yet. */
static bool
transcript_path(const char *script, const char *given, char **ret_path)
{
    char when[21];
    time_format(clock_now(), when);
    if (given)
        *ret_path = strdup(given);
    else if (asprintf(ret_path, "%s.%s.transcript", script, when) < 0)
        *ret_path = NULL;
    return *ret_path != NULL;
}

static enum ca_status
run_acts(const struct command_context *context, struct run *run, const char *script,
         const char *transcript, bool rehearses)
{
    CA_AUTO(free) char *copy = strdup(script);
    CA_AUTO(free) char *path = NULL;
    CA_AUTO(json_decref) json_t *acts = NULL;
    int64_t begun = clock_now();
    if (!copy || !transcript_path(script, transcript, &path))
        return ca_fail(CA_INTERNAL, "no memory for a path");
    const struct ceremony_stage stage = { .ceremony = &run->ceremony,
                                          .folder = dirname(copy),
                                          .rehearses = rehearses,
                                          .crl = crl_make,
                                          .arg = run->service };
    enum ca_status status = ceremony_script_run(&stage, &run->script, &acts);
    if (acts)
        acts_print(context, acts);
    if (rehearses || !acts)
        return status;
    CA_AUTO(free) char *reason = strdup(status == CA_OK ? "ok" : status_message());
    enum ca_status kept = run_record(run, acts, begun, path,
                                     status == CA_OK ? "ok" : ca_status_name(status));
    /* The act's own failure is what the operator must see. */
    if (status != CA_OK)
        return ca_fail(status, "%s", reason ? reason : "");
    return kept;
}

/* The real one begins only when its rehearsal passed. */
static enum ca_status
run_script(const struct command_context *context, struct run *run, const char *script,
           const char *transcript, bool is_dry)
{
    struct command_context quiet = *context;
    json_t *acts = NULL;
    CA_AUTO(free) char *copy = strdup(script);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a path");
    if (is_dry)
        return run_acts(&quiet, run, script, NULL, true);
    const struct ceremony_stage stage = { .ceremony = &run->ceremony,
                                          .folder = dirname(copy),
                                          .rehearses = true };
    enum ca_status status = ceremony_script_run(&stage, &run->script, &acts);
    json_decref(acts);
    return status == CA_OK ? run_acts(context, run, script, transcript, false) : status;
}

static int
ceremony_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2], *transcript = NULL;
    bool is_dry = false;
    const struct verb_option options[] = { { "dry-run", NULL, &is_dry },
                                           { "transcript", &transcript, NULL },
                                           { NULL, NULL, NULL } };
    const struct command *command = &ceremony_command;
    CA_AUTO(free) char *text = NULL;
    size_t size = 0;
    struct run run = { 0 };
    if (!verb_parse(command, options, argc, argv, words, 1, 1))
        return 2;
    if (verb_file_read(words[0], &text, &size) != CA_OK ||
        ceremony_sha256(text, size, run.sha256) != CA_OK ||
        ceremony_script_decode(text, size, &run.script) != CA_OK)
        return verb_failed(command);
    fprintf(stderr, "SHA-256 of the script: %s\n", run.sha256);
    int result = 1;
    if (!run_open(context, &run)) {
        verb_failed(command);
    } else {
        enum ca_status status = run_script(context, &run, words[0], transcript, is_dry);
        result = status == CA_OK ? 0 : verb_failed(command);
        if (!is_dry)
            verb_signal_daemon(&run.service->config);
        service_close(run.service);
    }
    field_clear(ceremony_script_fields, &run.script);
    return result;
}

static int
verify_run(const struct command_context *context, int argc, char **argv)
{
    const char *words[2];
    const struct command *command = &ceremony_verify_command;
    CA_AUTO(free) char *text = NULL;
    size_t size = 0;
    struct service *service = NULL;
    if (!verb_parse(command, NULL, argc, argv, words, 1, 1))
        return 2;
    if (verb_file_read(words[0], &text, &size) != CA_OK ||
        verb_open(context, &service) != CA_OK)
        return verb_failed(command);
    int result = 0;
    if (ceremony_record_verify(service->store, service->tokens, text, size) == CA_OK)
        puts("the transcript is the audit's, its signature and certificates hold");
    else
        result = verb_failed(command);
    service_close(service);
    return result;
}

const struct command ceremony_command = {
    .name = "ceremony",
    .summary = "do the acts of a reviewed script: keys, issuers, requests, CRLs",
    .help =
        "Usage: sealwright ceremony FILE [--dry-run] [--transcript FILE]\n"
        "\n"
        "FILE is JSON: {\"ceremony\": TITLE, \"people\": [...], \"acts\": [{\"act\": "
        "KIND, ...}]} with\n"
        "the kinds root, issuer, helper, csr, import, cross and crl (docs/operations.md"
        "). All acts\n"
        "are rehearsed first; then they are done in order, up to the first that fails. "
        "The\n"
        "transcript has the SHA-256 of what went in and came out; its digest, signed "
        "by the audit\n"
        "key, goes into the audit.\n"
        "\n"
        "  --dry-run          only rehearse: nothing is made, signed or recorded\n"
        "  --transcript FILE  where it goes (FILE.TIME.transcript)\n"
        "\n"
        "Examples:\n"
        "  sealwright ceremony 2027-root.json --dry-run\n"
        "  sealwright ceremony verify 2027-root.transcript\n",
    .run = ceremony_run,
};

static const char *const verify_actions[] = { "verify", NULL };
const struct command ceremony_verify_command = {
    .name = "ceremony",
    .actions = verify_actions,
    .summary = "ceremony verify: hold a transcript against the audit",
    .help = "Usage: sealwright ceremony verify TRANSCRIPT\n"
            "\n"
            "Finds the transcript's digest in the audit, checks the audit, the "
            "signature of the record\n"
            "by the audit key, and the certificates of its acts.\n"
            "\n"
            "Example:\n"
            "  sealwright ceremony verify 2027-root.transcript\n",
    .run = verify_run,
};
