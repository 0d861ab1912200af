"""Users of a real directory: synced page by page over TLS, disabled with it, logged in
by it, and left alone when it answers wrongly or not at all."""

import concurrent.futures
import json
import os
import socket
import time

import pytest
import ldap_hostile
from conftest import house_end, house_make
from scep import Fleet
from slapd import BASE, PAGE, Slapd, certificate
from test_windows_discovery import log_in

SECRET = "right horse 17"


@pytest.fixture
def slapd(tmp_path):
    made = Slapd(tmp_path / "slapd")
    made.start().fill()
    yield made
    made.end()


@pytest.fixture
def house(tmp_path_factory, slapd):
    """Not started: each test says how its directory is configured."""
    made = house_make(tmp_path_factory)
    made.change_config(limits={"requests_per_second": 0})
    yield made
    house_end(made)


def start(house, slapd, **members):
    house.change_config(directory=slapd.config(**members))
    return house.start()


def sync(house, force=False, dry_run=False):
    path = "/directory/sync" + ("?dry_run=true" if dry_run else "")
    return house.good("POST", path, {"force": force})


def results(answer):
    return {item["name"]: item["result"] for item in answer["items"]}


def fails(house, status, words, path="/directory/sync", force=False):
    answer = house.api("POST", path, {"force": force})
    assert answer.status == status, (answer.status, answer.body)
    if words:
        assert words in answer.json["detail"], answer.body


def test_users_come_page_by_page_and_a_second_sync_changes_nothing(house, slapd):
    names = [f"user{i}" for i in range(3 * PAGE + 1)]
    for name in names:
        slapd.person(name)
    start(house, slapd)
    told = sync(house, dry_run=True)
    assert told["counts"]["created"] == len(names) and told["dry_run"]
    assert house.good("GET", "/users")["items"] == []
    told = sync(house)
    assert results(told) == {name: "created" for name in names}
    user = house.good("GET", "/users/user3")
    assert user["email"] == "user3@example.com"
    assert user["display_name"] == "User3 Doe"
    assert (user["source"], user["state"]) == ("ldap", "active")
    created = house.audit(action="user.create")
    assert {entry["actor"] for entry in created} == {house.audit(action="directory.sync")[0]["actor"]}
    assert len(created) == len(names)
    told = sync(house)
    assert set(results(told).values()) == {"unchanged"}
    assert len(house.audit(action="directory.sync")) == 1
    state = house.good("GET", "/directory")
    assert state["outcome"] == "ok" and state["counts"]["unchanged"] == len(names)
    assert state["server"] == "127.0.0.1"


def test_a_long_answer_is_cut_so_that_it_can_be_kept_for_a_repeat(house, slapd):
    """As the command asks: with an Idempotency-Key, whose answer is kept."""
    count, long = 3800, "x" * 190
    people = [f"dn: uid=u{i}+cn={long}{i},ou=people,{BASE}\nobjectClass: inetOrgPerson\n"
              f"uid: u{i}\ncn: {long}{i}\nsn: Doe\nmail: u{i}@example.com\n"
              for i in range(count)]  # fmt: skip
    slapd.add("\n".join(people))
    start(house, slapd, attributes={"display_name": "sn"})
    answer = house.api("POST", "/directory/sync", {"force": False},
                       headers={"Idempotency-Key": "long"})  # fmt: skip
    assert answer.status == 200, answer.body[:500]
    told = answer.json
    assert told["counts"]["created"] == count
    assert told["truncated"] and 500 < len(told["items"]) < count
    again = house.api("POST", "/directory/sync", {"force": False},
                      headers={"Idempotency-Key": "long"})  # fmt: skip
    assert again.json == told and again.headers["Idempotent-Replayed"] == "true"


def test_changes_follow_and_what_the_directory_says_cannot_be_edited_here(house, slapd):
    slapd.person("alice", departmentNumber="4711", title="CTO")
    start(house, slapd, attributes={"work_space": "departmentNumber", "more": {"title": "title"}})
    sync(house)
    user = house.good("GET", "/users/alice")
    assert user["work_space"] == "4711" and user["attributes"] == {"title": "CTO"}
    slapd.modify(f"dn: uid=alice,ou=people,{BASE}\nchangetype: modify\nreplace: mail\n"
                 "mail: a.doe@example.com\n-\ndelete: title\n")  # fmt: skip
    told = sync(house)
    assert told["items"][0]["changed"] == ["email", "attributes"], told
    user = house.good("GET", "/users/alice")
    assert user["email"] == "a.doe@example.com" and user["attributes"] == {}
    for change in ({"email": "x@example.com"}, {"display_name": "X"}, {"work_space": None},
                   {"attributes": {"title": "CEO"}}):  # fmt: skip
        answer = house.api("PATCH", "/users/alice", change, {"If-Match": "*"})
        assert answer.status == 403, (change, answer.body)
    answer = house.api("PATCH", "/users/alice", {"attributes": {"note": "ours"}}, {"If-Match": "*"})
    assert answer.status == 200, answer.body
    assert results(sync(house)) == {"alice": "unchanged"}
    assert house.good("GET", "/users/alice")["attributes"] == {"note": "ours"}
    answer = house.api("PUT", "/users/alice/password", {"password": "k7dp-93mt-qxwe"})
    assert answer.status == 403, answer.body
    assert house.api("DELETE", "/users/alice/password").status == 404


def test_A5_who_is_disabled_or_gone_is_disabled_here_and_loses_certificates(house, slapd, tmp_path):
    for name in ("alice", "bob", "carol"):
        slapd.person(name)
    start(house, slapd)
    sync(house)
    fleet = Fleet(house)
    for name in ("alice", "bob"):
        fleet.device(name)
        fleet.enrol(name, user=name)
    fleet.close()
    slapd.modify(f"dn: uid=alice,ou=people,{BASE}\nchangetype: modify\n"
                 "add: employeeType\nemployeeType: disabled\n")  # fmt: skip
    assert results(sync(house))["alice"] == "disabled"
    assert house.good("GET", "/users/alice")["state"] == "disabled"
    states = {one["user"]: one["state"] for one in house.certificates() if one["user"]}
    assert states == {"alice": "revoked", "bob": "issued"}
    answer = house.api("PATCH", "/users/alice", {"state": "active"}, {"If-Match": "*"})
    assert answer.status == 403, answer.body
    slapd.delete(f"uid=bob,ou=people,{BASE}")
    told = sync(house)
    assert results(told)["bob"] == "disabled"
    assert "no longer" in [i["reason"] for i in told["items"] if i["name"] == "bob"][0]
    assert {one["state"] for one in house.certificates(user="bob")} == {"revoked"}
    # Another bob is another person.
    slapd.person("bob")
    told = sync(house)
    assert results(told)["bob"] == "refused", told
    assert house.good("GET", "/users/bob")["state"] == "disabled"
    # Enabled there, enabled here; but not when people here disabled the user.
    slapd.modify(f"dn: uid=alice,ou=people,{BASE}\nchangetype: modify\ndelete: employeeType\n")
    assert results(sync(house))["alice"] == "changed"
    assert house.good("GET", "/users/alice")["state"] == "active"
    house.good("PATCH", "/users/alice", {"state": "disabled"}, headers={"If-Match": "*"})
    assert results(sync(house))["alice"] == "unchanged"
    assert house.good("GET", "/users/alice")["state"] == "disabled"


def test_a_sync_that_would_disable_too_many_is_refused(house, slapd):
    for i in range(6):
        slapd.person(f"user{i}")
    start(house, slapd)
    sync(house)
    for i in range(2):
        slapd.delete(f"uid=user{i},ou=people,{BASE}")
    fails(house, 403, "2 of 6 users would be disabled")
    told = sync(house, dry_run=True)
    assert told["outcome"] == "forbidden" and told["counts"]["disabled"] == 2
    assert {one["state"] for one in house.good("GET", "/users")["items"]} == {"active"}
    refused = house.audit(action="directory.sync")[0]
    assert refused["outcome"] == "forbidden" and "2 of 6" in refused["detail"]["message"]
    assert house.good("GET", "/directory")["outcome"] == "forbidden"
    told = sync(house, force=True)
    assert told["counts"]["disabled"] == 2
    # An empty answer is no answer, with force either.
    for i in range(2, 6):
        slapd.delete(f"uid=user{i},ou=people,{BASE}")
    fails(house, 403, "no user at all", force=True)
    states = [one["state"] for one in house.good("GET", "/users")["items"]]
    assert sorted(states) == ["active"] * 4 + ["disabled"] * 2


def test_groups_by_search_are_followed_and_local_ones_left_alone(house, slapd):
    for name in ("alice", "bob"):
        slapd.person(name)
    slapd.group("Field Staff", "alice", "bob")
    slapd.group("vip", "alice")
    start(house, slapd, groups={"source": "search", "base": f"ou=groups,{BASE}"})
    house.good("POST", "/groups", {"name": "vip"})  # people's own: not the directory's to fill
    house.good("POST", "/groups", {"name": "local"})
    sync(house)
    assert house.good("GET", "/users/alice")["groups"] == ["field-staff"]
    house.good("PUT", "/groups/local/members/alice")
    for method in ("PUT", "DELETE"):
        answer = house.api(method, "/groups/field-staff/members/alice")
        assert answer.status == 403, answer.body
    slapd.modify(f"dn: cn=Field Staff,ou=groups,{BASE}\nchangetype: modify\n"
                 f"delete: member\nmember: uid=alice,ou=people,{BASE}\n")  # fmt: skip
    told = sync(house)
    assert [i["changed"] for i in told["items"] if i["name"] == "alice"] == [["groups"]]
    assert house.good("GET", "/users/alice")["groups"] == ["local"]
    assert house.good("GET", "/users/bob")["groups"] == ["field-staff"]


def test_groups_by_member_of_go_by_the_map(house, slapd):
    for name in ("alice", "bob"):
        slapd.person(name)
    slapd.group("Field Staff", "alice", "bob")
    slapd.group("other", "alice")
    start(house, slapd, groups={
        "source": "member_of", "map": {f"CN=field staff,OU=groups,{BASE}": "outdoors"}})  # fmt: skip
    house.good("POST", "/groups", {"name": "outdoors"})
    sync(house)
    assert house.good("GET", "/users/alice")["groups"] == ["outdoors"]
    assert {one["name"] for one in house.good("GET", "/groups")["items"]} == {"outdoors"}


def test_R7_what_cannot_be_a_user_here_is_refused_one_by_one(house, slapd):
    slapd.person("good")
    slapd.person("local")
    slapd.person("white space")
    slapd.person("star*)(uid=*")
    slapd.person("nomail", mail="not a mailbox")
    slapd.add(f"dn: cn=twice,ou=people,{BASE}\nobjectClass: inetOrgPerson\ncn: twice\n"
              "sn: x\nuid: one\nuid: two\n")  # fmt: skip
    slapd.add(f"dn: cn=same,ou=people,{BASE}\nobjectClass: inetOrgPerson\ncn: same\n"
              "sn: x\nuid: same\n")  # fmt: skip
    slapd.add(f"dn: cn=also,ou=people,{BASE}\nobjectClass: inetOrgPerson\ncn: also\n"
              "sn: x\nuid: SAME\n")  # fmt: skip
    start(house, slapd)
    house.user("local")
    told = sync(house)
    reasons = {item["dn"].split(",")[0]: item["reason"] for item in told["items"]
               if item["result"] == "refused"}  # fmt: skip
    assert told["counts"]["created"] == 1 and told["counts"]["refused"] == 7, told
    assert "2 values" in reasons["cn=twice"]
    assert "several entries" in reasons["cn=same"] and "several entries" in reasons["cn=also"]
    assert "local user" in reasons["uid=local"]
    assert reasons["uid=nomail"].startswith("email:")
    assert reasons["uid=white space"].startswith("name:")
    assert {one["name"] for one in house.good("GET", "/users")["items"]} == {"good", "local"}
    assert house.good("GET", "/users/local")["source"] == "local"


@pytest.mark.parametrize("how", ["tls", "other-ca", "other-name", "other-secret", "no-secret"])
def test_only_the_right_server_gets_the_secret(house, slapd, tmp_path, how):
    slapd.person("alice")
    other = tmp_path / "other"
    other.mkdir()
    certificate(other, "Other CA")
    members = {
        "tls": {"security": "tls", "port": slapd.tls},
        "other-ca": {"ca_file": str(other / "ca.pem")},
        "other-name": {"server": "127.0.0.2"},
        "other-secret": {"password_source": f"file:{other}/secret"},
        "no-secret": {"password_source": f"file:{other}/none"},
    }[how]
    (other / "secret").write_text("wrong")
    (other / "secret").chmod(0o600)
    start(house, slapd, **members)
    if how == "tls":
        assert results(sync(house)) == {"alice": "created"}
        return
    fails(house, 503, None)
    assert house.good("GET", "/users")["items"] == []
    assert house.good("GET", "/directory")["outcome"] == "unavailable"
    words = (house.data / "sealwright.log").read_text()
    assert "wrong" not in words.replace("went wrong", "") and "reader secret" not in words


def test_nothing_is_sent_in_the_clear(house, slapd):
    """The server that does not offer StartTLS gets no password."""
    house.change_config(directory=slapd.config(security="none", server="ldap.example.com"))
    with pytest.raises(AssertionError) as refused:
        house.start()
    assert "directory/security" in str(refused.value)
    house.process = None
    # At a loopback address it is allowed; this slapd refuses it, so the wish was obeyed.
    start(house, slapd, security="none")
    fails(house, 503, None)
    assert "Confidentiality required" in house.good("GET", "/directory")["message"]


def test_a_cut_answer_changes_nothing(house, tmp_path):
    cut = Slapd(tmp_path / "cut", total=str(PAGE + 1))
    try:
        cut.start().fill()
        for i in range(PAGE):
            cut.person(f"user{i}")
        start(house, cut)
        sync(house)
        for i in range(PAGE, PAGE + 3):
            cut.person(f"user{i}")
        fails(house, 429, "cuts the answer short")
        assert len(house.good("GET", "/users")["items"]) == PAGE
    finally:
        cut.end()


def processor_seconds(house):
    words = open(f"/proc/{house.process.pid}/stat").read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@pytest.fixture
def hostile(house, slapd):
    """Puts a house before a directory that behaves like this."""
    made = []

    def put(work, **members):
        made.append(ldap_hostile.Hostile(work))
        config = slapd.config(**members)
        house.change_config(directory={**config, "port": made[-1].port})
        house.start()
        return made[-1]

    yield put
    for server in made:
        server.end()


@pytest.mark.parametrize("security, work", [
    ("none", "silent"), ("starttls", "silent"), ("starttls", "silent_handshake"), ("tls", "silent"),
    ("starttls", "refused_handshake"), ("starttls", "injected_answer"), ("none", "dripping")])  # fmt: skip
def test_R8_a_directory_that_does_not_go_on_costs_its_time_alone(house, hostile, security, work):
    server = hostile(getattr(ldap_hostile, work), security=security)
    before, started = processor_seconds(house), time.monotonic()
    fails(house, 503, None)
    assert time.monotonic() - started < 6
    assert processor_seconds(house) - before < 1, "it waits, it does not turn"
    assert (b"reader secret" in server.seen) == (security == "none"), "nothing in the clear"
    assert house.good("GET", "/users")["items"] == []


def test_referrals_are_not_followed(house, hostile):
    server = hostile(ldap_hostile.referring, security="none")
    assert [item["name"] for item in sync(house)["items"]] == ["u1"]
    assert server.lines == 1 and server.seen.count(b"reader secret") == 1


def test_R8_an_answer_without_end_is_cut(house, hostile):
    hostile(ldap_hostile.endless, security="none", timeout_ms=60000, users_max=1000)
    before, started = house.peak_megabytes(), time.monotonic()
    fails(house, 503, None)
    assert time.monotonic() - started < 30
    assert house.peak_megabytes() - before < 400
    assert "without end" in house.good("GET", "/directory")["message"]


def test_users_beyond_the_limit_are_refused_whole(house, slapd):
    for i in range(4):
        slapd.person(f"user{i}")
    start(house, slapd, users_max=3)
    fails(house, 429, "more than 3 entries")
    assert house.good("GET", "/users")["items"] == []


def test_down_is_told_and_the_periodic_sync_comes_back(house, slapd):
    slapd.person("alice")
    slapd.stop()
    started = time.monotonic()
    start(house, slapd, interval="PT1M")
    fails(house, 503, None)
    assert time.monotonic() - started < 20
    assert house.get("/health/ready").status == 200, "enrolment goes on"
    slapd.start()
    house.restart()
    end = time.monotonic() + 30
    while time.monotonic() < end and not house.good("GET", "/users")["items"]:
        time.sleep(0.2)
    assert house.good("GET", "/users/alice")["source"] == "ldap"
    assert house.audit(action="user.create")[0]["actor"] == "system"


def test_the_command_syncs_and_shows(house, slapd):
    slapd.person("alice")
    start(house, slapd)
    text = house.cli("directory", "sync", "--dry-run").out
    assert "alice" in text and "created" in text and "nothing was changed" in text
    assert json.loads(house.cli("directory", "sync", "--json").out)["counts"]["created"] == 1
    assert "127.0.0.1" in house.cli("directory", "show").out


def test_without_a_directory_there_is_nothing_to_sync(house):
    house.start()
    answer = house.api("POST", "/directory/sync", {})
    assert answer.status == 409, answer.body
    assert "no directory" in answer.json["detail"]
    assert house.good("GET", "/directory")["server"] is None


# ---- Log-in ----


@pytest.fixture
def windows(house, slapd):
    house.change_config(plugins=[{"name": name} for name in ("scep", "discovery", "xcep")])
    slapd.person("alice")
    slapd.person("bob", employeeType="disabled")
    start(house, slapd)
    sync(house)
    house.user("carol")
    house.good("PUT", "/users/carol/password", {"password": "k7dp-93mt-qxwe"})
    return house


def is_in(answer):
    """Was it let in? Nothing else than yes, no and later is an answer."""
    assert answer.status in (200, 503), answer.body
    return None if answer.status == 503 else b"wresult" in answer.body


def test_A0_users_log_in_with_the_passwords_of_the_directory(windows, slapd):
    assert is_in(log_in(windows, "alice", SECRET))
    assert is_in(log_in(windows, "EXAMPLE\\Alice", SECRET))
    assert is_in(log_in(windows, "alice@example.com", SECRET))
    assert is_in(log_in(windows, "carol", "k7dp-93mt-qxwe"))
    wrong = [log_in(windows, user, secret) for user, secret in (
        ("alice", "wrong"), ("alice", ""), ("bob", SECRET), ("nobody", SECRET),
        ("*", SECRET), ("alice)(uid=*", SECRET), ("carol", SECRET), ("directory", "directory"),
        ("alice", "directory"))]  # fmt: skip
    assert {is_in(page) for page in wrong} == {False}
    # Another password there counts at once: nothing is remembered here.
    slapd.modify(f"dn: uid=alice,ou=people,{BASE}\nchangetype: modify\n"
                 "replace: userPassword\nuserPassword: left horse 18\n")  # fmt: skip
    assert not is_in(log_in(windows, "alice", SECRET))
    assert is_in(log_in(windows, "alice", "left horse 18"))
    words = (windows.data / "sealwright.log").read_text()
    assert SECRET not in words and "left horse" not in words


def test_A5_disabled_there_is_out_before_any_sync(windows, slapd):
    assert is_in(log_in(windows, "alice", SECRET))
    slapd.modify(f"dn: uid=alice,ou=people,{BASE}\nchangetype: modify\n"
                 "add: employeeType\nemployeeType: disabled\n")  # fmt: skip
    assert not is_in(log_in(windows, "alice", SECRET))
    # Somebody else by that name has another id.
    slapd.delete(f"uid=alice,ou=people,{BASE}")
    slapd.person("alice")
    assert not is_in(log_in(windows, "alice", SECRET))


def test_A0_wrong_tries_lock_as_those_of_local_users_do(windows, slapd):
    for _ in range(5):
        assert not is_in(log_in(windows, "alice", "wrong"))
    assert not is_in(log_in(windows, "alice", SECRET)), "locked"
    assert is_in(log_in(windows, "carol", "k7dp-93mt-qxwe"))


def test_a_directory_that_is_down_is_no_wrong_password(windows, slapd):
    slapd.stop()
    for _ in range(12):
        assert is_in(log_in(windows, "alice", SECRET)) is None
    assert is_in(log_in(windows, "nobody", SECRET)) is None
    assert is_in(log_in(windows, "carol", "k7dp-93mt-qxwe")), "local users log in"
    slapd.start()
    assert is_in(log_in(windows, "alice", SECRET)), "nothing was counted"


def test_a_silent_directory_holds_nobody_but_those_it_is_asked_for(windows, slapd):
    """It takes connections and says nothing: log-ins at once, as many as one user may try,
    end in time, as later, while all else goes on."""
    slapd.stop()
    silent = socket.create_server(("127.0.0.1", slapd.plain), backlog=128)
    try:
        begun = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            log_ins = [pool.submit(log_in, windows, "alice", SECRET) for _ in range(8)]
            time.sleep(0.3)
            for _ in range(5):
                at = time.monotonic()
                assert windows.get("/health/live").status == 200
                assert windows.call("GET", windows.secure + "/EnrollmentServer/Discovery.svc").status == 200
                assert time.monotonic() - at < 2
            assert is_in(log_in(windows, "carol", "k7dp-93mt-qxwe")), "local users log in"
            assert {is_in(one.result()) for one in log_ins} == {None}
        assert time.monotonic() - begun < 30
    finally:
        silent.close()
    slapd.start()
    assert is_in(log_in(windows, "alice", SECRET)), "nothing was counted"
