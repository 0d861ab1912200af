/* Whose a file is: what the daemon trusts can be changed by root and its own user only.
 */
#pragma once

#include "status.h"
#include <sys/stat.h>

/* Of a file or folder that was found so: nobody but root or our own user owns it, and
 * neither its group nor others may write it. CA_FORBIDDEN names `path` and the cure. */
enum ca_status owned_check(const char *path, const struct stat *found);
/* The same of what `path` leads to. CA_NOT_FOUND: nothing is there; CA_UNAVAILABLE. */
enum ca_status owned_check_path(const char *path);
