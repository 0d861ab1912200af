/* Criterion's asserts for plain programs, which ThreadSanitizer needs: the first that
 * fails ends the process. */
#pragma once

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define cr_assert(condition, ...)                                                      \
    ((condition)                                                                       \
         ? (void)0                                                                     \
         : (fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition), abort()))
#define cr_assert_eq(a, b, ...) cr_assert((a) == (b))
#define cr_assert_not_null(a, ...) cr_assert((a) != NULL)
#define cr_assert_fail(...) cr_assert(0)
#define cr_assert_leq(a, b, ...) cr_assert((a) <= (b))
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp(a, b) == 0)
