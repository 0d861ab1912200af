/* Any octets as a SOAP request with its credential, as a Discover message and as a
 * login form; whatever comes of it, the fault is well-formed. */
#include "discovery.h"
#include "fake_core.h"
#include "form.h"
#include "fuzz.h"
#include "soap.h"

size_t fuzz_deep;

static struct fake_core core;

static void
fault(const struct soap_request *soap)
{
    const struct xml_node *root = NULL;
    FUZZ_ASSERT(soap_fault_send(&core.request, soap,
                                &(struct soap_fault){ .code = SOAP_MESSAGE_FORMAT }) ==
                CA_OK);
    struct ca_bytes octets = { core.body, core.size };
    FUZZ_ASSERT(xml_read(&core.request, octets, &xml_limits_soap, &root) == CA_OK);
}

static void
form(void)
{
    const char *user = NULL;
    if (form_value(&core.request, "user", &user) == CA_OK && user) {
        const char *escaped = form_escape(&core.request, user);
        FUZZ_ASSERT(escaped && !strpbrk(escaped, "<>\"'"));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct soap_request soap;
    struct soap_token token = { 0 };
    struct discovery_request request;
    fake_core_request(&core, "POST", "", "", data, size);
    core.now = INT64_C(1795600800); /* when the signed message of the corpus was */
    form();
    enum ca_status status = soap_read(&core.request, &soap);
    FUZZ_ASSERT((status == CA_OK) == (soap.content != NULL));
    if (status == CA_OK) {
        fuzz_deep++;
        status = soap_token_read(&core.request, &soap, &token);
        FUZZ_ASSERT(status == CA_OK || token.kind == SOAP_TOKEN_KIND_NONE);
        if (token.kind == SOAP_TOKEN_KIND_LOGIN)
            FUZZ_ASSERT(strlen(token.secret) == token.secret_size);
        FUZZ_ASSERT((token.kind == SOAP_TOKEN_KIND_SIGNED) ==
                    (token.certificate != NULL));
        soap_token_clear(&token);
        if (discovery_read(soap.content, &request) == CA_OK)
            FUZZ_ASSERT(request.is_first || request.major >= 1);
    }
    fault(&soap);
    fake_core_forget(&core);
    return 0;
}
