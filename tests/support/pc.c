/* A device that keeps a tree as Windows does, in management sessions with the real
 * core. */
#include "pc.h"
#include "leak.h"
#include <wbxml/wbxml.h>
#include <wbxml/wbxml_conv.h>
#include <wbxml/wbxml_errors.h>

extern const struct ca_plugin ca_plugin;

struct house pc_house;
struct house_device pc_device;
char pc_device_id[37];

static enum ca_status
row_id(const struct store_row *row, void *arg)
{
    snprintf(arg, 37, "%s", store_row_text(row, 0));
    return CA_OK;
}

static enum ca_status
read_id(struct store_tx *tx, void *arg)
{
    return store_run(tx, "SELECT id FROM device LIMIT 1", STORE_NO_VALUES, row_id, arg,
                     NULL);
}

void
pc_setup(void)
{
    char challenge[CHALLENGE_TEXT_SIZE];
    house_build(&pc_house);
    house_device_make(&pc_device, "alice", NULL);
    house_challenge(&pc_house, &(struct challenge){ 0 }, challenge);
    cr_assert_eq(house_enroll(&pc_house, &pc_device, challenge, NULL), CA_OK, "%s",
                 status_message());
    cr_assert_eq(store_read(pc_house.service->store, read_id, pc_device_id), CA_OK);
}

void
pc_teardown(void)
{
    house_device_clear(&pc_device);
    house_remove(&pc_house);
    LEAK_CHECK();
}

void
pc_open(struct pc *pc, const char *session)
{
    *pc = (struct pc){ .session = session,
                       .source = PC_PEER_ID,
                       .certificate = pc_device.certificate,
                       .tree = json_pack("{s:s, s:s}", "./DevDetail/SwV",
                                         "10.0.19043.1", "./DevDetail/HwV", "V<1>&2") };
}

void
pc_close(struct pc *pc)
{
    if (pc->exchange.service)
        exchange_clear(&pc->exchange);
    text_buffer_clear(&pc->body);
    json_decref(pc->tree);
}

uint8_t *
pc_wbxml(const char *text, size_t *ret_size)
{
    WBXMLConvXML2WBXML *converter;
    WB_UTINY *octets = NULL;
    WB_ULONG size = 0;
    cr_assert_eq(wbxml_conv_xml2wbxml_create(&converter), WBXML_OK);
    wbxml_conv_xml2wbxml_enable_preserve_whitespaces(converter);
    cr_assert_eq(wbxml_conv_xml2wbxml_run(converter, (WB_UTINY *)(uintptr_t)text,
                                          (WB_ULONG)strlen(text), &octets, &size),
                 WBXML_OK, "%s", text);
    wbxml_conv_xml2wbxml_destroy(converter);
    *ret_size = size;
    return octets;
}

/* The answer as XML, where it is WBXML. */
static void
answer_to_xml(struct pc *pc, struct ca_bytes *answer)
{
    WBXMLConvWBXML2XML *converter;
    WB_UTINY *xml = NULL;
    WB_ULONG size = 0;
    cr_assert_eq(wbxml_conv_wbxml2xml_create(&converter), WBXML_OK);
    wbxml_conv_wbxml2xml_set_gen_type(converter, WBXML_GEN_XML_COMPACT);
    wbxml_conv_wbxml2xml_enable_preserve_whitespaces(converter);
    cr_assert_eq(wbxml_conv_wbxml2xml_run(converter,
                                          (WB_UTINY *)(uintptr_t)answer->data,
                                          (WB_ULONG)answer->size, &xml, &size),
                 WBXML_OK);
    wbxml_conv_wbxml2xml_destroy(converter);
    const char *root = strstr((char *)xml, "<SyncML");
    cr_assert_not_null(root);
    char *kept = ca_request_alloc(&pc->exchange.request, strlen(root) + 1);
    *answer = (struct ca_bytes){ (uint8_t *)strcpy(kept, root), strlen(root) };
    free(xml);
}

void
pc_send_raw(struct pc *pc, const void *body, size_t size, const char *type)
{
    if (pc->exchange.service)
        exchange_clear(&pc->exchange);
    house_exchange(&pc_house, &pc->exchange);
    struct ca_request *req = &pc->exchange.request;
    pc->exchange.plugin = "syncml";
    req->method = "POST";
    req->content_type = type;
    req->secure = true;
    req->peer_certificate = pc->certificate;
    req->body = (struct ca_bytes){ body, size };
    enum ca_status status = ca_plugin.routes[0].handle(NULL, req);
    pc->http = pc->exchange.answer.status;
    if (pc->http == 0)
        pc->http = status == CA_MALFORMED ? 400 : 500;
    if (pc->http == 500)
        cr_log_error("%s: %s", ca_status_name(status), status_message());
    pc->root = NULL;
    static const struct xml_limits limits = { 1 << 20, 32, 10000, 16, 1 << 20 };
    struct ca_bytes answer = { pc->exchange.answer.body, pc->exchange.answer.size };
    if (pc->max_size > 0)
        cr_assert_leq(answer.size, pc->max_size);
    if (pc->http == 200) /* what is told in which form, and of which type */
        cr_assert_str_eq(pc->exchange.answer.content_type, syncml_answer_type(type));
    if (pc->http == 200 && strstr(type, "wbxml"))
        answer_to_xml(pc, &answer);
    if (pc->http == 200)
        cr_assert_eq(xml_read(req, answer, &limits, &pc->root), CA_OK, "%.*s",
                     (int)answer.size, (const char *)answer.data);
}

/* Header and what was gathered, as message `number`. */
char *
pc_message(const struct pc *pc, int number, bool final)
{
    char *text, meta[96] = "";
    if (pc->max_size > 0)
        snprintf(meta, sizeof meta,
                 "<Meta><MaxMsgSize xmlns=\"syncml:metinf\">%zu</MaxMsgSize></Meta>",
                 pc->max_size);
    cr_assert(
        asprintf(&text,
                 "<SyncML xmlns=\"SYNCML:SYNCML1.2\"><SyncHdr><VerDTD>1.2</VerDTD>"
                 "<VerProto>DM/1.2</VerProto><SessionID>%s</SessionID>"
                 "<MsgID>%d</MsgID><Target><LocURI>" PC_ADDRESS
                 "?mode=Maintenance</LocURI></Target><Source><LocURI>%s</LocURI>"
                 "</Source>%s%s%s%s</SyncHdr><SyncBody>%s%s</SyncBody></SyncML>",
                 pc->session, number, pc->source, pc->cred ? "<Cred>" : "",
                 pc->cred ? pc->cred : "", pc->cred ? "</Cred>" : "", meta,
                 pc->body.data ? pc->body.data : "", final ? "<Final/>" : "") > 0);
    return text;
}

void
pc_send_text(struct pc *pc, const char *text)
{
    size_t size;
    if (!pc->is_wbxml) {
        pc_send_raw(pc, text, strlen(text), SYNCML_TYPE);
        return;
    }
    CA_AUTO(free) uint8_t *octets = pc_wbxml(text, &size);
    pc_send_raw(pc, octets, size, SYNCML_TYPE_WBXML);
}

void
pc_send(struct pc *pc)
{
    CA_AUTO(free) char *text = pc_message(pc, ++pc->message, true);
    pc_send_text(pc, text);
    text_buffer_clear(&pc->body);
    pc->id = 0;
}

/* Package 1 of [C]: Alerts and DevInfo. */
void
pc_begin(struct pc *pc)
{
    pc->message = 0;
    text_print(&pc->body,
               "<Alert><CmdID>2</CmdID><Data>1201</Data></Alert>"
               "<Alert><CmdID>3</CmdID><Data>1224</Data><Item><Meta><Type "
               "xmlns=\"syncml:metinf\">com.microsoft/MDM/LoginStatus</Type></Meta>"
               "<Data>%s</Data></Item></Alert>"
               "<Replace><CmdID>4</CmdID><Item><Source><LocURI>./DevInfo/Man</LocURI>"
               "</Source><Data>VMware, Inc.</Data></Item></Replace>",
               pc->login ? pc->login : "user");
    pc_send(pc);
}

int
pc_header_code(const struct pc *pc)
{
    const struct xml_node *status = syncml_node(pc->root, "SyncBody/Status");
    cr_assert_str_eq(syncml_text(status, "Cmd"), "SyncHdr"); /* first */
    cr_assert_str_eq(syncml_text(status, "CmdRef"), "0");
    return atoi(syncml_text(status, "Data"));
}

static const char *
escaped(const char *text, char ret[256])
{
    size_t used = 0;
    for (; *text; text++)
        used += (size_t)snprintf(ret + used, 256 - used, "%s",
                                 *text == '<'   ? "&lt;"
                                 : *text == '&' ? "&amp;"
                                                : (char[]){ *text, 0 });
    return ret;
}

void
pc_status(struct pc *pc, const struct xml_node *command, int code)
{
    text_print(&pc->body,
               "<Status><CmdID>%d</CmdID><MsgRef>%s</MsgRef><CmdRef>%s</CmdRef><Cmd>%s"
               "</Cmd><Data>%d</Data></Status>",
               ++pc->id, syncml_text(pc->root, "SyncHdr/MsgID"),
               syncml_text(command, "CmdID"), command->name, code);
}

static bool
is_node(const char *uri, const char *node)
{
    return node && strcmp(uri, node) == 0;
}

static void
pc_do(struct pc *pc, const struct xml_node *command)
{
    const char *uri = syncml_text(command, "Item/Target/LocURI"), *name = command->name;
    const char *data = syncml_text(command, "Item/Data");
    char text[256];
    json_t *node = uri ? json_object_get(pc->tree, uri) : NULL;
    pc->seen++;
    if (strcmp(name, "Atomic") == 0 || strcmp(name, "Sequence") == 0) {
        pc->atomics++;
        pc_status(pc, command, 200);
        for (const struct xml_node *member = command->first; member;
             member = member->next)
            if (strcmp(member->name, "CmdID") != 0)
                pc_do(pc, member);
    } else if (strcmp(name, "Get") == 0 && is_node(uri, pc->opaque)) {
        pc_status(pc, command, 405);
    } else if (strcmp(name, "Get") != 0 && is_node(uri, pc->broken)) {
        pc_status(pc, command, 500);
    } else if (strcmp(name, "Get") == 0) {
        pc->gets++;
        pc_status(pc, command, node ? 200 : 404);
        if (node)
            text_print(
                &pc->body,
                "<Results><CmdID>%d</CmdID><MsgRef>%s</MsgRef><CmdRef>%s</CmdRef>"
                "<Item><Source><LocURI>%s</LocURI></Source><Data>%s</Data></Item>"
                "</Results>",
                ++pc->id, syncml_text(pc->root, "SyncHdr/MsgID"),
                syncml_text(command, "CmdID"), uri,
                escaped(json_string_value(node), text));
    } else if (strcmp(name, "Exec") == 0) {
        pc_status(pc, command, 200);
        json_object_set_new(pc->tree, uri, json_string("executed"));
    } else if (strcmp(name, "Delete") == 0) {
        pc_status(pc, command, node ? 200 : 404);
        json_object_del(pc->tree, uri);
    } else {
        bool add = strcmp(name, "Add") == 0;
        bool good = add ? !node : node != NULL;
        pc_status(pc, command, good ? 200 : add ? 418 : 404);
        if (good)
            json_object_set_new(pc->tree, uri, json_string(data ? data : ""));
    }
}

/* Does what the answer says; false: the session is over. */
bool
pc_obey(struct pc *pc)
{
    const struct xml_node *body = syncml_node(pc->root, "SyncBody");
    pc->more = false;
    text_print(&pc->body,
               "<Status><CmdID>%d</CmdID><MsgRef>%s</MsgRef><CmdRef>0</CmdRef><Cmd>"
               "SyncHdr</Cmd><Data>200</Data></Status>",
               ++pc->id, syncml_text(pc->root, "SyncHdr/MsgID"));
    for (const struct xml_node *command = body->first; command;
         command = command->next) {
        if (strcmp(command->name, "Status") == 0 ||
            strcmp(command->name, "Final") == 0 || strcmp(command->name, "Alert") == 0)
            continue;
        pc->more = true;
        pc_do(pc, command);
    }
    if (!pc->more && !xml_child(body, NULL, "Final")) { /* the package goes on */
        text_print(&pc->body, "<Alert><CmdID>%d</CmdID><Data>1222</Data></Alert>",
                   ++pc->id);
        pc->more = true;
    }
    if (!pc->more)
        text_buffer_clear(&pc->body);
    return pc->more;
}

/* A whole session. */
void
pc_session(struct pc *pc)
{
    int rounds = 0;
    pc_begin(pc);
    cr_assert_eq(pc->http, 200);
    cr_assert_eq(pc_header_code(pc), 200);
    while (pc_obey(pc)) {
        cr_assert_lt(++rounds, 200);
        pc_send(pc);
        cr_assert_eq(pc->http, 200);
        cr_assert_eq(pc_header_code(pc), 200);
    }
}

void
pc_queue(int count)
{
    for (int i = 0; i < count; i++) {
        char sql[512];
        snprintf(
            sql, sizeof sql,
            "INSERT INTO device_command (id, device_id, number, content, state, "
            "attempts, sent, finished, created, updated, version, lease) VALUES "
            "('c%d', '%s', %d, '{\"kind\":\"%s\",\"target\":\"./Vendor/X/%d\"%s}', 0, "
            "0, 0, 0, 0, 0, 1, 0)",
            i, pc_device_id, i + 1, i % 2 ? "get" : "add", i / 2,
            i % 2 ? "" : ",\"data\":\"<v>&\"");
        house_run(&pc_house, sql);
    }
}
