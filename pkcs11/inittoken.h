/* Initialising a new token (C_InitToken, C_InitPIN): for `init` with a software token.
 * Without the vendor's tool no PIN is ever on a command line. */
#pragma once

#include "status.h"

struct inittoken {
    const char *module; /* path of the PKCS#11 library */
    const char *label;  /* 1..32 octets */
    const char *so_pin, *pin;
};

/* Initialises the first slot whose token is not initialised yet. Loads and finalises
 * the module: call it before any token is open in this process. CA_UNAVAILABLE when
 * there is no such slot or module; CA_INTERNAL with the call and its CKR otherwise. */
enum ca_status inittoken_run(const struct inittoken *wanted);
