/* Puts keys and certificates away: PKCS#12 under a password, files of their owner
 * alone, each there whole or not at all. */
#include "activate_key.h"
#include "auto.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/pem.h>
#include <openssl/pkcs12.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_SIZE 4096
#define ITERATIONS 100000 /* of the password's stretching and of the MAC's */

static enum ca_status
path_make(const char *directory, const char *name, const char *suffix,
          char ret_path[PATH_SIZE])
{
    int length = snprintf(ret_path, PATH_SIZE, "%s/%s%s", directory, name, suffix);
    return length > 0 && length < PATH_SIZE
               ? CA_OK
               : ca_fail(CA_MALFORMED, "the path of %s is too long", name);
}

enum ca_status
key_file_check(const char *directory, const char *name)
{
    char path[PATH_SIZE];
    enum ca_status status = path_make(directory, name, "", path);
    if (status != CA_OK)
        return status;
    if (mkdir(directory, 0700) != 0 && errno != EEXIST)
        return ca_fail(CA_FORBIDDEN, "%s: %s", directory, strerror(errno));
    if (access(directory, W_OK | X_OK) != 0)
        return ca_fail(CA_FORBIDDEN, "%s: %s", directory, strerror(errno));
    if (access(path, F_OK) == 0)
        return ca_fail(CA_CONFLICT,
                       "%s is there already: choose another folder with --out", path);
    return CA_OK;
}

static bool
octets_write(int fd, struct ca_bytes octets)
{
    size_t done = 0;
    while (done < octets.size) {
        ssize_t put = write(fd, octets.data + done, octets.size - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        done += (size_t)put;
    }
    return fsync(fd) == 0;
}

enum ca_status
key_file_write(const char *directory, const char *name, struct ca_bytes octets)
{
    char path[PATH_SIZE], part[PATH_SIZE];
    enum ca_status status = path_make(directory, name, "", path);
    if (status == CA_OK)
        status = path_make(directory, name, ".part", part);
    if (status != CA_OK)
        return status;
    unlink(part);
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool holds = fd >= 0 && octets_write(fd, octets);
    int error = errno;
    if (fd >= 0 && close(fd) != 0)
        holds = false;
    if (holds && rename(part, path) == 0)
        return CA_OK;
    error = holds ? errno : error;
    unlink(part);
    return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(error));
}

static enum ca_status
bio_write(BIO *bio, const char *directory, const char *name)
{
    char *data = NULL;
    long size = BIO_get_mem_data(bio, &data);
    return key_file_write(
        directory, name,
        (struct ca_bytes){ (const uint8_t *)data, size > 0 ? (size_t)size : 0 });
}

static enum ca_status
pkcs12_write(const struct key_issued *issued, const char *directory, const char *name,
             const char *password)
{
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_secmem());
    PKCS12 *file = PKCS12_create(password, "sealwright", issued->key,
                                 issued->certificate, issued->chain, NID_aes_256_cbc,
                                 NID_aes_256_cbc, ITERATIONS, ITERATIONS, 0);
    bool holds = bio && file && i2d_PKCS12_bio(bio, file) == 1;
    PKCS12_free(file);
    return holds ? bio_write(bio, directory, name)
                 : ca_fail_openssl(CA_INTERNAL, "cannot write PKCS#12");
}

enum ca_status
key_issued_write(const struct key_issued *issued, const char *directory,
                 const char *name, const char *password)
{
    if (password)
        return pkcs12_write(issued, directory, name, password);
    CA_AUTO(BIO_free_all) BIO *bio = BIO_new(BIO_s_mem());
    bool holds = bio && PEM_write_bio_X509(bio, issued->certificate) == 1;
    for (int i = 0; holds && i < sk_X509_num(issued->chain); i++)
        holds = PEM_write_bio_X509(bio, sk_X509_value(issued->chain, i)) == 1;
    return holds ? bio_write(bio, directory, name)
                 : ca_fail_openssl(CA_INTERNAL, "cannot write certificates");
}
