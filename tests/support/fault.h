/* A forwarding PKCS#11 module that fails on command: p11fault.so stands between the
 * program and SoftHSM (or the library named by SEALWRIGHT_FAULT_MODULE).
 *
 * Commands, by fault_command in this process or as lines of the file that the variable
 * SEALWRIGHT_FAULT_CONTROL names (read anew whenever it changes; what was counted then
 * goes to the same name with ".calls" behind it):
 *
 *   FUNC:RV:AFTER:COUNT  after AFTER more calls COUNT calls fail with RV (0x30); -1:
 * all FUNC:sleep:MS        each call takes MS milliseconds longer FUNC:hang calls do
 * not return before `clear` C_Sign:flip:AFTER:COUNT   signatures with one bit wrong
 *   FUNC:kill-before:AFTER:1, FUNC:kill-after:AFTER:1   SIGKILL to the process
 *   poison:RV            C_Decrypt of an input that ends in four octets 0xff fails
 *   removed, present     the token goes, with all sessions; and comes back
 *   closeall, finalize   all sessions end, the library is finalised: under the program
 *   tokflags:MASK        further flags of C_GetTokenInfo
 *   sessions:N           no more than N sessions at once (0: no limit)
 *   clear                no fault any more */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define FAULT_EXPORT __attribute__((visibility("default")))

/* The module's file. */
FAULT_EXPORT const char *fault_path(void);
/* False for what is no command. */
FAULT_EXPORT bool fault_command(const char *command);
/* Calls of a function that reached the real module since it was loaded. */
FAULT_EXPORT int64_t fault_calls(const char *function);
/* Calls that were made to fail, and signatures that were flipped. */
FAULT_EXPORT int64_t fault_hits(void);
/* Sessions open right now. */
FAULT_EXPORT int64_t fault_sessions(void);
/* C_CloseAllSessions and C_Finalize that came while another call was under way. */
FAULT_EXPORT int64_t fault_overlaps(void);
/* Did the last C_Initialize ask for locking by the operating system? */
FAULT_EXPORT bool fault_locks(void);
