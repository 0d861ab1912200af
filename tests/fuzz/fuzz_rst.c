/* Any octets as a RequestSecurityToken: its elements, what the device says of itself,
 * and the token in it. */
#include "auto.h"
#include "fake_core.h"
#include "fuzz.h"
#include "wstep.h"

size_t fuzz_deep;

static struct fake_core core;

static void
facts(const struct wstep_rst *rst)
{
    CA_AUTO(json_decref) json_t *hardware = NULL;
    CA_AUTO(json_decref) json_t *report = NULL;
    if (wstep_facts(rst, &hardware, &report) != CA_OK)
        return;
    FUZZ_ASSERT(json_object_size(report) <= rst->item_count);
    FUZZ_ASSERT(json_object_size(hardware) <= json_object_size(report));
}

static void
token(struct ca_bytes octets)
{
    struct wstep_content content = { 0 };
    if (wstep_content_read(&core.request, octets, &content) == CA_OK)
        FUZZ_ASSERT(content.pkcs10.der.size > 0);
    wstep_content_clear_auto(&content);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct soap_request soap;
    struct wstep_rst rst;
    fake_core_request(&core, "POST", "", "", data, size);
    if (soap_read(&core.request, &soap) == CA_OK &&
        wstep_rst_read(&core.request, &soap, &rst) == CA_OK) {
        fuzz_deep++;
        FUZZ_ASSERT(strlen(rst.transaction) == 64);
        FUZZ_ASSERT(rst.token.size <= WSTEP_TOKEN_MAX);
        FUZZ_ASSERT(rst.item_count <= WSTEP_ITEMS_MAX);
        FUZZ_ASSERT(!rst.request_id || *rst.request_id);
        facts(&rst);
        token(rst.token);
    }
    fake_core_request(&core, "POST", "", "", NULL, 0);
    return 0;
}
