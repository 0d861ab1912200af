/* What several floors are made of. */
#include "floor_parts.h"
#include <dlfcn.h>
#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define SLOTS_MAX 16
#define PIN_SIZE 260
#define LOGINS_MAX 100
#define LOGIN_PAUSE_US 20000
#define TOGETHER 8   /* clients that share a commit, to tell it from its rows */
#define ROW_SIZE 700 /* octets of a certificate, an intent, an audit entry */

void
must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "floor: %s\n", what);
    exit(1);
}

double
floor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* ---- The token ---- */

static bool
slot_find(CK_FUNCTION_LIST *token, const char *label, CK_SLOT_ID *ret_slot)
{
    CK_SLOT_ID slots[SLOTS_MAX];
    CK_ULONG count = SLOTS_MAX;
    must(token->C_GetSlotList(CK_TRUE, slots, &count) == CKR_OK, "no list of slots");
    for (CK_ULONG i = 0; i < count; i++) {
        CK_TOKEN_INFO info;
        if (token->C_GetTokenInfo(slots[i], &info) == CKR_OK &&
            memcmp(info.label, label, strlen(label)) == 0) {
            *ret_slot = slots[i];
            return true;
        }
    }
    return false;
}

static void
pin_read(const char *path, char *ret_pin, int room)
{
    FILE *file = fopen(path, "re");
    must(file && fgets(ret_pin, room, file), "the PIN cannot be read");
    fclose(file);
    ret_pin[strcspn(ret_pin, "\n")] = '\0';
}

static bool
token_enter(struct floor_token *token, const char *label, const char *pin)
{
    CK_C_INITIALIZE_ARGS args = { .flags = CKF_OS_LOCKING_OK };
    CK_SLOT_ID slot = 0;
    must(token->module->C_Initialize(&args) == CKR_OK, "C_Initialize");
    if (slot_find(token->module, label, &slot) &&
        token->module->C_OpenSession(slot, CKF_SERIAL_SESSION, NULL, NULL,
                                     &token->session) == CKR_OK &&
        token->module->C_Login(token->session, CKU_USER,
                               (CK_UTF8CHAR_PTR)(uintptr_t)pin, strlen(pin)) == CKR_OK)
        return true;
    token->module->C_Finalize(NULL);
    return false;
}

void
floor_token_open(struct floor_token *token, const char *module, const char *label,
                 const char *pin_path)
{
    char pin[PIN_SIZE];
    bool is_in = false;
    void *library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
    must(library != NULL, "the module does not load");
    CK_C_GetFunctionList list;
    *(void **)&list = dlsym(library, "C_GetFunctionList");
    must(list && list(&token->module) == CKR_OK, "the module has no function list");
    pin_read(pin_path, pin, sizeof pin);
    /* In the moment another process logs in, SoftHSM takes a token for a broken one and
     * forgets it until it is initialised again. */
    for (int i = 0; i < LOGINS_MAX && !is_in; i++) {
        is_in = token_enter(token, label, pin);
        if (!is_in)
            usleep(LOGIN_PAUSE_US);
    }
    OPENSSL_cleanse(pin, sizeof pin);
    must(is_in, "no log-in to a token of this label");
}

/* ---- Durable rows ---- */

static void
run(sqlite3 *db, const char *sql)
{
    must(sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK, sql);
}

static double
commits_make(const char *folder, const int *rows, int together, long rounds)
{
    static const uint8_t content[ROW_SIZE] = { 1 };
    char path[512];
    sqlite3 *db = NULL;
    sqlite3_stmt *insert = NULL;
    unsigned long made = 0;
    snprintf(path, sizeof path, "%s/floor.db", folder);
    must(sqlite3_open(path, &db) == SQLITE_OK, "the floor's store does not open");
    run(db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
            "CREATE TABLE t (k INTEGER PRIMARY KEY, a TEXT UNIQUE, v BLOB)");
    must(sqlite3_prepare_v2(db, "INSERT INTO t (a, v) VALUES (?, ?)", -1, &insert,
                            NULL) == SQLITE_OK,
         "no statement");
    long groups = (rounds + together - 1) / together;
    double since = floor_seconds();
    for (long i = 0; i < groups; i++) {
        for (const int *count = rows; *count > 0; count++) {
            run(db, "BEGIN IMMEDIATE");
            for (int k = 0; k < *count * together; k++) {
                char key[48];
                made++;
                int size = snprintf(key, sizeof key, "%08x-%lu",
                                    (unsigned)(made * 2654435761u), made);
                sqlite3_bind_text(insert, 1, key, size, SQLITE_TRANSIENT);
                sqlite3_bind_blob(insert, 2, content, sizeof content, SQLITE_STATIC);
                must(sqlite3_step(insert) == SQLITE_DONE, "no row");
                sqlite3_reset(insert);
            }
            run(db, "COMMIT");
        }
    }
    double used = floor_seconds() - since;
    sqlite3_finalize(insert);
    sqlite3_close(db);
    unlink(path);
    return used / (double)(groups * together);
}

void
floor_commits(const char *folder, const int *rows, long rounds,
              struct floor_commits *ret_parts)
{
    int commits = 0;
    while (rows[commits] > 0)
        commits++;
    double alone = commits_make(folder, rows, 1, rounds);
    double shared = commits_make(folder, rows, TOGETHER, rounds);
    double commit = (alone - shared) / (commits * (1 - 1.0 / TOGETHER));
    *ret_parts = (struct floor_commits){ commit, alone - commit * commits };
}
