/* The organisation this domain of instances serves: one record. */
#pragma once

#include "record.h"

struct organisation {
    char *name;
    struct field_list mail_domains;
    char *base_url;  /* https://..., without a slash at the end */
    char *plain_url; /* http://... for SCEP, CRL, OCSP */
    struct record_stamp stamp;
};

extern const struct field organisation_fields[];
enum ca_status organisation_load(struct store_tx *tx,
                                 struct organisation *ret_organisation);
/* Inserts or updates over stamp.version (0: first time). */
enum ca_status organisation_save(struct store_tx *tx,
                                 struct organisation *organisation);
void organisation_clear(struct organisation *organisation);
