/* A PC that enrols by [MS-WSTEP] through the real core: its messages, what it reads out
 * of the answers, and the house it enrols in. */
#pragma once

#include "house.h"
#include "windows_client.h"
#include "wstep.h"
#include <criterion/criterion.h>

#define TALK_DAY INT64_C(86400)
#define TALK_PASSWORD "correct-horse-9" /* of alice */
#define TALK_MESSAGE_ISSUE "urn:uuid:0d5a1441-5891-453b-becf-a2e5f6ea3749"
#define TALK_MESSAGE_RENEW "urn:uuid:7c1f2f0e-52a5-4a35-9a85-2f6d1c8b0e11"

extern struct house talk_house;

/* Of a TestSuite: a house with the plugin, alice and a profile for her; and its end. */
void talk_setup(void);
void talk_teardown(void);
/* Certificates since then. */
int64_t talk_issued(void);

/* One message and its answer, read while the request lives. */
struct talk {
    struct exchange exchange;
    enum ca_status status;
    const struct xml_node *envelope, *body;
};
/* Posts to the device service; `peer`: TLS client certificate, or NULL. */
void talk_post(struct talk *talk, const char *message, X509 *peer);
void talk_clear(struct talk *talk);
/* The text at a path of local names below the body; NULL: nothing there. */
const char *talk_text(const struct talk *talk, const char *path);
void talk_assert_fault(const struct talk *talk, const char *subcode,
                       const char *error_type);
/* The document inside the answer, whose shape is held on the way. */
struct windows_walk talk_document(struct talk *talk, const char *message_id);
/* The certificate of its My store; X509_free it. */
X509 *talk_certificate(struct windows_walk document, const char *place,
                       bool is_renewal);

/* Messages and their parts; free() them. */
char *talk_password(const char *user, const char *password);
char *talk_message_issue(const char *security, const uint8_t *csr, size_t size,
                         const char *type);
char *talk_message_password(EVP_PKEY *key, const char *password);
char *talk_message_renew(const struct windows_pkcs7 *how, EVP_PKEY *key);

/* One enrolment that must succeed: its certificate. */
X509 *talk_enrol(EVP_PKEY *key);
