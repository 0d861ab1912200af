/* The connection to the LDAP directory: protected, bounded in time and size, and read
 * page by page. */
#include "directory.h"
#include "auto.h"
#include "clock.h"
#include "directory_wire.h"
#include "pin.h"
#include "text.h"
#include <ldap.h>
#include <string.h>

#define LDAP_PORT_PLAIN 389
#define LDAP_PORT_TLS 636
#define ANSWER_SIZE_MAX (4 * 1024 * 1024) /* octets of one message from the server */

struct directory {
    const struct config_directory *config;
    LDAP *ldap;
    struct directory_wire wire;
    int64_t deadline; /* clock_ticks */
};

static void
pin_free_auto(struct pin **pin)
{
    pin_free(*pin);
}

static void
directory_close_auto(struct directory **directory)
{
    directory_close(*directory);
}

enum ca_status
directory_check(const struct config_directory *config)
{
    const struct {
        const char *member, *dn;
    } names[] = { { "bind_dn", config->bind_dn },
                  { "base", config->base },
                  { "groups/base", config->groups.base } };
    const char *key;
    json_t *value;
    if (!config->server)
        return CA_OK;
    setenv("LDAPNOINIT", "1", 1); /* no ldap.conf, no LDAP* variables */
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        CA_AUTO(free) char *normal = NULL;
        if (names[i].dn && directory_dn_normalise(names[i].dn, &normal) != CA_OK)
            return ca_fail(CA_MALFORMED, "directory/%s: must be a DN", names[i].member);
    }
    json_object_foreach (config->groups.map, key, value) {
        CA_AUTO(free) char *normal = NULL;
        if (directory_dn_normalise(key, &normal) != CA_OK)
            return ca_fail(CA_MALFORMED, "directory/groups/map: '%.128s' is not a DN",
                           key);
    }
    return CA_OK;
}

/* ---- Connection ---- */

/* What the server's side of the line says goes into the log, never a value. */
static enum ca_status
ldap_fail(const struct directory *directory, const char *what, int code)
{
    const char *failure = directory->wire.failure;
    return ca_fail(CA_UNAVAILABLE, "directory %s: %s: %s", directory->config->server,
                   what, failure ? failure : ldap_err2string(code));
}

static bool
set(LDAP *ldap, int option, const void *value)
{
    return ldap_set_option(ldap, option, value) == LDAP_OPT_SUCCESS;
}

/* All of it on this handle: neither the system's ldap.conf nor the environment may
 * weaken it. */
static bool
protect(LDAP *ldap, const struct config_directory *config)
{
    const int demand = LDAP_OPT_X_TLS_DEMAND, oldest = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
    const int client = 0;
    return set(ldap, LDAP_OPT_X_TLS_CACERTDIR, NULL) &&
           set(ldap, LDAP_OPT_X_TLS_CACERTFILE, config->ca_file) &&
           set(ldap, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand) &&
           set(ldap, LDAP_OPT_X_TLS_PROTOCOL_MIN, &oldest) &&
           set(ldap, LDAP_OPT_X_TLS_NEWCTX, &client);
}

static bool
bound(LDAP *ldap, const struct config_directory *config)
{
    const int version = LDAP_VERSION3, never = LDAP_DEREF_NEVER;
    const struct timeval timeout = { config->timeout_ms / 1000,
                                     config->timeout_ms % 1000 * 1000 };
    ber_len_t most = ANSWER_SIZE_MAX;
    Sockbuf *socket = NULL;
    return set(ldap, LDAP_OPT_PROTOCOL_VERSION, &version) &&
           set(ldap, LDAP_OPT_REFERRALS, LDAP_OPT_OFF) &&
           set(ldap, LDAP_OPT_DEREF, &never) &&
           set(ldap, LDAP_OPT_NETWORK_TIMEOUT, &timeout) &&
           set(ldap, LDAP_OPT_TIMEOUT, &timeout) &&
           ldap_get_option(ldap, LDAP_OPT_SOCKBUF, &socket) == LDAP_OPT_SUCCESS &&
           ber_sockbuf_ctrl(socket, LBER_SB_OPT_SET_MAX_INCOMING, &most) == 1;
}

static enum ca_status
connect_to(struct directory *directory)
{
    const struct config_directory *config = directory->config;
    bool is_tls = config->security == SECURITY_TLS;
    bool is_ipv6 = strchr(config->server, ':') != NULL;
    int64_t port = config->port ? config->port
                   : is_tls     ? LDAP_PORT_TLS
                                : LDAP_PORT_PLAIN;
    CA_AUTO(free) char *url = NULL;
    if (asprintf(&url, "%s://%s%s%s:%lld", is_tls ? "ldaps" : "ldap",
                 is_ipv6 ? "[" : "", config->server, is_ipv6 ? "]" : "",
                 (long long)port) < 0) {
        url = NULL;
        return ca_fail(CA_INTERNAL, "no memory for the directory's address");
    }
    int code = ldap_initialize(&directory->ldap, url);
    if (code != LDAP_SUCCESS)
        return ldap_fail(directory, "address", code);
    if (!bound(directory->ldap, config) ||
        !directory_wire_attach(&directory->wire, directory->ldap))
        return ca_fail(CA_INTERNAL, "directory: an option of the library is missing");
    if (config->security == SECURITY_NONE)
        return CA_OK;
    if (!protect(directory->ldap, config))
        return ca_fail(CA_UNAVAILABLE, "directory: TLS with ca_file %s",
                       config->ca_file);
    directory_wire_begin(&directory->wire, config->timeout_ms);
    code = is_tls ? ldap_connect(directory->ldap)
                  : ldap_start_tls_s(directory->ldap, NULL, NULL);
    return code == LDAP_SUCCESS
               ? CA_OK
               : ldap_fail(directory, is_tls ? "TLS" : "StartTLS", code);
}

/* RFC 4513 section 5.1.2: a name without a password would bind as nobody. */
static int
bind_as(struct directory *directory, const char *dn, const char *secret)
{
    struct berval credential = { .bv_len = strlen(secret),
                                 .bv_val = (char *)(uintptr_t)secret };
    if (credential.bv_len == 0)
        return LDAP_INVALID_CREDENTIALS;
    directory_wire_begin(&directory->wire, directory->config->timeout_ms);
    return ldap_sasl_bind_s(directory->ldap, dn, LDAP_SASL_SIMPLE, &credential, NULL,
                            NULL, NULL);
}

static enum ca_status
bind_service(struct directory *directory)
{
    const struct config_directory *config = directory->config;
    CA_AUTO(pin_free) struct pin *password = NULL;
    if (!config->bind_dn)
        return CA_OK;
    enum ca_status status = pin_read(config->password_source, &password);
    if (status != CA_OK)
        return ca_fail(CA_UNAVAILABLE, "directory/password_source: cannot be used");
    int code = bind_as(directory, config->bind_dn, pin_text(password));
    return code == LDAP_SUCCESS ? CA_OK : ldap_fail(directory, "bind_dn", code);
}

static enum ca_status
open_unbound(const struct config_directory *config, struct directory **ret_directory)
{
    CA_AUTO(directory_close) struct directory *directory = calloc(1, sizeof *directory);
    if (!directory)
        return ca_fail(CA_INTERNAL, "no memory for the directory");
    directory->config = config;
    directory->deadline = clock_ticks() + DIRECTORY_SECONDS_MAX * (int64_t)1000;
    enum ca_status status = connect_to(directory);
    if (status == CA_OK)
        *ret_directory = CA_STEAL(directory);
    return status;
}

enum ca_status
directory_open(const struct config_directory *config, struct directory **ret_directory)
{
    CA_AUTO(directory_close) struct directory *directory = NULL;
    if (!config->server)
        return ca_fail(CA_UNSUPPORTED, "no directory is configured");
    enum ca_status status = open_unbound(config, &directory);
    if (directory)
        status = bind_service(directory);
    if (status == CA_OK)
        *ret_directory = CA_STEAL(directory);
    return status;
}

void
directory_close(struct directory *directory)
{
    if (!directory)
        return;
    if (directory->ldap)
        ldap_unbind_ext_s(directory->ldap, NULL, NULL);
    free(directory);
}

/* ---- Search ---- */

typedef enum ca_status (*entry_fn)(struct directory *directory, LDAPMessage *entry,
                                   void *arg);

struct search {
    const char *base, *filter;
    char **attributes;
    entry_fn entry;
    void *arg;
    int64_t count; /* entries so far */
};

/* The cookie of the next page; empty at the end. */
static enum ca_status
page_end(struct directory *directory, LDAPMessage *answer, struct berval *cookie)
{
    LDAPControl **controls = NULL;
    ber_int_t estimate = 0;
    int code = LDAP_SUCCESS;
    struct berval next = { 0 };
    int parsed = ldap_parse_result(directory->ldap, answer, &code, NULL, NULL, NULL,
                                   &controls, 0);
    LDAPControl *control = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, NULL);
    if (parsed == LDAP_SUCCESS && control)
        parsed =
            ldap_parse_pageresponse_control(directory->ldap, control, &estimate, &next);
    bool is_paged = control != NULL;
    ldap_controls_free(controls);
    ber_memfree(cookie->bv_val);
    *cookie = next;
    if (parsed != LDAP_SUCCESS || code != LDAP_SUCCESS || !is_paged)
        return ldap_fail(directory, "no paged results",
                         parsed != LDAP_SUCCESS ? parsed : code);
    return CA_OK;
}

static enum ca_status
page_ask(struct directory *directory, const struct search *search,
         struct berval *cookie, LDAPMessage **ret_answer)
{
    LDAPControl *control = NULL, *controls[2] = { NULL, NULL };
    struct timeval timeout = { directory->config->timeout_ms / 1000,
                               directory->config->timeout_ms % 1000 * 1000 };
    int code = ldap_create_page_control(
        directory->ldap, (ber_int_t)directory->config->page_size, cookie, 1, &control);
    if (code != LDAP_SUCCESS)
        return ldap_fail(directory, "search", code);
    controls[0] = control;
    directory_wire_begin(&directory->wire, directory->config->timeout_ms);
    code = ldap_search_ext_s(directory->ldap, search->base, LDAP_SCOPE_SUBTREE,
                             search->filter, search->attributes, 0, controls, NULL,
                             &timeout, LDAP_NO_LIMIT, ret_answer);
    ldap_control_free(control);
    if (code == LDAP_SUCCESS)
        return CA_OK;
    if (code == LDAP_SIZELIMIT_EXCEEDED || code == LDAP_ADMINLIMIT_EXCEEDED)
        return ca_fail(CA_LIMIT, "directory %s: its limit cuts the answer short",
                       directory->config->server);
    return ldap_fail(directory, "search", code);
}

static enum ca_status
page_visit(struct directory *directory, struct search *search, LDAPMessage *answer)
{
    for (LDAPMessage *entry = ldap_first_entry(directory->ldap, answer); entry;
         entry = ldap_next_entry(directory->ldap, entry)) {
        if (++search->count > directory->config->users_max)
            return ca_fail(CA_LIMIT, "the directory has more than %lld entries",
                           (long long)directory->config->users_max);
        enum ca_status status = search->entry(directory, entry, search->arg);
        if (status != CA_OK)
            return status;
    }
    return CA_OK;
}

static enum ca_status
search_run(struct directory *directory, struct search *search)
{
    struct berval cookie = { 0 };
    enum ca_status status;
    do {
        LDAPMessage *answer = NULL;
        status = page_ask(directory, search, &cookie, &answer);
        if (status == CA_OK)
            status = page_visit(directory, search, answer);
        if (status == CA_OK)
            status = page_end(directory, answer, &cookie);
        if (status == CA_OK && clock_ticks() > directory->deadline)
            status = ca_fail(CA_LIMIT, "the directory was not read in time");
        ldap_msgfree(answer);
    } while (status == CA_OK && cookie.bv_len > 0);
    ber_memfree(cookie.bv_val);
    return status;
}

/* ---- Users ---- */

struct reading {
    directory_visit visit;
    void *arg;
    json_t *disabled; /* object: the DNs that are */
    json_t *groups;   /* object: DN of a user -> array of group names */
};

static void
reading_clear_auto(struct reading *reading)
{
    json_decref(reading->disabled);
    json_decref(reading->groups);
}

static enum ca_status
disabled_entry(struct directory *directory, LDAPMessage *entry, void *arg)
{
    struct reading *reading = arg;
    char *text = ldap_get_dn(directory->ldap, entry);
    CA_AUTO(free) char *dn = NULL;
    enum ca_status status = text ? directory_dn_normalise(text, &dn)
                                 : ca_fail(CA_INTERNAL, "no memory for a DN");
    ldap_memfree(text);
    if (status == CA_OK && json_object_set_new(reading->disabled, dn, json_true()) != 0)
        return ca_fail(CA_INTERNAL, "no memory for the directory's users");
    return status;
}

static enum ca_status
disabled_read(struct directory *directory, struct reading *reading)
{
    const struct config_directory *config = directory->config;
    char *none[] = { (char *)(uintptr_t)LDAP_NO_ATTRS, NULL };
    CA_AUTO(free) char *filter = NULL;
    if (!config->disabled_filter)
        return CA_OK;
    if (asprintf(&filter, "(&%s%s)", config->filter, config->disabled_filter) < 0) {
        filter = NULL;
        return ca_fail(CA_INTERNAL, "no memory for a filter");
    }
    struct search search = { .base = config->base,
                             .filter = filter,
                             .attributes = none,
                             .entry = disabled_entry,
                             .arg = reading };
    return search_run(directory, &search);
}

/* One more member: the user's list grows by the group's name. */
static enum ca_status
member_add(struct reading *reading, const struct berval *value, const char *group)
{
    CA_AUTO(free) char *text = strndup(value->bv_val, value->bv_len);
    CA_AUTO(free) char *dn = NULL;
    if (!text || directory_dn_normalise(text, &dn) != CA_OK)
        return CA_OK; /* a member that is no DN is none of our users */
    json_t *names = json_object_get(reading->groups, dn);
    if (!names) {
        names = json_array();
        json_object_set_new(reading->groups, dn, names);
    }
    return json_array_append_new(names, json_string(group)) == 0
               ? CA_OK
               : ca_fail(CA_INTERNAL, "no memory for the directory's groups");
}

/* Active Directory cuts long lists and says so in the attribute's name. */
static bool
has_ranges(struct directory *directory, LDAPMessage *entry, const char *attribute)
{
    BerElement *at = NULL;
    bool is_found = false;
    size_t length = strlen(attribute);
    for (char *name = ldap_first_attribute(directory->ldap, entry, &at); name;
         name = ldap_next_attribute(directory->ldap, entry, at)) {
        is_found = is_found || (strncasecmp(name, attribute, length) == 0 &&
                                strncasecmp(name + length, ";range=", 7) == 0);
        ldap_memfree(name);
    }
    if (at)
        ber_free(at, 0);
    return is_found;
}

static enum ca_status
group_entry(struct directory *directory, LDAPMessage *entry, void *arg)
{
    const struct config_directory_groups *config = &directory->config->groups;
    CA_AUTO(free) char *dn = NULL;
    CA_AUTO(free) char *name = NULL;
    char *text = ldap_get_dn(directory->ldap, entry);
    enum ca_status status = text ? directory_dn_normalise(text, &dn)
                                 : ca_fail(CA_INTERNAL, "no memory for a DN");
    ldap_memfree(text);
    if (status == CA_OK)
        status = directory_group_name(config, dn, &name);
    if (status != CA_OK)
        return status == CA_NOT_FOUND ? CA_OK : status;
    if (has_ranges(directory, entry, config->member))
        return ca_fail(CA_UNSUPPORTED,
                       "the directory gives the members of group '%s' in ranges: take "
                       "member_of",
                       name);
    struct berval **values =
        ldap_get_values_len(directory->ldap, entry, config->member);
    for (int i = 0; values && values[i] && status == CA_OK; i++)
        status = member_add(arg, values[i], name);
    ldap_value_free_len(values);
    return status;
}

static enum ca_status
groups_read(struct directory *directory, struct reading *reading)
{
    const struct config_directory *config = directory->config;
    char *attributes[] = { config->groups.member, NULL };
    if (config->groups.source != GROUPS_SEARCH)
        return CA_OK;
    struct search search = { .base = config->groups.base ? config->groups.base
                                                         : config->base,
                             .filter = config->groups.filter,
                             .attributes = attributes,
                             .entry = group_entry,
                             .arg = reading };
    return search_run(directory, &search);
}

static enum ca_status
user_entry(struct directory *directory, LDAPMessage *message, void *arg)
{
    const struct reading *reading = arg;
    struct directory_entry entry = { 0 };
    enum ca_status status =
        directory_entry_read(directory->config, directory->ldap, message, &entry);
    if (status != CA_OK)
        return status;
    entry.disabled = json_object_get(reading->disabled, entry.dn) != NULL;
    json_t *names = json_object_get(reading->groups, entry.dn);
    if (names)
        json_array_extend(entry.groups, names);
    status = reading->visit(&entry, reading->arg);
    directory_entry_clear(&entry);
    return status;
}

enum ca_status
directory_users(struct directory *directory, directory_visit visit, void *arg)
{
    char *attributes[DIRECTORY_ATTRIBUTES_MAX];
    CA_AUTO(reading_clear)
    struct reading reading = { visit, arg, json_object(), json_object() };
    if (!reading.disabled || !reading.groups)
        return ca_fail(CA_INTERNAL, "no memory for the directory's users");
    enum ca_status status = disabled_read(directory, &reading);
    if (status == CA_OK)
        status = groups_read(directory, &reading);
    if (status != CA_OK)
        return status;
    directory_attributes(directory->config, attributes);
    struct search search = { .base = directory->config->base,
                             .filter = directory->config->filter,
                             .attributes = attributes,
                             .entry = user_entry,
                             .arg = &reading };
    return search_run(directory, &search);
}

/* ---- Log-in ---- */

struct person_search {
    char *dn, *id; /* of the one found */
    int count;
};

static enum ca_status
person_entry(struct directory *directory, LDAPMessage *message, void *arg)
{
    struct person_search *person = arg;
    struct directory_entry entry = { 0 };
    enum ca_status status =
        directory_entry_read(directory->config, directory->ldap, message, &entry);
    if (status != CA_OK)
        return status;
    if (person->count++ == 0) {
        person->dn = CA_STEAL(entry.dn);
        person->id = CA_STEAL(entry.id);
    }
    directory_entry_clear(&entry);
    return CA_OK;
}

/* The one entry of this name that is not disabled. */
static enum ca_status
person_find(struct directory *directory, const char *name, struct person_search *person)
{
    const struct config_directory *config = directory->config;
    char *attributes[] = { config->attributes.name, config->attributes.id, NULL };
    CA_AUTO(text_buffer_clear) struct text_buffer filter = { 0 };
    text_print(&filter, "(&%s(%s=", config->filter, config->attributes.name);
    directory_filter_escape(&filter, name);
    text_print(&filter, ")");
    if (config->disabled_filter)
        text_print(&filter, "(!%s)", config->disabled_filter);
    text_print(&filter, ")");
    if (filter.failed)
        return ca_fail(CA_INTERNAL, "no memory for a filter");
    struct search search = { .base = config->base,
                             .filter = filter.data,
                             .attributes = attributes,
                             .entry = person_entry,
                             .arg = person };
    return search_run(directory, &search);
}

/* What a server says of a person who may not log in, whatever the reason. */
static bool
is_refusal(int code)
{
    return code == LDAP_INVALID_CREDENTIALS || code == LDAP_INAPPROPRIATE_AUTH ||
           code == LDAP_NO_SUCH_OBJECT || code == LDAP_UNWILLING_TO_PERFORM ||
           code == LDAP_CONSTRAINT_VIOLATION || code == LDAP_INSUFFICIENT_ACCESS;
}

static enum ca_status
person_bind(struct directory *directory, const char *dn, const char *secret,
            bool *ret_is_right)
{
    int code = bind_as(directory, dn, secret);
    if (code != LDAP_SUCCESS && !is_refusal(code))
        return ldap_fail(directory, "log-in", code);
    *ret_is_right = code == LDAP_SUCCESS;
    return CA_OK;
}

enum ca_status
directory_verify(const struct config_directory *config, const char *name,
                 const char *id, const char *secret, bool *ret_is_right)
{
    CA_AUTO(directory_close) struct directory *directory = NULL;
    struct person_search person = { 0 };
    bool is_right = false;
    if (*secret == '\0') {
        *ret_is_right = false;
        return CA_OK;
    }
    enum ca_status status = directory_open(config, &directory);
    if (status == CA_OK) {
        directory->deadline = clock_ticks() + config->timeout_ms; /* somebody waits */
        status = person_find(directory, name, &person);
    }
    CA_AUTO(free) char *dn = person.dn;
    CA_AUTO(free) char *found = person.id;
    if (status != CA_OK)
        return status;
    bool is_known = person.count == 1 && dn && found && id && strcmp(found, id) == 0;
    /* Nobody's password is asked for at the base: as long a way. */
    status = person_bind(directory, is_known ? dn : config->base, secret, &is_right);
    if (status == CA_OK)
        *ret_is_right = is_known && is_right;
    return status;
}
