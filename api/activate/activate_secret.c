/* Reads passwords; what they pass through is wiped. */
#include "activate_secret.h"
#include "auto.h"
#include "text.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>
#include <unistd.h>

static enum ca_status
file_read(const char *path, char *line, size_t room)
{
    bool is_input = strcmp(path, "-") == 0;
    int fd = is_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    size_t size = 0;
    ssize_t got = 1;
    if (fd < 0)
        return ca_fail(CA_NOT_FOUND, "%s: %s", path, strerror(errno));
    /* Octet by octet: what follows the line is another reader's. */
    while (size < room && got == 1 && (size == 0 || line[size - 1] != '\n')) {
        got = read(fd, line + size, 1);
        size += got == 1;
    }
    int error = errno;
    if (!is_input)
        close(fd);
    if (got < 0)
        return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(error));
    if (size == room)
        return ca_fail(CA_LIMIT, "%s has a line of more than %d octets", path,
                       ACTIVATE_SECRET_MAX);
    while (size > 0 && (line[size - 1] == '\n' || line[size - 1] == '\r'))
        size--;
    line[size] = '\0';
    return size > 0 && strlen(line) == size
               ? CA_OK
               : ca_fail(CA_MALFORMED, "%s does not begin with a password", path);
}

static enum ca_status
terminal_read(const char *prompt, int is_new, char *line, int room)
{
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (fd < 0)
        return ca_fail(CA_NOT_FOUND, "%sthere is no terminal: name the password's file",
                       prompt);
    close(fd);
    if (EVP_read_pw_string_min(line, 0, room, prompt, is_new) != 0)
        return ca_fail(CA_UNAVAILABLE, "no password was given");
    return *line ? CA_OK : ca_fail(CA_MALFORMED, "the password is empty");
}

enum ca_status
activate_secret_read(const char *path, const char *prompt, int is_new,
                     char **ret_secret)
{
    char line[ACTIVATE_SECRET_MAX + 2] = "";
    enum ca_status status =
        path ? file_read(path, line, sizeof line)
             : terminal_read(prompt, is_new, line, (int)sizeof line - 1);
    char *secret = status == CA_OK ? strdup(line) : NULL;
    OPENSSL_cleanse(line, sizeof line);
    if (status != CA_OK)
        return status;
    if (!secret)
        return ca_fail(CA_INTERNAL, "no memory");
    *ret_secret = secret;
    return CA_OK;
}
