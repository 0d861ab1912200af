"""SIGKILL at random moments while devices of every kind enrol at once (SECURITY I1, S4): what
was answered is on record, a secret of any kind gives one certificate, and the audit log stays
whole."""

import concurrent.futures
import http.client
import json
import random
import threading
import time

import pytest
from activate_client import issue
from activation import Device, csr_make, unb64
from conftest import IS_LONG, house_end, house_make
from cryptography import x509
from scep import Fleet
from windows import Computer

ROUNDS = 40 if IS_LONG else 3
SECRET = "k7dp-93mt-qxwe"
LIMITS = {"hellos_per_source": 100000, "hellos_per_name": 100000, "open_per_source": 10000,
          "hellos_per_second": 10000, "failures_per_name": 100000}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(
        plugins=[{"name": name} for name in
                 ("scep", "discovery", "xcep", "wstep", "syncml", "activation")],
        limits={"requests_per_second": 0, "connections_per_source": 512}, activation=LIMITS,
    )  # fmt: skip
    made.start()
    profile = made.good("GET", "/profiles/certificate/default")
    made.good("PATCH", "/profiles/certificate/default",
              {"settings": {**profile["settings"], "protocols": ["scep", "wstep"]}},
              headers={"If-Match": f'"{profile["version"]}"'})
    yield made
    house_end(made)


class Attempt:
    """One device's message, sent again until it is answered, and the certificates that it was
    ever given."""

    may_lose = False

    def __init__(self, user):
        self.user, self.given = user, set()

    def send(self):
        """A certificate (DER), None: refused; OSError, HTTPException or Later."""
        raise NotImplementedError

    def run(self):
        given = self.send()
        if given:
            self.given.add(given)
        return given


class Later(Exception):
    pass


class Scep(Attempt):
    def __init__(self, house, fleet, user, challenge):
        super().__init__(user)
        self.fleet, self.body = fleet, fleet.fresh(challenge)

    def send(self):
        reply = self.fleet.post(self.body)
        if reply.http == 503:
            raise Later
        return reply.certificate


class Windows(Attempt):
    def __init__(self, house, folder, number, user, password):
        super().__init__(user)
        self.pc = Computer(house, folder, f"{number:032X}", user, password)
        self.pc.discover(["OnPremise"])
        self.body = self.pc.request(self.pc.by_password())

    def send(self):
        status, root = self.pc.soap(self.pc.services["EnrollmentServiceUrl"], self.body)
        if status == 200:
            self.pc.enrol("", self.body)
            return self.pc.der
        code, _ = self.pc.fault(root)
        if code == "s:EnrollmentServer":
            raise Later
        return None


class Activation(Attempt):
    """Its answer is kept with the certificate, and the session's keys end with their use: what a kill
    leaves half done is given up, not taken up again, and a new run finds the password as it is. What
    was issued, the same message gets."""

    may_lose = True  # what was not issued yet

    def __init__(self, house, user, password):
        super().__init__(user)
        self.device = Device(house, user, password)
        self.prepare()

    def prepare(self):
        answer = self.device.hello()
        assert answer.status == 200, answer.body
        self.device.exchange.take_reply(answer.json)
        self.message = json.dumps(self.device.exchange.enroll(csr_make()[1])).encode()
        self.tries = 3

    def send(self):
        answer = self.device.post("/activation/v1/enroll", self.message)
        if answer.status == 503 and self.tries > 1:
            self.tries -= 1
            raise Later(answer.body)
        if answer.status in (410, 503):
            self.prepare()
            raise Later(answer.body)
        if answer.status != 200:
            assert (answer.status, answer.json["error"]) == (403, "auth_failed")
            return None
        return unb64(self.device.exchange.open(answer.json)["cert"])


def one(attempt, gate):
    gate.wait(timeout=60)
    try:
        return attempt.run()
    except (OSError, http.client.HTTPException, Later):
        return None


def finish(attempt, seconds=40):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            return attempt.run()
        except Later as later:
            why = later
            time.sleep(0.3)
    raise AssertionError(f"503 for ever: {attempt.user} {why}")


def serial(der):
    return f"{x509.load_der_x509_certificate(der).serial_number:032x}"


def attempts_make(house, fleet, folder, number):
    """Pairs that share a secret, each of a user of its own: one of the two is to win."""
    made = {}
    for kind in ("scep", "windows", "activation"):
        user = f"{kind}{number}"
        house.user(user, work_space=user)
        if kind == "scep":
            secret = house.challenge(user, subject="CN=dev")["challenge"]
        else:
            secret = issue(house, user)["password"]
        for side in range(2):
            if kind == "scep":
                attempt = Scep(house, fleet, user, secret)
            elif kind == "windows":
                attempt = Windows(house, folder / f"{user}-{side}", 2 * number + side, user, secret)
            else:
                attempt = Activation(house, user, secret)
            made.setdefault(user, []).append(attempt)
    return made


def test_I1_S4_kills_while_devices_of_every_kind_enrol(house, tmp_path):
    fleet, dice = Fleet(house), random.Random()
    all_given, lost = set(), 0
    for number in range(ROUNDS):
        pairs = attempts_make(house, fleet, tmp_path, number)
        flat = [attempt for pair in pairs.values() for attempt in pair]
        gate = threading.Barrier(len(flat) + 1)
        with concurrent.futures.ThreadPoolExecutor(len(flat)) as pool:
            futures = [pool.submit(one, attempt, gate) for attempt in flat]
            gate.wait(timeout=60)
            time.sleep(dice.uniform(0, 1.2) * number / ROUNDS)  # the first at once
            house.kill()
            lost += [future.result(timeout=120) for future in futures].count(None)
        house.start()
        for user, pair in pairs.items():
            for attempt in pair:
                finish(attempt)
            given = {serial(der) for attempt in pair for der in attempt.given}
            recorded = {item["serial"] for item in house.certificates(user=user)
                        if item["state"] not in ("abandoned", "intent")}
            assert len(recorded) <= 1 and given <= recorded, (user, given, recorded)
            assert given or (pair[0].may_lose and not recorded), (user, recorded)
            all_given |= given
    assert lost > 0, "no kill ever hit a request"
    issued = {item["serial"] for item in house.certificates() if item["state"] == "issued"}
    assert all_given <= issued
    said = [entry["object"] for entry in house.audit_leaves() if entry["action"] == "certificate.issue"]
    assert len(said) == len(set(said))
    assert {f"certificate:{one}" for one in all_given} <= set(said)
    findings = json.loads(house.cli("health-check", "--json", check=False).out)
    (audit,) = [one for one in findings["findings"] if one["check"] == "audit"]
    assert audit["severity"] == "ok", audit
    fleet.close()
