/* The health check of files: who may read or replace them, room on the disk, the TLS
 * certificate. */
#include "auto.h"
#include "health.h"
#include <dirent.h>
#include <errno.h>
#include <openssl/pem.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define DAY INT64_C(86400)
#define TLS_WARN (30 * DAY)
#define MIB (1024ULL * 1024)
#define DISK_CRITICAL (64 * MIB)
#define DISK_WARN (1024 * MIB)

/* ---- Modes ---- */

#define FOR_OTHERS (S_IRWXG | S_IRWXO)
#define BY_OTHERS (S_IWGRP | S_IWOTH)

/* Nobody else has a right of `bad`; a file that is not there is no finding. */
static void
check_mode(struct health *health, const char *path, mode_t bad, const char *what)
{
    struct stat file;
    char check[320];
    if (!path || stat(path, &file) != 0)
        return;
    snprintf(check, sizeof check, "file:%.300s", path);
    if (file.st_mode & bad)
        health_add(health, HEALTH_CRITICAL, check, "mode %04o: others can %s %s",
                   (unsigned)(file.st_mode & 07777),
                   file.st_mode & bad & (S_IWGRP | S_IWOTH) ? "change" : "read", what);
    else if (file.st_uid != 0 && file.st_uid != geteuid())
        health_add(health, HEALTH_CRITICAL, check, "belongs to user %u",
                   (unsigned)file.st_uid);
    else
        health_add(health, HEALTH_OK, check, "mode %04o",
                   (unsigned)(file.st_mode & 07777));
}

static void
check_data_mode(struct health *health, const char *name, mode_t bad, const char *what)
{
    CA_AUTO(free) char *path = NULL;
    if (asprintf(&path, "%s/%s", health->config->data_directory, name) < 0)
        return;
    check_mode(health, path, bad, what);
}

/* systemd hands a credential out as root's with 0440, in a folder of the service. */
static void
check_pin(struct health *health, const struct config_token *token)
{
    const char *path = token->pin_source + strlen("file:");
    const char *folder = getenv("CREDENTIALS_DIRECTORY");
    bool is_credential =
        folder && *folder && strncmp(path, folder, strlen(folder)) == 0;
    check_mode(health, path, is_credential ? BY_OTHERS | S_IRWXO : FOR_OTHERS,
               "the PIN");
}

static void
check_store(struct health *health, const char *path)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        CA_AUTO(free) char *file = NULL;
        if (asprintf(&file, "%s%s", path, ends[i]) >= 0)
            check_mode(health, file, FOR_OTHERS, "the store");
    }
}

/* The folder of SoftHSM's objects, as its configuration names it. */
static void
check_software_token(struct health *health, const struct config_token *token)
{
    static const char variable[] = "SOFTHSM2_CONF=", member[] = "directories.tokendir";
    char *const *items = token->environment.items;
    for (size_t i = 0; i < token->environment.count; i++) {
        if (strncmp(items[i], variable, sizeof variable - 1) != 0)
            continue;
        const char *path = items[i] + sizeof variable - 1;
        CA_AUTO(fclose) FILE *file = fopen(path, "re");
        char line[1024];
        check_mode(health, path, BY_OTHERS, "where the keys are");
        while (file && fgets(line, sizeof line, file)) {
            char *equal = strchr(line, '=');
            if (strncmp(line, member, sizeof member - 1) != 0 || !equal)
                continue;
            char *folder = equal + 1 + strspn(equal + 1, " \t");
            folder[strcspn(folder, "\r\n")] = '\0';
            check_mode(health, folder, FOR_OTHERS, "the keys");
        }
    }
}

static void
check_plugins(struct health *health)
{
    const struct config *config = health->config;
    const struct config_plugin *plugins = config->plugins.items;
    check_mode(health, config->plugin_directory, BY_OTHERS, "the plugins");
    for (size_t i = 0; i < config->plugins.count; i++) {
        CA_AUTO(free) char *path = NULL;
        if (asprintf(&path, "%s/sealwright_%s.so", config->plugin_directory,
                     plugins[i].name) < 0)
            return;
        check_mode(health, path, BY_OTHERS, "a plugin");
        char check[96];
        snprintf(check, sizeof check, "plugin:%.64s", plugins[i].name);
        if (access(path, R_OK) != 0)
            health_add(health, HEALTH_CRITICAL, check, "%s: %s", path, strerror(errno));
    }
}

static void
check_latches(struct health *health, const struct config_token *token)
{
    CA_AUTO(free) char *path = NULL;
    char check[96];
    if (asprintf(&path, "%s/token-%s.latched", health->config->data_directory,
                 token->name) < 0 ||
        access(path, F_OK) != 0)
        return;
    snprintf(check, sizeof check, "latch:%.64s", token->name);
    health_add(health, HEALTH_CRITICAL, check,
               "the PIN was refused: see sealwright token unlock");
}

/* ---- Disk ---- */

static void
check_disk(struct health *health)
{
    struct statvfs disk;
    const char *folder = health->config->data_directory;
    if (statvfs(folder, &disk) != 0) {
        health_add(health, HEALTH_CRITICAL, "disk", "%s: %s", folder, strerror(errno));
        return;
    }
    unsigned long long room = (unsigned long long)disk.f_bavail * disk.f_frsize;
    enum health_severity severity = room < DISK_CRITICAL ? HEALTH_CRITICAL
                                    : room < DISK_WARN   ? HEALTH_WARNING
                                                         : HEALTH_OK;
    health_add(health, severity, "disk", "%llu MiB free for %s", room / MIB, folder);
}

/* ---- TLS ---- */

static void
check_tls(struct health *health)
{
    const char *path = health->config->tls_certificate;
    if (!path)
        return;
    CA_AUTO(fclose) FILE *file = fopen(path, "re");
    CA_AUTO(X509_free)
    X509 *certificate = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    if (certificate)
        health_check_end(health, "tls", certificate, TLS_WARN);
    else
        health_add(health, HEALTH_CRITICAL, "tls", "%s has no certificate", path);
}

void
health_check_files(struct health *health)
{
    const struct config *config = health->config;
    const struct config_token *tokens = config->tokens.items;
    check_mode(health, config->data_directory, FOR_OTHERS, "the data folder");
    check_data_mode(health, "sealwright.json", BY_OTHERS, "the configuration");
    check_data_mode(health, "admin.token", FOR_OTHERS, "an administrator's token");
    if (strncmp(config->store, "sqlite:", 7) == 0)
        check_store(health, config->store + 7);
    check_mode(health, config->tls_key, FOR_OTHERS, "the TLS key");
    for (size_t i = 0; i < config->tokens.count; i++) {
        check_pin(health, &tokens[i]);
        check_software_token(health, &tokens[i]);
        check_mode(health, tokens[i].module, BY_OTHERS, "a PKCS#11 library");
        check_latches(health, &tokens[i]);
    }
    check_plugins(health);
    check_disk(health);
    check_tls(health);
}
