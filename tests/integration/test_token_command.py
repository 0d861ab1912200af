"""Tokens and their latch by the command, beside and without a daemon."""

import json
import re

import pytest
from conftest import run
from tokens import pin_of, pin_write, rows, token_of, wait_for


# ---- Tokens ----


def test_token_list_shows_slots_without_a_pin(fresh_house):
    pin_write(fresh_house, "0" * 16)  # wrong, and not used
    tokens = rows(fresh_house, "token", "list")
    mine = [row for row in tokens if row["name"] == "main"]
    assert len(mine) == 1 and mine[0]["state"] == "present"
    assert mine[0]["software"] and mine[0]["label"] == "sealwright"
    others = [row for row in tokens if not row["configured"]]
    assert [row["state"] for row in others] == ["not initialised"]
    assert not (fresh_house.data / "token-main.latched").exists()


def test_token_list_names_what_is_missing(fresh_house):
    config = json.loads(fresh_house.config_path.read_text())
    token = dict(config["tokens"][0], name="other", uri="pkcs11:token=nowhere")
    nothing = dict(token, name="nothing", module="/nonexistent.so")
    fresh_house.change_config(tokens=config["tokens"] + [token, nothing])
    done = fresh_house.cli("token", "list", "--json", check=False)
    assert done.returncode == 1
    states = {row["name"]: row["state"] for row in json.loads(done.out)["items"]}
    assert states["main"] == "present"
    assert states["other"] == "not in any slot"
    assert "/nonexistent.so" in states["nothing"]


def test_token_info_has_a_table_of_mechanisms(fresh_house):
    info = json.loads(fresh_house.cli("token", "info", "main", "--json").out)
    assert info["waivers"] == ["software"]
    states = {(m["mechanism"], m["to"]): m["state"] for m in info["mechanisms"]}
    assert states[("CKM_ECDSA", "sign")] == "present"
    assert states[("CKM_RSA_PKCS", "decrypt")] == "present"
    text = fresh_house.cli("token", "info", "main").out
    assert "MECHANISM" in text and "CKM_EC_KEY_PAIR_GEN" in text
    assert fresh_house.cli("token", "info", "nobody", check=False).returncode == 1


def test_token_test_tries_every_key(fresh_house):
    results = rows(fresh_house, "token", "test", "main")
    assert {row["result"] for row in results} == {"ok"}
    tried = {(re.sub(r"-\d{6}-\d+$", "", row["key"]), row["test"]) for row in results}
    assert tried == {
        ("-", "log in"),
        ("root-sign", "sign, verify"),
        ("issuing-sign", "sign, verify"),
        ("issuing-ra", "sign, verify"),
        ("issuing-ra", "decrypt"),
        ("issuing-ocsp", "sign, verify"),
        ("domain-audit", "sign, verify"),
        ("domain-sealing", "decrypt"),
    }


# ---- The latch (SECURITY I7) ----


def test_I7_a_refused_pin_is_latched_over_restarts(fresh_house):
    good = pin_of(fresh_house)
    latch = fresh_house.data / "token-main.latched"
    pin_write(fresh_house, "0" * 16)
    done = fresh_house.cli("check", check=False)
    assert done.returncode == 1 and "latched" in done.out
    assert "PIN was refused" in fresh_house.words()
    assert latch.exists() and latch.stat().st_mode & 0o777 == 0o600
    pin_write(fresh_house, good)
    for words in (["check"], ["token", "test", "main"]):
        done = fresh_house.cli(*words, check=False)
        assert done.returncode == 1 and "latched" in done.out + done.err, words
    assert [row["state"] for row in rows(fresh_house, "token", "list")][0] == "latched"
    assert "takes its PIN" in fresh_house.cli("token", "unlock", "main").out
    assert not latch.exists()
    fresh_house.start()
    assert fresh_house.get("/health/ready").status == 200


def test_I7_unlock_with_a_wrong_pin_latches_again(fresh_house):
    pin_write(fresh_house, "0" * 16)
    for _ in range(2):
        done = fresh_house.cli("token", "unlock", "main", check=False)
        assert done.returncode == 1 and "refused" in done.err
        assert (fresh_house.data / "token-main.latched").exists()


CHANGE_PIN = """
import ctypes, sys
p11 = ctypes.CDLL("/usr/lib/softhsm/libsofthsm2.so")
def must(code): assert code == 0, hex(code)
must(p11.C_Initialize(None))
slots, count = (ctypes.c_ulong * 8)(), ctypes.c_ulong(8)
must(p11.C_GetSlotList(ctypes.c_ubyte(1), slots, ctypes.byref(count)))
old, new = sys.stdin.read().split()
for slot in slots[: count.value]:
    session = ctypes.c_ulong()
    must(p11.C_OpenSession(ctypes.c_ulong(slot), ctypes.c_ulong(6), None, None, ctypes.byref(session)))
    if p11.C_Login(session, ctypes.c_ulong(1), old.encode(), ctypes.c_ulong(len(old))) == 0:
        must(p11.C_SetPIN(session, old.encode(), ctypes.c_ulong(len(old)), new.encode(), ctypes.c_ulong(len(new))))
        sys.exit(0)
sys.exit(1)
"""


def pin_change(house, old, new):
    """In the token itself, as another program would."""
    run(
        "/usr/bin/python3", "-c", CHANGE_PIN, stdin=f"{old} {new}".encode(),
        env={"SOFTHSM2_CONF": str(house.data / "token/softhsm2.conf"), "LD_PRELOAD": ""},
    )  # fmt: skip


def latch_the_daemon(house):
    """The token goes away for a moment and has another PIN when it is back."""
    pin_change(house, pin_of(house), "1" * 16)
    tokens, away = house.data / "token/tokens", house.data / "token/away"
    tokens.rename(away)
    tls = [row for row in house.certificates() if row["subject"] == "CN=localhost"]
    house.good("POST", f"/certificates/{tls[0]['serial']}/revoke", {"reason": "superseded"})
    wait_for(lambda: token_of(house)["state"] != "up")  # the CRL wanted a signature
    away.rename(tokens)
    wait_for(lambda: token_of(house)["state"] == "latched")
    assert house.get("/health/ready").status == 503


@pytest.mark.parametrize("way", ["api", "command"])
def test_I7_a_running_daemon_is_unlocked(fresh_house, way):
    house = fresh_house.start()
    latch_the_daemon(house)
    refused = house.api("POST", "/instance/tokens/main/unlock")
    assert refused.status == 409 and "latched again" not in refused.json["detail"]
    assert token_of(house)["state"] == "latched"
    pin_write(house, "1" * 16)
    if way == "api":
        url = ["--url", house.secure, "--cacert", house.data / "root.pem"]
        assert "takes its PIN" in house.cli("token", "unlock", "main", *url).out
        entries = house.audit(action="token.unlock")
        assert [e["detail"]["outcome"] for e in entries] == ["ok", "refused, latched again"]
    else:
        assert "takes its PIN" in house.cli("token", "unlock", "main").out
    wait_for(lambda: token_of(house)["state"] == "up")
    wait_for(lambda: house.get("/health/ready").status == 200)
    assert house.api("POST", "/instance/tokens/other/unlock").status == 404
