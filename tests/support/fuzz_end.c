/* The end of a libFuzzer run: how many inputs got past the first checks; none fails. */
#include "fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

static void
at_end(void)
{
    printf("%zu inputs past the first checks\n", fuzz_deep);
    fflush(stdout);
    if (fuzz_deep == 0)
        _exit(1);
}

int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    return atexit(at_end);
}
