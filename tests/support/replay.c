/* Runs a fuzz target over every file of its corpus folder; fails when there is none, or
 * when no file got past the target's first checks. */
#include "fuzz.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_FILE_MAX (1 << 20)
#define REPLAY_PATH_MAX 4096

static int
is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

/* The target gets a copy of exactly the file's size, so that ASan sees a step beyond.
 */
static int
replay(const char *path)
{
    static uint8_t room[REPLAY_FILE_MAX];
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    size_t size = fread(room, 1, sizeof room, file);
    int is_whole = !ferror(file) && feof(file);
    fclose(file);
    uint8_t *data = malloc(size ? size : 1);
    if (!is_whole || !data) {
        fprintf(stderr, "%s: cannot be read whole\n", path);
        free(data);
        return -1;
    }
    if (size)
        memcpy(data, room, size);
    LLVMFuzzerTestOneInput(data, size);
    free(data);
    return 0;
}

int
main(int argc, char **argv)
{
    struct dirent **entries = NULL;
    if (argc != 2) {
        fprintf(stderr, "usage: %s CORPUS\n", argv[0]);
        return 2;
    }
    int count = scandir(argv[1], &entries, is_visible, alphasort);
    int failures = 0;
    for (int i = 0; i < count; i++) {
        char path[REPLAY_PATH_MAX];
        snprintf(path, sizeof path, "%s/%s", argv[1], entries[i]->d_name);
        failures += replay(path) != 0;
        free(entries[i]);
    }
    free(entries);
    printf("%d files, %zu past the first checks\n", count < 0 ? 0 : count, fuzz_deep);
    if (count <= 0)
        fprintf(stderr, "%s: no file to replay\n", argv[1]);
    return count <= 0 || failures || fuzz_deep == 0;
}
