/* The command line of an online verb -> a call: arguments, options, body, query, path.
 */
#include "auto.h"
#include "cli.h"
#include "clock.h"
#include "field.h"
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define QUERY_TEXT_MAX 2048

/* ---- Usage errors ---- */

struct reason {
    char *text;
    size_t size;
};

static bool __attribute__((format(printf, 2, 3)))
refuse(const struct reason *reason, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reason->text, reason->size, format, args);
    va_end(args);
    return false;
}

/* ---- Query and path ---- */

/* RFC 3986 2.3: all but unreserved characters are escaped. */
static void
escape(struct text_buffer *buffer, const char *text)
{
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        bool is_plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                        (c >= '0' && c <= '9') || strchr("-._~", c);
        if (is_plain)
            text_append(buffer, text, 1);
        else
            text_print(buffer, "%%%02X", c);
    }
}

void
cli_query_add(struct text_buffer *query, const char *name, const char *value)
{
    if (query->size > 0)
        text_append(query, "&", 1);
    escape(query, name);
    text_append(query, "=", 1);
    escape(query, value);
}

static bool
path_fill(struct text_buffer *buffer, const struct cli_call *call)
{
    for (const char *at = call->action->path; *at; at++) {
        if (*at != '{') {
            text_append(buffer, at, 1);
            continue;
        }
        size_t index = (size_t)(at[1] - '0');
        if (index >= call->parameter_count || at[2] != '}')
            return false;
        escape(buffer, call->parameters[index]);
        at += 2;
    }
    return true;
}

char *
cli_path(const struct cli_call *call, const char *cursor, int64_t page)
{
    CA_AUTO(text_buffer_clear) struct text_buffer path = { 0 };
    CA_AUTO(text_buffer_clear) struct text_buffer query = { 0 };
    if (!(call->action->flags & CLI_OUTSIDE))
        text_print(&path, "/api/v1");
    if (!path_fill(&path, call))
        return NULL;
    text_append(&query, call->query.data, call->query.size);
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)page);
    if (page > 0)
        cli_query_add(&query, "limit", number);
    if (cursor)
        cli_query_add(&query, "after", cursor);
    if (query.size > 0)
        text_print(&path, "?%s", query.data);
    if (path.failed || query.failed || call->query.failed)
        return NULL;
    return CA_STEAL(path.data);
}

/* ---- Values ---- */

static bool
integer_read(const char *text, int64_t *ret_number)
{
    char *end = NULL;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool is_number = (*text >= '0' && *text <= '9') || *text == '-';
    if (!is_number || *end || end == text || errno == ERANGE)
        return false;
    *ret_number = number;
    return true;
}

/* An RFC 3339 time as it is; a duration counts from now. */
static bool
time_read(const char *text, enum cli_type type, char ret_text[64])
{
    int64_t seconds;
    if (duration_parse(text, &seconds)) {
        int64_t now = clock_now();
        time_format(type == CLI_AGO ? now - seconds : now + seconds, ret_text);
        return true;
    }
    if (strlen(text) >= 64 || !time_parse(text, &seconds))
        return false;
    snprintf(ret_text, 64, "%s", text);
    return true;
}

/* The object that holds the member, made where it is missing; `ret_name` is the last
 * part of "a.b". NULL: memory. */
static json_t *
place_of(json_t *body, const char *member, const char **ret_name)
{
    const char *dot = strchr(member, '.');
    if (!dot) {
        *ret_name = member;
        return body;
    }
    char outer[64];
    snprintf(outer, sizeof outer, "%.*s", (int)(dot - member), member);
    json_t *inner = json_object_get(body, outer);
    if (!inner) {
        inner = json_object();
        if (json_object_set_new(body, outer, inner) != 0)
            return NULL;
    }
    return place_of(inner, dot + 1, ret_name);
}

static json_t *
text_value(const char *text)
{
    return *text ? json_string(text) : json_null();
}

/* One more of a list; one empty text alone means an empty list. */
static json_t *
list_value(json_t *present, const char *text)
{
    json_t *list = json_is_array(present) ? json_incref(present) : json_array();
    if (*text && json_array_append_new(list, json_string(text)) != 0) {
        json_decref(list);
        return NULL;
    }
    return list;
}

static json_t *
pair_value(json_t *present, const char *text)
{
    const char *equals = strchr(text, '=');
    if (!equals || equals == text)
        return NULL;
    json_t *object = json_is_object(present) ? json_incref(present) : json_object();
    CA_AUTO(free) char *name = strndup(text, (size_t)(equals - text));
    if (!name || json_object_set_new(object, name, text_value(equals + 1)) != 0) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* The option's value as JSON (new reference); NULL: it is none of its type. */
static json_t *
value_make(const struct cli_option *option, json_t *present, const char *text)
{
    int64_t number;
    char time[64];
    switch (option->type) {
    case CLI_TEXT: return text_value(text);
    case CLI_INTEGER: return integer_read(text, &number) ? json_integer(number) : NULL;
    case CLI_TEXTS: return list_value(present, text);
    case CLI_PAIRS: return pair_value(present, text);
    case CLI_AHEAD:
    case CLI_AGO:
        if (*text == '\0')
            return json_null();
        return time_read(text, option->type, time) ? json_string(time) : NULL;
    case CLI_FLAG: return json_true();
    case CLI_DELETE:
    case CLI_DER:
    case CLI_OUT:
    case CLI_COUNT: break;
    }
    return NULL;
}

static const char *
type_words(enum cli_type type)
{
    switch (type) {
    case CLI_INTEGER: return "a whole number";
    case CLI_PAIRS: return "NAME=VALUE";
    case CLI_AHEAD:
    case CLI_AGO: return "a time (2027-01-31T12:00:00Z) or a duration (P30D, PT10M)";
    case CLI_COUNT: return "a number above 0";
    case CLI_TEXT:
    case CLI_TEXTS:
    case CLI_FLAG:
    case CLI_DELETE:
    case CLI_DER:
    case CLI_OUT: break;
    }
    return "UTF-8 text";
}

/* ---- Options ---- */

static bool
query_take(struct cli_call *call, const struct cli_option *option, const char *text,
           const struct reason *reason)
{
    char time[64];
    bool is_time = option->type == CLI_AHEAD || option->type == CLI_AGO;
    if (is_time && !time_read(text, option->type, time))
        return refuse(reason, "--%s wants %s", option->name, type_words(option->type));
    if (strlen(text) > QUERY_TEXT_MAX)
        return refuse(reason, "--%s is longer than %d octets", option->name,
                      QUERY_TEXT_MAX);
    if (option->type == CLI_FLAG)
        text = "true";
    cli_query_add(&call->query, option->member, is_time ? time : text);
    return true;
}

static bool
option_take(struct cli_call *call, const struct cli_option *option, const char *text,
            const struct reason *reason)
{
    if (option->type == CLI_DELETE) {
        call->method = "DELETE";
        return true;
    }
    if (option->type == CLI_DER) {
        call->is_der = true;
        return true;
    }
    if (option->type == CLI_OUT) {
        call->out = text;
        return *text ? true : refuse(reason, "--%s wants a file", option->name);
    }
    if (option->type == CLI_COUNT) {
        if (integer_read(text, &call->limit) && call->limit > 0)
            return true;
        return refuse(reason, "--%s wants %s", option->name, type_words(option->type));
    }
    if (option->flags & CLI_QUERY)
        return query_take(call, option, text, reason);
    const char *name = NULL;
    json_t *place = place_of(call->body, option->member, &name);
    json_t *value =
        place ? value_make(option, json_object_get(place, name), text) : NULL;
    if (!value || json_object_set_new(place, name, value) != 0)
        return refuse(reason, "--%s wants %s", option->name, type_words(option->type));
    return true;
}

const struct cli_option *
cli_option_at(const struct cli_action *action, size_t index)
{
    size_t own = 0;
    while (action->options && action->options[own].name)
        own++;
    if (index < own)
        return &action->options[index];
    if (index > own)
        return NULL;
    if (action->flags & CLI_LIST)
        return &cli_limit;
    return strcmp(action->method, "GET") != 0 ? &cli_dry_run : NULL;
}

/* The option of "--name" or "--name=..."; NULL when the action has none. */
static const struct cli_option *
option_find(const struct cli_action *action, const char *word, size_t *ret_index)
{
    size_t length = strcspn(word + 2, "=");
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(action, i)); i++) {
        if (strlen(option->name) == length &&
            memcmp(option->name, word + 2, length) == 0) {
            *ret_index = i;
            return option;
        }
    }
    return NULL;
}

static bool
repeats(const struct cli_option *option)
{
    return option->type == CLI_TEXTS || option->type == CLI_PAIRS;
}

/* Takes argv[i]; `seen` has a bit an option. How many words it took, 0: refused. */
static int
option_read(struct cli_call *call, char **argv, int i, uint64_t *seen,
            const struct reason *reason)
{
    size_t index = 0;
    const struct cli_option *option = option_find(call->action, argv[i], &index);
    if (!option) {
        refuse(reason, "there is no option '%s' here", argv[i]);
        return 0;
    }
    if ((*seen >> index & 1) && !repeats(option)) {
        refuse(reason, "--%s came twice", option->name);
        return 0;
    }
    *seen |= (uint64_t)1 << index;
    char *equals = strchr(argv[i], '=');
    if (!option->value) {
        if (equals) {
            refuse(reason, "--%s takes no value", option->name);
            return 0;
        }
        return option_take(call, option, "", reason) ? 1 : 0;
    }
    if (equals)
        return option_take(call, option, equals + 1, reason) ? 1 : 0;
    if (!argv[i + 1]) {
        refuse(reason, "--%s wants a value", option->name);
        return 0;
    }
    return option_take(call, option, argv[i + 1], reason) ? 2 : 0;
}

/* What did not come: the initial value, or a refusal. */
static bool
options_finish(struct cli_call *call, uint64_t seen, const struct reason *reason)
{
    const struct cli_option *option;
    for (size_t i = 0; (option = cli_option_at(call->action, i)); i++) {
        if (seen >> i & 1)
            continue;
        if (option->flags & CLI_REQUIRED)
            return refuse(reason, "--%s is missing", option->name);
        if (option->initial && !option_take(call, option, option->initial, reason))
            return false;
    }
    return true;
}

/* ---- Arguments ---- */

/* A segment of a path that a server would not take for another place. */
static bool
parameter_add(struct cli_call *call, const char *text, const char *name,
              const struct reason *reason)
{
    if (*text == '\0' || strcmp(text, ".") == 0 || strcmp(text, "..") == 0 ||
        strchr(text, '/') || call->parameter_count == CLI_PARAMETERS_MAX)
        return refuse(reason, "'%s' is no %s", text, name);
    call->parameters[call->parameter_count++] = text;
    return true;
}

/* One word for the argument `name`, which is not NUL-terminated. */
static bool
argument_take(struct cli_call *call, size_t index, const char *name, char *text,
              const struct reason *reason)
{
    char word[32];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(name, " ]"),
             name + (*name == '['));
    word[strcspn(word, "]")] = '\0';
    if (strcmp(word, "FILE") == 0) {
        call->file = text;
        return true;
    }
    if (!strchr(word, '/'))
        return parameter_add(call, text, word, reason);
    char *copy = strdup(text);
    char *slash = copy ? strchr(copy, '/') : NULL;
    call->split[index] = copy;
    if (!slash)
        return refuse(reason, "'%s' is not of the form %s", text, word);
    *slash = '\0';
    return parameter_add(call, copy, word, reason) &&
           parameter_add(call, slash + 1, word, reason);
}

static bool
arguments_take(struct cli_call *call, char *const *words, size_t count,
               const struct reason *reason)
{
    const char *name = call->action->arguments ? call->action->arguments : "";
    size_t taken = 0;
    for (; *name && taken < CLI_ARGUMENTS_MAX; taken++) {
        if (taken == count) {
            if (*name == '[')
                return true;
            return refuse(reason, "%.*s is missing", (int)strcspn(name, " "), name);
        }
        if (!argument_take(call, taken, name, words[taken], reason))
            return false;
        name += strcspn(name, " ");
        name += *name == ' ';
    }
    return taken == count ? true
                          : refuse(reason, "'%s' is one word too many", words[taken]);
}

/* ---- Body ---- */

static bool
file_read(const char *path, struct text_buffer *ret_text, const struct reason *reason)
{
    bool is_input = strcmp(path, "-") == 0;
    CA_AUTO(fclose) FILE *opened = is_input ? NULL : fopen(path, "re");
    FILE *file = is_input ? stdin : opened;
    if (!file)
        return refuse(reason, "%s: %s", path, strerror(errno));
    char chunk[4096];
    size_t size;
    while ((size = fread(chunk, 1, sizeof chunk, file)) > 0) {
        text_append(ret_text, chunk, size);
        if (ret_text->size > CLI_FILE_MAX)
            return refuse(reason, "%s has more than %d octets", path, CLI_FILE_MAX);
    }
    if (ferror(file) || ret_text->failed)
        return refuse(reason, "%s could not be read", path);
    return true;
}

static bool
body_read(struct cli_call *call, const struct reason *reason)
{
    CA_AUTO(text_buffer_clear) struct text_buffer text = { 0 };
    CA_AUTO(json_decref) json_t *body = NULL;
    if (!file_read(call->file, &text, reason))
        return false;
    if (call->action->flags & CLI_TEXT_BODY) {
        json_t *value = json_stringn(text.data ? text.data : "", text.size);
        return value &&
                       json_object_set_new(call->body, call->action->member, value) == 0
                   ? true
                   : refuse(reason, "%s is no UTF-8 text", call->file);
    }
    if (field_parse(text.data ? text.data : "", text.size, CLI_FILE_MAX, &body) !=
        CA_OK)
        return refuse(reason, "%s: %s", call->file, status_message());
    if (!json_is_object(body))
        return refuse(reason, "%s does not hold a JSON object", call->file);
    if (call->action->flags & CLI_NEW) {
        json_object_del(body, "created");
        json_object_del(body, "updated");
        json_object_del(body, "version");
    }
    if (json_object_update(call->body, body) != 0)
        return refuse(reason, "no memory for a body");
    return true;
}

/* What arguments and action say goes over what FILE says. */
static bool
body_finish(struct cli_call *call, const struct reason *reason)
{
    if (call->file && !body_read(call, reason))
        return false;
    const struct cli_action *action = call->action;
    CA_AUTO(json_decref)
    json_t *fixed = action->fixed ? json_loads(action->fixed, 0, NULL) : json_object();
    bool is_set = json_object_update(call->body, fixed) == 0;
    if (is_set && action->member && call->parameter_count > 0)
        is_set = json_object_set_new(
                     call->body, action->member,
                     json_string(call->parameters[call->parameter_count - 1])) == 0;
    return is_set ? true : refuse(reason, "an argument is not UTF-8 text");
}

bool
cli_parse(struct cli_call *call, int argc, char **argv, char *ret_reason, size_t size)
{
    const struct reason reason = { ret_reason, size };
    char *words[CLI_ARGUMENTS_MAX + 1];
    size_t count = 0;
    uint64_t seen = 0;
    bool is_over = false;
    call->method = call->action->method;
    call->limit = CLI_LIST_MAX;
    if ((call->action->flags & CLI_BODY) && !(call->body = json_object()))
        return refuse(&reason, "no memory for a body");
    for (int i = 0; i < argc;) {
        int taken = 1;
        if (!is_over && strcmp(argv[i], "--") == 0)
            is_over = true;
        else if (!is_over && argv[i][0] == '-' && argv[i][1] != '\0')
            taken = option_read(call, argv, i, &seen, &reason);
        else if (count <= CLI_ARGUMENTS_MAX)
            words[count++] = argv[i];
        if (taken == 0)
            return false;
        i += taken;
    }
    return options_finish(call, seen, &reason) &&
           arguments_take(call, words, count, &reason) &&
           (!call->body || body_finish(call, &reason));
}

void
cli_call_clear(struct cli_call *call)
{
    json_decref(call->body);
    text_buffer_clear(&call->query);
    for (size_t i = 0; i < CLI_ARGUMENTS_MAX; i++)
        free(call->split[i]);
    *call = (struct cli_call){ 0 };
}
