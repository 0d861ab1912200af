/* SyncML in binary (WAP-192 WBXML 1.3; OMA-TS-SyncML_RepPro-V1_2): what a device sends
 * is checked octet by octet and rewritten before libwbxml sees any of it. */
#pragma once

#include "syncml.h"

#define SYNCML_SIBLINGS_MAX 512 /* below one parent: libwbxml walks them for each */

/* libwbxml takes some texts for something else: a document of its own, a card whose
 * line ends want mending, the end of a CDATA section. On their way through it every
 * text is written with marks instead of such characters. */
enum syncml_marks {
    SYNCML_MARK,   /* a text gets marks */
    SYNCML_UNMARK, /* a text loses them */
};
/* The letter that stands behind the mark for this character; 0: it stays as it is. */
char syncml_mark_of(char c);
#define SYNCML_MARK_OCTET '\x7f' /* DEL, which XML 1.0 has */
/* Takes the marks out of a text, in place; false: a mark that is none. */
bool syncml_unmark(char *text, size_t *size);

/* The same message in the plainest form there is: SyncML 1.2 by its number, UTF-8, no
 * string table, code pages where they change, each text of an element as one inline
 * string. An opaque value that is no text becomes its base64. CA_MALFORMED: anything
 * that this is not true of, attributes, literal names, extensions, processing
 * instructions, text beside elements; CA_LIMIT: `syncml_limits`, among them the size
 * that the message has as XML; of what loses its marks, which is our own, the depth
 * alone. The octets are the request's. */
enum ca_status syncml_wbxml_plain(struct ca_request *req, struct ca_bytes octets,
                                  enum syncml_marks marks, struct ca_bytes *ret_plain);

/* Reads a message of a device as xml_read does. */
enum ca_status syncml_wbxml_read(struct ca_request *req, struct ca_bytes octets,
                                 const struct xml_node **ret_root);
/* An answer of syncml_answer in WBXML, which is never larger. */
enum ca_status syncml_wbxml_write(struct ca_request *req, struct ca_bytes xml,
                                  struct ca_bytes *ret_octets);
