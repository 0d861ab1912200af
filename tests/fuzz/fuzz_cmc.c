/* Any octets as the token of an enrolment by CES: PKCS#10, PKCS#7 or CMC told apart,
 * the template in it read; and the answer to its part, which must be what it says. */
#include "fake_core.h"
#include "fuzz.h"
#include "wstep.h"

size_t fuzz_deep;

static struct fake_core core;

/* The answer is one SignedData of PKIResponse, whatever is sent back in it. */
static void
answer(const struct cmc_request *request)
{
    struct asn1_writer writer = { 0 };
    const struct cmc_response response = {
        .part = request->part,
        .transaction = request->transaction,
        .nonce = request->nonce,
        .token = "1",
        .ask_at = 1795600800,
    };
    cmc_put_response(&writer, &response);
    struct ca_bytes der = asn1_written(&writer), inside;
    FUZZ_ASSERT(cms_take(&der, cms_signed_data, &inside) && der.size == 0);
    asn1_writer_clear(&writer);
}

static void
part(struct ca_bytes octets)
{
    struct cmc_request request;
    if (cmc_decode(octets, &request) != CA_OK)
        return;
    fuzz_deep++;
    FUZZ_ASSERT(request.part > 0 && request.pkcs10.size > 0);
    FUZZ_ASSERT(request.nonce.size <= CMC_NONCE_MAX);
    answer(&request);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ca_bytes octets = { data, size };
    struct wstep_content content = { 0 };
    struct wstep_template template;
    fake_core_request(&core, "POST", "", "", data, size);
    part(octets);
    if (wstep_content_read(&core.request, octets, &content) == CA_OK) {
        fuzz_deep++;
        FUZZ_ASSERT(content.pkcs10.spki.size > 0 && content.cmc.part > 0);
        FUZZ_ASSERT(!(content.flags & CA_ENROL_KEY_SHA1) ||
                    (content.flags & CA_ENROL_KEY_PROVED));
        if (wstep_template_read(&content, &template) == CA_OK)
            FUZZ_ASSERT(strlen(template.oid) <= WSTEP_TEMPLATE_MAX &&
                        strlen(template.name) <= WSTEP_TEMPLATE_MAX);
        wstep_content_clear_auto(&content);
    }
    fake_core_request(&core, "POST", "", "", NULL, 0);
    return 0;
}
