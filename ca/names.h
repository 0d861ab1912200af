/* The names of a certificate: what the registry and the profile say, what the request
 * asks for, and whether the one grants the other (SECURITY R6, R7). Pure. */
#pragma once

#include "auto.h"
#include "device.h"
#include "organisation.h"
#include "profile.h"
#include "user.h"

#define NAMES_SAN_MAX 64

/* Where names may come from. Any record may be NULL: its variables then have no
 * value. */
struct names_sources {
    const struct organisation *organisation;
    const struct user *user;
    const struct device *device;
    /* Of the challenge or the renewed certificate, or NULL. A type of attribute in it
     * binds the request to that value; it is issued in place of the profile's subject
     * where the profile has names_from_challenge. */
    const char *granted_subject;
    /* char *: "dns:a.example"; or NULL. When it is not empty, a request may carry no
     * other name beside the profile's own; issued as granted_subject is. */
    const struct field_list *granted_san;
    X509_REQ *request; /* may be NULL */
};

struct names {
    X509_NAME *subject;
    GENERAL_NAMES *san; /* NULL when there are none */
};

/* The variables templates may name ("user.name", "device.id", "organisation.name",
 * "user.attributes.*", "device.hardware.*", "request.cn"). */
bool names_variable_is_known(const char *name);

/* Is it a subject template: attribute types known, quoting right, template_check? */
bool names_check_subject(const char *subject, char *ret_reason, size_t size);
bool names_check_san(enum san_type type, const char *value, char *ret_reason,
                     size_t size);
/* The three above for profile_set_name_checks, which service_open calls. */
extern const struct profile_name_checks names_profile_checks;

/* The certificate's names by profile. CA_FORBIDDEN when the request asks for a name
 * that is not granted, a value is missing, or a name breaks its syntax: DNS labels, IP
 * of 4 or 16 octets, URI schemes http, https, urn, ldap, mailbox ASCII; no NUL, no
 * control characters; RFC 5280 upper bounds. A wildcard only where the profile's own
 * `san` spells one (a '*' in a match stands for one label of the request's). UPN only
 * from the registry. A subject attribute or SAN that expands to "" is left out. */
enum ca_status names_build(const struct certificate_profile *profile,
                           const struct names_sources *sources,
                           struct names *ret_names);

/* Could a challenge grant these names (either may be NULL) to anybody? CA_MALFORMED for
 * what would refuse every request. */
enum ca_status names_check_granted(const char *subject, const struct field_list *san);

/* "type:value" of one name, for records and comparison; free() it. NULL for a kind of
 * name we never issue. */
char *names_format(const GENERAL_NAME *name);
/* RFC 4514 text of a name, in the order it is read ("CN=a,O=b"); free() it. */
char *names_format_subject(const X509_NAME *name);
/* RFC 4514-like text -> name; CA_MALFORMED. */
enum ca_status names_parse_subject(const char *text, X509_NAME **ret_name);
/* Requested SANs of a PKCS#10 (NULL when none); CA_MALFORMED, doubled CA_MALFORMED. */
enum ca_status names_of_request(X509_REQ *request, GENERAL_NAMES **ret_san);
/* The request's one common name, clean UTF-8 (free() it). CA_NOT_FOUND without one,
 * CA_FORBIDDEN for several or unclean ones. */
enum ca_status names_of_request_cn(X509_REQ *request, char **ret_cn);
void names_clear(struct names *names);
