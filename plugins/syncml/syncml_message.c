/* A message as it comes: the header, checked; the body, as a tree. */
#include "auto.h"
#include "base64.h"
#include "syncml_wbxml.h"
#include <string.h>
#include <strings.h>

#define SESSION_ID_MAX 16 /* the specification has 4, others write more */
#define CREDENTIAL_MAX 512

const struct xml_limits syncml_limits = {
    .size = SYNCML_BODY_MAX,
    .depth = 32,
    .elements = 10000,
    .attributes = 16,
    .text = SYNCML_BODY_MAX,
};

const struct xml_node *
syncml_node(const struct xml_node *node, const char *path)
{
    while (node && *path) {
        char name[32];
        size_t length = strcspn(path, "/");
        if (length >= sizeof name)
            return NULL;
        memcpy(name, path, length);
        name[length] = '\0';
        node = xml_child(node, NULL, name);
        path += length + (path[length] == '/');
    }
    return node;
}

const char *
syncml_text(const struct xml_node *node, const char *path)
{
    const struct xml_node *found = syncml_node(node, path);
    return found ? found->text : NULL;
}

/* A decimal number of 1 to 9 digits; -1: none. */
static int64_t
number_parse(const char *text)
{
    int64_t number = 0;
    size_t length = text ? strspn(text, "0123456789") : 0;
    if (length == 0 || length > 9 || text[length])
        return -1;
    for (size_t i = 0; i < length; i++)
        number = 10 * number + (text[i] - '0');
    return number;
}

static bool
is_plain(const char *text, size_t max)
{
    size_t length = text ? strlen(text) : 0;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= 0x20 || text[i] >= 0x7f)
            return false;
    return length > 0 && length <= max;
}

/* OMA-TS-DM_Security-V1_2 5.2, 5.3. */
static enum ca_status
read_credential(struct ca_request *req, const struct xml_node *header,
                struct syncml_header *ret)
{
    const struct xml_node *cred = xml_child(header, NULL, "Cred");
    if (!cred)
        return CA_OK;
    const char *type = syncml_text(cred, "Meta/Type");
    const char *data = syncml_text(cred, "Data");
    ret->has_credential = true;
    if (!type || !data || strlen(data) > CREDENTIAL_MAX)
        return CA_OK; /* none that could hold: 401 */
    if (strcmp(type, "syncml:auth-md5") == 0) {
        ret->digest = data;
        return CA_OK;
    }
    struct ca_bytes octets;
    if (strcmp(type, "syncml:auth-basic") != 0 ||
        base64_decode(req, data, strlen(data), CREDENTIAL_MAX, &octets) != CA_OK ||
        octets.size == 0 || memchr(octets.data, 0, octets.size))
        return CA_OK;
    char *text = ca_request_alloc(req, octets.size + 1);
    if (!text)
        return ca_fail(CA_INTERNAL, "no memory for a credential");
    memcpy(text, octets.data, octets.size);
    char *colon = strchr(text, ':');
    if (colon) {
        *colon = '\0';
        ret->name = text;
        ret->secret = colon + 1;
    }
    return CA_OK;
}

static enum ca_status
read_header(struct ca_request *req, const struct xml_node *node,
            struct syncml_header *ret)
{
    static const char *const once[] = { "VerDTD", "VerProto", "SessionID", "MsgID",
                                        "Target", "Source",   "Cred",      "Meta" };
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++) {
        if (xml_count(node, NULL, once[i]) > 1)
            return ca_fail(CA_MALFORMED, "more than one %s", once[i]);
    }
    const char *version = syncml_text(node, "VerDTD");
    const char *max_size = syncml_text(node, "Meta/MaxMsgSize");
    ret->session = syncml_text(node, "SessionID");
    ret->message = number_parse(syncml_text(node, "MsgID"));
    ret->target = syncml_text(node, "Target/LocURI");
    ret->source = syncml_text(node, "Source/LocURI");
    ret->max_size = max_size ? number_parse(max_size) : 0;
    if (!version || strcmp(version, "1.2") != 0)
        return ca_fail(CA_MALFORMED, "VerDTD is not 1.2");
    if (!is_plain(ret->session, SESSION_ID_MAX))
        return ca_fail(CA_MALFORMED, "no SessionID, or a long one");
    if (max_size && ret->max_size < SYNCML_SIZE_MIN)
        return ca_fail(CA_MALFORMED, "MaxMsgSize is no number from %d",
                       SYNCML_SIZE_MIN);
    if (ret->message < 1)
        return ca_fail(CA_MALFORMED, "MsgID is no number from 1");
    if (!is_plain(ret->source, 255))
        return ca_fail(CA_MALFORMED, "no Source, or a long one");
    if (!ret->target || strlen(ret->target) > 1024)
        return ca_fail(CA_MALFORMED, "no Target, or a long one");
    return read_credential(req, node, ret);
}

const char *
syncml_answer_type(const char *content_type)
{
    static const char *const types[][2] = {
        { SYNCML_TYPE, SYNCML_TYPE },
        { SYNCML_TYPE_SHORT, SYNCML_TYPE },
        { SYNCML_TYPE_WBXML, SYNCML_TYPE_WBXML },
        { SYNCML_TYPE_WBXML_SHORT, SYNCML_TYPE_WBXML_SHORT },
    };
    size_t length = strcspn(content_type, "; ");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (length == strlen(types[i][0]) &&
            strncasecmp(content_type, types[i][0], length) == 0)
            return types[i][1];
    return NULL;
}

bool
syncml_type_is_wbxml(const char *answer_type)
{
    return answer_type && strstr(answer_type, "+wbxml") != NULL;
}

enum ca_status
syncml_read(struct ca_request *req, struct syncml_message *ret_message)
{
    const struct xml_node *root, *header, *body;
    struct syncml_message message = { 0 };
    const bool is_wbxml = syncml_type_is_wbxml(syncml_answer_type(req->content_type));
    enum ca_status status = is_wbxml ? syncml_wbxml_read(req, req->body, &root)
                                     : xml_read(req, req->body, &syncml_limits, &root);
    if (status != CA_OK)
        return status;
    if (!xml_is(root, SYNCML_SPACE, "SyncML"))
        return ca_fail(CA_MALFORMED, "no SyncML 1.2");
    status = xml_must(root, SYNCML_SPACE, "SyncHdr", &header);
    if (status == CA_OK)
        status = xml_must(root, SYNCML_SPACE, "SyncBody", &body);
    if (status == CA_OK)
        status = read_header(req, header, &message.header);
    if (status != CA_OK)
        return status;
    message.header.is_wbxml = is_wbxml;
    message.body = body;
    message.is_final = xml_child(body, NULL, "Final") != NULL;
    *ret_message = message;
    return CA_OK;
}
