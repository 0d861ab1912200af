"""HTTP as no client should speak it, over raw sockets, against the whole daemon: each
group is followed by proof that it serves on, same process, nothing left open."""

import os
import re
import socket
import ssl
import threading
import time

import pytest
from conftest import house_end, house_make
from scep import certificates_of
from scep_house import fleet  # noqa: F401

CAPS = "/scep/default?operation=GetCACaps"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(limits={
        "requests_per_second": 0, "connections_per_source": 64, "workers": 96,
        "header_ms": 3000, "body_ms": 3000, "idle_ms": 500})  # fmt: skip
    made.start()
    made.user("alice")
    yield made
    house_end(made)


def descriptors(house):
    return len(os.listdir(f"/proc/{house.process.pid}/fd"))


@pytest.fixture(autouse=True)
def stands(house, fleet):
    """Before and after each test: the same answers, the same process, as many files."""
    pid, certificates = house.process.pid, house.get("/scep/default?operation=GetCACert")
    open_before = descriptors(house)
    yield
    after = house.get("/scep/default?operation=GetCACert")
    assert certificates_of(after.body) == certificates_of(certificates.body)
    made = house.challenge("alice", subject="CN=dev")
    assert fleet.post(fleet.fresh(made["challenge"])).word == "issued"
    assert house.process.poll() is None and house.process.pid == pid
    end = time.monotonic() + 15
    while descriptors(house) > open_before + 2 and time.monotonic() < end:
        time.sleep(0.2)
    assert descriptors(house) <= open_before + 2


class Raw:
    """One connection, octet by octet."""

    def __init__(self, house, tls=False, timeout=20):
        self.socket = socket.create_connection(
            ("127.0.0.1", house.https if tls else house.http), timeout=timeout
        )
        if tls:
            context = ssl.create_default_context(cafile=house.data / "root.pem")
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")

    def send(self, octets):
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def everything(self):
        """All it says until it closes."""
        got = b""
        try:
            while piece := self.socket.recv(65536):
                got += piece
        except (ConnectionResetError, ssl.SSLError):
            pass
        return got

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def ask(house, octets, tls=False):
    with Raw(house, tls) as raw:
        return raw.send(octets).everything()


def statuses(answer):
    """The status of each answer on the connection. A body may look like anything, but
    ours do not start a line so."""
    return [int(word) for word in re.findall(rb"(?:^|\n?)HTTP/1\.[01] (\d{3}) ", answer)]


def request(head, body=b"", method="POST", path="/scep/default?operation=PKIOperation"):
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n".encode() + head + b"\r\n" + body
    )


# ---- Framing: a second request must never hide in the first ----

HIDDEN = b"GET " + CAPS.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("head", [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Content-Length: 0\r\nContent-Length: 100\r\n",
    b"Content-Length: 5\r\nContent-Length: 5\r\n",
    b"Content-Length: 5, 5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: five\r\n",
    b"Content-Length: 0x10\r\n",
    b"Content-Length: 5 \x0b\r\n",
    b"Content-Length: \r\n",
    b"Content-Length: 18446744073709551616\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Content-Length: 9223372036854775808\r\n",
    b"Transfer-Encoding: gzip\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"Transfer-Encoding : chunked\r\n",
    b"Content-Length : 5\r\n",
    b"X: y\r\n Content-Length: 5\r\n",
])  # fmt: skip
def test_W2_R8_ambiguous_framing_is_refused_and_closes(house, head, tls):
    found = statuses(ask(house, request(head, b"0\r\n\r\n" + HIDDEN), tls))
    assert len(found) <= 1, "the hidden request was answered"
    assert not found or found[0] in (400, 411, 413, 431, 501), found


@pytest.mark.parametrize("body", [
    b"fffffffffffffff\r\nxx", b"1000000000000000\r\nxx", b"-5\r\nhello\r\n0\r\n\r\n",
    b"zz\r\nhello\r\n", b"\r\n\r\n", b"5;" + b"x" * 20000 + b"\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n", b"5\r\nhelloXX0\r\n\r\n",
])  # fmt: skip
def test_R8_bad_chunks_are_refused(house, body):
    found = statuses(ask(house, request(b"Transfer-Encoding: chunked\r\n", body)))
    assert len(found) <= 1 and set(found) <= {400, 408, 413}, found


def test_R8_a_body_shorter_than_announced_is_no_request(house):
    with Raw(house) as raw:
        raw.send(request(b"Content-Length: 1000\r\n", b"short"))
        raw.socket.shutdown(socket.SHUT_WR)
        assert set(statuses(raw.everything())) <= {400, 408}


def test_good_chunks_are_a_body(house, fleet):
    made = house.challenge("alice", subject="CN=dev")
    body = fleet.fresh(made["challenge"])
    pieces = [body[at : at + 700] for at in range(0, len(body), 700)]
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    answer = ask(house, request(
        b"Transfer-Encoding: chunked\r\nConnection: close\r\n", chunks + b"0\r\n\r\n"))  # fmt: skip
    assert statuses(answer) == [200] and b"application/x-pki-message" in answer
    used = house.good("GET", f"/challenges/{made['id']}")
    assert house.good("GET", f"/certificates/{used['serial']}")["state"] == "issued"


# ---- Heads ----


def test_R8_long_uris_and_many_headers_are_refused(house):
    long = ask(house, request(b"", method="GET", path="/" + "a" * 200_000))
    assert set(statuses(long)) <= {400, 414, 431}
    many = b"".join(b"X-%d: y\r\n" % number for number in range(100))
    found = statuses(ask(house, request(many, method="GET", path=CAPS)))
    assert set(found) <= {400, 431} and len(found) <= 1
    huge = b"X: " + b"y" * 200_000 + b"\r\n"
    found = statuses(ask(house, request(huge, method="GET", path=CAPS)))
    assert set(found) <= {400, 413, 414, 431}


def test_R8_a_head_without_end_behind_a_good_request_is_refused(house):
    """Its octets take the place of the first request's in the server's buffer: nothing
    may be read there as if it were still that request."""
    good = request(b"", method="GET", path=CAPS)
    for _ in range(3):
        with Raw(house) as raw:
            raw.send(good + b"GET /second?secret=1 HTTP/1.1\r\nX: " + b"y" * 200_000)
            assert statuses(raw.everything()) in ([200], [200, 400], [200, 431])
    time.sleep(0.5)
    text = (house.data / "sealwright.log").read_text()
    assert "yyyy" not in text and "secret" not in text


@pytest.mark.parametrize("space, found", [
    (b"\r\n", [200, 200]), (b"\r\n\r\n", [400]), (b"\n\n", [400]), (b"\n", [400]),
    (b" " * 40 + b"\n\n", [400]), (b"\r\n \r\n", [400]), (b"\r\n\r\n\r\n", [400]),
])  # fmt: skip
def test_W2_white_space_before_a_request_moves_nothing(house, space, found):
    """An empty line in it would end the head for whoever counts the octets."""
    good = request(b"", method="GET", path=CAPS)
    last = request(b"Connection: close\r\n", method="GET", path=CAPS)
    assert statuses(ask(house, space + good + last)) == found


def test_W2_nothing_of_a_connection_is_served_to_the_next_one(house):
    first = request(b"Connection: close\r\n", method="GET", path=CAPS)
    second = request(b"Authorization: Bearer " + house.token.encode() + b"\r\n",
                     method="GET", path="/api/v1/users")  # fmt: skip
    for _ in range(5):
        assert statuses(ask(house, first + second, tls=True)) == [200]
        answer = ask(house, b" " * (len(first) - 2) + b"\n\n", tls=True)
        assert b"items" not in answer and statuses(answer) in ([], [400]), answer


@pytest.mark.parametrize("path", [
    "/scep/default%00", "/%00", "/scep/default?operation=%00GetCACaps",
    "/scep/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "//etc/passwd",
    "/scep/default/%", "/scep/%zz", "/scep/default%2f..%2fx", "/crl/%2e%2e%2fstore.db",
    "/\x7f", "/store.db", "/admin.token", "/./sealwright.json",
])  # fmt: skip
def test_W2_strange_paths_reach_nothing(house, path):
    answer = ask(house, request(b"Connection: close\r\n", method="GET", path=path))
    assert set(statuses(answer)) <= {400, 404}, answer[:200]
    assert b"root:" not in answer and b"SQLite" not in answer


@pytest.mark.parametrize("line", [
    b"", b"\r\n\r\n\r\n", b"GET\r\n\r\n", b"GET /\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n",
    b"G\x00T / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc" * 20, bytes(5000),
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1 extra\r\n\r\n",
    b" GET / HTTP/1.1\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n", b"get / http/1.1\r\n\r\n",
])  # fmt: skip
def test_R8_what_is_no_request_line_is_refused(house, line):
    with Raw(house) as raw:
        raw.send(line)
        raw.socket.shutdown(socket.SHUT_WR)
        assert set(statuses(raw.everything())) <= {400, 404, 405, 408, 501, 505}


def test_HTTP_1_0_without_host_is_served_and_closed(house):
    answer = ask(house, f"GET {CAPS} HTTP/1.0\r\n\r\n".encode())
    assert statuses(answer) == [200] and b"SCEPStandard" in answer


def test_W2_links_never_come_from_the_host_header(house):
    answer = ask(house, request(
        b"X-Forwarded-Host: evil.example\r\nForwarded: host=evil.example\r\n"
        b"Connection: close\r\n", method="GET", path="/issuer/issuing.cer",
    ).replace(b"Host: localhost", b"Host: evil.example"))  # fmt: skip
    assert b"evil.example" not in answer
    for crl in ("issuing", "root"):
        assert b"evil.example" not in house.get(f"/crl/{crl}.crl").body


def test_an_absolute_uri_is_served_or_refused_by_the_same_rules(house):
    def found(url):
        return statuses(ask(house, request(b"Connection: close\r\n", method="GET", path=url)))

    own = f"http://127.0.0.1:{house.http}"
    assert found(own + CAPS) == [200]
    assert found(own + "/api/v1/users")[0] in (403, 404)
    assert found(own + "/nothing") == [404]
    # No proxy: what is elsewhere gets an error or a closed connection.
    for url in ("http://evil.example" + CAPS, "https://evil.example:1/", "ftp://x/y", "*"):
        assert set(found(url)) <= {400, 404}, url


def test_head_has_no_body(house):
    answer = ask(house, request(b"Connection: close\r\n", method="HEAD", path=CAPS))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert statuses(head + b" ") == [200] and body == b""
    full = house.get(CAPS)
    assert f"content-length: {len(full.body)}".encode() in head.lower()


def test_pipelined_requests_are_answered_in_turn(house):
    one = request(b"", method="GET", path=CAPS)
    two = request(b"", method="GET", path="/health/live")
    last = request(b"Connection: close\r\n", method="GET", path="/nothing")
    answer = ask(house, one + two + one + last)
    assert statuses(answer) == [200, 200, 200, 404]
    assert answer.count(b"SCEPStandard") == 2


# ---- Methods ----


def test_A1_other_methods_are_refused_on_all_routes(house):
    paths = ["/scep/default", "/scep/default/pkiclient.exe", "/crl/issuing.crl",
             "/issuer/issuing.cer", "/health/live", "/health/ready", "/metrics", "/"]  # fmt: skip
    paths += ["/api/v1" + path for path in
              ("/users", "/certificates", "/audit", "/openapi.json")]  # fmt: skip
    for path in paths:
        for method in ("PUT", "DELETE", "TRACE", "CONNECT", "OPTIONS", "PATCH", "PROPFIND",
                       "BREW", "get", "X" * 100):  # fmt: skip
            for tls in (False, True):
                octets = request(b"Content-Length: 0\r\nConnection: close\r\n",
                                 method=method, path=path)  # fmt: skip
                answer = ask(house, octets, tls)
                assert set(statuses(answer)) <= {400, 401, 403, 404, 405, 501}, (
                    method, path, tls, answer[:100],
                )  # fmt: skip
                assert b"Host: localhost" not in answer, "TRACE told what was sent"


def test_A6_the_api_is_not_on_the_plain_listener(house):
    headers = f"Authorization: Bearer {house.token}\r\nConnection: close\r\n".encode()
    for path in ("/api/v1/users", "/api/v1/openapi.json", "/api/v1/audit"):
        found = statuses(ask(house, request(headers, method="GET", path=path)))
        assert found and found[0] in (403, 404), found


# ---- Slow clients ----


def test_R8_slow_clients_time_out_and_others_are_served(house):
    """Heads and bodies octet by octet from as many connections as one source may have,
    while another client works over the unix socket and TLS."""
    stop = threading.Event()
    slow = []
    for number in range(48):
        try:
            raw = Raw(house)
        except OSError:
            break
        start = b"GET / HTTP/1.1\r\nX: " if number % 2 else request(
            b"Content-Length: 5000\r\n", b"\x30")  # fmt: skip
        raw.send(start)
        slow.append(raw)

    def drip():
        while not stop.wait(0.4):
            for raw in slow:
                raw.send(b"y")

    thread = threading.Thread(target=drip)
    thread.start()
    began = time.monotonic()
    try:
        worst = 0
        for _ in range(10):
            asked = time.monotonic()
            assert house.get(CAPS).status == 200
            assert house.cli("user", "list").returncode == 0
            worst = max(worst, time.monotonic() - asked)
        assert worst < 10, worst
        ended = 0
        for raw in slow:
            raw.socket.settimeout(20)
            answer = raw.everything()
            assert set(statuses(answer)) <= {400, 408}, answer[:100]
            ended += 1
        assert ended == len(slow) and time.monotonic() - began < 40
    finally:
        stop.set()
        thread.join()
        for raw in slow:
            raw.close()


def test_A7_one_source_may_hold_so_many_connections(house):
    held, refused = [], 0
    try:
        for _ in range(80):
            raw = Raw(house, timeout=5)
            raw.send(b"GET /health/live HTTP/1.1\r\n")
            held.append(raw)
        # Those beyond the limit are told so or closed at once.
        time.sleep(1)
        for raw in held:
            raw.socket.setblocking(False)
            try:
                refused += raw.socket.recv(1000) is not None
            except BlockingIOError:
                pass
            except ConnectionResetError:
                refused += 1
        assert 10 <= refused <= 40, refused
    finally:
        for raw in held:
            raw.close()
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if house.get("/health/live").status == 200:
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("never served again")


def test_connections_that_come_and_go_leave_nothing(house):
    for number in range(150):
        with Raw(house, tls=number % 10 == 0) as raw:
            if number % 3 == 0:
                raw.send(b"GET")
            if number % 3 == 1:
                raw.send(request(b"Content-Length: 10\r\n", b"x"))
    half = socket.create_connection(("127.0.0.1", house.https), timeout=10)
    half.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    half.close()
