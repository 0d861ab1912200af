"""A device that activates by ECSPEKE-ACT-1, written from the protocol's text alone: what
the daemon says is held against an implementation that shares no line with it."""

import base64
import hashlib
import hmac
import json
import os
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

LABEL = b"ECSPEKE-ACT-1"
DSI = b"CPaceP521_XMD:SHA-512_SSWU_NU_"
P = 2**521 - 1
A = P - 3
B = int("0051953eb9618e1c9a1f929a21a0b68540eea2da725b99b315f3b8b489918ef109e156193951ec7e937b"
        "1652c0bd3bb1bf073573df883d2c34f1ef451fd46b503f00", 16)  # fmt: skip
N = int("01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966"
        "b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409", 16)  # fmt: skip
Z = P - 4


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def lv(*parts):
    out = b""
    for part in parts:
        part = part.encode() if isinstance(part, str) else part
        size = len(part)
        while size > 127:
            out += bytes([size & 127 | 128])
            size >>= 7
        out += bytes([size]) + part
    return out


# ---- The curve ----


def add(p, q):
    if p is None or q is None:
        return p or q
    if p[0] == q[0] and (p[1] + q[1]) % P == 0:
        return None
    if p == q:
        slope = (3 * p[0] * p[0] + A) * pow(2 * p[1], -1, P) % P
    else:
        slope = (q[1] - p[1]) * pow(q[0] - p[0], -1, P) % P
    x = (slope * slope - p[0] - q[0]) % P
    return x, (slope * (p[0] - x) - p[1]) % P


def times(scalar, point):
    result = None
    for bit in bin(scalar)[2:]:
        result = add(result, result)
        if bit == "1":
            result = add(result, point)
    return result


def encode(point):
    return b"\x04" + point[0].to_bytes(66, "big") + point[1].to_bytes(66, "big")


def decode(octets):
    assert len(octets) == 133 and octets[0] == 4
    x, y = int.from_bytes(octets[1:67], "big"), int.from_bytes(octets[67:], "big")
    assert x < P and y < P and (y * y - x**3 - A * x - B) % P == 0
    return x, y


def expand(message):
    dst = DSI + b"_DST" + bytes([len(DSI) + 4])
    b0 = hashlib.sha512(bytes(128) + message + (98).to_bytes(2, "big") + b"\0" + dst).digest()
    b1 = hashlib.sha512(b0 + b"\1" + dst).digest()
    mixed = bytes(x ^ y for x, y in zip(b0, b1))
    return (b1 + hashlib.sha512(mixed + b"\2" + dst).digest())[:98]


def to_curve(octets):
    u = int.from_bytes(octets, "big") % P
    t = Z * u * u % P
    d = (t * t + t) % P
    x = -B * pow(A, -1, P) * (1 + pow(d, -1, P)) % P if d else B * pow(Z * A, -1, P) % P
    value = (x**3 + A * x + B) % P
    y = pow(value, (P + 1) // 4, P)
    if y * y % P != value:
        x = t * x % P
        y = pow((x**3 + A * x + B) % P, (P + 1) // 4, P)
    return x, y if y % 2 == u % 2 else P - y


# ---- Keys ----


def hkdf(salt, secret):
    return hmac.new(salt, secret, "sha512").digest()


def key(prk, name):
    return hmac.new(prk, lv(LABEL, name) + b"\1", "sha512").digest()[:32]


def seal(keys, way, th, aad, plain, iv=None):
    iv = iv or os.urandom(16)
    plain += bytes([16 - len(plain) % 16]) * (16 - len(plain) % 16)
    cipher = Cipher(algorithms.AES(keys[way + " enc"]), modes.CBC(iv)).encryptor()
    body = iv + cipher.update(plain) + cipher.finalize()
    mark = lv(LABEL, way + " seal", th, aad)
    return body + hmac.new(keys[way + " mac"], mark + body, "sha256").digest()


def unseal(keys, way, th, aad, box):
    assert len(box) >= 64 and len(box) % 16 == 0
    mark = lv(LABEL, way + " seal", th, aad)
    tag = hmac.new(keys[way + " mac"], mark + box[:-32], "sha256").digest()
    assert hmac.compare_digest(tag, box[-32:])
    cipher = Cipher(algorithms.AES(keys[way + " enc"]), modes.CBC(box[:16])).decryptor()
    plain = cipher.update(box[16:-32]) + cipher.finalize()
    pad = plain[-1]
    assert 1 <= pad <= 16 and plain.endswith(bytes([pad]) * pad)
    return plain[:-pad]


def canonical(user):
    return "".join(c.lower() if "A" <= c <= "Z" else c for c in user.strip(" "))


class Exchange:
    """One run; every value may be bent before the next message is made."""

    def __init__(self, server, user, password, ref="", client="activation.py/1"):
        self.server, self.user, self.password, self.ref = server, user, password, ref
        self.client = client
        self.suites = ["ecspeke-p521"]
        self.cn = os.urandom(16)
        self.scalar = secrets.randbelow(N - 1) + 1
        self.iv = None

    def hello(self):
        return {"v": 1, "suites": self.suites, "user": self.user, "ref": self.ref,
                "cn": b64(self.cn), "client": self.client}  # fmt: skip

    def take_reply(self, reply):
        self.sn = unb64(reply["sn"])
        salt, ys = unb64(reply["salt"]), unb64(reply["ys"])
        prs = hashlib.scrypt(self.password.encode(), salt=salt, n=2 ** reply["ln"], r=reply["r"],
                             p=reply["p"], dklen=32, maxmem=2**28)  # fmt: skip
        ci = lv(LABEL, lv("server", self.server), lv("client", canonical(self.user), self.ref))
        sid = self.cn + self.sn
        pad = bytes(max(0, 128 - 1 - len(lv(prs)) - len(lv(DSI))))
        g = to_curve(expand(lv(DSI, prs, pad, ci, sid)))
        self.ys, self.yc = ys, encode(times(self.scalar, g))
        shared = times(self.scalar, decode(ys))[0].to_bytes(66, "big")
        ad_s = lv(reply["suite"], f"scrypt:{reply['ln']}:{reply['r']}:{reply['p']}", salt)
        ad_c = lv(",".join(self.suites), self.client)
        tr = lv(ys, ad_s) + lv(self.yc, ad_c)
        isk = hashlib.sha512(lv(DSI + b"_ISK", sid, shared) + tr).digest()
        self.th = hashlib.sha512(lv(LABEL + b" th", ci, sid) + tr).digest()
        prk = hkdf(self.th, isk)
        self.keys = {name: key(prk, name) for name in (
            "c2s confirm", "s2c confirm", "c2s enc", "c2s mac", "s2c enc", "s2c mac")}
        self.tc = self.tag("c2s")

    def tag(self, way):
        mark = lv(LABEL, way + " confirm", self.th)
        return hmac.new(self.keys[way + " confirm"], mark, "sha256").digest()

    def enroll(self, csr):
        self.box = seal(self.keys, "c2s", self.th, self.tc, csr, self.iv)
        return {"v": 1, "sn": b64(self.sn), "yc": b64(self.yc), "tc": b64(self.tc),
                "csr": b64(self.box)}  # fmt: skip

    def open(self, answer):
        assert hmac.compare_digest(unb64(answer["ts"]), self.tag("s2c"))
        return json.loads(
            unseal(self.keys, "s2c", self.th, self.box[-32:], unb64(answer["grant"])))


def csr_make(private=None, signer=None):
    """A request; `signer` another key makes its signature a wrong one."""
    private = private or ec.generate_private_key(ec.SECP256R1())
    request = (x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
               .sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.DER))  # fmt: skip
    if signer:
        request = bytearray(request)
        request[-1] ^= 1
    return private, bytes(request)


class Device:
    """A device against a house: posts JSON, remembers what it was answered."""

    def __init__(self, house, user, password, ref="", server=None):
        self.house = house
        self.server = server or f"127.0.0.1:{house.https}"
        self.user, self.password, self.ref = user, password, ref

    def post(self, path, message, method="POST", context=None, headers=None):
        raw = message if isinstance(message, bytes) else json.dumps(message).encode()
        head = {"Content-Type": "application/json", **(headers or {})}
        return self.house.call(method, self.house.secure + path, raw, head, context)

    def hello(self, **members):
        self.exchange = Exchange(self.server, self.user, self.password, self.ref)
        return self.post("/activation/v1/hello", {**self.exchange.hello(), **members})

    def enroll(self, csr, **members):
        self.sent = json.dumps({**self.exchange.enroll(csr), **members}).encode()
        return self.post("/activation/v1/enroll", self.sent)

    def activate(self, private=None):
        """Both steps; the answer of the last one that was asked."""
        answer = self.hello()
        if answer.status != 200:
            return answer
        self.exchange.take_reply(answer.json)
        self.private, csr = csr_make(private)
        answer = self.enroll(csr)
        if answer.status in (200, 422):
            self.content = self.exchange.open(answer.json)
        return answer

    def identity(self, folder):
        """A TLS context with the certificate of the grant."""
        chain = [self.content["cert"], *self.content["chain"]]
        pem = "".join(
            x509.load_der_x509_certificate(unb64(one))
            .public_bytes(serialization.Encoding.PEM).decode() for one in chain)
        folder.mkdir(exist_ok=True)
        (folder / "device.pem").write_text(pem)
        (folder / "device.key").write_bytes(self.private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        return self.house.tls_context(folder / "device.pem", folder / "device.key")
