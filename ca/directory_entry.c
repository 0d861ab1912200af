/* Entries of the directory as users here: values taken with care, DNs in one writing.
 */
#include "auto.h"
#include "directory.h"
#include "text.h"
#include <ctype.h>
#include <ldap.h>
#include <string.h>

#define VALUE_MAX 1024 /* octets of a text */
#define ID_MAX 128
#define MEMBER_OF_MAX 4096 /* groups of a user */

void
directory_filter_escape(struct text_buffer *buffer, const char *value)
{
    for (; *value; value++) {
        unsigned char c = (unsigned char)*value;
        if (isalnum(c) && c < 0x80)
            text_append(buffer, value, 1);
        else
            text_print(buffer, "\\%02x", c);
    }
}

static void
lower(char *text)
{
    for (; *text; text++)
        *text = (char)(*text >= 'A' && *text <= 'Z' ? *text + 32 : *text);
}

enum ca_status
directory_dn_normalise(const char *dn, char **ret_dn)
{
    char *normal = NULL;
    if (ldap_dn_normalize(dn, LDAP_DN_FORMAT_LDAPV3, &normal, LDAP_DN_FORMAT_LDAPV3) !=
            LDAP_SUCCESS ||
        !normal)
        return ca_fail(CA_MALFORMED, "not a DN: %.128s", dn);
    char *copy = strdup(normal);
    ldap_memfree(normal);
    if (!copy)
        return ca_fail(CA_INTERNAL, "no memory for a DN");
    lower(copy);
    *ret_dn = copy;
    return CA_OK;
}

/* The first value of a DN: "cn=Field Staff,ou=groups" is "field staff". */
static enum ca_status
first_value(const char *text, char **ret_value)
{
    LDAPDN dn = NULL;
    if (ldap_str2dn(text, &dn, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS || !dn)
        return ca_fail(CA_NOT_FOUND, "not a DN: %.128s", text);
    enum ca_status status = ca_fail(CA_NOT_FOUND, "a DN without a name");
    if (dn[0] && dn[0][0]) {
        const struct berval *value = &dn[0][0]->la_value;
        char *copy = strndup(value->bv_val, value->bv_len);
        status = copy ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a group's name");
        if (copy)
            *ret_value = copy;
    }
    ldap_dnfree(dn);
    return status;
}

/* A name as groups have it here: lower case, a blank is a hyphen. */
static bool
name_is_good(char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._@-";
    lower(name);
    for (char *c = name; *c; c++)
        *c = *c == ' ' ? '-' : *c;
    size_t length = strlen(name);
    return length > 0 && length <= 64 && strspn(name, letters) == length &&
           !strchr("._@-", *name);
}

enum ca_status
directory_group_name(const struct config_directory_groups *config, const char *dn,
                     char **ret_name)
{
    const char *key;
    json_t *value;
    json_object_foreach (config->map, key, value) {
        CA_AUTO(free) char *normal = NULL;
        if (directory_dn_normalise(key, &normal) != CA_OK || strcmp(normal, dn) != 0)
            continue;
        *ret_name = strdup(json_string_value(value));
        return *ret_name ? CA_OK : ca_fail(CA_INTERNAL, "no memory for a group's name");
    }
    if (json_object_size(config->map) > 0)
        return ca_fail(CA_NOT_FOUND, "no group of ours");
    CA_AUTO(free) char *name = NULL;
    enum ca_status status = first_value(dn, &name);
    if (status != CA_OK)
        return status;
    if (!name_is_good(name))
        return ca_fail(CA_NOT_FOUND, "its name cannot be a group's here");
    *ret_name = CA_STEAL(name);
    return CA_OK;
}

void
directory_attributes(const struct config_directory *config,
                     char *ret_names[DIRECTORY_ATTRIBUTES_MAX])
{
    const struct config_directory_attributes *from = &config->attributes;
    char *const names[] = {
        from->name,       from->id,  from->email, from->display_name,
        from->work_space, from->upn, NULL
    };
    size_t count = 0;
    for (size_t i = 0; names[i]; i++)
        if (*names[i])
            ret_names[count++] = names[i];
    if (config->groups.source == GROUPS_MEMBER_OF)
        ret_names[count++] = config->groups.member_of;
    const char *key;
    json_t *value;
    json_object_foreach (from->more, key, value)
        if (count < DIRECTORY_ATTRIBUTES_MAX - 1)
            ret_names[count++] = (char *)(uintptr_t)json_string_value(value);
    ret_names[count] = NULL;
}

static void __attribute__((format(printf, 2, 3)))
problem(struct directory_entry *entry, const char *format, ...)
{
    va_list args;
    if (entry->problem[0]) /* the first one counts */
        return;
    va_start(args, format);
    vsnprintf(entry->problem, sizeof entry->problem, format, args);
    va_end(args);
}

/* The attribute's first value as text; NULL without one. `single`: of several none is
 * the right one. */
static char *
text_take(LDAP *ldap, LDAPMessage *message, const char *attribute, bool single,
          struct directory_entry *entry)
{
    struct berval **values = ldap_get_values_len(ldap, message, attribute);
    int count = ldap_count_values_len(values);
    char *text = NULL;
    if (count > 1 && single)
        problem(entry, "%s has %d values", attribute, count);
    else if (count > 0 && (values[0]->bv_len > VALUE_MAX ||
                           !text_is_clean(values[0]->bv_val, values[0]->bv_len)))
        problem(entry, "%s is too long or no clean UTF-8 text", attribute);
    else if (count > 0 && values[0]->bv_len > 0) {
        text = strndup(values[0]->bv_val, values[0]->bv_len);
        if (!text)
            problem(entry, "no memory");
    }
    ldap_value_free_len(values);
    return text;
}

/* Microsoft's objectGUID is 16 octets, entryUUID a text. */
static char *
id_take(LDAP *ldap, LDAPMessage *message, const char *attribute,
        struct directory_entry *entry)
{
    struct berval **values = ldap_get_values_len(ldap, message, attribute);
    int count = ldap_count_values_len(values);
    char *id = NULL;
    if (count != 1 || values[0]->bv_len == 0 || values[0]->bv_len > ID_MAX) {
        problem(entry, "%s has not exactly one value of at most %d octets", attribute,
                ID_MAX);
    } else if (text_is_clean(values[0]->bv_val, values[0]->bv_len)) {
        id = strndup(values[0]->bv_val, values[0]->bv_len);
    } else {
        id = malloc(2 * values[0]->bv_len + 1);
        if (id)
            hex_format(values[0]->bv_val, values[0]->bv_len, id);
    }
    if (count == 1 && !id)
        problem(entry, "no memory");
    ldap_value_free_len(values);
    return id;
}

/* Puts an attribute's text into an object under `name`; absent: null. */
static void
member_set(LDAP *ldap, LDAPMessage *message, const char *attribute, const char *name,
           json_t *object, struct directory_entry *entry)
{
    if (*attribute == '\0')
        return;
    CA_AUTO(free) char *text = text_take(ldap, message, attribute, false, entry);
    if (json_object_set_new(object, name, text ? json_string(text) : json_null()) != 0)
        problem(entry, "no memory");
}

static void
groups_read(const struct config_directory *config, LDAP *ldap, LDAPMessage *message,
            struct directory_entry *entry)
{
    if (config->groups.source != GROUPS_MEMBER_OF)
        return;
    struct berval **values =
        ldap_get_values_len(ldap, message, config->groups.member_of);
    int count = ldap_count_values_len(values);
    if (count > MEMBER_OF_MAX)
        problem(entry, "is in more than %d groups", MEMBER_OF_MAX);
    for (int i = 0; i < count && count <= MEMBER_OF_MAX; i++) {
        CA_AUTO(free) char *text = strndup(values[i]->bv_val, values[i]->bv_len);
        CA_AUTO(free) char *dn = NULL;
        CA_AUTO(free) char *name = NULL;
        if (text && directory_dn_normalise(text, &dn) == CA_OK &&
            directory_group_name(&config->groups, dn, &name) == CA_OK)
            json_array_append_new(entry->groups, json_string(name));
    }
    ldap_value_free_len(values);
}

static void
members_read(const struct config_directory *config, LDAP *ldap, LDAPMessage *message,
             struct directory_entry *entry)
{
    const struct config_directory_attributes *from = &config->attributes;
    CA_AUTO(free) char *name = text_take(ldap, message, from->name, true, entry);
    if (!name)
        problem(entry, "%s is missing", from->name);
    if (name)
        lower(name);
    json_object_set_new(entry->members, "name", name ? json_string(name) : json_null());
    member_set(ldap, message, from->email, "email", entry->members, entry);
    member_set(ldap, message, from->display_name, "display_name", entry->members,
               entry);
    member_set(ldap, message, from->work_space, "work_space", entry->members, entry);
    json_t *attributes = json_object();
    member_set(ldap, message, from->upn, "upn", attributes, entry);
    const char *key;
    json_t *value;
    json_object_foreach (from->more, key, value)
        member_set(ldap, message, json_string_value(value), key, attributes, entry);
    json_object_set_new(entry->members, "attributes", attributes);
}

enum ca_status
directory_entry_read(const struct config_directory *config, LDAP *ldap,
                     LDAPMessage *message, struct directory_entry *ret_entry)
{
    struct directory_entry entry = { .members = json_object(), .groups = json_array() };
    char *dn = ldap_get_dn(ldap, message);
    enum ca_status status = CA_OK;
    if (!dn || !entry.members || !entry.groups)
        status = ca_fail(CA_INTERNAL, "no memory for an entry of the directory");
    if (status == CA_OK)
        status = directory_dn_normalise(dn, &entry.dn);
    ldap_memfree(dn);
    if (status != CA_OK) {
        directory_entry_clear(&entry);
        return status;
    }
    entry.id = id_take(ldap, message, config->attributes.id, &entry);
    members_read(config, ldap, message, &entry);
    groups_read(config, ldap, message, &entry);
    *ret_entry = entry;
    return CA_OK;
}

void
directory_entry_clear(struct directory_entry *entry)
{
    free(entry->dn);
    free(entry->id);
    json_decref(entry->members);
    json_decref(entry->groups);
    *entry = (struct directory_entry){ 0 };
}
