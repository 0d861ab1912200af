/* Any octets as a share: the first chooses the suite, the rest is what a peer sends. */
#include "fuzz.h"
#include "speke.h"
#include <string.h>

size_t fuzz_deep;

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct speke_scalar ones = { .octets = { [65] = 1 } };
    static const struct speke_scalar ones_p256 = { .octets = { [31] = 1 } };
    static const struct speke_point own; /* x = 0 */
    uint8_t secret[SPEKE_ELEMENT_MAX];
    if (size == 0)
        return 0;
    bool is_p256 = data[0] & 1;
    const struct speke_suite *suite = is_p256 ? &speke_p256 : &speke_p521;
    const struct ca_bytes share = { data + 1, size - 1 };
    enum ca_status status = speke_share_check(suite, &own, share);
    FUZZ_ASSERT(status == CA_OK || status == CA_MALFORMED);
    FUZZ_ASSERT(speke_secret(suite, is_p256 ? &ones_p256 : &ones, &own, share,
                             secret) == status);
    if (status != CA_OK)
        return 0;
    fuzz_deep++;
    FUZZ_ASSERT(share.size == suite->share_size && share.data[0] == 4);
    FUZZ_ASSERT(memcmp(secret, share.data + 1, suite->field->size) == 0);
    return 0;
}
