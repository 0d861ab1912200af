/* A SoftHSM token of the data folder's own, with random PINs: for testing. */
#include "auto.h"
#include "clock.h"
#include "init.h"
#include "inittoken.h"
#include "text.h"
#include <errno.h>
#include <openssl/crypto.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PIN_DIGITS 16

/* Decimal digits, as every token takes them. */
static enum ca_status
pin_draw(char ret_pin[PIN_DIGITS + 1])
{
    for (size_t i = 0; i < PIN_DIGITS;) {
        uint8_t octet;
        enum ca_status status = random_bytes(&octet, 1);
        if (status != CA_OK)
            return status;
        if (octet < 250) /* else the low digits would be likelier */
            ret_pin[i++] = (char)('0' + octet % 10);
    }
    ret_pin[PIN_DIGITS] = '\0';
    return CA_OK;
}

static enum ca_status
folder_make(const char *path)
{
    if (mkdir(path, 0700) == 0 || errno == EEXIST)
        return CA_OK;
    return ca_fail(CA_UNAVAILABLE, "%s: %s", path, strerror(errno));
}

static enum ca_status
secret_write(const char *folder, const char *name, const char *secret)
{
    CA_AUTO(free) char *path = NULL;
    CA_AUTO(secret_free) char *line = NULL;
    if (asprintf(&path, "%s/%s", folder, name) < 0 ||
        asprintf(&line, "%s\n", secret) < 0)
        return ca_fail(CA_INTERNAL, "no memory for a path");
    return init_file_write(path, line, strlen(line), 0400);
}

static enum ca_status
softhsm_configure(const char *folder)
{
    CA_AUTO(free) char *path = NULL;
    CA_AUTO(free) char *text = NULL;
    CA_AUTO(free) char *tokens = NULL;
    if (asprintf(&path, "%s/softhsm2.conf", folder) < 0 ||
        asprintf(&tokens, "%s/tokens", folder) < 0 ||
        asprintf(&text,
                 "directories.tokendir = %s\nobjectstore.backend = file\n"
                 "log.level = ERROR\n",
                 tokens) < 0)
        return ca_fail(CA_INTERNAL, "no memory for a path");
    enum ca_status status = folder_make(tokens);
    if (status == CA_OK)
        status = init_file_write(path, text, strlen(text), 0600);
    if (status == CA_OK && setenv("SOFTHSM2_CONF", path, 1) != 0)
        status = ca_fail(CA_INTERNAL, "SOFTHSM2_CONF: %s", strerror(errno));
    return status;
}

static enum ca_status
token_make(const char *folder, const char *so_pin, const char *pin)
{
    enum ca_status status = softhsm_configure(folder);
    if (status == CA_OK)
        status = inittoken_run(&(struct inittoken){
            .module = INIT_SOFTHSM_MODULE,
            .label = INIT_TOKEN_LABEL,
            .so_pin = so_pin,
            .pin = pin,
        });
    if (status == CA_OK)
        status = secret_write(folder, "so-pin", so_pin);
    if (status == CA_OK)
        status = secret_write(folder, "pin", pin);
    return status;
}

enum ca_status
init_token_create(const struct init_options *options)
{
    CA_AUTO(free) char *folder = NULL;
    if (access(INIT_SOFTHSM_MODULE, R_OK) != 0)
        return ca_fail(
            CA_UNAVAILABLE,
            "%s is missing: install softhsm2, or name a module with --module",
            INIT_SOFTHSM_MODULE);
    if (asprintf(&folder, "%s/token", options->data) < 0)
        return ca_fail(CA_INTERNAL, "no memory for a path");
    char so_pin[PIN_DIGITS + 1], pin[PIN_DIGITS + 1];
    enum ca_status status = folder_make(folder);
    if (status == CA_OK)
        status = pin_draw(so_pin);
    if (status == CA_OK)
        status = pin_draw(pin);
    if (status == CA_OK)
        status = token_make(folder, so_pin, pin);
    OPENSSL_cleanse(so_pin, sizeof so_pin);
    OPENSSL_cleanse(pin, sizeof pin);
    return status;
}
