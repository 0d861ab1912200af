/* Alternative names as "type:value", both ways, each with the syntax of RFC 5280
 * section 4.2.1.6. */
#include "names.h"
#include "names_text.h"
#include <arpa/inet.h>
#include <string.h>

#define DNS_NAME_MAX 253
#define DNS_LABEL_MAX 63
#define MAILBOX_MAX 254
#define LOCAL_PART_MAX 64
#define UPN_MAX 256

const char *const names_san_words[] = {
    [SAN_DNS] = "dns", [SAN_EMAIL] = "email", [SAN_IP] = "ip",
    [SAN_URI] = "uri", [SAN_UPN] = "upn",     NULL
};

/* RFC 1034 section 3.5 preferred syntax; no number at the end, which would read as an
 * IPv4 address (RFC 1123 section 2.1); '*' only as the whole first label, and only
 * for those who ask. */
static bool
is_dns_name(const char *value, bool takes_wildcard)
{
    size_t length = strlen(value);
    if (length == 0 || length > DNS_NAME_MAX)
        return false;
    if (takes_wildcard && strncmp(value, "*.", 2) == 0 && strchr(value + 2, '.'))
        value += 2;
    for (;;) {
        size_t label =
            strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                          "0123456789-");
        if (label == 0 || label > DNS_LABEL_MAX || value[0] == '-' ||
            value[label - 1] == '-')
            return false;
        bool is_number = strspn(value, "0123456789") == label;
        value += label;
        if (*value == '\0')
            return !is_number;
        if (*value++ != '.')
            return false;
    }
}

/* RFC 5280 section 4.2.1.6: Mailbox without quoting, ASCII only. */
static bool
is_mailbox(const char *value)
{
    const char *at = strrchr(value, '@');
    if (!at || strlen(value) > MAILBOX_MAX || !is_dns_name(at + 1, false))
        return false;
    size_t local = (size_t)(at - value);
    size_t atoms = strspn(value, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789!#$%&'*+-/=?^_`{|}~.");
    return local > 0 && local <= LOCAL_PART_MAX && atoms == local && value[0] != '.' &&
           at[-1] != '.' && !memmem(value, local, "..", 2);
}

static const char *const uri_schemes[] = { "http://", "https://", "ldap://", "urn:" };

/* RFC 3986 characters only, a scheme of the list, and something behind it; http and its
 * kind need a host. */
static bool
is_uri(const char *value)
{
    size_t i = 0, count = sizeof uri_schemes / sizeof uri_schemes[0];
    while (i < count && strncmp(value, uri_schemes[i], strlen(uri_schemes[i])) != 0)
        i++;
    if (i == count || strlen(value) > NAMES_VALUE_MAX)
        return false;
    const char *rest = value + strlen(uri_schemes[i]);
    bool has_host = uri_schemes[i][strlen(uri_schemes[i]) - 1] == '/';
    if (*rest == '\0' || (has_host && strchr("/?#:@", *rest)))
        return false;
    for (; *rest; rest++) {
        char pair[3] = { rest[1], rest[1] ? rest[2] : '\0', '\0' };
        uint8_t octet;
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                    "-._~:/?#[]@!$&'()*+,;=%",
                    *rest) ||
            (*rest == '%' && !hex_parse(pair, &octet, 1)))
            return false;
    }
    return true;
}

/* "user@domain" in UTF-8 (szOID_NT_PRINCIPAL_NAME). */
static bool
is_upn(const char *value)
{
    const char *at = strchr(value, '@');
    return at && at > value && at[1] && !strchr(at + 1, '@') &&
           strlen(value) <= UPN_MAX && text_is_clean(value, strlen(value));
}

static bool
is_address(const char *value)
{
    uint8_t octets[16];
    return inet_pton(AF_INET, value, octets) == 1 ||
           inet_pton(AF_INET6, value, octets) == 1;
}

bool
names_san_is_good(enum san_type type, const char *value, char *ret_reason, size_t size)
{
    bool is_good = (type == SAN_DNS && is_dns_name(value, true)) ||
                   (type == SAN_EMAIL && is_mailbox(value)) ||
                   (type == SAN_IP && is_address(value)) ||
                   (type == SAN_URI && is_uri(value)) ||
                   (type == SAN_UPN && is_upn(value));
    if (!is_good && (unsigned)type <= SAN_UPN)
        snprintf(ret_reason, size, "'%.64s' is no %s name", value,
                 names_san_words[type]);
    return is_good;
}

bool
names_san_parse(const char *text, enum san_type *ret_type, const char **ret_value)
{
    for (int type = 0; names_san_words[type]; type++) {
        size_t length = strlen(names_san_words[type]);
        if (strncmp(text, names_san_words[type], length) == 0 && text[length] == ':') {
            *ret_type = (enum san_type)type;
            *ret_value = text + length + 1;
            return true;
        }
    }
    return false;
}

/* Case that means nothing is folded: all of a DNS name, the domain of a mailbox. */
static void
fold_case(enum san_type type, char *value)
{
    char *at = type == SAN_DNS ? value : type == SAN_EMAIL ? strrchr(value, '@') : NULL;
    for (; at && *at; at++) {
        if (*at >= 'A' && *at <= 'Z')
            *at = (char)(*at - 'A' + 'a');
    }
}

static GENERAL_NAME *
string_name(int type, int form, const char *value)
{
    CA_AUTO(GENERAL_NAME_free) GENERAL_NAME *name = GENERAL_NAME_new();
    ASN1_STRING *string = ASN1_STRING_type_new(form);
    if (!name || !string || !ASN1_STRING_set(string, value, (int)strlen(value))) {
        ASN1_STRING_free(string);
        return NULL;
    }
    GENERAL_NAME_set0_value(name, type, string);
    return CA_STEAL(name);
}

static GENERAL_NAME *
address_name(const char *value)
{
    uint8_t octets[16];
    int size = inet_pton(AF_INET, value, octets) == 1 ? 4 : 16;
    if (size == 16 && inet_pton(AF_INET6, value, octets) != 1)
        return NULL;
    CA_AUTO(GENERAL_NAME_free) GENERAL_NAME *name = GENERAL_NAME_new();
    CA_AUTO(ASN1_OCTET_STRING_free) ASN1_OCTET_STRING *string = ASN1_OCTET_STRING_new();
    if (!name || !string || !ASN1_OCTET_STRING_set(string, octets, size))
        return NULL;
    GENERAL_NAME_set0_value(name, GEN_IPADD, CA_STEAL(string));
    return CA_STEAL(name);
}

static GENERAL_NAME *
upn_name(const char *value)
{
    CA_AUTO(GENERAL_NAME_free) GENERAL_NAME *name = GENERAL_NAME_new();
    CA_AUTO(ASN1_TYPE_free) ASN1_TYPE *any = ASN1_TYPE_new();
    ASN1_STRING *string = ASN1_STRING_type_new(V_ASN1_UTF8STRING);
    if (!name || !any || !string ||
        !ASN1_STRING_set(string, value, (int)strlen(value))) {
        ASN1_STRING_free(string);
        return NULL;
    }
    ASN1_TYPE_set(any, V_ASN1_UTF8STRING, string);
    if (!GENERAL_NAME_set0_othername(name, OBJ_nid2obj(NID_ms_upn), any))
        return NULL;
    (void)CA_STEAL(any);
    return CA_STEAL(name);
}

GENERAL_NAME *
names_san_new(enum san_type type, const char *value)
{
    char reason[160];
    CA_AUTO(free) char *folded = strdup(value);
    if (!folded || !names_san_is_good(type, value, reason, sizeof reason))
        return NULL;
    fold_case(type, folded);
    switch (type) {
    case SAN_DNS: return string_name(GEN_DNS, V_ASN1_IA5STRING, folded);
    case SAN_EMAIL: return string_name(GEN_EMAIL, V_ASN1_IA5STRING, folded);
    case SAN_URI: return string_name(GEN_URI, V_ASN1_IA5STRING, folded);
    case SAN_IP: return address_name(folded);
    case SAN_UPN: return upn_name(folded);
    }
    return NULL;
}

/* "type:value" of a string that could be issued; NULL for one that could not, as with a
 * NUL inside. */
static char *
format_string(enum san_type type, const ASN1_STRING *string)
{
    char reason[160], *text = NULL;
    CA_AUTO(free)
    char *value = strndup((const char *)ASN1_STRING_get0_data(string),
                          (size_t)ASN1_STRING_length(string));
    if (!value || strlen(value) != (size_t)ASN1_STRING_length(string) ||
        !names_san_is_good(type, value, reason, sizeof reason))
        return NULL;
    fold_case(type, value);
    return asprintf(&text, "%s:%s", names_san_words[type], value) < 0 ? NULL : text;
}

static char *
format_address(const ASN1_STRING *string)
{
    char address[INET6_ADDRSTRLEN], *text = NULL;
    int size = ASN1_STRING_length(string);
    if ((size != 4 && size != 16) ||
        !inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(string),
                   address, sizeof address))
        return NULL;
    return asprintf(&text, "ip:%s", address) < 0 ? NULL : text;
}

char *
names_format(const GENERAL_NAME *name)
{
    ASN1_OBJECT *object = NULL;
    ASN1_TYPE *any = NULL;
    switch (name->type) {
    case GEN_DNS: return format_string(SAN_DNS, name->d.dNSName);
    case GEN_EMAIL: return format_string(SAN_EMAIL, name->d.rfc822Name);
    case GEN_URI: return format_string(SAN_URI, name->d.uniformResourceIdentifier);
    case GEN_IPADD: return format_address(name->d.iPAddress);
    case GEN_OTHERNAME:
        if (!GENERAL_NAME_get0_otherName(name, &object, &any) ||
            OBJ_obj2nid(object) != NID_ms_upn || !any || any->type != V_ASN1_UTF8STRING)
            return NULL;
        return format_string(SAN_UPN, any->value.utf8string);
    default: return NULL;
    }
}
