/* Any octets as a message of a device in the middle of a session. */
#include "fake_core.h"
#include "fuzz.h"
#include "syncml.h"

size_t fuzz_deep;

static struct fake_core core;

/* Our message 1 asked for a node, a policy item and an atomic; ids 1, 2, 3 to 5. */
static void
begin(struct syncml_session *session, json_t *policy)
{
    json_t *atomic =
        json_pack("{s:s, s:[{s:s, s:s}, {s:s, s:s}]}", "kind", "atomic", "members",
                  "kind", "delete", "target", "./a", "kind", "exec", "target", "./b");
    json_t *get = json_pack("{s:s, s:s}", "kind", "get", "target", "./DevDetail/SwV");
    *session = (struct syncml_session){ .state = syncml_session_new("t"),
                                        .statuses = json_array(),
                                        .commands = json_array(),
                                        .finished = json_array(),
                                        .next_id = 1,
                                        .policy = policy };
    syncml_session_add(session, SYNCML_FOR_QUEUE, "c", get);
    syncml_session_policy(session, 0);
    syncml_session_add(session, SYNCML_FOR_QUEUE, "d", atomic);
    json_object_set_new(session->state, "own", json_integer(1));
    json_array_clear(session->commands);
    json_decref(atomic);
    json_decref(get);
}

static void
one_message(struct syncml_session *session, const struct syncml_message *message)
{
    static const struct xml_limits limits = { 4 << 20, 32, 100000, 16, 4 << 20 };
    struct ca_bytes answer;
    const struct xml_node *root;
    session->next_id = 1;
    syncml_session_take(session, message);
    syncml_session_settle(session, message);
    syncml_session_policy(session, 0);
    FUZZ_ASSERT(json_array_size(session->finished) <= 2);
    FUZZ_ASSERT(json_array_size(session->commands) <= SYNCML_COMMANDS_MAX);
    FUZZ_ASSERT(syncml_answer(&core.request, session, &message->header, 200, NULL,
                              &answer) == CA_OK);
    FUZZ_ASSERT(xml_read(&core.request, answer, &limits, &root) == CA_OK);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct syncml_message message;
    struct syncml_session session;
    fake_core_request(&core, "POST", "", "", data, size);
    if (syncml_read(&core.request, &message) == CA_OK) {
        fuzz_deep++;
        FUZZ_ASSERT(message.header.message > 0 && *message.header.session);
        json_t *policy = json_pack("{s:s, s:i, s:[{s:s, s:s, s:s, s:s}]}", "name", "p",
                                   "version", 1, "items", "uri", "./p", "verb",
                                   "replace", "format", "chr", "data", "<wanted>");
        begin(&session, policy);
        one_message(&session, &message);
        syncml_session_clear(&session);
        json_decref(policy);
    }
    fake_core_request(&core, "POST", "", "", NULL, 0);
    return 0;
}
