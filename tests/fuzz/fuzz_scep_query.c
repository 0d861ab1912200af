/* Any text as the message of a SCEP GET. */
#include "fake_core.h"
#include "fuzz.h"
#include "scep.h"

size_t fuzz_deep;

static struct fake_core core;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ca_bytes octets = { 0 };
    fake_core_request(&core, "GET", "/default", "", NULL, 0);
    if (scep_query_decode(&core.request, (const char *)data, size, &octets) == CA_OK) {
        fuzz_deep++;
        FUZZ_ASSERT(octets.size > 0 && octets.size <= SCEP_BODY_MAX);
        FUZZ_ASSERT(octets.size <= size);
    }
    fake_core_request(&core, "GET", "/default", "", NULL, 0);
    return 0;
}
