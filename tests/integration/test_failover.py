"""Keys in several tokens, and the same key in two of them: one goes, the other signs."""

import json
import os
import signal
import subprocess
import time

import pytest
from conftest import run

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
CLIENT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
PIN = "8642097531"


def rows(house, *words):
    return json.loads(house.cli(*words, "--json").out)["items"]


def softhsm(house, *words):
    run("softhsm2-util", *words, env={"SOFTHSM2_CONF": str(house.data / "token/softhsm2.conf"),
                                      "LD_PRELOAD": ""})  # fmt: skip


def token_add(house, name, label, **members):
    """One more SoftHSM token in the house's folder, and in its configuration."""
    softhsm(house, "--init-token", "--free", "--label", label, "--so-pin", "12345678", "--pin", PIN)
    pin = house.data / f"{name}.pin"
    pin.write_text(PIN + "\n")
    pin.chmod(0o400)
    config = json.loads(house.config_path.read_text())
    token = {"name": name, "module": SOFTHSM, "uri": f"pkcs11:token={label}", "pin_source": f"file:{pin}",
             "environment": config["tokens"][0]["environment"], "waive": ["software"],
             "wait_ms": 2000, **members}  # fmt: skip
    house.change_config(tokens=config["tokens"] + [token])


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")


def test_issuers_and_helpers_live_in_different_tokens(fresh_house):
    house = fresh_house
    token_add(house, "issuers", "issuers")
    token_add(house, "helpers", "helpers")
    house.cli("issuer", "create", "apart", "--subject", "CN=Apart", "--parent", "root", "--token", "issuers")
    assert "2 new" in house.cli("issuer", "renew-helpers", "apart", "--token", "helpers").out
    where = {row["used_by"]: row["token"] for row in rows(house, "key", "list")}
    assert where["issuer apart"] == "issuers" and where["issuer root"] == "main"
    assert where["ra of apart"] == where["ocsp of apart"] == "helpers"
    house.start()
    ready = {r["check"]: r["ok"] for r in house.get("/health/ready").json["checks"]}
    assert ready["token:main"] and ready["token:issuers"] and ready["token:helpers"]
    assert house.get("/crl/apart.crl").status == 200
    token = house.good("GET", "/instance/tokens/issuers")
    assert token["state"] == "up" and token["label"] == "issuers"


# ---- Failover ----


@pytest.fixture
def twin(fresh_house, tmp_path):
    """A house whose issuer 'twin' has its key in a token behind a p11-kit server, another
    process, and the same key in the house's own; the server runs when it is yielded."""
    house, data = fresh_house, fresh_house.data
    waive = ["software", "not_local", "sign_and_decrypt", "other_uses"]
    token_add(house, "near", "near", waive=waive)
    config = json.loads(house.config_path.read_text())
    softhsm(house, "--init-token", "--free", "--label", "far", "--so-pin", "12345678", "--pin", PIN)
    key, certificate = tmp_path / "key.pem", tmp_path / "twin.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
        "-keyout", key, "-out", certificate, "-days", "1000", "-subj", "/CN=Twin", "-addext",
        "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    run("openssl", "pkcs8", "-topk8", "-nocrypt", "-in", key, "-out", tmp_path / "key.p8")
    for label in ("near", "far"):
        softhsm(house, "--import", tmp_path / "key.p8", "--token", label, "--label", "twin-sign-1",
                "--id", "a1b2", "--pin", PIN)  # fmt: skip
    address = tmp_path / "p11"
    far = {"name": "far", "module": CLIENT, "uri": "pkcs11:token=far", "waive": waive, "wait_ms": 2000,
           "pin_source": f"file:{data}/near.pin",
           "environment": [f"P11_KIT_SERVER_ADDRESS=unix:path={address}"]}  # fmt: skip
    house.change_config(tokens=config["tokens"] + [far])
    server = Server(house, address)
    server.start()
    uri = "pkcs11:token=%s;object=twin-sign-1;type=private"
    house.cli("issuer", "import", "twin", "--certificate", certificate, "--key", uri % "far")
    house.start()
    house.cli("issuer", "set", "twin", "--standby-key", uri % "near")
    house.restart()
    house.server = server
    yield house
    server.stop()


class Server:
    def __init__(self, house, address):
        self.house, self.address, self.process = house, address, None

    def start(self):
        self.address.unlink(missing_ok=True)
        env = {**os.environ, "LD_PRELOAD": "",
               "SOFTHSM2_CONF": str(self.house.data / "token/softhsm2.conf")}  # fmt: skip
        self.process = subprocess.Popen(
            ["p11-kit", "server", "-f", "--provider", SOFTHSM, "--name", self.address, "pkcs11:token=far"],
            env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        wait_for(self.address.exists)

    def stop(self):
        if self.process:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None


def crl_number(house):
    path = house.data / "twin.crl"
    path.write_bytes(house.get("/crl/twin.crl").body)
    text = run("openssl", "crl", "-inform", "DER", "-in", path, "-noout", "-crlnumber").out
    return int(text.strip().split("=")[1], 16)


def state(house, name):
    return house.good("GET", f"/instance/tokens/{name}")["state"]


def crl_wanted(house, since):
    """A new CRL of the issuer, as after a revocation."""
    import sqlite3

    store = sqlite3.connect(house.data / "store.db", isolation_level=None, timeout=10)
    store.execute("UPDATE authority_crl SET revision = revision + 1 WHERE issuer = 'twin'")
    store.close()
    wait_for(lambda: crl_number(house) > since)


def test_the_standby_key_signs_while_the_first_token_is_down(twin):
    house = twin
    assert house.get("/health/ready").status == 200
    twin.change_config(crl_check_seconds=1)
    house.restart()
    number = crl_number(house)
    near = house.good("GET", "/instance/tokens/near")["operations"]
    crl_wanted(house, number)
    assert house.good("GET", "/instance/tokens/near")["operations"] == near, "the first key signs"
    house.server.stop()
    number = crl_number(house)
    crl_wanted(house, number)  # by the other token, in the same second or so
    assert house.good("GET", "/instance/tokens/near")["operations"] > near
    assert state(house, "far") != "up"
    ready = house.get("/health/ready")
    assert ready.status == 200, ready.body
    assert any("standby key signs" in line["message"] for line in house.log_lines())
    # And back again, by itself.
    house.server.start()
    wait_for(lambda: state(house, "far") == "up")
    far = house.good("GET", "/instance/tokens/far")["operations"]
    crl_wanted(house, crl_number(house))
    assert house.good("GET", "/instance/tokens/far")["operations"] > far


def test_a_standby_key_that_is_another_is_not_used(twin):
    other = next(row["uri"] for row in rows(twin, "key", "list") if row["used_by"] == "issuer root")
    twin.cli("issuer", "set", "twin", "--standby-key", other)
    twin.restart()
    assert any("standby key cannot be used" in line["message"] for line in twin.log_lines())
    alone = twin.api("PATCH", "/issuers/twin", {"key": None},
                     headers={"If-Match": f'"{twin.good("GET", "/issuers/twin")["version"]}"',
                              "Content-Type": "application/merge-patch+json"})  # fmt: skip
    assert alone.status == 400, alone.body
