/* A PC that enrols by [MS-WSTEP] through the real core: its messages, what it reads out
 * of the answers, and the house it enrols in. */
#include "talk.h"
#include "clock.h"
#include "leak.h"
#include "password.h"
#include "soap.h"

#define PASSWORD_TYPE                                                                  \
    "http://docs.oasis-open.org/wss/2004/01/"                                          \
    "oasis-200401-wss-username-token-profile-1.0#PasswordText"

extern const struct ca_plugin ca_plugin;

struct house talk_house;
static void *state;
static int64_t made_before; /* the issuers' and helpers' own certificates */

static enum ca_status
password_step(struct store_tx *tx, void *verifier)
{
    return password_save(tx, "alice", verifier);
}

static enum ca_status
organisation_step(struct store_tx *tx, void *arg)
{
    (void)arg;
    return store_run(tx, "UPDATE organisation SET base_url = 'https://mdm.example.com'",
                     STORE_NO_VALUES, NULL, NULL, NULL);
}

void
talk_setup(void)
{
    static char verifier[PASSWORD_VERIFIER_SIZE];
    house_build(&talk_house);
    house_set(&talk_house, "protocols", "[\"scep\", \"wstep\"]");
    house_set(&talk_house, "allow_sha1_request", "true");
    house_write(&talk_house, organisation_step, NULL);
    cr_assert_eq(service_reload(talk_house.service), CA_OK);
    cr_assert_eq(password_derive(TALK_PASSWORD, strlen(TALK_PASSWORD), verifier),
                 CA_OK);
    house_write(&talk_house, password_step, verifier);
    cr_assert_eq(ca_plugin.init(NULL, &state), CA_OK);
    made_before = house_integer(&talk_house, "SELECT count(*) FROM certificate");
}

void
talk_teardown(void)
{
    ca_plugin.fini(state);
    house_remove(&talk_house);
    clock_set(-1);
    LEAK_CHECK();
}

int64_t
talk_issued(void)
{
    return house_integer(&talk_house, "SELECT count(*) FROM certificate") - made_before;
}

void
talk_post(struct talk *talk, const char *message, X509 *peer)
{
    const struct ca_route *route = ca_plugin.routes;
    house_exchange(&talk_house, &talk->exchange);
    talk->exchange.plugin = "wstep";
    talk->exchange.request.peer_certificate = peer;
    talk->exchange.request.body =
        (struct ca_bytes){ (const uint8_t *)message, strlen(message) };
    while (strcmp(route->method, "POST") != 0)
        route++;
    talk->status = route->handle(state, &talk->exchange.request);
    struct ca_bytes body = { talk->exchange.answer.body, talk->exchange.answer.size };
    cr_assert_str_eq(talk->exchange.answer.content_type,
                     "application/soap+xml; charset=utf-8");
    cr_assert_eq(
        xml_read(&talk->exchange.request, body, &xml_limits_soap, &talk->envelope),
        CA_OK);
    talk->body = xml_child(talk->envelope, SOAP_SPACE, "Body");
    cr_assert_not_null(talk->body);
}

void
talk_clear(struct talk *talk)
{
    exchange_clear(&talk->exchange);
}

/* The text at a path of local names below the body; NULL: nothing there. */
const char *
talk_text(const struct talk *talk, const char *path)
{
    const struct xml_node *node = talk->body;
    while (node && *path) {
        size_t size = strcspn(path, "/");
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)size, path);
        node = xml_child(node, NULL, name);
        path += size + (path[size] == '/');
    }
    return node ? node->text : NULL;
}

void
talk_assert_fault(const struct talk *talk, const char *subcode, const char *error_type)
{
    const char *type = talk_text(talk, "Fault/Detail/DeviceEnrollmentServiceError/"
                                       "ErrorType");
    cr_assert_neq(talk->status, CA_OK);
    cr_assert_eq(talk->exchange.answer.status, 500);
    cr_assert_str_eq(talk_text(talk, "Fault/Code/Value"), "s:Receiver");
    cr_assert_str_eq(talk_text(talk, "Fault/Code/Subcode/Value"), subcode, "%s",
                     status_message());
    cr_assert_str_eq(
        talk_text(talk, "Fault/Detail/DeviceEnrollmentServiceError/TraceId"),
        talk->exchange.request.id);
    cr_assert(error_type ? type && strcmp(type, error_type) == 0 : !type);
}

/* The document inside the answer, whose shape is held on the way. */
struct windows_walk
talk_document(struct talk *talk, const char *message_id)
{
    const struct xml_node *header = xml_child(talk->envelope, SOAP_SPACE, "Header");
    const struct xml_node *root = NULL;
    cr_assert_eq(talk->status, CA_OK, "%s", status_message());
    cr_assert_eq(talk->exchange.answer.status, 200);
    cr_assert_str_eq(
        xml_child(header, SOAP_SPACE_ADDRESSING, "Action")->text,
        "http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RSTRC/wstep");
    cr_assert_str_eq(xml_child(header, SOAP_SPACE_ADDRESSING, "RelatesTo")->text,
                     message_id);
    const struct xml_node *all = talk->body->first;
    cr_assert(xml_is(all, SOAP_SPACE_TRUST, "RequestSecurityTokenResponseCollection"));
    cr_assert(all->first && !all->first->next);
    static const char *const order[] = { "TokenType", "DispositionMessage",
                                         "RequestedSecurityToken", "RequestID" };
    const struct xml_node *node = all->first->first;
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++, node = node->next)
        cr_assert(node && strcmp(node->name, order[i]) == 0);
    cr_assert_null(node);
    cr_assert_str_eq(talk_text(talk, "RequestSecurityTokenResponseCollection/"
                                     "RequestSecurityTokenResponse/RequestID"),
                     "0");
    const char *text = talk_text(talk, "RequestSecurityTokenResponseCollection/"
                                       "RequestSecurityTokenResponse/"
                                       "RequestedSecurityToken/BinarySecurityToken");
    uint8_t *octets = ca_request_alloc(&talk->exchange.request, strlen(text));
    size_t size = 0;
    cr_assert_eq(
        base64_parse(text, strlen(text), BASE64_STRICT, octets, strlen(text), &size),
        CA_OK);
    cr_assert_eq(xml_read(&talk->exchange.request, (struct ca_bytes){ octets, size },
                          &xml_limits_soap, &root),
                 CA_OK);
    cr_assert(xml_is(root, "", "wap-provisioningdoc"));
    cr_assert_str_eq(xml_attribute(root, "version"), "1.1");
    return (struct windows_walk){ root->first, "wap-provisioningdoc" };
}

char *
talk_password(const char *user, const char *password)
{
    char *text = NULL;
    cr_assert(asprintf(&text,
                       "<wsse:UsernameToken u:Id=\"uuid-cc1ccc1f-2fba-4bcf-b063-"
                       "ffc0cac77917-4\"><wsse:Username>%s</wsse:Username>"
                       "<wsse:Password wsse:Type=\"" PASSWORD_TYPE "\">%s"
                       "</wsse:Password></wsse:UsernameToken>",
                       user, password) > 0);
    return text;
}

/* A message with this security and request; free() it. */
char *
talk_message_issue(const char *security, const uint8_t *csr, size_t size,
                   const char *type)
{
    CA_AUTO(free) char *request = base64_format(csr, size);
    char *text = windows_template("rst-windows10.xml");
    text = windows_fill(text, "@SECURITY@", security);
    text = windows_fill(text, "@REQUEST@", request);
    text = windows_fill(text, "@DEVICE@", WINDOWS_DEVICE);
    return windows_fill(text, "@TYPE@", type);
}

char *
talk_message_password(EVP_PKEY *key, const char *password)
{
    size_t size;
    CA_AUTO(free) char *security = talk_password("alice", password);
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(key, true, &size);
    return talk_message_issue(security, csr, size, "Full");
}

char *
talk_message_renew(const struct windows_pkcs7 *how, EVP_PKEY *key)
{
    size_t csr_size, size;
    CA_AUTO(openssl_free) uint8_t *csr = windows_csr(key, false, &csr_size);
    CA_AUTO(openssl_free)
    uint8_t *der = windows_renewal(how, csr, csr_size, &size);
    CA_AUTO(free) char *request = base64_format(der, size);
    return windows_fill(windows_template("rst-renew.xml"), "@REQUEST@", request);
}

/* The certificate of the My store; X509_free it. */
X509 *
talk_certificate(struct windows_walk document, const char *place, bool is_renewal)
{
    struct windows_walk store = walk_into(&document, "CertificateStore");
    struct windows_walk inside, part;
    for (const char *name = "Root"; name; name = *name == 'R' ? "CA" : NULL) {
        part = walk_into(&store, name);
        part = walk_into(&part, "System");
        X509_free(walk_certificate(&part, &inside));
        walk_end(&part);
    }
    struct windows_walk my = walk_into(&store, "My");
    part = walk_into(&my, place);
    X509 *certificate = walk_certificate(&part, &inside);
    struct windows_walk *holder = is_renewal ? &inside : &part;
    struct windows_walk container = walk_into(holder, "PrivateKeyContainer");
    walk_end(&container);
    walk_end(&inside);
    walk_end(&part);
    if (is_renewal)
        walk_end(&my);
    walk_end(&store);
    return certificate;
}

/* One enrolment that must succeed. */
X509 *
talk_enrol(EVP_PKEY *key)
{
    struct talk talk;
    CA_AUTO(free) char *message = talk_message_password(key, TALK_PASSWORD);
    talk_post(&talk, message, NULL);
    X509 *certificate =
        talk_certificate(talk_document(&talk, TALK_MESSAGE_ISSUE), "User", false);
    cr_assert_not_null(certificate);
    talk_clear(&talk);
    return certificate;
}
