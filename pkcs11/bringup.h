/* Bringing a token up: found among the slots, described, logged in; and down again. */
#pragma once

#include "token_inner.h"

/* With the module loaded and enumerated and its write lock held: finds exactly one
 * token by the configuration's URI, refuses a software token without waiver and a PIN
 * at its last try, logs in once. A refused PIN latches the token. */
enum ca_status bringup_token(struct token *token);

/* Drops keys, sessions and slots of the token (write lock held). */
void bringup_undo(struct token *token);

/* Operations that may run at once, by configuration, session limit and uses. */
void bringup_limit(struct token *token);

/* Is the maker known to be a software token's? */
bool bringup_is_software(const char *manufacturer, const char *model);
