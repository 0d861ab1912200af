/* Passwords from a person or a file, never from an argument. */
#pragma once

#include "status.h"
#include <stddef.h>

#define ACTIVATE_SECRET_MAX 2048 /* an activation link is one, too */

/* The first line of the file `path` ("-": standard input), or what is typed at the
 * terminal behind `prompt` (twice, when `is_new`) if it is NULL. CA_NOT_FOUND without a
 * terminal. secret_free it. */
enum ca_status activate_secret_read(const char *path, const char *prompt, int is_new,
                                    char **ret_secret);
