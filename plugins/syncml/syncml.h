/* OMA-DM 1.2 as Windows speaks it ([MS-MDM], OMA-TS-DM_RepPro-V1_2): messages in,
 * a session's state between them, messages out. */
#pragma once

#include "xml.h"

#define SYNCML_PATH "/syncml/initialquery"
#define SYNCML_TYPE "application/vnd.syncml.dm+xml"
#define SYNCML_TYPE_SHORT "application/vnd.syncml+xml" /* of other clients */
#define SYNCML_TYPE_WBXML "application/vnd.syncml.dm+wbxml"
#define SYNCML_TYPE_WBXML_SHORT "application/vnd.syncml+wbxml"
#define SYNCML_SPACE "SYNCML:SYNCML1.2"
#define SYNCML_METINF "syncml:metinf"

#define SYNCML_BODY_MAX (512 * 1024)
#define SYNCML_SESSION_SECONDS 600
#define SYNCML_ANSWER_MAX (48 * 1024) /* what commands may add to a message */
#define SYNCML_SIZE_MIN 2048          /* of a device's MaxMsgSize */
#define SYNCML_LEFT_MAX 500           /* statuses that wait for further messages */
#define SYNCML_INFO_MAX 32            /* nodes of DevInfo of a message */
#define SYNCML_COMMANDS_MAX 50        /* of a message */
#define SYNCML_OBJECT_MAX (64 * 1024) /* a large object of the device, put together */
#define SYNCML_VALUE_MAX 8192         /* of a result that is kept */
#define SYNCML_KEPT_MAX (48 * 1024)   /* all that waits in the state for the rest */
#define SYNCML_REPEAT_MAX (64 * 1024) /* an answer that is kept for a repeat */

/* The header of a message; texts of the request. */
struct syncml_header {
    const char *session; /* opaque; "0" is legal */
    int64_t message;     /* MsgID, from 1 */
    const char *target, *source;
    const char *name, *secret; /* Cred syncml:auth-basic, or NULL */
    const char *digest;        /* Cred syncml:auth-md5, or NULL */
    bool has_credential;       /* also of a type that is not known */
    int64_t max_size;          /* MaxMsgSize, 0: not said */
    bool is_wbxml;             /* so is the answer */
};
struct syncml_message {
    struct syncml_header header;
    const struct xml_node *body;
    bool is_final;
};

/* Of a message, in either form. */
extern const struct xml_limits syncml_limits;

/* The type of the answer to a message of such a Content-Type; NULL: not served. */
const char *syncml_answer_type(const char *content_type);
bool syncml_type_is_wbxml(const char *answer_type);
/* Reads the request's body. CA_MALFORMED, CA_LIMIT: no SyncML, HTTP 400. */
enum ca_status syncml_read(struct ca_request *req, struct syncml_message *ret_message);
/* An element's text by a path of names without namespaces ("Meta/Type"); NULL. */
const char *syncml_text(const struct xml_node *node, const char *path);
const struct xml_node *syncml_node(const struct xml_node *node, const char *path);

/* ---- The session: one JSON object, the state between two messages ---- */

static inline const char *
text_of(const json_t *object, const char *member)
{
    return json_string_value(json_object_get(object, member));
}
static inline int64_t
integer_of(const json_t *object, const char *member)
{
    return json_integer_value(json_object_get(object, member));
}

struct syncml_session {
    json_t *state;
    json_t *statuses; /* of the message being answered: {"ref", "cmd", "code", ...} */
    json_t *commands; /* that the answer gives: {"id", "cmd", "items" | "members"} */
    size_t size;      /* octets that the commands add, at most */
    size_t limit;     /* of that, where the device's MaxMsgSize leaves less; or 0 */
    int64_t next_id;  /* CmdID */
    bool unenrolled;  /* Alert 1226 by the user */
    bool waits;       /* requestpending: no command is sent again */
    bool aborted;     /* Alert 1223 */
    bool wants_more;  /* a chunk came: Alert 1222 */
    bool is_final;    /* the message is: what it says is settled at once */
    bool lost_end;    /* a large object never ended: Alert 1225 */
    bool holds_back;  /* statuses wait for the next message: no command, no Final */
    const json_t *policy; /* of syncml_policy_whole, or NULL: not in this message */
    json_t *finished;     /* answers for ca_manage_finish */
    bool failed;          /* no memory */
};

/* A new session, its token 32 hex digits; NULL: memory. */
json_t *syncml_session_new(const char *token);
/* Takes in what the device says: statuses of its commands, answers to ours, DevInfo. */
void syncml_session_take(struct syncml_session *session,
                         const struct syncml_message *message);
/* Settles what is answered now; queued commands go to `finished`. What a final message
 * leaves out is settled as unanswered, unless the device asks to wait. */
void syncml_session_settle(struct syncml_session *session,
                           const struct syncml_message *message);
/* Does a command of ours have no answer yet? */
bool syncml_session_is_waiting(const struct syncml_session *session);
void syncml_session_clear(struct syncml_session *session);

/* What a command of ours is for. */
#define SYNCML_FOR_DETAIL "detail"
#define SYNCML_FOR_POLICY "policy"
#define SYNCML_FOR_MEND "mend"
#define SYNCML_FOR_SCEP "scep"
#define SYNCML_FOR_ROOT "root"
#define SYNCML_FOR_QUEUE "queue"

/* Is there room for so many octets of commands? The first always has, but where the
 * device's MaxMsgSize says no: then it never has. */
bool syncml_session_has_room(const struct syncml_session *session, size_t size);
/* What a command adds to a message, at most. */
size_t syncml_command_size(const json_t *command);
/* Adds one command {"kind", "target", "data", "format", "type", "members"}, as the API
 * shows it; what comes of it is kept under `purpose` and `ref`. */
void syncml_session_add(struct syncml_session *session, const char *purpose,
                        const char *ref, const json_t *command);
/* Get of the nodes that first contact reads, as many as fit; the rest next time. */
void syncml_session_ask_detail(struct syncml_session *session);
/* Get of the policy's nodes and the commands that set right what the Gets found, as
 * many as fit. `before`: the report of the session that brought it last, for nodes that
 * cannot be read; or NULL. */
void syncml_session_policy(struct syncml_session *session, const json_t *before);
/* Is it a node of the user's, of whom nobody is there ([MS-MDM] LoginStatus)? */
bool syncml_session_lacks_user(const struct syncml_session *session, const char *uri);
/* The policy as the device gets it: its items, and a delete of each kept node that it
 * no longer names, "gone". json_decref it; NULL: memory. */
json_t *syncml_policy_whole(const json_t *policy);
/* The nodes that the device has by it, or may have: what is gone for good is left out
 * when the policy is `done`. json_decref it; NULL: memory. */
json_t *syncml_policy_nodes(const struct syncml_session *session, bool done);
/* Is every item of the policy settled? */
bool syncml_session_policy_is_done(const struct syncml_session *session);

/* Inside the engine: an answered command of ours that is not from the queue. */
void syncml_work_settle(struct syncml_session *session, const json_t *pending);
/* Root, then the SCEP profile in one Atomic with Exec last: at most so many octets. */
#define SYNCML_SCEP_SIZE (12 * 1024)
void syncml_session_offer_scep(struct syncml_session *session,
                               const struct ca_scep_offer *offer,
                               const char *root_base64);

/* ---- The answer ---- */

/* Leaves of the statuses what `max` octets (the device's MaxMsgSize; 0: all) hold,
 * after those that an earlier message had no room for; the rest waits in the state, and
 * commands have the limit that remains. false: not one fits, or too many wait. */
bool syncml_answer_fit(struct syncml_session *session,
                       const struct syncml_header *header, size_t max);
/* Octets of a text in XML, at most. */
size_t syncml_escaped_size(const char *text);
/* Writes the statuses and commands of the session in the form of the message that they
 * answer. `code`: of SyncHdr; `nonce`: Chal, or NULL. */
enum ca_status syncml_answer(struct ca_request *req, struct syncml_session *session,
                             const struct syncml_header *header, int code,
                             const char *nonce, struct ca_bytes *ret_octets);
