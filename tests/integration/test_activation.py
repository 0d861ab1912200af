"""Activation by password: the real daemon, the client of this project, and a device that
was written from the protocol's text alone."""

import json
import secrets
import threading
import urllib.parse

import pytest
from activate_client import Client, issue, person
from activation import Device, Exchange, b64, csr_make, unb64
from conftest import house_end, house_make, run
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

LIMITS = {"hellos_per_source": 100000, "hellos_per_name": 100000, "open_per_source": 10000,
          "hellos_per_second": 10000, "failures_per_name": 100000}  # fmt: skip
POLICY = "1.3.6.1.4.1.311.21.8.26953.40613236.105852588.130660061.194209123"
REPORT = {"v": 1, "device": {"vendor": "Maker", "model": "M1", "serial": "S-1", "imei": ""},
          "software": {"os": "Test", "os_version": "1", "app": "activation.py", "app_version": "1"}}  # fmt: skip


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = house_make(tmp_path_factory)
    made.change_config(activation=LIMITS)
    made.start()
    yield made
    house_end(made)


def refusal(answer):
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"
    return answer.status, answer.json["error"]


def activated(house, tmp_path, name=None):
    """A device with its certificate, and a TLS context of it."""
    name = name or person(house)
    device = Device(house, name, issue(house, name)["password"])
    answer = device.activate()
    assert answer.status == 200, answer.body
    return device, device.identity(tmp_path / name)


def test_a_device_is_activated_and_known_by_its_certificate(house, tmp_path):
    name = person(house)
    device = Device(house, f"  {name.upper()}@Example.COM", issue(house, name)["password"])
    assert device.activate().status == 200
    grant = device.content
    certificate = x509.load_der_x509_certificate(unb64(grant["cert"]))
    # The names are the store's, in this order; of the request only the key is used.
    assert [(a.oid, a.value) for a in certificate.subject] == [
        (NameOID.ORGANIZATION_NAME, "Example Corp"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, f"ws-{name}"), (NameOID.COMMON_NAME, name)]  # fmt: skip
    shown = run("openssl", "x509", "-inform", "der", "-noout", "-ext", "subjectAltName",
                stdin=unb64(grant["cert"])).out  # fmt: skip
    assert shown.split()[-1] == f"URI:urn:uuid:{grant['device']}"
    policies = certificate.extensions.get_extension_for_class(x509.CertificatePolicies).value
    assert [one.policy_identifier.dotted_string for one in policies] == [POLICY]
    assert grant["workspace"] == f"ws-{name}" and grant["org"] == "Example Corp"
    assert grant["url"] == house.secure
    context = device.identity(tmp_path / "d")
    answer = device.post("/activation/v1/device", REPORT, "PUT", context)
    assert answer.status == 200 and answer.json["url"] == house.secure, answer.body
    record = house.good("GET", f"/devices/{grant['device']}")
    assert record["owner"] == name and record["hardware"]["serial"] == "S-1"


def test_a_lost_answer_costs_nothing_and_nothing_else_is_repeated(house):
    name = person(house)
    device = Device(house, name, issue(house, name)["password"])
    first = device.activate()
    assert first.status == 200
    again = device.post("/activation/v1/enroll", device.sent)
    assert again.status == 200 and again.body == first.body
    other = json.loads(device.sent)
    other["new"] = 1
    assert refusal(device.post("/activation/v1/enroll", other)) == (410, "session_gone")
    assert len(house.certificates(user=name)) == 1
    # The password has ended with its one device.
    assert refusal(device.activate()) == (403, "auth_failed")


def test_a_refused_message_is_not_worked_on_a_second_time(house):
    name = person(house)
    password = issue(house, name)["password"]
    for user in (name, "nobody-here"):
        device = Device(house, user, "not-the-right-one")
        assert refusal(device.activate()) == (403, "auth_failed")
        assert refusal(device.post("/activation/v1/enroll", device.sent)) == (410, "session_gone")
        reply = device.hello().json
        device.exchange.take_reply(reply)
        spent = device.enroll(csr_make()[1], yc=b64(bytes(133)))
        assert refusal(spent) == (400, "invalid_share")
        assert refusal(device.post("/activation/v1/enroll", device.sent)) == (410, "session_gone")
    (record,) = house.good("GET", f"/activations?user={name}")["items"]
    assert record["tries"] == 3
    device = Device(house, name, password)
    assert device.activate().status == 200


def test_the_wrong_password_locks_after_five_tries(house):
    name = person(house)
    password = issue(house, name)["password"]
    device = Device(house, name, "not-the-right-one")
    for _ in range(5):
        assert refusal(device.activate()) == (403, "auth_failed")
    device.password = password
    assert refusal(device.activate()) == (403, "auth_failed")
    assert house.certificates(user=name) == []
    states = [a["state"] for a in house.good("GET", f"/activations?user={name}")["items"]]
    assert states == ["locked"]


def test_four_wrong_tries_and_the_right_one_activate(house):
    name = person(house)
    password = issue(house, name)["password"]
    device = Device(house, name, "not-the-right-one")
    for _ in range(4):
        assert refusal(device.activate()) == (403, "auth_failed")
    device.password = password
    assert device.activate().status == 200


def shape(answer):
    """What a stranger may look at: status, headers, members, lengths."""
    headers = sorted((k, v) for k, v in answer.headers.items() if k not in ("Date",))
    members = {name: len(str(value)) for name, value in answer.json.items()}
    return answer.status, headers, members, len(answer.body)


def test_an_unknown_user_looks_like_a_known_one(house):
    known, strange = person(house), f"x{secrets.token_hex(4)}"
    issue(house, known)
    shapes = {}
    for name in (known, strange):
        device = Device(house, name, "not-the-right-one")
        hello = device.hello()
        assert hello.status == 200
        device.exchange.take_reply(hello.json)
        answer = device.enroll(csr_make()[1])
        shapes[name] = shape(hello), shape(answer)
        salts = {device.hello().json["salt"] for _ in range(3)} | {hello.json["salt"]}
        assert len(salts) == 1, "the salt belongs to the name"
    assert shapes[known] == shapes[strange]


def bend(text):
    octets = bytearray(unb64(text))
    octets[len(octets) // 2] ^= 1
    return b64(bytes(octets))


@pytest.mark.parametrize("member, code", [("yc", (400, "invalid_share")), ("tc", (403, "auth_failed")),
                                          ("csr", (403, "auth_failed"))])  # fmt: skip
def test_an_altered_message_spends_the_session(house, member, code):
    name = person(house)
    device = Device(house, name, issue(house, name)["password"])
    device.exchange = None
    device.exchange = Exchange(device.server, name, device.password)
    device.exchange.take_reply(device.post("/activation/v1/hello", device.exchange.hello()).json)
    csr = csr_make()[1]
    message = device.exchange.enroll(csr)
    message[member] = bend(message[member])
    assert refusal(device.post("/activation/v1/enroll", message)) == code
    assert refusal(device.enroll(csr)) == (410, "session_gone")
    assert device.activate().status == 200, "one try was used up, no more"


def test_the_servers_own_share_is_not_taken_back(house):
    name = person(house)
    device = Device(house, name, issue(house, name)["password"])
    reply = device.hello().json
    device.exchange.take_reply(reply)
    answer = device.enroll(csr_make()[1], yc=reply["ys"])
    assert refusal(answer) == (400, "invalid_share")


def test_a_request_that_is_refused_is_sealed_and_the_password_stays(house):
    name = person(house)
    device = Device(house, name, issue(house, name)["password"])
    for csr in (csr_make(signer=True)[1], b"\x30\x00", bytes(9000),
                csr_make(ec.generate_private_key(ec.SECP192R1()))[1]):  # fmt: skip
        reply = device.hello().json
        device.exchange.take_reply(reply)
        answer = device.enroll(csr)
        assert answer.status == 422, answer.body
        content = device.exchange.open(answer.json)
        assert content["error"] == "csr_rejected" and content["detail"]
    assert device.activate().status == 200


def test_a_user_disabled_between_hello_and_enroll_gets_nothing(house):
    name = person(house)
    device = Device(house, name, issue(house, name)["password"])
    device.exchange = Exchange(device.server, name, device.password)
    device.exchange.take_reply(device.post("/activation/v1/hello", device.exchange.hello()).json)
    house.good("PATCH", f"/users/{name}", {"state": "disabled"}, headers=match(house, f"/users/{name}"))
    assert refusal(device.enroll(csr_make()[1])) == (403, "auth_failed")
    assert house.certificates(user=name) == []


def match(house, path):
    return {"If-Match": house.api("GET", path).headers["ETag"]}


def test_two_enrolments_at_once_yield_one_certificate(house):
    name = person(house)
    password = issue(house, name)["password"]
    devices = [Device(house, name, password) for _ in range(4)]
    for device in devices:
        device.exchange = Exchange(device.server, name, password)
        device.exchange.take_reply(device.post("/activation/v1/hello", device.exchange.hello()).json)
    answers = [None] * len(devices)

    def enroll(i):
        answers[i] = devices[i].enroll(csr_make()[1]).status

    threads = [threading.Thread(target=enroll, args=(i,)) for i in range(len(devices))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200, 403, 403, 403]
    assert len(house.certificates(user=name)) == 1


def test_messages_are_bounded_and_strict(house):
    device = Device(house, "nobody", "not-the-right-one")
    for path in ("/activation/v1/hello", "/activation/v1/enroll", "/discovery/v1/lookup"):
        assert refusal(device.post(path, b" " * 16385)) == (413, "too_large")
        assert refusal(device.post(path, b"{}" + b" " * 300000)) == (413, "too_large")
        assert refusal(device.post(path, b"{")) == (400, "bad_request")
        assert refusal(device.post(path, {"v": 2})) == (400, "unsupported_version")
    hello = Exchange(device.server, "a", "x" * 8).hello()
    assert refusal(device.post("/activation/v1/hello", {**hello, "suites": ["ecspeke-p256"]})) == \
        (400, "unsupported_suite")  # fmt: skip
    assert house.get("/activation/v1/policy").status == 403, "not over plain HTTP"


def test_discovery_tells_names_only(house):
    device = Device(house, "", "")
    known = person(house)
    for user in (known, f"{known}@example.com", "stranger@example.com", "stranger"):
        answer = device.post("/discovery/v1/lookup", {"v": 1, "user": user})
        assert answer.json == {"v": 1, "server": device.server, "url": house.secure}
    assert refusal(device.post("/discovery/v1/lookup", {"v": 1, "user": "a@other.example"})) == \
        (404, "not_registered")  # fmt: skip


def test_a_report_takes_128_octets_of_each_member_and_no_controls(house, tmp_path):
    device, context = activated(house, tmp_path)
    place = f"/devices/{device.content['device']}"

    def put(part, **members):
        report = {**REPORT, part: {**REPORT[part], **members}}
        return device.post("/activation/v1/device", report, "PUT", context).status

    for part in ("device", "software"):
        for member in REPORT[part]:
            assert put(part, **{member: ""}) == 200, member
            assert put(part, **{member: "x" * 128}) == 200, member
            assert put(part, **{member: "x" * 129}) == 400, member
            assert put(part, **{member: "\u00fc" * 64}) == 200, member
            assert put(part, **{member: "a\u0001b"}) == 400, member
    assert put("software", os="\u00fc" * 64) == 200
    record = house.good("GET", place)
    assert record["report"]["software"]["os"] == "\u00fc" * 64
    assert record["kind"] == "\u00fc" * 32, "a name is at most 64 octets"
    assert put("device", work_space="another's") == 200
    assert house.good("GET", place)["hardware"]["work_space"] == f"ws-{device.user}"


def test_the_certificate_of_one_device_is_that_device(house, tmp_path):
    first, context = activated(house, tmp_path)
    second, other = activated(house, tmp_path)
    for device, own in ((first, context), (second, other)):
        report = json.loads(json.dumps(REPORT))
        report["device"]["serial"] = device.content["device"][:8]
        assert device.post("/activation/v1/device", report, "PUT", own).status == 200
    for device in (first, second):
        record = house.good("GET", f"/devices/{device.content['device']}")
        assert record["hardware"]["serial"] == device.content["device"][:8]
    # Without a certificate, and with one that is not of an activated device.
    assert refusal(first.post("/activation/v1/device", REPORT, "PUT")) == (403, "wrong_certificate")
    for path in ("/activation/v1/policy",):
        assert refusal(house.call("GET", house.secure + path, context=context)) == \
            (403, "wrong_certificate"), "the policy is for the working certificate"  # fmt: skip
    revoked = house.certificates(device=first.content["device"])[0]["serial"]
    house.good("POST", f"/certificates/{revoked}/revoke", {"reason": "key_compromise"})
    again = first.identity(tmp_path / "revoked")
    assert refusal(first.post("/activation/v1/device", REPORT, "PUT", again)) == (403, "wrong_certificate")


def test_an_activation_certificate_renews_itself(house, tmp_path):
    device, context = activated(house, tmp_path)
    private, csr = csr_make()
    early = device.post("/activation/v1/renew", {"v": 1, "csr": b64(csr)}, context=context)
    assert refusal(early) == (403, "wrong_certificate"), "outside of its window"
    path = "/profiles/certificate/activation"
    profile = house.api("GET", path)
    settings = {**profile.json["settings"], "renewal_window": "P30D"}
    house.good("PATCH", path, {"settings": settings}, headers={"If-Match": profile.headers["ETag"]})
    device, context = activated(house, tmp_path)
    broken = csr_make(signer=True)[1]
    assert refusal(device.post("/activation/v1/renew", {"v": 1, "csr": b64(broken)}, context=context)) == \
        (422, "bad_signature")  # fmt: skip
    answer = device.post("/activation/v1/renew", {"v": 1, "csr": b64(csr)}, context=context)
    assert answer.status == 200, answer.body
    old = x509.load_der_x509_certificate(unb64(device.content["cert"]))
    new = x509.load_der_x509_certificate(unb64(answer.json["cert"]))
    assert new.subject == old.subject and new.serial_number != old.serial_number
    assert new.public_key().public_numbers() == private.public_key().public_numbers()
    assert answer.json["chain"] == device.content["chain"]
    # Its answer was lost: the same request gets the same certificate.
    again = device.post("/activation/v1/renew", {"v": 1, "csr": b64(csr)}, context=context)
    assert again.status == 200 and again.json == answer.json
    held = {one["serial"]: one["state"] for one in house.certificates(device=device.content["device"])}
    assert sorted(held.values()) == ["issued", "issued"], "the activation's and one more"
    # What another device asked for is its own affair.
    stranger, elsewhere = activated(house, tmp_path)
    stolen = stranger.post("/activation/v1/renew", {"v": 1, "csr": b64(csr)}, context=elsewhere)
    assert refusal(stolen) == (422, "key_rejected"), "the key is another device's"
    # The new one is used: what it takes the place of ends, and cannot ask any more.
    device.private, device.content["cert"] = private, answer.json["cert"]
    renewed = device.identity(tmp_path / "renewed")
    assert device.post("/activation/v1/device", REPORT, "PUT", renewed).status == 200
    held = {one["serial"]: one for one in house.certificates(device=device.content["device"])}
    ended = held.pop(f"{old.serial_number:032x}")
    assert (ended["state"], ended["reason"]) == ("revoked", "superseded")
    assert [one["state"] for one in held.values()] == ["issued"]
    assert refusal(device.post("/activation/v1/renew", {"v": 1, "csr": b64(csr)}, context=context)) == \
        (403, "wrong_certificate")  # fmt: skip
    assert device.post("/activation/v1/device", REPORT, "PUT", renewed).status == 200


# ---- The client of this project ----


def test_the_client_leaves_what_a_device_needs(house, tmp_path):
    name = person(house)
    client = Client(house, tmp_path, issue(house, name)["password"])
    done = client.by_name(name, "--only-activate", verify=False)
    assert done.returncode == 0, done.err
    told = json.loads(done.out)
    assert told["workspace"] == f"ws-{name}" and told["org"] == "Example Corp"
    private, certificate, chain = client.identity()
    assert certificate.public_key().public_numbers() == private.public_key().public_numbers()
    assert (client.out / "root.pem").read_bytes() == (house.data / "root.pem").read_bytes()
    assert {path.name: path.stat().st_mode & 0o777 for path in client.out.iterdir()} == \
        {"activation.p12": 0o600, "root.pem": 0o600}  # fmt: skip
    record = house.good("GET", f"/devices/{told['device']}")
    assert record["owner"] == name and record["report"]["software"]["app"] == "sealwright"
    with pytest.raises(ValueError):
        pkcs12.load_key_and_certificates((client.out / "activation.p12").read_bytes(), b"another")


def test_the_client_takes_a_link_from_standard_input(house, tmp_path):
    name = person(house)
    made = issue(house, name)
    client = Client(house, tmp_path, "")
    link = (f"{house.secure}/activate#v=1&user={urllib.parse.quote(name + '@example.com', safe='')}"
            f"&password={urllib.parse.quote(made['password'], safe='')}\n")  # fmt: skip
    done = client.run("-", "--out-password-file", client.folder / "store", "--only-activate",
                      stdin=link.encode())  # fmt: skip
    assert done.returncode == 0, done.err
    assert client.identity()


def test_the_client_says_what_is_wrong_and_leaves_nothing(house, tmp_path):
    name = person(house)
    made = issue(house, name)
    client = Client(house, tmp_path, "not-the-right-one")
    done = client.by_name(name)
    assert done.returncode == 1 and "auth_failed" in done.err and not done.out
    assert list(client.out.iterdir()) == []
    # What would be overwritten is found out before the password is used.
    client = Client(house, tmp_path, made["password"])
    (client.out / "root.pem").write_text("mine")
    done = client.by_name(name)
    assert done.returncode == 1 and "root.pem is there already" in done.err
    (client.out / "root.pem").unlink()
    done = client.by_name(name, "--ref", "other", "--only-activate")
    assert done.returncode == 1 and "auth_failed" in done.err
    done = client.by_name(name, "--only-activate")
    assert done.returncode == 0, done.err


def test_the_client_wants_the_server_that_was_named(house, tmp_path):
    """Somebody in between, with a certificate that the client would take before it knows
    the root, learns the user's name and fails."""
    name = person(house)
    client = Client(house, tmp_path, issue(house, name)["password"])
    done = client.run("-", "--password-file", client.folder / "password", "--out-password-file",
                      client.folder / "store",
                      stdin=f"{house.secure}/activate#v=1&user={name}&server=other.example".encode())  # fmt: skip
    assert done.returncode == 1 and "calls itself" in done.err
    assert client.by_name(name, "--only-activate").returncode == 0, "no try was used up"


def test_the_client_keeps_its_keys_in_a_token(house, tmp_path):
    name = person(house)
    client = Client(house, tmp_path, issue(house, name)["password"])
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\n")
    env = {"SOFTHSM2_CONF": str(tmp_path / "softhsm2.conf")}
    run("softhsm2-util", "--init-token", "--free", "--label", "device", "--pin", "1234", "--so-pin", "5678",
        env=env)  # fmt: skip
    (tmp_path / "pin").write_text("1234")
    (tmp_path / "pin").chmod(0o600)
    done = client.run(
        "--server", house.secure, "--user", name, "--password-file", client.folder / "password",
        "--key-token", "pkcs11:token=device", "--key-module", "/usr/lib/softhsm/libsofthsm2.so",
        "--key-pin", tmp_path / "pin", "--only-activate", env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.err
    told = json.loads(done.out)
    assert told["key"].startswith("pkcs11:") and told["instance"], "reported with the token's key"
    assert sorted(path.name for path in client.out.iterdir()) == ["activation.pem", "root.pem"]
    assert b"PRIVATE" not in (client.out / "activation.pem").read_bytes()
