/* Management sessions of a device: states of the plugin that serves them (plugin.h,
 * ca_manage_open), of which the member "shown" is for people. */
#include "device_session.h"
#include "auto.h"
#include "clock.h"
#include <string.h>

/* The space of ca_state_put(..., "session", "<device> <SessionID>", ...) there. */
#define SESSION_SPACE "syncml/session"
#define KEY_MAX 128

static const char *const state_words[] = { "running", "over", NULL };

const struct field device_session_fields[] = {
    { FIELD(device_session, id), .type = FIELD_TEXT, .flags = FIELD_READ_ONLY,
      .max = 16, .help = "SessionID, as the device calls it; it may come again." },
    { FIELD(device_session, state), .type = FIELD_CHOICE, .flags = FIELD_READ_ONLY,
      .words = state_words,
      .help = "Over when nothing was left to say, or the device broke it off." },
    { FIELD(device_session, started), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When its first message came." },
    { FIELD(device_session, updated), .type = FIELD_TIME, .flags = FIELD_READ_ONLY,
      .help = "When its last message came; ten minutes later it is forgotten." },
    { FIELD(device_session, messages), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Number of the device's last message." },
    { FIELD(device_session, waiting), .type = FIELD_INTEGER, .flags = FIELD_READ_ONLY,
      .help = "Commands that the device has and has not answered yet." },
    FIELD_END,
};

struct session_list {
    record_visit visit;
    void *arg;
};

static enum ca_status
row_visit(const struct store_row *row, void *arg)
{
    const struct session_list *list = arg;
    struct device_session session = { 0 };
    size_t size = 0;
    const void *octets = store_row_blob(row, 0, &size);
    CA_AUTO(json_decref)
    json_t *state = json_loadb(octets, size, JSON_REJECT_DUPLICATES, NULL);
    const char *id = NULL;
    int is_over = 0;
    json_int_t started = 0, updated = 0, messages = 0, waiting = 0;
    if (json_unpack(state, "{s:{s:s, s:b, s:I, s:I, s:I, s:I}}", "shown", "id", &id,
                    "over", &is_over, "started", &started, "updated", &updated,
                    "messages", &messages, "waiting", &waiting) != 0)
        return ca_fail(CA_INTERNAL, "a session's state in the store shows nothing");
    session = (struct device_session){
        .id = (char *)(uintptr_t)id, /* the visitor copies */
        .state = is_over ? DEVICE_SESSION_OVER : DEVICE_SESSION_RUNNING,
        .started = started,
        .updated = updated,
        .messages = messages,
        .waiting = waiting,
    };
    return list->visit(&session, list->arg);
}

/* Keys of one device lie side by side, behind `from` and before '!'. */
static bool
keys_of(const char *device, const char *after, char ret_from[KEY_MAX],
        char ret_end[KEY_MAX])
{
    int from = snprintf(ret_from, KEY_MAX, "%s %s", device, after ? after : "");
    int end = snprintf(ret_end, KEY_MAX, "%s!", device);
    return from > 0 && from < KEY_MAX && end > 0 && end < KEY_MAX;
}

enum ca_status
device_session_list(struct store_tx *tx, const char *device,
                    const struct record_page *page, record_visit visit, void *arg)
{
    struct session_list list = { visit, arg };
    char from[KEY_MAX], end[KEY_MAX];
    if (!keys_of(device, page->after, from, end))
        return ca_fail(CA_MALFORMED, "no such device or session");
    return store_run(tx,
                     "SELECT value FROM state WHERE space = $1 AND key > $2 "
                     "AND key < $3 AND expires > $4 ORDER BY key LIMIT $5",
                     STORE_VALUES(store_text(SESSION_SPACE), store_text(from),
                                  store_text(end), store_integer(clock_now()),
                                  store_integer(record_page_limit(page))),
                     row_visit, &list, NULL);
}

enum ca_status
device_session_trim(struct store_tx *tx, const char *device)
{
    char from[KEY_MAX], end[KEY_MAX];
    _Static_assert(DEVICE_SESSION_MAX == 16, "the statement says so");
    if (!keys_of(device, NULL, from, end))
        return ca_fail(CA_MALFORMED, "no such device");
    return store_run(
        tx,
        "DELETE FROM state WHERE space = $1 AND key IN "
        "(SELECT key FROM state WHERE space = $1 AND key > $2 "
        "AND key < $3 ORDER BY expires DESC, key LIMIT 1000 OFFSET 15)",
        STORE_VALUES(store_text(SESSION_SPACE), store_text(from), store_text(end)),
        NULL, NULL, NULL);
}
