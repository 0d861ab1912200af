/* Takes an activation URI apart (docs/protocols/activation.md, "Link"). */
#include "activate_link.h"
#include "auto.h"
#include "text.h"
#include <ctype.h>
#include <string.h>

#define SCHEME "https://"
#define PLACE "/activate"

char *
activate_authority(const char *url)
{
    if (strncasecmp(url, SCHEME, strlen(SCHEME)) != 0)
        return NULL;
    const char *begin = url + strlen(SCHEME);
    size_t length = strcspn(begin, "/");
    if (length == 0 || strpbrk(begin, "?#@\\ ") || begin[0] == ':')
        return NULL;
    char *authority = strndup(begin, length);
    for (char *at = authority; at && *at; at++)
        *at = (char)tolower((unsigned char)*at);
    return authority;
}

/* %HH; any other character stands for itself. NULL: badly escaped, or with a NUL. */
static char *
unescape(const char *text, size_t size)
{
    CA_AUTO(secret_free) char *plain = calloc(1, size + 1);
    char *to = plain;
    for (size_t i = 0; plain && i < size; i++) {
        unsigned char octet = (unsigned char)text[i];
        if (octet == '%') {
            char digits[3] = "";
            if (size - i < 3)
                return NULL;
            memcpy(digits, text + i + 1, 2);
            if (!hex_parse(digits, &octet, 1) || octet == 0)
                return NULL;
            i += 2;
        }
        *to++ = (char)octet;
    }
    return CA_STEAL(plain);
}

/* Where a name's value goes; NULL for a name that means nothing to us. */
static char **
member_of(struct activate_link *link, char **version, const char *name, size_t length)
{
    const struct {
        const char *name;
        char **member;
    } members[] = {
        { "v", version },
        { "user", &link->user },
        { "ref", &link->ref },
        { "server", &link->server },
        { "password", &link->password },
    };
    for (size_t i = 0; i < sizeof members / sizeof *members; i++) {
        if (strlen(members[i].name) == length &&
            memcmp(members[i].name, name, length) == 0)
            return members[i].member;
    }
    return NULL;
}

static enum ca_status
fragment_parse(const char *fragment, struct activate_link *link)
{
    CA_AUTO(free) char *version = NULL;
    for (const char *at = fragment; *at; at += *at == '&') {
        size_t size = strcspn(at, "&"), name = strcspn(at, "=&");
        char **member = member_of(link, &version, at, name);
        if (member && (*member || name == size))
            return ca_fail(CA_MALFORMED, "the link names something twice, or without a "
                                         "value");
        if (member) {
            *member = unescape(at + name + 1, size - name - 1);
            if (!*member)
                return ca_fail(CA_MALFORMED, "the link is badly escaped");
        }
        at += size;
    }
    if (!version || strcmp(version, "1") != 0)
        return ca_fail(CA_MALFORMED, "the link is not of version 1");
    if (!link->user)
        return ca_fail(CA_MALFORMED, "the link names no user");
    return CA_OK;
}

static enum ca_status
link_parse(const char *uri, struct activate_link *link)
{
    const char *fragment = strchr(uri, '#');
    size_t length = fragment ? (size_t)(fragment - uri) : 0;
    size_t place = strlen(PLACE);
    if (strlen(uri) > ACTIVATE_LINK_MAX || length <= place ||
        memcmp(fragment - place, PLACE, place) != 0)
        return ca_fail(CA_MALFORMED, "this is no activation link");
    link->base = strndup(uri, length - place);
    CA_AUTO(free) char *authority = link->base ? activate_authority(link->base) : NULL;
    if (!authority)
        return ca_fail(CA_MALFORMED, "the link is not for an https address");
    enum ca_status status = fragment_parse(fragment + 1, link);
    if (status != CA_OK)
        return status;
    if (!link->server)
        link->server = CA_STEAL(authority);
    if (!link->ref)
        link->ref = strdup("");
    return link->ref ? CA_OK : ca_fail(CA_INTERNAL, "no memory");
}

enum ca_status
activate_link_parse(const char *uri, struct activate_link *ret_link)
{
    struct activate_link link = { 0 };
    enum ca_status status = link_parse(uri, &link);
    if (status == CA_OK)
        *ret_link = link;
    else
        activate_link_clear(&link);
    return status;
}

void
activate_link_clear(struct activate_link *link)
{
    free(link->base);
    free(link->user);
    free(link->ref);
    free(link->server);
    secret_free(link->password);
    *link = (struct activate_link){ 0 };
}
