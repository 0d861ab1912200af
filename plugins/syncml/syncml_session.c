/* The session as a pure engine: what the device says goes in, statuses and answers to
 * our commands come out. */
#include "auto.h"
#include "syncml.h"
#include <string.h>

#define INFO_NODE_SIZE 64 /* octets of a node of DevInfo, with its NUL */
#define INFO_TEXT_MAX 256 /* of its value; what is longer is passed over */

json_t *
syncml_session_new(const char *token)
{
    return json_pack("{s:s, s:i, s:i, s:[], s:{}, s:{}, s:{}}", "token", token, "own",
                     0, "next", 1, "pending", "detail", "info", "scep");
}

void
syncml_session_clear(struct syncml_session *session)
{
    json_decref(session->state);
    json_decref(session->statuses);
    json_decref(session->commands);
    json_decref(session->finished);
    *session = (struct syncml_session){ 0 };
}

static void
keep(struct syncml_session *session, int failed)
{
    session->failed = session->failed || failed != 0;
}

static void
add_status(struct syncml_session *session, const struct xml_node *command, int code,
           const char *source)
{
    const char *id = syncml_text(command, "CmdID");
    keep(session, json_array_append_new(session->statuses,
                                        json_pack("{s:s, s:s, s:i, s:s*}", "ref",
                                                  id ? id : "0", "cmd", command->name,
                                                  "code", code, "source", source)));
}

/* ---- Large objects (OMA-TS-DM_Protocol-V1_2 section 7) ---- */

/* Puts a chunk behind those that came before. 213: more is to come; 200: `ret_text` is
 * the whole; 413, 424: refused and forgotten. */
static int
chunk_take(struct syncml_session *session, const char *key, const struct xml_node *item,
           const char **ret_text)
{
    json_t *large = json_object_get(session->state, "large");
    const struct xml_node *node = syncml_node(item, "Data");
    const char *size = syncml_text(item, "Meta/Size");
    bool more = xml_child(item, NULL, "MoreData") != NULL;
    const char *before = json_string_value(json_object_get(large, "data"));
    const char *same = json_string_value(json_object_get(large, "key"));
    if (large && strcmp(same, key) != 0) {
        session->lost_end = true;
        json_object_del(session->state, "large");
        large = NULL;
        before = NULL;
    }
    if (!large && !more) {
        *ret_text = node ? node->text : "";
        return 200;
    }
    const char *data = node ? node->raw : ""; /* a blank at its edge is of the whole */
    int64_t whole = large ? json_integer_value(json_object_get(large, "size"))
                          : (size ? strtoll(size, NULL, 10) : 0);
    size_t length = (before ? strlen(before) : 0) + strlen(data);
    if (length > SYNCML_OBJECT_MAX || whole > SYNCML_OBJECT_MAX) {
        json_object_del(session->state, "large");
        return 413;
    }
    CA_AUTO(json_decref)
    json_t *joined = json_sprintf("%s%s", before ? before : "", data);
    keep(session, json_object_set_new(session->state, "large",
                                      json_pack("{s:s, s:O*, s:I}", "key", key, "data",
                                                joined, "size", (json_int_t)whole)));
    if (more) {
        session->wants_more = true;
        return 213;
    }
    if (whole > 0 && (int64_t)length != whole) {
        json_object_del(session->state, "large");
        return 424;
    }
    /* Lives in the state until the next object begins or the message is answered. */
    keep(session, json_object_set(session->state, "joined", joined));
    json_object_del(session->state, "large");
    *ret_text = json_string_value(joined);
    return 200;
}

/* ---- Answers to our commands ---- */

static json_t *
pending_find(const struct syncml_session *session, const char *message, const char *id,
             json_t **ret_member)
{
    size_t i, k;
    json_t *entry, *member;
    *ret_member = NULL;
    if (!message || !id)
        return NULL;
    json_array_foreach (json_object_get(session->state, "pending"), i, entry) {
        char text[24];
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(entry, "msg")));
        if (strcmp(text, message) != 0)
            continue;
        snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT,
                 json_integer_value(json_object_get(entry, "cmd")));
        if (strcmp(text, id) == 0)
            return entry;
        json_array_foreach (json_object_get(entry, "members"), k, member) {
            snprintf(text, sizeof text, "%" JSON_INTEGER_FORMAT,
                     json_integer_value(json_object_get(member, "cmd")));
            if (strcmp(text, id) == 0) {
                *ret_member = member;
                return entry;
            }
        }
    }
    return NULL;
}

static void
take_status(struct syncml_session *session, const struct xml_node *status)
{
    json_t *member;
    const char *code = syncml_text(status, "Data");
    json_t *entry = pending_find(session, syncml_text(status, "MsgRef"),
                                 syncml_text(status, "CmdRef"), &member);
    char *end;
    long number = code ? strtol(code, &end, 10) : 0;
    if (!entry || number < 100 || number > 999 || *end)
        return;
    const struct xml_node *data = xml_child(status, NULL, "Data");
    const char *original = xml_attribute(data, "originalerror");
    json_t *to = member ? member : entry;
    keep(session, json_object_set_new(to, "code", json_integer(number)));
    if (original && strlen(original) < 64)
        keep(session, json_object_set_new(to, "error", json_string(original)));
}

/* One item of Results; 200, or what the device has to hear about a chunk. */
static int
take_item(struct syncml_session *session, json_t *entry, const struct xml_node *item)
{
    const char *source = syncml_text(item, "Source/LocURI"), *text = NULL;
    const char *format = syncml_text(item, "Meta/Format");
    const char *type = syncml_text(item, "Meta/Type");
    char key[64];
    snprintf(key, sizeof key, "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(entry, "cmd")));
    int code = chunk_take(session, key, item, &text);
    if (code != 200)
        return code;
    json_t *kept = json_object_get(session->state, "kept");
    bool is_policy = strcmp(json_string_value(json_object_get(entry, "for")),
                            SYNCML_FOR_POLICY) == 0;
    size_t size = strlen(text) + (source ? strlen(source) : 0) + 64;
    size_t used = (size_t)json_integer_value(kept) + size;
    bool fits =
        (is_policy || strlen(text) <= SYNCML_VALUE_MAX) && used <= SYNCML_KEPT_MAX;
    if (fits)
        keep(session, json_object_set_new(session->state, "kept",
                                          json_integer((json_int_t)used)));
    json_t *results = json_object_get(entry, "results");
    if (!results) {
        results = json_array();
        keep(session, json_object_set_new(entry, "results", results));
    }
    /* What is too long to keep is said to be so, never cut in silence. */
    keep(session,
         json_array_append_new(
             results, json_pack("{s:s*, s:s*, s:s*, s:s*, s:I}", "source", source,
                                "format", format, "type", type, "data",
                                fits ? text : NULL, "size", (json_int_t)strlen(text))));
    return 200;
}

static void
take_results(struct syncml_session *session, const struct xml_node *results)
{
    json_t *member;
    json_t *entry = pending_find(session, syncml_text(results, "MsgRef"),
                                 syncml_text(results, "CmdRef"), &member);
    for (const struct xml_node *item = xml_child(results, NULL, "Item"); entry && item;
         item = xml_next(item, NULL, "Item")) {
        int code = take_item(session, entry, item);
        if (code != 200)
            add_status(session, results, code, NULL);
    }
}

/* ---- What the device says by itself ---- */

static bool
item_has_type(const struct xml_node *alert, const char *type)
{
    for (const struct xml_node *item = xml_child(alert, NULL, "Item"); item;
         item = xml_next(item, NULL, "Item")) {
        const char *text = syncml_text(item, "Meta/Type");
        if (text && strcmp(text, type) == 0)
            return true;
    }
    return false;
}

static void
take_alert(struct syncml_session *session, const struct xml_node *alert)
{
    const char *code = syncml_text(alert, "Data");
    if (!code) {
        add_status(session, alert, 400, NULL);
        return;
    }
    if (strcmp(code, "1226") == 0 &&
        item_has_type(alert, "com.microsoft:mdm.unenrollment.userrequest"))
        session->unenrolled = true;
    if (strcmp(code, "1224") == 0 &&
        item_has_type(alert, "Reversed-Domain-Name:com.microsoft.mdm.requestpending"))
        session->waits = true;
    if (strcmp(code, "1223") == 0)
        session->aborted = true;
    if (strcmp(code, "1224") == 0 &&
        item_has_type(alert, "com.microsoft/MDM/LoginStatus")) {
        const char *login = syncml_text(alert, "Item/Data");
        if (login && strlen(login) < 16)
            keep(session,
                 json_object_set_new(session->state, "login", json_string(login)));
    }
    add_status(session, alert, 200, NULL);
}

/* DevInfo is kept; no other node of ours can be changed. */
static int
take_info(struct syncml_session *session, const struct xml_node *item)
{
    static const char root[] = "./DevInfo/";
    json_t *info = json_object_get(session->state, "info");
    const char *source = syncml_text(item, "Source/LocURI"), *text = NULL;
    if (!source || strncmp(source, root, sizeof root - 1) != 0 ||
        strlen(source) >= INFO_NODE_SIZE || json_object_size(info) >= SYNCML_INFO_MAX)
        return 404;
    int code = chunk_take(session, source, item, &text);
    if (code == 200 && strlen(text) <= INFO_TEXT_MAX)
        keep(session,
             json_object_set_new(info, source + sizeof root - 1, json_string(text)));
    return code;
}

/* Replace (or Add) of package 1: one Status, or one an item where the codes differ. */
static void
take_replace(struct syncml_session *session, const struct xml_node *command)
{
    size_t i = 0;
    CA_AUTO(json_decref) json_t *codes = json_array();
    int last = 0;
    bool differ = false;
    const struct xml_node *item = xml_child(command, NULL, "Item");
    for (; item; item = xml_next(item, NULL, "Item")) {
        int code = take_info(session, item);
        keep(session, json_array_append_new(codes, json_integer(code)));
        differ = differ || (last != 0 && code != last);
        last = code;
    }
    if (!differ) {
        add_status(session, command, last == 0 ? 400 : last, NULL);
        return;
    }
    item = xml_child(command, NULL, "Item");
    for (; item; item = xml_next(item, NULL, "Item"), i++)
        add_status(session, command, (int)json_integer_value(json_array_get(codes, i)),
                   syncml_text(item, "Source/LocURI"));
}

void
syncml_session_take(struct syncml_session *session,
                    const struct syncml_message *message)
{
    static const char *const refused[] = { "Get",      "Delete", "Exec", "Atomic",
                                           "Sequence", "Copy",   "Put",  "Map",
                                           "Search",   "Sync" };
    session->is_final = message->is_final;
    for (const struct xml_node *command = message->body->first; command;
         command = command->next) {
        const char *name = command->name;
        const char *id = syncml_text(command, "CmdID");
        bool is_known = strcmp(command->space, SYNCML_SPACE) == 0;
        bool is_refused = false;
        for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++)
            is_refused = is_refused || strcmp(name, refused[i]) == 0;
        if (is_known && strcmp(name, "Final") == 0)
            continue;
        if (!is_known || !id || !*id || strcmp(id, "0") == 0 || strlen(id) > 16)
            keep(session, json_array_append_new(
                              session->statuses,
                              json_pack("{s:s, s:s, s:i}", "ref", "0", "cmd",
                                        is_known ? name : "Unknown", "code", 400)));
        else if (strcmp(name, "Status") == 0)
            take_status(session, command);
        else if (strcmp(name, "Results") == 0)
            take_results(session, command);
        else if (strcmp(name, "Alert") == 0)
            take_alert(session, command);
        else if (strcmp(name, "Replace") == 0 || strcmp(name, "Add") == 0)
            take_replace(session, command);
        else
            add_status(session, command, is_refused ? 406 : 400, NULL);
    }
}

/* ---- Settling ---- */

static json_t *
result_of(const json_t *pending)
{
    size_t i;
    json_t *member, *codes = json_array();
    json_array_foreach (json_object_get(pending, "members"), i, member) {
        json_t *code = json_object_get(member, "code");
        json_array_append_new(codes, code ? json_incref(code) : json_null());
    }
    json_t *result =
        json_pack("{s:O*, s:O*, s:O*}", "status", json_object_get(pending, "code"),
                  "items", json_object_get(pending, "results"), "error",
                  json_object_get(pending, "error"));
    if (json_array_size(codes) > 0)
        json_object_set(result, "members", codes);
    json_decref(codes);
    if (!json_object_get(pending, "code"))
        json_object_set_new(result, "reason", json_string("the device left it out"));
    return result;
}

static void
settle(struct syncml_session *session, json_t *pending)
{
    const char *purpose = json_string_value(json_object_get(pending, "for"));
    int64_t code = json_integer_value(json_object_get(pending, "code"));
    if (strcmp(purpose, SYNCML_FOR_QUEUE) != 0) {
        syncml_work_settle(session, pending);
        return;
    }
    keep(session, json_array_append_new(session->finished,
                                        json_pack("{s:O, s:b, s:o}", "id",
                                                  json_object_get(pending, "ref"),
                                                  "failed", code < 200 || code >= 300,
                                                  "result", result_of(pending))));
}

void
syncml_session_settle(struct syncml_session *session,
                      const struct syncml_message *message)
{
    json_t *pending = json_object_get(session->state, "pending");
    bool is_whole = message->is_final && !session->wants_more;
    if (session->waits || session->aborted)
        return;
    for (size_t i = 0; i < json_array_size(pending);) {
        json_t *entry = json_array_get(pending, i);
        int64_t code = json_integer_value(json_object_get(entry, "code"));
        bool wants_results = json_is_true(json_object_get(entry, "get")) &&
                             code >= 200 && code < 300 &&
                             !json_object_get(entry, "results");
        bool in_chunks = json_object_get(session->state, "large") != NULL;
        if (!is_whole && (code == 0 || wants_results || in_chunks)) {
            i++;
            continue;
        }
        json_incref(entry);
        json_array_remove(pending, i);
        settle(session, entry);
        json_decref(entry);
    }
    if (json_array_size(pending) == 0)
        json_object_del(session->state, "kept");
}

bool
syncml_session_is_waiting(const struct syncml_session *session)
{
    return json_array_size(json_object_get(session->state, "pending")) > 0;
}

/* ---- Commands of ours ---- */

bool
syncml_session_has_room(const struct syncml_session *session, size_t size)
{
    size_t count = json_array_size(session->commands);
    size_t limit = session->limit > 0 ? session->limit : SYNCML_ANSWER_MAX;
    if (count == 0 && session->limit == 0)
        return true;
    return count < SYNCML_COMMANDS_MAX && session->size + size <= limit;
}

size_t
syncml_command_size(const json_t *command)
{
    size_t i, size = 256;
    json_t *member;
    static const char *const texts[] = { "target", "data", "type" };
    for (i = 0; i < sizeof texts / sizeof texts[0]; i++)
        size +=
            syncml_escaped_size(json_string_value(json_object_get(command, texts[i])));
    json_array_foreach (json_object_get(command, "members"), i, member)
        size += syncml_command_size(member);
    return size;
}

void
syncml_session_add(struct syncml_session *session, const char *purpose, const char *ref,
                   const json_t *command)
{
    size_t i;
    json_t *member;
    json_t *copy = json_deep_copy(command), *members = json_array();
    int64_t own = json_integer_value(json_object_get(session->state, "own")) + 1;
    json_int_t id = session->next_id++;
    const char *kind = json_string_value(json_object_get(copy, "kind"));
    keep(session, json_object_set_new(copy, "cmd", json_integer(id)));
    json_array_foreach (json_object_get(copy, "members"), i, member) {
        json_int_t inner = session->next_id++;
        keep(session, json_object_set_new(member, "cmd", json_integer(inner)));
        keep(session, json_array_append_new(members, json_pack("{s:I}", "cmd", inner)));
    }
    json_t *entry =
        json_pack("{s:I, s:I, s:s, s:s, s:b}", "msg", (json_int_t)own, "cmd", id, "for",
                  purpose, "ref", ref, "get", kind && strcmp(kind, "get") == 0);
    if (json_array_size(members) > 0)
        keep(session, json_object_set(entry, "members", members));
    json_decref(members);
    session->size += syncml_command_size(command);
    keep(session, json_array_append_new(session->commands, copy));
    keep(session,
         json_array_append_new(json_object_get(session->state, "pending"), entry));
}
