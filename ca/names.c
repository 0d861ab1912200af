/* The names of a certificate: expanded from the profile, granted beside it, asked for
 * by the request, and each judged before it is issued. */
#include "names.h"
#include "csr.h"
#include "names_text.h"
#include "names_variable.h"
#include <openssl/err.h>
#include <string.h>

#define REASON_SIZE 160

/* What is being built, and for whom. */
struct builder {
    const struct certificate_profile *profile;
    const struct names_sources *sources;
    struct names_variables variables;
    X509_NAME *parsed;        /* granted_subject, until it becomes the names' subject */
    const X509_NAME *granted; /* that name in either place, or NULL */
    struct names names;       /* the result as far as it has come */
};

static void
builder_clear(struct builder *builder)
{
    X509_NAME_free(builder->parsed);
    names_clear(&builder->names);
}

static void
builder_clear_auto(struct builder *builder)
{
    builder_clear(builder);
}

/* ---- Templates as a profile has them ---- */

bool
names_check_subject(const char *subject, char *ret_reason, size_t size)
{
    CA_AUTO(X509_NAME_free) X509_NAME *scratch = X509_NAME_new();
    struct names_attribute attribute;
    int count = 0;
    while (scratch && *subject) {
        if (!names_next_attribute(&subject, true, false, &attribute, ret_reason,
                                  size) ||
            !template_check(attribute.value, names_variable_is_known, ret_reason, size))
            return false;
        if (++count > NAMES_ATTRIBUTES_MAX) {
            snprintf(ret_reason, size, "has more than %d attributes",
                     NAMES_ATTRIBUTES_MAX);
            return false;
        }
        bool is_literal = !strstr(attribute.value, "{{");
        if (is_literal && !names_add_attribute(scratch, &attribute, ret_reason, size))
            return false;
        subject += *subject != '\0';
    }
    return true;
}

bool
names_check_san(enum san_type type, const char *value, char *ret_reason, size_t size)
{
    if (!template_check(value, names_variable_is_known, ret_reason, size))
        return false;
    return strstr(value, "{{") || names_san_is_good(type, value, ret_reason, size);
}

/* ---- Subject ---- */

/* The profile's subject. Values are put in after the text is taken apart, so that a
 * comma in a user's name stays in its attribute; one that comes out empty is left out.
 */
static enum ca_status
expand_subject(struct builder *builder)
{
    const char *at = builder->profile->subject ? builder->profile->subject : "";
    char reason[REASON_SIZE];
    struct names_attribute attribute;
    bool joins = false;
    while (*at) {
        if (!names_next_attribute(&at, true, joins, &attribute, reason, sizeof reason))
            return ca_fail(CA_INTERNAL, "the profile's subject %s", reason);
        CA_AUTO(free) char *value = NULL;
        enum ca_status status =
            template_expand(attribute.value, names_variable_look_up,
                            &builder->variables, NAMES_VALUE_MAX, &value);
        if (status != CA_OK)
            return status;
        strcpy(attribute.value, value);
        if (*value && !names_add_attribute(builder->names.subject, &attribute, reason,
                                           sizeof reason))
            return ca_fail(CA_FORBIDDEN, "subject %s", reason);
        joins = *at == '+' && *value;
        at += *at != '\0';
    }
    return CA_OK;
}

static enum ca_status
build_subject(struct builder *builder)
{
    const char *granted = builder->sources->granted_subject;
    if (granted) {
        enum ca_status status = names_parse_subject(granted, &builder->parsed);
        if (status != CA_OK)
            return status;
        builder->granted = builder->parsed;
    }
    if (builder->granted && builder->profile->names_from_challenge) {
        builder->names.subject = CA_STEAL(builder->parsed);
        return CA_OK;
    }
    builder->names.subject = X509_NAME_new();
    return builder->names.subject ? expand_subject(builder)
                                  : ca_fail(CA_INTERNAL, "no memory for a subject");
}

/* Equal types, and values that differ in nothing but string form and ASCII case. */
static bool
is_same_attribute(const X509_NAME_ENTRY *a, const X509_NAME_ENTRY *b)
{
    if (OBJ_cmp(X509_NAME_ENTRY_get_object(a), X509_NAME_ENTRY_get_object(b)) != 0)
        return false;
    CA_AUTO(openssl_free) uint8_t *a_text = NULL;
    CA_AUTO(openssl_free) uint8_t *b_text = NULL;
    int a_size = ASN1_STRING_to_UTF8(&a_text, X509_NAME_ENTRY_get_data(a));
    int b_size = ASN1_STRING_to_UTF8(&b_text, X509_NAME_ENTRY_get_data(b));
    return a_size >= 0 && a_size == b_size &&
           strlen((char *)a_text) == (size_t)a_size &&
           text_equal_ignoring_case((char *)a_text, (char *)b_text);
}

static bool
has_attribute(const X509_NAME *name, const X509_NAME_ENTRY *entry)
{
    for (int i = 0; i < X509_NAME_entry_count(name); i++) {
        if (is_same_attribute(X509_NAME_get_entry(name, i), entry))
            return true;
    }
    return false;
}

static bool
has_type(const X509_NAME *name, const X509_NAME_ENTRY *entry)
{
    return name &&
           X509_NAME_get_index_by_OBJ(name, X509_NAME_ENTRY_get_object(entry), -1) >= 0;
}

/* May the request ask for this attribute? What the challenge or the renewed certificate
 * says about its type binds; otherwise it must be one that will be issued. */
static bool
is_granted_attribute(const struct builder *builder, const X509_NAME_ENTRY *entry)
{
    if (has_type(builder->granted, entry))
        return has_attribute(builder->granted, entry);
    return builder->profile->from_request.subject == SUBJECT_TAKE ||
           has_attribute(builder->names.subject, entry);
}

static enum ca_status
judge_subject(const struct builder *builder)
{
    X509_REQ *request = builder->sources->request;
    if (!request || builder->profile->from_request.subject == SUBJECT_IGNORE)
        return CA_OK;
    const X509_NAME *asked = X509_REQ_get_subject_name(request);
    int count = X509_NAME_entry_count(asked);
    if (count > NAMES_ATTRIBUTES_MAX)
        return ca_fail(CA_FORBIDDEN, "the request's subject has %d attributes", count);
    for (int i = 0; i < count; i++) {
        if (is_granted_attribute(builder, X509_NAME_get_entry(asked, i)))
            continue;
        CA_AUTO(free) char *text = names_format_subject(asked);
        ERR_clear_error();
        return ca_fail(CA_FORBIDDEN, "the request asks for subject '%.200s'",
                       text ? text : "");
    }
    return CA_OK;
}

/* ---- Alternative names ---- */

static bool
has_san(const GENERAL_NAMES *names, const char *text)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        CA_AUTO(free) char *one = names_format(sk_GENERAL_NAME_value(names, i));
        if (one && strcmp(one, text) == 0)
            return true;
    }
    return false;
}

/* One more name to issue, once. */
static enum ca_status
add_san(struct builder *builder, enum san_type type, const char *value)
{
    char reason[REASON_SIZE];
    if (!names_san_is_good(type, value, reason, sizeof reason))
        return ca_fail(CA_FORBIDDEN, "subjectAltName: %s", reason);
    CA_AUTO(GENERAL_NAME_free) GENERAL_NAME *name = names_san_new(type, value);
    CA_AUTO(free) char *text = name ? names_format(name) : NULL;
    if (!builder->names.san)
        builder->names.san = sk_GENERAL_NAME_new_null();
    if (!text || !builder->names.san)
        return ca_fail(CA_INTERNAL, "no memory for a subjectAltName");
    if (has_san(builder->names.san, text))
        return CA_OK;
    if (sk_GENERAL_NAME_num(builder->names.san) >= NAMES_SAN_MAX)
        return ca_fail(CA_FORBIDDEN, "more than %d alternative names", NAMES_SAN_MAX);
    if (!sk_GENERAL_NAME_push(builder->names.san, name))
        return ca_fail(CA_INTERNAL, "no memory for a subjectAltName");
    (void)CA_STEAL(name);
    return CA_OK;
}

/* A wildcard is issued when the profile itself spells it, never by a value. */
static enum ca_status
add_profile_san(struct builder *builder, const struct profile_san *san)
{
    CA_AUTO(free) char *value = NULL;
    enum ca_status status =
        template_expand(san->value, names_variable_look_up, &builder->variables,
                        NAMES_VALUE_MAX, &value);
    if (status != CA_OK)
        return status;
    if (strchr(value, '*') && !strchr(san->value, '*') && san->type == SAN_DNS)
        return ca_fail(CA_FORBIDDEN, "subjectAltName: '%.64s' is a wildcard", value);
    return *value ? add_san(builder, (enum san_type)san->type, value) : CA_OK;
}

/* What an operator bound to a challenge, or a certificate had that is renewed. UPN says
 * who logs in: only the registry knows. */
static enum ca_status
add_granted_san(struct builder *builder, const char *text)
{
    enum san_type type;
    const char *value;
    if (!names_san_parse(text, &type, &value) || type == SAN_UPN ||
        (type == SAN_DNS && strchr(value, '*')))
        return ca_fail(CA_FORBIDDEN, "'%.64s' cannot be granted", text);
    return add_san(builder, type, value);
}

enum ca_status
names_check_granted(const char *subject, const struct field_list *san)
{
    CA_AUTO(X509_NAME_free) X509_NAME *name = NULL;
    enum ca_status status = subject ? names_parse_subject(subject, &name) : CA_OK;
    if (status != CA_OK)
        return status;
    for (size_t i = 0; san && i < san->count; i++) {
        const char *text = ((char *const *)san->items)[i], *value;
        char reason[REASON_SIZE] = "it cannot be granted";
        enum san_type type;
        if (!names_san_parse(text, &type, &value) || type == SAN_UPN ||
            (type == SAN_DNS && strchr(value, '*')) ||
            !names_san_is_good(type, value, reason, sizeof reason))
            return ca_fail(CA_MALFORMED, "san '%.64s': %s", text, reason);
    }
    return CA_OK;
}

static bool
has_granted_san(const struct names_sources *sources, const char *text)
{
    char *const *granted = sources->granted_san->items;
    for (size_t i = 0; i < sources->granted_san->count; i++) {
        enum san_type type;
        const char *value;
        if (!names_san_parse(granted[i], &type, &value))
            continue;
        CA_AUTO(GENERAL_NAME_free) GENERAL_NAME *name = names_san_new(type, value);
        CA_AUTO(free) char *one = name ? names_format(name) : NULL;
        if (one && strcmp(one, text) == 0)
            return true;
    }
    return false;
}

/* Does the profile take this name from requests? `value` is folded already; the pattern
 * is folded here. */
static bool
is_matched(const struct certificate_profile *profile, enum san_type type,
           const char *value)
{
    const struct profile_match *matches = profile->from_request.san.items;
    for (size_t i = 0; i < profile->from_request.san.count; i++) {
        if (matches[i].type != (int)type)
            continue;
        CA_AUTO(free) char *pattern = strdup(matches[i].match);
        for (char *at = pattern; at && type == SAN_DNS && *at; at++) {
            if (*at >= 'A' && *at <= 'Z')
                *at = (char)(*at - 'A' + 'a');
        }
        if (pattern && text_matches(pattern, value))
            return true;
    }
    return false;
}

/* A requested name must be one that is issued anyway, or one the profile takes from
 * requests, inside what challenge or renewal bind. */
static enum ca_status
judge_san(struct builder *builder, const GENERAL_NAME *asked)
{
    CA_AUTO(free) char *text = names_format(asked);
    if (!text)
        return ca_fail(CA_FORBIDDEN,
                       "the request asks for an alternative name of a kind or form "
                       "that is never issued");
    if (has_san(builder->names.san, text))
        return CA_OK;
    const struct names_sources *sources = builder->sources;
    enum san_type type;
    const char *value;
    bool is_bound = sources->granted_san && sources->granted_san->count > 0;
    if (!names_san_parse(text, &type, &value) || type == SAN_UPN ||
        (type == SAN_DNS && strchr(value, '*')) ||
        (is_bound && !has_granted_san(sources, text)) ||
        !is_matched(builder->profile, type, value))
        return ca_fail(CA_FORBIDDEN, "the request asks for '%.200s'", text);
    return add_san(builder, type, value);
}

static enum ca_status
judge_sans(struct builder *builder)
{
    if (!builder->sources->request)
        return CA_OK;
    CA_AUTO(GENERAL_NAMES_free) GENERAL_NAMES *asked = NULL;
    enum ca_status status = names_of_request(builder->sources->request, &asked);
    for (int i = 0; status == CA_OK && i < sk_GENERAL_NAME_num(asked); i++)
        status = judge_san(builder, sk_GENERAL_NAME_value(asked, i));
    return status;
}

static enum ca_status
build_san(struct builder *builder)
{
    const struct certificate_profile *profile = builder->profile;
    const struct profile_san *sans = profile->san.items;
    const struct field_list *granted = builder->sources->granted_san;
    enum ca_status status = CA_OK;
    for (size_t i = 0; status == CA_OK && i < profile->san.count; i++)
        status = add_profile_san(builder, &sans[i]);
    if (!granted || !profile->names_from_challenge)
        return status;
    for (size_t i = 0; status == CA_OK && i < granted->count; i++)
        status = add_granted_san(builder, ((char *const *)granted->items)[i]);
    return status;
}

enum ca_status
names_of_request(X509_REQ *request, GENERAL_NAMES **ret_san)
{
    CA_AUTO(x509_extensions_free) STACK_OF(X509_EXTENSION) *extensions = NULL;
    enum ca_status status = csr_extensions(request, &extensions);
    if (status != CA_OK)
        return status;
    int index = X509v3_get_ext_by_NID(extensions, NID_subject_alt_name, -1);
    if (index < 0) {
        *ret_san = NULL;
        return CA_OK;
    }
    const ASN1_OCTET_STRING *value =
        X509_EXTENSION_get_data(X509v3_get_ext(extensions, index));
    const uint8_t *at = ASN1_STRING_get0_data(value);
    const uint8_t *end = at + ASN1_STRING_length(value);
    CA_AUTO(GENERAL_NAMES_free)
    GENERAL_NAMES *san = d2i_GENERAL_NAMES(NULL, &at, end - at);
    if (!san || at != end)
        return ca_fail_openssl(CA_MALFORMED, "requested subjectAltName is malformed");
    if (sk_GENERAL_NAME_num(san) > NAMES_SAN_MAX)
        return ca_fail(CA_MALFORMED, "the request asks for more than %d names",
                       NAMES_SAN_MAX);
    *ret_san = CA_STEAL(san);
    return CA_OK;
}

enum ca_status
names_build(const struct certificate_profile *profile,
            const struct names_sources *sources, struct names *ret_names)
{
    CA_AUTO(builder_clear)
    struct builder builder = {
        .profile = profile,
        .sources = sources,
        .variables = { .sources = sources,
                       .takes_request = profile->from_request.subject == SUBJECT_TAKE },
    };
    enum ca_status status = build_subject(&builder);
    if (status == CA_OK)
        status = judge_subject(&builder);
    if (status == CA_OK)
        status = build_san(&builder);
    if (status == CA_OK)
        status = judge_sans(&builder);
    if (status != CA_OK)
        return status;
    if (sk_GENERAL_NAME_num(builder.names.san) <= 0) {
        sk_GENERAL_NAME_free(builder.names.san);
        builder.names.san = NULL;
        if (X509_NAME_entry_count(builder.names.subject) == 0)
            return ca_fail(CA_FORBIDDEN, "the certificate would have no name at all");
    }
    *ret_names = builder.names;
    builder.names = (struct names){ NULL, NULL };
    return CA_OK;
}

void
names_clear(struct names *names)
{
    X509_NAME_free(names->subject);
    GENERAL_NAMES_free(names->san);
    *names = (struct names){ NULL, NULL };
}
