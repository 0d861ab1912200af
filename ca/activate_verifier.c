/* Verifiers of activation passwords, unsealed at the same cost whether there is one. */
#include "activate.h"
#include "audit.h"
#include "auto.h"
#include "log.h"
#include <string.h>

static enum ca_status
damage_write(struct store_tx *tx, void *arg)
{
    return audit_append(tx, arg);
}

/* A row that does not open is as good as none, and somebody has to know. */
static void
damage_report(struct exchange *exchange, const struct activation_verifier *verifier)
{
    char object[64];
    snprintf(object, sizeof object, "activation:%s", verifier->activation);
    struct audit_entry entry = { .action = "activation.damaged",
                                 .actor = "system",
                                 .object = object,
                                 .protocol = "activation",
                                 .request = exchange->request.id,
                                 .outcome = "failed" };
    if (store_write(exchange->service->store, damage_write, &entry) != CA_OK)
        log_write(LOG_LEVEL_ERROR, json_pack("{s:s}", "activation", object),
                  "damaged verifier not in the audit: %s", status_message());
}

enum ca_status
activate_unseal(struct exchange *exchange, struct stretch_name name,
                const struct activation_verifier *verifier, bool *is_live,
                uint8_t ret_prs[STRETCH_PRS_SIZE])
{
    struct vault *vault = atomic_load(&exchange->service->vault);
    CA_AUTO(text_buffer_clear) struct text_buffer aad = { 0 };
    memset(ret_prs, 0, STRETCH_PRS_SIZE);
    stretch_verifier_aad(name, *is_live ? verifier->id : "", &aad);
    if (aad.failed)
        return ca_fail(CA_INTERNAL, "no memory for an aad");
    if (!vault)
        return ca_fail(CA_UNAVAILABLE, "no sealing key is in use");
    if (!*is_live)
        return vault_unseal_decoy(vault);
    enum ca_status status = vault_unseal(
        vault, verifier->kid,
        (struct seal_text){ verifier->blob, sizeof verifier->blob, aad.data, aad.size },
        ret_prs);
    if (status != CA_FORBIDDEN)
        return status;
    *is_live = false;
    damage_report(exchange, verifier);
    return CA_OK;
}
