/* Periodic work in one thread: CRLs, abandoned intents, expired state. */
#pragma once

#include "service.h"

struct jobs;
enum ca_status jobs_start(struct service *service, struct jobs **ret_jobs);
void jobs_stop(struct jobs *jobs);
/* A revocation took place: look at the CRLs now. */
void jobs_wake(struct service *service);
