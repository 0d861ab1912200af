/* SHA-256, found once. */
#include "digest.h"
#include <openssl/sha.h>
#include <pthread.h>

static EVP_MD *found; /* kept for the process */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void
find(void)
{
    found = EVP_MD_fetch(NULL, "SHA256", NULL);
}

const EVP_MD *
digest_sha256_method(void)
{
    pthread_once(&once, find);
    return found ? found : EVP_sha256();
}

void
digest_sha256(const void *octets, size_t size, uint8_t ret_digest[32])
{
    if (EVP_Digest(octets, size, ret_digest, NULL, digest_sha256_method(), NULL) != 1)
        SHA256(octets, size, ret_digest);
}
