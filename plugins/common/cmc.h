/* Full PKI requests and responses (RFC 5272) in the shape that Windows uses: one
 * PKCS#10 and its controls; an answer that is not signed, with the certificates beside
 * it. */
#pragma once

#include "cms.h"

#define CMC_CONTROLS_MAX 32
#define CMC_NONCE_MAX 256 /* octets of senderNonce, and of transactionId */

extern const struct ca_bytes cmc_pki_data;     /* id-cct-PKIData */
extern const struct ca_bytes cmc_pki_response; /* id-cct-PKIResponse */

/* PKIData, in slices; what is absent is empty. */
struct cmc_request {
    uint32_t part;                /* bodyPartID of the PKCS#10 */
    struct ca_bytes pkcs10;       /* whole */
    struct ca_bytes transaction;  /* INTEGER, content */
    struct ca_bytes nonce;        /* senderNonce's octets */
    struct ca_bytes registration; /* regInfo's octets: Windows' name=value pairs */
    struct ca_bytes
        attributes; /* Microsoft's added attributes: the inside of the SET */
};
/* The content of a SignedData of type cmc_pki_data: exactly one request, a PKCS#10, no
 * nested messages; each part has a number of its own, each control that is read is
 * there once, others are passed over. CA_MALFORMED, CA_LIMIT, CA_UNSUPPORTED (CRMF). */
enum ca_status cmc_decode(struct ca_bytes content, struct cmc_request *ret_request);

struct cmc_response {
    uint32_t part; /* of the request that is answered; 1 where it was no CMC */
    struct ca_bytes transaction, nonce;  /* of the request; empty: none */
    const struct ca_bytes *certificates; /* the issued one first; DER */
    size_t count;                        /* 0: it waits */
    const char *token; /* of a request that waits, and when to ask again */
    int64_t ask_at;
};
/* ContentInfo of SignedData without signers over PKIResponse. */
void cmc_put_response(struct asn1_writer *writer, const struct cmc_response *response);
