/* Log lines as JSON, each written by one write(2) so that lines never mix. */
#include "log.h"
#include "auto.h"
#include "clock.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

static const char *const level_words[] = {
    [LOG_LEVEL_DEBUG] = "debug",
    [LOG_LEVEL_INFO] = "info",
    [LOG_LEVEL_WARNING] = "warning",
    [LOG_LEVEL_ERROR] = "error",
};

static pthread_mutex_t target_lock = PTHREAD_MUTEX_INITIALIZER;
static int target = STDERR_FILENO; /* under target_lock */
static _Atomic int lowest = LOG_LEVEL_INFO;

bool
log_open(const char *path, enum log_level level)
{
    int opened = STDERR_FILENO;
    if (path && strcmp(path, "-") != 0) {
        opened = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0640);
        if (opened < 0)
            return false;
    }
    pthread_mutex_lock(&target_lock);
    int previous = target;
    target = opened;
    pthread_mutex_unlock(&target_lock);
    if (previous != STDERR_FILENO)
        close(previous);
    atomic_store(&lowest, (int)level);
    return true;
}

bool
log_level_parse(const char *word, enum log_level *ret_level)
{
    for (unsigned i = 0; i < sizeof level_words / sizeof level_words[0]; i++) {
        if (strcmp(word, level_words[i]) == 0) {
            *ret_level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

bool
log_wants(enum log_level level)
{
    return (int)level >= atomic_load(&lowest);
}

static void
target_write(const char *line, size_t size)
{
    pthread_mutex_lock(&target_lock);
    while (size > 0) {
        ssize_t written = write(target, line, size);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            break; /* a full disk takes the line, never the daemon */
        line += written;
        size -= (size_t)written;
    }
    pthread_mutex_unlock(&target_lock);
}

static int
line_append(const char *text, size_t size, void *line)
{
    text_append(line, text, size);
    return 0;
}

/* Most texts need no escapes, and Jansson takes each character by itself. ASCII:
 * neither C1 nor bidirectional controls reach a terminal (SECURITY R7). */
static void
value_append(struct text_buffer *line, const json_t *value)
{
    const char *text = json_string_value(value);
    bool is_whole = text && strlen(text) == json_string_length(value);
    if (is_whole && text_append_json(line, text))
        return;
    if (json_dump_callback(value, line_append, line,
                           JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY) != 0)
        line->failed = true;
}

static void
member_append(struct text_buffer *line, const char *name, const json_t *value)
{
    text_append(line, line->size == 0 ? "{" : ",", 1);
    CA_AUTO(json_decref) json_t *string = NULL;
    if (!text_append_json(line, name)) {
        string = json_string(name);
        value_append(line, string);
    }
    text_append(line, ":", 1);
    value_append(line, value);
}

static void
text_member_append(struct text_buffer *line, const char *name, const char *text)
{
    CA_AUTO(json_decref) json_t *value = text_to_json(text);
    member_append(line, name, value);
}

/* What every line says first; a caller's member of such a name is left out. */
static const char *const own_names[] = { "time", "level", "message" };

static bool
is_own_name(const char *name)
{
    for (size_t i = 0; i < sizeof own_names / sizeof own_names[0]; i++) {
        if (strcmp(own_names[i], name) == 0)
            return true;
    }
    return false;
}

void
log_write(enum log_level level, json_t *fields, const char *format, ...)
{
    CA_AUTO(json_decref) json_t *members = fields;
    if (!log_wants(level))
        return;
    int saved_errno = errno;
    CA_AUTO(text_buffer_clear) struct text_buffer line = { 0 };
    CA_AUTO(free) char *text = NULL;
    va_list args;
    va_start(args, format);
    int length = vasprintf(&text, format, args);
    va_end(args);
    if (length < 0) {
        text = NULL;
        return;
    }
    char when[21];
    time_format(clock_now(), when);
    text_member_append(&line, own_names[0], when);
    text_member_append(&line, own_names[1], level_words[level]);
    text_member_append(&line, own_names[2], text);
    const char *name = NULL;
    json_t *value = NULL;
    json_object_foreach (members, name, value) {
        if (!is_own_name(name))
            member_append(&line, name, value);
    }
    text_append(&line, "}\n", 2);
    if (!line.failed)
        target_write(line.data, line.size);
    errno = saved_errno;
}
