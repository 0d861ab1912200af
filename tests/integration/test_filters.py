"""Each filter of each list: what comes is what a reader of the whole list would pick."""

import pytest
from conftest import house_end, house_make
from scep import Fleet, serial_of

# Their lists want a mail server, or a managed device.
ELSEWHERE = {("/mail", "user"), ("/mail", "state"), ("/mail", "template"),
             ("/devices/{id}/commands", "state")}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(limits={"requests_per_second": 0})
    made.start()
    fill(made)
    yield made
    house_end(made)


def enrol(house, user, profile):
    fleet = Fleet(house, profile)
    made = house.challenge(user, profile, subject="CN=dev")
    reply = fleet.post(fleet.fresh(made["challenge"]))
    fleet.close()
    return reply


def fill(house):
    """Two of everything, and no two alike."""
    house.user("alice", display_name="Alice")
    house.user("bob")
    house.user("carol")
    house.good("POST", "/groups", {"name": "staff"})
    house.good("PUT", "/groups/staff/members/alice")
    settings = house.good("GET", "/profiles/certificate/default")["settings"]
    for name, change in (("second", {"validity": "P90D"}), ("waits", {"approvals": 1})):
        house.good("POST", "/profiles/certificate", {
            "name": name, "settings": {**settings, **change}})  # fmt: skip
        house.good("POST", "/profiles/scep", {"name": name, "settings": {"certificate": name}})
    house.good("PUT", "/users/bob/profiles/scep/second")
    house.good("PUT", "/users/carol/profiles/scep/waits")
    assert enrol(house, "alice", "default").word == "issued"
    revoked = serial_of(enrol(house, "bob", "second").certificate)
    house.good("POST", f"/certificates/{revoked}/revoke", {"reason": "superseded"})
    house.good("POST", "/devices", {"owner": "bob", "kind": "router"})
    for _ in range(2):
        assert enrol(house, "carol", "waits").word == "pending"
    waiting = house.good("GET", "/requests")["items"]
    house.good("POST", f"/requests/{waiting[0]['id']}/refuse", {"reason": "no"})
    house.good("DELETE", f"/challenges/{house.challenge('alice')['id']}")
    house.challenge("bob", "second")
    house.good("POST", "/admins", {"name": "helper", "roles": ["auditor"]})
    house.good("POST", "/tokens", {"admin": "helper"})
    for user in ("alice", "bob"):
        made = house.good("POST", "/activations", {"user": user})
    house.good("DELETE", f"/activations/{made['id']}")
    tag = house.api("GET", "/users/carol").headers["ETag"]
    house.good("PATCH", "/users/carol", {"state": "disabled"}, headers={"If-Match": tag})


def equal(member):
    return lambda item, value: item[member] == value


# (list, parameter): the member that gives values, and who is to come with such a value.
SAME = ["/certificates user device profile issuer state protocol spki_sha256",
        "/audit action actor object", "/devices owner kind state", "/challenges user state",
        "/requests state", "/tokens admin", "/users email state", "/activations user state"]  # fmt: skip
CASES = {
    (words.split()[0], member): (member, equal(member))
    for words in SAME for member in words.split()[1:]
}  # fmt: skip
CASES |= {
    ("/certificates", "expires_before"): ("not_after", lambda item, v: item["not_after"] < v),
    ("/certificates", "q"): ("serial", lambda item, v: item["serial"].startswith(v)),
    ("/audit", "since"): ("time", lambda item, v: item["time"] >= v),
    ("/audit", "until"): ("time", lambda item, v: item["time"] < v),
    ("/users", "group"): ("groups", lambda item, v: v in item["groups"]),
    ("/users", "q"): ("name", lambda item, v: item["name"].startswith(v)),
}


def key_of(item):
    return next(item[name] for name in ("serial", "id", "number", "name") if name in item)


@pytest.mark.parametrize("path, parameter", CASES, ids=lambda word: word.strip("/"))
def test_a_filter_picks_what_a_reader_would(house, path, parameter):
    member, picks = CASES[path, parameter]
    whole = house.good("GET", f"{path}?limit=1000")["items"]
    values = {value for item in whole
              for value in (item[member] if isinstance(item[member], list) else [item[member]])
              if value}  # fmt: skip
    assert values, f"no {member} in {path}"
    divides = False
    for value in values:
        wanted = {key_of(item) for item in whole if picks(item, value)}
        escaped = value.replace("+", "%2B")
        found = house.good("GET", f"{path}?limit=1000&{parameter}={escaped}")["items"]
        assert {key_of(item) for item in found} == wanted, (path, parameter, value)
        divides = divides or 0 < len(wanted) < len(whole)
    assert divides, "a filter that picks all or nothing proves nothing"


def test_every_filter_of_the_description_is_tried(house):
    described = {
        (path, parameter["name"])
        for path, operations in house.good("GET", "/openapi.json")["paths"].items()
        for parameter in operations.get("get", {}).get("parameters", [])
        if parameter["in"] == "query" and parameter["name"] not in ("limit", "after")
    }
    assert described - ELSEWHERE == set(CASES)
