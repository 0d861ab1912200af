/* The configuration: what is taken has its defaults, absolute paths, and reads back the
 * same. */
#include "config.h"
#include "fuzz.h"
#include <string.h>

#define FOLDER "/etc/sealwright"

size_t fuzz_deep;

static void
expect_absolute(const char *path)
{
    FUZZ_ASSERT(!path || path[0] == '/');
}

static void
expect_complete(const struct config *config)
{
    const struct config_listener *listeners = config->listeners.items;
    const struct config_token *tokens = config->tokens.items;
    expect_absolute(config->data_directory);
    expect_absolute(config->plugin_directory);
    expect_absolute(config->pid_file);
    expect_absolute(config->tls_certificate);
    expect_absolute(config->tls_key);
    FUZZ_ASSERT(config->instance && config->store && config->data_directory);
    FUZZ_ASSERT(config->plugin_directory && config->log_level);
    FUZZ_ASSERT(strcmp(config->log_file, "-") == 0 || config->log_file[0] == '/');
    FUZZ_ASSERT(config->listeners.count > 0);
    FUZZ_ASSERT(config->limits.waiting > 0);
    FUZZ_ASSERT(config->limits.waiting < config->limits.workers);
    for (size_t i = 0; i < config->listeners.count; i++) {
        expect_absolute(listeners[i].path);
        FUZZ_ASSERT(!listeners[i].path == (listeners[i].bind && listeners[i].port > 0));
    }
    for (size_t i = 0; i < config->tokens.count; i++) {
        FUZZ_ASSERT(tokens[i].module[0] == '/');
        FUZZ_ASSERT(strncmp(tokens[i].pin_source, "file:/", 6) == 0);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config config = { 0 }, again = { 0 };
    enum ca_status status = config_parse((const char *)data, size, FOLDER, &config);
    FUZZ_ASSERT(status == CA_OK || *status_message());
    if (status != CA_OK)
        return 0;
    fuzz_deep++;
    expect_complete(&config);
    json_t *once = field_encode(config_fields, &config);
    FUZZ_ASSERT(once);
    char *text = json_dumps(once, 0);
    FUZZ_ASSERT(text);
    status = config_parse(text, strlen(text), "/elsewhere", &again);
    if (status == CA_OK) {
        json_t *twice = field_encode(config_fields, &again);
        FUZZ_ASSERT(json_equal(once, twice));
        json_decref(twice);
    } else { /* only that a path has grown by the folder's name */
        FUZZ_ASSERT(strstr(status_message(), "octets"));
    }
    free(text);
    json_decref(once);
    config_clear(&config);
    config_clear(&again);
    return 0;
}
