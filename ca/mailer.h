/* The thread that delivers the outbox: one mail after the other, with back-off, on one
 * instance at a time. */
#pragma once

#include "service.h"

struct mailer;
enum ca_status mailer_start(struct service *service, struct mailer **ret_mailer);
/* Gives up the delivery in hand, which waits on. NULL is nothing. */
void mailer_stop(struct mailer *mailer);

/* One look at the outbox, as the thread takes it: delivers what is due. The status of
 * the store; a delivery that failed is in the outbox. `stop` may be NULL. */
enum ca_status mailer_run(struct service *service, const atomic_bool *stop);
