/* Full PKI requests and responses (RFC 5272; [MS-WSTEP] 4.1.1.2). */
#include "cmc.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define OID_CMC(n) 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x07, n
#define OID_MICROSOFT(...) 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, __VA_ARGS__

#define STATUS_SUCCESS 0
#define STATUS_PENDING 3

const struct ca_bytes cmc_pki_data =
    DER_OID_BYTES(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x0c, 0x02);
const struct ca_bytes cmc_pki_response =
    DER_OID_BYTES(0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x0c, 0x03);

static const struct ca_bytes status_info = DER_OID_BYTES(OID_CMC(1));
static const struct ca_bytes transaction_id = DER_OID_BYTES(OID_CMC(5));
static const struct ca_bytes sender_nonce = DER_OID_BYTES(OID_CMC(6));
static const struct ca_bytes recipient_nonce = DER_OID_BYTES(OID_CMC(7));
static const struct ca_bytes add_extensions = DER_OID_BYTES(OID_CMC(8));
static const struct ca_bytes reg_info = DER_OID_BYTES(OID_CMC(18));
static const struct ca_bytes add_attributes =
    DER_OID_BYTES(OID_MICROSOFT(0x0a, 0x0a, 0x01));
static const struct ca_bytes issued_hash = DER_OID_BYTES(OID_MICROSOFT(0x15, 0x11));

/* The numbers of the parts, which must differ (RFC 5272 section 3.2.1.1). */
struct parts {
    uint32_t numbers[CMC_CONTROLS_MAX + 1];
    size_t count;
};

/* What of a message is read already. */
struct decoding {
    struct cmc_request request;
    struct parts parts;
    uint32_t reference; /* of the added attributes; 0: there are none */
};

/* BodyPartID ::= INTEGER (0..4294967295); 0 is the message itself. */
static bool
number_take(struct ca_bytes *from, uint32_t *ret_number)
{
    struct ca_bytes octets;
    uint32_t number = 0;
    if (!asn1_take_unsigned(from, &octets) || octets.size > sizeof number)
        return false;
    for (size_t i = 0; i < octets.size; i++)
        number = number << 8 | octets.data[i];
    *ret_number = number;
    return number > 0;
}

static bool
part_take(struct ca_bytes *from, struct parts *parts, uint32_t *ret_part)
{
    uint32_t part;
    if (!number_take(from, &part))
        return false;
    for (size_t i = 0; i < parts->count; i++) {
        if (parts->numbers[i] == part)
            return false;
    }
    if (parts->count == sizeof parts->numbers / sizeof parts->numbers[0])
        return false;
    parts->numbers[parts->count++] = part;
    *ret_part = part;
    return true;
}

/* A control's one value with this tag. */
static bool
value_take(struct ca_bytes values, uint8_t tag, struct ca_bytes *ret_value)
{
    struct ca_bytes value;
    if (ret_value->data || !asn1_take(&values, tag, &value) || values.size > 0)
        return false;
    *ret_value = value;
    return true;
}

/* [MS-WCCE] CmcAddAttributes ::= SEQUENCE { pkiDataReference INTEGER, certReferences
 * SEQUENCE OF INTEGER, attributes SET OF Attribute }: to this message, for its one
 * request, whose number is `ret_reference`. */
static bool
attributes_take(struct ca_bytes values, struct ca_bytes *ret_attributes,
                uint32_t *ret_reference)
{
    struct ca_bytes added, references, attributes;
    if (ret_attributes->data || !asn1_take(&values, DER_SEQUENCE, &added) ||
        values.size > 0 || !asn1_take_small(&added, 0) ||
        !asn1_take(&added, DER_SEQUENCE, &references) ||
        !number_take(&references, ret_reference) || references.size > 0 ||
        !asn1_take(&added, DER_SET, &attributes) || added.size > 0)
        return false;
    *ret_attributes = attributes;
    return true;
}

/* TaggedAttribute ::= SEQUENCE { bodyPartID, attrType, attrValues SET }. */
static bool
control_decode(struct ca_bytes control, struct decoding *decoding,
               struct ca_bytes *ret_type, struct ca_bytes *ret_values)
{
    uint32_t part;
    return part_take(&control, &decoding->parts, &part) &&
           asn1_take(&control, DER_OID, ret_type) &&
           asn1_take(&control, DER_SET, ret_values) && control.size == 0;
}

/* RFC 5272 section 3.2.1: an unknown control means that nothing of the message is done.
 * Extensions that are asked for beside the request are the profile's affair. */
static enum ca_status
control_read(struct ca_bytes type, struct ca_bytes values, struct decoding *decoding)
{
    struct cmc_request *request = &decoding->request;
    bool is_good = true;
    if (asn1_equal(type, transaction_id))
        is_good = value_take(values, DER_INTEGER, &request->transaction);
    else if (asn1_equal(type, sender_nonce))
        is_good = value_take(values, DER_OCTET_STRING, &request->nonce);
    else if (asn1_equal(type, reg_info))
        is_good = value_take(values, DER_OCTET_STRING, &request->registration);
    else if (asn1_equal(type, add_attributes))
        is_good = attributes_take(values, &request->attributes, &decoding->reference);
    else if (!asn1_equal(type, add_extensions))
        return ca_fail(CA_UNSUPPORTED, "a CMC control that is not known");
    return is_good ? CA_OK : ca_fail(CA_MALFORMED, "a CMC control that is none");
}

static enum ca_status
controls_decode(struct ca_bytes controls, struct decoding *decoding)
{
    struct ca_bytes control, type, values;
    const struct cmc_request *request = &decoding->request;
    for (int count = 0; controls.size > 0; count++) {
        if (count == CMC_CONTROLS_MAX)
            return ca_fail(CA_LIMIT, "more than %d CMC controls", CMC_CONTROLS_MAX);
        if (!asn1_take(&controls, DER_SEQUENCE, &control) ||
            !control_decode(control, decoding, &type, &values))
            return ca_fail(CA_MALFORMED, "CMC control %d", count);
        enum ca_status status = control_read(type, values, decoding);
        if (status != CA_OK)
            return status;
    }
    if (request->nonce.size > CMC_NONCE_MAX ||
        request->transaction.size > CMC_NONCE_MAX)
        return ca_fail(CA_LIMIT, "a CMC nonce or transaction of more than %d octets",
                       CMC_NONCE_MAX);
    return CA_OK;
}

/* TaggedRequest ::= CHOICE { tcr [0] IMPLICIT SEQUENCE { bodyPartID,
 * certificationRequest }, crm [1] CRMF, orm [2] }. */
static enum ca_status
requests_decode(struct ca_bytes requests, struct decoding *decoding)
{
    struct ca_bytes tagged;
    struct cmc_request *request = &decoding->request;
    if (asn1_next_is(requests, DER_CONTEXT_CONSTRUCTED(1)) ||
        asn1_next_is(requests, DER_CONTEXT_CONSTRUCTED(2)))
        return ca_fail(CA_UNSUPPORTED, "a CMC request that is no PKCS#10");
    if (!asn1_take(&requests, DER_CONTEXT_CONSTRUCTED(0), &tagged) || requests.size > 0)
        return ca_fail(CA_MALFORMED, "not exactly one CMC request");
    if (!part_take(&tagged, &decoding->parts, &request->part) ||
        !asn1_take_whole(&tagged, DER_SEQUENCE, &request->pkcs10) || tagged.size > 0)
        return ca_fail(CA_MALFORMED, "a CMC request that is none");
    if (decoding->reference && decoding->reference != request->part)
        return ca_fail(CA_MALFORMED, "CMC attributes for request %u, which is none",
                       decoding->reference);
    return CA_OK;
}

enum ca_status
cmc_decode(struct ca_bytes content, struct cmc_request *ret_request)
{
    struct decoding decoding = { .reference = 0 };
    struct ca_bytes data, controls, requests, messages, others;
    if (!asn1_take(&content, DER_SEQUENCE, &data) || content.size > 0 ||
        !asn1_take(&data, DER_SEQUENCE, &controls) ||
        !asn1_take(&data, DER_SEQUENCE, &requests) ||
        !asn1_take(&data, DER_SEQUENCE, &messages) ||
        !asn1_take(&data, DER_SEQUENCE, &others) || data.size > 0)
        return ca_fail(CA_MALFORMED, "not a PKIData");
    if (messages.size > 0 || others.size > 0)
        return ca_fail(CA_UNSUPPORTED, "a PKIData with messages inside");
    enum ca_status status = controls_decode(controls, &decoding);
    if (status == CA_OK)
        status = requests_decode(requests, &decoding);
    if (status == CA_OK)
        *ret_request = decoding.request;
    return status;
}

/* ---- The answer ---- */

static void
put_number(struct asn1_writer *writer, uint32_t number)
{
    uint8_t octets[5] = { 0 };
    size_t start = 1;
    for (size_t i = 0; i < 4; i++)
        octets[1 + i] = (uint8_t)(number >> 8 * (3 - i));
    while (start < 4 && octets[start] == 0)
        start++;
    if (octets[start] > 0x7f)
        start--;
    asn1_put(writer, DER_INTEGER, octets + start, sizeof octets - start);
}

/* A TaggedAttribute with its SET open: two marks, the inner one first to close. */
struct control_marks {
    size_t control, values;
};

static struct control_marks
control_open(struct asn1_writer *writer, uint8_t part, struct ca_bytes type)
{
    struct control_marks marks = { .control = asn1_open(writer, DER_SEQUENCE) };
    asn1_put_small(writer, part);
    asn1_put_bytes(writer, DER_OID, type);
    marks.values = asn1_open(writer, DER_SET);
    return marks;
}

static void
control_close(struct asn1_writer *writer, struct control_marks marks)
{
    asn1_close(writer, marks.values);
    asn1_close(writer, marks.control);
}

static void
put_references(struct asn1_writer *writer, uint32_t part)
{
    size_t list = asn1_open(writer, DER_SEQUENCE);
    put_number(writer, part);
    asn1_close(writer, list);
}

static void
put_text(struct asn1_writer *writer, uint8_t tag, const char *text)
{
    asn1_put(writer, tag, text, strlen(text));
}

/* PendInfo ::= SEQUENCE { pendToken OCTET STRING, pendTime GeneralizedTime }. */
static void
put_pending(struct asn1_writer *writer, const struct cmc_response *response)
{
    char text[32] = "";
    struct tm time;
    time_t seconds = (time_t)response->ask_at;
    if (!gmtime_r(&seconds, &time) ||
        strftime(text, sizeof text, "%Y%m%d%H%M%SZ", &time) == 0)
        writer->failed = true;
    size_t info = asn1_open(writer, DER_SEQUENCE);
    put_text(writer, DER_OCTET_STRING, response->token);
    put_text(writer, 0x18, text);
    asn1_close(writer, info);
}

/* CMCStatusInfo ::= SEQUENCE { cMCStatus, bodyList, statusString, otherInfo }. */
static void
put_status(struct asn1_writer *writer, const struct cmc_response *response)
{
    bool waits = response->count == 0;
    struct control_marks marks = control_open(writer, 1, status_info);
    size_t info = asn1_open(writer, DER_SEQUENCE);
    asn1_put_small(writer, waits ? STATUS_PENDING : STATUS_SUCCESS);
    put_references(writer, response->part);
    put_text(writer, DER_UTF8_STRING, waits ? "Taken Under Submission" : "Issued");
    if (waits)
        put_pending(writer, response);
    asn1_close(writer, info);
    control_close(writer, marks);
}

/* Which certificate of those beside the content it is: its SHA-1. */
static void
put_hash(struct asn1_writer *writer, const struct cmc_response *response)
{
    uint8_t hash[SHA_DIGEST_LENGTH];
    struct ca_bytes der = response->certificates[0];
    SHA1(der.data, der.size, hash);
    struct control_marks marks = control_open(writer, 2, add_attributes);
    size_t added = asn1_open(writer, DER_SEQUENCE);
    asn1_put_small(writer, 0);
    put_references(writer, response->part);
    size_t set = asn1_open(writer, DER_SET);
    size_t attribute = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, issued_hash);
    size_t values = asn1_open(writer, DER_SET);
    asn1_put(writer, DER_OCTET_STRING, hash, sizeof hash);
    asn1_close(writer, values);
    asn1_close(writer, attribute);
    asn1_close(writer, set);
    asn1_close(writer, added);
    control_close(writer, marks);
}

static void
put_pki_response(struct asn1_writer *writer, const struct cmc_response *response)
{
    size_t whole = asn1_open(writer, DER_SEQUENCE);
    size_t controls = asn1_open(writer, DER_SEQUENCE);
    put_status(writer, response);
    if (response->count > 0)
        put_hash(writer, response);
    if (response->transaction.size > 0) {
        struct control_marks marks = control_open(writer, 3, transaction_id);
        asn1_put_bytes(writer, DER_INTEGER, response->transaction);
        control_close(writer, marks);
    }
    if (response->nonce.size > 0) {
        struct control_marks marks = control_open(writer, 4, recipient_nonce);
        asn1_put_bytes(writer, DER_OCTET_STRING, response->nonce);
        control_close(writer, marks);
    }
    asn1_close(writer, controls);
    asn1_put(writer, DER_SEQUENCE, NULL, 0); /* cmsSequence */
    asn1_put(writer, DER_SEQUENCE, NULL, 0); /* otherMsgSequence */
    asn1_close(writer, whole);
}

/* Without a signer, as Windows takes it: the certificates prove themselves, and the
 * rest comes over TLS. Version 3, for the content is not id-data (RFC 5652 5.1). */
void
cmc_put_response(struct asn1_writer *writer, const struct cmc_response *response)
{
    struct cms_marks marks = cms_open(writer, cms_signed_data);
    asn1_put_small(writer, 3);
    asn1_put(writer, DER_SET, NULL, 0);
    size_t info = asn1_open(writer, DER_SEQUENCE);
    asn1_put_bytes(writer, DER_OID, cmc_pki_response);
    size_t explicit = asn1_open(writer, DER_CONTEXT_CONSTRUCTED(0));
    size_t content = asn1_open(writer, DER_OCTET_STRING);
    put_pki_response(writer, response);
    asn1_close(writer, content);
    asn1_close(writer, explicit);
    asn1_close(writer, info);
    if (response->count > 0) {
        size_t set = asn1_open(writer, DER_CONTEXT_CONSTRUCTED(0));
        for (size_t i = 0; i < response->count; i++)
            asn1_put_raw(writer, response->certificates[i]);
        asn1_close(writer, set);
    }
    asn1_put(writer, DER_SET, NULL, 0);
    cms_close(writer, marks);
}
