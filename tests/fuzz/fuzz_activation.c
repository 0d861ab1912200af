/* Any octets as each message of the activation protocol; whatever comes of it, the
 * answer is one JSON object of version 1, and nothing is kept of what is refused. */
#include "activation.h"
#include "fake_activation.h"
#include "fake_core.h"
#include "fuzz.h"

size_t fuzz_deep;

extern const struct ca_plugin ca_plugin;

static void
answer_check(const struct fake_core *core, enum ca_status status)
{
    json_t *answer =
        json_loadb((const char *)core->body, core->size, JSON_REJECT_DUPLICATES, NULL);
    const json_t *error = json_object_get(answer, "error");
    FUZZ_ASSERT(json_integer_value(json_object_get(answer, "v")) == 1);
    FUZZ_ASSERT(strcmp(core->cache_control, "no-store") == 0);
    FUZZ_ASSERT((status == CA_OK) == (core->http_status < 300));
    FUZZ_ASSERT((status == CA_OK) == (error == NULL));
    json_decref(answer);
}

static void
message_try(struct fake_core *core, void *state, const struct ca_route *row,
            const char *rest, struct ca_bytes message)
{
    fake_core_request(core, row->method, rest, "", message.data, message.size);
    core->request.content_type = "application/json";
    core->request.peer_certificate = core->root;
    answer_check(core, row->handle(state, &core->request));
    fuzz_deep += core->http_status == 200 || fake_activation.attempts > 0;
}

/* Every message that has a body; below the one prefix, each step of SCEP. */
static void
messages_try(struct fake_core *core, void *state, struct ca_bytes message)
{
    static const char *const steps[] = { "default/prepare", "default/envelope",
                                         "default/enroll" };
    for (const struct ca_route *row = ca_plugin.routes; row->method; row++) {
        if (row->max_body == 0)
            continue;
        if (!(row->flags & CA_ROUTE_PREFIX)) {
            message_try(core, state, row, "", message);
            continue;
        }
        for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
            message_try(core, state, row, steps[i], message);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fake_core core;
    static void *state;
    if (!state) {
        fake_core_open(&core);
        FUZZ_ASSERT(ca_plugin.init(NULL, &state) == CA_OK);
    }
    fake_activation_open();
    messages_try(&core, state, (struct ca_bytes){ data, size });
    if (fake_activation.is_kept && fake_activation.proofs == 0)
        FUZZ_ASSERT(fake_activation.answered == 0);
    fake_core_forget(&core);
    fake_activation_close();
    return 0;
}
