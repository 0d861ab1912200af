"""One test for each thing that real devices choke on: test_NN_..., in the order of
docs/windows.md's table."""

import http.client
import json
import re
import ssl
import urllib.parse

import pytest
from conftest import run, SOURCE
from cryptography.hazmat.primitives.asymmetric import rsa
from windows import (
    DISCOVERY, LOGIN_STATUS, MESSAGES, PACKAGE_1, SOAP, SPACE, Computer, below, parms, windows_csr, xmllint,
)  # fmt: skip
from windows_house import (  # noqa: F401
    computer, enrolled, house, numbers, refused, SECRET, set_profile,
)  # fmt: skip


def test_01_the_probe_gets_200_on_both_schemes(house):
    for base in (house.base, house.secure):
        answer = house.call("GET", base + DISCOVERY, headers={"Host": "EnterpriseEnrollment.example.com"})
        assert (answer.status, answer.body, answer.headers["Content-Length"]) == (200, b"", "0")


def test_02_nothing_is_chunked(house, enrolled):
    """Computer.soap holds every answer to it; here by the octets, before any library."""
    body = (MESSAGES / "discover.xml").read_bytes()
    for version in ("1.1", "1.0"):
        connection = http.client.HTTPSConnection("127.0.0.1", house.https, context=house.tls_context())
        connection.connect()
        connection.sock.sendall(
            f"POST {DISCOVERY} HTTP/{version}\r\nHost: enterpriseenrollment.example.com\r\nContent-Type: {SOAP}"
            f"\r\nAccept-Encoding: gzip, deflate, br\r\nTE: trailers, chunked\r\nConnection: close\r\n"
            f"Content-Length: {len(body)}\r\n\r\n".encode() + body)  # fmt: skip
        octets = b""
        while got := connection.sock.recv(65536):
            octets += got
        connection.close()
        head, content = octets.split(b"\r\n\r\n", 1)
        assert b"200" in head.split(b"\r\n")[0] and b"chunked" not in head.lower()
        assert int(re.search(rb"(?i)content-length: (\d+)", head).group(1)) == len(content)
    assert len(enrolled.answers) >= 3


def test_03_the_certificate_names_the_enrolment_host(house):
    run("openssl", "verify", "-CAfile", house.data / "root.pem", "-untrusted", house.data / "tls.pem",
        "-verify_hostname", "enterpriseenrollment.example.com", house.data / "tls.pem")  # fmt: skip


def test_04_a_client_of_TLS_1_2_alone_is_served(house):
    context = house.tls_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    assert house.call("GET", house.secure + DISCOVERY, context=context).status == 200


def test_04_a_listener_capped_at_TLS_1_2_offers_no_more(fresh_house):
    listeners = json.loads(fresh_house.config_path.read_text())["listeners"]
    for listener in listeners:
        if listener.get("tls"):
            listener["tls_max"] = 12
    fresh_house.change_config(listeners=listeners, plugins=[{"name": "discovery"}])
    fresh_house.start()
    try:
        assert fresh_house.call("GET", fresh_house.secure + DISCOVERY).status == 200
        context = fresh_house.tls_context()
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        with pytest.raises(OSError):
            fresh_house.call("GET", fresh_house.secure + DISCOVERY, context=context)
    finally:
        fresh_house.stop()


def test_05_the_client_certificate_is_asked_for_in_the_first_handshake(house):
    for version in ("-tls1_2", "-tls1_3"):
        done = run("openssl", "s_client", "-connect", f"127.0.0.1:{house.https}", "-CAfile",
                   house.data / "root.pem", version, stdin=b"", check=False)  # fmt: skip
        assert "Acceptable client certificate CA names" in done.out, done.out[-2000:]
        names = done.out.split("Acceptable client certificate CA names")[1]
        assert "Example Corp" in names.split("Requested Signature")[0]


def test_06_content_types_are_what_windows_reads(house, enrolled):
    assert {answer.headers["Content-Type"] for _, answer in enrolled.answers} == {SOAP}
    answer, _ = enrolled.post("6", 1, PACKAGE_1)  # which holds its type to be SyncML's
    assert answer.status == 200
    answer, _ = enrolled.post("6", 1, PACKAGE_1, content_type="text/xml")
    assert answer.status == 415


def test_07_a_fault_is_never_4xx(house, computer):
    computer.discover(["OnPremise"])
    policy, enrol = (computer.services[f"Enrollment{name}Url"] for name in ("PolicyService", "Service"))
    broken = [b"<a:MessageID>x<", b"<a:MessageID>x<<", b"<!DOCTYPE a><a:MessageID>x<",
              (MESSAGES / "discover.xml").read_bytes(), (MESSAGES / "rst-renew.xml").read_bytes()]  # fmt: skip
    for url in (policy, enrol):
        for body in broken:
            answer = house.call("POST", url, body, {"Content-Type": SOAP})
            assert answer.status == 500 and answer.headers["Content-Type"] == SOAP, (url, body)
            xmllint(answer.body)


def test_08_the_answer_relates_to_the_question(computer):
    """Computer.soap and .good hold every answer to it; here it must be the echo."""
    for given in ("urn:uuid:1", "urn:uuid:748132ec-a575-4329-b01b-6171a9cf8478", "x &amp; y"):
        body = re.sub(rb"(<a:MessageID>)[^<]*", rb"\g<1>" + given.encode(), (MESSAGES / "discover.xml").read_bytes())
        answer = computer.house.call("POST", computer.house.secure + DISCOVERY, body, {"Content-Type": SOAP})
        root = xmllint(answer.body)
        text = next(root.iter("{http://www.w3.org/2005/08/addressing}RelatesTo")).text
        assert text == given.replace("&amp;", "&")


@pytest.mark.parametrize("version", ["1.0", "2.0", "4.0", "5.0", "7.0", "9.0", "10.0", "99.0"])
def test_09_no_version_is_unknown(computer, version):
    found = computer.discover(version=version)
    assert found.get("EnrollmentVersion") in (None, "3.0", "4.0")


def test_10_an_empty_address_is_no_reason(house, tmp_path):
    pc = Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "alice", SECRET, mail="")
    pc.discover(["OnPremise"])
    pc.enrol(pc.by_password())


@pytest.mark.parametrize("offered", [["OnPremise"], ["Federated"], ["OnPremise", "Federated"],
                                     ["Federated", "Certificate"]])  # fmt: skip
def test_11_the_policy_is_one_that_was_offered_and_works(house, computer, offered):
    chosen = computer.discover(offered)["AuthPolicy"]
    assert chosen in offered
    security = computer.by_password() if chosen == "OnPremise" else computer.by_token(computer.log_in())
    computer.policies(security)
    computer.enrol(security)


def test_12_policy_and_enrolment_are_on_one_host(computer):
    found = computer.discover()  # holds it
    hosts = {urllib.parse.urlsplit(url).netloc for name, url in found.items() if name.endswith("Url")}
    assert len(hosts) == 1


def test_13_the_document_is_what_windows_applies(enrolled):
    """Computer.apply holds it; what it cannot see by then is here."""
    text = enrolled.answers[-1][1].body
    application = below(enrolled.document, "APPLICATION")
    order = [child.attrib.get("name", "APPAUTH") for child in application]
    assert order[:4] == ["APPID", "PROVIDER-ID", "NAME", "ADDR"] and order[-2:] == ["APPAUTH", "APPAUTH"]
    assert b"&amp;amp;" not in text
    below(enrolled.document, "DMClient", "Provider", parms(application)["PROVIDER-ID"][0])
    types = [child.attrib["type"] for child in enrolled.document]
    assert types == ["CertificateStore", "APPLICATION", "DMClient"]


@pytest.mark.parametrize("kind", ["Full", "Device"])
def test_14_the_store_follows_the_type_of_enrolment(computer, kind):
    computer.kind = kind  # .apply, .account and .renew look for the certificate there
    computer.discover(["OnPremise"])
    computer.enrol(computer.by_password())
    computer.session("1")
    computer.renew()


def test_15_the_certificate_chains_and_opens_a_session(house, enrolled):
    """Computer.keep verifies the chain; it must also be what TLS takes, and nothing less."""
    _, root = enrolled.post("15", 1, PACKAGE_1)
    assert enrolled.code(root) == 200
    _, root = enrolled.post("16", 1, PACKAGE_1, context=house.tls_context())
    assert enrolled.code(root) == 401


def test_16_renewal_is_served_where_the_document_says(house, computer, enrolled):
    computer.discover(["OnPremise"])
    computer.enrol(computer.by_password())
    assert computer.renewal_url == computer.services["EnrollmentServiceUrl"]
    computer.renew()
    # Signed by one, shown in TLS another.
    refused(house, computer, computer.renewal(rsa.generate_private_key(65537, 2048)), "s:Authentication",
            url=computer.renewal_url, context=enrolled.context)  # fmt: skip


def test_17_the_device_knows_its_id_before_it_renews(house, enrolled):
    client = below(enrolled.document, "DMClient", "Provider", enrolled.provider)
    assert parms(client)["EntDMID"] == (enrolled.device, "string")
    assert house.good("GET", f"/devices/{enrolled.device}")["id"] == enrolled.device


def test_18_no_renewal_outside_the_window(house, computer):
    """An expired certificate is in tests/plugins/test_wstep.c, which has the clock."""
    computer.discover(["OnPremise"])
    computer.enrol(computer.by_password())
    body = computer.renewal(rsa.generate_private_key(65537, 2048))
    set_profile(house, "certificate", "default", renewal_window="P2D")
    try:
        refused(house, computer, body, "s:Authorization", "NotEligibleToRenew", computer.renewal_url,
                computer.context)  # fmt: skip
    finally:
        set_profile(house, "certificate", "default", renewal_window="P10D")


def test_19_sessions_by_any_name_and_query(house, enrolled):
    pc = enrolled
    for session in ("0", "F1", "0", "A1B2"):
        pc.session(session)
    address = pc.address
    for query in ("", "?mode=Machine", "?x=%20&mode=Maintenance&Platform=WoA"):
        for agent in ("MSFT OMA DM Client/1.2.0.1", "", "anything"):
            body = (f'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
                    f"<SessionID>0</SessionID><MsgID>1</MsgID><Target><LocURI>{address}</LocURI></Target><Source>"
                    f"<LocURI>{pc.peer_id}</LocURI></Source></SyncHdr><SyncBody>{LOGIN_STATUS}<Final/></SyncBody>"
                    "</SyncML>")  # fmt: skip
            answer = house.call("POST", address + query, body.encode(),
                                {"Content-Type": "application/vnd.syncml.dm+xml; charset=utf-8",
                                 "User-Agent": agent}, pc.context)  # fmt: skip
            assert answer.status == 200 and pc.code(xmllint(answer.body)) == 200


def test_20_every_command_has_its_status_in_order(enrolled):
    _, root = enrolled.post("20", 1, (
        LOGIN_STATUS + "<Replace><CmdID>7</CmdID><Item><Source><LocURI>./DevInfo/Man</LocURI></Source><Data>M"
        "</Data></Item></Replace><Get><CmdID>9</CmdID><Item><Target><LocURI>./x</LocURI></Target></Item></Get>"
        "<Wish><CmdID>11</CmdID></Wish>"))  # fmt: skip
    statuses = [one for one in root[1] if one.tag == SPACE + "Status"]
    said = [tuple(one.findtext(SPACE + name) for name in ("MsgRef", "CmdRef", "Cmd", "Data"))
            for one in statuses]  # fmt: skip
    assert said == [("1", "0", "SyncHdr", "200"), ("1", "1", "Alert", "200"), ("1", "7", "Replace", "200"),
                    ("1", "9", "Get", "406"), ("1", "11", "Wish", "400")]  # fmt: skip


@pytest.mark.parametrize("members, at", [
    ([{"kind": "get", "target": "./a"}], "/members/0"),
    ([{"kind": "add", "target": "./a", "data": "1"}, {"kind": "replace", "target": "./a", "data": "2"}],
     "/members/1"),
    ([{"kind": "atomic", "members": []}], "/members/0"),
])  # fmt: skip
def test_21_an_atomic_that_windows_refuses_is_refused_here(house, enrolled, members, at):
    answer = house.api("POST", f"/devices/{enrolled.device}/commands", {"kind": "atomic", "members": members})
    assert answer.status == 400 and at in answer.body.decode(), answer.body


def test_22_a_node_that_exists_is_replaced(house, computer):
    computer.discover(["OnPremise"])
    computer.enrol(computer.by_password())
    house.good("POST", "/profiles/policy", {"name": "desk", "settings": {"items": [
        {"uri": "./Device/Vendor/MSFT/Policy/Config/A/B", "data": "1", "format": "int", "verb": "add"},
        {"uri": "./Device/Vendor/MSFT/Policy/Config/A/C", "data": "<x/>", "format": "chr"}]}})  # fmt: skip
    house.cli("assign", "user", "alice", "policy/desk")
    try:
        computer.tree["./Device/Vendor/MSFT/Policy/Config/A/B"] = "0"
        computer.session("1")
        assert computer.tree["./Device/Vendor/MSFT/Policy/Config/A/B"] == "1"
        assert computer.tree["./Device/Vendor/MSFT/Policy/Config/A/C"] == "<x/>"
        report = house.good("GET", f"/devices/{computer.device}")["report"]["policy"]
        assert (report["name"], report["failed"]) == ("desk", {})
    finally:
        house.good("DELETE", "/users/alice/profiles/policy/desk")
    computer.session("2")  # what the policy brought goes with it
    assert not any("/Policy/Config/A/" in uri for uri in computer.tree)


def test_23_xml_in_data_is_escaped(house, enrolled):
    profile = '<WLANProfile xmlns="urn:x"><name>A & B</name><!-- ]]> --></WLANProfile>'
    uri = "./Vendor/MSFT/WiFi/Profile/A/WlanXml"
    for kind, data in (("add", profile), ("get", None)):
        house.good("POST", f"/devices/{enrolled.device}/commands",
                   {"kind": kind, "target": uri, **({"data": data, "format": "xml"} if data else {})})  # fmt: skip
    enrolled.session("23")
    assert enrolled.tree[uri] == profile
    listed = house.good("GET", f"/devices/{enrolled.device}/commands?limit=1000")["items"]
    assert listed[-1]["result"]["items"][0]["data"] == profile


def test_24_the_scep_profile_is_what_windows_takes(house, computer):
    computer.discover(["OnPremise"])
    computer.enrol(computer.by_password())
    computer.session("1")
    scep = [(name, uri) for name, uri in computer.seen if "/SCEP/" in uri]
    assert scep[-1][0] == "Exec" and scep[-1][1].endswith("/Install/Enroll")
    root = next(i for i, (_, uri) in enumerate(computer.seen) if "/RootCATrustedCertificates/" in uri)
    assert root < computer.seen.index(scep[0]), "the root comes first"
    certificate, node = computer.install_scep()
    assert int(node["KeyUsage"]) & 0xA0 and node["EKUMapping"] == "1.3.6.1.5.5.7.3.2"
    for query in ("operation=GetCACert&message=default", "operation=GetCACaps&message=default"):
        answer = house.call("GET", f"{node['ServerURL'].split(';')[0]}?{query}")
        assert answer.status == 200 and answer.body


def test_25_policies_are_complete_and_stable(computer):
    computer.discover(["OnPremise"])
    first = computer.policies(computer.by_password())  # holds order, nil and OIDs
    again = computer.policies(computer.by_password())
    assert first[0][0].text == again[0][0].text
    for url in (computer.services["EnrollmentPolicyServiceUrl"], computer.services["EnrollmentServiceUrl"]):
        probe = computer.house.call("GET", url)
        assert probe.status == 200 and probe.headers["WWW-Authenticate"] is None


def test_26_the_request_of_windows_10_is_read(house, computer):
    computer.discover(["OnPremise"])
    computer.is_windows_10 = True
    # SHA-1 proves no possession where the profile does not say that it may.
    refused(house, computer, computer.request(computer.by_password()), "s:CertificateRequest")
    set_profile(house, "certificate", "default", allow_sha1_request=True)
    try:
        computer.enrol(computer.by_password())
    finally:
        set_profile(house, "certificate", "default", allow_sha1_request=False)
    assert b"!" in windows_csr(computer.key, computer.peer_id, True)
    subject = computer.certificate.subject.rfc4514_string()
    assert "!" not in subject and "alice" in subject
    oids = {one.oid.dotted_string for one in computer.certificate.extensions}
    assert "1.3.6.1.4.1.311.66.1.0" not in oids


@pytest.mark.parametrize("code", ["0x8018000a", "0x801900c8", "0x80190190", "Windows Home"])
def test_27_28_what_no_server_can_mend_is_documented(code):
    assert code in (SOURCE / "docs/windows.md").read_text()


def test_29_a_signature_by_either_name_does_no_harm(enrolled):
    for name in ("MS-Signature", "MDM-Signature"):
        enrolled.headers = {name: "MIIB"}
        _, root = enrolled.post("29", 1, PACKAGE_1)
        assert enrolled.code(root) == 200
    enrolled.headers = {}


def test_30_the_device_polls_for_ever(enrolled):
    client = below(enrolled.document, "DMClient", "Provider", enrolled.provider)
    poll = {name: value for name, (value, _) in parms(below(client, "Poll")).items()}
    assert poll["NumberOfRemainingScheduledRetries"] == "0" and poll["PollOnLogin"] == "true"
    assert int(poll["IntervalForFirstSetOfRetries"]) >= 3


def test_the_log_tells_no_secret(house):
    words = (house.data / "sealwright.log").read_text() + str(house.audit())
    assert SECRET not in words
