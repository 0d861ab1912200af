/* Who asks: TLS client certificates and administrators. The exported call
 * (ca_authenticate) is in plugin.h. */
#pragma once

#include "certificate.h"
#include "exchange.h"

/* What the one table allows a message with a credential to become. */
enum auth_rule {
    AUTH_REFUSED,
    AUTH_CHALLENGE, /* an enrolment by one-time secret */
    AUTH_RENEWAL,   /* an enrolment by our certificate */
    AUTH_DEVICE,    /* questions of a device, by our certificate */
    AUTH_PERSON,    /* questions of a user, by password or login token */
    AUTH_ENROLL     /* an enrolment by a user, likewise, or by our certificate */
};
enum auth_rule auth_rule_of(const struct ca_credential *credential);
/* May the message ask for the outcome of an earlier one: `with_request` as a retry that
 * carries the request again, else as a poll? */
bool auth_may_poll(const struct ca_credential *credential, bool with_request);
/* Only for what the authenticated user asked for? */
bool auth_polls_own(const struct ca_credential *credential);

/* Does an activation password serve as the user's own, once? */
bool auth_takes_activation(const struct ca_credential *credential);

/* The record of a certificate that one of these issuers signed, byte for byte, whatever
 * its state. CA_UNAUTHENTICATED for any other. */
enum ca_status auth_find_certificate(struct store_tx *tx, const struct issuers *issuers,
                                     X509 *certificate,
                                     struct certificate *ret_certificate);

/* Is it a certificate of the offer's device? CA_UNAUTHENTICATED. */
struct offer;
enum ca_status auth_offer_peer(struct store_tx *tx, const struct issuers *issuers,
                               X509 *certificate, const struct offer *offer);

/* Is this TLS client certificate one of ours: signed by a loaded issuer, in its
 * validity, recorded as issued and not revoked? CA_UNAUTHENTICATED with the reason in
 * the message; CA_UNAVAILABLE when the store is away. */
enum ca_status auth_check_peer(struct service *service, X509 *certificate);

/* The administrator of this request, by bearer token or client certificate, into
 * exchange->identity (IDENTITY_ADMIN). CA_UNAUTHENTICATED. */
enum ca_status auth_admin(struct exchange *exchange);

/* The serial as the inventory writes it: lower-case hex, at least 32 digits. */
#define AUTH_SERIAL_SIZE 42
bool auth_serial_format(const ASN1_INTEGER *serial, char ret_hex[AUTH_SERIAL_SIZE]);

/* A renewal over this protocol leaves what it replaces good until the new certificate
 * is used. */
bool auth_keeps_replaced(const char *protocol, const char *replaces);
/* Is the use of a certificate over this protocol the end of what it replaces? */
bool auth_is_settling(const char *protocol);
/* Is a certificate good yet that this one replaces? */
enum ca_status auth_has_replaced(struct store_tx *tx, const char *serial,
                                 bool *ret_any);
/* `used` was, over this protocol: what it replaces is revoked, as its profile says.
 * CA_UNAVAILABLE. */
enum ca_status auth_settle_replaced(struct exchange *exchange, const char *protocol,
                                    const struct certificate *used);
