/* The client's half of ECSPEKE-ACT-1: messages in, messages out, no network. An
 * integrator's reading starts here (docs/protocols/activation.md). */
#pragma once

#include "box.h"
#include "stretch.h"
#include <jansson.h>

#define EXCHANGE_SUITES 1 /* what the client offers: ecspeke-p521 */
#define EXCHANGE_SERVER_MAX 255
#define EXCHANGE_CLIENT "sealwright/" SEALWRIGHT_VERSION

/* One activation from hello to grant. */
struct exchange_client {
    const char *const *suites; /* offered, in order; ended by NULL */
    const char *client;        /* name and version, at most 64 octets */
    const char *sent;          /* the login name as it goes out */
    const char *ref;
    const char *server; /* the name that the server must know itself by */

    char user[STRETCH_USER_MAX + 1]; /* canonical */
    uint8_t cn[TRANSCRIPT_NONCE_SIZE], sn[TRANSCRIPT_NONCE_SIZE];
    uint8_t
        tag[BOX_TAG_SIZE]; /* T of the request's box, which the answer is bound to */
    const struct speke_suite *suite;
    struct transcript transcript;
    struct speke_point share; /* Yc */
    struct schedule schedule;
};

/* M1; json_decref it. CA_MALFORMED: no such name is possible. */
enum ca_status exchange_hello(struct exchange_client *client, json_t **ret_hello);

/* PRS, the password stretched as M2 says; wipe it. CA_MALFORMED: another server, a
 * suite or a cost that the client does not take. */
enum ca_status exchange_stretch(struct exchange_client *client, const json_t *reply,
                                const char *password,
                                uint8_t ret_prs[STRETCH_PRS_SIZE]);
/* Takes M2. CA_MALFORMED: as above, an unacceptable share. */
enum ca_status exchange_reply(struct exchange_client *client, const json_t *reply,
                              const uint8_t prs[STRETCH_PRS_SIZE]);

/* M3 with the DER of a PKCS#10 request. */
enum ca_status exchange_enroll(struct exchange_client *client, struct ca_bytes pkcs10,
                               json_t **ret_enroll);

/* The JSON inside M4, a grant or a refusal, once tag and box have proven the server:
 * CA_UNAUTHENTICATED otherwise. Wipe it when done (field_json_wipe). */
enum ca_status exchange_answer(const struct exchange_client *client,
                               const json_t *answer, json_t **ret_content);

/* Wipes keys; the borrowed texts stay. */
void exchange_client_clear(struct exchange_client *client);

/* A base64url member of a message; free() the octets. CA_MALFORMED. */
enum ca_status exchange_octets(const json_t *object, const char *name,
                               uint8_t **ret_octets, size_t *ret_size);
