/* The first half of SECURITY I1: a request is judged, its certificate built and linted,
 * and the intent made durable. Shared by requests and approvals. */
#pragma once

#include "auto.h"
#include "device_facts.h"
#include "grant.h"
#include "issue.h"
#include "names.h"

struct enrolment {
    /* Given, borrowed. */
    struct service *service;
    const struct issuers *issuers;
    struct grant *grant;
    const char *protocol;
    struct lifecycle_cause cause;
    struct ca_bytes pkcs10;
    const char *transaction; /* or NULL */
    const uint8_t *signer;   /* SHA-256 of the signer's SPKI, or NULL */
    EVP_PKEY *signer_key;    /* that key, where it is decoded already; or NULL */
    const char *pending;     /* approved request, or NULL */
    unsigned flags;          /* CA_ENROL_... */
    const struct device_facts *facts; /* what the device said, or NULL */
    const struct issue_along *along;  /* recorded with the certificate, or NULL */
    int64_t devices_max; /* that the user may have with a new one; 0: no bound */
    /* Made. */
    const struct issuer *issuer;
    X509_REQ *request;
    uint8_t spki[32], request_sha256[32];
    struct device
        made; /* the device that is made with the certificate; id NULL: none */
    struct names names;
    uint8_t *tbs;
    size_t tbs_size;
    struct certificate record; /* as reserved, der borrowed from tbs */
};

void enrolment_clear(struct enrolment *enrolment);

/* Judges the request: form, possession, key, names. Nothing is changed. The statuses of
 * csr.h, keycheck.h and names.h; CA_UNAVAILABLE when the issuer cannot sign. */
enum ca_status enrolment_judge(struct enrolment *enrolment);
/* Its two halves: what is the requester's doing, and what the records give. */
enum ca_status enrolment_judge_request(struct enrolment *enrolment);
enum ca_status enrolment_judge_names(struct enrolment *enrolment);

/* Draws the serial, builds and lints the to-be-signed certificate. */
enum ca_status enrolment_build(struct enrolment *enrolment);

/* Serial, intent, claim of the one-time secret and audit in one durable step. After it
 * enrolment_sign gives the certificate; OPENSSL_free it. CA_CONFLICT: the secret or the
 * transaction was claimed by another request. CA_LIMIT: the user has `devices_max`. */
enum ca_status enrolment_issue(struct enrolment *enrolment, uint8_t **ret_der,
                               size_t *ret_size);

/* After enrolment_issue failed: the intent is abandoned unless it was completed, and
 * its one-time secret is free again. `ret_was_there`: there was an intent. */
enum ca_status enrolment_give_up(struct enrolment *enrolment, bool *ret_was_there);

/* The device of a judged request, which may be a new one: `made`. */
enum ca_status enrolment_find_device(struct enrolment *enrolment);

/* In the transaction that makes the device: CA_LIMIT when the user has `devices_max`,
 * those that are in the making counted. */
enum ca_status enrolment_check_room(struct store_tx *tx,
                                    const struct enrolment *enrolment);

/* The id of the device that gets it. */
const char *enrolment_device(const struct enrolment *enrolment);
