/* Pieces of CMS (RFC 5652) that several protocols need. */
#pragma once

#include "asn1.h"

extern const struct ca_bytes cms_data;           /* id-data */
extern const struct ca_bytes cms_signed_data;    /* id-signedData */
extern const struct ca_bytes cms_enveloped_data; /* id-envelopedData */

/* A certificate's parts as slices of its DER, without decoding its key. */
struct cms_certificate {
    struct ca_bytes whole;
    struct ca_bytes issuer;  /* Name, whole */
    struct ca_bytes serial;  /* INTEGER, content */
    struct ca_bytes subject; /* Name, whole */
    struct ca_bytes spki;    /* SubjectPublicKeyInfo, whole */
};
/* RFC 5280 4.1; what lies behind the key is not looked at. */
bool cms_take_certificate(struct ca_bytes *from, struct cms_certificate *ret_parts);

/* Names as DER: the same octets, or equal by RFC 5280 7.1. */
bool cms_names_equal(struct ca_bytes a, struct ca_bytes b);
/* The same with a name that is decoded already. */
bool cms_name_is(struct ca_bytes name, const X509_NAME *known);

/* The key of a SubjectPublicKeyInfo: its algorithm, and of an RSA key (RFC 8017 A.1.1)
 * modulus and exponent without sign octets. False when it is no RSA key. */
bool cms_spki_algorithm(struct ca_bytes spki, struct ca_bytes *ret_oid);
bool cms_spki_rsa(struct ca_bytes spki, struct ca_bytes *ret_modulus,
                  struct ca_bytes *ret_exponent);
/* The modulus of a decoded certificate's RSA key, as a slice of it. */
bool cms_certificate_modulus(const X509 *certificate, struct ca_bytes *ret_modulus);
/* Bits of a number without sign octets. */
size_t cms_bits(struct ca_bytes number);

/* ContentInfo head of a type: everything up to the content's own SEQUENCE. */
struct cms_marks {
    size_t content_info, explicit, content;
};
struct cms_marks cms_open(struct asn1_writer *writer, struct ca_bytes type);
void cms_close(struct asn1_writer *writer, struct cms_marks marks);
/* Takes one ContentInfo of `type` and gives the inside of its content's SEQUENCE. */
bool cms_take(struct ca_bytes *from, struct ca_bytes type,
              struct ca_bytes *ret_content);

/* Certs-only SignedData (RFC 5652 5.1 without signers, eContent absent): certificates
 * as DER in this order, and a CRL unless it is empty. */
void cms_put_certs_only(struct asn1_writer *writer, const struct ca_bytes *certificates,
                        size_t count, struct ca_bytes crl);
