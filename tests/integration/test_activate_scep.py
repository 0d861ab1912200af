"""The client of this project from the activation password to the policy: its working
certificate in each mode, by our own CA and by somebody else's."""

import json
import threading
import time

import pytest
from activate_client import Client, issue, person
from conftest import house_end, run
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import DNSName, RFC822Name, SubjectAlternativeName, load_pem_x509_certificate
from scep_device import activation_house, dynamic_upstream, working_profile
from scep_house import ca, challenges, upstream  # noqa: F401

LIMITS = {"hellos_per_source": 100000, "hellos_per_name": 100000, "open_per_source": 10000,
          "failures_per_name": 100000}  # fmt: skip
MODES = ["simple", "assisted", "proxy"]


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = activation_house(tmp_path_factory, activation=LIMITS)
    yield made
    house_end(made)


def activate(house, folder, name, *words, **options):
    client = Client(house, folder, issue(house, name)["password"])
    done = client.by_name(name, *words, **options)
    return client, done


def assigned(house, **scep):
    """A user with a scep profile of the same name."""
    name = person(house)
    working_profile(house, name, **scep)
    house.good("PUT", f"/users/{name}/profiles/scep/{name}")
    return name


def common_name(certificate):
    return [part.value for part in certificate.subject]


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_gives_the_working_certificate(house, tmp_path, mode):
    name = assigned(house)
    client, done = activate(house, tmp_path, name, "--scep-mode", mode)
    assert done.returncode == 0, done.err
    told = json.loads(done.out)
    assert (told["scep_mode"], told["scep_profile"], told["policy"]) == (mode, name, "")
    private, certificate, chain = client.identity("scep.p12")
    assert private.public_key().public_numbers() == certificate.public_key().public_numbers()
    assert common_name(certificate) == [name]
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert list(names) == [RFC822Name(f"{name}@example.com")]
    issuing = load_pem_x509_certificate((house.data / "chain.pem").read_bytes())
    assert chain[0] == issuing and certificate.issuer == issuing.subject
    assert client.identity()[1] != certificate
    held = house.certificates(device=told["device"])
    assert sorted(one["protocol"] for one in held) == ["activation", "scep"]
    assert all(one["state"] == "issued" for one in held)
    assert (client.out / "policy.json").exists(), "read with the working certificate"


def test_the_first_mode_that_both_have_is_taken(house, tmp_path):
    for modes, taken in ((["proxy", "assisted"], "assisted"), (["proxy"], "proxy")):
        name = assigned(house, modes=modes)
        _, done = activate(house, tmp_path / taken, name)
        assert done.returncode == 0, done.err
        assert json.loads(done.out)["scep_mode"] == taken
    name = assigned(house, modes=["proxy"])
    client, done = activate(house, tmp_path / "none", name, "--scep-mode", "simple")
    assert done.returncode == 1 and "does not offer this device mode simple" in done.err
    assert json.loads(done.out)["device"], "it is activated, and that is told"
    assert not (client.out / "scep.p12").exists()


def test_an_ec_key_comes_by_mode_simple(house, tmp_path):
    name = person(house)
    house.good("POST", "/profiles/certificate", {"name": name, "settings": {
        "issuer": "issuing", "subject": "CN={{user.name}}", "protocols": ["scep"],
        "keys": [{"algorithm": "ec", "curves": ["P-384"]}]}})  # fmt: skip
    house.good("POST", "/profiles/scep", {"name": name, "settings": {
        "certificate": name, "key": "p384", "modes": ["simple"]}})  # fmt: skip
    house.good("PUT", f"/users/{name}/profiles/scep/{name}")
    client, done = activate(house, tmp_path, name)
    assert done.returncode == 0, done.err
    assert client.identity("scep.p12")[1].public_key().curve.name == "secp384r1"


@pytest.mark.parametrize("mode", MODES)
def test_keys_in_a_token_serve_each_mode(house, tmp_path, mode):
    name = assigned(house)
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    env = {"SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}
    run("softhsm2-util", "--init-token", "--free", "--label", "device", "--pin", "1234", "--so-pin", "5678",
        env=env)  # fmt: skip
    (tmp_path / "pin").write_text("1234")
    (tmp_path / "pin").chmod(0o600)
    client = Client(house, tmp_path, issue(house, name)["password"])
    done = client.run(
        "--server", house.secure, "--user", name, "--password-file", client.folder / "password",
        "--key-token", "pkcs11:token=device", "--key-module", "/usr/lib/softhsm/libsofthsm2.so",
        "--key-pin", tmp_path / "pin", "--scep-mode", mode, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.err
    told = json.loads(done.out)
    assert told["scep_mode"] == mode and told["scep_key"].startswith("pkcs11:")
    assert told["policy"] == "", "the policy came over TLS with the token's key"
    assert b"PRIVATE" not in (client.out / "scep.pem").read_bytes()


@pytest.mark.parametrize("mode", ["assisted", "proxy"])
def test_another_daemon_is_the_upstream(house, upstream, challenges, tmp_path, mode):
    name = person(house)
    dynamic_upstream(house, upstream, challenges, name)
    house.good("PUT", f"/users/{name}/profiles/scep/up-{name}")
    client, done = activate(house, tmp_path, name, "--scep-mode", mode)
    assert done.returncode == 0, (done.err, house.words(), upstream.words())
    told = json.loads(done.out)
    assert told["scep_mode"] == mode and "policy" not in told, "the policy's server knows it not"
    _, certificate, chain = client.identity("scep.p12")
    assert common_name(certificate) == [name]
    assert chain[0] == load_pem_x509_certificate((upstream.data / "chain.pem").read_bytes())
    serial = f"{certificate.serial_number:032x}"
    assert serial in [one["serial"] for one in upstream.certificates(user=name)]
    assert [one["protocol"] for one in house.certificates(device=told["device"])] == ["activation"]


def test_an_upstream_that_lets_wait_is_asked_again(house, ca, tmp_path):
    ca.asked, ca.how = [], ["pending", "pending", "issue"]
    name = assigned(house, modes=["simple"], retries=5, retry_delay=1, upstream=ca.members)
    client, done = activate(house, tmp_path, name)
    assert done.returncode == 0, (done.err, house.words())
    assert ca.asked == ["19", "20", "20"]
    chain = client.identity("scep.p12")[2]
    assert chain == [load_pem_x509_certificate(ca.pem.read_bytes())]
    ca.asked, ca.how = [], "pending"
    name = assigned(house, modes=["simple"], retries=2, retry_delay=1, upstream=ca.members)
    client, done = activate(house, tmp_path / "later", name)
    assert done.returncode == 1 and "not ready yet" in done.err
    assert ca.asked == ["19", "20", "20"], "no more often than the profile says"
    ca.how = "refuse"
    name = assigned(house, modes=["simple"], retry_delay=1, upstream=ca.members)
    client, done = activate(house, tmp_path / "refused", name)
    assert done.returncode == 1 and "upstream" in done.err
    assert not (client.out / "scep.p12").exists()


@pytest.mark.parametrize("mode", MODES)
def test_an_approval_is_waited_for(house, tmp_path, mode):
    name = person(house)
    house.good("POST", "/profiles/certificate", {"name": name, "settings": {
        "issuer": "issuing", "subject": "CN={{user.name}}", "protocols": ["scep"],
        "approvals": 1, "san": [{"type": "dns", "value": "{{user.name}}.example.com"}]}})  # fmt: skip
    house.good("POST", "/profiles/scep", {"name": name, "settings": {
        "certificate": name, "retries": 25, "retry_delay": 1}})  # fmt: skip
    house.good("PUT", f"/users/{name}/profiles/scep/{name}")
    house.good("POST", "/admins", {"name": f"desk-{name}", "roles": ["approver"]})
    token = house.good("POST", "/tokens", {"admin": f"desk-{name}"})["token"]

    def approve():
        for _ in range(120):
            waiting = [one for one in house.good("GET", "/requests?state=waiting")["items"] if one["user"] == name]
            if waiting:
                house.good("POST", f"/requests/{waiting[0]['id']}/approve", token=token)
                return
            time.sleep(0.5)

    thread = threading.Thread(target=approve)
    thread.start()
    client, done = activate(house, tmp_path, name, "--scep-mode", mode)
    thread.join()
    assert done.returncode == 0, (done.err, house.words())
    certificate = client.identity("scep.p12")[1]
    names = certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    assert list(names) == [DNSName(f"{name}.example.com")]


# ---- The whole flow at the wire ----


def working_context(house, client):
    """A TLS context of the certificate that SCEP gave the client's device."""
    private, certificate, chain = client.identity("scep.p12")
    pem = b"".join(one.public_bytes(serialization.Encoding.PEM) for one in (certificate, *chain))
    (client.folder / "scep.pem").write_bytes(pem)
    (client.folder / "scep.key").write_bytes(private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))  # fmt: skip
    return house.tls_context(client.folder / "scep.pem", client.folder / "scep.key")


def test_the_default_profile_serves_and_a_policy_is_waited_for(house, tmp_path):
    name = person(house)
    client, done = activate(house, tmp_path, name)
    assert done.returncode == 0, done.err
    told = json.loads(done.out)
    assert told["scep_profile"] == "default" and told["policy"] == ""
    held = house.certificates(device=told["device"])
    assert sorted(one["protocol"] for one in held) == ["activation", "scep"]
    assert sorted(path.name for path in client.out.iterdir()) == \
        ["activation.p12", "policy.json", "root.pem", "scep.p12"]  # fmt: skip
    context = working_context(house, client)
    address = house.secure + "/activation/v1/policy"
    first = house.call("GET", address, context=context)
    assert first.status == 200
    assert first.json == json.loads((client.out / "policy.json").read_text())
    assert first.headers["Cache-Control"] == "private, no-cache"
    known = {"If-None-Match": first.headers["ETag"]}
    assert house.call("GET", address, headers=known, context=context).status == 304
    begun = time.monotonic()
    assert house.call("GET", address + "?wait=1", headers=known, context=context).status == 304
    assert 0.9 <= time.monotonic() - begun < 20
    # A new assignment wakes the device that waits.
    policy = f"p-{name}"
    house.good("POST", "/profiles/policy", {"name": policy, "settings": {"items": [
        {"uri": "./Vendor/X/Camera", "verb": "replace", "format": "int", "data": "0"}]}})
    assign = threading.Timer(1, house.good, ("PUT", f"/users/{name}/profiles/policy/{policy}"))
    assign.start()
    begun = time.monotonic()
    second = house.call("GET", address + "?wait=25", headers=known, context=context)
    assign.join()
    assert second.status == 200 and second.json["name"] == policy, second.body
    assert second.headers["ETag"] != first.headers["ETag"]
    assert time.monotonic() - begun < 20, "not at the end of the wait"
    for wait in ("0", "61", "x"):
        answer = house.call("GET", f"{address}?wait={wait}", context=context)
        assert (answer.status, answer.json["error"]) == (400, "bad_request")
