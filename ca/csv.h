/* CSV (RFC 4180): records of fields out of a text, with the line each begins at. */
#pragma once

#include "status.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CSV_FIELDS_MAX 64
#define CSV_FIELD_SIZE_MAX 4096

/* One record; fields are NUL-terminated and live until the next one is read. */
struct csv_record {
    size_t line, count; /* first line from 1; fields */
    char *fields[CSV_FIELDS_MAX];
};

struct csv; /* a text being read */
/* Copies the text; a byte order mark before it is skipped. CA_INTERNAL: memory. */
enum ca_status csv_open(const char *text, size_t size, struct csv **ret_csv);
void csv_close(struct csv *csv); /* NULL is nothing */
/* The next record, empty lines skipped; CA_NOT_FOUND at the end. Lines end with CR LF
 * or LF. CA_MALFORMED: a quote inside a plain field, text behind a closing one, none
 * that closes, a NUL; CA_LIMIT: too many or too long fields. */
enum ca_status csv_next(struct csv *csv, struct csv_record *ret_record);
