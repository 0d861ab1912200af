/* Any octets as a message in WBXML: checked, through libwbxml and the XML reader into
 * the tree, and from the tree through the writer and libwbxml back. */
#include "fake_core.h"
#include "fuzz.h"
#include "syncml_wbxml.h"
#include <string.h>

size_t fuzz_deep;

static struct fake_core core;

static void
write_node(struct xml_writer *writer, const struct xml_node *node)
{
    xml_open(writer, node->name);
    if (!node->parent || strcmp(node->parent->space, node->space) != 0)
        xml_set(writer, "xmlns", node->space);
    if (!node->first)
        xml_text(writer, node->raw);
    for (const struct xml_node *child = node->first; child; child = child->next)
        write_node(writer, child);
    xml_close(writer);
}

static bool
is_same(struct ca_bytes a, struct ca_bytes b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* What passes the checker has exactly one meaning, and that is kept both ways. */
static void
go_round(struct ca_bytes octets, struct ca_bytes with_marks)
{
    struct ca_request *req = &core.request;
    struct ca_bytes plain, again, xml;
    const struct xml_node *root;
    struct xml_writer writer;
    FUZZ_ASSERT(syncml_wbxml_plain(req, with_marks, SYNCML_UNMARK, &plain) == CA_OK);
    FUZZ_ASSERT(syncml_wbxml_plain(req, plain, SYNCML_MARK, &again) == CA_OK);
    FUZZ_ASSERT(is_same(again, with_marks));
    FUZZ_ASSERT(syncml_wbxml_read(req, octets, &root) == CA_OK);
    xml_begin(&writer, false);
    write_node(&writer, root);
    FUZZ_ASSERT(xml_finish(&writer, req, &xml) == CA_OK);
    FUZZ_ASSERT(syncml_wbxml_write(req, xml, &again) == CA_OK);
    FUZZ_ASSERT(is_same(again, plain));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ca_bytes octets = { data, size };
    struct ca_bytes with_marks;
    fake_core_request(&core, "POST", "", "", data, size);
    if (syncml_wbxml_plain(&core.request, octets, SYNCML_MARK, &with_marks) == CA_OK) {
        fuzz_deep++;
        go_round(octets, with_marks);
    }
    fake_core_request(&core, "POST", "", "", NULL, 0);
    return 0;
}
