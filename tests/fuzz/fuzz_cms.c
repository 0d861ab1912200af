/* Any octets as what a SCEP client sends: the outer message, the envelope inside it,
 * and the request inside that, each by its own decoder, and BER made DER. */
#include "fake_core.h"
#include "fuzz.h"
#include "scep.h"

size_t fuzz_deep;

static struct fake_core core;

/* What was made DER is DER already: nothing changes a second time. */
static bool
normalise(struct ca_bytes from)
{
    struct asn1_writer once = { 0 }, twice = { 0 };
    struct ca_bytes plain = { from.data, asn1_der_size(from) };
    bool is_ber = asn1_from_ber(&from, &once);
    FUZZ_ASSERT(is_ber || plain.size == 0);
    if (is_ber) {
        struct ca_bytes der = asn1_written(&once);
        FUZZ_ASSERT(plain.size == 0 || asn1_equal(plain, der));
        FUZZ_ASSERT(asn1_der_size(der) == der.size);
        FUZZ_ASSERT(asn1_from_ber(&der, &twice) && der.size == 0);
        FUZZ_ASSERT(asn1_equal(asn1_written(&once), asn1_written(&twice)));
    }
    asn1_writer_clear(&once);
    asn1_writer_clear(&twice);
    return is_ber;
}

static void
message(struct ca_bytes octets)
{
    struct scep_message message = { 0 };
    enum ca_status status = scep_message_decode(&core.request, octets, &message);
    FUZZ_ASSERT((status == CA_OK) == (message.key != NULL));
    /* All that comes before the signature held. */
    if (status == CA_OK || status == CA_UNAUTHENTICATED)
        fuzz_deep++;
    if (status == CA_OK) {
        size_t size = strlen(message.transaction);
        FUZZ_ASSERT(size >= 1 && size <= SCEP_TRANSACTION_MAX);
        FUZZ_ASSERT(message.signer_bits <= SCEP_RSA_BITS_MAX);
        status = scep_message_certificate(&message);
        FUZZ_ASSERT((status == CA_OK) == (message.signer != NULL));
    }
    scep_message_clear(&message);
}

static void
envelope(struct ca_bytes octets)
{
    const struct scep_settings settings = { .des3 = true };
    struct scep_envelope envelope = { 0 };
    if (scep_envelope_decode(&core.request, octets, &envelope) != CA_OK)
        return;
    fuzz_deep++;
    FUZZ_ASSERT(envelope.count <= SCEP_RECIPIENTS_MAX);
    envelope.recipient = envelope.recipients;
    if (scep_envelope_check_algorithms(&envelope, &settings) == CA_OK)
        FUZZ_ASSERT(envelope.cipher && envelope.cipher->key_size > 0);
}

static void
pkcs10(struct ca_bytes octets)
{
    struct scep_pkcs10 pkcs10 = { 0 };
    struct ca_bytes modulus, exponent;
    if (scep_pkcs10_decode(&core.request, octets, &pkcs10) != CA_OK)
        return;
    fuzz_deep++;
    FUZZ_ASSERT(pkcs10.spki.size > 0);
    FUZZ_ASSERT(pkcs10.challenge.size <= 3 * octets.size);
    if (cms_spki_rsa(pkcs10.spki, &modulus, &exponent))
        FUZZ_ASSERT(cms_bits(modulus) <= 8 * octets.size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct ca_bytes octets = { data, size };
    fake_core_request(&core, "POST", "/default", "", data, size);
    normalise(octets);
    message(octets);
    envelope(octets);
    pkcs10(octets);
    fake_core_request(&core, "POST", "/default", "", NULL, 0);
    return 0;
}
