/* What the two halves of the management calls share. */
#pragma once

#include "exchange.h"
#include "lifecycle.h"

/* Is a managed device known in this request? CA_UNAUTHENTICATED. */
enum ca_status manage_begin(struct ca_request *req, struct exchange **ret_exchange);
/* Who is the cause of what happens next. */
struct lifecycle_cause manage_cause(struct exchange *exchange);
/* JSON and text as the request's own; NULL (and released) without memory. */
json_t *manage_keep_json(struct exchange *exchange, json_t *json);
/* The effective policy profile of the identity's user, {"name", "version", "items",
 * "kept"}; json_decref it. CA_NOT_FOUND. */
enum ca_status manage_policy(struct exchange *exchange, json_t **ret_policy);
char *manage_keep_text(struct exchange *exchange, char *text);
