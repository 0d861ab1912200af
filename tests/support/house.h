/* A whole service for tests: SoftHSM token, store, issuers with an RA, organisation,
 * profiles and a user, in a folder of its own. Every function ends the test when it
 * cannot do its part.
 *
 * root (P-256) -> issuing (P-256) with an RSA-2048 RA; profiles certificate/default and
 * scep/default (CN={{user.name}}, renewal inside the last 30 of 365 days); user alice.
 */
#pragma once

#include "challenge.h"
#include "exchange.h"
#include "profile.h"
#include "softhsm.h"

struct house {
    struct softhsm hsm;
    char config[96]; /* path of sealwright.json in hsm.folder */
    char store[96];  /* path of the store's file */
    struct service *service;
};

/* Makes all of it and opens the service. */
void house_build(struct house *house);
/* Closes the service and opens it again, as after a restart: another run id. */
void house_reopen(struct house *house);
void house_close(struct house *house); /* the service alone */
/* Closes what is open and removes the folder. */
void house_remove(struct house *house);

/* A write that must succeed. */
void house_write(struct house *house, store_fn fn, void *arg);
/* Inserts a profile, or replaces the one of this name; `text` as the API takes it. */
void house_profile(struct house *house, enum profile_kind kind, const char *text);
/* certificate/default with one member of its settings set to this JSON text. */
void house_set(struct house *house, const char *member, const char *value);
void house_user(struct house *house, const char *name);
/* A challenge for a day; members of `wanted` that are NULL are alice and "default". */
void house_challenge(struct house *house, const struct challenge *wanted,
                     char ret_text[CHALLENGE_TEXT_SIZE]);
/* The integer of a SELECT of one row and column. */
int64_t house_integer(struct house *house, const char *sql);
/* One statement without values. */
void house_run(struct house *house, const char *sql);

/* A request as the host hands it to a plugin: exchange_clear it. */
void house_exchange(struct house *house, struct exchange *ret_exchange);

/* A device: its key, PKCS#10 and a self-signed certificate, as SCEP clients make them.
 */
struct house_device {
    EVP_PKEY *key;
    X509 *self;        /* signs the first message */
    X509 *certificate; /* what it got, or NULL */
    uint8_t *request;  /* PKCS#10 */
    size_t request_size;
    char serial[48];
};
/* `san` as OpenSSL's text ("DNS:a.example") or NULL. */
void house_device_make(struct house_device *device, const char *cn, const char *san);
/* With a key of the caller's choice, taken over. */
void house_device_make_with(struct house_device *device, EVP_PKEY *key, const char *cn,
                            const char *san);
/* The same key, another PKCS#10. */
void house_device_ask(struct house_device *device, const char *cn, const char *san);
void house_device_clear(struct house_device *device);

/* One PKCSReq by challenge as the SCEP plugin makes it: poll as a retry, authenticate,
 * enrol. `transaction` NULL: "t". CA_OK fills certificate and serial of the device. */
enum ca_status house_enroll(struct house *house, struct house_device *device,
                            const char *challenge, const char *transaction);
/* One renewal (message "17" or "19"), signed with the certificate it has; `new` gets
 * the new one and may be the device itself. */
enum ca_status house_renew(struct house *house, const struct house_device *device,
                           struct house_device *new, const char *message,
                           const char *transaction);
/* One CertPoll, signed with the device's own key. */
enum ca_status house_poll(struct house *house, struct house_device *device,
                          const char *transaction);
