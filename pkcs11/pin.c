/* Reads a PIN from its file into memory that is locked, not dumped, and wiped. */
#include "pin.h"
#include "auto.h"
#include "token.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct pin {
    char text[TOKEN_PIN_MAX + 3]; /* room for a line end, and one octet more to see */
};

CA_AUTO_RELEASE(struct pin, pin_free)

static inline void
descriptor_close_auto(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
#define CA_AUTO_DESCRIPTOR __attribute__((cleanup(descriptor_close_auto))) int

/* The file's name, or NULL when the source has another form. */
static const char *
source_path(const char *source)
{
    if (strncmp(source, "file:", 5) != 0)
        return NULL;
    const char *path = source + 5;
    if (strncmp(path, "//", 2) == 0)
        path += 2;
    return path[0] == '/' ? path : NULL;
}

/* systemd gives a service its credentials as root's files whose group class is the mask
 * of an access list; their folder is open to the service alone. */
static bool
is_credential(const char *path, const struct stat *status)
{
    const char *folder = secure_getenv("CREDENTIALS_DIRECTORY");
    size_t length = folder ? strlen(folder) : 0;
    return length > 1 && strncmp(path, folder, length) == 0 && path[length] == '/' &&
           !strstr(path + length, "/../") && status->st_uid == 0 &&
           status->st_gid == 0 && (status->st_mode & 07777) == 0440;
}

static enum ca_status
file_check(int fd, const char *path)
{
    struct stat status;
    if (fstat(fd, &status) != 0)
        return ca_fail(CA_UNAVAILABLE, "PIN file %s: %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return ca_fail(CA_FORBIDDEN, "PIN file %s is no regular file", path);
    if (is_credential(path, &status))
        return CA_OK;
    if (status.st_uid != geteuid() && status.st_uid != 0)
        return ca_fail(CA_FORBIDDEN,
                       "PIN file %s belongs to user %u, not to us or root", path,
                       status.st_uid);
    if (status.st_mode & 077)
        return ca_fail(CA_FORBIDDEN, "PIN file %s has mode %03o: make it 0400", path,
                       status.st_mode & 0777u);
    return CA_OK;
}

/* Up to room octets; -1 with errno. */
static ssize_t
file_read(int fd, char *octets, size_t room)
{
    size_t size = 0;
    while (size < room) {
        ssize_t got = read(fd, octets + size, room - size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        size += (size_t)got;
    }
    return (ssize_t)size;
}

static struct pin *
pin_new(void)
{
    struct pin *pin = mmap(NULL, sizeof *pin, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pin == MAP_FAILED)
        return NULL;
    madvise(pin, sizeof *pin, MADV_DONTDUMP);
    if (mlock(pin, sizeof *pin) != 0) {
        munmap(pin, sizeof *pin);
        return NULL;
    }
    return pin;
}

/* Cuts one line end from the `size` octets that were read; what is left is the PIN. */
static enum ca_status
pin_check(struct pin *pin, const char *path, size_t size)
{
    if (size > 0 && pin->text[size - 1] == '\n')
        size--;
    if (size > 0 && pin->text[size - 1] == '\r')
        size--;
    if (size == 0)
        return ca_fail(CA_MALFORMED, "PIN file %s is empty", path);
    if (size > TOKEN_PIN_MAX)
        return ca_fail(CA_MALFORMED, "PIN file %s has more than %d octets", path,
                       TOKEN_PIN_MAX);
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)pin->text[i] < 0x20 || pin->text[i] == 0x7f)
            return ca_fail(
                CA_MALFORMED,
                "PIN file %s has control characters or lines besides the PIN", path);
    }
    pin->text[size] = '\0';
    return CA_OK;
}

enum ca_status
pin_read(const char *source, struct pin **ret_pin)
{
    const char *path = source_path(source);
    if (!path)
        return ca_fail(CA_MALFORMED, "a PIN source is 'file:' and an absolute path");
    /* O_NONBLOCK: a FIFO in its place must not hold up the start. */
    CA_AUTO_DESCRIPTOR fd =
        open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK);
    if (fd < 0)
        return ca_fail(errno == ELOOP || errno == EACCES ? CA_FORBIDDEN
                                                         : CA_UNAVAILABLE,
                       "PIN file %s: %s", path,
                       errno == ELOOP ? "is a symbolic link" : strerror(errno));
    enum ca_status status = file_check(fd, path);
    if (status != CA_OK)
        return status;
    CA_AUTO(pin_free) struct pin *pin = pin_new();
    if (!pin)
        return ca_fail(CA_INTERNAL, "no locked memory for a PIN: raise RLIMIT_MEMLOCK");
    ssize_t size = file_read(fd, pin->text, sizeof pin->text);
    if (size < 0)
        return ca_fail(CA_UNAVAILABLE, "PIN file %s: %s", path, strerror(errno));
    status = pin_check(pin, path, (size_t)size);
    if (status != CA_OK)
        return status;
    *ret_pin = CA_STEAL(pin);
    return CA_OK;
}

const char *
pin_text(const struct pin *pin)
{
    return pin->text;
}

void
pin_free(struct pin *pin)
{
    if (!pin)
        return;
    OPENSSL_cleanse(pin, sizeof *pin);
    munmap(pin, sizeof *pin);
}
