"""Loopback ports for the servers that tests start."""

import itertools
import os
import socket

FIRST, LAST = 10240, 65535


def candidates():
    """Ports from which the kernel takes none for a connection of somebody's, begun somewhere: a
    port that was free is then still free when its server binds to it."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        low, high = map(int, file.read().split())
    ports = [port for port in range(FIRST, LAST + 1) if not low <= port <= high]
    ports = ports or list(range(FIRST, LAST + 1))
    begin = int.from_bytes(os.urandom(4), "big") % len(ports)
    return itertools.cycle(ports[begin:] + ports[:begin])


next_port = candidates()


def free_ports(count):
    """Ports that nobody listens on; a process is given each once."""
    found = []
    while len(found) < count:
        port = next(next_port)
        with socket.socket() as one:
            try:
                one.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found
