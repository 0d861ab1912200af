/* WS-Security: the one credential of a message. */
#include "auto.h"
#include "base64.h"
#include "soap.h"
#include <string.h>
#include <time.h>

#define USER_MAX 320    /* octets: a mail address of RFC 5321 */
#define SECRET_MAX 1024 /* octets of a password */
#define TOKEN_MAX 16384 /* octets of a login token, decoded */
#define CERTIFICATE_MAX 16384
#define CLOCK_TOLERANCE 300      /* seconds that a device's clock may be wrong */
#define LIFETIME_MAX (24 * 3600) /* seconds from Created to Expires */
#define PASSWORD_TEXT "#PasswordText"

/* "2015-06-13T21:13:37Z" with or without a fraction; UTC alone, as [WSS] 10 wants. */
static bool
time_read(const char *text, int64_t *ret_seconds)
{
    struct tm time = { 0 };
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &time);
    if (!end)
        return false;
    if (*end == '.') {
        size_t digits = strspn(end + 1, "0123456789");
        if (digits == 0)
            return false;
        end += 1 + digits;
    }
    if (strcmp(end, "Z") != 0)
        return false;
    *ret_seconds = timegm(&time);
    return true;
}

/* A signed message has its time; a replay lives no longer than that. */
static enum ca_status
check_timestamp(struct ca_request *req, const struct xml_node *security)
{
    const struct xml_node *stamp = NULL, *created = NULL, *expires = NULL;
    enum ca_status status = xml_must(security, SOAP_SPACE_UTILITY, "Timestamp", &stamp);
    if (status == CA_OK)
        status = xml_must(stamp, SOAP_SPACE_UTILITY, "Created", &created);
    if (status == CA_OK)
        status = xml_must(stamp, SOAP_SPACE_UTILITY, "Expires", &expires);
    if (status != CA_OK)
        return status;
    int64_t from, until, now = ca_now(req);
    if (!time_read(created->text, &from) || !time_read(expires->text, &until))
        return ca_fail(CA_MALFORMED, "a Timestamp that is no time in UTC");
    if (from > until || until - from > LIFETIME_MAX || now < from - CLOCK_TOLERANCE ||
        now > until + CLOCK_TOLERANCE)
        return ca_fail(CA_UNAUTHENTICATED, "the message is out of its time");
    return CA_OK;
}

/* [WSS-Username] 3.1. Nonce and Created are not looked at: TLS protects the message,
 * and clients send one pair for a whole run. */
static enum ca_status
read_password(const struct xml_node *node, struct soap_token *token)
{
    const struct xml_node *user = NULL, *password = NULL;
    enum ca_status status = xml_must(node, SOAP_SPACE_SECURITY, "Username", &user);
    if (status == CA_OK)
        status = xml_must(node, SOAP_SPACE_SECURITY, "Password", &password);
    if (status != CA_OK)
        return status;
    const char *type = xml_attribute(password, "Type");
    size_t size = type ? strlen(type) : 0, suffix = sizeof PASSWORD_TEXT - 1;
    if (type && (size < suffix || strcmp(type + size - suffix, PASSWORD_TEXT) != 0))
        return ca_fail(CA_MALFORMED, "a password that is no PasswordText");
    if (user->text_size == 0 || user->text_size > USER_MAX || user->first ||
        password->text_size > SECRET_MAX || password->first)
        return ca_fail(CA_MALFORMED, "user name or password of a wrong size");
    token->kind = SOAP_TOKEN_KIND_PASSWORD;
    token->user = user->text;
    token->secret = password->text;
    token->secret_size = password->text_size;
    return CA_OK;
}

static enum ca_status
read_login(struct ca_request *req, const struct xml_node *node,
           struct soap_token *token)
{
    struct ca_bytes octets;
    enum ca_status status =
        base64_decode(req, node->text, node->text_size, TOKEN_MAX, &octets);
    if (status != CA_OK)
        return status;
    if (octets.size == 0 || memchr(octets.data, '\0', octets.size))
        return ca_fail(CA_MALFORMED, "a login token that is no text");
    token->kind = SOAP_TOKEN_KIND_LOGIN;
    token->secret = (const char *)octets.data; /* a NUL is behind it */
    token->secret_size = octets.size;
    return CA_OK;
}

static enum ca_status
read_certificate(struct ca_request *req, const struct soap_request *soap,
                 const struct xml_node *node, struct soap_token *token)
{
    struct ca_bytes octets;
    enum ca_status status =
        base64_decode(req, node->text, node->text_size, CERTIFICATE_MAX, &octets);
    if (status != CA_OK)
        return status;
    const uint8_t *at = octets.data;
    CA_AUTO(X509_free) X509 *certificate = d2i_X509(NULL, &at, (long)octets.size);
    if (!certificate || at != octets.data + octets.size)
        return ca_fail_openssl(CA_MALFORMED, "a token that is no certificate");
    status = check_timestamp(req, soap->security);
    if (status == CA_OK)
        status = soap_signature_verify(req, soap, certificate);
    if (status != CA_OK)
        return status;
    token->kind = SOAP_TOKEN_KIND_SIGNED;
    token->certificate = CA_STEAL(certificate);
    return CA_OK;
}

static enum ca_status
read_binary(struct ca_request *req, const struct soap_request *soap,
            const struct xml_node *node, struct soap_token *token)
{
    const char *type = xml_attribute(node, "ValueType");
    if (!type || node->first)
        return ca_fail(CA_MALFORMED, "a BinarySecurityToken without a ValueType");
    if (strcmp(type, SOAP_TOKEN_X509) == 0)
        return read_certificate(req, soap, node, token);
    if (strcmp(type, SOAP_TOKEN_USER) == 0 || strcmp(type, SOAP_TOKEN_JWT) == 0)
        return read_login(req, node, token);
    return ca_fail(CA_MALFORMED, "a BinarySecurityToken of type '%.96s'", type);
}

enum ca_status
soap_token_read(struct ca_request *req, const struct soap_request *soap,
                struct soap_token *ret_token)
{
    const struct xml_node *user = NULL, *binary = NULL;
    struct soap_token token = { 0 };
    enum ca_status status = CA_OK;
    if (soap->security)
        status = xml_only(soap->security, SOAP_SPACE_SECURITY, "UsernameToken", &user);
    if (soap->security && status == CA_OK)
        status = xml_only(soap->security, SOAP_SPACE_SECURITY, "BinarySecurityToken",
                          &binary);
    if (status != CA_OK)
        return status;
    if (user && binary)
        return ca_fail(CA_MALFORMED, "two credentials in one message");
    if (user)
        status = read_password(user, &token);
    else if (binary)
        status = read_binary(req, soap, binary, &token);
    if (status == CA_OK)
        *ret_token = token;
    return status;
}

void
soap_credential(const struct soap_token *token, struct ca_credential *credential)
{
    static const enum ca_credential_kind kinds[] = {
        [SOAP_TOKEN_KIND_NONE] = CA_CREDENTIAL_NONE,
        [SOAP_TOKEN_KIND_PASSWORD] = CA_CREDENTIAL_PASSWORD,
        [SOAP_TOKEN_KIND_LOGIN] = CA_CREDENTIAL_LOGIN_TOKEN,
        [SOAP_TOKEN_KIND_SIGNED] = CA_CREDENTIAL_CERTIFICATE,
    };
    credential->kind = kinds[token->kind];
    credential->user = token->user;
    credential->secret = token->secret;
    credential->secret_size = token->secret_size;
    credential->certificate = token->certificate;
}

void
soap_token_clear(struct soap_token *token)
{
    X509_free(token->certificate);
    *token = (struct soap_token){ 0 };
}
