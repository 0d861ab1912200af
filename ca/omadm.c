/* Words and addresses of OMA-DM. */
#include "omadm.h"
#include <stddef.h>
#include <string.h>

const char *const omadm_format_words[] = { "chr",  "int",  "bool", "b64",
                                           "xml",  "node", "null", "float",
                                           "date", "time", "bin",  NULL };

bool
omadm_uri_is_valid(const char *uri)
{
    size_t length = strlen(uri);
    if (length == 0 || length > OMADM_URI_MAX || uri[0] != '.' ||
        (length > 1 && uri[1] != '/') || uri[length - 1] == '/' || strstr(uri, "//"))
        return false;
    for (size_t i = 0; i < length; i++)
        if (uri[i] <= 0x20 || uri[i] >= 0x7f)
            return false;
    return true;
}
