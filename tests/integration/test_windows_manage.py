"""A device under management, over TLS with its certificate, as Windows behaves: strict
about what it gets, with a tree of its own. Every answer must be well-formed."""

import subprocess
import threading
import xml.etree.ElementTree as ElementTree
from xml.sax.saxutils import escape

import pytest
from conftest import house_end, house_make, run

SPACE = "{SYNCML:SYNCML1.2}"
TYPE = "application/vnd.syncml.dm+xml"


def xmllint(octets):
    done = subprocess.run(["xmllint", "--noout", "--nonet", "-"], input=octets, capture_output=True,
                          timeout=30)  # fmt: skip
    assert done.returncode == 0, (octets, done.stderr)


class Windows:
    """One PC: its key, its certificate, its tree of nodes."""

    def __init__(self, house, folder, user, peer_id):
        self.house, self.folder, self.peer_id = house, folder, peer_id
        self.tree = {"./DevDetail/SwV": "10.0.19043.1", "./DevDetail/OEM": "A & B <C>"}
        self.seen = []
        folder.mkdir()
        made = house.challenge(user, subject=f"CN={user}")
        run("pki", "--scepca", "--url", house.scep(), "--caout", "ca.pem", "--raout", "ra.pem",
            "--outform", "pem", cwd=folder)  # fmt: skip
        key = run("pki", "--gen", "--type", "rsa", "--size", 2048, "--outform", "pem")
        (folder / "pc.key").write_bytes(key.stdout)
        done = run(
            "pki", "--scep", "--url", house.scep(), "--in", "pc.key", "--dn", f"CN={user}",
            "--password", made["challenge"], "--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem",
            *sum((["--cacert", ca.name] for ca in sorted(folder.glob("ca*.pem"))), []),
            "--cipher", "des3", "--digest", "sha256", "--outform", "pem", cwd=folder,
        )  # fmt: skip
        (folder / "pc.pem").write_bytes(done.stdout)
        self.context = house.tls_context(folder / "pc.pem", folder / "pc.key")
        self.device = next(d["id"] for d in house.good("GET", f"/devices?owner={user}")["items"])

    def post(self, session, number, body, context=None, content_type=TYPE):
        text = (
            f'<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
            f"<SessionID>{session}</SessionID><MsgID>{number}</MsgID><Target><LocURI>{self.house.secure}"
            f"/syncml/initialquery</LocURI></Target><Source><LocURI>{self.peer_id}</LocURI></Source>"
            f"</SyncHdr><SyncBody>{body}<Final/></SyncBody></SyncML>"
        )
        answer = self.house.call(
            "POST", self.house.secure + "/syncml/initialquery?mode=Maintenance&Platform=WoA",
            text.encode(), {"Content-Type": content_type}, context or self.context,
        )  # fmt: skip
        if answer.status != 200:
            return answer, None
        assert answer.headers["Content-Type"] == TYPE
        assert int(answer.headers["Content-Length"]) == len(answer.body)
        assert "Transfer-Encoding" not in answer.headers
        xmllint(answer.body)
        root = ElementTree.fromstring(answer.body)
        header, commands = root
        assert [child.tag for child in header] == [
            SPACE + name for name in ("VerDTD", "VerProto", "SessionID", "MsgID", "Target", "Source")
        ]
        assert commands[-1].tag == SPACE + "Final"
        first = commands[0]
        assert first.tag == SPACE + "Status" and first.find(SPACE + "Cmd").text == "SyncHdr"
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

        def do(command):
            name = command.tag[len(SPACE):]
            if name in ("Atomic", "Sequence"):
                status(command, 200)
                for member in command:
                    if member.tag != SPACE + "CmdID":
                        do(member)
                return
            uri = command.find(f"{SPACE}Item/{SPACE}Target/{SPACE}LocURI").text
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

    PACKAGE_1 = (
        "<Alert><CmdID>2</CmdID><Data>1201</Data></Alert><Replace><CmdID>3</CmdID><Item><Source>"
        "<LocURI>./DevInfo/Man</LocURI></Source><Data>Maker</Data></Item></Replace>"
    )

    def session(self, session, between=lambda number: None):
        number, body = 1, self.PACKAGE_1
        while body:
            answer, root = self.post(session, number, body)
            assert root is not None, (answer.status, answer.body, self.house.words()[-1500:])
            assert self.code(root) == 200
            body = self.obey(root)
            number += 1
            between(number)
            assert number < 300


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(plugins=[{"name": "scep"}, {"name": "syncml"}])
    made.start()
    yield made
    house_end(made)


@pytest.fixture(scope="module")
def pc(house, tmp_path_factory):
    house.user("win1")
    return Windows(house, tmp_path_factory.mktemp("pc") / "1", "win1", "B5B954E81FBCB94EB79BD08BE625F4EE")


def test_first_contact_is_shown_by_the_api(house, pc):
    pc.session("1")
    report = house.good("GET", f"/devices/{pc.device}")["report"]
    assert report["dev_info"]["Man"] == "Maker"
    assert report["dev_detail"]["OEM"] == "A & B <C>"


def test_commands_by_api_and_command_come_back_with_results(house, pc):
    made = house.good("POST", f"/devices/{pc.device}/commands",
                      {"kind": "add", "target": "./Vendor/X/WlanXml", "data": "<x>&]]></x>", "format": "xml"})  # fmt: skip
    house.cli("device", "command", pc.device, "--kind", "get", "--target", "./Vendor/X/WlanXml")
    house.cli("device", "wipe", pc.device)
    pc.session("2")
    items = house.good("GET", f"/devices/{pc.device}/commands")["items"]
    assert [item["state"] for item in items] == ["done"] * 3
    assert items[0]["id"] == made["id"]
    assert items[1]["result"]["items"][0]["data"] == "<x>&]]></x>"
    assert ("Exec", "./Device/Vendor/MSFT/RemoteWipe/doWipe") in pc.seen
    refused = house.api("POST", f"/devices/{pc.device}/commands", {"kind": "get", "target": "/x"})
    assert refused.status == 400 and b"/target" in refused.body
    entries = [e for e in house.audit() if e["action"] == "device.command"]
    assert len(entries) == 3 and "<x>" not in str(entries)


def test_a_queue_survives_a_restart_in_the_middle_of_a_session(house, pc):
    for i in range(130):
        house.good("POST", f"/devices/{pc.device}/commands",
                   {"kind": "add", "target": f"./Vendor/Y/{i}", "data": str(i)})  # fmt: skip
    pc.session("3", between=lambda number: house.restart() if number == 3 else None)
    items = house.good("GET", f"/devices/{pc.device}/commands?limit=1000")["items"]
    assert all(item["state"] == "done" and item["attempts"] == 1 for item in items)
    assert [pc.tree[f"./Vendor/Y/{i}"] for i in range(130)] == [str(i) for i in range(130)]


def test_what_is_no_message_is_refused(house, pc):
    assert pc.post("9", 1, "", content_type="application/vnd.syncml.dm+wbxml")[0].status == 415
    assert pc.post("9", 1, "<Alert>")[0].status == 400
    assert pc.post("9", 1, "<a>" * 100000)[0].status == 400
    assert pc.post("9", 1, "x" * (600 * 1024))[0].status == 413
    _, root = pc.post("9", 4, "")
    assert pc.code(root) == 400
    _, root = pc.post("9", 1, Windows.PACKAGE_1, context=house.tls_context())
    assert pc.code(root) == 401


def test_devices_in_parallel_keep_to_themselves(house, tmp_path):
    pcs = []
    for i in range(3):
        house.user(f"par{i}")
        pcs.append(Windows(house, tmp_path / str(i), f"par{i}", f"{i:032X}"))
        for k in range(60):
            house.good("POST", f"/devices/{pcs[i].device}/commands",
                       {"kind": "add", "target": f"./P/{i}/{k}", "data": "v"})  # fmt: skip
    threads = [threading.Thread(target=one.session, args=("1",)) for one in pcs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for i, one in enumerate(pcs):
        own = [uri for name, uri in one.seen if uri.startswith("./P/")]
        assert own == [f"./P/{i}/{k}" for k in range(60)]


def test_the_user_ends_the_enrolment(house, pc):
    _, root = pc.post("20", 1, (
        '<Alert><CmdID>4</CmdID><Data>1226</Data><Item><Meta><Type xmlns="syncml:metinf">'
        "com.microsoft:mdm.unenrollment.userrequest</Type></Meta><Data>1</Data></Item></Alert>"
    ))  # fmt: skip
    assert pc.code(root) == 200
    assert house.good("GET", f"/devices/{pc.device}")["state"] == "unenrolled"
    assert all(c["state"] == "revoked" for c in house.certificates(device=pc.device))
