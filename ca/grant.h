/* What an identity may have: the records it rests on, and the one place that says who
 * may use which profile. */
#pragma once

#include "certificate.h"
#include "device.h"
#include "endpoint.h"
#include "offer.h"
#include "user.h"

struct grant {
    const struct endpoint *endpoint; /* borrowed */
    struct user user;
    struct device device;       /* id NULL: none yet, the enrolment makes one */
    char *challenge;            /* id of the one-time secret, or NULL */
    char *replaces;             /* serial that is renewed, or NULL */
    struct certificate renewed; /* its record */
    struct offer offer;         /* whose secret it is; id NULL: none */
    const char *mismatch; /* what of the request does not fit the offer (offer_judge.h),
                             or NULL */
    bool used;            /* one enrolment a credential */
    bool is_first;        /* the device holds none of the profile, nor may it when
                             the certificate is reserved */
    json_t *names;        /* {"subject", "san"} granted beyond the profile, or NULL */
};

void grant_clear(struct grant *grant);

/* The records of an open one-time secret of this endpoint; fills the grant. */
enum ca_status grant_of_challenge(struct store_tx *tx,
                                  const struct challenge *challenge,
                                  struct grant *grant);
/* The records behind one of our certificates, which the caller has found to be ours;
 * takes the certificate over. CA_FORBIDDEN when it is revoked. */
enum ca_status grant_of_certificate(struct store_tx *tx,
                                    struct certificate *certificate,
                                    struct grant *grant);

/* The records of an offer, which it takes over. */
enum ca_status grant_of_offer(struct store_tx *tx, struct offer *offer,
                              struct grant *grant);

/* What a user who logged in may: the record of the user, and the one-time secret (its
 * id, or "") that an enrolment uses up; fills the grant. */
enum ca_status grant_of_person(struct store_tx *tx, const char *user,
                               const char *onetime, struct grant *grant);

/* Is the user active, and the device, if there is one, the user's own and active? */
enum ca_status grant_is_active(const struct grant *grant);
/* Does the endpoint's certificate profile issue over this protocol? CA_FORBIDDEN. */
enum ca_status grant_check_protocol(const struct endpoint *endpoint,
                                    const char *protocol);
/* May this user, with this device, enrol at this endpoint: both active, the device the
 * user's own, the profile assigned, the protocol allowed? CA_FORBIDDEN says why not. */
enum ca_status grant_may(struct store_tx *tx, const struct grant *grant,
                         const char *protocol);
/* The same in short for the transactions that reserve and complete, so that who was
 * disabled meanwhile gets nothing. `device` may be NULL. */
enum ca_status grant_still_may(struct store_tx *tx, const char *user,
                               const char *device);

/* The renewal rule (SECURITY A4): profile of the endpoint, issuer that of the endpoint
 * or its predecessor, inside the window that opens before and the grace that closes
 * after notAfter. */
enum ca_status grant_check_renewal(const struct grant *grant,
                                   const struct issuers *issuers, int64_t now);

/* Enough different administrators approved, none of them the requester (A6). */
struct pending;
enum ca_status grant_check_approvals(const struct pending *pending);

/* Granted names as the arguments of names_build: `ret_san` borrows from the grant. */
const char *grant_subject(const struct grant *grant);
enum ca_status grant_san(const struct grant *grant, struct field_list *ret_san);
