/* Any octets as XML: what the reader takes, the writer writes, and the reader takes
 * again with the same tree. */
#include "fake_core.h"
#include "fuzz.h"
#include "xml.h"

size_t fuzz_deep;

static struct fake_core core;

static void
node_write(struct xml_writer *writer, const struct xml_node *node)
{
    xml_open(writer, "n");
    xml_set(writer, "space", node->space);
    xml_set(writer, "name", node->name);
    for (size_t i = 0; i < node->attribute_count; i++) {
        FUZZ_ASSERT(xml_attribute(node, node->attributes[i].name) != NULL);
        xml_leaf(writer, "a", node->attributes[i].value);
    }
    xml_leaf(writer, "t", node->text);
    for (const struct xml_node *child = node->first; child; child = child->next) {
        FUZZ_ASSERT(child->parent == node);
        node_write(writer, child);
    }
    xml_close(writer);
}

/* The wrapper's depth is twice the document's. */
static const struct xml_limits wide = { 4 * 1024 * 1024, 32, 100000, 8, 1024 * 1024 };

static void
text_same(const char *a, const char *b)
{
    /* Line ends are normalised, nothing else is. */
    FUZZ_ASSERT(strcmp(a, b) == 0);
}

static void
tree_same(const struct xml_node *node, const struct xml_node *copy)
{
    text_same(xml_attribute(copy, "name"), node->name);
    const struct xml_node *part = copy->first;
    for (size_t i = 0; i < node->attribute_count; i++, part = part->next)
        text_same(part->text, node->attributes[i].value);
    text_same(part->text, node->text);
    part = part->next;
    for (const struct xml_node *child = node->first; child; child = child->next) {
        FUZZ_ASSERT(part != NULL);
        tree_same(child, part);
        part = part->next;
    }
    FUZZ_ASSERT(part == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct xml_node *root = NULL, *copy = NULL;
    fake_core_request(&core, "POST", "", "", data, size);
    core.settings = NULL;
    enum ca_status status =
        xml_read(&core.request, core.request.body, &xml_limits_soap, &root);
    FUZZ_ASSERT((status == CA_OK) == (root != NULL));
    if (status == CA_OK) {
        struct xml_writer writer;
        struct ca_bytes octets;
        fuzz_deep++;
        xml_begin(&writer, false);
        node_write(&writer, root);
        FUZZ_ASSERT(xml_finish(&writer, &core.request, &octets) == CA_OK);
        status = xml_read(&core.request, octets, &wide, &copy);
        FUZZ_ASSERT(status == CA_OK || status == CA_LIMIT);
        if (status == CA_OK)
            tree_same(root, copy);
    }
    fake_core_forget(&core);
    return 0;
}
