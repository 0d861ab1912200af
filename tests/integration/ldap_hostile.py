"""A directory that means no good: octets of LDAP from this file alone."""

import socket
import threading
import time

BIND, BOUND, SEARCH, DONE, ENTRY, EXTENDED = 0x60, 0x61, 0x63, 0x65, 0x64, 0x78
PAGED = b"1.2.840.113556.1.4.319"


def ber(tag, *parts):
    body = b"".join(parts)
    size = len(body).to_bytes((len(body).bit_length() + 7) // 8 or 1, "big")
    head = bytes([len(body)]) if len(body) < 128 else bytes([128 | len(size)]) + size
    return bytes([tag]) + head + body


def result(number, tag, code=0, controls=b""):
    return ber(0x30, ber(2, bytes([number])), ber(tag, ber(10, bytes([code])), ber(4), ber(4)), controls)


def entry(number, index, padding=b"x"):
    name = b"u%d" % index
    attributes = {b"uid": name, b"entryUUID": b"id-%d" % index, b"cn": padding}
    return ber(0x30, ber(2, bytes([number])), ber(
        ENTRY, ber(4, b"uid=%s,dc=example,dc=com" % name),
        ber(0x30, *[ber(0x30, ber(4, key), ber(0x31, ber(4, value))) for key, value in attributes.items()])))  # fmt: skip


class Hostile:
    """Listens; each connection is given to `work` with what is asked first."""

    def __init__(self, work):
        self.work, self.seen, self.stopped = work, b"", threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(line,), daemon=True).start()

    def serve(self, line):
        try:
            self.work(self, line)
        except (OSError, IndexError):
            pass
        finally:
            line.close()

    def ask(self, line):
        """The number and the kind of the next message."""
        octets = line.recv(65536)
        self.seen += octets
        at = 2 if octets[1] < 128 else 2 + (octets[1] & 127)
        return octets[at + 2], octets[at + 3]

    def bind(self, line):
        number, kind = self.ask(line)
        assert kind == BIND
        line.sendall(result(number, BOUND))
        return self.ask(line)[0]

    def end(self):
        self.stopped.set()
        self.listener.close()


def silent(server, line):
    server.ask(line)
    server.stopped.wait(60)


def silent_handshake(server, line):
    """StartTLS is granted, and then nothing comes."""
    number, _ = server.ask(line)
    line.sendall(result(number, EXTENDED))
    server.stopped.wait(60)


def refused_handshake(server, line):
    number, _ = server.ask(line)
    line.sendall(result(number, EXTENDED, 2))
    server.ask(line)


def injected_answer(server, line):
    """What comes before the handshake, as if it were from behind it."""
    number, _ = server.ask(line)
    line.sendall(result(number, EXTENDED) + result(2, BOUND) + entry(3, 1) + result(3, DONE))
    server.ask(line)


def dripping(server, line):
    number = server.bind(line)
    for index in range(1000):
        line.sendall(entry(number, index))
        time.sleep(0.3)


def endless(server, line):
    number, index = server.bind(line), 0
    while not server.stopped.is_set():
        line.sendall(b"".join(entry(number, index + i, b"x" * 1000) for i in range(200)))
        index += 200


def referring(server, line):
    """Sends on to itself, with every entry and at the end: no other connection may come."""
    server.lines = getattr(server, "lines", 0) + 1
    place = b"ldap://127.0.0.1:%d/dc=example,dc=com" % server.port
    page = ber(0xA0, ber(0x30, ber(4, PAGED), ber(4, ber(0x30, ber(2, b"\0"), ber(4)))))
    number = server.bind(line)
    while True:
        line.sendall(ber(0x30, ber(2, bytes([number])), ber(0x73, ber(4, place))) + entry(number, 1)
                     + result(number, DONE, 0, page))  # fmt: skip
        number, _ = server.ask(line)
