/* What OMA-DM 1.2 calls things, shared by the records that name nodes and values. */
#pragma once

#include <stdbool.h>

#define OMADM_URI_MAX 1024
#define OMADM_DATA_MAX 32768 /* octets of one value: a message carries at least one */

enum omadm_format {
    OMADM_CHR,
    OMADM_INT,
    OMADM_BOOL,
    OMADM_B64,
    OMADM_XML,
    OMADM_NODE,
    OMADM_NULL,
    OMADM_FLOAT,
    OMADM_DATE,
    OMADM_TIME,
    OMADM_BIN
};
/* The words of enum omadm_format; NULL-terminated. */
extern const char *const omadm_format_words[];

/* Is it "." or "./NAME/..." without an empty segment or a slash at the end, in
 * printable ASCII ([MS-MDM] 2.2.7.1: everything else is escaped)? */
bool omadm_uri_is_valid(const char *uri);
