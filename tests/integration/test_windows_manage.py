"""A device under management, over TLS with its certificate, as Windows behaves: strict
about what it gets, with a tree of its own. Every answer must be well-formed."""

import http.client
import json
import threading

import pytest
from conftest import house_end, house_make, run
from windows import PACKAGE_1, UNENROLMENT, Managed


class Windows(Managed):
    """One PC that has its certificate by SCEP."""

    def __init__(self, house, folder, user, peer_id):
        super().__init__(house, peer_id, house.secure + "/syncml/initialquery")
        self.folder = folder
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
    count = 1000
    connection = http.client.HTTPSConnection("127.0.0.1", house.https, context=house.tls_context())
    for i in range(count):  # one connection for all of them
        connection.request("POST", f"/api/v1/devices/{pc.device}/commands",
                           json.dumps({"kind": "add", "target": f"./Vendor/Y/{i}", "data": str(i)}),
                           {"Authorization": f"Bearer {house.token}", "Content-Type": "application/json"})  # fmt: skip
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        answer.read()
    connection.close()
    pc.session("3", between=lambda number: house.restart() if number == 3 else None)
    items = house.good("GET", f"/devices/{pc.device}/commands?limit=1000")["items"]
    assert len(items) == count and {item["state"] for item in items} == {"done"}
    assert {item["attempts"] for item in items} == {1}
    own = [uri for name, uri in pc.seen if uri.startswith("./Vendor/Y/")]
    assert own == [f"./Vendor/Y/{i}" for i in range(count)]  # each once, in order
    assert [pc.tree[uri] for uri in own] == [str(i) for i in range(count)]


def sessions(house, pc):
    return {one["id"]: one for one in house.good("GET", f"/devices/{pc.device}/sessions")["items"]}


def test_sessions_are_shown_while_they_run_and_after(house, pc):
    pc.session("A0")  # first contact is over
    house.good("POST", f"/devices/{pc.device}/commands", {"kind": "get", "target": "./DevDetail/SwV"})
    _, root = pc.post("A1", 1, PACKAGE_1)
    shown = sessions(house, pc)["A1"]
    assert (shown["state"], shown["messages"], shown["waiting"]) == ("running", 1, 1)
    assert shown["started"] <= shown["updated"]
    _, root = pc.post("A1", 2, pc.obey(root))
    shown = sessions(house, pc)["A1"]
    assert (shown["state"], shown["messages"], shown["waiting"]) == ("over", 2, 0)
    listed = house.cli("device", "sessions", pc.device).out
    assert "A1" in listed and "over" in listed


def test_R8_a_device_leaves_no_more_than_sixteen_sessions(house, pc):
    """Each keeps its answer for ten minutes, and a device may call them what it likes."""
    for i in range(30):
        _, root = pc.post(f"B{i}", 1, PACKAGE_1)
        assert pc.code(root) == 200
    shown = sessions(house, pc)
    assert len(shown) == 16 and "B29" in shown


def test_what_is_no_message_is_refused(house, pc):
    assert pc.post("9", 1, "", content_type="application/vnd.wap.wmlc")[0].status == 415
    assert pc.post("9", 1, "<Alert>")[0].status == 400
    assert pc.post("9", 1, "<a>" * 100000)[0].status == 400
    assert pc.post("9", 1, "x" * (600 * 1024))[0].status == 413
    def raw(header):
        body = ('<SyncML xmlns="SYNCML:SYNCML1.2"><SyncHdr><VerDTD>1.2</VerDTD><VerProto>DM/1.2</VerProto>'
                f"{header}</SyncHdr><SyncBody><Final/></SyncBody></SyncML>")  # fmt: skip
        return house.call("POST", pc.address, body.encode(), {"Content-Type": "application/vnd.syncml.dm+xml"},
                          pc.context).status  # fmt: skip

    given = ["<SessionID>9</SessionID>", "<MsgID>1</MsgID>", f"<Target><LocURI>{pc.address}</LocURI></Target>",
             f"<Source><LocURI>{pc.peer_id}</LocURI></Source>"]  # fmt: skip
    assert raw("".join(given)) == 200
    for i, one in enumerate(given):  # each of them once, no more and no less
        assert raw("".join(given + [one])) == 400
        assert raw("".join(given[:i] + given[i + 1:])) == 400
    assert raw("".join(given + ["<Cred><Data>x</Data></Cred>"] * 2)) == 400
    _, root = pc.post("9", 4, "")
    assert pc.code(root) == 400
    _, root = pc.post("9", 1, PACKAGE_1, context=house.tls_context())
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
    _, root = pc.post("20", 1, UNENROLMENT)
    assert pc.code(root) == 200
    assert house.good("GET", f"/devices/{pc.device}")["state"] == "unenrolled"
    assert all(c["state"] == "revoked" for c in house.certificates(device=pc.device))
