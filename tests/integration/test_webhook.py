"""Webhooks: real receivers over TLS and not, away, back, refusing, redirecting; killed in
between; and every event verified before it is believed."""

import json
import re
import threading
import time

import pytest
from conftest import free_ports, house_end, house_make, run
from webhook import Receiver, signature, verified
from windows import Computer

SECRET = "whsec_" + "bXkgc2VjcmV0IG9mIDMyIG9jdGV0cywgYWxsIG9mIGl0"
PLAIN = "a key of twenty-four characters and more"
DEVICE = "6F1D0A9C3B7E4E1FA2D45C8B90E3F7AA"


def secret_write(path, text):
    path.write_text(text + "\n")
    path.chmod(0o600)
    return f"file:{path}"


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    house = house_make(tmp_path_factory)
    folder = tmp_path_factory.mktemp("hooks")
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", folder / "tls.key", "-out", folder / "tls.pem", "-days", "2", "-subj", "/CN=localhost",
        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1")  # fmt: skip
    secure, plain, strange = free_ports(3)
    receivers = {
        "secure": Receiver(secure, SECRET, folder / "tls.pem", folder / "tls.key").open(),
        "plain": Receiver(plain, PLAIN).open(),
        "strange": Receiver(strange, PLAIN, folder / "tls.pem", folder / "tls.key").open(),
    }
    every = ["policy.changed", "device.activated", "certificate.issued", "certificate.revoked"]
    key = secret_write(folder / "key", PLAIN)
    house.change_config(
        plugins=[{"name": name} for name in ("scep", "discovery", "xcep", "wstep")],
        webhooks=[
            {"name": "secure", "url": f"https://localhost:{secure}/in", "events": every,
             "secret_source": secret_write(folder / "coded", SECRET), "ca_file": str(folder / "tls.pem")},
            {"name": "plain", "url": f"http://127.0.0.1:{plain}/in?from=ca", "secret_source": key},
            # No ca_file: the system knows nobody who signed this.
            {"name": "strange", "url": f"https://localhost:{strange}/in", "secret_source": key},
        ],
    )  # fmt: skip
    house.start()
    house.user("alice")
    house.good("POST", "/profiles/policy", {"name": "desk", "settings": {"items": []}})
    receivers["secure"].wait(1)  # the profile's own event is not the tests'
    house.folder = folder
    yield house, receivers
    house_end(house)
    for receiver in receivers.values():
        receiver.close()


def assign(house, on=True, user="alice"):
    answer = house.api("PUT" if on else "DELETE", f"/users/{user}/profiles/policy/desk")
    assert answer.status in (200, 204), answer.body


def deliveries(house, kind):
    text = house.call("GET", house.secure + "/metrics",
                      headers={"Authorization": f"Bearer {house.token}"}).body.decode()  # fmt: skip
    found = re.search(r'^sealwright_webhooks_total\{kind="%s"\} (\d+)' % kind, text, re.M)
    return int(found.group(1)) if found else 0


def test_events_come_signed_and_name_who_is_concerned(world, tmp_path):
    house, receivers = world
    secure = receivers["secure"]
    made = house.good("POST", "/activations", {"user": "alice"})
    before = len(secure.got)
    profile = house.good("GET", "/profiles/certificate/default")
    house.good("PATCH", "/profiles/certificate/default",
               {"settings": {**profile["settings"], "protocols": ["scep", "wstep"]}},
               headers={"If-Match": f'"{profile["version"]}"'})  # fmt: skip
    pc = Computer(house, tmp_path / "pc", DEVICE, "alice", made["password"])
    pc.discover(["OnPremise"])
    pc.enrol(pc.by_password())
    (certificate,) = house.certificates(user="alice")
    assign(house)
    house.good("POST", f"/certificates/{certificate['serial']}/revoke", {"reason": "superseded"})
    events = secure.wait(before + 4)[before:]
    assert [event["type"] for event in events] == [
        "certificate.issued", "device.activated", "policy.changed", "certificate.revoked"]  # fmt: skip
    device = certificate["device"]
    assert events[0]["data"]["certificate"] == certificate["serial"]
    assert events[1]["data"] == {"device": device, "user": "alice", "protocol": "wstep",
                                 "certificate": certificate["serial"]}  # fmt: skip
    assert events[2]["data"] == {"scope": "user:alice", "devices": [device], "complete": True}
    assert events[3]["data"]["reason"] == "superseded"
    for path, headers, body in secure.requests:
        assert path == "/in" and headers["content-type"] == "application/json"
        assert verified(SECRET, headers, body)
        assert made["password"].encode() not in body and b"activation:" not in body
    # Only what it asked for, by its own key, in the URL's own query.
    plain = receivers["plain"].wait(1)
    assert {event["type"] for event in plain} == {"policy.changed"}
    assert all(path == "/in?from=ca" and verified(PLAIN, headers, body)
               for path, headers, body in receivers["plain"].requests)  # fmt: skip


def test_a_receiver_can_tell_what_is_not_ours(world):
    house, receivers = world
    assign(house)
    path, headers, body = receivers["secure"].wait(1) and receivers["secure"].requests[-1]
    assert verified(SECRET, headers, body)
    assert not verified(SECRET, headers, body.replace(b"alice", b"alicf"))
    assert not verified(PLAIN, headers, body)
    assert not verified(SECRET, {**headers, "webhook-id": "0" * 32}, body)
    assert not verified(SECRET, {**headers, "webhook-timestamp": str(int(headers["webhook-timestamp"]) + 1)}, body)
    assert not verified(SECRET, headers, body, time.time() + 3600), "replayed"


def test_a_receiver_that_nobody_vouches_for_is_told_nothing(world):
    house, receivers = world
    assign(house)
    receivers["plain"].wait(1)
    end = time.monotonic() + 30  # its turn comes last
    while deliveries(house, "deferred") == 0:
        assert time.monotonic() < end
        time.sleep(0.2)
    assert receivers["strange"].requests == []
    assert "event deferred" in house.words()


def test_a_receiver_that_was_away_gets_everything_in_order_through_a_kill(world):
    house, receivers = world
    secure = receivers["secure"]
    before = len(secure.wait(1))
    time.sleep(1.5)  # what is on its way comes
    before = len(secure.got)
    secure.close()
    for i in range(6):
        assign(house, on=i % 2 == 0)
    time.sleep(2.5)
    house.kill()
    house.start()
    assign(house)
    secure.open()
    events = secure.wait(before + 7)[before:]
    assert [event["type"] for event in events] == ["policy.changed"] * 7
    stamps = [event["timestamp"] for event in events]
    assert stamps == sorted(stamps)
    assert len({event["id"] for event in events}) == 7


def test_killed_between_post_and_answer_the_event_comes_again_under_its_id(world):
    house, receivers = world
    secure = receivers["secure"]
    time.sleep(1.5)
    before, seen = len(secure.requests), threading.Event()

    def hang(request):
        seen.set()
        time.sleep(3)
        return 204

    secure.answer = hang
    assign(house, on=False)
    assert seen.wait(30)
    house.kill()
    secure.answer = lambda request: 204
    house.start()
    end = time.monotonic() + 60
    while len(secure.requests) < before + 2:
        assert time.monotonic() < end
        time.sleep(0.1)
    first, again = secure.requests[before : before + 2]
    assert first[1]["webhook-id"] == again[1]["webhook-id"] and first[2] == again[2]
    assert verified(SECRET, again[1], again[2])


def test_refusals_and_redirects_are_tried_again_and_not_followed(world):
    house, receivers = world
    secure, plain = receivers["secure"], receivers["plain"]
    time.sleep(1.5)
    before, elsewhere = len(secure.got), len(plain.requests)
    answers = [503, (302, {"Location": f"http://127.0.0.1:{plain.port}/stolen"})]
    secure.answer = lambda request: answers.pop(0) if answers else 204
    start = time.monotonic()
    assign(house)
    events = secure.wait(before + 1)
    assert time.monotonic() - start > 4, "at once"
    assert len(events) == before + 1 and answers == []
    assert [path for path, *_ in plain.requests[elsewhere:] if "stolen" in path] == []


def test_a_slow_receiver_does_not_keep_the_others_waiting(world):
    house, receivers = world
    secure, plain = receivers["secure"], receivers["plain"]
    assign(house)
    time.sleep(2.5)
    before, slow = len(plain.got), len(secure.got)
    secure.answer = lambda request: time.sleep(6) or 204
    try:
        start = time.monotonic()
        for i in range(8):
            assign(house, on=i % 2 == 1)
        plain.wait(before + 8)
        assert time.monotonic() - start < 40
        assert len(secure.got) < slow + 8, "it was not slow"
    finally:
        secure.answer = lambda request: 204
    assert len(secure.wait(slow + 8)) == slow + 8


def test_a_secret_that_changes_is_used_at_once(world):
    house, receivers = world
    before = len(receivers["plain"].got)
    secret_write(house.folder / "key", "another key of more than 24 characters")
    assign(house, on=False)
    receivers["plain"].wait(before + 1)
    path, headers, body = receivers["plain"].requests[-1]
    assert verified("another key of more than 24 characters", headers, body)
    assert signature(PLAIN, headers["webhook-id"], headers["webhook-timestamp"], body) != headers["webhook-signature"]


def test_check_says_what_is_wrong_with_a_webhook(world):
    house, _ = world
    good = run_check(house)
    assert "webhooks" in good and "the configuration holds" in good
    key = house.folder / "key"
    key.chmod(0o644)
    assert "key" in run_check(house, good=False)
    secret_write(key, "short")
    assert "fewer than 24" in run_check(house, good=False)
    secret_write(key, PLAIN)
    config = json.loads(house.config_path.read_text())
    config["webhooks"][1]["url"] = "http://hooks.example.com/"
    house.config_path.write_text(json.dumps(config))
    assert "webhooks/1/url: must be an https URL" in run_check(house, good=False)


def run_check(house, good=True):
    done = house.cli("check", check=False)
    assert (done.returncode == 0) == good, done.stdout + done.stderr
    return (done.stdout + done.stderr).decode()
