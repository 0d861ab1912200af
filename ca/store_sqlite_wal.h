/* The file system under SQLite, with writes to the WAL gathered. */
#pragma once

/* The name to open connections with: what a transaction appends to the WAL, two writes
 * a page, goes to the file in pieces of up to 64 KiB, at the latest before it is
 * synced, read, measured or cut. For connections with synchronous=FULL alone: SQLite
 * makes frames known to others when they are synced. NULL when SQLite has no file
 * system here. */
const char *store_sqlite_wal(void);
