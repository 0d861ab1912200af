/* The recovery manager: one thread a library that rebuilds what a failure left behind.
 *
 * Up, a key's live half can be used under the read lock. A failed signature publishes
 * "down" first and asks for a rebuild of the generation it used; the manager takes the
 * write lock, so that every operation is over, drops keys, sessions and slots, and
 * makes them anew (level 1), or finalises and loads the library again as well (level
 * 2), with back-off until it works. Requests wait meanwhile, bounded in time and
 * number. */
#pragma once

#include "token_inner.h"

/* A manager thread for each library of the set, once its tokens are up; and their end,
 * from which on nobody waits. */
enum ca_status recovery_start(struct token_set *set);
void recovery_stop(struct token_set *set);

/* Waits until the token is up or `deadline` (clock_ticks). CA_UNAVAILABLE at once when
 * it is latched or stuck, or when too many wait already. */
enum ca_status recovery_wait(struct token *token, int64_t deadline);

/* Something failed in `generation`: this thread's message says what. Nothing happens
 * when that generation is gone already. */
void recovery_request(struct token *token, uint64_t generation);

/* A token of the module is not there yet: the manager looks for it from its start on.
 */
void recovery_expect(struct module *module);

enum token_state recovery_state(struct token *token);
