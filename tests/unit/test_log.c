/* Log lines: what reaches the file. */
#include "auto.h"
#include "clock.h"
#include "leak.h"
#include "log.h"
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/sealwright-log-XXXXXX";
static char file[64];

static void
folder_make(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/log", folder);
}

static void
folder_remove(void)
{
    unlink(file);
    rmdir(folder);
}

TestSuite(log, .init = folder_make, .fini = folder_remove);

/* Line `number` (from 0) of the file as JSON; NULL when there is none. */
static json_t *
line_read(int number)
{
    CA_AUTO(fclose) FILE *stream = fopen(file, "r");
    cr_assert_not_null(stream);
    char line[4096];
    while (fgets(line, sizeof line, stream)) {
        if (number-- == 0)
            return json_loads(line, JSON_REJECT_DUPLICATES, NULL);
    }
    return NULL;
}

static const char *
member(const json_t *line, const char *name)
{
    const char *value = json_string_value(json_object_get(line, name));
    return value ? value : "(none)";
}

Test(log, line_carries_time_level_message_and_members)
{
    clock_set(1795341600);
    cr_assert(log_open(file, LOG_LEVEL_INFO));
    log_write(LOG_LEVEL_INFO,
              json_pack("{s:s, s:s}", "user", "alice", "level", "forged"),
              "enrolled %d", 7);
    CA_AUTO(json_decref) json_t *line = line_read(0);
    cr_assert_not_null(line);
    cr_expect_str_eq(member(line, "time"), "2026-11-22T10:00:00Z");
    cr_expect_str_eq(member(line, "level"), "info");
    cr_expect_str_eq(member(line, "message"), "enrolled 7");
    cr_expect_str_eq(member(line, "user"), "alice");
    LEAK_CHECK();
}

Test(log, lines_below_the_level_are_dropped)
{
    cr_assert(log_open(file, LOG_LEVEL_WARNING));
    cr_assert(!log_wants(LOG_LEVEL_INFO));
    cr_assert(log_wants(LOG_LEVEL_ERROR));
    log_write(LOG_LEVEL_INFO, json_pack("{s:i}", "a", 1), "dropped");
    log_write(LOG_LEVEL_WARNING, NULL, "kept");
    CA_AUTO(json_decref) json_t *line = line_read(0);
    cr_expect_str_eq(member(line, "message"), "kept");
    cr_expect_null(line_read(1));
    LEAK_CHECK();
}

Test(log, R7_one_line_whatever_the_message)
{
    cr_assert(log_open(file, LOG_LEVEL_DEBUG));
    log_write(LOG_LEVEL_ERROR, NULL, "%s",
              "a\n{\"level\":\"info\"}\033[2J\xc2\x9b"
              "2J");
    log_write(LOG_LEVEL_ERROR, NULL, "%s", "bad \xff octet");
    CA_AUTO(json_decref) json_t *first = line_read(0), *second = line_read(1);
    cr_expect_str_eq(member(first, "message"), "a\n{\"level\":\"info\"}\033[2J\xc2\x9b"
                                               "2J");
    cr_expect_str_eq(member(second, "message"), "bad \\xff octet");
    cr_expect_null(line_read(2));
    CA_AUTO(fclose) FILE *stream = fopen(file, "r");
    for (int c = fgetc(stream); c != EOF; c = fgetc(stream))
        cr_expect(c == '\n' || (c >= 0x20 && c < 0x7f), "octet %02x in the file", c);
    LEAK_CHECK();
}

Test(log, file_is_not_for_others_and_a_failed_open_keeps_the_old)
{
    umask(0);
    cr_assert(log_open(file, LOG_LEVEL_INFO));
    struct stat status;
    cr_assert_eq(stat(file, &status), 0);
    cr_assert_eq(status.st_mode & 07777, 0640);
    errno = 0;
    cr_assert(!log_open("/nonexistent/folder/log", LOG_LEVEL_DEBUG));
    cr_assert_eq(errno, ENOENT);
    cr_assert(!log_wants(LOG_LEVEL_DEBUG));
    log_write(LOG_LEVEL_INFO, NULL, "still here");
    CA_AUTO(json_decref) json_t *line = line_read(0);
    cr_expect_str_eq(member(line, "message"), "still here");
}

Test(log, open_again_follows_a_rotated_file)
{
    char rotated[80];
    snprintf(rotated, sizeof rotated, "%s.1", file);
    cr_assert(log_open(file, LOG_LEVEL_INFO));
    cr_assert_eq(rename(file, rotated), 0);
    cr_assert(log_open(file, LOG_LEVEL_INFO));
    log_write(LOG_LEVEL_INFO, NULL, "new file");
    CA_AUTO(json_decref) json_t *line = line_read(0);
    cr_expect_str_eq(member(line, "message"), "new file");
    unlink(rotated);
}

Test(log, level_words)
{
    enum log_level level = LOG_LEVEL_ERROR;
    cr_assert(log_level_parse("debug", &level) && level == LOG_LEVEL_DEBUG);
    cr_assert(log_level_parse("warning", &level) && level == LOG_LEVEL_WARNING);
    cr_assert(!log_level_parse("Warning", &level));
    cr_assert(!log_level_parse("", &level));
    cr_assert_eq(level, LOG_LEVEL_WARNING);
}
