"""A house for clients of the domain kind, with its users and profiles, and what the tests
ask of it."""

import xml.etree.ElementTree as ET

import ces
import pytest
from conftest import SOURCE, house_end, house_make
from cryptography.hazmat.primitives import serialization

MESSAGES = SOURCE / "tests/data/windows"
DEVICE = "/EnrollmentServer/DeviceEnrollmentWebservice.svc"
CEP = "/ADPolicyProvider_CEP_{}/service.svc/CEP"
SECRET = "k7dp-93mt-qxwe"
ACCOUNT = "S-1-5-21-3623811015-3361044348-30300820-1013"
X = "{http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy}"


def profile(house, name, **settings):
    """A certificate profile for domain clients; renewable from its first day on."""
    base = {
        "issuer": "issuing", "validity": "P10D", "renewal_window": "P30D",
        "subject": "CN={{user.name}}", "san": [{"type": "email", "value": "{{user.email}}"}],
        "key_usage": ["digital_signature", "key_encipherment"],
        "extended_key_usage": ["client_auth"], "protocols": ["wstep"],
        "from_request": {"subject": "ignore"},
    }  # fmt: skip
    house.good("POST", "/profiles/certificate", {"name": name, "settings": {**base, **settings}})


def assign(house, user, *profiles):
    for name in profiles:
        house.good("PUT", f"/users/{user}/profiles/certificate/{name}")


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(plugins=[{"name": name} for name in ("scep", "xcep", "wstep")])
    made.start()
    profile(made, "user")
    profile(made, "webserver", san=[], validity="P365D", renewal_window="P30D",
            allow_sha1_request=True)
    profile(made, "z-approved", san=[], approvals=1)
    profile(made, "unassigned", san=[])
    for name in ("alice", "bob", "dora"):
        made.user(name, attributes={"sid": ACCOUNT} if name == "alice" else {})
        made.good("PUT", f"/users/{name}/password", {"password": SECRET})
        assign(made, name, "user", "webserver", "z-approved")
    yield made
    house_end(made)


@pytest.fixture
def alice(house):
    return ces.Client(house, "alice", SECRET)


@pytest.fixture
def bob(house):
    return ces.Client(house, "bob", SECRET)


def count(house):
    return len(house.certificates())


def approver(house, name):
    house.good("POST", "/admins", {"name": name, "roles": ["approver"]})
    return house.good("POST", "/tokens", {"admin": name})["token"]


def policies(house, mode, security="", context=None):
    """Template names and OIDs, and the address of the enrolment service, from CEP."""
    text = (MESSAGES / "getpolicies-unsigned.xml").read_text().replace(
        '<wsse:Security s:mustUnderstand="1"></wsse:Security>', security)
    answer = house.call("POST", house.secure + CEP.format(mode), text.encode(), ces.SOAP, context)
    assert answer.status == 200, answer.body
    root = ET.fromstring(answer.body)
    values = {one.findtext(f"{X}oIDReferenceID"): one.findtext(f"{X}value")
              for one in root.iter(f"{X}oID")}
    found = {one.findtext(f"{X}attributes/{X}commonName"):
             values[one.findtext(f"{X}policyOIDReference")] for one in root.iter(f"{X}policy")}
    return found, {one.text for one in root.iter(f"{X}uri")}


def holder(house, folder, key, certificate):
    """A TLS context that shows this certificate."""
    folder.mkdir(exist_ok=True)
    (folder / "key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))
    (folder / "certificate.pem").write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM))
    return house.tls_context(folder / "certificate.pem", folder / "key.pem")


def common_name(certificate):
    (found,) = certificate.subject.get_attributes_for_oid(ces.NameOID.COMMON_NAME)
    return found.value


@pytest.fixture
def held(house, alice):
    """A key and its certificate, renewable."""
    key = ces.rsa_key()
    reply = alice.ask(ces.pkcs10(key, extensions=[ces.by_name("User")]))
    assert reply.code == "issued", reply.body
    return key, reply.certificate
