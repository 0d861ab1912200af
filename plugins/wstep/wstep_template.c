/* Which certificate template a request names: the extension with its OID, that with its
 * name ([MS-WCCE] 2.2.2.7.7), or a name-value pair of the enrolment. */
#include "wstep.h"
#include <openssl/asn1.h>
#include <openssl/objects.h>
#include <string.h>
#include <strings.h>

#define OID_MICROSOFT(...) 0x2b, 0x06, 0x01, 0x04, 0x01, 0x82, 0x37, __VA_ARGS__
#define PAIR_NAME "CertificateTemplate"

static const struct ca_bytes extension_request =
    DER_OID_BYTES(0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x0e);
static const struct ca_bytes old_extension_request =
    DER_OID_BYTES(OID_MICROSOFT(0x02, 0x01, 0x0e));
static const struct ca_bytes name_value_pair =
    DER_OID_BYTES(OID_MICROSOFT(0x0d, 0x02, 0x01));
static const struct ca_bytes template_name = DER_OID_BYTES(OID_MICROSOFT(0x14, 0x02));
static const struct ca_bytes template_oid = DER_OID_BYTES(OID_MICROSOFT(0x15, 0x07));

/* Keeps a text; twice the same does no harm, two that differ do. */
static bool
keep(char kept[WSTEP_TEMPLATE_MAX + 1], const char *text)
{
    if (kept[0])
        return strcmp(kept, text) == 0;
    size_t size = strlen(text);
    if (size == 0 || size > WSTEP_TEMPLATE_MAX)
        return false;
    memcpy(kept, text, size + 1);
    return true;
}

/* Printable ASCII of a string of any kind that Windows writes: names of profiles have
 * nothing else. */
static bool
text_of(uint8_t tag, struct ca_bytes octets, char ret_text[WSTEP_TEMPLATE_MAX + 1])
{
    size_t step = tag == DER_BMP_STRING ? 2 : 1, length = 0;
    if (tag != DER_BMP_STRING && tag != DER_UTF8_STRING &&
        tag != DER_PRINTABLE_STRING && tag != DER_IA5_STRING)
        return false;
    if (octets.size % step != 0 || octets.size / step > WSTEP_TEMPLATE_MAX)
        return false;
    for (size_t i = 0; i < octets.size; i += step) {
        uint8_t last = octets.data[i + step - 1];
        if ((step == 2 && octets.data[i] != 0) || last < 0x20 || last > 0x7e)
            return false;
        ret_text[length++] = (char)last;
    }
    ret_text[length] = '\0';
    return true;
}

static bool
take_text(struct ca_bytes *from, char ret_text[WSTEP_TEMPLATE_MAX + 1])
{
    uint8_t tag;
    struct ca_bytes octets;
    return asn1_take_any(from, &tag, &octets, NULL) && text_of(tag, octets, ret_text);
}

/* CertificateTemplateOID ::= SEQUENCE { templateID, versions OPTIONAL }. */
static bool
take_oid(struct ca_bytes value, char ret_text[WSTEP_TEMPLATE_MAX + 1])
{
    struct ca_bytes inside, oid;
    if (!asn1_take(&value, DER_SEQUENCE, &inside) || value.size > 0 ||
        !asn1_take_whole(&inside, DER_OID, &oid))
        return false;
    const uint8_t *at = oid.data;
    ASN1_OBJECT *object = d2i_ASN1_OBJECT(NULL, &at, (long)oid.size);
    int length = object ? OBJ_obj2txt(ret_text, WSTEP_TEMPLATE_MAX + 1, object, 1) : 0;
    ASN1_OBJECT_free(object);
    return length > 0 && length <= WSTEP_TEMPLATE_MAX;
}

static bool
extension_read(struct ca_bytes extension, struct wstep_template *template)
{
    char text[WSTEP_TEMPLATE_MAX + 1];
    struct ca_bytes type, value;
    if (!asn1_take(&extension, DER_OID, &type))
        return false;
    asn1_take(&extension, DER_BOOLEAN, NULL);
    if (!asn1_take(&extension, DER_OCTET_STRING, &value) || extension.size > 0)
        return false;
    if (asn1_equal(type, template_oid))
        return take_oid(value, text) && keep(template->oid, text);
    if (asn1_equal(type, template_name))
        return take_text(&value, text) && value.size == 0 && keep(template->name, text);
    return true;
}

static bool
extensions_read(struct ca_bytes values, struct wstep_template *template)
{
    struct ca_bytes list, extension;
    if (!asn1_take(&values, DER_SEQUENCE, &list) || values.size > 0)
        return false;
    while (list.size > 0) {
        if (!asn1_take(&list, DER_SEQUENCE, &extension) ||
            !extension_read(extension, template))
            return false;
    }
    return true;
}

/* EnrollmentNameValuePair ::= SEQUENCE { name BMPString, value BMPString }. */
static bool
pair_read(struct ca_bytes values, struct wstep_template *template)
{
    char name[WSTEP_TEMPLATE_MAX + 1], value[WSTEP_TEMPLATE_MAX + 1];
    struct ca_bytes pair;
    while (values.size > 0) {
        if (!asn1_take(&values, DER_SEQUENCE, &pair))
            return false;
        /* Other pairs have texts that are longer or in other letters. */
        if (!take_text(&pair, name) || strcasecmp(name, PAIR_NAME) != 0)
            continue;
        if (!take_text(&pair, value) || pair.size > 0 || !keep(template->name, value))
            return false;
    }
    return true;
}

/* SET OF Attribute, of PKCS#10 or CMC. */
static bool
attributes_read(struct ca_bytes attributes, struct wstep_template *template)
{
    struct ca_bytes attribute, type, values;
    while (attributes.size > 0) {
        if (!asn1_take(&attributes, DER_SEQUENCE, &attribute) ||
            !asn1_take(&attribute, DER_OID, &type) ||
            !asn1_take(&attribute, DER_SET, &values) || attribute.size > 0)
            return false;
        bool is_good = true;
        if (asn1_equal(type, extension_request) ||
            asn1_equal(type, old_extension_request))
            is_good = extensions_read(values, template);
        else if (asn1_equal(type, name_value_pair))
            is_good = pair_read(values, template);
        if (!is_good)
            return false;
    }
    return true;
}

static int
digit_of(uint8_t octet)
{
    static const char digits[] = "0123456789abcdef";
    const char *found = octet ? strchr(digits, octet | 0x20) : NULL;
    return found && *found ? (int)(found - digits) : -1;
}

/* The text of a percent-encoded value. */
static bool
value_decode(struct ca_bytes value, char ret_text[WSTEP_TEMPLATE_MAX + 1])
{
    size_t length = 0;
    for (size_t i = 0; i < value.size; i++) {
        int octet = value.data[i];
        if (octet == '%') {
            if (value.size - i < 3)
                return false;
            int high = digit_of(value.data[i + 1]), low = digit_of(value.data[i + 2]);
            octet = high < 0 || low < 0 ? -1 : high << 4 | low;
            i += 2;
        }
        if (octet < 0x20 || octet > 0x7e || length == WSTEP_TEMPLATE_MAX)
            return false;
        ret_text[length++] = (char)octet;
    }
    ret_text[length] = '\0';
    return true;
}

/* RFC 5272 6.12: name=value pairs between '&'. */
static bool
registration_read(struct ca_bytes octets, struct wstep_template *template)
{
    static const char wanted[] = PAIR_NAME "=";
    const size_t prefix = sizeof wanted - 1;
    char text[WSTEP_TEMPLATE_MAX + 1];
    while (octets.size > 0) {
        const uint8_t *end = memchr(octets.data, '&', octets.size);
        struct ca_bytes pair = { octets.data,
                                 end ? (size_t)(end - octets.data) : octets.size };
        size_t taken = pair.size + (end != NULL);
        octets = (struct ca_bytes){ octets.data + taken, octets.size - taken };
        if (pair.size <= prefix ||
            strncasecmp((const char *)pair.data, wanted, prefix) != 0)
            continue;
        struct ca_bytes value = { pair.data + prefix, pair.size - prefix };
        if (!value_decode(value, text) || !keep(template->name, text))
            return false;
    }
    return true;
}

enum ca_status
wstep_template_read(const struct wstep_content *content,
                    struct wstep_template *ret_template)
{
    struct wstep_template template = { 0 };
    if (!attributes_read(content->pkcs10.attributes, &template) ||
        !attributes_read(content->cmc.attributes, &template) ||
        !registration_read(content->cmc.registration, &template))
        return ca_fail(CA_MALFORMED, "the template that is asked for is none");
    *ret_template = template;
    return CA_OK;
}
