/* Gathers what SQLite appends to a WAL: see store_sqlite_wal.h. */
#include "store_sqlite_wal.h"
#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define GATHER_SIZE 65536

/* An open WAL; behind it the file of the system's own kind. */
struct wal {
    sqlite3_file base; /* first member: what SQLite holds */
    sqlite3_file *file;
    uint8_t *gathered; /* made at the first write: readers have none */
    size_t size;
    sqlite3_int64 start; /* offset of the gathered octets */
};

static sqlite3_vfs own, *system_own;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static struct wal *
wal_of(sqlite3_file *file)
{
    return (struct wal *)(void *)file;
}

/* What cannot be written is forgotten: SQLite takes the transaction for failed. */
static int
wal_flush(struct wal *wal)
{
    size_t size = wal->size;
    wal->size = 0;
    if (size == 0)
        return SQLITE_OK;
    return wal->file->pMethods->xWrite(wal->file, wal->gathered, (int)size, wal->start);
}

static int
wal_write(sqlite3_file *file, const void *octets, int size, sqlite3_int64 offset)
{
    struct wal *wal = wal_of(file);
    if (!wal->gathered)
        wal->gathered = sqlite3_malloc(GATHER_SIZE);
    bool follows = offset == wal->start + (sqlite3_int64)wal->size &&
                   wal->size + (size_t)size <= GATHER_SIZE;
    int code = follows ? SQLITE_OK : wal_flush(wal);
    if (code != SQLITE_OK)
        return code;
    if (!wal->gathered || size > GATHER_SIZE)
        return wal->file->pMethods->xWrite(wal->file, octets, size, offset);
    if (wal->size == 0)
        wal->start = offset;
    memcpy(wal->gathered + wal->size, octets, (size_t)size);
    wal->size += (size_t)size;
    return SQLITE_OK;
}

static int
wal_close(sqlite3_file *file)
{
    struct wal *wal = wal_of(file);
    int code = wal_flush(wal);
    int closed = wal->file->pMethods->xClose(wal->file);
    sqlite3_free(wal->gathered);
    wal->gathered = NULL;
    return code != SQLITE_OK ? code : closed;
}

static int
wal_read(sqlite3_file *file, void *octets, int size, sqlite3_int64 offset)
{
    struct wal *wal = wal_of(file);
    int code = wal_flush(wal);
    return code != SQLITE_OK
               ? code
               : wal->file->pMethods->xRead(wal->file, octets, size, offset);
}

static int
wal_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct wal *wal = wal_of(file);
    int code = wal_flush(wal);
    return code != SQLITE_OK ? code : wal->file->pMethods->xTruncate(wal->file, size);
}

static int
wal_sync(sqlite3_file *file, int flags)
{
    struct wal *wal = wal_of(file);
    int code = wal_flush(wal);
    return code != SQLITE_OK ? code : wal->file->pMethods->xSync(wal->file, flags);
}

static int
wal_file_size(sqlite3_file *file, sqlite3_int64 *ret_size)
{
    struct wal *wal = wal_of(file);
    int code = wal_flush(wal);
    return code != SQLITE_OK ? code
                             : wal->file->pMethods->xFileSize(wal->file, ret_size);
}

/* A WAL is never locked: its database is. */
static int
wal_lock(sqlite3_file *file, int level)
{
    (void)file, (void)level;
    return SQLITE_OK;
}

static int
wal_check_reserved_lock(sqlite3_file *file, int *ret_is_locked)
{
    (void)file;
    *ret_is_locked = 0;
    return SQLITE_OK;
}

static int
wal_file_control(sqlite3_file *file, int operation, void *arg)
{
    struct wal *wal = wal_of(file);
    return wal->file->pMethods->xFileControl(wal->file, operation, arg);
}

static int
wal_sector_size(sqlite3_file *file)
{
    struct wal *wal = wal_of(file);
    return wal->file->pMethods->xSectorSize(wal->file);
}

static int
wal_device_characteristics(sqlite3_file *file)
{
    struct wal *wal = wal_of(file);
    return wal->file->pMethods->xDeviceCharacteristics(wal->file);
}

static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_file_size,
    .xLock = wal_lock,
    .xUnlock = wal_lock,
    .xCheckReservedLock = wal_check_reserved_lock,
    .xFileControl = wal_file_control,
    .xSectorSize = wal_sector_size,
    .xDeviceCharacteristics = wal_device_characteristics,
};

/* Every other file is the system's own, in the place of the WAL's. */
static int
file_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags,
          int *ret_flags)
{
    (void)vfs;
    if (!(flags & SQLITE_OPEN_WAL))
        return system_own->xOpen(system_own, name, file, flags, ret_flags);
    struct wal *wal = wal_of(file);
    *wal = (struct wal){ .file = (sqlite3_file *)(void *)(wal + 1) };
    int code = system_own->xOpen(system_own, name, wal->file, flags, ret_flags);
    /* Without methods SQLite does not close it. */
    if (code == SQLITE_OK)
        wal->base.pMethods = &wal_methods;
    return code;
}

static void
own_register(void)
{
    system_own = sqlite3_vfs_find(NULL);
    if (!system_own)
        return;
    own = *system_own;
    own.zName = "sealwright";
    own.szOsFile = (int)sizeof(struct wal) + system_own->szOsFile;
    own.xOpen = file_open;
    own.pNext = NULL;
    if (sqlite3_vfs_register(&own, 0) != SQLITE_OK)
        system_own = NULL;
}

const char *
store_sqlite_wal(void)
{
    pthread_once(&once, own_register);
    return system_own ? own.zName : NULL;
}
