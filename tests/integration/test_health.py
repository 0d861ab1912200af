"""`sealwright health-check`: a healthy house, and each thing that can be wrong with it."""

import json
import sqlite3
import time

import pytest
from conftest import House, house_end


def look(house, env=None):
    done = house.cli("health-check", "--json", check=False, env=env)
    answer = json.loads(done.out)
    severity = {"ok": 0, "warning": 1, "critical": 2}
    worst = max((f["severity"] for f in answer["findings"]), key=severity.get)
    assert answer["worst"] == worst and done.returncode == severity[worst], done.err
    findings = {}
    for finding in answer["findings"]:
        findings.setdefault(finding["check"], []).append(finding)
    return findings


def critical(findings):
    return {
        check for check, all in findings.items() if any(f["severity"] == "critical" for f in all)
    }


def warnings(findings):
    return {
        check for check, all in findings.items() if any(f["severity"] == "warning" for f in all)
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    folder = tmp_path_factory.mktemp("health")
    folder.chmod(0o700)
    made = House(folder / "data")
    yield made
    house_end(made)


def sql(house, *statements):
    store = sqlite3.connect(house.data / "store.db", isolation_level=None)
    try:
        for statement in statements:
            store.execute(statement)
    finally:
        store.close()


def test_a_healthy_house_warns_of_its_software_token_alone(shared):
    findings = look(shared)
    assert critical(findings) == set()
    assert warnings(findings) == {"waiver:main:software", "token:main", "profile:scep/default"}
    for check in ("configuration", "store", "issuer:root", "issuer:issuing", "crl:issuing", "tls",
                  "ra:issuing", "ocsp:issuing", "audit", "clock", "disk", "key:issuing"):  # fmt: skip
        assert [f["severity"] for f in findings[check]] == ["ok"], check
    text = shared.cli("health-check", "--problems", check=False)
    assert text.returncode == 1 and "SEVERITY" in text.out and "ok  " not in text.out


def test_it_runs_beside_the_daemon(fresh_house):
    fresh_house.start()
    assert critical(look(fresh_house)) == set()
    assert fresh_house.get("/health/ready").status == 200


@pytest.mark.parametrize("name, mode", [
    (".", 0o755), ("store.db", 0o620), ("store.db-wal", 0o602), ("admin.token", 0o644), ("tls.key", 0o640),
    ("token/tokens", 0o750), ("token/pin", 0o444), ("token/softhsm2.conf", 0o666),
])  # fmt: skip
def test_a_mode_that_lets_others_in_is_critical(shared, name, mode):
    path = shared.data / name
    if name == "store.db-wal" and not path.exists():
        path.touch(0o600)
    before = path.stat().st_mode & 0o7777
    path.chmod(mode)
    try:
        found = critical(look(shared))
    finally:
        path.chmod(before)
    assert f"file:{path.resolve()}" in found


def test_a_plugin_that_others_can_replace_is_critical(shared):
    path = shared.plugins / "sealwright_scep.so"
    path.chmod(0o775)
    try:
        assert critical(look(shared)) == {f"file:{path}"}
    finally:
        path.chmod(0o755)
    shared.change_config(plugins=[{"name": "scep"}, {"name": "nothing"}])
    try:
        assert critical(look(shared)) == {"plugin:nothing"}
    finally:
        shared.change_config(plugins=[{"name": "scep"}])


def test_a_configuration_that_does_not_hold_is_critical(shared):
    text = shared.config_path.read_text()
    shared.config_path.write_text(text.replace("instance", "instants"))
    try:
        assert critical(look(shared)) == {"configuration"}
    finally:
        shared.config_path.write_text(text)


def test_a_latched_token_is_named_and_not_tried(shared):
    latch = shared.data / "token-main.latched"
    latch.touch()
    try:
        found = critical(look(shared))
        assert {"token:main", "latch:main", "key:issuing"} <= found
        assert all(check.startswith(("token:", "latch:", "key:")) for check in found)
    finally:
        latch.unlink()
    assert critical(look(shared)) == set()


def test_a_key_that_is_gone_is_critical(fresh_house):
    tokens, away = fresh_house.data / "token/tokens", fresh_house.data / "token/away"
    tokens.rename(away)
    tokens.mkdir(0o700)
    assert "token:main" in critical(look(fresh_house))
    tokens.rmdir()
    away.rename(tokens)
    sql(fresh_house, "UPDATE authority SET key = 'pkcs11:token=sealwright;object=none' WHERE name = 'issuing'")
    findings = look(fresh_house)
    assert critical(findings) == {"key:issuing"}
    assert "no private key" in findings["key:issuing"][0]["detail"]
    # Another's key is not the certificate's.
    sql(fresh_house, "UPDATE authority SET key = (SELECT key FROM authority WHERE name = 'root')"
        " WHERE name = 'issuing'")  # fmt: skip
    assert critical(look(fresh_house)) == {"key:issuing"}


@pytest.mark.parametrize("statement, check, severity", [
    ("UPDATE authority_crl SET next_update = 1000 WHERE issuer = 'issuing'", "crl:issuing", "critical"),
    ("UPDATE authority_crl SET next_update = strftime('%s') + 3600 WHERE issuer = 'issuing'",
     "crl:issuing", "warning"),
    ("UPDATE authority_crl SET revision = revision + 1 WHERE issuer = 'issuing'", "crl:issuing", "warning"),
    ("DELETE FROM authority_crl WHERE issuer = 'root'", "crl:root", "critical"),
    ("UPDATE authority SET chain = 'nothing' WHERE name = 'root'", "issuer:root", "critical"),
    ("DELETE FROM audit_entry WHERE number = 3", "audit", "critical"),
    ("DELETE FROM audit_entry WHERE number = (SELECT MAX(number) FROM audit_entry)", "audit", "critical"),
    ("UPDATE audit_entry SET entry = replace(entry, 'system', 'nobody') WHERE number = 2", "audit",
     "critical"),
    ("UPDATE audit_entry SET leaf = zeroblob(32) WHERE number = 2", "audit", "critical"),
    ("UPDATE audit_entry SET number = number + 1 WHERE number ="
     " (SELECT MAX(number) FROM audit_entry)", "audit", "critical"),
    ("UPDATE audit_entry SET time = strftime('%s') + 86400 WHERE number = 5", "clock", "critical"),
])  # fmt: skip
def test_what_is_wrong_in_the_store_is_found(shared, statement, check, severity):
    path = shared.data / "store.db"
    sql(shared, "PRAGMA wal_checkpoint(TRUNCATE)")
    before = path.read_bytes()
    try:
        sql(shared, statement, "PRAGMA wal_checkpoint(TRUNCATE)")
        found = look(shared)
    finally:
        for suffix in ("-wal", "-shm"):
            (shared.data / f"store.db{suffix}").unlink(missing_ok=True)
        path.write_bytes(before)
    assert severity in {f["severity"] for f in found[check]}, found[check]


@pytest.mark.parametrize("change, severity", [
    ({"from_request": {"subject": "take"}, "approvals": 1}, "warning"),
    ({"from_request": {"san": [{"type": "email", "match": "*@example.com"}]}}, "warning"),
    ({"from_request": {"extensions": ["1.3.6.1.4.1.99999.1"]}}, "warning"),
    ({"allow_shared_key": True}, "warning"),
    ({"allow_sha1_request": True}, "warning"),
    ({"validity": "P3Y"}, "warning"),
    ({"crl": False, "ocsp": False}, "warning"),
])  # fmt: skip
def test_a_dangerous_profile_is_named(shared, change, severity):
    shared.start()
    try:
        body = json.loads(shared.cli("profile", "show", "certificate/default", "--json").out)
        settings = {**body["settings"], **change}
        words = ["profile", "create", "certificate/danger", "-"]
        made = shared.cli(*words, stdin=json.dumps({"settings": settings}).encode(), check=False)
        assert made.returncode == 0, made.err
        found = look(shared)
        shared.cli("profile", "delete", "certificate/danger")
    finally:
        shared.stop()
    assert severity in {f["severity"] for f in found["profile:certificate/danger"]}
    assert [f["severity"] for f in found["profile:certificate/default"]] == ["ok"]


def test_a_subject_of_the_devices_choice_that_nobody_approves_is_critical(fresh_house):
    """As a profile from before the check, or one written past it (ESC1)."""
    sql(fresh_house, "UPDATE profile SET settings = json_set(settings, '$.from_request.subject',"
        " 'take') WHERE kind = 'certificate' AND name = 'default'")  # fmt: skip
    found = look(fresh_house)
    assert critical(found) == {"profile:certificate/default"}
    assert "ESC1" in found["profile:certificate/default"][0]["detail"]


def test_what_ends_soon_is_a_warning_and_what_ended_is_critical(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ends")
    folder.chmod(0o700)
    house = House(folder / "data")
    try:
        house.cli("issuer", "create", "soon", "--subject", "CN=Soon", "--validity", "P100D")
        house.cli("issuer", "create", "short", "--subject", "CN=Short", "--validity", "PT1S")
        time.sleep(2)
        findings = look(house)
        assert [f["severity"] for f in findings["issuer:soon"]] == ["warning"]
        assert [f["severity"] for f in findings["issuer:short"]] == ["critical"]
    finally:
        house_end(house)
