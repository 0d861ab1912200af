/* Subjects as text, both ways: RFC 4514 escapes, the bounds of RFC 5280. */
#include "names_text.h"
#include "names.h"
#include <openssl/err.h>
#include <stdarg.h>
#include <string.h>

#define SPECIAL_CHARACTERS ",+\"\\<>;="

static const struct names_type types[] = {
    { "CN", NID_commonName, NAMES_DIRECTORY, 64 },
    { "O", NID_organizationName, NAMES_DIRECTORY, 64 },
    { "OU", NID_organizationalUnitName, NAMES_DIRECTORY, 64 },
    { "C", NID_countryName, NAMES_PRINTABLE, 2 },
    { "ST", NID_stateOrProvinceName, NAMES_DIRECTORY, 128 },
    { "L", NID_localityName, NAMES_DIRECTORY, 128 },
    { "STREET", NID_streetAddress, NAMES_DIRECTORY, 128 },
    { "DC", NID_domainComponent, NAMES_IA5, 63 },
    { "UID", NID_userId, NAMES_DIRECTORY, 256 },
    { "serialNumber", NID_serialNumber, NAMES_PRINTABLE, 64 },
    { "emailAddress", NID_pkcs9_emailAddress, NAMES_IA5, 255 },
    { "GN", NID_givenName, NAMES_DIRECTORY, 64 },
    { "SN", NID_surname, NAMES_DIRECTORY, 64 },
    { "initials", NID_initials, NAMES_DIRECTORY, 64 },
    { "generationQualifier", NID_generationQualifier, NAMES_DIRECTORY, 64 },
    { "title", NID_title, NAMES_DIRECTORY, 64 },
    { "pseudonym", NID_pseudonym, NAMES_DIRECTORY, 128 },
    { "dnQualifier", NID_dnQualifier, NAMES_PRINTABLE, 64 },
    { "organizationIdentifier", NID_organizationIdentifier, NAMES_DIRECTORY, 64 },
};

static const struct {
    const char *label;
    int nid;
} other_labels[] = {
    { "E", NID_pkcs9_emailAddress },  { "email", NID_pkcs9_emailAddress },
    { "S", NID_stateOrProvinceName }, { "givenName", NID_givenName },
    { "surname", NID_surname },       { "T", NID_title },
};

static bool __attribute__((format(printf, 3, 4)))
refuse(char *ret_reason, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(ret_reason, size, format, args);
    va_end(args);
    return false;
}

const struct names_type *
names_type_of(int nid)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (types[i].nid == nid)
            return &types[i];
    }
    return NULL;
}

static const struct names_type *
type_of_label(const char *label)
{
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        if (text_equal_ignoring_case(types[i].label, label))
            return &types[i];
    }
    for (size_t i = 0; i < sizeof other_labels / sizeof other_labels[0]; i++) {
        if (text_equal_ignoring_case(other_labels[i].label, label))
            return names_type_of(other_labels[i].nid);
    }
    return NULL;
}

/* "TYPE=" at the cursor, blanks around it skipped. */
static const struct names_type *
read_type(const char **cursor, char *ret_reason, size_t size)
{
    char label[32];
    const char *at = *cursor + strspn(*cursor, " ");
    size_t length = strcspn(at, "= ,+\\\"");
    const char *equals = at + length + strspn(at + length, " ");
    if (length == 0 || length >= sizeof label || *equals != '=') {
        refuse(ret_reason, size, "has no TYPE=value where one must be");
        return NULL;
    }
    memcpy(label, at, length);
    label[length] = '\0';
    const struct names_type *type = type_of_label(label);
    if (!type)
        refuse(ret_reason, size, "has an unknown attribute type '%s'", label);
    else
        *cursor = equals + 1;
    return type;
}

/* The octets after a backslash: a special character, or two hex digits (RFC 4514
 * section 2.4). How many characters it took; 0 when it is neither. */
static size_t
read_escape(const char *at, char *ret_octet)
{
    if (*at && strchr(SPECIAL_CHARACTERS " #", *at)) {
        *ret_octet = *at;
        return 1;
    }
    char digits[3] = { at[0], at[0] ? at[1] : '\0', '\0' };
    return hex_parse(digits, ret_octet, 1) ? 2 : 0;
}

/* The value up to an unescaped ',' or '+'. Trailing blanks go unless escaped. */
static bool
read_value(const char **cursor, bool is_template, char *value, char *ret_reason,
           size_t size)
{
    const char *at = *cursor + strspn(*cursor, " ");
    size_t used = 0, kept = 0; /* kept: without blanks at the end */
    bool is_inside = false;    /* between {{ and }} */
    while (*at && (is_inside || (*at != ',' && *at != '+'))) {
        char octet = *at;
        size_t took = 1;
        bool is_escaped = !is_inside && octet == '\\';
        if (is_escaped)
            took += read_escape(at + 1, &octet);
        else if (!is_inside && strchr("\";<>", octet))
            return refuse(ret_reason, size, "has a '%c' without a backslash", octet);
        if (is_escaped &&
            (took == 1 || (is_template && (octet == '{' || octet == '}'))))
            return refuse(ret_reason, size, "has a bad escape");
        if (octet == '\0')
            return refuse(ret_reason, size, "has a NUL");
        if (used == NAMES_VALUE_MAX)
            return refuse(ret_reason, size, "has a value above %d octets",
                          NAMES_VALUE_MAX);
        if (is_template && !is_escaped && (octet == '{' || octet == '}') &&
            at[1] == octet)
            is_inside = octet == '{';
        value[used++] = octet;
        if (octet != ' ' || is_escaped || is_inside)
            kept = used;
        at += took;
    }
    value[kept] = '\0';
    *cursor = at;
    return true;
}

bool
names_next_attribute(const char **cursor, bool is_template, bool joins,
                     struct names_attribute *ret_attribute, char *ret_reason,
                     size_t size)
{
    const char *at = *cursor;
    const struct names_type *type = read_type(&at, ret_reason, size);
    if (!type || !read_value(&at, is_template, ret_attribute->value, ret_reason, size))
        return false;
    if (*at && at[1 + strspn(at + 1, " ")] == '\0')
        return refuse(ret_reason, size, "ends in a '%c'", *at);
    ret_attribute->type = type;
    ret_attribute->joins = joins;
    *cursor = at;
    return true;
}

/* PrintableString's alphabet (X.680 section 41.4). */
static bool
is_printable(const char *value)
{
    return value[strspn(value, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                               "0123456789 '()+,-./:=?")] == '\0';
}

static bool
is_ascii(const char *value)
{
    for (; *value; value++) {
        if ((unsigned char)*value < 0x20 || (unsigned char)*value > 0x7e)
            return false;
    }
    return true;
}

static long
character_count(const char *value)
{
    long count = 0;
    for (; *value; value++)
        count += ((unsigned char)*value & 0xc0) != 0x80;
    return count;
}

bool
names_add_attribute(X509_NAME *name, const struct names_attribute *attribute,
                    char *ret_reason, size_t size)
{
    const struct names_type *type = attribute->type;
    const char *value = attribute->value;
    if (*value == '\0')
        return refuse(ret_reason, size, "has an empty %s", type->label);
    if (!text_is_clean(value, strlen(value)))
        return refuse(ret_reason, size, "has control characters or no UTF-8 in %s",
                      type->label);
    long characters = character_count(value);
    if (characters > type->max || (type->nid == NID_countryName && characters != 2))
        return refuse(ret_reason, size, "has a %s of %ld characters, %s %ld",
                      type->label, characters,
                      type->nid == NID_countryName ? "not" : "more than", type->max);
    if ((type->syntax == NAMES_PRINTABLE && !is_printable(value)) ||
        (type->syntax == NAMES_IA5 && !is_ascii(value)))
        return refuse(ret_reason, size, "has characters in %s that it cannot have",
                      type->label);
    if (type->nid == NID_pkcs9_emailAddress &&
        !names_san_is_good(SAN_EMAIL, value, ret_reason, size))
        return false;
    if (X509_NAME_entry_count(name) >= NAMES_ATTRIBUTES_MAX)
        return refuse(ret_reason, size, "has more than %d attributes",
                      NAMES_ATTRIBUTES_MAX);
    int form = type->syntax == NAMES_IA5 ? V_ASN1_IA5STRING
               : is_printable(value)     ? V_ASN1_PRINTABLESTRING
                                         : V_ASN1_UTF8STRING;
    bool joins = attribute->joins && X509_NAME_entry_count(name) > 0;
    if (!X509_NAME_add_entry_by_NID(name, type->nid, form, (const unsigned char *)value,
                                    (int)strlen(value), -1, joins ? -1 : 0))
        return refuse(ret_reason, size, "cannot be encoded");
    return true;
}

enum ca_status
names_parse_subject(const char *text, X509_NAME **ret_name)
{
    CA_AUTO(X509_NAME_free) X509_NAME *name = X509_NAME_new();
    if (!name)
        return ca_fail(CA_INTERNAL, "no memory for a subject");
    char reason[160];
    struct names_attribute attribute;
    bool joins = false;
    while (*text) {
        if (!names_next_attribute(&text, false, joins, &attribute, reason,
                                  sizeof reason) ||
            !names_add_attribute(name, &attribute, reason, sizeof reason))
            return ca_fail(CA_MALFORMED, "subject %s", reason);
        joins = *text == '+';
        text += *text != '\0';
    }
    *ret_name = CA_STEAL(name);
    return CA_OK;
}

/* RFC 4514 section 2.4; control characters and what is no UTF-8 as \XX. */
static void
append_escaped(struct text_buffer *buffer, const char *value, size_t size)
{
    bool is_clean = text_is_clean(value, size);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)value[i];
        bool is_edge = (c == ' ' && (i == 0 || i + 1 == size)) || (c == '#' && i == 0);
        if (c < 0x20 || c == 0x7f || (c >= 0x80 && !is_clean))
            text_print(buffer, "\\%02X", c);
        else if (is_edge || strchr(SPECIAL_CHARACTERS, c))
            text_print(buffer, "\\%c", c);
        else
            text_append(buffer, &value[i], 1);
    }
}

static void
append_entry(struct text_buffer *buffer, const X509_NAME_ENTRY *entry)
{
    const ASN1_OBJECT *object = X509_NAME_ENTRY_get_object(entry);
    const struct names_type *type = names_type_of(OBJ_obj2nid(object));
    char oid[128] = "";
    OBJ_obj2txt(oid, sizeof oid, object, 1);
    text_print(buffer, "%s=", type ? type->label : oid);
    CA_AUTO(openssl_free) uint8_t *utf8 = NULL;
    const ASN1_STRING *value = X509_NAME_ENTRY_get_data(entry);
    int size = ASN1_STRING_to_UTF8(&utf8, value);
    if (size >= 0)
        append_escaped(buffer, (const char *)utf8, (size_t)size);
    else
        append_escaped(buffer, (const char *)ASN1_STRING_get0_data(value),
                       (size_t)ASN1_STRING_length(value));
}

char *
names_format_subject(const X509_NAME *name)
{
    CA_AUTO(text_buffer_clear) struct text_buffer buffer = { 0 };
    int set = -1;
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        const X509_NAME_ENTRY *entry = X509_NAME_get_entry(name, i);
        if (i > 0)
            text_append(&buffer, X509_NAME_ENTRY_set(entry) == set ? "+" : ",", 1);
        set = X509_NAME_ENTRY_set(entry);
        append_entry(&buffer, entry);
    }
    text_append(&buffer, "", 1);
    ERR_clear_error();
    return buffer.failed ? NULL : CA_STEAL(buffer.data);
}
