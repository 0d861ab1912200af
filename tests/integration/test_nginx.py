"""Behind a real nginx with the configuration of deploy/nginx: the whole flow of a PC, the
aliases of other products' paths, and headers that nobody but a configured proxy sets."""

import http.client
import itertools
import signal
import socket
import ssl
import subprocess
import time
import urllib.parse

import pytest
from conftest import SOURCE, free_ports, house_end, house_make, run
from windows import DISCOVERY, MESSAGES, PACKAGE_1, SOAP, Computer, xmllint

SECRET = "k7dp-93mt-qxwe"
NAME = "enterpriseenrollment.example.com"
CAP = 6  # connections_per_source
numbers = itertools.count(0x7F1D0A9C3B7E4E1FA2D45C8B90E3F700)

MAIN = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    gzip on;
    gzip_types *;
    gzip_min_length 1;
    include {folder}/sealwright.conf;
}}
"""


class Front:
    """The house as it looks from outside, through the proxy."""

    def __init__(self, house, folder):
        self.house, self.folder = house, folder
        self.http, self.https = free_ports(2)
        self.secure = f"https://{NAME}:{self.https}"
        self.base = f"http://{NAME}:{self.http}"
        self.configure()
        self.process = subprocess.Popen(["nginx", "-p", folder, "-c", folder / "nginx.conf", "-e",
                                         folder / "error.log"])  # fmt: skip
        end = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.https), 1).close()
                return
            except OSError:
                assert self.process.poll() is None and time.monotonic() < end, self.words()
                time.sleep(0.05)

    def configure(self):
        """The files as they are delivered, with names, ports and paths of this test."""
        folder, house = self.folder, self.house
        (folder / "snippets").mkdir()
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder))
        run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=Public CA",
            "-keyout", "ca.key", "-out", "ca.pem", cwd=folder)  # fmt: skip
        run("openssl", "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={NAME}", "-keyout",
            "enterpriseenrollment.key", "-out", "front.csr", cwd=folder)  # fmt: skip
        (folder / "san.txt").write_text(f"subjectAltName=DNS:{NAME}\n")
        run("openssl", "x509", "-req", "-in", "front.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-days", "2",
            "-CAcreateserial", "-extfile", "san.txt", "-out", "enterpriseenrollment.pem", cwd=folder)  # fmt: skip
        chain = (house.data / "chain.pem").read_text()
        (folder / "sealwright-chain.pem").write_text(chain)
        (folder / "sealwright-root.pem").write_text((house.data / "root.pem").read_text())
        changes = {"/etc/nginx/tls/": f"{folder}/", "snippets/": f"{folder}/snippets/",
                   "server 127.0.0.1:8443;": f"server 127.0.0.1:{house.https};",
                   "listen 80;": f"listen 127.0.0.1:{self.http};", "listen [::]:80;": "",
                   "listen 443 ssl;": f"listen 127.0.0.1:{self.https} ssl;", "listen [::]:443 ssl;": ""}  # fmt: skip
        seen = ""
        for name, to in (("sealwright.conf", folder), ("sealwright-proxy.conf", folder / "snippets")):
            text = (SOURCE / "deploy/nginx" / name).read_text()
            seen += text
            for old, new in changes.items():
                text = text.replace(old, new)
            (to / name).write_text(text)
        assert all(old in seen for old in changes), "the delivered files have changed"

    def words(self):
        log = self.folder / "error.log"
        return self.house.words()[-3000:] + (log.read_text()[-3000:] if log.exists() else "")

    def stop(self):
        self.process.send_signal(signal.SIGQUIT)
        assert self.process.wait(30) == 0

    def tls_context(self, cert=None, key=None):
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        if cert:
            context.load_cert_chain(cert, key)
        return context

    def call(self, method, url, body=None, headers=None, context=None, timeout=60):
        return self.house.call(method, url, body, headers, context or self.tls_context(), timeout)


@pytest.fixture(scope="module", autouse=True)
def names_resolve():
    """enterpriseenrollment.example.com is this machine."""
    real = socket.getaddrinfo

    def resolve(host, *rest, **options):
        return real("127.0.0.1" if host == NAME else host, *rest, **options)

    socket.getaddrinfo = resolve
    yield
    socket.getaddrinfo = real


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(plugins=[{"name": name} for name in ("scep", "discovery", "xcep", "wstep", "syncml")],
                       limits={"trusted_proxies": ["127.0.0.1"], "connections_per_source": CAP,
                               "idle_ms": 60000, "requests_per_second": 0})  # fmt: skip
    made.start()
    for user in ("alice", "bob"):
        made.user(user)
        made.good("PUT", f"/users/{user}/password", {"password": SECRET})
    profile = made.good("GET", "/profiles/certificate/default")
    made.good("PATCH", "/profiles/certificate/default",
              {"settings": {**profile["settings"], "protocols": ["scep", "wstep"], "validity": "P10D",
                            "renewal_window": "P10D"}},
              headers={"If-Match": f'"{profile["version"]}"'})  # fmt: skip
    yield made
    house_end(made)


@pytest.fixture(scope="module")
def front(house, tmp_path_factory):
    folder = tmp_path_factory.mktemp("nginx")
    folder.chmod(0o755)
    made = Front(house, folder)
    try:
        now = house.good("GET", "/organisation")
        house.good("PUT", "/organisation", {"name": now["name"], "mail_domains": now["mail_domains"],
                                            "base_url": made.secure, "plain_url": made.base},
                   headers={"If-Match": f'"{now["version"]}"'})  # fmt: skip
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def computer(front, tmp_path_factory):
    pc = Computer(front, tmp_path_factory.mktemp("pc"), f"{next(numbers):032X}", "alice", SECRET)
    pc.discover()
    security = pc.by_token(pc.log_in())
    pc.policies(security)
    pc.enrol(security)
    return pc


def message(pc, body=PACKAGE_1, session="77"):
    return (f'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto><SessionID>'
            f"{session}</SessionID><MsgID>1</MsgID><Target><LocURI>{pc.address}</LocURI></Target><Source><LocURI>"
            f"{pc.peer_id}</LocURI></Source></SyncHdr><SyncBody>{body}<Final/></SyncBody></SyncML>").encode()  # fmt: skip


def forged(pc):
    """Headers that claim the PC's certificate and another address."""
    return {"Content-Type": "application/vnd.syncml.dm+xml", "X-Forwarded-For": "198.51.100.7",
            "X-Forwarded-Proto": "https", "Client-Cert": urllib.parse.quote(
                ssl.DER_cert_to_PEM_cert(pc.der), safe="")}  # fmt: skip


def post(port, path, body, headers, source, context):
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=60, source_address=(source, 0),
                                             context=context)  # fmt: skip
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    octets = answer.read()
    connection.close()
    return answer, octets


def test_a_pc_lives_behind_the_proxy(house, front, computer):
    assert computer.address.startswith(front.secure)
    computer.session("1")  # by the certificate that the proxy passes on
    shown = house.good("GET", f"/devices/{computer.device}")
    assert shown["report"]["dev_info"]["Man"] == "Maker"
    computer.renew()
    computer.session("2")


def test_the_probe_works_over_plain_http_and_nothing_else(front):
    assert front.call("GET", front.base + DISCOVERY).status == 200
    body = (MESSAGES / "discover.xml").read_bytes()
    answer = front.call("POST", front.base + DISCOVERY, body, {"Content-Type": SOAP})
    assert answer.status == 403 and b"EnrollmentServiceUrl" not in answer.body
    for path in ("/EnrollmentServer/DeviceEnrollmentWebservice.svc", "/syncml/initialquery"):
        assert front.call("POST", front.base + path, b"x").status == 404
    assert front.call("GET", f"{front.base}/scep/default?operation=GetCACaps").status == 200


def test_the_inner_paths_of_other_products_are_aliases(front, computer):
    for prefix in ("/mdm-windows-agent", "/api/device-mgt/windows/v1.0"):
        inner = f"{front.secure}{prefix}/services"
        assert front.call("GET", inner + "/discovery/get").status == 200
        body = (MESSAGES / "discover.xml").read_bytes()
        answer = front.call("POST", inner + "/discovery/post", body, {"Content-Type": SOAP})
        assert answer.status == 200 and f"{front.secure}/EnrollmentServer/".encode() in answer.body
        pc = Computer(front, computer.folder / prefix.replace("/", "_"), f"{next(numbers):032X}", "bob", SECRET)
        pc.services = {"EnrollmentPolicyServiceUrl": inner + "/certificatepolicy/xcep",
                       "EnrollmentServiceUrl": inner + "/deviceenrolment/wstep"}  # fmt: skip
        pc.policies(pc.by_password())
        pc.enrol(pc.by_password())
        pc.address = inner + "/syncml/devicemanagement/request"
        pc.session("1")
    for prefix in ("/emm", "/emm-web-agent"):
        computer.services["AuthenticationServiceUrl"] = f"{front.secure}{prefix}/enrollments/windows/login-agent"
        assert computer.log_in()


def test_W2_headers_of_a_client_are_gone_behind_the_proxy(front, house, computer):
    answer, body = post(front.https, "/syncml/initialquery", message(computer),
                        {**forged(computer), "Host": NAME}, "127.0.0.3", server_of(front))  # fmt: skip
    assert answer.status == 200 and computer.code(xmllint(body)) == 401
    line = house.log_lines()[-1]
    assert line["peer"] == "127.0.0.3", line  # and no word of 198.51.100.7
    for name in ("Forwarded", "Client-Cert-Chain"):
        answer, body = post(front.https, "/syncml/initialquery", message(computer),
                            {**forged(computer), name: "for=198.51.100.7;proto=https", "Host": NAME},
                            "127.0.0.3", server_of(front))  # fmt: skip
        assert computer.code(xmllint(body)) == 401


def server_of(front):
    """The proxy's TLS to an address in place of its name."""
    context = front.tls_context()
    context.check_hostname = False
    return context


def test_W2_headers_from_anywhere_else_are_ignored(house, computer):
    """Past the proxy, from an address that is none: the very same request."""
    for source, code in (("127.0.0.2", 401), ("127.0.0.1", 200)):
        answer, body = post(house.https, "/syncml/initialquery", message(computer), forged(computer), source,
                            house.tls_context())  # fmt: skip
        assert answer.status == 200 and computer.code(xmllint(body)) == code, source
    lines = [line for line in house.log_lines() if line.get("peer") in ("127.0.0.2", "198.51.100.7")]
    assert [line["peer"] for line in lines[-2:]] == ["127.0.0.2", "198.51.100.7"]


def test_W2_a_strangers_certificate_opens_nothing(front, computer, tmp_path):
    run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj",
        "/CN=alice/O=Example Corp", "-keyout", "key.pem", "-out", "cert.pem", cwd=tmp_path)  # fmt: skip
    context = front.tls_context(tmp_path / "cert.pem", tmp_path / "key.pem")
    _, root = computer.post("78", 1, PACKAGE_1, context=context)
    assert computer.code(root) == 401


def connections(port, source, count):
    """How many of so many open connections answer a request."""
    opened, answered = [], 0
    try:
        for _ in range(count):
            opened.append(socket.create_connection(("127.0.0.1", port), 10, (source, 0)))
        time.sleep(0.5)
        for one in opened:
            one.settimeout(10)
            try:
                one.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n")
                answered += one.recv(4096).startswith(b"HTTP/1.1 200")
            except OSError:
                pass
    finally:
        for one in opened:
            one.close()
    return answered


def test_A7_a_proxy_is_exempt_from_the_cap_and_nobody_else(house):
    assert connections(house.http, "127.0.0.2", CAP + 6) == CAP
    assert connections(house.http, "127.0.0.1", CAP + 6) == CAP + 6


@pytest.mark.parametrize("path", [
    "/api/v1/organisation", "/API/v1/organisation", "/health/ready", "/metrics", "/", "/console/",
    "/EnrollmentServer/../api/v1/organisation", "/EnrollmentServer/%2e%2e/api/v1/organisation",
    "//api/v1/organisation", "/syncml/initialquery/../../api/v1/organisation",
    "/scep/..%2fapi/v1/organisation", "/scep/../api/v1/organisation", "/crl/..%2f..%2fapi/v1/organisation",
    "/mdm-windows-agent/services/discovery/get/../../../../api/v1/organisation",
])  # fmt: skip
def test_W2_nothing_but_the_devices_paths_is_reached(front, house, path):
    connection = http.client.HTTPSConnection(NAME, front.https, timeout=60, context=front.tls_context())
    connection.request("GET", path, headers={"Authorization": f"Bearer {house.token}"})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    assert answer.status in (400, 404, 405), (answer.status, body)
    assert b"mail_domains" not in body


def test_R8_large_bodies_end_at_the_proxy_or_the_daemon(front):
    for size in (600 * 1024, 2 * 1024 * 1024):
        answer = front.call("POST", front.secure + "/syncml/initialquery", b"x" * size,
                            {"Content-Type": "application/vnd.syncml.dm+xml"})  # fmt: skip
        assert answer.status == 413


def test_the_proxy_asks_for_the_right_certificates_at_once(front):
    for version in ("-tls1_2", "-tls1_3"):
        done = run("openssl", "s_client", "-connect", f"127.0.0.1:{front.https}", "-servername", NAME, "-CAfile",
                   front.folder / "ca.pem", version, stdin=b"", check=False)  # fmt: skip
        assert "Acceptable client certificate CA names" in done.out
        assert "Example Corp Issuing CA" in done.out
