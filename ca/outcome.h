/* What became of an earlier request: for retries and polls, and for the loser of two
 * parallel requests. */
#pragma once

#include "certificate.h"
#include "exchange.h"

struct outcome_key {
    const char *endpoint; /* "scep/default" */
    const char *transaction;
    const uint8_t *signer;  /* SHA-256 of the signer's SPKI */
    const uint8_t *request; /* SHA-256 of the same request: a retry; NULL: a poll */
    const char *user;       /* whose request it must be; NULL: anybody's */
};

/* As ca_poll. Signs an intent that was left behind; waits for one that is being signed,
 * but not long. */
enum ca_status outcome_find(struct exchange *exchange, const struct outcome_key *key,
                            struct ca_issued *ret_issued);

/* A recorded certificate as the request's own; everything is copied. */
enum ca_status outcome_give(struct exchange *exchange, const struct certificate *record,
                            const void *der, size_t size, struct ca_issued *ret_issued);

#define OUTCOME_RETRY_SECONDS 60 /* when to ask again while an approval is pending */
