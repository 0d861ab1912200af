/* PINs: which files are taken, and that none stays in memory or in a core dump. */
#include "auto.h"
#include "leak.h"
#include "pin.h"
#include "token.h"
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[] = "/tmp/sealwright-pin-XXXXXX";
static char file[64], source[80];

static void
folder_make(void)
{
    cr_assert_not_null(mkdtemp(folder));
    snprintf(file, sizeof file, "%s/pin", folder);
    snprintf(source, sizeof source, "file:%s", file);
}

static void
folder_remove(void)
{
    char path[80];
    unlink(file);
    snprintf(path, sizeof path, "%s/link", folder);
    unlink(path);
    rmdir(folder);
}

TestSuite(pin, .init = folder_make, .fini = folder_remove);

static void
file_make(const void *octets, size_t size, mode_t mode)
{
    unlink(file);
    int fd = open(file, O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert(fd >= 0);
    cr_assert_eq(write(fd, octets, size), (ssize_t)size);
    cr_assert_eq(fchmod(fd, mode), 0);
    close(fd);
}

Test(pin, one_line_end_is_cut_and_nothing_else)
{
    static const struct {
        const char *content, *pin;
    } cases[] = {
        { "1234", "1234" },
        { "1234\n", "1234" },
        { "1234\r\n", "1234" },
        { " 12 34 ", " 12 34 " },
        { "p\xc3\xa4ss", "p\xc3\xa4ss" },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pin *pin = NULL;
        file_make(cases[i].content, strlen(cases[i].content), 0400);
        cr_assert_eq(pin_read(source, &pin), CA_OK, "%s", status_message());
        cr_expect_str_eq(pin_text(pin), cases[i].pin);
        pin_free(pin);
    }
    LEAK_CHECK();
}

Test(pin, content_that_is_no_PIN_is_refused)
{
    static const struct {
        const char *name, *content;
        size_t size;
    } cases[] = {
        { "empty", "", 0 },
        { "a line end alone", "\n", 1 },
        { "two lines", "1234\n5678\n", 10 },
        { "two line ends", "1234\n\n", 6 },
        { "NUL inside", "12\00034", 5 },
        { "NUL behind", "1234", 5 },
        { "tabulator", "12\t34", 5 },
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pin *pin = NULL;
        file_make(cases[i].content, cases[i].size, 0400);
        cr_expect_eq(pin_read(source, &pin), CA_MALFORMED, "%s", cases[i].name);
        cr_expect_null(pin, "%s", cases[i].name);
    }
    LEAK_CHECK();
}

Test(pin, length_is_limited)
{
    char octets[TOKEN_PIN_MAX + 3];
    struct pin *pin = NULL;
    memset(octets, '7', sizeof octets);
    octets[TOKEN_PIN_MAX] = '\n';
    file_make(octets, TOKEN_PIN_MAX + 1, 0400);
    cr_assert_eq(pin_read(source, &pin), CA_OK);
    cr_assert_eq(strlen(pin_text(pin)), TOKEN_PIN_MAX);
    pin_free(pin);
    octets[TOKEN_PIN_MAX] = '7';
    file_make(octets, TOKEN_PIN_MAX + 1, 0400);
    cr_assert_eq(pin_read(source, &pin), CA_MALFORMED);
    file_make(octets, sizeof octets, 0400);
    cr_assert_eq(pin_read(source, &pin), CA_MALFORMED);
}

Test(pin, I5_a_file_that_others_can_read_or_write_is_refused)
{
    static const mode_t modes[] = { 0440, 0404, 0420, 0402, 0410, 0401, 0640, 0644 };
    struct pin *pin = NULL;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        file_make("1234", 4, modes[i]);
        cr_expect_eq(pin_read(source, &pin), CA_FORBIDDEN, "%03o", modes[i]);
    }
    file_make("1234", 4, 0600);
    cr_assert_eq(pin_read(source, &pin), CA_OK);
    pin_free(pin);
}

Test(pin, another_owner_is_refused)
{
    struct pin *pin = NULL;
    file_make("1234", 4, 0400);
    if (geteuid() != 0) /* only root gives files away */
        return;
    cr_assert_eq(chown(file, 12345, 0), 0);
    cr_assert_eq(pin_read(source, &pin), CA_FORBIDDEN);
}

Test(pin, links_folders_and_pipes_are_refused)
{
    char path[80], link_source[96];
    struct pin *pin = NULL;
    file_make("1234", 4, 0400);
    snprintf(path, sizeof path, "%s/link", folder);
    snprintf(link_source, sizeof link_source, "file:%s", path);
    cr_assert_eq(symlink(file, path), 0);
    cr_expect_eq(pin_read(link_source, &pin), CA_FORBIDDEN);
    unlink(path);
    cr_assert_eq(mkfifo(path, 0600), 0);
    cr_expect_eq(pin_read(link_source, &pin), CA_FORBIDDEN);
    snprintf(link_source, sizeof link_source, "file:%s", folder);
    cr_expect_eq(pin_read(link_source, &pin), CA_FORBIDDEN);
    unlink(file);
    cr_expect_eq(pin_read(source, &pin), CA_UNAVAILABLE);
}

Test(pin, source_is_file_and_an_absolute_path)
{
    static const char *const sources[] = { "",           "1234",          "/etc/pin",
                                           "file:",      "file:pin",      "file:./pin",
                                           "file://",    "file://host/p", "|cat",
                                           "https://h/p" };
    char text[96];
    struct pin *pin = NULL;
    for (size_t i = 0; i < sizeof sources / sizeof sources[0]; i++)
        cr_expect_eq(pin_read(sources[i], &pin), CA_MALFORMED, "%s", sources[i]);
    file_make("1234", 4, 0400);
    snprintf(text, sizeof text, "file://%s", file);
    cr_assert_eq(pin_read(text, &pin), CA_OK);
    pin_free(pin);
}

Test(pin, a_credential_of_systemd_is_taken)
{
    struct pin *pin = NULL;
    char path[96];
    if (geteuid() != 0)
        return;
    file_make("1234", 4, 0440);
    cr_assert_eq(chown(file, 0, 0), 0);
    cr_assert_eq(pin_read(source, &pin), CA_FORBIDDEN);
    cr_assert_eq(setenv("CREDENTIALS_DIRECTORY", folder, 1), 0);
    cr_assert_eq(pin_read(source, &pin), CA_OK, "%s", status_message());
    pin_free(pin);
    snprintf(path, sizeof path, "file:%s/../%s/pin", folder, folder + strlen("/tmp/"));
    cr_expect_eq(pin_read(path, &pin), CA_FORBIDDEN);
    cr_assert_eq(chmod(file, 0444), 0);
    cr_expect_eq(pin_read(source, &pin), CA_FORBIDDEN);
    cr_assert_eq(setenv("CREDENTIALS_DIRECTORY", "/tmp/other", 1), 0);
    cr_assert_eq(chmod(file, 0440), 0);
    cr_expect_eq(pin_read(source, &pin), CA_FORBIDDEN);
}

/* The flags of the mapping that holds `address`, from /proc/self/smaps. */
static bool
mapping_has(const void *address, const char *flag)
{
    CA_AUTO(fclose) FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool is_inside = false;
    cr_assert_not_null(maps);
    while (fgets(line, sizeof line, maps)) {
        unsigned long start = 0, end = 0;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            is_inside = (uintptr_t)address >= start && (uintptr_t)address < end;
        if (is_inside && strncmp(line, "VmFlags:", 8) == 0)
            return strstr(line, flag) != NULL;
    }
    return false;
}

Test(pin, I5_memory_is_locked_and_left_out_of_core_dumps)
{
    struct pin *pin = NULL;
    file_make("1234", 4, 0400);
    cr_assert_eq(pin_read(source, &pin), CA_OK);
#ifndef __SANITIZE_ADDRESS__ /* which makes mlock do nothing */
    cr_expect(mapping_has(pin_text(pin), " lo"), "locked");
#endif
    cr_expect(mapping_has(pin_text(pin), " dd"), "not dumped");
    pin_free(pin);
    pin_free(NULL);
}
