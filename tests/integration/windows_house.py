"""A house for Windows devices, with its users and profiles, and the computers that the tests
enrol in it."""

import itertools
import time

import pytest
from conftest import house_end, house_make
from windows import Computer

SECRET = "k7dp-93mt-qxwe"
USERS = ("alice", "bob", "carol", "dave")
numbers = itertools.count(0x6F1D0A9C3B7E4E1FA2D45C8B90E3F700)


def set_profile(house, kind, name, **members):
    profile = house.good("GET", f"/profiles/{kind}/{name}")
    return house.good("PATCH", f"/profiles/{kind}/{name}", {"settings": {**profile["settings"], **members}},
                      headers={"If-Match": f'"{profile["version"]}"'})  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(plugins=[{"name": name} for name in
                                ("scep", "discovery", "xcep", "wstep", "syncml")])  # fmt: skip
    made.start()
    for user in USERS:
        made.user(user)
        made.good("PUT", f"/users/{user}/password", {"password": SECRET})
    # Ten days and as many of them a window: what enrols here may renew at once.
    set_profile(made, "certificate", "default", protocols=["scep", "wstep"], validity="P10D",
                renewal_window="P10D")  # fmt: skip
    made.good("POST", "/profiles/certificate", {"name": "wifi", "settings": {
        "issuer": "issuing", "subject": "CN={{user.name}},O={{organisation.name}}",
        "extended_key_usage": ["client_auth"], "protocols": ["scep"]}})  # fmt: skip
    set_profile(made, "scep", "default", certificate="wifi")
    assert made.good("GET", "/organisation")["base_url"] == made.secure
    yield made
    house_end(made)


@pytest.fixture
def computer(house, tmp_path):
    return Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "alice", SECRET)


@pytest.fixture(scope="module")
def enrolled(house, tmp_path_factory):
    """One PC for all that only looks."""
    pc = Computer(house, tmp_path_factory.mktemp("pc"), f"{next(numbers):032X}", "bob", SECRET)
    pc.discover(["OnPremise"])
    pc.policies(pc.by_password())
    pc.enrol(pc.by_password())
    pc.session("0")
    return pc


def refusals(house):
    """Entries of verified refusals, and the counts of all others."""
    return len(house.audit(action="enrol.refuse")) + sum(
        entry["count"] for entry in house.audit(action="request.refuse"))


def audited(house, before):
    """A refusal is in the audit; counts reach the store once a second."""
    end = time.monotonic() + 10
    while refusals(house) <= before:
        assert time.monotonic() < end, "not in the audit"
        time.sleep(0.1)


def refused(house, pc, body, code, error=None, url=None, context=None):
    """A fault, an entry or a count, and no certificate."""
    before, counted = len(house.certificates()), refusals(house)
    status, root = pc.soap(url or pc.services["EnrollmentServiceUrl"], body, context)
    assert (status, *pc.fault(root)) == (500, code, error), house.words()[-800:]
    assert len(house.certificates()) == before
    audited(house, counted)
