/* The sealing keys of the service. */
#include "log.h"
#include "service.h"
#include <string.h>

bool
service_has_plugin(const struct service *service, const char *name)
{
    const struct config_plugin *plugins = service->config.plugins.items;
    for (size_t i = 0; i < service->config.plugins.count; i++) {
        if (strcmp(plugins[i].name, name) == 0)
            return true;
    }
    return false;
}

enum ca_status
service_open_vault(struct service *service)
{
    struct vault *vault = atomic_load(&service->vault);
    if (vault)
        return vault_refresh(vault, service->store);
    enum ca_status status =
        vault_open(service->store, service->tokens,
                   (enum vault_mode)service->config.activation.kek, &vault);
    struct vault *none = NULL;
    if (status == CA_OK &&
        !atomic_compare_exchange_strong(&service->vault, &none, vault))
        vault_free(vault); /* opened by another thread meanwhile */
    return status;
}
