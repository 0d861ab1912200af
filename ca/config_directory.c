/* The directory's part of the configuration: its table, and what that cannot see. */
#include "auto.h"
#include "config.h"
#include <string.h>

#define PATH_SIZE_MAX 1024
#define DN_SIZE_MAX 1024
#define FILTER_SIZE_MAX 1024
#define ATTRIBUTE_SIZE_MAX 64
#define MAP_MAX 256
#define MORE_MAX 32

static const char *const security_words[] = { "starttls", "tls", "none", NULL };
static const char *const groups_words[] = { "none", "member_of", "search", NULL };

static bool
is_host(const void *member, char *ret_reason, size_t size)
{
    const char *host = *(char *const *)member;
    snprintf(ret_reason, size, "must be a host name or a numeric address");
    return host[strspn(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                             "0123456789.:-")] == '\0';
}

/* RFC 4512 section 2.5: a short name, or an OID in dots; no options. */
static bool
attribute_is_good(const char *name)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    size_t length = strlen(name);
    if (length == 0 || length > ATTRIBUTE_SIZE_MAX)
        return false;
    if (strchr(letters, *name))
        return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "0123456789-")] == '\0';
    return name[strspn(name, "0123456789.")] == '\0';
}

static bool
is_attribute(const void *member, char *ret_reason, size_t size)
{
    const char *name = *(char *const *)member;
    snprintf(ret_reason, size, "must be the name of one LDAP attribute");
    return *name == '\0' || attribute_is_good(name);
}

/* Parentheses that match, outside of escapes: the server judges the rest. */
static bool
is_filter(const void *member, char *ret_reason, size_t size)
{
    const char *filter = *(char *const *)member, *c = filter;
    int depth = 0;
    snprintf(ret_reason, size, "must be one LDAP filter in parentheses (RFC 4515)");
    if (*c != '(')
        return false;
    for (; *c; c++) {
        depth += *c == '(' ? 1 : *c == ')' ? -1 : 0;
        if (depth < 0 || (depth == 0 && c[1]))
            return false;
    }
    return depth == 0;
}

static bool
is_more(const void *member, char *ret_reason, size_t size)
{
    json_t *more = *(json_t *const *)member, *value;
    const char *name;
    bool is_good = json_is_object(more) && json_object_size(more) <= MORE_MAX;
    json_object_foreach (more, name, value) {
        size_t length = strlen(name);
        is_good = is_good && length > 0 && length <= ATTRIBUTE_SIZE_MAX &&
                  strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == length &&
                  strcmp(name, "upn") != 0 && json_is_string(value) &&
                  attribute_is_good(json_string_value(value));
    }
    snprintf(ret_reason, size,
             "must be an object of at most %d user attributes (a-z 0-9 _ -, not upn) "
             "with an LDAP attribute each",
             MORE_MAX);
    return is_good;
}

static bool
group_is_good(const char *name)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789._@-";
    size_t length = strlen(name);
    return length > 0 && length <= 64 && strspn(name, letters) == length &&
           !strchr("._@-", *name);
}

static bool
is_map(const void *member, char *ret_reason, size_t size)
{
    json_t *map = *(json_t *const *)member, *value;
    const char *dn;
    bool is_good = json_is_object(map) && json_object_size(map) <= MAP_MAX;
    json_object_foreach (map, dn, value)
        is_good = is_good && *dn && strlen(dn) <= DN_SIZE_MAX &&
                  json_is_string(value) && group_is_good(json_string_value(value));
    snprintf(ret_reason, size,
             "must be an object of at most %d DNs with the name of a group each",
             MAP_MAX);
    return is_good;
}

#define ATTRIBUTE(member_, initial_, help_)                                            \
    {                                                                                  \
        FIELD(config_directory_attributes, member_),                                   \
            .type = FIELD_TEXT, .max = ATTRIBUTE_SIZE_MAX, .initial = (initial_),      \
            .check = is_attribute, .help = (help_)                                     \
    }

static const struct field attributes_fields[] = {
    ATTRIBUTE(name, "\"uid\"",
              "Attribute of the user's name, one value; sAMAccountName in Active "
              "Directory."),
    ATTRIBUTE(
        id, "\"entryUUID\"",
        "Attribute that a person keeps for good; objectGUID in Active Directory."),
    ATTRIBUTE(email, "\"mail\"",
              "Attribute of the mailbox; empty: not the directory's affair."),
    ATTRIBUTE(display_name, "\"cn\"",
              "Attribute of how people call the user; empty as above."),
    ATTRIBUTE(work_space, "\"\"", "Attribute of the work space's id; empty as above."),
    ATTRIBUTE(upn, "\"\"",
              "Attribute of the user principal name, kept as "
              "{{user.attributes.upn}}; empty as above."),
    { FIELD(config_directory_attributes, more), .type = FIELD_JSON, .initial = "{}",
      .check = is_more,
      .help = "More texts for templates: {\"cost_centre\": \"departmentNumber\"}." },
    FIELD_END,
};

static const struct field groups_fields[] = {
    { FIELD(config_directory_groups, source), .type = FIELD_CHOICE,
      .words = groups_words, .initial = "\"none\"",
      .help = "none, member_of (an attribute of the user) or search (of the groups, by "
              "their members)." },
    { FIELD(config_directory_groups, base), .type = FIELD_TEXT, .min = 1,
      .max = DN_SIZE_MAX,
      .help = "DN below which groups are searched for; the users' "
              "base when absent." },
    { FIELD(config_directory_groups, filter), .type = FIELD_TEXT, .min = 1,
      .max = FILTER_SIZE_MAX, .initial = "\"(objectClass=groupOfNames)\"",
      .check = is_filter, .help = "Which entries are groups." },
    { FIELD(config_directory_groups, member), .type = FIELD_TEXT, .min = 1,
      .max = ATTRIBUTE_SIZE_MAX, .initial = "\"member\"", .check = is_attribute,
      .help = "Attribute of a group's members, DNs." },
    { FIELD(config_directory_groups, member_of), .type = FIELD_TEXT, .min = 1,
      .max = ATTRIBUTE_SIZE_MAX, .initial = "\"memberOf\"", .check = is_attribute,
      .help = "Attribute of a user's groups, DNs." },
    { FIELD(config_directory_groups, map), .type = FIELD_JSON, .initial = "{}",
      .check = is_map,
      .help = "Groups by DN and what each is called here; others are left out. Empty: "
              "each group by the first value of its DN, lower case." },
    FIELD_END,
};

const struct field config_directory_fields[] = {
    { FIELD(config_directory, server), .type = FIELD_TEXT, .min = 1, .max = 253,
      .check = is_host,
      .help =
          "The LDAP server, by the name in its certificate; no directory without." },
    { FIELD(config_directory, port), .type = FIELD_INTEGER, .min = 0, .max = 65535,
      .help = "Its port; 0 for 389, or 636 with tls." },
    { FIELD(config_directory, security), .type = FIELD_CHOICE, .words = security_words,
      .initial = "\"starttls\"",
      .help = "starttls (never without), tls from the start (ldaps), or none: for a "
              "server at a loopback address alone." },
    { FIELD(config_directory, ca_file), .type = FIELD_TEXT, .min = 1,
      .max = PATH_SIZE_MAX,
      .help = "PEM file of the roots that its certificate is held against." },
    { FIELD(config_directory, bind_dn), .type = FIELD_TEXT, .min = 1,
      .max = DN_SIZE_MAX, .help = "DN of the service account that reads." },
    { FIELD(config_directory, password_source), .type = FIELD_TEXT, .min = 6,
      .max = PATH_SIZE_MAX,
      .help = "\"file:PATH\" of its password; nobody but the file's owner may read it. "
              "Read at each connection." },
    { FIELD(config_directory, base), .type = FIELD_TEXT, .min = 1, .max = DN_SIZE_MAX,
      .help = "DN below which users are searched for." },
    { FIELD(config_directory, filter), .type = FIELD_TEXT, .min = 1,
      .max = FILTER_SIZE_MAX, .initial = "\"(objectClass=inetOrgPerson)\"",
      .check = is_filter, .help = "Which entries are users." },
    { FIELD(config_directory, disabled_filter), .type = FIELD_TEXT, .min = 1,
      .max = FILTER_SIZE_MAX, .check = is_filter,
      .help = "Which of them are disabled; in Active Directory "
              "(userAccountControl:1.2.840.113556.1.4.803:=2)." },
    { FIELD(config_directory, attributes), .type = FIELD_OBJECT,
      .fields = attributes_fields,
      .item_size = sizeof(struct config_directory_attributes),
      .help = "Which attribute is what here." },
    { FIELD(config_directory, groups), .type = FIELD_OBJECT, .fields = groups_fields,
      .item_size = sizeof(struct config_directory_groups),
      .help = "Groups of the directory that become groups here." },
    { FIELD(config_directory, login), .type = FIELD_BOOLEAN, .initial = "true",
      .help = "Its users log in with the directory's passwords." },
    { FIELD(config_directory, interval), .type = FIELD_DURATION, .min = 0,
      .max = 604800, .initial = "\"PT1H\"",
      .help = "Time between two syncs; PT0S for only when asked for." },
    { FIELD(config_directory, timeout_ms), .type = FIELD_INTEGER, .min = 100,
      .max = 60000, .initial = "5000",
      .help = "Longest wait for a connection, and for each answer." },
    { FIELD(config_directory, page_size), .type = FIELD_INTEGER, .min = 1, .max = 5000,
      .initial = "500", .help = "Entries asked for at once (RFC 2696)." },
    { FIELD(config_directory, users_max), .type = FIELD_INTEGER, .min = 1,
      .max = 1000000, .initial = "100000",
      .help = "With more users the sync is refused." },
    { FIELD(config_directory, disable_max_percent), .type = FIELD_INTEGER, .min = 1,
      .max = 100, .initial = "10",
      .help = "A sync that would disable a greater share of the directory's users (and "
              "more than one) is refused until it is forced." },
    FIELD_END,
};

static bool
is_loopback(const char *server)
{
    return strcmp(server, "localhost") == 0 || strncmp(server, "127.", 4) == 0 ||
           strcmp(server, "::1") == 0;
}

void
config_check_directory(const struct config_directory *directory,
                       struct field_errors *errors)
{
    if (!directory->server)
        return;
    if (!directory->base)
        field_error_add(errors, "/directory/base", "is required with server");
    if (!*directory->attributes.name)
        field_error_add(errors, "/directory/attributes/name", "is required");
    if (!*directory->attributes.id)
        field_error_add(errors, "/directory/attributes/id", "is required");
    if (directory->security == SECURITY_NONE && !is_loopback(directory->server))
        field_error_add(errors, "/directory/security",
                        "none is for a server at a loopback address alone");
    if (directory->security != SECURITY_NONE && !directory->ca_file)
        field_error_add(errors, "/directory/ca_file", "is required with TLS");
    if (!directory->bind_dn != !directory->password_source)
        field_error_add(errors,
                        directory->bind_dn ? "/directory/password_source"
                                           : "/directory/bind_dn",
                        "is required with the other of the two");
    if (directory->password_source &&
        strncmp(directory->password_source, "file:/", 6) != 0)
        field_error_add(errors, "/directory/password_source", "must be \"file:PATH\"");
    if (directory->interval > 0 && directory->interval < 60)
        field_error_add(errors, "/directory/interval", "must be PT0S or at least PT1M");
}
