/* Templates: what the check takes expands, to what it says, and nothing else does. */
#include "fuzz.h"
#include "template.h"
#include <stdlib.h>
#include <string.h>

#define EXPANDED_MAX 4096

size_t fuzz_deep;

static bool
is_known(const char *name)
{
    return strncmp(name, "user.", 5) == 0 || strcmp(name, "device.id") == 0;
}

/* Some have a value, and one that looks like a template; the count is the argument. */
static const char *
look_up(const char *name, void *arg)
{
    size_t *asked = arg;
    (*asked)++;
    FUZZ_ASSERT(*name && strlen(name) <= TEMPLATE_NAME_MAX);
    if (strcmp(name, "user.name") == 0)
        return "{{user.email}}";
    if (strcmp(name, "device.id") == 0)
        return "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
               "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
               "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    return NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char reason[128] = "", *text = malloc(size + 1), *expanded = NULL;
    size_t asked = 0;
    if (!text)
        return 0;
    if (size)
        memcpy(text, data, size);
    text[size] = '\0';
    bool is_good = template_check(text, NULL, reason, sizeof reason);
    FUZZ_ASSERT(is_good || (*reason && strlen(reason) < sizeof reason - 1));
    FUZZ_ASSERT(is_good || !template_check(text, is_known, reason, sizeof reason));
    enum ca_status status =
        template_expand(text, look_up, &asked, EXPANDED_MAX, &expanded);
    FUZZ_ASSERT(is_good != (status == CA_MALFORMED));
    fuzz_deep += asked > 0;
    if (status == CA_OK) {
        FUZZ_ASSERT(strlen(expanded) <= EXPANDED_MAX);
        FUZZ_ASSERT(strchr(text, '{') || strcmp(text, expanded) == 0);
    }
    free(expanded);
    free(text);
    return 0;
}
