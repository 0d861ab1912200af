/* Log lines: one JSON object a line on standard error or the configured file. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/* Opens `path` for appending, mode 0640 ("-" or NULL: standard error), and drops lines
 * below `level`. Called again (SIGHUP) it reopens. Returns false, errno set, when the
 * file cannot be opened; the previous target then stays. */
bool log_open(const char *path, enum log_level level);

/* "debug", "info", "warning", "error" -> level; false for any other word. */
bool log_level_parse(const char *word, enum log_level *ret_level);

bool log_wants(enum log_level level);

/* One line {"time", "level", "message", ...members of `fields`}. Takes over `fields`
 * (may be NULL). Control characters are escaped by JSON. Never pass secrets. */
void log_write(enum log_level level, json_t *fields, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
