"""What the tests with strangers and cheats share: a house without rate limits, a fleet
of clients, and a watch over what a refusal may not change."""

import re
import time

import pytest
from conftest import house_end, house_make
from scep import Fleet

BAD_ALG, BAD_REQUEST, BAD_CERT_ID = "fail 0", "fail 2", "fail 4"


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    """Without rate limits: they have tests of their own."""
    made = house_make(tmp_path_factory)
    made.change_config(limits={"requests_per_second": 0, "connections_per_source": 512})
    made.start()
    yield made
    house_end(made)


@pytest.fixture(scope="module")
def fleet(house):
    for name in ("alice", "mallory", "second", "registry"):
        house.user(name)
    house.good("POST", "/profiles/scep", {
        "name": "second", "settings": {"certificate": "default"}})  # fmt: skip
    house.good("POST", "/profiles/certificate", {
        "name": "registry", "settings": {
            "issuer": "issuing", "validity": "P1D", "renewal_window": "PT1H",
            "subject": "CN={{user.name}},O={{organisation.name}}",
            "from_request": {"subject": "ignore"}, "key_usage": ["digital_signature"],
            "extended_key_usage": ["client_auth"], "protocols": ["scep"],
        }})  # fmt: skip
    house.good("POST", "/profiles/scep", {
        "name": "registry", "settings": {"certificate": "registry"}})  # fmt: skip
    house.good("POST", "/profiles/scep", {
        "name": "crls", "settings": {"certificate": "default", "get_crl": True}})  # fmt: skip
    for name in ("second", "registry"):
        house.good("PUT", f"/users/{name}/profiles/scep/{name}")
    made = Fleet(house)
    made.key("other")
    made.device("stranger")
    yield made
    made.close()


def grant(house, user="alice", profile="default", **members):
    """A challenge for the name that the messages of this file carry."""
    return house.challenge(user, profile, **{"subject": "CN=dev", **members})


class Watch:
    """What must not change, and the one trace that a refusal leaves."""

    def __init__(self, house):
        self.house = house
        self.pid = house.process.pid
        self.certificates = self.serials()
        self.challenges = self.states()
        self.refused = self.refusals()

    def says(self, why):
        """Does the log give this reason for the last message? A refusal may have another
        than the one that is tested. The line follows the answer."""
        end = time.monotonic() + 5
        while time.monotonic() < end:
            lines = [one for one in self.house.log_lines() if one.get("plugin") == "scep"]
            if lines and re.search(why, lines[-1]["message"]):
                return True
            time.sleep(0.05)
        return False

    def serials(self):
        return {(item["serial"], item["state"]) for item in self.house.certificates()}

    def states(self):
        items = self.house.good("GET", "/challenges?limit=1000")["items"]
        return {item["id"]: item["state"] for item in items}

    def refusals(self):
        """Entries of verified refusals, and the counts of all others."""
        entries = self.house.audit(action="enrol.refuse")
        counted = self.house.audit(action="request.refuse")
        return len(entries) + sum(entry["count"] for entry in counted)

    def unchanged(self, refused=1, but=(), why=None):
        assert why is None or self.says(why), self.house.log_lines()[-3:]
        assert self.serials() == self.certificates
        states = self.states()
        for one in but:
            states.pop(one), self.challenges.pop(one)
        assert states == self.challenges
        end = time.monotonic() + 10
        while self.refusals() < self.refused + refused and time.monotonic() < end:
            time.sleep(0.1)
        assert self.refusals() == self.refused + refused
        assert self.house.process.poll() is None and self.house.process.pid == self.pid


@pytest.fixture
def watch(house, fleet):
    return Watch(house)


def settle():
    """Counts of refusals reach the store once a second: those of this test are not to be
    taken for the next one's."""
    time.sleep(1.5)


def watch_again(watch):
    """After a test has made its challenges."""
    watch.__init__(watch.house)
