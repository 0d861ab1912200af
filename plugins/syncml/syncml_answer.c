/* The answer of the server: SyncHdr, statuses in order, commands, Final. */
#include "auto.h"
#include "syncml_wbxml.h"
#include <string.h>

static void
write_uri(struct xml_writer *writer, const char *element, const char *uri)
{
    xml_open(writer, element);
    xml_leaf(writer, "LocURI", uri);
    xml_close(writer);
}

static void
write_meta_leaf(struct xml_writer *writer, const char *name, const char *text)
{
    xml_open(writer, name);
    xml_set(writer, "xmlns", SYNCML_METINF);
    xml_text(writer, text);
    xml_close(writer);
}

static void
write_header(struct xml_writer *writer, const struct syncml_header *header,
             int64_t message)
{
    char target[1025];
    size_t length = strcspn(header->target, "?");
    memcpy(target, header->target, length);
    target[length] = '\0';
    xml_open(writer, "SyncHdr");
    xml_leaf(writer, "VerDTD", "1.2");
    xml_leaf(writer, "VerProto", "DM/1.2");
    xml_leaf(writer, "SessionID", header->session);
    xml_leaf_integer(writer, "MsgID", message);
    write_uri(writer, "Target", header->source);
    write_uri(writer, "Source", target);
    if (header->max_size > 0) { /* Windows says none, and reads none */
        char own[24];
        snprintf(own, sizeof own, "%d", SYNCML_BODY_MAX);
        xml_open(writer, "Meta");
        write_meta_leaf(writer, "MaxMsgSize", own);
        xml_close(writer);
    }
    xml_close(writer);
}

/* CmdID, MsgRef, CmdRef, Cmd, TargetRef*, SourceRef*, Chal?, Data: the order of the
 * DTD.
 */
static void
write_status(struct xml_writer *writer, int64_t id, int64_t message,
             const json_t *status, const char *nonce)
{
    const char *source = text_of(status, "source");
    const json_t *earlier = json_object_get(status, "message");
    xml_open(writer, "Status");
    xml_leaf_integer(writer, "CmdID", id);
    xml_leaf_integer(writer, "MsgRef", earlier ? json_integer_value(earlier) : message);
    xml_leaf(writer, "CmdRef", text_of(status, "ref"));
    xml_leaf(writer, "Cmd", text_of(status, "cmd"));
    if (source)
        xml_leaf(writer, "SourceRef", source);
    if (nonce) {
        xml_open(writer, "Chal");
        xml_open(writer, "Meta");
        write_meta_leaf(writer, "Format", "b64");
        write_meta_leaf(writer, "Type", "syncml:auth-md5");
        write_meta_leaf(writer, "NextNonce", nonce);
        xml_close(writer);
        xml_close(writer);
    }
    xml_leaf_integer(writer, "Data", integer_of(status, "code"));
    xml_close(writer);
}

static const char *
element_of(const char *kind)
{
    static const char *const elements[][2] = {
        { "get", "Get" },           { "add", "Add" },   { "replace", "Replace" },
        { "delete", "Delete" },     { "exec", "Exec" }, { "atomic", "Atomic" },
        { "sequence", "Sequence" },
    };
    for (size_t i = 0; i < sizeof elements / sizeof elements[0]; i++)
        if (strcmp(kind, elements[i][0]) == 0)
            return elements[i][1];
    return "Get";
}

/* OMA-TS-DM_TND-V1_2: a binary value is base64 where the message says so, and in WBXML
 * "bin" would say that it is not. */
static const char *
format_of(const json_t *command, bool is_wbxml)
{
    const char *format = text_of(command, "format");
    return format && is_wbxml && strcmp(format, "bin") == 0 ? "b64" : format;
}

static void
write_command(struct xml_writer *writer, const json_t *command, bool is_wbxml)
{
    const char *target = text_of(command, "target"), *kind = text_of(command, "kind");
    const char *format = format_of(command, is_wbxml), *type = text_of(command, "type");
    const char *data = text_of(command, "data");
    bool has_value = strcmp(kind, "get") != 0 && strcmp(kind, "delete") != 0 &&
                     (data || strcmp(kind, "exec") != 0);
    size_t i;
    json_t *member;
    xml_open(writer, element_of(kind));
    xml_leaf_integer(writer, "CmdID", integer_of(command, "cmd"));
    if (target) {
        xml_open(writer, "Item");
        write_uri(writer, "Target", target);
        if (has_value && (format || type)) {
            xml_open(writer, "Meta");
            if (format)
                write_meta_leaf(writer, "Format", format);
            if (type)
                write_meta_leaf(writer, "Type", type);
            xml_close(writer);
        }
        if (data)
            xml_leaf(writer, "Data", data);
        xml_close(writer);
    }
    json_array_foreach (json_object_get(command, "members"), i, member)
        write_command(writer, member, is_wbxml);
    xml_close(writer);
}

static void
write_alert(struct xml_writer *writer, struct syncml_session *session, const char *code)
{
    xml_open(writer, "Alert");
    xml_leaf_integer(writer, "CmdID", session->next_id++);
    xml_leaf(writer, "Data", code);
    xml_close(writer);
}

static void
write_body(struct xml_writer *writer, struct syncml_session *session,
           const struct syncml_header *header, int code, const char *nonce)
{
    size_t i;
    json_t *item;
    CA_AUTO(json_decref)
    json_t *first =
        json_pack("{s:s, s:s, s:i}", "ref", "0", "cmd", "SyncHdr", "code", code);
    xml_open(writer, "SyncBody");
    write_status(writer, session->next_id++, header->message, first, nonce);
    json_array_foreach (session->statuses, i, item)
        write_status(writer, session->next_id++, header->message, item, NULL);
    if (session->lost_end)
        write_alert(writer, session, "1225");
    if (session->wants_more)
        write_alert(writer, session, "1222");
    json_array_foreach (session->commands, i, item)
        write_command(writer, item, header->is_wbxml);
    if (!session->holds_back)
        xml_leaf(writer, "Final", "");
    xml_close(writer);
}

/* "&amp;" and "&#13;" have five, U+FFFD for an octet that is no text three. */
size_t
syncml_escaped_size(const char *text)
{
    size_t size = 0;
    for (; text && *text; text++)
        size += strchr("&\"\r", *text)                                       ? 6
                : strchr("<>", *text)                                        ? 4
                : (unsigned char)*text < 0x20 || (unsigned char)*text > 0x7f ? 3
                                                                             : 1;
    return size;
}

#define CONTINUATION_STATUSES 2 /* that a message which asks for the rest may cost */

/* Of an answer without statuses but that of SyncHdr, and without commands. */
static size_t
frame_size(const struct syncml_header *header)
{
    return 1024 + syncml_escaped_size(header->session) +
           syncml_escaped_size(header->source) + syncml_escaped_size(header->target);
}

static size_t
status_size(const json_t *status)
{
    return 160 + syncml_escaped_size(text_of(status, "ref")) +
           syncml_escaped_size(text_of(status, "cmd")) +
           syncml_escaped_size(text_of(status, "source"));
}

/* Statuses that waited, then those of this message, which remember it. */
static void
statuses_join(struct syncml_session *session, const struct syncml_header *header)
{
    size_t i;
    json_t *status, *left = json_object_get(session->state, "left");
    json_array_foreach (session->statuses, i, status)
        session->failed =
            session->failed ||
            json_object_set_new(status, "message", json_integer(header->message)) != 0;
    if (!left)
        return;
    session->failed = session->failed || json_array_extend(left, session->statuses);
    json_decref(session->statuses);
    session->statuses = json_incref(left);
    json_object_del(session->state, "left");
}

bool
syncml_answer_fit(struct syncml_session *session, const struct syncml_header *header,
                  size_t max)
{
    statuses_join(session, header);
    size_t used = frame_size(header), sent = 0, count;
    count = json_array_size(session->statuses);
    if (max == 0)
        return true;
    for (; sent < count; sent++) {
        json_t *status = json_array_get(session->statuses, sent);
        if (sent == 0 && used + status_size(status) > max)
            json_object_del(status, "source"); /* nothing must have it */
        if (used + status_size(status) > max)
            break;
        used += status_size(status);
    }
    if (used >= max || (sent == 0 && count > 0) || count - sent > SYNCML_LEFT_MAX)
        return false;
    session->limit = max - used < SYNCML_ANSWER_MAX ? max - used : SYNCML_ANSWER_MAX;
    /* A command that finds little room here finds more behind an Alert 1222 alone. */
    session->holds_back = sent < count || (sent > CONTINUATION_STATUSES &&
                                           max - used < (max - frame_size(header)) / 2);
    if (sent == count)
        return true;
    json_t *left = json_array();
    for (size_t i = sent; i < count; i++)
        session->failed = session->failed ||
                          json_array_append(left, json_array_get(session->statuses, i));
    while (json_array_size(session->statuses) > sent)
        json_array_remove(session->statuses, json_array_size(session->statuses) - 1);
    session->failed =
        session->failed || json_object_set_new(session->state, "left", left) != 0;
    return true;
}

enum ca_status
syncml_answer(struct ca_request *req, struct syncml_session *session,
              const struct syncml_header *header, int code, const char *nonce,
              struct ca_bytes *ret_octets)
{
    struct xml_writer writer = { 0 };
    int64_t own = integer_of(session->state, "own") + 1;
    if (session->failed)
        return ca_fail(CA_INTERNAL, "no memory for an answer");
    json_object_set_new(session->state, "own", json_integer(own));
    xml_begin(&writer, false);
    xml_open(&writer, "SyncML");
    xml_set(&writer, "xmlns", SYNCML_SPACE);
    write_header(&writer, header, own);
    write_body(&writer, session, header, code, nonce);
    xml_close(&writer);
    enum ca_status status = xml_finish(&writer, req, ret_octets);
    return status == CA_OK && header->is_wbxml
               ? syncml_wbxml_write(req, *ret_octets, ret_octets)
               : status;
}
