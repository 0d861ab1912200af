"""SIGKILL at every moment of an enrolment (SECURITY I1, V1): never a certificate outside
the record, never two for one secret, and whoever asks again gets what is his."""

import concurrent.futures
import http.client
import json
import random
import re
import ssl
import threading
import time

import pytest
from conftest import BUILD, IS_LONG, house_end, house_make, run
from scep import Fleet, serial_of

ROUNDS = 60 if IS_LONG else 15
WIDTH = 8
FAULT = BUILD / "tests/p11fault.so"


class Record:
    """What the clients were given, and what must be true of it for ever."""

    def __init__(self, house):
        self.house = house
        self.given = {}  # serial -> certificate
        self.owners = {}  # challenge id -> serial
        self.crl_number = 0

    def give(self, made, reply):
        serial = serial_of(reply.certificate)
        assert self.given.setdefault(serial, reply.certificate) == reply.certificate
        assert self.owners.setdefault(made["id"], serial) == serial, "two for one secret"

    def read_crl(self):
        """Its number never falls; the number."""
        crl = self.house.get("/crl/issuing.crl")
        assert crl.status == 200
        done = run("openssl", "crl", "-inform", "DER", "-noout", "-crlnumber",
                   stdin=crl.body)  # fmt: skip
        number = int(re.search("0x([0-9A-Fa-f]+)", done.out).group(1), 16)
        assert number >= self.crl_number
        self.crl_number = number
        return number

    def check(self):
        recorded = {item["serial"]: item for item in self.house.certificates()}
        for serial in self.given:
            assert recorded[serial]["state"] in ("issued", "revoked"), recorded[serial]
        for challenge, serial in self.owners.items():
            state = self.house.good("GET", f"/challenges/{challenge}")
            assert (state["state"], state["serial"]) == ("used", serial)
        issued = [one for one in recorded.values() if one["state"] in ("issued", "revoked")]
        assert len({one["spki_sha256"] for one in issued}) == len(issued)
        self.check_audit()
        return recorded

    def check_audit(self):
        """Leaves without a gap, an entry for each certificate, none twice."""
        entries = self.house.audit_leaves()
        said = [e["object"] for e in entries if e["action"] == "certificate.issue"]
        assert len(said) == len(set(said))
        for serial in self.given:
            assert f"certificate:{serial}" in said


@pytest.fixture
def broken(tmp_path_factory):
    """A house whose token kills it on command: broken.arm("C_Sign:kill-before:0:1")."""
    house = house_make(tmp_path_factory)
    control = house.data / "fault"
    control.write_text("")
    token = json.loads(house.config_path.read_text())["tokens"][0]
    token["module"] = str(FAULT)
    token["environment"].append(f"SEALWRIGHT_FAULT_CONTROL={control}")
    house.change_config(
        tokens=[token], limits={"requests_per_second": 0, "connections_per_source": 512}
    )
    house.arm = lambda *words: control.write_text("clear\n" + "".join(w + "\n" for w in words))
    house.start()
    house.user("alice")
    yield house
    house.arm()
    house_end(house)


def grant(house):
    return house.challenge("alice", subject="CN=dev")


def try_post(fleet, body):
    try:
        return fleet.post(body)
    except (OSError, http.client.HTTPException):
        return None


def post_until_answered(fleet, body, seconds=30):
    """503 means later: an honest client comes again."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reply = fleet.post(body)
        if reply.http != 503:
            return reply
        time.sleep(0.3)
    raise AssertionError("503 for ever")


# ---- At each point between reserve, sign, complete and answer ----


@pytest.mark.parametrize("point, state", [
    ("C_Decrypt:kill-before:0:1", None),
    ("C_Decrypt:kill-after:0:1", None),  # before the intent
    ("C_Sign:kill-before:0:1", "intent"),  # intent durable, not signed
    ("C_Sign:kill-after:0:1", "intent"),  # signed, not recorded
    ("C_Sign:kill-before:1:1", "issued"),  # recorded, answer not signed
    ("C_Sign:kill-after:1:1", "issued"),  # answer signed, not sent
])  # fmt: skip
def test_I1_a_kill_between_two_steps(broken, point, state):
    fleet, record = Fleet(broken), Record(broken)
    made = grant(broken)
    body = fleet.fresh(made["challenge"])
    rival = fleet.fresh(made["challenge"])
    broken.arm(point)
    assert try_post(fleet, body) is None
    assert broken.process.wait(timeout=30) == -9
    broken.kill()
    broken.arm()
    broken.start()
    kept = [(item["serial"], item["state"]) for item in broken.certificates(user="alice")]
    assert [one[1] for one in kept] == ([state] if state else [])
    if state:
        # The secret is claimed: another key gets nothing for it.
        assert fleet.post(rival).word == "fail 2"
    reply = post_until_answered(fleet, body)
    assert reply.word == "issued"
    record.give(made, reply)
    if state:
        assert serial_of(reply.certificate) == kept[0][0], "the intent's own TBS"
    assert post_until_answered(fleet, body).certificate == reply.certificate
    assert fleet.post(rival).word == "fail 2"
    record.check()
    assert len(broken.certificates(user="alice")) == 1
    verify(broken, reply)
    fleet.close()


def verify(house, reply):
    run("openssl", "verify", "-x509_strict", "-CAfile", house.data / "root.pem",
        "-untrusted", house.data / "chain.pem",
        stdin=ssl.DER_cert_to_PEM_cert(reply.certificate).encode())  # fmt: skip


def test_I1_a_signature_with_a_wrong_bit_never_leaves(broken):
    fleet = Fleet(broken)
    body = fleet.fresh(grant(broken)["challenge"])
    broken.arm("C_Sign:flip:0:-1")
    assert fleet.post(body).http == 503
    assert [item["state"] for item in broken.certificates(user="alice")] == ["intent"]
    # The next one is good again: the same intent, signed anew.
    broken.arm("C_Sign:flip:0:1")
    reply = post_until_answered(fleet, body)
    assert reply.word == "issued"
    assert [item["state"] for item in broken.certificates(user="alice")] == ["issued"]
    verify(broken, reply)
    fleet.close()


# ---- At random moments, under load ----


def enrol_all(fleet, bodies):
    """All at once; what came back before the end, None for the rest."""
    gate = threading.Barrier(len(bodies) + 1)

    def one(body):
        gate.wait(timeout=60)
        return try_post(fleet, body)

    pool = concurrent.futures.ThreadPoolExecutor(len(bodies))
    futures = [pool.submit(one, body) for body in bodies]
    gate.wait(timeout=60)
    return pool, futures


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(
        limits={"requests_per_second": 0, "connections_per_source": 512},
        crl_check_seconds=1,
    )
    made.start()
    made.user("alice")
    yield made
    house_end(made)


def test_I1_V1_kills_at_random_moments_under_load(house):
    fleet, record = Fleet(house), Record(house)
    dice = random.Random()
    last_crl = record.read_crl()
    interrupted = 0
    for number in range(ROUNDS):
        # Two clients with one secret among them in every round.
        grants = [grant(house) for _ in range(WIDTH - 1)]
        grants.append(grants[0])
        bodies = [fleet.fresh(made["challenge"]) for made in grants]
        if record.given:
            serial = list(record.given)[-1]
            house.api("POST", f"/certificates/{list(record.given)[-1]}/revoke", {"reason": "superseded"})
        pool, futures = enrol_all(fleet, bodies)
        time.sleep(dice.uniform(0, 0.5) * number / ROUNDS)  # the first at once
        house.kill()
        replies = [future.result(timeout=60) for future in futures]
        pool.shutdown()
        interrupted += replies.count(None)
        house.start()
        for made, body, before in zip(grants, bodies, replies):
            if before and before.word == "issued":
                record.give(made, before)
        for made, body, before in zip(grants, bodies, replies):
            reply = post_until_answered(fleet, body)
            if before and before.word == "issued":
                assert reply.certificate == before.certificate
            if reply.word == "issued":
                record.give(made, reply)
            else:
                assert made is grants[0] and reply.word == "fail 2", (number, reply.word)
        assert all(made["id"] in record.owners for made in grants)
        record.read_crl()
    # Each secret has one certificate, and nobody was given one that is not recorded.
    assert len(record.given) == ROUNDS * (WIDTH - 1)
    assert interrupted > 0, "no kill ever hit a request"
    recorded = record.check()
    assert {one["state"] for one in recorded.values()} <= {"issued", "revoked", "abandoned"}
    house.api("POST", f"/certificates/{list(record.given)[-1]}/revoke", {"reason": "superseded"})
    end = time.monotonic() + 20
    while record.read_crl() == last_crl and time.monotonic() < end:
        time.sleep(0.5)
    assert record.crl_number > last_crl
    # A clean stop and start keep all of it, too.
    house.restart()
    record.check()
    record.read_crl()
    fleet.close()
