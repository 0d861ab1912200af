/* Certificates as tests of the inventory have them: reserved, issued, looked at. */
#pragma once

#include "certificate.h"
#include "clock.h"
#include "scratch_records.h"

#define NOW 1795341600
#define RUN "run-1"

static const uint8_t signer[32] = { 1 }, request[32] = { 2 };

/* A certificate as a test has it: its texts are never freed. */
static inline struct certificate __attribute__((unused))
certificate_of(const char *serial)
{
    static char spki[] = "01010101010101010101010101010101"
                         "01010101010101010101010101010101";
    static char dns[] = "dns:a.example.com", email[] = "email:a@example.com";
    static char *names[] = { dns, email };
    struct certificate certificate = {
        .not_before = NOW,
        .not_after = NOW + 1000,
        .spki_sha256 = spki,
        .san = { names, 2 },
        .der_size = 3,
    };
    static char issuer[] = "issuing", subject[] = "CN=a,O=Example", tbs[] = "tbs";
    static char profile[] = "default", user[] = "alice", device[] = "d1";
    static char protocol[] = "scep", serials[64][33];
    static size_t next;
    char *own = serials[next++ % 64];
    snprintf(own, 33, "%s", serial);
    certificate.serial = own;
    certificate.issuer = issuer;
    certificate.subject = subject;
    certificate.der = tbs;
    certificate.profile = profile;
    certificate.user = user;
    certificate.device = device;
    certificate.protocol = protocol;
    return certificate;
}

static inline enum ca_status __attribute__((unused))
reserve(struct store_tx *tx, const char *serial, const char *transaction,
        const uint8_t *digest, int64_t fresh_since)
{
    struct certificate certificate = certificate_of(serial);
    struct certificate_intent intent = {
        .certificate = &certificate,
        .challenge = "0011223344556677",
        .endpoint = "scep/default",
        .transaction = transaction,
        .signer_spki_sha256 = transaction ? signer : NULL,
        .request_sha256 = digest,
        .fresh_since = fresh_since,
        .run = RUN,
        .replaces = "beef",
    };
    return certificate_reserve(tx, &intent);
}

static inline void __attribute__((unused))
issue(struct store_tx *tx, const char *serial)
{
    CR_OK(reserve(tx, serial, NULL, NULL, 0));
    CR_OK(certificate_complete(tx, serial, RUN, "der!", 4));
}

static inline int __attribute__((unused))
state_of(struct store_tx *tx, const char *serial)
{
    struct certificate certificate = { 0 };
    CR_OK(certificate_load(tx, NULL, serial, &certificate));
    int state = certificate.state;
    certificate_clear(&certificate);
    return state;
}

static inline enum ca_status __attribute__((unused))
transaction_state(struct store_tx *tx, const char *transaction, const uint8_t *digest,
                  int *ret_state, char ret_serial[33])
{
    struct certificate_transaction found = { 0 };
    enum ca_status status = certificate_of_transaction(tx, "scep/default", transaction,
                                                       signer, digest, &found);
    if (status == CA_OK) {
        *ret_state = found.state;
        snprintf(ret_serial, 33, "%s", found.serial);
    }
    certificate_transaction_clear(&found);
    return status;
}

static inline enum ca_status __attribute__((unused))
gather_transaction(const void *record, void *arg)
{
    const struct certificate_transaction *transaction = record;
    char text[128];
    snprintf(text, sizeof text, "%s/%s/%d", transaction->serial, transaction->challenge,
             transaction->state);
    gather(arg, text);
    return CA_OK;
}
