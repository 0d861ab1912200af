/* Keeps tokens well between requests: one thread a token asks it for an operation now
 * and then, so that idle links stay alive and an outage is found before a device finds
 * it. */
#pragma once

#include "token.h"

#define KEEPER_SECONDS 30

struct keeper;
/* CA_UNAVAILABLE without threads. The set must outlive it. */
enum ca_status keeper_start(struct token_set *set, struct keeper **ret_keeper);
/* Ends the threads, and whatever waits for the tokens (token_set_quit); a thread whose
 * token does not answer is left behind. NULL is nothing. */
void keeper_stop(struct keeper *keeper);
