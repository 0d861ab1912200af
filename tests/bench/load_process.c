/* What the kernel says of the server's process, gives the clients as addresses, and
 * needs to end or time them. */
#include "load.h"
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define TEXT_SIZE 8192

void
load_must(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, what);
    ERR_print_errors_fp(stderr);
    exit(1);
}

double
load_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
file_read(long pid, const char *name, char ret_text[TEXT_SIZE])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", pid, name);
    FILE *file = fopen(path, "re");
    size_t size = file ? fread(ret_text, 1, TEXT_SIZE - 1, file) : 0;
    load_must(size > 0, "the server's process is not there");
    fclose(file);
    ret_text[size] = '\0';
}

static long
status_member(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    long value = 0;
    load_must(at && sscanf(at + strlen(name), " %ld kB", &value) == 1,
              "the server's memory is not told");
    return value;
}

void
load_usage_read(long pid, struct load_usage *ret_usage)
{
    char text[TEXT_SIZE];
    struct timespec used;
    clockid_t clock;
    load_must(clock_getcpuclockid((pid_t)pid, &clock) == 0 &&
                  clock_gettime(clock, &used) == 0,
              "the server's CPU time is not told");
    ret_usage->cpu = (double)used.tv_sec + (double)used.tv_nsec / 1e9;
    file_read(pid, "status", text);
    ret_usage->rss = status_member(text, "\nVmRSS:");
    ret_usage->rss_peak = status_member(text, "\nVmHWM:");
}

/* Binds to the source's address, and leaves the port to connect(). */
bool
load_source_take(int connection, uint32_t source)
{
    struct sockaddr_in from = { .sin_family = AF_INET,
                                .sin_addr.s_addr = htonl(source) };
    int one = 1;
    if (source == 0)
        return true;
    setsockopt(connection, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    return bind(connection, (struct sockaddr *)&from, sizeof from) == 0;
}
