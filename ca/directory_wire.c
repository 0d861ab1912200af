/* A layer of libldap's socket, between TCP and TLS, that knows when to stop. */
#include "directory_wire.h"
#include "clock.h"
#include <errno.h>
#include <poll.h>
#include <stddef.h>

/* Between the socket (LBER_SBIOD_LEVEL_PROVIDER) and TLS (LBER_SBIOD_LEVEL_TRANSPORT).
 */
#define LEVEL 15

static ber_slen_t
stop(struct directory_wire *wire, const char *failure)
{
    wire->failure = failure;
    errno = ETIMEDOUT; /* not EAGAIN, which libldap would try again */
    return -1;
}

/* Waits until the socket can do it, whatever its mode. */
static bool
wait_for(const struct directory_wire *wire, Sockbuf_IO_Desc *layer, short event)
{
    struct pollfd socket = { .fd = -1, .events = event };
    if (ber_sockbuf_ctrl(layer->sbiod_sb, LBER_SB_OPT_GET_FD, &socket.fd) != 1)
        return false;
    for (;;) {
        int64_t left = wire->until - clock_ticks();
        int ready = left > 0 ? poll(&socket, 1, (int)left) : 0;
        if (ready >= 0 || errno != EINTR)
            return ready > 0;
    }
}

static bool
is_passing(int error)
{
    return error == EAGAIN || error == EINTR;
}

static ber_slen_t
wire_read(Sockbuf_IO_Desc *layer, void *octets, ber_len_t size)
{
    struct directory_wire *wire = layer->sbiod_pvt;
    for (;;) {
        if (!wait_for(wire, layer, POLLIN))
            return stop(wire, "no answer in time");
        ber_slen_t got = LBER_SBIOD_READ_NEXT(layer, octets, size);
        if (got < 0 && is_passing(errno))
            continue;
        if (got > 0)
            wire->octets += got;
        return wire->octets > DIRECTORY_OCTETS_MAX ? stop(wire, "an answer without end")
                                                   : got;
    }
}

static ber_slen_t
wire_write(Sockbuf_IO_Desc *layer, void *octets, ber_len_t size)
{
    struct directory_wire *wire = layer->sbiod_pvt;
    for (;;) {
        if (!wait_for(wire, layer, POLLOUT))
            return stop(wire, "it takes no question in time");
        ber_slen_t sent = LBER_SBIOD_WRITE_NEXT(layer, octets, size);
        if (sent >= 0 || !is_passing(errno))
            return sent;
    }
}

static int
wire_setup(Sockbuf_IO_Desc *layer, void *wire)
{
    layer->sbiod_pvt = wire;
    return 0;
}

static int
wire_leave(Sockbuf_IO_Desc *layer)
{
    (void)layer; /* nothing is its own */
    return 0;
}

static int
wire_ask(Sockbuf_IO_Desc *layer, int option, void *value)
{
    return LBER_SBIOD_CTRL_NEXT(layer, option, value);
}

static Sockbuf_IO wire_io = { .sbi_setup = wire_setup,
                              .sbi_remove = wire_leave,
                              .sbi_ctrl = wire_ask,
                              .sbi_read = wire_read,
                              .sbi_write = wire_write,
                              .sbi_close = wire_leave };

/* Connected, and nothing sent yet. */
static int
connected(LDAP *ldap, Sockbuf *socket, LDAPURLDesc *server, struct sockaddr *address,
          struct ldap_conncb *callback)
{
    (void)ldap, (void)server, (void)address;
    return ber_sockbuf_add_io(socket, &wire_io, LEVEL, callback->lc_arg);
}

static void
closing(LDAP *ldap, Sockbuf *socket, struct ldap_conncb *callback)
{
    (void)ldap, (void)socket, (void)callback;
}

bool
directory_wire_attach(struct directory_wire *wire, LDAP *ldap)
{
    wire->callback =
        (struct ldap_conncb){ .lc_add = connected, .lc_del = closing, .lc_arg = wire };
    return ldap_set_option(ldap, LDAP_OPT_CONNECT_CB, &wire->callback) ==
           LDAP_OPT_SUCCESS;
}

void
directory_wire_begin(struct directory_wire *wire, int64_t milliseconds)
{
    wire->until = clock_ticks() + milliseconds;
    wire->octets = 0;
}
