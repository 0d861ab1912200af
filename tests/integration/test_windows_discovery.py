"""Windows finds its services and policies: the real daemon over TLS, before its own
client's habits, and every answer before xmllint."""

import base64
import contextlib
import html
import http.client
import json
import os
import pathlib
import re
import urllib.parse
import xml.etree.ElementTree as ET

import pytest
from conftest import SOURCE, house_end, house_make, run

MESSAGES = SOURCE / "tests/data/windows"
SOAP = {"Content-Type": "application/soap+xml; charset=utf-8", "User-Agent": "ENROLLClient"}
DISCOVERY = "/EnrollmentServer/Discovery.svc"
POLICY = "/EnrollmentServer/PolicyEnrollmentWebservice.svc"
ENROLMENT = "/EnrollmentServer/DeviceEnrollmentWebservice.svc"
CES = "/CES_UsernamePassword/service.svc/CES"
CEP = "/ADPolicyProvider_CEP_UsernamePassword/service.svc/CEP"
LOGIN = "/enrollments/windows/login-agent"
APPRU = "ms-app://windows.immersivecontrolpanel"
SECRET = "k7dp-93mt-qxwe"
WSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
TYPE_USER = ("http://schemas.microsoft.com/5.0.0.0/ConfigurationManager/Enrollment/"
             "DeviceEnrollmentUserToken")
S = "{http://www.w3.org/2003/05/soap-envelope}"
A = "{http://www.w3.org/2005/08/addressing}"
D = "{http://schemas.microsoft.com/windows/management/2012/01/enrollment}"
X = "{http://schemas.microsoft.com/windows/pki/2009/01/enrollmentpolicy}"
E = "{http://schemas.microsoft.com/windows/pki/2009/01/enrollment}"


@pytest.fixture(scope="module")
def windows(tmp_path_factory):
    house = house_make(tmp_path_factory)
    house.change_config(plugins=[{"name": name} for name in ("scep", "discovery", "xcep", "wstep")])
    house.start()
    house.user("alice")
    house.user("bob")
    house.good("PUT", "/users/alice/password", {"password": SECRET})
    profile = house.good("GET", "/profiles/certificate/default")
    settings = {**profile["settings"], "protocols": ["scep", "wstep"]}
    house.good("PATCH", "/profiles/certificate/default", {"settings": settings},
               headers={"If-Match": f'"{profile["version"]}"'})
    yield house
    house_end(house)


def well_formed(body):
    """xmllint must take it, without a byte to add."""
    run("xmllint", "--noout", "--nonet", "-", stdin=body)
    return ET.fromstring(body)


def soap(house, path, body, host=None):
    headers = dict(SOAP, **({"Host": host} if host else {}))
    answer = house.call("POST", house.secure + path, body, headers)
    assert answer.headers["Content-Type"] == "application/soap+xml; charset=utf-8", answer.body
    assert answer.headers["Transfer-Encoding"] is None
    assert int(answer.headers["Content-Length"]) == len(answer.body)
    return answer, well_formed(answer.body)


def fault(root):
    found = root.find(f"{S}Body/{S}Fault")
    assert found is not None, ET.tostring(root)
    trace = found.findtext(f"{S}Detail/{E}DeviceEnrollmentServiceError/{E}TraceId")
    assert re.fullmatch("[0-9a-f]{16}", trace)
    return found.findtext(f"{S}Code/{S}Subcode/{S}Value")


def message(name):
    return (MESSAGES / name).read_bytes()


def policies_with(inside):
    text = message("getpolicies-unsigned.xml").decode()
    return text.replace("</wsse:Security>", inside + "</wsse:Security>").encode()


def by_password(user, secret):
    return policies_with(
        f"<wsse:UsernameToken><wsse:Username>{user}</wsse:Username>"
        f"<wsse:Password wsse:Type=\"http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-"
        f"username-token-profile-1.0#PasswordText\">{secret}</wsse:Password>"
        "</wsse:UsernameToken>")


def by_token(token):
    text = base64.b64encode(token.encode()).decode()
    return policies_with(
        f'<wsse:BinarySecurityToken ValueType="{TYPE_USER}">{text}</wsse:BinarySecurityToken>')


def log_in(house, user="alice", secret=SECRET, appru=APPRU):
    form = urllib.parse.urlencode({"appru": appru, "user": user, "password": secret}).encode()
    return house.call("POST", house.secure + LOGIN, form,
                      {"Content-Type": "application/x-www-form-urlencoded"})


def token_of(answer):
    found = re.search(rb'name="wresult" value="([^"]+)"', answer.body)
    assert found, answer.body
    return html.unescape(found.group(1).decode())


def test_the_probe_is_answered_everywhere(windows):
    for base in (windows.base, windows.secure):
        for path in (DISCOVERY, DISCOVERY.upper(), DISCOVERY.lower()):
            answer = windows.call("GET", base + path, headers={
                "Host": "EnterpriseEnrollment.example.com"})
            assert (answer.status, answer.body) == (200, b""), path


def test_a_message_over_plain_http_is_refused(windows):
    answer = windows.call("POST", windows.base + DISCOVERY, message("discover.xml"), SOAP)
    assert answer.status in (403, 404)
    assert b"EnrollmentServiceUrl" not in answer.body


@pytest.mark.parametrize("version, wanted", [
    ("1.0", None), ("3.0", "3.0"), ("4.0", "4.0"), ("5.0", "4.0"), ("9.0", "4.0"), ("12.0", "4.0"),
])
def test_every_version_is_told_where_the_services_are(windows, version, wanted):
    base = windows.good("GET", "/organisation")["base_url"]
    body = message("discover.xml").replace(b">4.0<", f">{version}<".encode())
    answer, root = soap(windows, DISCOVERY.lower(), body, "EnterpriseEnrollment.example.com")
    assert answer.status == 200
    assert root.findtext(f"{S}Header/{A}RelatesTo") == \
        "urn:uuid:748132ec-a575-4329-b01b-6171a9cf8478"
    result = root.find(f"{S}Body/{D}DiscoverResponse/{D}DiscoverResult")
    assert result.findtext(f"{D}EnrollmentVersion") == wanted
    assert result.findtext(f"{D}AuthPolicy") == "Federated"
    assert result.findtext(f"{D}AuthenticationServiceUrl") == base + LOGIN
    assert result.findtext(f"{D}EnrollmentPolicyServiceUrl") == base + POLICY
    assert result.findtext(f"{D}EnrollmentServiceUrl") == \
        base + "/EnrollmentServer/DeviceEnrollmentWebservice.svc"


def test_the_login_page_works_in_an_old_web_view(windows):
    query = urllib.parse.urlencode({"appru": APPRU, "login_hint": 'a"<b>@example.com'})
    page = windows.call("GET", f"{windows.secure}{LOGIN}?{query}")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=UTF-8"
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert page.headers["X-Frame-Options"] is None and "frame-ancestors" not in policy
    assert b"Example Corp" in page.body and b'a"<b>' not in page.body
    assert b"<script" not in page.body and b"http" not in page.body.replace(b"http-equiv", b"")
    evil = windows.call("GET", f"{windows.secure}{LOGIN}?appru=https://evil.example/")
    assert evil.status == 400 and b"evil" not in evil.body


def test_a_login_gives_a_token_that_policies_take(windows):
    answer = log_in(windows)
    assert answer.status == 200
    assert b'<form method="post" action="ms-app://windows.immersivecontrolpanel">' in answer.body
    assert "form-action ms-app:" in answer.headers["Content-Security-Policy"]
    token = token_of(answer)
    assert re.fullmatch("[A-Za-z0-9_-]{59}", token)
    for _ in range(2):  # asking does not use it up
        answer, root = soap(windows, POLICY, by_token(token))
        assert answer.status == 200, answer.body
        names = [name.text for name in root.iter(f"{X}commonName")]
        assert names == ["default"]
    answer, root = soap(windows, POLICY, by_token(token[:-1] + "x"))
    assert answer.status == 500 and fault(root) == "s:Authentication"
    log = (windows.data / "sealwright.log").read_text()
    assert token not in log and token[16:] not in log and SECRET not in log


def test_A0_wrong_and_unknown_look_alike_and_are_recorded(windows):
    pages = [log_in(windows, user, secret) for user, secret in
             (("alice", "k7dp-93mt-qxwf"), ("bobby", SECRET), ("bobby", ""))]
    assert {page.status for page in pages} == {200}
    assert len({page.body.replace(b"bobby", b"alice") for page in pages}) == 1
    assert b"wresult" not in pages[0].body
    answers = [soap(windows, POLICY, by_password(user, secret)) for user, secret in
               (("alice", "wrong"), ("nobody", SECRET), ("bob", SECRET))]
    assert {answer.status for answer, _ in answers} == {500}
    assert {fault(root) for _, root in answers} == {"s:Authentication"}
    assert len({root.findtext(f"{S}Body/{S}Fault/{S}Reason/{S}Text")
                for _, root in answers}) == 1
    # The right one sets the count back; without it alice would be near her lock.
    assert log_in(windows).status == 200


def test_on_premise_policies_are_complete(windows):
    answer, root = soap(windows, POLICY, by_password("EXAMPLE\\Alice", SECRET))
    assert answer.status == 200, answer.body
    response = root.find(f"{S}Body/{X}GetPoliciesResponse")
    assert [child.tag for child in response] == [f"{X}response", f"{X}cAs", f"{X}oIDs"]
    certificate = base64.b64decode(response.findtext(f"{X}cAs/{X}cA/{X}certificate"))
    shown = run("openssl", "x509", "-inform", "DER", "-noout", "-subject", stdin=certificate)
    assert "Example Corp" in shown.out
    again, second = soap(windows, POLICY, by_password("alice@example.com", SECRET))
    assert again.body == answer.body, "the same policyID and OIDs every time"
    cep, third = soap(windows, CEP, by_password("alice", SECRET))
    assert cep.status == 200
    uri = third.find(f".//{X}cAURI")
    assert uri.findtext(f"{X}uri").endswith("/CES_UsernamePassword/service.svc/CES")


def test_CEP_never_asks_for_basic_credentials(windows):
    for path in (CEP, "/ADPolicyProvider_CEP_Certificate/service.svc/CEP"):
        probe = windows.call("GET", windows.secure + path)
        assert probe.status == 200 and probe.headers["WWW-Authenticate"] is None
        answer, root = soap(windows, path, message("getpolicies-unsigned.xml"))
        assert answer.status == 500 and answer.headers["WWW-Authenticate"] is None
        assert fault(root) == "a:InvalidSecurity"


@pytest.fixture(scope="module")
def device(windows, tmp_path_factory):
    """An RSA key whose certificate the daemon issued, over SCEP."""
    folder = tmp_path_factory.mktemp("device")
    key, certificate = folder / "key.pem", folder / "cert.pem"
    run("openssl", "genrsa", "-out", key, "2048")
    run("pki", "--scepca", "--url", windows.scep(), "--caout", "ca.pem", "--raout", "ra.pem",
        "--outform", "pem", cwd=folder)
    done = run("pki", "--scep", "--url", windows.scep(), "--in", key, "--dn", "CN=alice",
               "--password", windows.challenge()["challenge"],
               "--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem",
               *sum((["--cacert", ca.name] for ca in sorted(folder.glob("ca*.pem"))), []),
               "--cipher", "des3", "--digest", "sha256", "--outform", "pem", cwd=folder)
    certificate.write_bytes(done.stdout)
    return key, certificate


def test_W1_signed_messages_count_only_as_they_were_signed(windows, device):
    key, certificate = device
    signed = run(MESSAGES / "sign", MESSAGES / "getpolicies-unsigned.xml", key,
                 certificate).stdout
    answer, root = soap(windows, POLICY, signed)
    assert answer.status == 200, answer.body
    assert [name.text for name in root.iter(f"{X}commonName")] == ["default"]
    changed = signed.replace(b"urn:uuid:72048B64", b"urn:uuid:72048B65")
    answer, root = soap(windows, POLICY, changed)
    assert (answer.status, fault(root)) == (500, "s:Authentication")
    old = run(MESSAGES / "sign", MESSAGES / "getpolicies-unsigned.xml", key, certificate,
              "2026-01-01T00:00:00Z").stdout
    answer, root = soap(windows, POLICY, old)
    assert (answer.status, fault(root)) == (500, "s:Authentication")
    # A stranger's key: the signature holds, the certificate is nobody's.
    answer, root = soap(windows, POLICY, message("getpolicies-certificate.xml"))
    assert (answer.status, fault(root)) == (500, "s:Authentication")


def test_the_connections_certificate_is_a_credential_of_CEP(windows, device):
    key, certificate = device
    context = windows.tls_context(certificate, key)
    answer = windows.call(
        "POST", windows.secure + "/ADPolicyProvider_CEP_Certificate/service.svc/CEP",
        message("getpolicies-unsigned.xml").replace(
            b'<wsse:Security s:mustUnderstand="1"></wsse:Security>', b""), SOAP, context)
    assert answer.status == 200, answer.body
    assert well_formed(answer.body).find(f".//{X}cAURI/{X}clientAuthentication").text == "8"


@pytest.mark.parametrize("body", [
    b"", b"x", b"<a/>", b"<a>" * 30000, b"\xff\xfe<\0a\0/\0>\0",
    b"<a/>\0", b"<a/>\0<!DOCTYPE b>",
    b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>',
    b'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body/></s:Envelope>',
], ids=["empty", "text", "element", "nested", "utf16", "nul", "behind a nul", "doctype", "soap11"])
@pytest.mark.parametrize("path", [DISCOVERY, POLICY])
def test_W1_hostile_messages_get_a_fault(windows, path, body):
    answer, root = soap(windows, path, body)
    assert (answer.status, fault(root)) == (500, "s:MessageFormat")
    assert b"root:" not in answer.body


@pytest.mark.parametrize("size", [128 * 1024 + 1, 1200000])
@pytest.mark.parametrize("path", [DISCOVERY, POLICY, CEP, ENROLMENT, CES])
def test_W1_a_body_beyond_the_limit_gets_a_fault_as_well(windows, path, size):
    """HTTP 413 would hide it. The answer comes by the length alone, before an octet is sent."""
    before = len(windows.certificates())
    with contextlib.closing(http.client.HTTPSConnection("127.0.0.1", windows.https, timeout=60,
                                                        context=windows.tls_context())) as connection:
        connection.putrequest("POST", path)
        connection.putheader("Content-Type", SOAP["Content-Type"])
        connection.putheader("Content-Length", str(size))
        connection.endheaders()
        answer = connection.getresponse()
        assert answer.status == 500 and answer.headers["Connection"] == "close"
        assert answer.headers["Content-Type"] == SOAP["Content-Type"]
        root = well_formed(answer.read())
    assert root.findtext(f".//{S}Subcode/{S}Value") == "s:MessageFormat"
    # Sent whole, in depth, it is no other: 1 MB of nested elements.
    answer, root = soap(windows, path, b"<a>" * (size // 3 + 1))
    assert (answer.status, root.findtext(f".//{S}Subcode/{S}Value")) == (500, "s:MessageFormat")
    assert len(windows.certificates()) == before


def test_a_renewal_at_the_discovery_path_is_seen_in_the_log(windows):
    body = message("discover.xml").replace(
        b"http://schemas.microsoft.com/windows/management/2012/01/enrollment/"
        b"IDiscoveryService/Discover<",
        b"http://schemas.microsoft.com/windows/pki/2009/01/enrollment/RST/wstep<")
    answer, root = soap(windows, DISCOVERY, body)
    assert (answer.status, fault(root)) == (500, "s:MessageFormat")
    assert any("RST/wstep' was sent to the discovery service" in json.dumps(line)
               for line in windows.log_lines())


def test_only_administrators_set_passwords(windows):
    admin = windows.good("POST", "/admins", {"name": "desk", "roles": ["operator"]})
    token = windows.good("POST", "/tokens", {"admin": admin["name"]})["token"]
    answer = windows.api("PUT", "/users/bob/password", {"password": SECRET}, token=token)
    assert answer.status == 403
    for secret, words in (("short", "8 to 128"), ("Password123!", "tried first"),
                          ("xx-bobbytables", None)):
        answer = windows.api("PUT", "/users/bob/password", {"password": secret})
        if words:
            assert answer.status == 400 and words in answer.body.decode()
            assert secret not in answer.body.decode()
        else:
            assert answer.status == 204
    assert windows.api("PUT", "/users/nobody/password", {"password": SECRET}).status == 404
    assert windows.api("DELETE", "/users/bob/password").status == 204
    assert windows.api("DELETE", "/users/bob/password").status == 404
    done = windows.cli("user", "password", "bob", "-",
                       stdin=json.dumps({"password": SECRET}).encode())
    assert SECRET not in done.out + done.err
    actions = [entry["action"] for entry in windows.audit(object="user:bob")]
    assert "user.password" in actions and "user.password_remove" in actions


def samples():
    folder = os.environ.get("SEALWRIGHT_SAMPLES")
    return sorted((pathlib.Path(folder) / "samples/windows").glob("*.xml")) if folder else []


def test_published_messages_are_understood(windows):
    """Replayed where the public samples are at hand; what they cannot know, host names and
    passwords, decides no more than the credential."""
    wanted = {"capture-03-discover-request": 200, "mde2-01-discover-request-federated": 200,
              "mde1-4_1_1-discovery-example-request": 200}
    credential = {"capture-05-getpolicies-request": "s:Authentication",
                  "mde2-03-getpolicies-request-federated": None,
                  "mde2-03-getpolicies-request-certificate": None}
    for path in samples():
        body = path.read_bytes()
        if path.stem in wanted:
            answer, root = soap(windows, DISCOVERY, body)
            assert answer.status == wanted[path.stem], (path.name, answer.body)
        elif path.stem in credential:
            answer, root = soap(windows, POLICY, body)
            code = fault(root)
            assert answer.status == 500 and code != "s:MessageFormat", path.name
            assert credential[path.stem] in (None, code), (path.name, code)
        elif not path.stem.startswith(("itpro", "mdm", "capture-09", "capture-1")):
            soap(windows, DISCOVERY, body)  # an answer of its own shape, whatever it is
