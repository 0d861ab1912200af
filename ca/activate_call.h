/* The session of one request, between the calls of the plugin (calls_activation*.c). */
#pragma once

#include "activate.h"
#include "activation_session.h"
#include "plugin_activation.h"

struct activate_call {
    char sn[ACTIVATION_SN_SIZE];
    uint8_t sn_octets[16];
    char *user, *ref;                    /* canonical */
    char *server;                        /* its name in CI */
    char name[ACTIVATE_NAME_SIZE];       /* of the throttles */
    char activation[ACTIVATION_ID_SIZE]; /* "": no live password */
    bool is_live;                        /* at the attempt: a try was taken */
    bool is_last;                        /* and it was the last one */
    bool is_proven;
};

/* The session of this request; NULL before begin and attempt. */
struct activate_call *activate_call_of(struct exchange *exchange);
/* Counts what an exchange failed by: in memory like every refusal before a credential
 * held, whether the password exists or not, so that the answer takes as long. */
void activate_failed(struct exchange *exchange, const char *reason);
/* This enroll comes to no answer that is kept: a repetition finds the session gone. One
 * write, whether the password exists or not. */
void activate_session_over(struct exchange *exchange);
/* The one place that calls of this protocol refuse at. */
enum ca_status activate_refuse(struct exchange *exchange, enum ca_status status);
