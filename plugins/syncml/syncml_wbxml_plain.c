/* The checker: walks the tokens of a WBXML document once, with every count bounded, and
 * writes them anew as the few that are left. */
#include "auto.h"
#include "base64.h"
#include "syncml_wbxml.h"
#include <string.h>

/* WAP-192 section 7.1. */
enum {
    TOKEN_SWITCH_PAGE = 0x00,
    TOKEN_END = 0x01,
    TOKEN_ENTITY = 0x02,
    TOKEN_STR_I = 0x03,
    TOKEN_STR_T = 0x83,
    TOKEN_OPAQUE = 0xc3,
};
#define TAG_CONTENT 0x40
#define TAG_ATTRIBUTES 0x80
#define TAG_FIRST 0x05 /* below it are the tokens of every document */
#define TAG_SYNCML 0x2d
#define TAG_MORE_DATA 0x34

#define PUBLIC_ID 0x1201 /* OMA-TS-SyncML_RepPro-V1_2 section 8.1 */
#define PUBLIC_ID_TEXT "-//SYNCML//DTD SyncML 1.2//EN"
#define CHARSET_UTF8 106 /* IANA MIBenum */
#define PAGE_SYNCML 0
#define PAGE_METINF 1
#define ROOM_FIRST 4096

/* Elements of SyncML 1.2 and MetInf 1.2, from the first token on; "-": none. */
static const char syncml_names[] =
    "Add Alert Archive Atomic Chal Cmd CmdID CmdRef Copy Cred Data Delete "
    "Exec Final Get Item Lang LocName LocURI Map MapItem Meta MsgID MsgRef "
    "NoResp NoResults Put Replace RespURI Results Search Sequence SessionID "
    "SftDel Source SourceRef Status Sync SyncBody SyncHdr SyncML Target "
    "TargetRef - VerDTD VerProto NumberOfChanges MoreData Field Filter "
    "Record FilterType SourceParent TargetParent Move Correlator";
static const char metinf_names[] =
    "Anchor EMI Format FreeID FreeMem Last Mark MaxMsgSize Mem MetInf Next "
    "NextNonce SharedMem Size Type Version MaxObjSize FieldLevel";
#define NAMESPACE_SIZE (sizeof " xmlns=\"" SYNCML_SPACE "\"" - 1) /* the longer one */
#define CDATA_SIZE (sizeof "<![CDATA[]]>" - 1)

/* Octets that grow; they may be secret, so what is left behind is wiped. */
struct growing {
    char *data;
    size_t size, room;
};

static void
growing_clear_auto(struct growing *octets)
{
    if (octets->data)
        OPENSSL_cleanse(octets->data, octets->room);
    free(octets->data);
}

/* A NUL follows them. */
static enum ca_status
put(struct growing *to, const void *octets, size_t size)
{
    if (size >= to->room - to->size) {
        size_t room = 2 * (to->size + size) + ROOM_FIRST;
        char *larger = malloc(room);
        if (!larger)
            return ca_fail(CA_INTERNAL, "no memory for WBXML");
        if (to->size > 0)
            memcpy(larger, to->data, to->size);
        growing_clear_auto(to);
        to->data = larger;
        to->room = room;
    }
    if (size > 0)
        memcpy(to->data + to->size, octets, size);
    to->size += size;
    to->data[to->size] = '\0';
    return CA_OK;
}

static enum ca_status
put_octet(struct growing *to, uint8_t octet)
{
    return put(to, &octet, 1);
}

/* An open element. */
struct open_tag {
    uint8_t page;
    size_t content; /* where it begins in what is written */
    size_t children;
    size_t strings;  /* of which its text was put together */
    bool has_opaque; /* among them */
    bool has_octets; /* a child had what is no text */
};

struct walk {
    struct ca_request *req;
    enum syncml_marks marks;
    const uint8_t *data;
    size_t size, at;
    struct ca_bytes table;
    struct growing plain, text; /* text: of the innermost element */
    struct open_tag open[XML_NESTING_MAX];
    size_t depth, elements;
    size_t expanded; /* octets of it as XML, at most */
    uint8_t page, written_page;
};

static enum ca_status
refuse(const char *reason)
{
    return ca_fail(CA_MALFORMED, "WBXML: %s", reason);
}

/* What comes has limits; an answer of our own has those of what it answers. */
static bool
is_limited(const struct walk *walk)
{
    return walk->marks == SYNCML_MARK;
}

/* So many octets more of XML. */
static enum ca_status
expand(struct walk *walk, size_t size)
{
    if (!is_limited(walk))
        return CA_OK;
    if (size > syncml_limits.size - walk->expanded)
        return ca_fail(CA_LIMIT, "WBXML: more than %zu octets as XML",
                       syncml_limits.size);
    walk->expanded += size;
    return CA_OK;
}

static bool
take_octet(struct walk *walk, uint8_t *ret_octet)
{
    if (walk->at == walk->size)
        return false;
    *ret_octet = walk->data[walk->at++];
    return true;
}

/* mb_u_int32 (section 5.1). */
static bool
take_number(struct walk *walk, uint32_t *ret_number)
{
    uint32_t number = 0;
    for (size_t i = 0; i < 5; i++) {
        uint8_t octet;
        if (number > UINT32_MAX >> 7 || !take_octet(walk, &octet))
            return false;
        number = number << 7 | (octet & 0x7fu);
        if ((octet & 0x80) == 0) {
            *ret_number = number;
            return true;
        }
    }
    return false;
}

static bool
take_octets(struct walk *walk, size_t size, struct ca_bytes *ret_octets)
{
    if (size > walk->size - walk->at)
        return false;
    *ret_octets = (struct ca_bytes){ walk->data + walk->at, size };
    walk->at += size;
    return true;
}

/* A string of the table ends with a NUL or, as phones write it, with the table. */
static bool
table_find(const struct walk *walk, uint32_t index, struct ca_bytes *ret_string)
{
    if (index >= walk->table.size)
        return false;
    const uint8_t *at = walk->table.data + index;
    size_t left = walk->table.size - index;
    const uint8_t *end = memchr(at, '\0', left);
    *ret_string = (struct ca_bytes){ at, end ? (size_t)(end - at) : left };
    return true;
}

/* Version, public identifier, charset, string table (section 5.3). */
static enum ca_status
take_start(struct walk *walk)
{
    uint8_t version;
    uint32_t id, index = 0, charset, table;
    struct ca_bytes text;
    if (!take_octet(walk, &version) || version < 0x01 || version > 0x03)
        return refuse("no version from 1.1 to 1.3");
    if (!take_number(walk, &id) || (id == 0 && !take_number(walk, &index)) ||
        (id != 0 && id != PUBLIC_ID))
        return refuse("no public identifier of SyncML 1.2");
    if (!take_number(walk, &charset) || (charset != CHARSET_UTF8 && charset != 0))
        return refuse("a charset that is not UTF-8");
    if (!take_number(walk, &table) || !take_octets(walk, table, &walk->table))
        return refuse("a string table beyond the end");
    if (id == 0 &&
        (!table_find(walk, index, &text) || text.size != sizeof PUBLIC_ID_TEXT - 1 ||
         memcmp(text.data, PUBLIC_ID_TEXT, text.size) != 0))
        return refuse("no public identifier of SyncML 1.2 in the string table");
    return CA_OK;
}

/* ---- Text ---- */

static size_t
entity_encode(uint32_t code, char ret_text[5])
{
    size_t size = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    static const uint8_t first[] = { 0, 0, 0xc0, 0xe0, 0xf0 };
    if (code == 0 || code > 0x10ffff)
        return 0;
    for (size_t i = size; i-- > 1; code >>= 6)
        ret_text[i] = (char)(0x80 | (code & 0x3f));
    ret_text[0] = (char)(first[size] | code);
    ret_text[size] = '\0';
    return xml_character_size(ret_text) == size ? size : 0;
}

/* ENTITY, STR_I, STR_T or OPAQUE, behind the text that the element has. */
static enum ca_status
take_text(struct walk *walk, uint8_t token)
{
    struct open_tag *open = &walk->open[walk->depth - 1];
    struct ca_bytes string;
    uint32_t number = 0;
    char entity[5];
    if (token != TOKEN_STR_I && !take_number(walk, &number))
        return refuse("no number");
    if (token == TOKEN_ENTITY) {
        size_t size = entity_encode(number, entity);
        string = (struct ca_bytes){ (const uint8_t *)entity, size };
        if (size == 0)
            return refuse("an entity that is no character");
    } else if (token == TOKEN_STR_T) {
        if (!table_find(walk, number, &string))
            return refuse("a string beyond the string table");
    } else if (token == TOKEN_OPAQUE) {
        if (!take_octets(walk, number, &string))
            return refuse("opaque data beyond the end");
        open->has_opaque = true;
    } else {
        const uint8_t *at = walk->data + walk->at;
        const uint8_t *end = memchr(at, '\0', walk->size - walk->at);
        if (!end)
            return refuse("a string without an end");
        string = (struct ca_bytes){ at, (size_t)(end - at) };
        walk->at += string.size + 1;
    }
    open->strings++;
    enum ca_status status = expand(walk, string.size);
    return status == CA_OK ? put(&walk->text, string.data, string.size) : status;
}

/* Characters of XML in UTF-8, and no NUL. */
static bool
is_text(const struct growing *text)
{
    size_t at = 0, size;
    for (; at < text->size; at += size) {
        size = xml_character_size(text->data + at);
        if (size == 0 || text->data[at] == '\0')
            return false;
    }
    return true;
}

static bool
is_blank(const struct growing *text)
{
    for (size_t i = 0; i < text->size; i++)
        if (!memchr(" \t\r\n", text->data[i], 4))
            return false;
    return true;
}

/* White space between elements is left out, as libwbxml writes none. */
static enum ca_status
between_elements(struct walk *walk)
{
    if (!is_blank(&walk->text))
        return refuse("text beside elements");
    walk->text.size = 0;
    return CA_OK;
}

static enum ca_status
put_marked(struct walk *walk)
{
    size_t from = 0, at = 0;
    const struct growing *text = &walk->text;
    enum ca_status status = CA_OK;
    for (; at < text->size && status == CA_OK; at++) {
        char mark[2] = { SYNCML_MARK_OCTET, syncml_mark_of(text->data[at]) };
        if (!mark[1])
            continue;
        status = put(&walk->plain, text->data + from, at - from);
        if (status == CA_OK)
            status = expand(walk, 1);
        if (status == CA_OK)
            status = put(&walk->plain, mark, sizeof mark);
        from = at + 1;
    }
    return status == CA_OK ? put(&walk->plain, text->data + from, at - from) : status;
}

/* Opaque data that is no text comes as XML would have brought it. */
static enum ca_status
octets_to_base64(struct walk *walk)
{
    const struct open_tag *open = &walk->open[walk->depth - 1];
    if (!open->has_opaque || open->strings != 1 || walk->depth < 2)
        return refuse("a text that is none in UTF-8");
    const struct ca_bytes octets = { (const uint8_t *)walk->text.data,
                                     walk->text.size };
    enum ca_status status = expand(walk, octets.size / 3 + 4); /* that it grows by */
    if (status != CA_OK)
        return status;
    const char *base64 = base64_encode(walk->req, octets);
    if (!base64)
        return ca_fail(CA_INTERNAL, "no memory for base64");
    walk->open[walk->depth - 2].has_octets = true;
    walk->text.size = 0;
    return put(&walk->text, base64, strlen(base64));
}

/* The text of an element without children, as one inline string. */
static enum ca_status
put_text(struct walk *walk)
{
    enum ca_status status = is_text(&walk->text) ? CA_OK : octets_to_base64(walk);
    if (status == CA_OK)
        status = expand(walk, CDATA_SIZE);
    if (status == CA_OK)
        status = put_octet(&walk->plain, TOKEN_STR_I);
    if (status != CA_OK)
        return status;
    if (walk->marks == SYNCML_MARK)
        status = put_marked(walk);
    else if (syncml_unmark(walk->text.data, &walk->text.size))
        status = put(&walk->plain, walk->text.data, walk->text.size);
    else
        status = refuse("a mark that is none");
    walk->text.size = 0;
    return status == CA_OK ? put_octet(&walk->plain, '\0') : status;
}

/* ---- Elements ---- */

/* An element in which nothing stands is written as one without content. */
static enum ca_status
close_tag(struct walk *walk)
{
    const struct open_tag *open = &walk->open[walk->depth - 1];
    enum ca_status status = CA_OK;
    if (open->children > 0)
        status = between_elements(walk);
    else if (walk->text.size > 0)
        status = put_text(walk);
    walk->depth--;
    if (status == CA_OK && walk->plain.size == open->content) {
        walk->plain.data[open->content - 1] &= (char)~TAG_CONTENT;
        return CA_OK;
    }
    return status == CA_OK ? put_octet(&walk->plain, TOKEN_END) : status;
}

/* Octets of an element's name; 0: there is none of this token. */
static size_t
name_size(uint8_t page, uint8_t id)
{
    const char *at = page == PAGE_METINF ? metinf_names : syncml_names;
    for (uint8_t i = TAG_FIRST; i < id && *at; i++) {
        at += strcspn(at, " ");
        at += *at == ' ';
    }
    return *at == '-' ? 0 : strcspn(at, " ");
}

/* Is there room for one more in the innermost element? */
static enum ca_status
count_tag(struct walk *walk)
{
    if (walk->depth >= syncml_limits.depth || walk->depth >= XML_NESTING_MAX)
        return ca_fail(CA_LIMIT, "WBXML: nested too deep");
    walk->elements++;
    if (walk->depth > 0)
        walk->open[walk->depth - 1].children++;
    if (!is_limited(walk))
        return CA_OK;
    if (walk->elements > syncml_limits.elements)
        return ca_fail(CA_LIMIT, "WBXML: too many elements");
    if (walk->depth > 0 && walk->open[walk->depth - 1].children > SYNCML_SIBLINGS_MAX)
        return ca_fail(CA_LIMIT, "WBXML: too many elements side by side");
    return CA_OK;
}

static enum ca_status
open_tag(struct walk *walk, uint8_t token)
{
    const uint8_t id = token & 0x3f;
    const struct open_tag *parent =
        walk->depth > 0 ? &walk->open[walk->depth - 1] : NULL;
    if (id < TAG_FIRST || (token & TAG_ATTRIBUTES))
        return refuse("a literal, an attribute, an extension or an instruction");
    const size_t name = name_size(walk->page, id);
    if (name == 0)
        return refuse("an element that SyncML has not");
    if (!parent && (id != TAG_SYNCML || walk->page != PAGE_SYNCML))
        return refuse("no SyncML");
    if (parent && parent->has_octets && id == TAG_MORE_DATA &&
        walk->page == PAGE_SYNCML)
        return refuse("octets that are no text in chunks");
    enum ca_status status = between_elements(walk);
    if (status == CA_OK)
        status = count_tag(walk);
    if (status == CA_OK)
        status = expand(walk, 2 * name + sizeof "<></>" - 1);
    if (status == CA_OK && (!parent || parent->page != walk->page))
        status = expand(walk, NAMESPACE_SIZE);
    if (status == CA_OK && walk->written_page != walk->page) {
        const uint8_t switched[2] = { TOKEN_SWITCH_PAGE, walk->page };
        status = put(&walk->plain, switched, sizeof switched);
        walk->written_page = walk->page;
    }
    if (status == CA_OK)
        status = put_octet(&walk->plain, token);
    if (status == CA_OK && (token & TAG_CONTENT))
        walk->open[walk->depth++] =
            (struct open_tag){ .page = walk->page, .content = walk->plain.size };
    return status;
}

/* Until the root is closed. A page may be switched wherever content may stand: some
 * phones do it before an END. */
static enum ca_status
take_body(struct walk *walk)
{
    enum ca_status status = CA_OK;
    while (status == CA_OK && (walk->elements == 0 || walk->depth > 0)) {
        uint8_t token;
        if (!take_octet(walk, &token))
            return refuse("an element without an end");
        if (token == TOKEN_SWITCH_PAGE) {
            if (!take_octet(walk, &walk->page) || walk->page > PAGE_METINF)
                return refuse("a code page that SyncML has not");
        } else if (walk->depth > 0 && token == TOKEN_END) {
            status = close_tag(walk);
        } else if (walk->depth > 0 && (token == TOKEN_ENTITY || token == TOKEN_STR_I ||
                                       token == TOKEN_STR_T || token == TOKEN_OPAQUE)) {
            status = take_text(walk, token);
        } else {
            status = open_tag(walk, token);
        }
    }
    if (status == CA_OK && walk->at < walk->size)
        return refuse("octets behind the end");
    return status;
}

static void
walk_clear_auto(struct walk *walk)
{
    growing_clear_auto(&walk->plain);
    growing_clear_auto(&walk->text);
}

enum ca_status
syncml_wbxml_plain(struct ca_request *req, struct ca_bytes octets,
                   enum syncml_marks marks, struct ca_bytes *ret_plain)
{
    static const uint8_t start[] = { 0x03, 0x80 | PUBLIC_ID >> 7, PUBLIC_ID & 0x7f,
                                     CHARSET_UTF8, 0 };
    __attribute__((cleanup(walk_clear_auto))) struct walk walk = {
        .req = req, .marks = marks, .data = octets.data, .size = octets.size
    };
    if (is_limited(&walk) && octets.size > syncml_limits.size)
        return ca_fail(CA_LIMIT, "WBXML: %zu octets, at most %zu", octets.size,
                       syncml_limits.size);
    enum ca_status status = put(&walk.plain, start, sizeof start);
    if (status == CA_OK)
        status = take_start(&walk);
    if (status == CA_OK)
        status = take_body(&walk);
    if (status != CA_OK)
        return status;
    uint8_t *plain = ca_request_alloc(req, walk.plain.size);
    if (!plain)
        return ca_fail(CA_INTERNAL, "no memory for WBXML");
    memcpy(plain, walk.plain.data, walk.plain.size);
    *ret_plain = (struct ca_bytes){ plain, walk.plain.size };
    return CA_OK;
}
