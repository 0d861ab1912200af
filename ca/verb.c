/* Options, files, questions and tables of the verbs of this machine. */
#include "verb.h"
#include "auto.h"
#include "serve.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPTIONS_MAX 16
#define NAME_SIZE 64

/* "sealwright issuer create", or "sealwright check" where the verb has no actions. */
static void
name_print(const struct command *command)
{
    bool has_action = command->actions && command->actions[0];
    fprintf(stderr, "sealwright %s%s%s: ", command->name, has_action ? " " : "",
            has_action ? command->actions[0] : "");
}

int
verb_failed(const struct command *command)
{
    name_print(command);
    fprintf(stderr, "%s\n", status_message());
    return 1;
}

int
verb_misused(const struct command *command, const char *format, ...)
{
    va_list args;
    name_print(command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    return 2;
}

static bool
words_take(const struct command *command, int argc, char **argv, const char **ret_words,
           size_t least, size_t most)
{
    /* getopt moved the verb and its action in front of the other words. */
    int skip = command->actions && command->actions[0] ? 1 : 0;
    int first = optind + skip;
    size_t count = argc > first ? (size_t)(argc - first) : 0;
    if (count < least || count > most) {
        verb_misused(command, count < least ? "a word is missing" : "what is '%s'?",
                     count > most ? argv[first + (int)most] : "");
        fputs(command->help, stderr);
        return false;
    }
    for (size_t i = 0; i < count; i++)
        ret_words[i] = argv[first + (int)i];
    if (most > 0)
        ret_words[count] = NULL;
    return true;
}

bool
verb_parse(const struct command *command, const struct verb_option *options, int argc,
           char **argv, const char **ret_words, size_t least, size_t most)
{
    struct option table[OPTIONS_MAX + 1] = { 0 };
    size_t count = 0;
    for (; options && options[count].name && count < OPTIONS_MAX; count++)
        table[count] =
            (struct option){ options[count].name,
                             options[count].text ? required_argument : no_argument,
                             NULL, (int)count + 1 };
    optind = 1;
    for (int c; (c = getopt_long(argc, argv, "", table, NULL)) != -1;) {
        if (c < 1 || c > (int)count)
            return false;
        const struct verb_option *option = &options[c - 1];
        if (option->text)
            *option->text = optarg;
        else
            *option->flag = true;
    }
    return words_take(command, argc, argv, ret_words, least, most);
}

void
verb_harden(void)
{
    const struct rlimit none = { 0, 0 };
    setrlimit(RLIMIT_CORE, &none);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    umask(077);
    signal(SIGPIPE, SIG_IGN);
}

enum ca_status
verb_open(const struct command_context *context, struct service **ret_service)
{
    verb_harden();
    CA_AUTO(free) char *path = serve_config_path(context);
    return path ? service_open(path, ret_service)
                : ca_fail(CA_INTERNAL, "no memory for a path");
}

enum ca_status
verb_config(const struct command_context *context, struct config *ret_config)
{
    verb_harden();
    CA_AUTO(free) char *path = serve_config_path(context);
    return path ? config_load(path, ret_config)
                : ca_fail(CA_INTERNAL, "no memory for a path");
}

void
verb_signal_daemon(const struct config *config)
{
    CA_AUTO(fclose) FILE *file = config->pid_file ? fopen(config->pid_file, "r") : NULL;
    long pid = 0;
    if (file && fscanf(file, "%ld", &pid) == 1 && pid > 1 &&
        kill((pid_t)pid, SIGHUP) == 0)
        fprintf(stderr, "the daemon (process %ld) reads it now\n", pid);
}

enum ca_status
verb_duration(const char *text, const char *initial, int64_t *ret_seconds)
{
    const char *wanted = text ? text : initial;
    if (!duration_parse(wanted, ret_seconds) || *ret_seconds <= 0)
        return ca_fail(CA_MALFORMED, "'%s' is no duration: P5Y, P90D, PT12H", wanted);
    return CA_OK;
}

enum ca_status
verb_number(const char *option, const char *text, long least, long most,
            long *ret_number)
{
    char *end = NULL;
    errno = 0;
    long number = strtol(text, &end, 10);
    bool is_number = *text && *end == '\0' && errno == 0 && !strchr(" \t\n+", *text);
    if (!is_number || number < least || number > most)
        return ca_fail(CA_MALFORMED, "--%s is a number from %ld to %ld", option, least,
                       most);
    *ret_number = number;
    return CA_OK;
}

enum ca_status
verb_file_read(const char *path, char **ret_text, size_t *ret_size)
{
    CA_AUTO(fclose) FILE *file = fopen(path, "re");
    CA_AUTO(free) char *text = malloc(VERB_FILE_MAX + 1);
    if (!file)
        return ca_fail(CA_NOT_FOUND, "%s: %s", path, strerror(errno));
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for %s", path);
    size_t size = fread(text, 1, VERB_FILE_MAX + 1, file);
    if (ferror(file))
        return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(errno));
    if (size > VERB_FILE_MAX)
        return ca_fail(CA_LIMIT, "%s: more than %d octets", path, VERB_FILE_MAX);
    text[size] = '\0';
    *ret_text = CA_STEAL(text);
    *ret_size = size;
    return CA_OK;
}

enum ca_status
verb_file_write(const char *path, const void *octets, size_t size)
{
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (file < 0)
        return ca_fail(errno == EEXIST ? CA_CONFLICT : CA_UNAVAILABLE, "%s: %s", path,
                       strerror(errno));
    /* Certificates and requests are public, whatever the umask hides. */
    bool holds = fchmod(file, 0644) == 0 &&
                 write(file, octets, size) == (ssize_t)size && fsync(file) == 0;
    int reason = errno;
    close(file);
    if (holds)
        return CA_OK;
    unlink(path);
    return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(reason));
}

static void
json_print(const json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
}

void
verb_print_rows(const struct command_context *context, const struct cli_column *columns,
                json_t *rows)
{
    CA_AUTO(json_decref) json_t *owned = rows;
    if (context->json) {
        CA_AUTO(json_decref) json_t *list = json_pack("{s:O}", "items", owned);
        json_print(list);
        return;
    }
    struct cli_table table = { .columns = columns };
    cli_table_print(stdout, &table, owned);
}

void
verb_print_record(const struct command_context *context, json_t *record)
{
    CA_AUTO(json_decref) json_t *owned = record;
    if (context->json)
        json_print(owned);
    else
        cli_record_print(stdout, owned);
}

bool
verb_confirm(const char *question, const char *label, const char *given)
{
    char line[512];
    if (given)
        return strcmp(given, label) == 0;
    fprintf(stderr, "%s\nType %s to go on: ", question, label);
    if (!fgets(line, sizeof line, stdin))
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return strcmp(line, label) == 0;
}

void
verb_actor(char *ret_actor, size_t size)
{
    char buffer[1024];
    struct passwd entry, *found = NULL;
    if (getpwuid_r(getuid(), &entry, buffer, sizeof buffer, &found) == 0 && found &&
        text_is_clean(found->pw_name, strlen(found->pw_name)))
        snprintf(ret_actor, size, "local:%s", found->pw_name);
    else
        snprintf(ret_actor, size, "local:%u", (unsigned)getuid());
}
