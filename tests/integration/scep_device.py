"""Activated devices that enrol by SCEP in the modes of ECSPEKE-ACT-1 section 13, and the
CAs of somebody else that they are passed on to."""

import base64
import contextlib
import hashlib
import http.server
import itertools
import json
import re
import sqlite3
import ssl
import subprocess
import threading
import time
import urllib.parse

from conftest import BUILD, free_ports, house_make, run
from scep import certificates_of, serial_of, subject_of

NUMBERS = itertools.count(1)


def encode(octets):
    return base64.urlsafe_b64encode(octets).decode().rstrip("=")


def decode(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def first_pem(text):
    found = re.search("-----BEGIN.*?-----END CERTIFICATE-----\n", text, re.S)
    return ssl.PEM_cert_to_DER_cert(found.group(0))


def working_profile(house, name, user=None, **scep):
    """A certificate profile of its own and a scep profile by it."""
    house.good("POST", "/profiles/certificate", {
        "name": name, "settings": {
            "issuer": "issuing", "subject": "CN={{user.name}}", "protocols": ["scep"],
            "san": [{"type": "email", "value": "{{user.email}}"}],
        }})  # fmt: skip
    house.good("POST", "/profiles/scep", {
        "name": name, "settings": {"certificate": name, **scep}})  # fmt: skip


def activation_house(tmp_path_factory, **config):
    """A house whose devices activate, without limits that a test would meet."""
    made = house_make(tmp_path_factory)
    plugins = json.loads(made.config_path.read_text())["plugins"]
    if not any(plugin["name"] == "activation" for plugin in plugins):
        made.change_config(plugins=plugins + [{"name": "activation"}])
    made.change_config(limits={"requests_per_second": 0, "connections_per_source": 512}, **config)
    return made.start()


class Device:
    """An activated device: its certificate of the activation, and what it does with it.

    The certificate comes over SCEP, and the store is told that it was an activation:
    how one activates has tests of its own."""

    def __init__(self, house, fleet, user, folder, profile="wifi"):
        self.house, self.fleet, self.user, self.folder = house, fleet, user, folder
        self.mail = f"email:{user}@example.com"
        house.user(user)
        self.key_file = folder / f"{user}.key"
        self.make_key(f"{user}-activation", self.key_file)
        made = house.challenge(user, "default", subject=f"CN={user}")
        name = f"{user}-activation"
        fleet.tool.do("certificate", name=name, key=name, cn=user)
        reply = fleet.post(fleet.request(made["challenge"], name, user), signer=name)
        assert reply.word == "issued", house.words()
        self.serial = serial_of(reply.certificate)
        self.certificate_file = folder / f"{user}.pem"
        self.certificate_file.write_text(ssl.DER_cert_to_PEM_cert(reply.certificate))
        with contextlib.closing(sqlite3.connect(house.data / "store.db", timeout=30)) as db:
            with db:
                db.execute("UPDATE certificate SET protocol = 'activation' "
                           "WHERE serial = ?", (self.serial,))  # fmt: skip
        house.good("PUT", f"/users/{user}/profiles/scep/{profile}")

    def make_key(self, name, path=None):
        path = path or self.folder / f"{name}.key"
        run("openssl", "genrsa", "-traditional", "-out", path, "2048")
        self.fleet.tool.do("key_load", name=name, pem=path.read_bytes())
        self.fleet.tool.do("certificate", name=name, key=name, cn=self.user)
        return path

    def call(self, method, path, body=None, cert=None, key=None):
        context = self.house.tls_context(cert or self.certificate_file, key or self.key_file)
        data = json.dumps({"v": 1, **body}).encode() if body is not None else None
        headers = {"Content-Type": "application/json"} if data else {}
        return self.house.call(
            method, self.house.secure + path, data, headers, context=context
        )

    def error(self, *words, **members):
        answer = self.call(*words, **members)
        assert answer.headers["Cache-Control"] == "no-store"
        assert set(answer.json) == {"v", "error"}, answer.json
        return answer.status, answer.json["error"]

    def report(self):
        answer = self.call("PUT", "/activation/v1/device", {
            "device": {"vendor": "V", "model": "M", "serial": "S", "imei": ""},
            "software": {"os": "O", "os_version": "1", "app": "A", "app_version": "2"},
        })  # fmt: skip
        assert answer.status == 200, (answer.body, self.house.words())

    def profile(self):
        answer = self.call("GET", "/activation/v1/scep-profile")
        assert answer.status == 200, (answer.body, self.house.words())
        return answer.json

    def step(self, step, body, profile="wifi"):
        return "POST", f"/activation/v1/scep/{profile}/{step}", body

    def csr(self, key, cn=None, **members):
        members.setdefault("san", self.mail)
        return self.fleet.csr(key, cn or self.user, **members)

    def place(self, profile):
        """The path of the proxy, where the test's daemon listens."""
        return self.house.base + urllib.parse.urlsplit(profile["url"]).path

    def post(self, profile, message, signer, ra=None, url=None, context=None):
        url = (url or self.place(profile)) + "?operation=PKIOperation"
        answer = self.house.call("POST", url, message, context=context)
        if answer.status != 200:
            return f"http {answer.status}", None
        fields = self.fleet.tool.ask(
            "read", der=answer.body, ra=ra or "ra", key=signer, certificate=signer
        )
        assert "error" not in fields, fields
        if fields["status"] != "0":
            return f"fail {fields['fail']}", None
        return "issued", base64.b64decode(fields["certificate"])


def expire(house, device):
    """Time passes for what the device was offered."""
    with contextlib.closing(sqlite3.connect(house.data / "store.db", timeout=30)) as db:
        with db:
            db.execute("UPDATE offer SET expires = 1 WHERE user_name = ?", (device.user,))


def info_of(csr):
    """The CertificationRequestInfo of a PKCS#10."""
    assert csr[0] == 0x30 and csr[1] == 0x82 and csr[4] == 0x30 and csr[5] == 0x82
    return csr[4 : 8 + int.from_bytes(csr[6:8], "big")]


def sign_digest(key, digest, folder):
    (folder / "digest").write_bytes(digest)
    run("openssl", "pkeyutl", "-sign", "-inkey", key, "-in", folder / "digest",
        "-pkeyopt", "digest:sha256", "-out", folder / "signature")  # fmt: skip
    return (folder / "signature").read_bytes()


def assisted(device, name, profile="wifi", key=None):
    key = key or device.make_key(name)
    info = info_of(device.csr(name))
    answer = device.call(
        *device.step("prepare", {"cri": encode(info), "digest": "sha256"}, profile)
    )
    assert answer.status == 200, (answer.body, device.house.words())
    signature = sign_digest(key, decode(answer.json["tbs_digest"]), device.folder)
    body = {"txn": answer.json["txn"], "sig": encode(signature), "cipher": "aes256"}
    return body


# ---- CAs of somebody else ----


def secret_file(house, name, text):
    """A file that an upstream's profile names."""
    folder = house.data / "upstream"
    folder.mkdir(exist_ok=True, mode=0o700)
    (folder / name).write_text(text)
    (folder / name).chmod(0o600)
    return name


def served(handler, certificate=None, key=None, **members):
    """An HTTP server of a test's own, over TLS if it has a certificate."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", free_ports(1)[0]), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    for name, value in members.items():
        setattr(server, name, value)
    server.thread = threading.Thread(target=server.serve_forever)
    server.thread.start()
    return server


def served_end(server):
    server.shutdown()
    server.thread.join()
    server.server_close()


class Challenges(http.server.BaseHTTPRequestHandler):
    """Gives the upstream's challenges as NDES does, to who knows the password."""

    def do_GET(self):
        want = "Basic " + base64.b64encode(b"uem:secret").decode()
        if self.headers["Authorization"] != want:
            self.send_response(401)
            self.end_headers()
            return
        self.server.given += 1
        made = self.server.house.challenge(self.server.user, "default2")
        page = ("<HTML>The enrollment challenge password is: <B> "
                f"{made['challenge']} </B></HTML>")  # fmt: skip
        self.send_response(200)
        self.end_headers()
        self.wfile.write(page.encode("utf-16"))

    def log_message(self, *words):
        pass


def challenges_serve(upstream):
    return served(Challenges, upstream.data / "tls.pem", upstream.data / "tls.key", house=upstream, given=0)


def ra_pins(upstream, profile):
    """SHA-256 of its RAs, which have no purpose that names them."""
    found = upstream.call("GET", upstream.scep(profile) + "?operation=GetCACert")
    return [hashlib.sha256(one).hexdigest() for one in certificates_of(found.body)
            if "RA" in subject_of(one)]  # fmt: skip


def dynamic_upstream(house, upstream, challenges, name, **members):
    """A scep profile up-NAME by which the user NAME enrols at `upstream`."""
    issuing = first_pem((upstream.data / "chain.pem").read_text())
    working_profile(house, f"up-{name}", **members, upstream={
        "url": upstream.scep("default2"), "ca_sha256": hashlib.sha256(issuing).hexdigest(),
        "ra_sha256": ra_pins(upstream, "default2"),
        "challenge": "dynamic", "challenge_file": secret_file(house, "ndes", "uem:secret\n"),
        "challenge_url": f"https://127.0.0.1:{challenges.server_address[1]}/mscep_admin",
        "tls_ca": (upstream.data / "root.pem").read_text(),
    })  # fmt: skip
    upstream.user(name)
    upstream.good("PUT", f"/users/{name}/profiles/scep/default2")
    challenges.user = name


class Answers(http.server.BaseHTTPRequestHandler):
    """The HTTP of an UpstreamCa."""

    def reply(self, status, body, kind):
        if len(body) > 0 and self.server.ca.how == "cut":
            body = body[: len(body) // 2]
        if self.server.ca.how == "huge":
            body += bytes(65536)
        if self.server.ca.how == "page":
            status, body, kind = 200, b"<script>alert(1)</script>", "text/html"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        ca = self.server.ca
        if not ca.beside:
            self.reply(200, ssl.PEM_cert_to_DER_cert(ca.pem.read_text()),
                       "application/x-x509-ca-cert")  # fmt: skip
            return
        words = [word for one in (*ca.beside, ca.pem) for word in ("-certfile", one)]
        both = subprocess.run(["openssl", "crl2pkcs7", "-nocrl", "-outform", "DER", *words],
                              check=True, capture_output=True).stdout  # fmt: skip
        self.reply(200, both, "application/x-x509-ca-ra-cert")

    def do_POST(self):
        message = self.rfile.read(int(self.headers["Content-Length"]))
        status, body = self.server.ca.answer(message)
        self.reply(status, body, "application/x-pki-message")

    def log_message(self, *words):
        pass


class UpstreamCa:
    """A SCEP CA that issues to one RA and answers `how` it is told: issue, pending,
    refuse, other_key, other_issuer, other_signer, other_nonce, other_name, expired,
    ca_certificate, md5_certificate, md5, garbage, cut, error, slow, page, huge; or a list of what
    it answers one after the other."""

    def __init__(self, house, folder):
        self.how, self.asked = "issue", []
        self.beside = []  # other certificates of GetCACert
        self.pem, self.key = folder / "upstream.pem", folder / "upstream.key"
        self.ra = folder / "ra.pem"
        for key, pem, name in ((self.key, self.pem, "Upstream"), (folder / "ra.key", self.ra, "RA")):
            run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", pem,
                "-subj", f"/CN={name}", "-days", "2")  # fmt: skip
        secret_file(house, "ra", self.ra.read_text() + (folder / "ra.key").read_text())
        self.server = served(Answers, ca=self)
        pin = hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.pem.read_text())).hexdigest()
        self.members = {
            "url": f"http://127.0.0.1:{self.server.server_address[1]}/scep", "ra_file": "ra",
            "ca_sha256": pin, "ra_sha256": [pin],
        }  # fmt: skip

    def answer(self, message):
        how = self.how.pop(0) if isinstance(self.how, list) else self.how
        if how == "slow":
            time.sleep(18)  # the daemon waits for 15 seconds
        if how in ("error", "slow", "page"):
            return 500, b""
        if how == "garbage":
            return 200, b"\x30\x03\x02\x01\x00"
        done = subprocess.run([BUILD / "tests/integration/scep_upstream", self.pem, self.key, self.ra,
                               "issue" if how in ("cut", "huge") else how], input=message, capture_output=True,
                              timeout=30)  # fmt: skip
        assert done.returncode == 0, done.stderr
        self.asked.append(done.stderr.decode())
        return 200, done.stdout

    def close(self):
        served_end(self.server)
