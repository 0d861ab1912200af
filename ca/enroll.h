/* Enrolment: the order of SECURITY I1 in one place. The exported calls are in
 * plugin.h. */
#pragma once

#include "service.h"

/* Signs what was approved while the device was not asking: called by the approval of
 * the API and by a job. CA_OK also when there is nothing to do. */
enum ca_status enroll_approved(struct service *service, const char *pending_id);

/* Once, before the first request: gives up what this instance's last run was about to
 * sign when it was killed, where no retry can finish it, so that its one-time secrets
 * are free again at once. */
enum ca_status enroll_recover(struct service *service);

/* The periodic part: abandons intents that nobody signs, expires pending requests. */
enum ca_status enroll_tidy(struct service *service);
