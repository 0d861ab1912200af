/* A device that keeps a tree as Windows does, in management sessions with the real
 * core. */
#pragma once

#include "auto.h"
#include "exchange.h"
#include "house.h"
#include "syncml.h"
#include "text.h"
#include <criterion/criterion.h>
#include <string.h>

#define PC_PEER_ID "B5B954E81FBCB94EB79BD08BE625F4EE"
#define PC_ADDRESS "https://ca.example.com/syncml/initialquery"
/* The alert of a user who ends the management. */
#define PC_UNENROL                                                                     \
    "<Alert><CmdID>4</CmdID><Data>1226</Data><Item><Meta><Type "                       \
    "xmlns=\"syncml:metinf\">com.microsoft:mdm.unenrollment.userrequest</Type>"        \
    "<Format xmlns=\"syncml:metinf\">int</Format></Meta><Data>1</Data></Item></Alert>"

extern struct house pc_house;
extern struct house_device pc_device; /* enrolled, of alice */
extern char pc_device_id[37];

/* Of a TestSuite. */
void pc_setup(void);
void pc_teardown(void);

struct pc {
    const char *session, *source;
    X509 *certificate;
    const char *cred;            /* inside of Cred, or NULL */
    size_t max_size;             /* MaxMsgSize that it says, 0: none */
    const char *login;           /* LoginStatus, NULL: "user" */
    bool is_wbxml;               /* speaks it, by libwbxml alone */
    const char *opaque, *broken; /* nodes that cannot be read, or changed; or NULL */
    json_t *tree;                /* node -> value */
    int message, id;
    struct text_buffer body; /* what it says next */
    struct exchange exchange;
    const struct xml_node *root; /* of the last answer, or NULL */
    int http;
    int gets, atomics, seen; /* commands of the server */
    bool more;               /* the server gave something to do */
};

/* A device with its TLS client certificate, before the session of this name. */
void pc_open(struct pc *pc, const char *session);
void pc_close(struct pc *pc);
void pc_send_raw(struct pc *pc, const void *body, size_t size, const char *type);
/* A message in XML, in the form that the device speaks. */
void pc_send_text(struct pc *pc, const char *text);
/* Its octets in WBXML; free() them. */
uint8_t *pc_wbxml(const char *text, size_t *ret_size);
/* Header and what was gathered in `body`, as message `number`; free() it. */
char *pc_message(const struct pc *pc, int number, bool final);
/* The next message. */
void pc_send(struct pc *pc);
/* Package 1: Alerts and DevInfo, in message 1. */
void pc_begin(struct pc *pc);
/* Code of the answer's SyncHdr. */
int pc_header_code(const struct pc *pc);
/* Says what came of a command of the server. */
void pc_status(struct pc *pc, const struct xml_node *command, int code);
/* Does what the answer says; false: the session is over. */
bool pc_obey(struct pc *pc);
/* A whole session. */
void pc_session(struct pc *pc);
/* So many queued commands, Add and Get in turn. */
void pc_queue(int count);
