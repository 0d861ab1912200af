"""A client of the domain kind (CEP and CES), as strict as Windows and cepces are: keys,
PKCS#10, PKCS#7 and CMC requests by hand, answers read to the last element."""

import base64
import datetime
import hashlib
import subprocess
import xml.etree.ElementTree as ET

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID

SOAP = {"Content-Type": "application/soap+xml; charset=utf-8"}
PASSWORD_PATH = "/CES_UsernamePassword/service.svc/CES"
CERTIFICATE_PATH = "/CES_Certificate/service.svc/CES"
S = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://www.w3.org/2005/08/addressing}"
T = "{http://docs.oasis-open.org/ws-sx/ws-trust/200512}"
E = "{http://schemas.microsoft.com/windows/pki/2009/01/enrollment}"
WSS = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss"
SPACE_SECURITY = f"{WSS}-wssecurity-secext-1.0.xsd"
W = "{" + SPACE_SECURITY + "}"
X509 = f"{WSS}-x509-token-profile-1.0#X509v3"
ENROLLMENT = "http://schemas.microsoft.com/windows/pki/2009/01/enrollment"
TRUST = "http://docs.oasis-open.org/ws-sx/ws-trust/200512"
MICROSOFT = "1.3.6.1.4.1.311."
TEMPLATE_NAME, TEMPLATE_OID, SID = MICROSOFT + "20.2", MICROSOFT + "21.7", MICROSOFT + "25.2"
CMC = "1.3.6.1.5.5.7.7."


# ---- DER ----


def der(tag, *parts):
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + content


def sequence(*parts):
    return der(0x30, *parts)


def integer(number):
    return der(0x02, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def octets(content):
    return der(0x04, content)


def set_of(*parts):
    return der(0x31, *sorted(parts))


def oid(text):
    first, second, *rest = (int(arc) for arc in text.split("."))
    content = b""
    for arc in (40 * first + second, *rest):
        septets = [arc & 0x7F]
        while arc := arc >> 7:
            septets.append(0x80 | arc & 0x7F)
        content += bytes(reversed(septets))
    return der(0x06, content)


def bmp(text):
    return der(0x1E, text.encode("utf-16-be"))


def walk(content):
    """The elements of a constructed value: (tag, content, whole)."""
    at, found = 0, []
    while at < len(content):
        size, head = content[at + 1], 2
        if size & 0x80:
            head += size & 0x7F
            size = int.from_bytes(content[at + 2 : at + head], "big")
        end = at + head + size
        assert end <= len(content)
        found.append((content[at], content[at + head : end], content[at:end]))
        at = end
    return found


def inside(whole, tag=0x30):
    (found,) = walk(whole)
    assert found[0] == tag, hex(found[0])
    return walk(found[1])


# ---- requests ----


def rsa_key(bits=2048):
    return rsa.generate_private_key(65537, bits)


def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


def public(key):
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def sign(key, content, digest=None):
    digest = digest or hashes.SHA256()
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), digest)
    return key.sign(content, ec.ECDSA(digest))


def signature_algorithm(key, digest=None):
    is_sha1 = isinstance(digest, hashes.SHA1)
    if isinstance(key, rsa.RSAPrivateKey):
        name = "1.2.840.113549.1.1." + ("5" if is_sha1 else "11")
        return sequence(oid(name), der(0x05))
    return sequence(oid("1.2.840.10045.4.1" if is_sha1 else "1.2.840.10045.4.3.2"))


def extension(name, value):
    return sequence(oid(name), octets(value))


def by_name(name):
    return extension(TEMPLATE_NAME, bmp(name))


def by_oid(name):
    return extension(TEMPLATE_OID, sequence(oid(name), integer(100), integer(3)))


def attribute(name, value):
    return sequence(oid(name), set_of(value))


def pkcs10(key, cn=None, extensions=(), attributes=(), signer=None):
    """As Windows makes it: naked where there is no name; its system's own attributes.
    `signer`: another key, so that it proves nothing."""
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, cn)] if cn else [])
    own = [attribute(MICROSOFT + "13.2.3", der(0x16, b"10.0.19045.2")), *attributes]
    if extensions:
        own.append(attribute("1.2.840.113549.1.9.14", sequence(*extensions)))
    info = sequence(integer(0), subject.public_bytes(), public(key), der(0xA0, *sorted(own)))
    signer = signer or key
    return sequence(info, signature_algorithm(signer), der(0x03, b"\0", sign(signer, info)))


DIGESTS = {"sha1": "1.3.14.3.2.26", "sha256": "2.16.840.1.101.3.4.2.1"}


def signer_info(signer_id, key, content, content_type, digest=None, bare=False):
    """`signer_id`: a certificate, or None for the key's own identifier."""
    digest = digest or hashes.SHA256()
    algorithm = sequence(oid(DIGESTS[digest.name]), der(0x05))
    hashed = hashes.Hash(digest)
    hashed.update(content)
    attributes = sorted([
        attribute("1.2.840.113549.1.9.3", oid(content_type)),
        attribute("1.2.840.113549.1.9.4", octets(hashed.finalize())),
    ])  # fmt: skip
    if signer_id is None:
        identifier = hashlib.sha1(inside(public(key))[1][1][1:]).digest()
        named = integer(3) + der(0x80, identifier)
    else:
        named = integer(1) + sequence(signer_id.issuer.public_bytes(),
                                      integer(signer_id.serial_number))
    signed = content if bare else der(0x31, *attributes)
    return sequence(
        named, algorithm, b"" if bare else der(0xA0, *attributes),
        signature_algorithm(key, digest), octets(sign(key, signed, digest)))


def signed_data(content, content_type, signers, certificates=()):
    """Signers: (certificate or None, key, digest or None)."""
    infos = [signer_info(who, key, content, content_type, digest)
             for who, key, digest in signers]
    raw = [one.public_bytes(serialization.Encoding.DER) for one in certificates]
    return sequence(oid("1.2.840.113549.1.7.2"), der(0xA0, sequence(
        integer(3), set_of(sequence(oid(DIGESTS["sha256"]), der(0x05))),
        sequence(oid(content_type), der(0xA0, octets(content))),
        der(0xA0, *raw) if raw else b"", set_of(*infos))))


def pkcs7(request, certificate, key):
    return signed_data(request, "1.2.840.113549.1.7.1", [(certificate, key, None)],
                       [certificate])


def control(part, name, value):
    return sequence(integer(part), oid(name), set_of(value))


def cmc(request, signers, controls=(), certificates=(), part=7):
    """A full PKI request; by default the requested key alone signs it."""
    data = sequence(sequence(*controls), sequence(der(0xA0, integer(part), request)),
                    sequence(), sequence())
    return signed_data(data, "1.3.6.1.5.5.7.12.2", signers, certificates)


# ---- messages ----


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;")


def by_password(user, secret):
    """One nonce for a whole run, as cepces does."""
    return (
        f"<wsse:Security><wsse:UsernameToken><wsse:Username>{escape(user)}</wsse:Username>"
        f'<wsse:Password wsse:Type="{WSS}-username-token-profile-1.0#PasswordText">'
        f"{escape(secret)}</wsse:Password><wsse:Nonce>AAAAAAAAAAAAAAAAAAAAAA==</wsse:Nonce>"
        "<u:Created>2026-01-01T00:00:00Z</u:Created></wsse:UsernameToken></wsse:Security>")


def envelope(body, security="", message_id="urn:uuid:4b0c2d9e-5d0e-4c69-8a2c-0b7f2a1d5e77",
             action=ENROLLMENT + "/RST/wstep"):
    return (
        '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"'
        ' xmlns:a="http://www.w3.org/2005/08/addressing"'
        f' xmlns:u="{WSS}-wssecurity-utility-1.0.xsd" xmlns:wsse="{SPACE_SECURITY}">'
        f'<s:Header><a:Action s:mustUnderstand="1">{action}</a:Action>'
        f"<a:MessageID>{message_id}</a:MessageID>"
        f"<a:To>https://ca.example.com/</a:To>{security}</s:Header>"
        f"<s:Body>{body}</s:Body></s:Envelope>").encode()


def rst(token=None, kind="Issue", request_id=None, value_type="#PKCS7"):
    """A RequestSecurityToken; base64 in lines, as PEM bodies are."""
    uri = ENROLLMENT + "/QueryTokenStatus" if kind == "QueryTokenStatus" else f"{TRUST}/{kind}"
    inner = ""
    if token is not None:
        text = base64.encodebytes(token).decode()
        inner = (f'<BinarySecurityToken xmlns="{SPACE_SECURITY}" u:Id="" '
                 f'ValueType="{SPACE_SECURITY}{value_type}" '
                 f'EncodingType="{SPACE_SECURITY}#base64binary">{text}</BinarySecurityToken>')
    number = (f'<RequestID xmlns="{ENROLLMENT}">{request_id}</RequestID>' if request_id is not None
              else f'<RequestID xmlns="{ENROLLMENT}" xsi:nil="true" '
              'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"/>')
    return (f'<RequestSecurityToken xmlns="{TRUST}"><TokenType>{X509}</TokenType>'
            f"<RequestType>{uri}</RequestType>{inner}{number}</RequestSecurityToken>")


class Reply:
    """An answer, held against what clients insist on."""

    def __init__(self, answer, message_id="urn:uuid:4b0c2d9e-5d0e-4c69-8a2c-0b7f2a1d5e77"):
        self.status, self.body = answer.status, answer.body
        assert answer.headers["Content-Type"] == SOAP["Content-Type"], answer.body
        assert answer.headers["Transfer-Encoding"] is None
        assert answer.headers["WWW-Authenticate"] is None
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        done = subprocess.run(["xmllint", "--noout", "--nonet", "-"], input=answer.body,
                              capture_output=True, timeout=30)
        assert done.returncode == 0, (answer.body, done.stderr)
        self.root = ET.fromstring(answer.body)
        if message_id:
            assert self.root.findtext(f"{S}Header/{A}RelatesTo") == message_id
        self.fault = self.root.find(f"{S}Body/{S}Fault")
        assert (self.status == 500) == (self.fault is not None), answer.body
        self.certificate = self.pending = self.id = self.cmc = None
        if self.fault is None:
            self.read()

    @property
    def code(self):
        """The fault's subcode, or what else it is."""
        if self.fault is None:
            return "pending" if self.pending else "issued"
        detail = self.fault.find(f"{S}Detail/{E}CertificateEnrollmentWSDetail")
        assert [child.tag for child in detail] == [
            E + name for name in ("BinaryResponse", "ErrorCode", "InvalidRequest", "RequestID")]
        code = self.fault.findtext(f"{S}Code/{S}Subcode/{S}Value")
        denied = code in ("s:CertificateRequest", "s:Authorization")
        assert detail.findtext(f"{E}InvalidRequest") == ("true" if denied else "false")
        return code

    def read(self):
        assert self.root.findtext(f"{S}Header/{A}Action") == ENROLLMENT + "/RSTRC/wstep"
        (response,) = self.root.find(f"{S}Body/{T}RequestSecurityTokenResponseCollection")
        assert [child.tag for child in response] == [
            T + "TokenType", E + "DispositionMessage", W + "BinarySecurityToken",
            T + "RequestedSecurityToken", E + "RequestID"]  # fmt: skip
        kind, disposition, token, requested, number = response
        assert kind.text == X509
        assert token.get("ValueType") == SPACE_SECURITY + "#PKCS7"
        assert token.get("EncodingType") == SPACE_SECURITY + "#base64binary"
        self.id = int(number.text)
        assert 0 < self.id < 2**31
        (inner,) = requested
        self.cmc = Response(base64.b64decode(token.text, validate=True))
        if inner.tag == W + "SecurityTokenReference":
            assert disposition.text == "Taken Under Submission"
            self.pending = inner.find(f"{W}Reference").get("URI")
            assert self.cmc.status == 3 and self.cmc.token == str(self.id).encode()
            return
        assert disposition.text == "Issued"
        assert inner.tag == W + "BinarySecurityToken" and inner.get("ValueType") == X509
        issued = base64.b64decode(inner.text, validate=True)
        self.certificate = x509.load_der_x509_certificate(issued)
        assert self.cmc.status == 0 and self.cmc.certificates[0] == issued
        assert self.cmc.hash == hashlib.sha1(issued).digest()
        chain = [x509.load_der_x509_certificate(one) for one in self.cmc.certificates]
        for lower, upper in zip(chain, chain[1:]):
            assert lower.issuer == upper.subject
        assert chain[-1].issuer == chain[-1].subject, "up to the root"


class Response:
    """A CMC full response, read to its end."""

    def __init__(self, whole):
        content_type, explicit = inside(whole)
        assert content_type[2] == oid("1.2.840.113549.1.7.2")
        version, digests, info, *rest = inside(explicit[1])
        assert version[2] == integer(3)
        kind, content = walk(info[1])
        assert kind[2] == oid("1.3.6.1.5.5.7.12.3")
        self.certificates = [one[2] for one in walk(rest[0][1])] if rest[0][0] == 0xA0 else []
        controls, messages, others = inside(inside(content[1], 0x04) and
                                            walk(content[1])[0][1])
        assert messages[2] == others[2] == sequence()
        self.controls = {}
        parts = set()
        for _, inner, _ in walk(controls[1]):
            part, name, values = walk(inner)
            parts.add(part[2])
            self.controls[name[2]] = values[1]
        assert len(parts) == len(self.controls)
        status, references, _, *more = inside(self.controls[oid(CMC + "1")])
        self.status = int.from_bytes(status[1], "big")
        self.part = int.from_bytes(inside(references[2])[0][1], "big")
        self.token = self.hash = None
        if more:
            self.token = walk(more[0][1])[0][1]
            when = walk(more[0][1])[1][1].decode()
            assert datetime.datetime.strptime(when, "%Y%m%d%H%M%SZ")
        added = self.controls.get(oid(MICROSOFT + "10.10.1"))
        if added:
            attributes = inside(added)[2][1]
            name, values = inside(attributes)
            assert name[2] == oid(MICROSOFT + "21.17")
            self.hash = inside(values[2], 0x31)[0][1]


class Client:
    """Somebody at a PC that is joined to a domain."""

    def __init__(self, house, user, secret=None):
        self.house, self.user, self.secret = house, user, secret

    def post(self, body, path=PASSWORD_PATH, security=None, context=None):
        if security is None:
            security = by_password(self.user, self.secret)
        return self.send(envelope(body, security), path, context)

    def send(self, message, path=PASSWORD_PATH, context=None, message_id=None):
        answer = self.house.call("POST", self.house.secure + path, message, SOAP, context)
        return Reply(answer, message_id)

    def ask(self, token, **options):
        return self.post(rst(token), **options)

    def query(self, number, **options):
        return self.post(rst(kind="QueryTokenStatus", request_id=number), **options)


def extension_of(certificate, name):
    for one in certificate.extensions:
        if one.oid.dotted_string == name:
            return one.value.public_bytes() if hasattr(one.value, "public_bytes") else one.value.value
    return None
