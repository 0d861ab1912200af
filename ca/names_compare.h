/* Are these the same names? Of requests, offers and certificates. Pure. */
#pragma once

#include "field.h"
#include <openssl/x509v3.h>

/* The same RDNs with the same attributes in the same order; their string types are
 * free (ECSPEKE-ACT-1 section 13.3). */
bool names_subjects_equal(const X509_NAME *a, const X509_NAME *b);

/* Names as texts (names_format), sorted, each once; NULL are none. CA_UNSUPPORTED for a
 * name that is never issued. */
enum ca_status names_list(GENERAL_NAMES *names, struct field_list *ret_list);
bool names_lists_equal(const struct field_list *a, const struct field_list *b);
void names_list_clear(struct field_list *list);
static inline void __attribute__((unused))
names_list_clear_auto(struct field_list *list)
{
    names_list_clear(list);
}
