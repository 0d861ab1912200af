/* Periodic work in one thread: CRLs, abandoned intents, expired state. */
#pragma once

#include "service.h"

struct jobs;
/* Starts the thread, and the daemon's life in the audit (SECURITY I4). */
enum ca_status jobs_start(struct service *service, struct jobs **ret_jobs);
/* Ends the work in hand, writes what was counted, and the stop. NULL is nothing. */
void jobs_stop(struct jobs *jobs);
/* A revocation took place: look at the CRLs now. */
void jobs_wake(struct service *service);

/* One look at every CRL; what is due is built by the instance that holds the lease. The
 * status of the first that failed; each is logged. */
enum ca_status jobs_build_crls(struct service *service);
