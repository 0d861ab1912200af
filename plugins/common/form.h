/* HTML forms: what a browser posts (application/x-www-form-urlencoded), and text that
 * is safe inside a page. */
#pragma once

#include "plugin.h"

#define FORM_FIELDS_MAX 16

/* The value of a field of the request's body, decoded; NULL when absent. CA_MALFORMED:
 * a bad escape, a NUL, a doubled name; CA_LIMIT: too many fields. The text belongs to
 * the request, which wipes it. */
enum ca_status form_value(struct ca_request *req, const char *name,
                          const char **ret_value);

/* The text with & < > " ' escaped, for content and quoted attributes; the request's.
 * NULL: no memory. */
const char *form_escape(struct ca_request *req, const char *text);

#define FORM_HASH_SIZE 64

/* 'sha256-...' of an inline style or script, for the page's policy (CSP level 2 section
 * 4.2.5). False: libcrypto failed. */
bool form_policy_hash(const char *text, char ret_hash[FORM_HASH_SIZE]);
