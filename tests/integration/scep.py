"""SCEP messages of every kind, right or wrong, and what the daemon answers to them."""

import base64
import concurrent.futures
import itertools
import json
import re
import ssl
import subprocess
import threading

from conftest import BUILD

TOOL = BUILD / "tests/integration/scep_tool"
SERIALS = itertools.count(1)


def text(octets):
    return base64.b64encode(octets).decode()


class Tool:
    """The message builder: one process that keeps keys and certificates by name."""

    def __init__(self):
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            [TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, do, **members):
        for name, value in list(members.items()):
            if isinstance(value, bytes):
                members[name] = text(value)
            if value is None:
                del members[name]
        with self.lock:
            self.process.stdin.write(json.dumps({"do": do, **members}).encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        assert line, f"scep_tool ended at {do} {members}"
        return json.loads(line)

    def do(self, do, **members):
        answer = self.ask(do, **members)
        assert "error" not in answer, (do, members, answer)
        return base64.b64decode(answer["der"]) if "der" in answer else answer

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(timeout=30) == 0


class Reply:
    """A CertRep, verified and opened; or an HTTP status without one."""

    def __init__(self, http, body, fields=None):
        self.http, self.body, self.fields = http, body, fields or {}

    @property
    def word(self):
        """"issued", "pending", "fail 2" or "http 400": what the peer learns."""
        if self.http != 200:
            return f"http {self.http}"
        status = self.fields["status"]
        return {"0": "issued", "3": "pending"}.get(status, f"fail {self.fields['fail']}")

    @property
    def certificate(self):
        found = self.fields.get("certificate")
        return base64.b64decode(found) if found else None


class Fleet:
    """Devices before one house: their keys, messages and answers."""

    def __init__(self, house, profile="default"):
        self.house, self.profile = house, profile
        self.tool = Tool()
        pem = (house.data / "chain.pem").read_text()
        self.tool.do("load", name="issuing", der=ssl.PEM_cert_to_DER_cert(
            re.search("-----BEGIN.*?-----END CERTIFICATE-----\n", pem, re.S).group(0)))  # fmt: skip
        for der in certificates_of(house.get(f"/scep/{profile}?operation=GetCACert").body):
            self.tool.do("load", name="candidate", der=der)
            if "RA" in subject_of(der):
                self.tool.do("load", name="ra", der=der)
        self.device("dev")

    def close(self):
        self.tool.close()

    def key(self, name, kind="rsa:2048"):
        self.tool.do("key", name=name, kind=kind)
        return name

    def device(self, name, kind="rsa:2048"):
        """A key with a self-signed certificate, both called `name`."""
        self.key(name, kind)
        self.tool.do("certificate", name=name, key=name, cn=name)
        return name

    def csr(self, key="dev", cn="dev", **members):
        return self.tool.do("csr", key=key, cn=cn, **members)

    def message(self, content=b"", signer="dev", key=None, transaction=None, **members):
        return self.tool.do(
            "message", content=content, key=key or signer, certificate=signer,
            recipient=members.pop("recipient", "ra"),
            transaction=transaction or f"t-{next(SERIALS)}", **members,
        )  # fmt: skip

    def request(self, challenge, signer="dev", cn="dev", csr=None, **members):
        """A PKCSReq as it should be, but for what `csr` and `members` change."""
        return self.message(
            self.csr(signer, cn, challenge=challenge, **(csr or {})), signer, **members
        )

    def fresh(self, challenge, cn="dev", csr=None, **members):
        """A PKCSReq for a P-256 key that nobody has seen yet; such a key cannot read the
        answer, so that "dev" signs."""
        key = self.key(f"fresh{next(SERIALS)}", "ec:P-256")
        content = self.csr(key, cn, challenge=challenge, **(csr or {}))
        return self.message(content, **members)

    def post(self, body, profile=None, signer="dev", key=None, headers=None):
        url = self.house.scep(profile or self.profile) + "?operation=PKIOperation"
        answer = self.house.call("POST", url, body, headers)
        return self.read(answer, signer, key)

    def read(self, answer, signer="dev", key=None):
        if answer.status != 200:
            return Reply(answer.status, answer.body)
        assert answer.headers["Content-Type"] == "application/x-pki-message"
        fields = self.tool.ask("read", der=answer.body, ra="ra", key=key or signer,
                               certificate=signer)  # fmt: skip
        assert "error" not in fields, fields
        assert fields["type"] == "3"
        return Reply(200, answer.body, fields)

    def post_all(self, bodies, width=None, signer="dev"):
        """All at the same time; the replies in the order of the bodies."""
        gate = threading.Barrier(width or len(bodies))

        def one(body):
            gate.wait(timeout=60)
            return self.post(body, signer=signer)

        with concurrent.futures.ThreadPoolExecutor(len(bodies)) as pool:
            return list(pool.map(one, bodies))

    def enrol(self, name="dev", **challenge):
        """One good enrolment of a device that may be new; its certificate by name, too."""
        challenge.setdefault("subject", f"CN={name}")
        made = self.house.challenge(profile=self.profile, **challenge)
        reply = self.post(self.request(made["challenge"], name, name), signer=name)
        assert reply.word == "issued", (reply.word, self.house.words())
        self.tool.do("load", name=f"{name}-issued", der=reply.certificate)
        return reply


def certificates_of(body):
    """GetCACert's certificates: one bare, or those of a certs-only SignedData."""
    if b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02" not in body[:32]:
        return [body]
    done = subprocess.run(
        ["openssl", "pkcs7", "-inform", "DER", "-print_certs"], input=body,
        stdout=subprocess.PIPE, check=True, timeout=30,
    )  # fmt: skip
    found = re.findall("-----BEGIN.*?-----END CERTIFICATE-----\n", done.stdout.decode(), re.S)
    return [ssl.PEM_cert_to_DER_cert(pem) for pem in found]


def openssl_x509(der, *words):
    done = subprocess.run(
        ["openssl", "x509", "-inform", "DER", "-noout", *words], input=der,
        stdout=subprocess.PIPE, check=True, timeout=30,
    )  # fmt: skip
    return done.stdout.decode().strip()


def subject_of(der):
    return openssl_x509(der, "-subject")


def serial_of(der):
    """As the inventory writes it: lower-case hex, at least 32 digits."""
    return openssl_x509(der, "-serial").split("=")[1].lower().zfill(32)
