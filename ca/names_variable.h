/* The variables of templates and their values. Pure. */
#pragma once

#include "names.h"
#include "template.h"

/* The argument of names_variable_look_up. */
struct names_variables {
    const struct names_sources *sources;
    bool takes_request; /* does the profile let {{request.*}} have a value? */
    char scratch[1024]; /* of the last value that had to be made */
};

/* A template_lookup: NULL when the record or the member is missing or empty. */
const char *names_variable_look_up(const char *name, void *arg);
