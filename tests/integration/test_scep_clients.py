"""Real SCEP clients: strongSwan's pki and certmonger, judged by openssl."""

import re
import subprocess

import pytest
from conftest import run


@pytest.fixture
def device(tmp_path):
    return Device(tmp_path)


class Device:
    """A device that enrols with strongSwan's pki."""

    def __init__(self, folder):
        self.folder = folder

    def fetch_ca(self, house, profile="default"):
        run(
            "pki", "--scepca", "--url", house.scep(profile), "--caout", "ca.pem",
            "--raout", "ra.pem", "--outform", "pem", cwd=self.folder,
        )  # fmt: skip
        return sorted(self.folder.glob("ca*.pem"))

    def key(self, name="device.key", kind="rsa", size=2048):
        made = run("pki", "--gen", "--type", kind, "--size", size, "--outform", "pem")
        (self.folder / name).write_bytes(made.stdout)

    def enrol(self, house, challenge, *more, key="device.key", out="device.pem",
              dn="CN=dev1", profile="default", check=True):  # fmt: skip
        done = run(
            "pki", "--scep", "--url", house.scep(profile), "--in", key, "--dn", dn,
            *(["--password", challenge] if challenge else []),
            "--cacert-enc", "ra.pem", "--cacert-sig", "ra.pem",
            *sum((["--cacert", ca.name] for ca in sorted(self.folder.glob("ca*.pem"))), []),
            "--cipher", "des3", "--digest", "sha256", "--outform", "pem", *more,
            cwd=self.folder, check=check,
        )  # fmt: skip
        if done.returncode == 0:
            (self.folder / out).write_bytes(done.stdout)
        return done

    def verify(self, house, name="device.pem"):
        run(
            "openssl", "verify", "-x509_strict", "-CAfile", house.data / "root.pem",
            "-untrusted", house.data / "chain.pem", self.folder / name,
        )  # fmt: skip

    def text(self, name="device.pem"):
        return run("openssl", "x509", "-in", self.folder / name, "-noout", "-text").out


def test_strongswan_enrols_and_the_chain_verifies(house, device):
    house.user("alice")
    made = house.challenge("alice", subject="CN=dev1", san=["dns:dev1.example"])
    device.fetch_ca(house)
    device.key()
    device.enrol(house, made["challenge"], "--san", "dev1.example")
    device.verify(house)
    text = device.text()
    assert "DNS:dev1.example" in text
    assert "CA:FALSE" in text
    assert "TLS Web Client Authentication" in text
    assert "ecdsa-with-SHA256" in text
    found = house.certificates(user="alice", state="issued")
    assert len(found) == 1 and found[0]["protocol"] == "scep"
    used = house.good("GET", f"/challenges/{made['id']}")
    assert used["state"] == "used" and used["serial"] == found[0]["serial"]


def test_strongswan_is_refused_with_a_wrong_challenge(house, device):
    device.fetch_ca(house)
    device.key()
    before = len(house.certificates())
    done = device.enrol(house, "0" * 48, check=False)
    assert done.returncode != 0 and "badRequest" in done.err
    assert len(house.certificates()) == before


def test_strongswan_renews_with_a_new_key_and_the_old_one_is_replaced(house, device):
    house.user("renewer")
    house.good("POST", "/profiles/certificate", {
        "name": "short", "settings": {
            "issuer": "issuing", "validity": "P10D", "renewal_window": "P30D",
            "subject": "CN={{user.name}}", "names_from_challenge": True,
            "key_usage": ["digital_signature", "key_encipherment"],
            "extended_key_usage": ["client_auth"], "protocols": ["scep"],
            "one_active_per_device": True, "revoke_replaced": True,
        }})  # fmt: skip
    house.good("POST", "/profiles/scep", {
        "name": "short", "settings": {"certificate": "short"}})  # fmt: skip
    house.good("PUT", "/users/renewer/profiles/scep/short")
    made = house.challenge("renewer", "short", subject="CN=dev2")
    device.fetch_ca(house, "short")
    device.key()
    device.enrol(house, made["challenge"], dn="CN=dev2", profile="short")
    device.key("second.key")
    device.enrol(
        house, None, "--cert", "device.pem", "--key", "device.key",
        key="second.key", out="second.pem", dn="CN=dev2", profile="short",
    )  # fmt: skip
    device.verify(house, "second.pem")
    states = {
        item["state"]: item["reason"] for item in house.certificates(user="renewer")
    }
    assert states == {"issued": None, "revoked": "superseded"}


def test_strongswan_polls_until_two_approvers_have_agreed(house, device):
    house.user("waiter")
    house.good("POST", "/profiles/certificate", {
        "name": "approved", "settings": {
            "issuer": "issuing", "validity": "P1D", "renewal_window": "PT1H",
            "subject": "CN={{user.name}}", "names_from_challenge": True,
            "key_usage": ["digital_signature"], "extended_key_usage": ["client_auth"],
            "protocols": ["scep"], "approvals": 2,
        }})  # fmt: skip
    house.good("POST", "/profiles/scep", {
        "name": "approved", "settings": {"certificate": "approved"}})  # fmt: skip
    house.good("PUT", "/users/waiter/profiles/scep/approved")
    tokens = []
    for name in ("anna", "ben"):
        house.good("POST", "/admins", {"name": name, "roles": ["approver"]})
        made = house.good("POST", "/tokens", {"admin": name, "description": "test"})
        tokens.append(made["token"])
    challenge = house.challenge("waiter", "approved", subject="CN=dev3")["challenge"]
    device.fetch_ca(house, "approved")
    device.key()
    client = subprocess.Popen(
        ["pki", "--scep", "--url", house.scep("approved"), "--in", "device.key",
         "--dn", "CN=dev3", "--password", challenge, "--cacert-enc", "ra.pem",
         "--cacert-sig", "ra.pem", "--cacert", "ca.pem", "--cipher", "des3",
         "--interval", "1", "--maxpolltime", "60", "--outform", "pem"],
        cwd=device.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    for _ in range(100):
        waiting = house.good("GET", "/requests?state=waiting")["items"]
        if waiting:
            break
        assert client.poll() is None, client.communicate()
        __import__("time").sleep(0.1)
    assert len(waiting) == 1 and waiting[0]["user"] == "waiter"
    path = f"/requests/{waiting[0]['id']}/approve"
    # SECURITY A6: who made the challenge does not approve its request.
    assert house.api("POST", path).status == 403
    assert house.api("POST", path, token=tokens[0]).status == 200
    assert house.api("POST", path, token=tokens[0]).status == 409
    assert house.api("POST", path, token=tokens[1]).status == 200
    out, err = client.communicate(timeout=60)
    assert client.returncode == 0, err
    (device.folder / "device.pem").write_bytes(out)
    device.verify(house)


CERTMONGER = """
/usr/sbin/certmonger -h >/dev/null 2>&1
/usr/lib/certmonger/certmonger-session -n >session.log 2>&1 & pid=$!
for i in $(seq 50); do getcert list-cas -s >/dev/null 2>&1 && break; sleep 0.2; done
getcert add-scep-ca -s -c sc -u "$1" -R "$PWD/ca.pem"
getcert request -s -c sc -k "$PWD/k.pem" -f "$PWD/c.pem" -I r1 -N CN=dev4 -L "$2" -w
getcert list -s -i r1
if [ "$3" = renew ]; then
    cp c.pem first.pem
    getcert rekey -s -i r1 -w
    getcert list -s -i r1
fi
kill $pid
wait $pid 2>/dev/null
exit 0
"""


def test_certmonger_enrols_and_rekeys(house, device, tmp_path):
    house.user("monger")
    house.good("POST", "/profiles/certificate", {
        "name": "monger", "settings": {
            "issuer": "issuing", "validity": "P10D", "renewal_window": "P30D",
            "subject": "CN={{user.name}}", "names_from_challenge": True,
            "from_request": {"subject": "match", "san": [], "extensions": []},
            "key_usage": ["digital_signature"], "extended_key_usage": ["client_auth"],
            "protocols": ["scep"],
        }})  # fmt: skip
    house.good("POST", "/profiles/scep", {
        "name": "monger", "settings": {"certificate": "monger"}})  # fmt: skip
    house.good("PUT", "/users/monger/profiles/scep/monger")
    made = house.challenge("monger", "monger", subject="CN=dev4")
    # certmonger verifies with the issuer's own certificate.
    issuing = re.search(
        "-----BEGIN.*?-----END CERTIFICATE-----\n",
        (house.data / "chain.pem").read_text(), re.S,
    ).group(0)  # fmt: skip
    (tmp_path / "ca.pem").write_text(issuing)
    (tmp_path / ".config/certmonger").mkdir(parents=True)
    done = run(
        "dbus-run-session", "--", "sh", "-c", CERTMONGER, "sh",
        house.scep("monger"), made["challenge"], "renew",
        cwd=tmp_path, env={"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)},
        timeout=180,
    )  # fmt: skip
    assert done.out.count("MONITORING") == 2, done.out + done.err + house.words()
    device.verify(house, "first.pem")
    device.verify(house, "c.pem")
    assert (tmp_path / "first.pem").read_text() != (tmp_path / "c.pem").read_text()
