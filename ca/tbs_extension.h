/* Extensions of certificates, appended as DER in the order of RFC 5280 section 4.2.
 * Pure. */
#pragma once

#include "text.h"
#include <openssl/x509.h>

#define TBS_KEY_ID_SIZE 20

/* Extension ::= SEQUENCE { extnID, critical DEFAULT FALSE, extnValue }; `value` is its
 * DER and is emptied. */
void extension_wrap(struct text_buffer *list, const char *oid, bool critical,
                    struct text_buffer *value);
/* CA:FALSE, or CA:TRUE with pathLenConstraint when `path_length` is not negative. */
void extension_basic_constraints(struct text_buffer *list, bool is_ca, int path_length);
/* `bits`: bit i = bit i of KeyUsage; always critical. */
void extension_key_usage(struct text_buffer *list, unsigned bits);
/* Key identifier by RFC 7093 section 2 method 1: the leftmost 160 bits of SHA-256. */
enum ca_status extension_key_id(const X509_PUBKEY *key,
                                uint8_t ret_id[TBS_KEY_ID_SIZE]);
void extension_subject_key_id(struct text_buffer *list,
                              const uint8_t id[TBS_KEY_ID_SIZE]);
/* keyIdentifier = the issuer's subjectKeyIdentifier; CA_FORBIDDEN without one. */
enum ca_status extension_authority_key_id(struct text_buffer *list, const X509 *issuer);
void extension_authority_key_id_of(struct text_buffer *list, const uint8_t *id,
                                   size_t size);
/* A DistributionPoint of one URI, which is an IssuingDistributionPoint as well. */
void extension_point(struct text_buffer *point, const char *url);
/* CRLDistributionPoints of one URI. */
void extension_crl(struct text_buffer *list, const char *url);
/* authorityInfoAccess; either URL may be NULL, nothing is written without both. */
void extension_access(struct text_buffer *list, const char *issuer_url,
                      const char *ocsp_url);

/* Microsoft's certificate template of this OID, and the SID of the account that the
 * certificate is for; CA_FORBIDDEN for a text that is no SID. */
enum ca_status extension_template(struct text_buffer *list, const char *oid);
enum ca_status extension_sid(struct text_buffer *list, const char *sid);

/* anyExtendedKeyUsage, OCSPSigning and enrolment agent: never in a certificate of a
 * profile. */
bool extension_eku_is_refused(const char *oid);
/* Extensions that only the core itself writes: what a profile's own list and a request
 * may never carry (SECURITY R5). */
bool extension_is_reserved(const char *oid);
/* Those that name a template: a profile may have its own, a request never. */
bool extension_is_template(const char *oid);
