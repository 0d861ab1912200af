/* One step of a session: a message of the device, and the answer to it. */
#pragma once

#include "syncml.h"

struct syncml_step {
    struct ca_request *req;
    struct syncml_message message;
    struct syncml_session session;
    struct ca_managed managed;
    const char *key;  /* of the session's state */
    int64_t version;  /* of that state, 0: new */
    bool is_over;     /* nothing is left to do */
    bool has_claimed; /* queued commands, under a token that this step has drawn */
    json_t *policy;   /* whole, or NULL */
    json_t *kept;     /* nodes of the policy, as the core has them; or NULL */
};

#define SYNCML_TOKEN_SIZE 33
/* What the queue knows a session by, 32 hex digits. Each claim has another: of two
 * messages at once the one that does not count can give back its own alone. No command
 * is without an answer when the next are claimed. */
enum ca_status syncml_step_token(char ret_token[SYNCML_TOKEN_SIZE]);

/* The owner's policy, with what it no longer names; none is CA_OK as well. */
enum ca_status syncml_step_open(struct syncml_step *step);
/* What the device said goes into the records. */
enum ca_status syncml_step_record(struct syncml_step *step);
/* What the policy came to, once all of it is settled: into the report, and what was set
 * right into the audit. */
enum ca_status syncml_step_policy(struct syncml_step *step);
/* Policy, SCEP profile and queued commands, as much as the message has room for;
 * nothing while the device is not done with what it has. */
enum ca_status syncml_step_give(struct syncml_step *step);
