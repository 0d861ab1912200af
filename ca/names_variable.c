/* What {{user.email}} and its kind stand for: members of the registry's records, and
 * where the profile takes it, the request's common name. */
#include "names_variable.h"
#include <string.h>

#define ATTRIBUTES "user.attributes."
#define HARDWARE "device.hardware."

enum record { RECORD_ORGANISATION, RECORD_USER, RECORD_DEVICE };

static const struct {
    const char *name;
    enum record record;
    size_t offset; /* of a char * */
} members[] = {
    { "organisation.name", RECORD_ORGANISATION, offsetof(struct organisation, name) },
    { "organisation.base_url", RECORD_ORGANISATION,
      offsetof(struct organisation, base_url) },
    { "organisation.plain_url", RECORD_ORGANISATION,
      offsetof(struct organisation, plain_url) },
    { "user.name", RECORD_USER, offsetof(struct user, name) },
    { "user.email", RECORD_USER, offsetof(struct user, email) },
    { "user.display_name", RECORD_USER, offsetof(struct user, display_name) },
    { "user.work_space", RECORD_USER, offsetof(struct user, work_space) },
    { "device.id", RECORD_DEVICE, offsetof(struct device, id) },
    { "device.kind", RECORD_DEVICE, offsetof(struct device, kind) },
    { "device.owner", RECORD_DEVICE, offsetof(struct device, owner) },
};

static bool
starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool
names_variable_is_known(const char *name)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (strcmp(members[i].name, name) == 0)
            return true;
    }
    return (starts_with(name, ATTRIBUTES) && name[strlen(ATTRIBUTES)]) ||
           (starts_with(name, HARDWARE) && name[strlen(HARDWARE)]) ||
           strcmp(name, "request.cn") == 0;
}

/* A member of an object: its text, or its number in decimal. */
static const char *
object_member(const json_t *object, const char *key, struct names_variables *variables)
{
    const json_t *value = json_object_get(object, key);
    if (json_is_integer(value)) {
        snprintf(variables->scratch, sizeof variables->scratch, "%" JSON_INTEGER_FORMAT,
                 json_integer_value(value));
        return variables->scratch;
    }
    return json_string_value(value);
}

enum ca_status
names_of_request_cn(X509_REQ *request, char **ret_cn)
{
    const X509_NAME *subject = X509_REQ_get_subject_name(request);
    int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    if (index < 0)
        return ca_fail(CA_NOT_FOUND, "the request has no common name");
    if (X509_NAME_get_index_by_NID(subject, NID_commonName, index) >= 0)
        return ca_fail(CA_FORBIDDEN, "the request has several common names");
    CA_AUTO(openssl_free) uint8_t *utf8 = NULL;
    const X509_NAME_ENTRY *entry = X509_NAME_get_entry(subject, index);
    int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));
    if (size < 0 || !text_is_clean((const char *)utf8, (size_t)size))
        return ca_fail_openssl(CA_FORBIDDEN, "the request's common name is not clean");
    char *cn = strndup((const char *)utf8, (size_t)size);
    if (!cn)
        return ca_fail(CA_INTERNAL, "no memory for a name");
    *ret_cn = cn;
    return CA_OK;
}

static const char *
request_cn(struct names_variables *variables)
{
    CA_AUTO(free) char *cn = NULL;
    if (!variables->takes_request || !variables->sources->request ||
        names_of_request_cn(variables->sources->request, &cn) != CA_OK ||
        strlen(cn) >= sizeof variables->scratch)
        return NULL;
    strcpy(variables->scratch, cn);
    return variables->scratch;
}

static const char *
member_value(const char *name, const struct names_sources *sources)
{
    const void *const records[] = {
        [RECORD_ORGANISATION] = sources->organisation,
        [RECORD_USER] = sources->user,
        [RECORD_DEVICE] = sources->device,
    };
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        const char *record = records[members[i].record];
        if (record && strcmp(members[i].name, name) == 0)
            return *(char *const *)(const void *)(record + members[i].offset);
    }
    return NULL;
}

const char *
names_variable_look_up(const char *name, void *arg)
{
    struct names_variables *variables = arg;
    const struct names_sources *sources = variables->sources;
    const char *value;
    if (starts_with(name, ATTRIBUTES))
        value = sources->user ? object_member(sources->user->attributes,
                                              name + strlen(ATTRIBUTES), variables)
                              : NULL;
    else if (starts_with(name, HARDWARE))
        value = sources->device ? object_member(sources->device->hardware,
                                                name + strlen(HARDWARE), variables)
                                : NULL;
    else if (strcmp(name, "request.cn") == 0)
        value = request_cn(variables);
    else
        value = member_value(name, sources);
    return value && *value ? value : NULL;
}

const struct profile_name_checks names_profile_checks = {
    .variable_is_known = names_variable_is_known,
    .subject = names_check_subject,
    .san = names_check_san,
};
