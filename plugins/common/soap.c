/* The request: one envelope, its addressing headers, one element in its body. */
#include "soap.h"
#include <string.h>

#define SOAP_11_SPACE "http://schemas.xmlsoap.org/soap/envelope/"
#define MESSAGE_ID_MAX 256 /* octets that an answer sends back */
#define URI_MAX 2048

/* Printable ASCII from `first` on. */
static bool
is_printable(const struct xml_node *node, char first, size_t max)
{
    if (node->text_size == 0 || node->text_size > max || node->first)
        return false;
    for (const char *c = node->text; *c; c++) {
        if (*c < first || *c > 0x7e)
            return false;
    }
    return true;
}

/* A header that may be there once, as a URI without blanks. */
static enum ca_status
header_uri(const struct xml_node *header, const char *name, const char **ret_uri)
{
    const struct xml_node *node = NULL;
    enum ca_status status = xml_only(header, SOAP_SPACE_ADDRESSING, name, &node);
    if (status != CA_OK || !node)
        return status;
    if (!is_printable(node, '!', URI_MAX))
        return ca_fail(CA_MALFORMED, "header %s is no URI of at most %d octets", name,
                       URI_MAX);
    *ret_uri = node->text;
    return CA_OK;
}

/* The id is sent back as it came and means nothing else: blanks do no harm in it, and
 * published messages have some. */
static enum ca_status
header_id(const struct xml_node *header, const char **ret_id)
{
    const struct xml_node *node = NULL;
    enum ca_status status = xml_only(header, SOAP_SPACE_ADDRESSING, "MessageID", &node);
    if (status != CA_OK || !node)
        return status;
    if (!is_printable(node, ' ', MESSAGE_ID_MAX))
        return ca_fail(CA_MALFORMED, "MessageID is no text of at most %d octets",
                       MESSAGE_ID_MAX);
    *ret_id = node->text;
    return CA_OK;
}

static bool
is_mandatory(const struct xml_node *header)
{
    for (size_t i = 0; i < header->attribute_count; i++) {
        const struct xml_attribute *attribute = &header->attributes[i];
        if (strcmp(attribute->space, SOAP_SPACE) == 0 &&
            strcmp(attribute->name, "mustUnderstand") == 0)
            return strcmp(attribute->value, "1") == 0 ||
                   strcmp(attribute->value, "true") == 0;
    }
    return false;
}

/* SOAP 1.2 part 1 section 2.4: what must be understood and is not refuses the message.
 */
static enum ca_status
check_headers(const struct xml_node *header)
{
    for (const struct xml_node *node = header->first; node; node = node->next) {
        bool is_known = strcmp(node->space, SOAP_SPACE_ADDRESSING) == 0 ||
                        xml_is(node, SOAP_SPACE_SECURITY, "Security");
        if (!is_known && is_mandatory(node))
            return ca_fail(CA_MALFORMED, "header '%.64s' is not understood",
                           node->name);
    }
    return CA_OK;
}

static enum ca_status
read_header(const struct xml_node *header, struct soap_request *soap)
{
    enum ca_status status = header_id(header, &soap->message_id);
    if (status == CA_OK)
        status = header_uri(header, "Action", &soap->action);
    if (status == CA_OK)
        status = header_uri(header, "To", &soap->to);
    if (status == CA_OK)
        status = xml_only(header, SOAP_SPACE_SECURITY, "Security", &soap->security);
    if (status == CA_OK)
        status = check_headers(header);
    if (status == CA_OK && !soap->action)
        return ca_fail(CA_MALFORMED, "no header Action");
    return status;
}

/* Header and body are the envelope's only children, and nowhere else is there another
 * of either: nothing to wrap a signature with. */
static enum ca_status
check_envelope(const struct xml_node *root)
{
    static const char *const once[] = { "Envelope", "Header", "Body" };
    if (xml_is(root, SOAP_11_SPACE, "Envelope"))
        return ca_fail(CA_UNSUPPORTED, "SOAP 1.1");
    if (!xml_is(root, SOAP_SPACE, "Envelope"))
        return ca_fail(CA_MALFORMED, "no SOAP envelope but '%.64s'", root->name);
    for (size_t i = 0; i < sizeof once / sizeof once[0]; i++) {
        if (xml_count_all(root, SOAP_SPACE, once[i]) != 1)
            return ca_fail(CA_MALFORMED, "not exactly one %s", once[i]);
    }
    for (const struct xml_node *node = root->first; node; node = node->next) {
        if (!xml_is(node, SOAP_SPACE, "Header") && !xml_is(node, SOAP_SPACE, "Body"))
            return ca_fail(CA_MALFORMED, "element '%.64s' in the envelope", node->name);
    }
    return CA_OK;
}

enum ca_status
soap_read(struct ca_request *req, struct soap_request *soap)
{
    const struct xml_node *root = NULL, *header = NULL, *body = NULL;
    *soap = (struct soap_request){ 0 };
    enum ca_status status = xml_read(req, req->body, &xml_limits_soap, &root);
    if (status == CA_OK)
        status = check_envelope(root);
    if (status == CA_OK)
        status = xml_must(root, SOAP_SPACE, "Header", &header);
    if (status == CA_OK)
        status = read_header(header, soap);
    if (status == CA_OK)
        status = xml_must(root, SOAP_SPACE, "Body", &body);
    if (status != CA_OK)
        return status;
    if (!body->first || body->first->next)
        return ca_fail(CA_MALFORMED, "not exactly one element in the body");
    soap->envelope = root;
    soap->content = body->first;
    return CA_OK;
}
