/* The plugin ABI, second part: activation by password, and SCEP for activated devices,
 * which the scep plugin serves on their own paths. */
#pragma once
#ifndef SEALWRIGHT_PLUGIN_ACTIVATION_H
#define SEALWRIGHT_PLUGIN_ACTIVATION_H

#include "plugin.h"

/* ---- Activation by password (ECSPEKE-ACT-1). The core throttles, counts, seals and
 * decides; the plugin reads messages and computes the exchange. What follows a begin or
 * an attempt is about the session of this very request. ---- */

#define CA_ACTIVATION_NONCE 16 /* octets of cn and sn */

struct ca_activation_hello {
    const char *user; /* as it was sent: the core makes it canonical */
    size_t user_size;
    const char *ref;
    size_t ref_size;
};
struct ca_activation_offer {
    const char *user, *ref; /* canonical; the request's memory */
    const char *server;     /* the server's name in CI */
    uint8_t salt[16];
    uint8_t prs[32]; /* of the live password, or a decoy: nobody can tell. Wipe it */
    int ln, r, p;    /* of scrypt */
    int64_t ttl;     /* seconds that the session lives */
    int64_t retry_after; /* seconds; set with CA_LIMIT, too, and nothing else then */
};
/* hello, 7.1 steps 2 to 5, for the session id `sn` (fresh from the CSPRNG).
 * CA_MALFORMED: no such name or reference is possible (bad_request); CA_LIMIT
 * (slow_down); CA_UNAVAILABLE. The same work is done for a name without a password. */
CA_EXPORT enum ca_status ca_activation_begin(struct ca_request *req,
                                             const struct ca_activation_hello *hello,
                                             const uint8_t sn[CA_ACTIVATION_NONCE],
                                             struct ca_activation_offer *ret_offer);

/* What the exchange needs again in `enroll`. Borrowed when kept; what an attempt gives
 * is the request's, and wiped with it. */
struct ca_activation_session {
    uint8_t cn[CA_ACTIVATION_NONCE];
    const char *suite;
    const char *user, *ref, *server; /* given by attempt; keep takes those of begin */
    struct ca_bytes scalar;          /* ys, 16 to 66 octets: sealed in the store */
    struct ca_bytes share;           /* Ys, at most 133 octets */
    struct ca_bytes server_data, client_data; /* ADs, ADc, at most 512 octets each */
};
/* hello, step 6: the session of the begin of this request. CA_UNAVAILABLE: the table is
 * full, or the store away; CA_LIMIT: a member too long. */
CA_EXPORT enum ca_status
ca_activation_keep(struct ca_request *req, const struct ca_activation_session *session);

struct ca_activation_answer {
    int http_status;
    struct ca_bytes body; /* the request's */
};
/* enroll, 7.2 steps 2 and 3, in one transaction; `digest` is SHA-256 of the request's
 * body. CA_OK: the session, spent by this, and a try is taken, if it has a password
 * left. CA_CONFLICT: this body was answered, and the same answer goes out again, octet
 * for octet. CA_PENDING: it is being worked on (unavailable, retry_after 1).
 * CA_NOT_FOUND: session_gone. CA_UNAVAILABLE: nothing was used up. */
CA_EXPORT enum ca_status
ca_activation_attempt(struct ca_request *req, const uint8_t sn[CA_ACTIVATION_NONCE],
                      const uint8_t digest[32],
                      struct ca_activation_session *ret_session,
                      struct ca_activation_answer *ret_answer);

/* enroll, steps 4 to 6 found a fault: `reason` is "invalid_share" or "auth_failed".
 * Counted, audited; session and try stay used up, and a repetition is CA_NOT_FOUND. */
CA_EXPORT void ca_activation_refused(struct ca_request *req, const char *reason);

/* What the client is told in its sealed box. */
struct ca_activation_grant {
    const char *device, *workspace, *organisation, *url;
    struct ca_bytes certificate;  /* DER */
    const struct ca_bytes *chain; /* DER; issuer first, root last */
    size_t chain_count;
    const char *error, *detail; /* of a refusal, and nothing else then: "csr_rejected",
                                   "policy" or "quota", and why, for the person who has
                                   proven the password */
};
/* Makes the answer's body, the request's memory, sealed for the client of this attempt.
 * Called before anything is recorded; a second time, for the refusal, when a grant may
 * not leave after all. */
struct ca_activation_sealer {
    enum ca_status (*seal)(void *arg, const struct ca_activation_grant *grant,
                           struct ca_bytes *ret_body);
    void *arg;
};
/* enroll, steps 7 to 9: the tag of the client holds and its box is open. The core
 * judges the request, takes a device, composes the certificate from its own records,
 * signs it, has the answer sealed, and records both in one step: the same message gets
 * the same answer from then on. CA_OK: the 200 of `ret_answer`; CA_FORBIDDEN: its 422,
 * tries are full again. CA_UNAUTHENTICATED: there was no password, or no device is left
 * (auth_failed); CA_UNAVAILABLE, CA_INTERNAL: device and try were given back
 * (unavailable). */
CA_EXPORT enum ca_status ca_activation_proved(struct ca_request *req,
                                              struct ca_bytes pkcs10,
                                              const struct ca_activation_sealer *sealer,
                                              struct ca_activation_answer *ret_answer);

struct ca_activation_place {
    const char *server; /* NULL from ca_activation_device */
    const char *url;
    const char *instance; /* NULL from ca_activation_lookup */
    int64_t retry_after;  /* seconds; with CA_LIMIT, and nothing else then */
};
/* discovery, M0: where the user (as it was sent) activates. CA_NOT_FOUND
 * (not_registered), CA_MALFORMED, CA_LIMIT. */
CA_EXPORT enum ca_status ca_activation_lookup(struct ca_request *req, const char *user,
                                              size_t user_size,
                                              struct ca_activation_place *ret_place);

/* Section 12, after ca_authenticate with the TLS client certificate (protocol
 * "activation", kind CERTIFICATE, endpoint "", message "device"; likewise
 * "scep-profile" and "renew", and "policy", which takes any certificate of the device
 * but that of the activation; CA_FORBIDDEN: wrong_certificate). Replaces what the
 * device said before: `device` and `software` are objects of texts. A renewal is
 * ca_enroll with signer = the client certificate and CA_ENROL_KEY_ALONE |
 * CA_ENROL_AT_ONCE. */
CA_EXPORT enum ca_status ca_activation_device(struct ca_request *req,
                                              const json_t *device,
                                              const json_t *software,
                                              struct ca_activation_place *ret_place);

#define CA_ACTIVATION_TAG 32 /* characters */
struct ca_activation_policy {
    const json_t *policy; /* {"name","version","items"}, the request's; without an
                             effective profile the name is "" */
    const char *tag;      /* hex; changes when the policy does */
};
/* The policy of the authenticated device's owner. As long as its tag is `known` (NULL:
 * none) it waits for another, at most `seconds`, and not at all when too many wait
 * already or the daemon stops. CA_UNAUTHENTICATED without ca_authenticate. */
CA_EXPORT enum ca_status ca_activation_policy(struct ca_request *req, const char *known,
                                              int64_t seconds,
                                              struct ca_activation_policy *ret_policy);

/* ---- SCEP for activated devices (ECSPEKE-ACT-1 section 13) ---- */

/* Whether this path of a scep profile is answered, asked before anything of the message
 * is looked at. `token`: what follows the endpoint's name in the path, or "".
 * CA_NOT_FOUND: no such path; CA_FORBIDDEN: the TLS client certificate is another
 * device's, or missing. `ret_is_upstream`: the CA is another's, ca_scep_forward. */
CA_EXPORT enum ca_status ca_scep_path(struct ca_request *req, const char *profile,
                                      const char *token, bool *ret_is_upstream);
struct ca_scep_reply {
    const char *content_type;
    struct ca_bytes body;
};
/* Passes a message on to the upstream CA of the profile and gives back what it said.
 * CA_NOT_FOUND, CA_FORBIDDEN as above; CA_LIMIT: too often, too large; CA_UNAVAILABLE:
 * no answer. */
CA_EXPORT enum ca_status ca_scep_forward(struct ca_request *req, const char *profile,
                                         const char *token, const char *operation,
                                         struct ca_bytes message,
                                         struct ca_scep_reply *ret_reply);

/* What follows is of the device that ca_authenticate found (message "scep-profile").
 * `error` is set when the status is not CA_OK: the word of section 12 that the device
 * is to be told, NULL: by the status. */
struct ca_scep_failure {
    const char *error;
};
/* A fresh offer, which takes the place of an unused one: the object of 13.3, the
 * request's. "no_profile", "report_required", "upstream". */
CA_EXPORT enum ca_status ca_activation_scep(struct ca_request *req,
                                            json_t **ret_profile,
                                            struct ca_scep_failure *ret_failure);

struct ca_scep_prepared {
    const char *txn;
    struct ca_bytes digest;
};
/* 13.5 assisted, first half: `info` is a CertificationRequestInfo, `digest` "sha256".
 */
CA_EXPORT enum ca_status
ca_activation_scep_prepare(struct ca_request *req, const char *profile,
                           struct ca_bytes info, const char *digest,
                           struct ca_scep_prepared *ret_prepared,
                           struct ca_scep_failure *ret_failure);
struct ca_scep_signature {
    const char *profile, *txn;
    struct ca_bytes signature;
    const char *cipher; /* "aes256" */
};
struct ca_scep_enveloped {
    struct ca_bytes envelope; /* EnvelopedData, DER, to the first of `chain` */
    const char *transaction;
    const struct ca_bytes *chain; /* DER */
    size_t count;
};
/* The second half. */
CA_EXPORT enum ca_status ca_activation_scep_envelope(
    struct ca_request *req, const struct ca_scep_signature *signature,
    struct ca_scep_enveloped *ret_enveloped, struct ca_scep_failure *ret_failure);

struct ca_scep_certificate {
    struct ca_bytes der;
    const struct ca_bytes *chain; /* DER; issuer first, root last */
    size_t count;
    int64_t retry_after; /* seconds; with CA_PENDING, and nothing else then */
};
/* 13.5 simple. The same request again gets the same certificate. */
CA_EXPORT enum ca_status ca_activation_scep_enroll(
    struct ca_request *req, const char *profile, struct ca_bytes pkcs10,
    struct ca_scep_certificate *ret_certificate, struct ca_scep_failure *ret_failure);

#endif
