"""A PC that lies, breaks off and never ends: each is bounded, told in the protocol's own
words, and changes nothing but what the PC itself is told."""

import base64
import concurrent.futures

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from windows import MESSAGES, PACKAGE_1, SOAP, SPACE, Computer, windows_csr, xmllint
from windows_house import audited, house, numbers, refusals, SECRET  # noqa: F401

TYPE = "application/vnd.syncml.dm+xml"


@pytest.fixture(scope="module")
def pc(house, tmp_path_factory):
    made = Computer(house, tmp_path_factory.mktemp("pc"), f"{next(numbers):032X}", "carol", SECRET)
    made.discover(["OnPremise"])
    made.enrol(made.by_password())
    made.session("0")
    return made


def send(pc, session, number, body, final=True):
    """The answer's statuses, by command, and its tree."""
    answer = pc.house.call("POST", pc.address, message(pc, session, number, body, final), {"Content-Type": TYPE},
                           pc.context)  # fmt: skip
    assert answer.status == 200, answer.body
    root = xmllint(answer.body)
    codes = [int(one.findtext(SPACE + "Data")) for one in root[1] if one.tag == SPACE + "Status"]
    return codes, root


def message(pc, session, number, body, final=True):
    return (
        '<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
        f"<SessionID>{session}</SessionID><MsgID>{number}</MsgID><Target><LocURI>{pc.address}</LocURI></Target>"
        f"<Source><LocURI>{pc.peer_id}</LocURI></Source></SyncHdr><SyncBody>{body}{'<Final/>' if final else ''}"
        "</SyncBody></SyncML>"
    ).encode()


def alerts(root):
    return [one.findtext(SPACE + "Data") for one in root[1] if one.tag == SPACE + "Alert"]


def part(node, data, more, size=None):
    meta = f'<Meta><Size xmlns="syncml:metinf">{size}</Size></Meta>' if size else ""
    return (f"<Replace><CmdID>1</CmdID><Item><Source><LocURI>./DevInfo/{node}</LocURI></Source>{meta}"
            f"<Data>{data}</Data>{'<MoreData/>' if more else ''}</Item></Replace>")  # fmt: skip


def info(pc):
    return pc.house.good("GET", f"/devices/{pc.device}")["report"]["dev_info"]


def test_R8_an_object_that_never_ends_is_refused_and_forgotten(pc):
    for number, code in enumerate((213, 213, 213, 413, 213), 1):
        codes, root = send(pc, "big", number, part("Mod", "m" * 20000, True), final=False)
        assert codes == [200, code]
        assert alerts(root) == (["1222"] if code == 213 else [])
    codes, _ = send(pc, "big", 6, part("Mod", "m" * 50000, False))
    assert codes == [200, 413]
    codes, _ = send(pc, "large", 1, part("Mod", "m", True, size=65537), final=False)
    assert codes == [200, 413], "said beforehand"
    assert "Mod" not in info(pc)


@pytest.mark.parametrize("size, code", [(5, 424), (7, 424), (6, 200)])
def test_an_object_is_as_large_as_was_announced(pc, size, code):
    send(pc, f"s{size}", 1, part(f"Size{size}", "abc", True, size), final=False)
    codes, _ = send(pc, f"s{size}", 2, part(f"Size{size}", "def", False))
    assert codes == [200, code]
    assert (f"Size{size}" in info(pc)) == (code == 200)


def test_an_object_without_an_end_is_told(pc):
    send(pc, "end", 1, part("Fwv", "abc", True), final=False)
    codes, root = send(pc, "end", 2, part("Lang", "de", False))
    assert codes == [200, 200] and alerts(root) == ["1225"]
    assert info(pc)["Lang"] == "de" and "Fwv" not in info(pc)


def queue(pc, count, kind="get", **members):
    return [pc.house.good("POST", f"/devices/{pc.device}/commands",
                          {"kind": kind, "target": f"./L/{i}", **members})["id"] for i in range(count)]  # fmt: skip


def command(pc, made):
    return pc.house.good("GET", f"/devices/{pc.device}/commands/{made}")


def begin(pc, session):
    """Package 1; (MsgID of the answer, CmdIDs of its commands)."""
    _, root = send(pc, session, 1, PACKAGE_1)
    own = root[0].findtext(SPACE + "MsgID")
    return own, [one.findtext(SPACE + "CmdID") for one in root[1] if one.tag[len(SPACE):] in ("Get", "Add")]


def status(own, reference, code, number=[100]):
    number[0] += 1
    return (f"<Status><CmdID>{number[0]}</CmdID><MsgRef>{own}</MsgRef><CmdRef>{reference}</CmdRef><Cmd>Get</Cmd>"
            f"<Data>{code}</Data></Status>")  # fmt: skip


def results(own, reference, data, count=1):
    item = f"<Item><Source><LocURI>./L</LocURI></Source><Data>{data}</Data></Item>"
    return (f"<Results><CmdID>9{reference}</CmdID><MsgRef>{own}</MsgRef><CmdRef>{reference}</CmdRef>{item * count}"
            "</Results>")  # fmt: skip


def test_a_session_that_is_broken_off_gives_back_what_it_had(pc):
    made = queue(pc, 3)
    own, ids = begin(pc, "off")
    assert len(ids) == 3 and command(pc, made[0])["state"] == "sent"
    codes, root = send(pc, "off", 2, status(own, ids[0], 200) + "<Alert><CmdID>9</CmdID><Data>1223</Data></Alert>")
    assert codes[0] == 200 and not list(root[1].iter(SPACE + "Get"))
    assert [command(pc, one)["state"] for one in made] == ["queued"] * 3
    codes, _ = send(pc, "off", 3, "")
    assert codes == [400], "it is over"
    own, ids = begin(pc, "on")
    assert len(ids) == 3
    send(pc, "on", 2, "".join(status(own, one, 404) for one in ids))
    assert [command(pc, one)["state"] for one in made] == ["failed"] * 3


def test_R8_lies_about_commands_come_to_nothing(pc):
    made = queue(pc, 7)
    own, ids = begin(pc, "lie")
    send(pc, "lie", 2, (
        results(own, ids[0], "x" * 8193) + status(own, ids[0], 200)        # too long to keep
        + results(own, ids[1], "&lt;b&gt;") + status(own, ids[1], 200)     # the truth
        + status(own, ids[2], 200)                                         # nothing behind it
        + status(own, ids[3], "99999999999999999999") + status(own, ids[3], -5) + status(own, ids[3], "2oo")
        + status(own, ids[4], 200) + status(own, ids[4], 500)              # the last word counts
        + status(own, 9999, 200) + results(own, 9999, "z")                 # of no command
        + status(77, ids[5], 200)                                          # of another message
        + results(own, ids[6], "y" * 8000) + status(own, ids[6], 200)
    ))  # fmt: skip
    found = [command(pc, one) for one in made]
    assert [one["state"] for one in found] == ["done", "done", "done", "failed", "failed", "failed", "done"]
    assert found[0]["result"]["items"] == [{"source": "./L", "size": 8193}]
    assert found[1]["result"]["items"][0]["data"] == "<b>"
    assert "items" not in found[2]["result"]
    assert "left it out" in found[3]["result"]["reason"] and "left it out" in found[5]["result"]["reason"]
    assert found[6]["result"]["items"][0]["data"] == "y" * 8000


def test_R8_what_one_session_keeps_of_answers_is_bounded(pc):
    made = queue(pc, 20)
    own, ids = begin(pc, "much")
    send(pc, "much", 2, "".join(results(own, one, "v" * 8000) + status(own, one, 200) for one in ids))
    kept = [command(pc, one)["result"]["items"][0] for one in made]
    assert all(one["size"] == 8000 for one in kept)
    whole = sum("data" in one for one in kept)
    assert 0 < whole * 8000 <= 48 * 1024 and "data" in kept[0] and "data" not in kept[-1]


def test_of_messages_at_once_one_counts(pc):
    for attempt in range(6):
        made = queue(pc, 1)
        own, ids = begin(pc, f"par{attempt}")
        bodies = [status(own, ids[0], 200 + i) for i in range(8)]
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            codes = list(pool.map(lambda body: send(pc, f"par{attempt}", 2, body)[0][0], bodies))
        assert sorted(codes) == [200] + [400] * 7
        assert command(pc, made[0])["state"] == "done" and command(pc, made[0])["attempts"] == 1


def test_a_scep_profile_that_the_pc_could_not_take_leaves_no_secret_behind(house, tmp_path):
    pc = Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "dave", SECRET)
    pc.discover(["OnPremise"])
    pc.enrol(pc.by_password())
    number, body, secrets = 1, PACKAGE_1, []
    while body:
        _, root = send(pc, "1", number, body)
        atomic = root[1].find(SPACE + "Atomic")
        body = pc.obey(root)
        if atomic is not None:
            reference = atomic.findtext(SPACE + "CmdID")
            secrets = [one.findtext(f"{SPACE}Item/{SPACE}Data") for one in atomic
                       if "/Challenge" in (one.findtext(f"{SPACE}Item/{SPACE}Target/{SPACE}LocURI") or "")]  # fmt: skip
            mark = f"<CmdRef>{reference}</CmdRef><Cmd>Atomic</Cmd><Data>200<"
            assert mark in body
            body = body.replace(mark, mark.replace("200", "507"))
        number += 1
    assert len(secrets) == 1
    report = house.good("GET", f"/devices/{pc.device}")["report"]["scep"]
    assert report["failed"] and report["status"] == 507
    made = [one for one in house.good("GET", "/challenges?user=dave&limit=1000")["items"]
            if one["device"] == pc.device]  # fmt: skip
    assert [one["state"] for one in made] == ["withdrawn"]
    with pytest.raises(AssertionError):
        pc.install_scep()
    assert not house.certificates(device=pc.device, profile="wifi")


ADDRESSES = ["/EnrollmentServer/Discovery.svc", "/EnrollmentServer/PolicyEnrollmentWebservice.svc",
             "/EnrollmentServer/DeviceEnrollmentWebservice.svc", "/CES_UsernamePassword/service.svc/CES"]  # fmt: skip
BROKEN = {
    "no XML": lambda text: "x",
    "DOCTYPE": lambda text: "<!DOCTYPE s>" + text,
    "action": lambda text: text.replace("</a:Action>", "x</a:Action>"),
    "nothing in the body": lambda text: text[:text.index("<s:Body")] + "<s:Body/></s:Envelope>",
    "twice": lambda text: text.replace("<s:Body", "<s:Body/><s:Body", 1),
}


@pytest.mark.parametrize("name", sorted(BROKEN))
@pytest.mark.parametrize("path", ADDRESSES)
def test_A7_what_is_no_message_is_counted_in_the_audit(house, path, name):
    text = (MESSAGES / ("discover.xml" if "Discovery" in path else "getpolicies-unsigned.xml" if "Policy" in path
                        else "rst-windows10.xml")).read_text()  # fmt: skip
    before = refusals(house)
    answer = house.call("POST", house.secure + path, BROKEN[name](text).encode(), {"Content-Type": SOAP})
    assert answer.status == 500 and b"s:MessageFormat" in answer.body
    xmllint(answer.body)
    audited(house, before)


@pytest.mark.parametrize("credential, code", [("", "a:InvalidSecurity"), ("@SECURITY@", "s:MessageFormat")])
@pytest.mark.parametrize("path", ADDRESSES[2:])
def test_A7_a_request_without_credential_or_content_is_counted_too(house, path, credential, code):
    text = (MESSAGES / "rst-windows10.xml").read_text()
    if not credential:
        request = base64.b64encode(windows_csr(rsa.generate_private_key(65537, 2048), "0")).decode()
        text = text.replace("@SECURITY@", "").replace("@REQUEST@", request)
    before = refusals(house)
    answer = house.call("POST", house.secure + path, text.encode(), {"Content-Type": SOAP})
    assert answer.status == 500 and code.encode() in answer.body, answer.body
    audited(house, before)


@pytest.mark.parametrize("code, make", [
    ("no SyncML", lambda house, pc: house.call("POST", pc.address, b"<a/>", {"Content-Type": TYPE}, pc.context).status == 400),
    ("out of order", lambda house, pc: send(pc, "order", 7, "")[0] == [400]),
    ("no credential", lambda house, pc: house.call("POST", pc.address, message(pc, "who", 1, PACKAGE_1), {"Content-Type": TYPE})
     .body.count(b"<Data>401</Data>") == 1),
], ids=lambda one: one if isinstance(one, str) else "")  # fmt: skip
def test_A7_what_is_no_session_is_counted_in_the_audit(house, pc, code, make):
    before, report = refusals(house), house.good("GET", f"/devices/{pc.device}")["report"]
    assert make(house, pc), code
    audited(house, before)
    assert house.good("GET", f"/devices/{pc.device}")["report"] == report
