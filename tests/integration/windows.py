"""A Windows PC as the servers see it: strict where Windows is strict. It enrols, applies
the provisioning document, is managed, renews itself and leaves."""

import base64
import hashlib
import html
import re
import subprocess
import urllib.parse
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import escape

from conftest import SOURCE, run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import pkcs7
from wbxml import to_wbxml, to_xml

MESSAGES = SOURCE / "tests/data/windows"
SPACE = "{SYNCML:SYNCML1.2}"
TYPE = "application/vnd.syncml.dm+xml"
TYPE_WBXML = "application/vnd.syncml.dm+wbxml"
SOAP = "application/soap+xml; charset=utf-8"
DISCOVERY = "/EnrollmentServer/Discovery.svc"
APPRU = "ms-app://windows.immersivecontrolpanel"
TYPE_USER = ("http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"
             "DeviceEnrollmentUserToken")
TYPE_DOCUMENT = ("http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"
                 "DeviceEnrollmentProvisionDoc")
S = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://www.w3.org/2005/08/addressing}"
D = "{http://schemas.microsoft.com/windows/management/2012/01/enrollment}"
X = "{http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy}"
E = "{http://schemas.microsoft.com/windows/pki/2009/01/enrollment}"
T = "{http://docs.oasis-open.org/ws-sx/ws-trust/200512}"
O = "{http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd}"
NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
SCEP_ROOT = "./Device/Vendor/MSFT/ClientCertificateInstall/SCEP/"
LOGIN_STATUS = (
    '<Alert><CmdID>1</CmdID><Data>1224</Data><Item><Meta><Type xmlns="syncml:metinf">'
    "com.microsoft/MDM/LoginStatus</Type></Meta><Data>user</Data></Item></Alert>"
)
PACKAGE_1 = (
    "<Alert><CmdID>2</CmdID><Data>1201</Data></Alert>" + LOGIN_STATUS +
    "<Replace><CmdID>3</CmdID><Item><Source><LocURI>./DevInfo/Man</LocURI></Source><Data>Maker"
    "</Data></Item></Replace>"
)
UNENROLMENT = (
    '<Alert><CmdID>4</CmdID><Data>1226</Data><Item><Meta><Type xmlns="syncml:metinf">'
    'com.microsoft:mdm.unenrollment.userrequest</Type><Format xmlns="syncml:metinf">int</Format>'
    "</Meta><Data>1</Data></Item></Alert>"
)


def xmllint(octets):
    done = subprocess.run(["xmllint", "--noout", "--nonet", "-"], input=octets, capture_output=True,
                          timeout=30)  # fmt: skip
    assert done.returncode == 0, (octets, done.stderr)
    return ElementTree.fromstring(octets)


def names(element):
    return [re.sub("{.*}", "", child.tag) for child in element]


# ---- ASN.1 as Windows writes it ----


def tlv(tag, *parts):
    body = b"".join(parts)
    length = len(body)
    if length < 128:
        return bytes([tag, length]) + body
    octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body


def oid(text):
    numbers = [int(part) for part in text.split(".")]
    octets = bytes([40 * numbers[0] + numbers[1]])
    for number in numbers[2:]:
        chunk = [number & 127]
        while number := number >> 7:
            chunk.insert(0, 128 | number & 127)
        octets += bytes(chunk)
    return tlv(6, octets)


def windows_csr(key, device_id, is_windows_10=False):
    """The subject is a PrintableString of 64 octets that holds '!' and ends with a NUL; an
    extension is raw text; Windows 10 signs over SHA-1 under OIW's name, 11 over SHA-256."""
    subject = f"2E1AC3D4-8B7F-4C6A-9D0E-1F2A3B!{device_id}".encode()
    name = tlv(0x13, subject + b"\0") if is_windows_10 else tlv(0x0C, subject)
    public = key.public_key().public_bytes(serialization.Encoding.DER,
                                           serialization.PublicFormat.SubjectPublicKeyInfo)  # fmt: skip
    extensions = [tlv(0x30, oid("1.3.6.1.4.1.311.66.1.0"), tlv(4, device_id.encode() + b"\0"))]
    if not is_windows_10:
        extensions.insert(0, tlv(0x30, oid("2.5.29.37"),
                                 tlv(4, tlv(0x30, oid("1.3.6.1.5.5.7.3.2")))))  # fmt: skip
    info = tlv(
        0x30, tlv(2, b"\0"),
        tlv(0x30, tlv(0x31, tlv(0x30, oid("2.5.4.3"), name))), public,
        tlv(0xA0, tlv(0x30, oid("1.2.840.113549.1.9.14"), tlv(0x31, tlv(0x30, *extensions)))),
    )  # fmt: skip
    digest = hashes.SHA1() if is_windows_10 else hashes.SHA256()
    algorithm = "1.3.14.3.2.29" if is_windows_10 else "1.2.840.113549.1.1.11"
    signature = key.sign(info, padding.PKCS1v15(), digest)
    return tlv(0x30, info, tlv(0x30, oid(algorithm), tlv(5)), tlv(3, b"\0" + signature))


def thumbprint(der):
    return hashlib.sha1(der).hexdigest().upper()


# ---- The device under management ----


class Managed:
    """A tree of nodes behind a DM session, and what the server did to it."""

    def __init__(self, house, peer_id, address):
        self.house, self.peer_id, self.address = house, peer_id, address
        self.tree = {"./DevDetail/SwV": "10.0.19043.1", "./DevDetail/OEM": "A & B <C>"}
        self.seen = []
        self.headers = {}
        self.context = None
        self.type = TYPE
        self.header = ""  # what SyncHdr has besides

    def post(self, session, number, body, context=None, content_type=None, final="<Final/>"):  # fmt: skip
        content_type = content_type or self.type
        text = (
            f'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
            f"<SessionID>{session}</SessionID><MsgID>{number}</MsgID><Target><LocURI>{self.address}"
            f"</LocURI></Target><Source><LocURI>{self.peer_id}</LocURI></Source>"
            f"{self.header}</SyncHdr><SyncBody>{body}{final}</SyncBody></SyncML>"
        ).encode()
        answer = self.house.call(
            "POST", self.address + "?mode=Maintenance&Platform=WoA",
            to_wbxml(text) if "wbxml" in content_type else text,
            {"Content-Type": content_type, "Accept": f"{TYPE}, {TYPE_WBXML}",
             "User-Agent": "MSFT OMA DM Client/1.2.0.1", **self.headers},
            context or self.context,
        )  # fmt: skip
        if answer.status != 200:
            return answer, None
        assert answer.headers["Content-Type"] == (content_type if "wbxml" in content_type else TYPE)
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        assert "Transfer-Encoding" not in answer.headers
        root = xmllint(to_xml(answer.body) if "wbxml" in content_type else answer.body)
        header, commands = root
        assert names(header) == ["VerDTD", "VerProto", "SessionID", "MsgID", "Target", "Source"]
        assert header[2].text == str(session)
        assert commands[-1].tag == SPACE + "Final"
        first = commands[0]
        assert first.tag == SPACE + "Status" and first.find(SPACE + "Cmd").text == "SyncHdr"
        assert first.find(SPACE + "CmdRef").text == "0"
        ids = [one.find(SPACE + "CmdID").text for one in commands.iter() if one.find(SPACE + "CmdID") is not None]
        assert len(ids) == len(set(ids)) and "0" not in ids
        return answer, root

    @staticmethod
    def code(root):
        return int(root[1][0].find(SPACE + "Data").text)

    def obey(self, root):
        """What the answer's commands come to: the body of the next message, or None."""
        own = root[0].find(SPACE + "MsgID").text
        said, count = [], [0]

        def status(command, code):
            count[0] += 1
            name = command.tag[len(SPACE):]
            reference = command.find(SPACE + "CmdID").text
            said.append(f"<Status><CmdID>{count[0]}</CmdID><MsgRef>{own}</MsgRef><CmdRef>{reference}"
                        f"</CmdRef><Cmd>{name}</Cmd><Data>{code}</Data></Status>")  # fmt: skip
            return reference

        def do(command, group=None):
            name = command.tag[len(SPACE):]
            assert command[0].tag == SPACE + "CmdID"
            if name in ("Atomic", "Sequence"):
                assert group != "Atomic", "500: an Atomic in an Atomic"
                status(command, 200)
                for member in command[1:]:
                    do(member, name)
                return
            assert (group, name) != ("Atomic", "Get"), "500: a Get in an Atomic"
            uri = command.find(f"{SPACE}Item/{SPACE}Target/{SPACE}LocURI").text
            assert uri.startswith("./") and " " not in uri
            self.seen.append((name, uri))
            data = command.findtext(f"{SPACE}Item/{SPACE}Data", "")
            there = uri in self.tree
            if name == "Get":
                reference = status(command, 200 if there else 404)
                if there:
                    count[0] += 1
                    said.append(f"<Results><CmdID>{count[0]}</CmdID><MsgRef>{own}</MsgRef><CmdRef>"
                                f"{reference}</CmdRef><Item><Source><LocURI>{uri}</LocURI></Source><Data>"
                                f"{escape(self.tree[uri])}</Data></Item></Results>")  # fmt: skip
            elif name == "Exec":
                status(command, 200)
            elif name == "Delete":
                status(command, 200 if there else 404)
                self.tree.pop(uri, None)
            else:
                good = there == (name == "Replace")
                status(command, 200 if good else 404 if name == "Replace" else 418)
                if good:
                    self.tree[uri] = data

        for command in root[1]:
            if command.tag[len(SPACE):] not in ("Status", "Alert", "Final"):
                do(command)
        return "".join(said) or None

    def session(self, session, between=lambda number: None):
        number, body = 1, PACKAGE_1
        while body:
            answer, root = self.post(session, number, body)
            assert root is not None, (answer.status, answer.body, self.house.words()[-1500:])
            assert self.code(root) == 200
            body = self.obey(root)
            number += 1
            between(number)
            assert number < 300


# ---- The device that enrols ----


def parms(characteristic):
    """name -> (value, datatype); each once."""
    found = {}
    for child in characteristic:
        if child.tag == "parm":
            assert set(child.attrib) <= {"name", "value", "datatype"}
            assert child.attrib["name"] not in found
            found[child.attrib["name"]] = (child.attrib.get("value"), child.attrib.get("datatype"))
    return found


def below(characteristic, *types):
    for one in types:
        found = [child for child in characteristic
                 if child.tag == "characteristic" and child.attrib == {"type": one}]
        assert len(found) == 1, (one, [child.attrib for child in characteristic])
        characteristic = found[0]
    return characteristic


def certificate_at(place):
    """The one certificate of a store, held to its thumbprint."""
    one = [child for child in place if re.fullmatch("[0-9A-F]{40}", child.attrib["type"])]
    assert len(one) == 1, [child.attrib for child in place]
    text = parms(one[0])["EncodedCertificate"][0]
    assert not re.search(r"\s", text), "base64 with line breaks"
    der = base64.b64decode(text, validate=True)
    assert one[0].attrib["type"] == thumbprint(der)
    return one[0], der


def certificate_load(der):
    return x509.load_der_x509_certificate(der)


def verify_by(certificate, issuer):
    assert certificate.issuer == issuer.subject
    issuer.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes,
                               ec.ECDSA(certificate.signature_hash_algorithm))  # fmt: skip
    assert issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


class Computer(Managed):
    """One PC and what it keeps of its enrolment."""

    def __init__(self, house, folder, device_id, user, password, mail=None):
        super().__init__(house, device_id, None)
        self.folder, self.user, self.password = folder, user, password
        self.mail = f"{user}@example.com" if mail is None else mail
        self.kind = "Full"
        self.is_windows_10 = False
        self.answers = []
        self.services = {}
        self.trust = house.tls_context()
        folder.mkdir(exist_ok=True)

    # ---- SOAP ----

    def soap(self, url, body, context=None):
        """An answer in form, with what every answer has; (status, root)."""
        headers = {"Content-Type": SOAP, "User-Agent": "ENROLLClient", "Accept-Encoding": "gzip",
                   "Pragma": "no-cache", "Cache-Control": "no-cache"}  # fmt: skip
        answer = self.house.call("POST", url, body, headers, context or self.trust)
        self.answers.append((url, answer))
        assert answer.status in (200, 500), (answer.status, answer.body)
        assert answer.headers["Content-Type"] == SOAP
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        for forbidden in ("Transfer-Encoding", "Content-Encoding", "WWW-Authenticate"):
            assert answer.headers[forbidden] is None, forbidden
        root = xmllint(answer.body)
        assert root.tag == S + "Envelope" and names(root) == ["Header", "Body"]
        asked = re.search(rb"<a:MessageID>([^<]*)<", body).group(1).decode()
        assert root.findtext(f"{S}Header/{A}RelatesTo") == asked
        self.action = root.find(f"{S}Header/{A}Action")
        assert self.action.attrib[S + "mustUnderstand"] == "1"
        return answer.status, root

    def good(self, url, body, action, context=None):
        status, root = self.soap(url, body, context)
        assert status == 200, (root.findtext(f".//{S}Text"), self.house.words()[-1500:])
        assert self.action.text.strip().endswith(action)
        return root.find(S + "Body")

    @staticmethod
    def fault(root):
        """(subcode, ErrorType or None)."""
        found = root.find(f"{S}Body/{S}Fault")
        assert names(found)[:2] == ["Code", "Reason"]
        assert found.findtext(f"{S}Code/{S}Value") == "s:Receiver"
        detail = found.find(f"{S}Detail/{E}DeviceEnrollmentServiceError")
        assert re.fullmatch("[0-9a-f]{16}", detail.findtext(E + "TraceId"))
        return found.findtext(f"{S}Code/{S}Subcode/{S}Value"), detail.findtext(E + "ErrorType")

    def discover(self, policies=("OnPremise", "Federated"), version="4.0"):
        body = (MESSAGES / "discover.xml").read_text()
        body = re.sub(r"(<(?:\w+:)?EmailAddress>)[^<]*", rf"\g<1>{self.mail}", body)
        body = re.sub(r"(<(?:\w+:)?RequestVersion>)[^<]*", rf"\g<1>{version}", body)
        inside = "".join(f"<AuthPolicy>{one}</AuthPolicy>" for one in policies)
        body = re.sub(r"(<(?:\w+:)?AuthPolicies>).*(</(?:\w+:)?AuthPolicies>)", rf"\g<1>{inside}\g<2>",
                      body, flags=re.S)  # fmt: skip
        content = self.good(self.house.secure + DISCOVERY, body.encode(), "/IDiscoveryService/DiscoverResponse")
        result = content.find(f"{D}DiscoverResponse/{D}DiscoverResult")
        found = {re.sub("{.*}", "", child.tag): child.text for child in result}
        assert len(found) == len(result) and found["AuthPolicy"] in policies
        hosts = {urllib.parse.urlsplit(found[name]).netloc
                 for name in ("EnrollmentPolicyServiceUrl", "EnrollmentServiceUrl")}
        assert len(hosts) == 1, "policy and enrolment on different hosts"
        assert all(url.startswith("https://") for name, url in found.items() if name.endswith("Url"))
        if found["AuthPolicy"] == "Federated":
            assert "#" not in found["AuthenticationServiceUrl"]
        self.services = found
        return found

    # ---- Credentials ----

    def by_password(self, password=None):
        return (
            '<wsse:UsernameToken u:Id="uuid-cc1ccc1f-2fba-4bcf-b063-ffc0cac77917-4">'
            f"<wsse:Username>{escape(self.user)}</wsse:Username><wsse:Password wsse:Type=\"http://docs."
            "oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordText\">"
            f"{escape(password or self.password)}</wsse:Password></wsse:UsernameToken>"
        )

    @staticmethod
    def by_token(token):
        text = base64.b64encode(token.encode()).decode()
        return (f'<wsse:BinarySecurityToken ValueType="{TYPE_USER}" EncodingType="{O[1:-1]}'
                f'#base64binary">{text}</wsse:BinarySecurityToken>')  # fmt: skip

    def log_in(self):
        """The web view: the page, its form filled in, and the token it hands over."""
        url = self.services["AuthenticationServiceUrl"]
        query = urllib.parse.urlencode({"appru": APPRU, "login_hint": self.mail})
        page = self.house.call("GET", url + ("&" if "?" in url else "?") + query, context=self.trust)
        assert page.status == 200 and page.headers["Content-Type"].startswith("text/html")
        form = page.body.decode()
        action = re.search(r'<form method="post" action="([^"]*)"', form).group(1)
        fields = {html.unescape(name): html.unescape(value) for name, value in
                  re.findall(r'<input[^>]* name="([^"]*)"[^>]* value="([^"]*)"', form)}
        fields.update(user=self.user, password=self.password)
        answer = self.house.call(
            "POST", urllib.parse.urljoin(url, action), urllib.parse.urlencode(fields).encode(),
            {"Content-Type": "application/x-www-form-urlencoded"}, self.trust,
        )  # fmt: skip
        text = answer.body.decode()
        assert answer.status == 200 and f'action="{APPRU}"' in text, text
        assert "form-action ms-app:" in answer.headers["Content-Security-Policy"]
        return html.unescape(re.search('name="wresult" value="([^"]*)"', text).group(1))

    # ---- Policies ----

    def policies(self, security):
        body = (MESSAGES / "getpolicies-unsigned.xml").read_text()
        body = body.replace("</wsse:Security>", security + "</wsse:Security>")
        content = self.good(self.services["EnrollmentPolicyServiceUrl"], body.encode(),
                            "/IPolicy/GetPoliciesResponse")  # fmt: skip
        response = content.find(X + "GetPoliciesResponse")
        self.policies_check(response)
        return response

    @staticmethod
    def policies_check(answer):
        """xs:sequence everywhere; what may be nil may not be missing."""
        assert names(answer) == ["response", "cAs", "oIDs"]
        response, authorities, oids = answer
        assert names(response) == ["policyID", "policyFriendlyName", "nextUpdateHours",
                                   "policiesNotChanged", "policies"]  # fmt: skip
        for one in response[4]:
            assert names(one) == ["policyOIDReference", "cAs", "attributes"]
            attributes = one[2]
            assert names(attributes) == [
                "commonName", "policySchema", "certificateValidity", "permission", "privateKeyAttributes",
                "revision", "supersededPolicies", "privateKeyFlags", "subjectNameFlags", "enrollmentFlags",
                "generalFlags", "hashAlgorithmOIDReference", "rARequirements", "keyArchivalAttributes",
                "extensions",
            ]  # fmt: skip
            assert names(attributes[4])[:6] == ["minimalKeyLength", "keySpec", "keyUsageProperty",
                                                "permissions", "algorithmOIDReference", "cryptoProviders"]  # fmt: skip
            assert attributes[1].text == "3" and int(attributes[4][0].text) >= 256
            assert len(attributes[4][5]) >= 1, "nil cryptoProviders: a legacy provider"
        for element in answer.iter():
            if element.attrib.get(NIL) == "true":
                assert len(element) == 0 and not element.text
        for authority in authorities:
            assert names(authority)[:4] == ["uris", "certificate", "enrollPermission", "cAReferenceID"]
            certificate_load(base64.b64decode(authority[1].text))
        ids = [one.findtext(X + "oIDReferenceID") for one in oids]
        assert len(ids) == len(set(ids))
        for one in oids:
            assert names(one) == ["value", "group", "oIDReferenceID", "defaultName"]
            assert all(int(arc) < 2**32 for arc in one[0].text.split("."))

    # ---- The request and its document ----

    def request(self, security, key=None):
        self.key = key or rsa.generate_private_key(65537, 2048)
        csr = base64.encodebytes(windows_csr(self.key, self.peer_id, self.is_windows_10)).decode()
        body = (MESSAGES / "rst-windows10.xml").read_text()
        for mark, value in (("@SECURITY@", security), ("@REQUEST@", csr), ("@DEVICE@", self.peer_id),
                            ("@TYPE@", self.kind)):  # fmt: skip
            body = body.replace(mark, value)
        return body.encode()

    def document_of(self, content):
        collection = content.find(T + "RequestSecurityTokenResponseCollection")
        assert names(collection) == ["RequestSecurityTokenResponse"]
        answer = collection[0]
        assert names(answer) == ["TokenType", "DispositionMessage", "RequestedSecurityToken", "RequestID"]
        assert answer[3].text == "0"
        token = answer[2][0]
        assert token.tag == O + "BinarySecurityToken" and token.attrib["ValueType"] == TYPE_DOCUMENT
        document = xmllint(base64.b64decode(token.text, validate=True))
        assert document.tag == "wap-provisioningdoc" and document.attrib == {"version": "1.1"}
        for element in document.iter():
            if element is not document:
                assert element.tag in ("characteristic", "parm"), element.tag
        return document

    def enrol(self, security, body=None):
        body = body or self.request(security)
        content = self.good(self.services["EnrollmentServiceUrl"], body, "/RSTRC/wstep")
        self.document = self.document_of(content)
        self.apply(self.document)

    def apply(self, document):
        store = below(document, "CertificateStore")
        _, root = certificate_at(below(store, "Root", "System"))
        _, issuing = certificate_at(below(store, "CA", "System"))
        place = below(store, "My", "User" if self.kind == "Full" else "System")
        own, der = certificate_at(place)
        below(place, "PrivateKeyContainer")
        self.keep(der, [issuing, root])
        renew = parms(below(store, "My", "WSTEP", "Renew"))
        assert renew["ROBOSupport"] == ("true", "boolean")
        days, retry = int(renew["RenewPeriod"][0]), int(renew["RetryInterval"][0])
        assert 1 <= retry <= days <= 1000
        assert renew["RenewPeriod"][1] == renew["RetryInterval"][1] == "integer"
        life = self.certificate.not_valid_after - self.certificate.not_valid_before
        assert days <= max(1, life.days // 2), "it would be renewed at once"
        self.renewal_url = renew["ServerURL"][0]
        self.account(below(document, "APPLICATION"))
        client = below(document, "DMClient", "Provider", self.provider)
        said = parms(client)
        assert said["EntDMID"][0] and said["EntDMID"][1] == "string"
        self.device = said["EntDMID"][0]
        poll = parms(below(client, "Poll"))
        assert poll["NumberOfRemainingScheduledRetries"] == ("0", "integer"), "polls come to an end"
        assert int(poll["IntervalForRemainingScheduledRetries"][0]) > 0
        assert all(datatype in ("integer", "boolean") for _, datatype in poll.values())

    def account(self, application):
        said = parms(application)
        assert said["APPID"][0] == "w7"
        self.provider = said["PROVIDER-ID"][0]
        assert re.fullmatch(r"[\w.-]+", self.provider) and said["NAME"][0]
        assert all(name == name.upper() for name in said), "w7 names are in upper case"
        assert said["DEFAULTENCODING"][0] == TYPE
        self.address = said["ADDR"][0]
        assert self.address.startswith("https://") and "?" not in self.address
        levels = {}
        for child in application:
            if child.tag == "characteristic":
                assert child.attrib == {"type": "APPAUTH"}
                credential = {name: value for name, (value, _) in parms(child).items()}
                levels[credential.pop("AAUTHLEVEL")] = credential
        assert set(levels) == {"CLIENT", "APPSRV"}
        assert levels["CLIENT"]["AAUTHTYPE"] == "DIGEST"
        assert all(one["AAUTHSECRET"] and base64.b64decode(one["AAUTHDATA"]) for one in levels.values())
        self.credential = levels["APPSRV"]
        criteria = dict(pair.split("=", 1) for pair in said["SSLCLIENTCERTSEARCHCRITERIA"][0].split("&"))
        wanted = ",".join(f"{one.rfc4514_attribute_name}={one.value}" for one in self.certificate.subject)
        assert urllib.parse.unquote(criteria["Subject"]) == wanted
        assert criteria["Stores"] == ("My%5CUser" if self.kind == "Full" else "My%5CSystem")

    def keep(self, der, chain):
        """Its own certificate, chaining to the root it was given, for TLS from now on."""
        self.der, self.certificate = der, certificate_load(der)
        assert self.certificate.public_key().public_numbers() == self.key.public_key().public_numbers()
        loaded = [self.certificate, *map(certificate_load, chain)]
        for one, issuer in zip(loaded, loaded[1:]):
            verify_by(one, issuer)
        verify_by(loaded[-1], loaded[-1])
        pem = self.folder / f"{thumbprint(der)}.pem"
        pem.write_bytes(
            self.certificate.public_bytes(serialization.Encoding.PEM)
            + self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                     serialization.NoEncryption())
        )  # fmt: skip
        self.context = self.house.tls_context(pem, pem)

    # ---- Renewal ----

    def renewal(self, key, is_base64=False):
        csr = windows_csr(key, self.peer_id)
        if is_base64:
            csr = base64.b64encode(csr)
        signed = (
            pkcs7.PKCS7SignatureBuilder().set_data(csr)
            .add_signer(self.certificate, self.key, hashes.SHA256())
            .sign(serialization.Encoding.DER, [pkcs7.PKCS7Options.Binary])
        )  # fmt: skip
        body = (MESSAGES / "rst-renew.xml").read_text()
        return body.replace("@REQUEST@", base64.encodebytes(signed).decode()).encode()

    def renew(self, is_base64=False):
        """ROBO: a new key, signed for by the old one, over TLS by the old one."""
        key = rsa.generate_private_key(65537, 2048)
        content = self.good(self.renewal_url, self.renewal(key, is_base64), "/RSTRC/wstep", self.context)
        document = self.document_of(content)
        store = below(document, "CertificateStore")
        place = below(store, "My", "User" if self.kind == "Full" else "System")
        own, der = certificate_at(place)
        below(own, "PrivateKeyContainer")  # a child here
        application = below(document, "APPLICATION")
        assert {name: value for name, (value, _) in parms(application).items()} == {"PROVIDER-ID": self.provider}
        _, root = certificate_at(below(store, "Root", "System"))
        _, issuing = certificate_at(below(store, "CA", "System"))
        old = self.certificate
        self.key = key
        self.keep(der, [issuing, root])
        assert self.certificate.serial_number != old.serial_number
        assert self.certificate.subject == old.subject
        return old

    # ---- A SCEP profile that the server has put into the tree ----

    def install_scep(self):
        offers = {uri[len(SCEP_ROOT):].split("/")[0] for uri in self.tree if uri.startswith(SCEP_ROOT)}
        assert len(offers) == 1, offers
        node = {uri.rsplit("/", 1)[1]: value for uri, value in self.tree.items()
                if uri.startswith(f"{SCEP_ROOT}{next(iter(offers))}/Install/")}
        assert re.fullmatch("[0-9A-F]+", node["Challenge"])
        roots = [uri for uri in self.tree if "/RootCATrustedCertificates/Root/" in uri]
        assert any(f"/{node['CAThumbprint']}/" in uri for uri in roots), "the root is not installed"
        folder = self.folder / "scep"
        folder.mkdir()
        run("pki", "--scepca", "--url", node["ServerURL"], "--caout", "ca.pem", "--raout", "ra.pem",
            "--outform", "pem", cwd=folder)  # fmt: skip
        given = [x509.load_pem_x509_certificate(one.read_bytes()) for one in folder.glob("ca*.pem")]
        assert node["CAThumbprint"] in {thumbprint(one.public_bytes(serialization.Encoding.DER))
                                        for one in given}  # fmt: skip
        (folder / "key.pem").write_bytes(
            run("pki", "--gen", "--type", "rsa", "--size", node["KeyLength"], "--outform", "pem").stdout)
        done = run(
            "pki", "--scep", "--url", node["ServerURL"], "--in", "key.pem", "--dn",
            node["SubjectName"].replace('"', ""), "--password", node["Challenge"],
            "--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem",
            *sum((["--cacert", ca.name] for ca in sorted(folder.glob("ca*.pem"))), []),
            "--cipher", "des3", "--digest", "sha256", "--outform", "pem", cwd=folder,
        )  # fmt: skip
        return x509.load_pem_x509_certificate(done.stdout), node
