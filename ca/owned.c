/* Whose a file is: what the daemon trusts can be changed by root and its own user only.
 */
#include "owned.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

enum ca_status
owned_check(const char *path, const struct stat *found)
{
    if (found->st_mode & (S_IWGRP | S_IWOTH))
        return ca_fail(CA_FORBIDDEN, "%s: can be written by %s: chmod go-w", path,
                       found->st_mode & S_IWOTH ? "others" : "its group");
    if (found->st_uid != 0 && found->st_uid != geteuid())
        return ca_fail(CA_FORBIDDEN, "%s: belongs to user %u, neither root nor ours",
                       path, (unsigned)found->st_uid);
    return CA_OK;
}

enum ca_status
owned_check_path(const char *path)
{
    struct stat found;
    if (stat(path, &found) != 0)
        return ca_fail(errno == ENOENT ? CA_NOT_FOUND : CA_UNAVAILABLE, "%s: %s", path,
                       strerror(errno));
    return owned_check(path, &found);
}
