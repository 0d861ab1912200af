/* A daemon of canned answers on a unix socket, and the online verbs run against it.
 * Each of the header's users has one of its own. */
#pragma once

#include "auto.h"
#include "cli_http.h"
#include "leak.h"
#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define CALLS_MAX 8
#define REQUEST_MAX 8192
#define TOKEN "s3cret-t0ken"
#define WORDS_MAX 16

#define BROKEN "" /* the connection ends without an answer */
#define JSON(status, headers, body)                                                    \
    "HTTP/1.1 " status                                                                 \
    "\r\nConnection: close\r\nContent-Type: application/json\r\n" headers "\r\n" body
#define OK(body) JSON("200 OK", "", body)
#define NOTHING "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n"

static struct {
    char folder[64];
    int listener;
    pthread_t thread;
    const char *const *answers; /* ended by NULL: nobody listens any more */
    char requests[CALLS_MAX][REQUEST_MAX];
    size_t count;
} fake;

static char printed[2][65536]; /* stdout, stderr of the last run */

/* One request: head, and as much body as it says. */
static inline void
request_read(int fd, char *text)
{
    size_t size = 0, wanted = SIZE_MAX;
    while (size < REQUEST_MAX - 1 && size < wanted) {
        ssize_t more = read(fd, text + size, REQUEST_MAX - 1 - size);
        if (more <= 0)
            break;
        size += (size_t)more;
        text[size] = '\0';
        const char *end = strstr(text, "\r\n\r\n");
        const char *length = strstr(text, "Content-Length: ");
        if (end)
            wanted = (size_t)(end + 4 - text) +
                     (length ? strtoul(length + 16, NULL, 10) : 0);
    }
}

static inline void *
serve(void *arg)
{
    for (const char *const *answer = fake.answers; *answer; answer++) {
        int fd = accept(fake.listener, NULL, NULL);
        if (fd < 0)
            break;
        request_read(fd, fake.requests[fake.count++]);
        size_t size = strlen(*answer);
        if (write(fd, *answer, size) != (ssize_t)size)
            fake.count = CALLS_MAX;
        close(fd);
    }
    shutdown(fake.listener, SHUT_RDWR); /* a call too many fails at once */
    return arg;
}

static inline void
file_make(const char *name, const char *text)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", fake.folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static inline void
setup(void)
{
    snprintf(fake.folder, sizeof fake.folder, "/tmp/sealwright-cli-XXXXXX");
    cr_assert_not_null(mkdtemp(fake.folder));
    file_make("admin.token", TOKEN "\n");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    snprintf(address.sun_path, sizeof address.sun_path, "%s/sealwright.sock",
             fake.folder);
    fake.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert(bind(fake.listener, (struct sockaddr *)&address, sizeof address) == 0 &&
              listen(fake.listener, 8) == 0);
}

static inline void
teardown(void)
{
    static const char *const names[] = { "admin.token", "sealwright.sock",
                                         "out",         "body",
                                         "root.pem",    "sealwright.json",
                                         "stdout",      "stderr" };
    if (fake.listener >= 0)
        close(fake.listener);
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", fake.folder, names[i]);
        unlink(path);
    }
    rmdir(fake.folder);
}

/* Lets `stream` write into a file of the folder; its old descriptor. */
static inline int
divert(FILE *stream, const char *name)
{
    char path[128];
    fflush(stream);
    int kept = dup(fileno(stream));
    snprintf(path, sizeof path, "%s/%s", fake.folder, name);
    FILE *file = fopen(path, "w");
    cr_assert(file && kept >= 0 && dup2(fileno(file), fileno(stream)) >= 0);
    fclose(file);
    return kept;
}

static inline void
restore(FILE *stream, const char *name, int kept, char *ret_text)
{
    char path[128];
    fflush(stream);
    cr_assert(dup2(kept, fileno(stream)) >= 0);
    close(kept);
    snprintf(path, sizeof path, "%s/%s", fake.folder, name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    ret_text[fread(ret_text, 1, sizeof printed[0] - 1, file)] = '\0';
    fclose(file);
}

/* Runs a line of words, "@x" is the file x of the folder; the exit status. */
static inline int
run_with(const struct command_context *context, const char *line,
         const char *const *answers)
{
    char text[256], files[4][128];
    char *words[WORDS_MAX + 1] = { NULL };
    char *state = NULL;
    int count = 0, used = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok_r(text, " ", &state); word && count < WORDS_MAX;
         word = strtok_r(NULL, " ", &state)) {
        if (*word == '@')
            snprintf(files[used], sizeof files[0], "%s/%s", fake.folder, word + 1);
        words[count++] = *word == '@' ? files[used++] : word;
    }
    fake.answers = answers;
    fake.count = 0;
    memset(fake.requests, 0, sizeof fake.requests);
    cr_assert_eq(pthread_create(&fake.thread, NULL, serve, NULL), 0);
    int out = divert(stdout, "stdout"), err = divert(stderr, "stderr");
    const struct command *command = cli_commands;
    while (command->name && strcmp(command->name, words[0]) != 0)
        command++;
    int result = command->run(context, count, words);
    restore(stdout, "stdout", out, printed[0]);
    restore(stderr, "stderr", err, printed[1]);
    shutdown(fake.listener, SHUT_RDWR); /* what was not asked for is not waited for */
    pthread_join(fake.thread, NULL);
    close(fake.listener);
    fake.listener = -1;
    char path[128];
    snprintf(path, sizeof path, "%s/sealwright.sock", fake.folder);
    unlink(path);
    cr_expect_null(strstr(printed[0], TOKEN), "I5: %s", printed[0]);
    cr_expect_null(strstr(printed[1], TOKEN), "I5: %s", printed[1]);
    return result;
}

static inline int
run(const char *line, const char *const *answers)
{
    const struct command_context context = { .data = fake.folder };
    return run_with(&context, line, answers);
}

static inline int
run_json(const char *line, const char *const *answers)
{
    const struct command_context context = { .data = fake.folder, .json = true };
    return run_with(&context, line, answers);
}

static inline bool
sent(size_t index, const char *text)
{
    return index < fake.count && strstr(fake.requests[index], text);
}

#define ANSWERS(...) ((const char *const[]){ __VA_ARGS__, NULL })
