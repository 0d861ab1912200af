/* What the double of the core was answered, as SOAP. */
#pragma once

#include "fake_core.h"
#include "soap.h"
#include <criterion/criterion.h>

static inline const struct xml_node *
answer_root(struct fake_core *answered)
{
    const struct xml_node *root = NULL;
    cr_assert_str_eq(answered->content_type, SOAP_CONTENT_TYPE);
    cr_assert_eq(xml_read(&answered->request,
                          (struct ca_bytes){ answered->body, answered->size },
                          &xml_limits_soap, &root),
                 CA_OK);
    return root;
}

/* Down the names from a node, each of which must be there. */
static inline const struct xml_node *
answer_path(const struct xml_node *node, const char *const *names)
{
    for (; *names; names++)
        cr_assert_eq(xml_must(node, NULL, *names, &node), CA_OK, "%s", *names);
    return node;
}
#define PATH(node, ...) answer_path(node, (const char *const[]){ __VA_ARGS__, NULL })
