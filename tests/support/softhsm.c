/* Makes SoftHSM tokens for tests; built once and linked to them. */
#include "softhsm.h"
#include "auto.h"
#include "keygen.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <ftw.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const waivers[] = { "software", NULL };

static void
file_write(const char *path, mode_t mode, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert(fd >= 0, "%s", path);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
}

/* Runs softhsm2-util and gives what it printed (free it), and whether it succeeded. */
static char *
util_try(const char *const *arguments, bool *ret_succeeded)
{
    extern char **environ;
    int pipes[2];
    pid_t child = 0;
    posix_spawn_file_actions_t actions;
    cr_assert_eq(pipe2(pipes, O_CLOEXEC), 0);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 1);
    posix_spawn_file_actions_adddup2(&actions, pipes[1], 2);
    char *argv[16] = { 0 };
    for (size_t i = 0; arguments[i]; i++)
        argv[i] = strdup(arguments[i]);
    cr_assert_eq(posix_spawnp(&child, argv[0], &actions, NULL, argv, environ), 0,
                 "softhsm2-util is not installed");
    posix_spawn_file_actions_destroy(&actions);
    for (size_t i = 0; argv[i]; i++)
        free(argv[i]);
    close(pipes[1]);
    CA_AUTO(free) char *text = calloc(1, 65536);
    cr_assert_not_null(text);
    size_t size = 0;
    for (ssize_t got = 1; got > 0 && size<65535; size += got> 0 ? (size_t)got : 0)
        got = read(pipes[0], text + size, 65535 - size);
    close(pipes[0]);
    int status = 0;
    cr_assert_eq(waitpid(child, &status, 0), child);
    *ret_succeeded = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return CA_STEAL(text);
}

/* Now and then SoftHSM refuses information about a slot that it has just listed. */
static char *
util_run(const char *const *arguments)
{
    CA_AUTO(free) char *text = NULL;
    bool has_succeeded = false;
    for (int i = 0; i < 3 && !has_succeeded; i++) {
        free(text);
        text = util_try(arguments, &has_succeeded);
    }
    cr_assert(has_succeeded, "%s: %s", arguments[0], text);
    return CA_STEAL(text);
}

/* The serial that SoftHSM drew, from the listing: ends with 8 digits of the slot id. */
static void
serial_find(const char *listing, const char *label, char ret_serial[17])
{
    char serial[17] = "";
    CA_AUTO(free) char *copy = strdup(listing);
    char *rest = copy;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        char value[64] = "";
        if (sscanf(line, " Serial number: %16s", value) == 1)
            snprintf(serial, sizeof serial, "%s", value);
        if (sscanf(line, " Label: %32s", value) == 1 && strcmp(value, label) == 0) {
            memcpy(ret_serial, serial, sizeof serial);
            return;
        }
    }
    cr_assert_fail("no token '%s' in: %s", label, listing);
}

void
softhsm_add(struct softhsm *softhsm, const char *label, char ret_serial[17])
{
    const char *const init[] = {
        "softhsm2-util", "--init-token", "--free", "--label",   label,
        "--so-pin",      "12345678",     "--pin",  SOFTHSM_PIN, NULL
    };
    const char *const show[] = { "softhsm2-util", "--show-slots", NULL };
    (void)softhsm;
    free(util_run(init));
    CA_AUTO(free) char *listing = util_run(show);
    if (ret_serial)
        serial_find(listing, label, ret_serial);
}

void
softhsm_make(struct softhsm *softhsm, const char *label)
{
    char path[128], text[256];
    memset(softhsm, 0, sizeof *softhsm);
    snprintf(softhsm->folder, sizeof softhsm->folder, "/tmp/sealwright-hsm-XXXXXX");
    cr_assert_not_null(mkdtemp(softhsm->folder));
    snprintf(path, sizeof path, "%s/tokens", softhsm->folder);
    cr_assert_eq(mkdir(path, 0700), 0);
    snprintf(
        text, sizeof text,
        "directories.tokendir = %s\nobjectstore.backend = file\nlog.level = ERROR\n",
        path);
    snprintf(path, sizeof path, "%s/softhsm2.conf", softhsm->folder);
    file_write(path, 0600, text);
    cr_assert_eq(setenv("SOFTHSM2_CONF", path, 1), 0);
    snprintf(softhsm->pin_file, sizeof softhsm->pin_file, "%s/pin", softhsm->folder);
    snprintf(softhsm->pin_source, sizeof softhsm->pin_source, "file:%s",
             softhsm->pin_file);
    file_write(softhsm->pin_file, 0400, SOFTHSM_PIN "\n");
    snprintf(softhsm->label, sizeof softhsm->label, "%s", label);
    snprintf(softhsm->uri, sizeof softhsm->uri, "pkcs11:token=%s", label);
    softhsm_add(softhsm, label, softhsm->serial);
    softhsm->config = (struct token_config){ .name = "hsm",
                                             .module = SOFTHSM_MODULE,
                                             .uri = softhsm->uri,
                                             .pin_source = softhsm->pin_source,
                                             .waivers = waivers };
}

static int
entry_remove(const char *path, const struct stat *status, int type, struct FTW *walk)
{
    (void)status, (void)type, (void)walk;
    return remove(path);
}

void
softhsm_remove(struct softhsm *softhsm)
{
    if (softhsm->folder[0])
        nftw(softhsm->folder, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

struct token_set *
softhsm_open(struct softhsm *softhsm)
{
    struct token_set *set = NULL;
    cr_assert_eq(token_set_open(&softhsm->config, 1, &set), CA_OK, "%s",
                 status_message());
    return set;
}

struct token_key *
softhsm_key(struct token_set *set, const char *label, const char *algorithm,
            unsigned uses)
{
    struct keygen wanted = { .label = label, .algorithm = algorithm, .uses = uses };
    CA_AUTO(free) char *uri = NULL;
    struct token_key *key = NULL;
    cr_assert_eq(keygen_generate(set, "hsm", &wanted, &uri), CA_OK, "%s",
                 status_message());
    cr_assert_eq(token_key_find(set, uri, uses, NULL, &key), CA_OK, "%s",
                 status_message());
    return key;
}
