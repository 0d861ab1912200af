"""CES and strangers: replays, malformed and hostile messages, wrong credentials; and the
published messages."""

import base64
import os
import pathlib
import re
import time
import xml.etree.ElementTree as ET

import ces
import pytest
from ces_house import (  # noqa: F401
    alice, assign, bob, common_name, count, DEVICE, held, holder, house, MESSAGES, profile, SECRET,
)
from conftest import house_end, house_make, run


# ---- Replays and faults ----


def test_A3_only_the_same_octets_are_the_same_request(house, alice):
    body = ces.rst(ces.pkcs10(ces.rsa_key(), extensions=[ces.by_name("webserver")]))
    before = count(house)
    first = alice.post(body)
    assert first.code == "issued"
    assert alice.post(body).body == first.body
    # The same request in other octets is a replay, until its certificate is to be renewed.
    for other in (body.replace("#PKCS7", "#PKCS10"), body + " "):
        assert alice.post(other).code == "s:CertificateRequest"
    assert count(house) == before + 1
    key = ces.rsa_key()
    body = ces.rst(ces.pkcs10(key, extensions=[ces.by_name("user")]))
    for text in (body, body + " "):  # in its window, as certmonger does, with its old key
        assert alice.post(text).code == "issued"


def test_A3_a_replay_after_its_time_issues_nothing(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(plugins=[{"name": "wstep"}], retry_window_seconds=1)
    made.start()
    try:
        profile(made, "user", renewal_window="P1D")
        made.user("alice")
        made.good("PUT", "/users/alice/password", {"password": SECRET})
        assign(made, "alice", "user")
        client = ces.Client(made, "alice", SECRET)
        body = ces.rst(ces.pkcs10(ces.rsa_key()))
        first = client.post(body)
        assert first.code == "issued", first.body
        before = count(made)
        time.sleep(2.5)
        assert client.post(body).code == "s:CertificateRequest"
        assert count(made) == before
    finally:
        house_end(made)


def test_a_NUL_in_the_requests_name_goes_nowhere(house, alice):
    """As Windows 10 writes it; the name is not looked at."""
    reply = alice.ask(ces.pkcs10(ces.rsa_key(), cn="2E1AC3D4!6F1D0A9C3B7E4E1F\0"))
    assert reply.code in ("issued", "s:CertificateRequest"), reply.body
    if reply.certificate:
        assert common_name(reply.certificate) == "alice"


def faults():
    good = ces.pkcs10(ces.ec_key())
    query = ces.rst(kind="QueryTokenStatus", request_id=5)
    one = f'<RequestType>{ces.TRUST}/Issue</RequestType>'
    return {
        "no RequestType": (ces.rst(good).replace(one, ""), "s:MessageFormat"),
        "RequestType twice": (ces.rst(good).replace(one, one + one), "s:MessageFormat"),
        "unknown RequestType": (ces.rst(good, kind="Cancel"), "s:MessageFormat"),
        "KET": (ces.rst(good, kind="KET"), "s:MessageFormat"),
        "Recovery": (ces.rst(good, kind="Recovery"), "s:MessageFormat"),
        "no token": (ces.rst(), "s:MessageFormat"),
        "no base64": (ces.rst(good).replace("<BinarySecurityToken", "<x/><BinarySecurityToken")
                      .replace("</BinarySecurityToken>", "!</BinarySecurityToken>"),
                      "s:MessageFormat"),
        "no RequestID": (ces.rst(kind="QueryTokenStatus"), "s:MessageFormat"),
        "empty RequestID": (query.replace(">5<", "><"), "s:MessageFormat"),
        "RequestID 0": (query.replace(">5<", ">0<"), "s:MessageFormat"),
        "negative RequestID": (query.replace(">5<", ">-5<"), "s:MessageFormat"),
        "RequestID with a tail": (query.replace(">5<", ">5 or 1=1<"), "s:MessageFormat"),
        "huge RequestID": (query.replace(">5<", ">99999999999999999999<"), "s:MessageFormat"),
        "RequestID of 32 bits": (query.replace(">5<", ">4294967295<"), "s:MessageFormat"),
        "another body": ("<a/>", "s:MessageFormat"),
        "two bodies": (ces.rst(good) * 2, "s:MessageFormat"),
    }


@pytest.mark.parametrize("name", sorted(faults()))
def test_W1_a_malformed_message_gets_a_fault(house, alice, name):
    body, code = faults()[name]
    before = count(house)
    assert alice.post(body).code == code
    assert count(house) == before


@pytest.mark.parametrize("path", [ces.PASSWORD_PATH, ces.CERTIFICATE_PATH])
@pytest.mark.parametrize("message", [
    b"", b"x", b"<a>" * 30000, b"\xff\xfe<\0a\0/\0>\0",
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>',
    ces.envelope(ces.rst(ces.pkcs10(ces.ec_key())), action="urn:nothing"),
], ids=["empty", "text", "nested", "utf16", "doctype", "soap11", "action"])
def test_W1_hostile_messages_get_a_fault(house, alice, path, message):
    reply = alice.send(message, path)
    assert reply.code == "s:MessageFormat" and b"root:" not in reply.body


def test_A1_each_address_takes_its_own_credential(house, alice, held, tmp_path):
    request = ces.rst(ces.pkcs10(ces.ec_key()))
    key, old = held
    context = holder(house, tmp_path / "pc", key, old)
    before = count(house)
    assert alice.post(request, ces.CERTIFICATE_PATH).code == "a:InvalidSecurity"
    assert alice.post(request, ces.PASSWORD_PATH, "").code == "a:InvalidSecurity"
    assert alice.post(request, ces.PASSWORD_PATH, "", context).code == "a:InvalidSecurity"
    assert alice.post(request, ces.CERTIFICATE_PATH, "").code == "a:InvalidSecurity"
    login = ('<wsse:Security><wsse:BinarySecurityToken ValueType="http://schemas.microsoft.com/'
             '5.0.0.0/ConfigurationManager/Enrollment/DeviceEnrollmentUserToken">YWJj'
             "</wsse:BinarySecurityToken></wsse:Security>")
    for path in (ces.PASSWORD_PATH, ces.CERTIFICATE_PATH):
        assert alice.post(request, path, login).code == "a:InvalidSecurity"
    assert count(house) == before


def refused(house, word):
    """What is listed, with the word in its reason."""
    return [(entry["action"], entry["actor"]) for entry in house.audit()
            if entry["action"] == "enrol.refuse" and word in entry["detail"].get("reason", "")]


def test_A2_a_servers_certificate_is_no_log_in(house, tmp_path):
    """It renews itself, and brings no other: by TLS, by a signature, to either service."""
    profile(house, "z-server", san=[], extended_key_usage=["server_auth"],
            key_usage=["digital_signature"])
    house.user("frank")
    house.good("PUT", "/users/frank/password", {"password": SECRET})
    assign(house, "frank", "z-server", "user")
    frank = ces.Client(house, "frank", SECRET)
    key = ces.rsa_key()
    made = frank.ask(ces.pkcs10(key, extensions=[ces.by_name("Z-Server")])).certificate
    context = holder(house, tmp_path / "server", key, made)
    before = count(house)

    def signed(body):
        path = tmp_path / "message.xml"
        path.write_bytes(ces.envelope(body, '<wsse:Security s:mustUnderstand="1"></wsse:Security>'))
        return run(MESSAGES / "sign", path, tmp_path / "server/key.pem",
                   tmp_path / "server/certificate.pem").stdout

    body = ces.rst(ces.pkcs10(ces.rsa_key(), extensions=[ces.by_name("User")]))
    for reply in (
        frank.post(body, ces.CERTIFICATE_PATH, "", context),
        frank.send(signed(body), ces.CERTIFICATE_PATH),
        frank.query(5, path=ces.CERTIFICATE_PATH, security="", context=context),
    ):
        assert reply.code == "s:Authorization", reply.body
    device = signed(ces.rst(ces.pkcs10(ces.rsa_key()), value_type="#PKCS10"))
    assert house.call("POST", house.secure + DEVICE, device, ces.SOAP).status == 500
    text = (MESSAGES / "getpolicies-unsigned.xml").read_bytes()
    path = house.secure + "/ADPolicyProvider_CEP_Certificate/service.svc/CEP"
    assert b"s:Authorization" in house.call("POST", path, text, ces.SOAP, context).body
    assert count(house) == before
    assert len(refused(house, "not for log-ins")) == 5
    renewal = ces.pkcs7(ces.pkcs10(ces.rsa_key()), made, key)
    assert frank.ask(renewal, path=ces.CERTIFICATE_PATH, security="").code == "issued"


def test_A3_what_somebody_known_is_refused_is_listed(house, alice, bob):
    nobody = f"({'x' * 20})"
    assert alice.ask(ces.pkcs10(ces.ec_key(), extensions=[ces.by_name(nobody)])).code == \
        "s:Authorization"
    assert refused(house, nobody) == [("enrol.refuse", "user:alice")]
    waiting = alice.ask(ces.pkcs10(ces.ec_key(), extensions=[ces.by_name("Z-Approved")]))
    before = len(house.audit(action="enrol.refuse"))
    for number in (waiting.id, 1):
        assert bob.query(number).code == "s:Authorization"
    found = house.audit(action="enrol.refuse")[: len(house.audit(action="enrol.refuse")) - before]
    assert [entry["actor"] for entry in found] == ["user:bob"] * 2, found


def test_A5_who_is_disabled_gets_nothing(house):
    house.user("carol")
    house.good("PUT", "/users/carol/password", {"password": SECRET})
    assign(house, "carol", "user")
    carol = ces.Client(house, "carol", SECRET)
    key = ces.rsa_key()
    reply = carol.ask(ces.pkcs10(key, extensions=[ces.by_name("User")]))
    assert reply.code == "issued"
    record = house.good("GET", "/users/carol")
    house.good("PATCH", "/users/carol", {"state": "disabled"},
               headers={"If-Match": f'"{record["version"]}"'})
    for token in (ces.pkcs10(ces.rsa_key()), ces.pkcs7(ces.pkcs10(ces.rsa_key()),
                                                       reply.certificate, key)):
        assert carol.ask(token).code in ("s:Authentication", "s:Authorization")


def test_I5_no_password_reaches_log_or_audit(house, alice):
    alice.ask(ces.pkcs10(ces.ec_key()))
    ces.Client(house, "alice", "Wr0ng-and-secret").ask(ces.pkcs10(ces.ec_key()))
    log = (house.data / "sealwright.log").read_text()
    entries = str(house.audit())
    for secret in (SECRET, "Wr0ng-and-secret"):
        assert secret not in log and secret not in entries


# ---- Published messages ----


def samples(pattern):
    folder = os.environ.get("SEALWRIGHT_SAMPLES")
    return sorted((pathlib.Path(folder) / "samples/windows").glob(pattern)) if folder else []


def test_published_messages_of_CES_are_understood(house, alice):
    """Replayed where the public samples are at hand; whose passwords and certificates they
    have, decides no more than the credential."""
    wanted = {
        "wstep-4_1_1_1-requestsecuritytoken-message-issue-request": "a:InvalidSecurity",
        "wstep-4_1_2_1-client-exchange-token-request": "s:MessageFormat",
        "wstep-4_1_3_1-client-request": "a:InvalidSecurity",
        "wstep-4_1_5_1-client-renewal-request": None,
    }
    security = ces.by_password("alice", SECRET).replace(
        "<wsse:Security>", f'<wsse:Security xmlns:wsse="{ces.SPACE_SECURITY}" '
        f'xmlns:u="{ces.WSS}-wssecurity-utility-1.0.xsd">')
    for path in samples("wstep-*request.xml"):
        # The specification breaks URIs over lines.
        text = re.sub(r"(?<=/)\n(?=oasis|01)|(?<=2009/)\n", "", path.read_text())
        reply = alice.send(text.encode())
        if wanted.get(path.stem):
            assert reply.code == wanted[path.stem], path.name
        with_password = alice.send(text.replace("</s:Header>", security + "</s:Header>").encode())
        if "4_1_1_1" in path.name:
            # A bare PKCS#10 with an empty subject, labelled PKCS#7; signed over SHA-1.
            assert with_password.code == "s:CertificateRequest", with_password.body
        if "4_1_3_1" in path.name:
            assert with_password.code == "s:Authorization", "65 is nobody's number"
        if "4_1_5_1" in path.name:
            assert reply.code in ("s:Authentication", "s:CertificateRequest"), reply.body


def test_the_published_answer_has_the_shape_of_ours():
    for path in samples("wstep-4_1_1_2*"):
        text = re.sub(r"(?<=/)\n(?=oasis)", "", path.read_text())
        token = ET.fromstring(text).find(
            f".//{ces.T}RequestSecurityTokenResponse/{ces.W}BinarySecurityToken")
        response = ces.Response(base64.b64decode(token.text))
        assert (response.status, response.part) == (0, 1) and len(response.hash) == 20


def test_published_device_requests_are_understood(house):
    """The captured request has a NUL in its CN and SHA-1 under OIW's name."""
    for path in samples("*rst-request*.xml") + samples("itpro-robo-renewal-request.xml"):
        answer = house.call("POST", house.secure + DEVICE, path.read_bytes(), ces.SOAP)
        assert answer.status == 500, (path.name, answer.body)
        run("xmllint", "--noout", "-", stdin=answer.body)
        if path.stem == "capture-07-rst-request":
            assert b"s:Authentication" in answer.body, answer.body
