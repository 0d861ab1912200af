/* Signed tokens: what is read is whole, and no token without the key's signature holds.
 */
#include "fuzz.h"
#include "jws.h"
#include <stdlib.h>
#include <string.h>

size_t fuzz_deep;

/* Keys that have signed nothing, one of each kind. */
static const char keys_text[] =
    "{\"keys\": [{\"kty\": \"EC\", \"crv\": \"P-256\", \"kid\": \"e\", \"x\": "
    "\"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY\", \"y\": "
    "\"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU\"}, {\"kty\": \"RSA\", \"kid\": "
    "\"r\", \"e\": \"AQAB\", \"n\": \"AQAB\"}]}";

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct jws jws = { .header = NULL };
    const json_t *key = NULL;
    json_t *keys = json_loads(keys_text, 0, NULL);
    char *text = malloc(size + 1);
    FUZZ_ASSERT(keys);
    if (!text) {
        json_decref(keys);
        return 0;
    }
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    enum ca_status status = jws_parse(text, &jws);
    FUZZ_ASSERT(status == CA_OK || (!jws.header && !jws.claims && !jws.text));
    if (status == CA_OK) {
        fuzz_deep++;
        FUZZ_ASSERT(json_is_object(jws.header) && json_is_object(jws.claims));
        FUZZ_ASSERT(strncmp(jws.text, text, strlen(jws.text)) == 0);
        FUZZ_ASSERT(jws.signature_size <= JWS_SIGNATURE_MAX);
        status = jws_find_key(&jws, keys, &key);
        FUZZ_ASSERT(status != CA_OK || jws_verify(&jws, key) == CA_UNAUTHENTICATED);
        jws_clear(&jws);
    }
    json_decref(keys);
    free(text);
    return 0;
}
