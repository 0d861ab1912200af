/* The store. */
#include "leak.h"
#include "scratch_store.h"
#include <criterion/criterion.h>
#include <sys/stat.h>

TestSuite(store, .init = scratch_store_open, .fini = scratch_store_close);

Test(store, file_is_its_owners_alone)
{
    static const char *const ends[] = { "", "-wal", "-shm" };
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char path[128];
        struct stat found;
        snprintf(path, sizeof path, "%s%s", scratch_path, ends[i]);
        cr_assert_eq(stat(path, &found), 0, "%s", path);
        cr_expect_eq(found.st_mode & 07777, 0600, "%s", path);
    }
    LEAK_CHECK();
}

Test(store, what_is_written_is_read)
{
    cr_assert_eq(scratch_run("CREATE TABLE t (a BIGINT NOT NULL PRIMARY KEY)"), CA_OK,
                 "%s", status_message());
    cr_assert_eq(scratch_run("INSERT INTO t VALUES (7)"), CA_OK);
    cr_assert_eq(scratch_run("INSERT INTO t VALUES (7)"), CA_CONFLICT);
    cr_assert_eq(scratch_integer("SELECT SUM(a) FROM t"), 7);
    cr_assert_eq(store_probe(scratch_store), CA_OK, "%s", status_message());
    cr_assert_eq(scratch_integer("SELECT COUNT(*) FROM store_probe"), 0);
    LEAK_CHECK();
}
