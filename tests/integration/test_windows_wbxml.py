"""Devices that speak WBXML: what they send is made by libwbxml, or by hand where no library
would send it."""

import base64
import hashlib
import time
from xml.sax.saxutils import escape

import pytest
from wbxml import START, number, opaque, results, string, to_wbxml, to_xml
from windows import PACKAGE_1, SPACE, TYPE, TYPE_WBXML, UNENROLMENT, Computer, xmllint
from windows_house import SECRET, house, numbers  # noqa: F401

TYPE_SHORT = "application/vnd.syncml+wbxml"


@pytest.fixture
def pc(house, tmp_path):  # noqa: F811
    made = Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "carol", SECRET)
    made.discover(["OnPremise"])
    made.policies(made.by_password())
    made.enrol(made.by_password())
    made.type = TYPE_WBXML
    return made


def send(pc, body, content_type=TYPE_WBXML):
    return pc.house.call("POST", pc.address, body, {"Content-Type": content_type}, pc.context)


def test_a_pc_is_managed_in_wbxml(house, pc):  # noqa: F811
    values = {"./Vendor/W/Xml": "<x y='z'>&amp;</x>", "./Vendor/W/Long": "0123456789 <&> " * 1500,
              "./Vendor/W/Sign": "\N{EURO SIGN}\N{GRINNING FACE}"}  # fmt: skip
    for uri, value in values.items():
        house.good("POST", f"/devices/{pc.device}/commands",
                   {"kind": "add", "target": uri, "data": value})  # fmt: skip
        house.good("POST", f"/devices/{pc.device}/commands", {"kind": "get", "target": uri})
    house.good("POST", f"/devices/{pc.device}/commands", {"kind": "atomic", "members": [
        {"kind": "add", "target": "./Vendor/W/A", "data": "1"},
        {"kind": "delete", "target": "./Vendor/W/A"}]})  # fmt: skip
    pc.session("1")
    certificate, _ = pc.install_scep()  # what the session brought for it is whole
    assert "carol" in certificate.subject.rfc4514_string()
    pc.session("2")
    items = house.good("GET", f"/devices/{pc.device}/commands")["items"]
    assert [item["state"] for item in items] == ["done"] * 7
    for uri, value in values.items():
        assert pc.tree[uri] == value
    assert items[1]["result"]["items"][0]["data"] == values["./Vendor/W/Xml"]
    report = house.good("GET", f"/devices/{pc.device}")["report"]
    assert report["dev_info"]["Man"] == "Maker" and report["dev_detail"]["OEM"] == "A & B <C>"


def test_the_form_changes_in_the_middle_of_a_session(house, pc):  # noqa: F811
    for i in range(120):
        house.good("POST", f"/devices/{pc.device}/commands",
                   {"kind": "add", "target": f"./Vendor/F/{i}", "data": str(i)})  # fmt: skip
    forms = [TYPE, TYPE_WBXML, TYPE_SHORT]

    def change(message):
        pc.type = forms[message % 3]

    pc.session("1", between=change)
    own = [uri for name, uri in pc.seen if uri.startswith("./Vendor/F/")]
    assert own == [f"./Vendor/F/{i}" for i in range(120)]  # each once, in order
    # An Accept of both, as always: the message says which.
    answer, _ = pc.post("2", 1, PACKAGE_1, content_type=TYPE)
    assert answer.headers["Content-Type"] == TYPE and answer.body.startswith(b"<SyncML")
    refused, _ = pc.post("2", 1, PACKAGE_1, content_type="application/octet-stream")
    assert refused.status == 415
    assert refused.headers["Accept"] == f"{TYPE}, {TYPE_WBXML}"


def test_A2_an_md5_credential_opens_a_session(house, pc):  # noqa: F811
    """Without the certificate; the digest in base64 and as its sixteen octets."""
    credential, marker = pc.credential, "SixteenOctetsFor"

    def attempt(session, nonce, secret, as_octets):
        key = base64.b64encode(hashlib.md5(f"{credential['AAUTHNAME']}:{secret}".encode()).digest())
        digest = hashlib.md5(key + b":" + base64.b64decode(nonce)).digest()
        given = marker if as_octets else base64.b64encode(digest).decode()
        text = (
            '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
            f"<SessionID>{session}</SessionID><MsgID>1</MsgID><Target><LocURI>{pc.address}</LocURI></Target>"
            f"<Source><LocURI>{pc.peer_id}</LocURI></Source><Cred><Meta><Type xmlns=\"syncml:metinf\">"
            f"syncml:auth-md5</Type></Meta><Data>{given}</Data></Cred></SyncHdr><SyncBody><Final/></SyncBody>"
            "</SyncML>"
        )
        body = to_wbxml(text.encode())
        if as_octets:
            assert string(marker) in body
            body = body.replace(string(marker), opaque(digest))
        answer = house.call("POST", pc.address, body, {"Content-Type": TYPE_WBXML}, pc.trust)
        assert (answer.status, answer.headers["Content-Type"]) == (200, TYPE_WBXML)
        root = xmllint(to_xml(answer.body))
        return pc.code(root), next(root.iter("{syncml:metinf}NextNonce")).text

    secret, nonce = credential["AAUTHSECRET"], credential["AAUTHDATA"]
    for as_octets in (False, True):
        assert attempt("1", nonce, secret + "0", as_octets)[0] == 401
        code, following = attempt("2", nonce, secret, as_octets)
        assert code == 212 and following != nonce
        nonce = following


def test_a_large_object_comes_in_chunks(house, pc):  # noqa: F811
    pc.session("1")
    value = "".join(f"{i} <&>\n" for i in range(700))  # 5 KB
    pc.tree["./Vendor/L"] = value
    made = house.good("POST", f"/devices/{pc.device}/commands", {"kind": "get", "target": "./Vendor/L"})
    _, root = pc.post("2", 1, PACKAGE_1)
    (get,) = [one for one in root[1].iter(SPACE + "Get")
              if one.findtext(f"{SPACE}Item/{SPACE}Target/{SPACE}LocURI") == "./Vendor/L"]  # fmt: skip
    reference, size = get.findtext(SPACE + "CmdID"), 1500
    chunks = [value[at:at + size] for at in range(0, len(value), size)]
    for i, chunk in enumerate(chunks):
        is_last = i == len(chunks) - 1
        meta = f'<Meta><Size xmlns="syncml:metinf">{len(value)}</Size></Meta>' if i == 0 else ""
        status = (f"<Status><CmdID>1</CmdID><MsgRef>1</MsgRef><CmdRef>{reference}</CmdRef><Cmd>Get</Cmd>"
                  "<Data>200</Data></Status>") if i == 0 else ""  # fmt: skip
        body = (f"{status}<Results><CmdID>2</CmdID><MsgRef>1</MsgRef><CmdRef>{reference}</CmdRef><Item><Source>"
                f"<LocURI>./Vendor/L</LocURI></Source>{meta}<Data>{escape(chunk)}</Data>"
                f"{'' if is_last else '<MoreData/>'}</Item></Results>")  # fmt: skip
        _, root = pc.post("2", i + 2, body, final="<Final/>" if is_last else "")
        assert pc.code(root) == 200
        assert (root[1].find(SPACE + "Alert") is None) == is_last
    item = house.good("GET", f"/devices/{pc.device}/commands")["items"][0]
    assert (item["id"], item["state"]) == (made["id"], "done")
    assert item["result"]["items"][0]["data"] == value


def test_A5_the_users_own_end(house, pc):  # noqa: F811
    _, root = pc.post("1", 1, UNENROLMENT)
    assert pc.code(root) == 200
    assert house.good("GET", f"/devices/{pc.device}")["state"] == "unenrolled"
    assert {one["state"] for one in house.certificates(device=pc.device)} == {"revoked"}


def hostile():
    """name -> octets. Nobody has to be known to send them."""
    table = b"x" * 14999 + b"\0"
    yield "references", (b"\x03\xa4\x01\x6a" + number(len(table)) + table + b"\x6d\x6b\x62\x54\x4f" +
                         b"\x83\0" * 22500 + b"\1" * 5)  # fmt: skip
    yield "nested", START + b"\x6d" * 250000 + b"\1" * 250000
    nested = b"\x03\xa4\x02\x6a" + number(len(table)) + table + b"\x4a" + b"\x83\0" * 22500 + b"\1"
    kind = b"\x5a\x00\x01\x53" + string("application/vnd.syncml-devinf+wbxml") + b"\1\1\0\0\x4f"
    yield "a document inside", results(b"")[:-6] + kind + opaque(nested) + b"\1" * 5
    yield "deep inside", results(b"")[:-6] + kind + opaque(START + b"\x6d" * 200000) + b"\1" * 5
    yield "siblings", START + b"\x6d" + b"\x12" * 400000 + b"\1"
    yield "literals", b"\x03\xa4\x01\x6a\x02x\0\x6d" + b"\x04\0" * 200000 + b"\1"
    yield "pages", START + b"\x6d" + b"\0\1" * 200000 + b"\x57\1"
    yield "instructions", START + b"\x43\x05\x01" * 100000 + b"\x2d"
    yield "attributes", START + b"\xed" + b"\x05" * 300000 + b"\1\1"
    yield "entities", results(b"\x02\x26" * 200000)
    yield "strings", results(string("<") * 150000)
    yield "octets", results(opaque(b"\0" * 500000))
    yield "a length of 4 GiB", results(b"\xc3\x8f\xff\xff\xff\x7f" + b"x" * 1000)
    yield "a table of 4 GiB", b"\x03\xa4\x01\x6a\x8f\xff\xff\xff\x7f\x2d"
    yield "WML", b"\x03\x0a\x6a\x00\x7f" + b"\x7e" * 10000
    yield "XML", b"<SyncML xmlns='SYNCML:SYNCML1.2'/>"


def test_R8_hostile_octets_cost_little(house, pc):  # noqa: F811
    before, started, count = house.peak_megabytes(), time.monotonic(), 0
    for content_type in (TYPE_WBXML, TYPE_SHORT):
        for name, octets in hostile():
            answer = send(pc, octets, content_type)
            assert answer.status == 400, name
            count += 1
    assert send(pc, START + b"\x2d" * (600 * 1024)).status == 413
    assert count == 32 and time.monotonic() - started < 60
    # Of its three worst, libwbxml made 1.3 GB, a stack beyond its end, and both.
    assert house.peak_megabytes() - before < 200, house.peak_megabytes()
    _, root = pc.post("1", 1, PACKAGE_1)
    assert pc.code(root) == 200
