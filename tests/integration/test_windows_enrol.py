"""Windows enrols, is managed, renews itself and leaves: the whole flow against the real
daemon, by a client that is strict where Windows is."""

import base64
import concurrent.futures
import contextlib
import hashlib
import os
import pathlib
import re
import sqlite3

from cryptography.hazmat.primitives.asymmetric import rsa
from windows import (
    D, DISCOVERY, PACKAGE_1, S, SOAP, TYPE, UNENROLMENT, Computer, below, parms, windows_csr, xmllint,
)  # fmt: skip
from windows_house import (  # noqa: F401
    computer, enrolled, house, numbers, refused, SECRET, set_profile, USERS,
)  # fmt: skip


# ---- The flow ----


def test_from_discovery_to_the_end_of_the_enrolment(house, computer):
    pc = computer
    assert pc.discover()["AuthPolicy"] == "Federated"
    token = pc.log_in()
    security = pc.by_token(token)
    pc.policies(security)
    house.restart()  # a token outlives the daemon
    pc.enrol(security)
    shown = house.good("GET", f"/devices/{pc.device}")
    assert (shown["owner"], shown["state"]) == ("alice", "active")
    assert shown["report"]["DeviceName"] == "LAPTOP-<7>"
    assert shown["report"]["MAC"] == ["02-00-5E-10-00-01", "02-00-5E-10-00-02"]
    refused(house, pc, pc.request(security), "s:Authentication")  # one token, one enrolment
    pc.key = None

    pc.session("1")
    report = house.good("GET", f"/devices/{pc.device}")["report"]
    assert report["dev_info"]["Man"] == "Maker" and report["dev_detail"]["OEM"] == "A & B <C>"

    certificate, node = pc.install_scep()
    assert "alice" in certificate.subject.rfc4514_string()
    issued = house.certificates(device=pc.device, profile="wifi")
    assert [one["state"] for one in issued] == ["issued"]
    pc.seen.clear()
    pc.session("2")
    assert not any("/SCEP/" in uri for _, uri in pc.seen), "offered again"


def test_a_newcomer_enrols_a_pc_with_what_init_wrote(fresh_house, tmp_path):
    fresh_house.start()
    try:
        fresh_house.cli("user", "create", "erin", "--email", "erin@example.com")
        fresh_house.cli("user", "password", "erin", "-", stdin=b'{"password": "k7dp-93mt-qxwe"}')
        pc = Computer(fresh_house, tmp_path / "pc", f"{next(numbers):032X}", "erin", SECRET)
        pc.discover()
        security = pc.by_token(pc.log_in())
        pc.policies(security)
        pc.enrol(security)
        pc.session("1")
        shown = fresh_house.good("GET", f"/devices/{pc.device}")
        assert shown["report"]["dev_info"]["Man"] == "Maker" and "scep" not in shown["report"]
        # Assigned, the same profile is a wish for a second certificate that it forbids.
        fresh_house.cli("assign", "user", "erin", "scep/default")
        pc.session("2")
        shown = fresh_house.good("GET", f"/devices/{pc.device}")
        assert shown["report"]["scep"] == {"refused": "unsupported"}
        # A user without a password is nobody to enrol.
        fresh_house.cli("user", "create", "frank", "--email", "frank@example.com")
        pc.user = "frank"
        pc.discover(["OnPremise"])
        refused(fresh_house, pc, pc.request(pc.by_password()), "s:Authentication")
    finally:
        fresh_house.stop()


def test_renewal_and_the_users_own_end(house, tmp_path):
    pc = Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "carol", SECRET)
    pc.discover(["OnPremise"])
    pc.enrol(pc.by_password())
    pc.session("1")
    old_context = pc.context
    old = pc.renew()
    state = {one["serial"]: one["state"] for one in house.certificates(device=pc.device)}
    assert len(state) == 2
    pc.session("2")  # by the new certificate
    pc.renew(is_base64=True)  # as a user starts it by hand
    pc.session("3")
    _, root = pc.post("4", 1, PACKAGE_1 + UNENROLMENT)
    assert pc.code(root) == 200
    assert house.good("GET", f"/devices/{pc.device}")["state"] == "unenrolled"
    assert {one["state"] for one in house.certificates(device=pc.device)} == {"revoked"}
    for context in (old_context, pc.context):
        answer, root = pc.post("5", 1, PACKAGE_1, context=context)
        assert root is None or pc.code(root) in (401, 403)
    refused(house, pc, pc.renewal(rsa.generate_private_key(65537, 2048)), "s:Authorization",
            "NotEligibleToRenew", pc.renewal_url, pc.context)  # fmt: skip
    # The id is free again: the same PC comes back.
    pc.discover(["OnPremise"])
    pc.enrol(pc.by_password())
    pc.session("1")
    assert old.serial_number != pc.certificate.serial_number


def test_a_renewal_whose_answer_is_lost_leaves_the_pc_under_management(house, computer):
    pc = computer
    pc.discover(["OnPremise"])
    pc.enrol(pc.by_password())
    pc.session("1")

    def states():
        return {one["serial"]: one["state"] for one in house.certificates(device=pc.device)}

    first = next(iter(states()))
    lost = pc.renewal(rsa.generate_private_key(65537, 2048))
    assert pc.soap(pc.renewal_url, lost, pc.context)[0] == 200  # and the PC never sees it
    assert len(states()) == 2 and set(states().values()) == {"issued"}
    pc.session("2")  # all that it has is the old one
    assert set(states().values()) == {"issued"}
    old_context, old_key, old = pc.context, pc.key, pc.certificate
    pc.renew()  # as Windows tries again: another key
    pc.session("3")
    # Shown once, the new one alone is left; what was lost went with the old one.
    assert sorted(states().values()) == ["issued", "revoked", "revoked"]
    assert states()[first] == "revoked"
    reasons = {one["reason"] for one in house.certificates(device=pc.device) if one["state"] == "revoked"}
    assert reasons == {"superseded"}
    answer, root = pc.post("4", 1, PACKAGE_1, context=old_context)
    assert pc.code(root) == 401
    pc.key, key, pc.certificate, new = old_key, pc.key, old, pc.certificate
    body = pc.renewal(rsa.generate_private_key(65537, 2048))
    pc.key, pc.certificate = key, new
    refused(house, pc, body, "s:Authorization", "NotEligibleToRenew", pc.renewal_url, old_context)


def test_A5_the_users_end_counts_whatever_renews_in_the_same_moment(house, tmp_path):
    """It is one try: the PC leaves, and no certificate may outlive it."""
    for attempt in range(3):
        pc = Computer(house, tmp_path / str(attempt), f"{next(numbers):032X}", "dave", SECRET)
        pc.discover(["OnPremise"])
        pc.enrol(pc.by_password())
        body = pc.renewal(rsa.generate_private_key(65537, 2048))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            renewals = [pool.submit(pc.soap, pc.renewal_url, body, pc.context) for _ in range(2)]
            ends = [pool.submit(pc.post, "9", 1, PACKAGE_1 + UNENROLMENT) for _ in range(2)]
            codes = {pc.code(one.result()[1]) for one in ends}
            assert {one.result()[0] for one in renewals} <= {200, 500}
        assert 200 in codes and codes <= {200, 400, 401, 403}
        assert house.good("GET", f"/devices/{pc.device}")["state"] == "unenrolled"
        assert not {one["state"] for one in house.certificates(device=pc.device)} & {"issued", "intent"}


def test_the_commands_of_the_administrator(house, enrolled):
    pc = enrolled
    shown = house.cli("device", "show", pc.device).out
    assert pc.device in shown and "bob" in shown
    house.cli("device", "command", pc.device, "--kind", "get", "--target", "./DevDetail/SwV")
    house.cli("device", "wipe", pc.device)
    pc.session("1")
    listed = house.good("GET", f"/devices/{pc.device}/commands")["items"]
    assert [one["state"] for one in listed] == ["done", "done"]
    assert listed[0]["result"]["items"][0]["data"] == "10.0.19043.1"
    assert ("Exec", "./Device/Vendor/MSFT/RemoteWipe/doWipe") in pc.seen
    assert "10.0.19043.1" in house.cli("device", "result", pc.device, listed[0]["id"]).out


def test_unenrol_by_the_administrator_shuts_the_device_out(house, computer):
    pc = computer
    pc.discover(["OnPremise"])
    pc.enrol(pc.by_password())
    pc.session("1")
    # The device is told first, then the record is closed.
    house.cli("device", "command", pc.device, "--kind", "exec", "--target",
              f"./Vendor/MSFT/DMClient/Provider/{pc.provider}/Unenroll", "--value", pc.provider)  # fmt: skip
    pc.session("2")
    assert ("Exec", f"./Vendor/MSFT/DMClient/Provider/{pc.provider}/Unenroll") in pc.seen
    house.cli("device", "unenrol", pc.device)
    answer, root = pc.post("3", 1, PACKAGE_1)
    assert root is None or pc.code(root) in (401, 403)
    assert {one["state"] for one in house.certificates(device=pc.device)} == {"revoked"}


def test_computers_in_parallel_keep_to_themselves(house, tmp_path):
    def live(i):
        pc = Computer(house, tmp_path / str(i), f"{next(numbers):032X}", USERS[i % 4], SECRET)
        pc.discover(["Federated"] if i % 2 else ["OnPremise"])
        security = pc.by_token(pc.log_in()) if i % 2 else pc.by_password()
        pc.policies(security)
        pc.enrol(security)
        for k in range(30):
            house.good("POST", f"/devices/{pc.device}/commands",
                       {"kind": "add", "target": f"./P/{i}/{k}", "data": "v"})  # fmt: skip
        pc.session("1")
        return pc

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        pcs = list(pool.map(live, range(6)))
    assert len({pc.device for pc in pcs}) == 6
    for i, pc in enumerate(pcs):
        assert [uri for _, uri in pc.seen if uri.startswith("./P/")] == [f"./P/{i}/{k}" for k in range(30)]
        owner = house.good("GET", f"/devices/{pc.device}")["owner"]
        assert owner == USERS[i % 4]
    # One's certificate does not open the other's session.
    _, root = pcs[0].post("9", 1, PACKAGE_1, context=pcs[1].context)
    assert pcs[0].code(root) == 403


def test_A3_another_users_device_is_never_taken_over(house, enrolled, computer):
    computer.peer_id = enrolled.peer_id
    computer.discover(["OnPremise"])
    refused(house, computer, computer.request(computer.by_password()), "s:Authorization")
    assert house.good("GET", f"/devices/{enrolled.device}")["owner"] == "bob"


def test_R8_a_message_that_says_too_much_is_no_wrong_password(house, computer):
    computer.discover(["OnPremise"])
    body = computer.request(computer.by_password()).decode()
    item = re.search(r"<(\w+:)?ContextItem .*?</(\w+:)?ContextItem>", body, re.S).group(0)
    many = "".join(re.sub('Name="[^"]*"', f'Name="more{i}"', item) for i in range(100))
    refused(house, computer, body.replace(item, item + many, 1).encode(), "s:MessageFormat")


def test_A3_the_next_device_of_an_id_takes_up_no_session(house, tmp_path):
    old, new = (Computer(house, tmp_path / user, f"{0xC0FFEE:032X}", user, SECRET)
                for user in ("carol", "dave"))
    for pc in (old, new):
        pc.discover(["OnPremise"])
    old.enrol(old.by_password())
    _, root = old.post("7", 1, PACKAGE_1)
    body = old.obey(root)
    assert old.code(root) == 200 and body, "there is more to say"
    house.cli("device", "unenrol", old.device)
    new.enrol(new.by_password())
    _, root = new.post("7", 2, body)
    assert new.code(root) == 400
    new.session("7")


def test_a_retry_gets_the_same_answer_and_other_bytes_none(house, computer):
    pc = computer
    pc.discover(["OnPremise"])
    body = pc.request(pc.by_password())
    pc.enrol("", body)
    first = pc.answers[-1][1].body
    before = len(house.certificates())
    pc.enrol("", body)
    assert pc.answers[-1][1].body == first
    assert len(house.certificates()) == before
    refused(house, pc, body.replace(b"de-CH", b"fr-CH"), "s:CertificateRequest")


# ---- Published messages ----


def sample(name):
    """A public sample, where they are at hand."""
    folder = os.environ.get("SEALWRIGHT_SAMPLES")
    return (pathlib.Path(folder) / "samples/windows" / name).read_text() if folder else None


def filled(text, pairs):
    """With what the publisher left out."""
    for pattern, value in pairs:
        text, count = re.subn(pattern, lambda _: value, text, flags=re.S)
        assert count == 1, pattern
    return text.encode()


def replayed(house, url, body):
    answer = house.call("POST", url, body, {"Content-Type": SOAP, "User-Agent": "ENROLLClient"})
    assert answer.status == 200, (answer.body, house.words()[-800:])
    return xmllint(answer.body).find(S + "Body")


def test_the_federated_samples_of_the_specification_enrol_a_pc(house, computer):
    pc = computer
    if not sample("INDEX.md"):
        return
    found = replayed(house, house.secure + DISCOVERY, sample("mde2-01-discover-request-federated.xml").encode())
    assert found.find(f".//{D}AuthPolicy").text == "Federated"
    pc.discover(["Federated"])
    token = base64.b64encode(pc.log_in().encode()).decode()
    answer = replayed(house, pc.services["EnrollmentPolicyServiceUrl"], filled(
        sample("mde2-03-getpolicies-request-federated.xml"), [("B64EncodedSampleBinarySecurityToken", token)]))
    pc.policies_check(answer[0])
    pc.key = rsa.generate_private_key(65537, 2048)
    request = sample("mde2-05-rst-request-federated.xml")
    content = replayed(house, pc.services["EnrollmentServiceUrl"], filled(request, [
        ('B64EncodedSampleBinarySecurityToken"', token),
        ("DER format PKCS#10[^<]*", base64.encodebytes(windows_csr(pc.key, pc.peer_id)).decode())]))
    pc.apply(pc.document_of(content))
    # All that the device says of itself is kept, each value of what comes twice.
    report = house.good("GET", f"/devices/{pc.device}")["report"]
    said = re.findall(r'<ac:ContextItem\s+Name="([^"]*)">\s*<ac:Value>\s*([^<]*?)\s*</ac:Value>', request)
    assert len(said) > 10
    for name, value in said:
        assert value in (report[name] if isinstance(report[name], list) else [report[name]]), name
    pc.peer_id = dict(said)["DeviceID"]
    pc.session("1")


def test_the_captured_pc_enrols_is_managed_and_leaves_by_its_own_octets(house, tmp_path):
    """Its key is not ours to have, so its sessions are opened by the secret of the document."""
    if not sample("INDEX.md"):
        return
    pc = Computer(house, tmp_path / "pc", "B5B954E81FBCB94EB79BD08BE625F4EE", "dave", SECRET)
    pc.discover(["OnPremise"])
    user = [("(?<=<wsse:Username>)[^<]*", "dave"), ("(?<=PasswordText\">)[^<]*", SECRET)]
    policies = replayed(house, pc.services["EnrollmentPolicyServiceUrl"],
                        filled(sample("capture-05-getpolicies-request.xml"), user))
    pc.policies_check(policies[0])
    set_profile(house, "certificate", "default", allow_sha1_request=True)
    try:
        content = replayed(house, pc.services["EnrollmentServiceUrl"],
                           filled(sample("capture-07-rst-request.xml"), user))
    finally:
        set_profile(house, "certificate", "default", allow_sha1_request=False)
    document = pc.document_of(content)
    account = next({name: value for name, (value, _) in parms(one).items()}
                   for one in below(document, "APPLICATION") if one.attrib.get("type") == "APPAUTH"
                   and parms(one)["AAUTHLEVEL"][0] == "APPSRV")
    device = account["AAUTHNAME"]
    assert house.good("GET", f"/devices/{device}")["hardware"]["DeviceID"] == pc.peer_id

    def talk(name, nonce):
        key = base64.b64encode(hashlib.md5(f"{device}:{account['AAUTHSECRET']}".encode()).digest())
        digest = base64.b64encode(hashlib.md5(key + b":" + base64.b64decode(nonce)).digest()).decode()
        cred = ('<Cred><Meta><Format xmlns="syncml:metinf">b64</Format><Type xmlns="syncml:metinf">syncml:auth-md5'
                f"</Type></Meta><Data>{digest}</Data></Cred></SyncHdr>")  # fmt: skip
        answer = house.call("POST", house.secure + "/syncml/initialquery",
                            filled(sample(name), [("</SyncHdr>", cred)]), {"Content-Type": TYPE})
        root = xmllint(answer.body)
        assert pc.code(root) == 212
        return next(root.iter("{syncml:metinf}NextNonce")).text

    nonce = talk("capture-09-syncml-package1.xml", account["AAUTHDATA"])
    assert house.good("GET", f"/devices/{device}")["report"]["dev_info"]["Mod"] == "VMware7,1"
    talk("capture-11-syncml-unenroll-1226.xml", nonce)
    assert house.good("GET", f"/devices/{device}")["state"] == "unenrolled"
    assert {one["state"] for one in house.certificates(device=device)} == {"revoked"}


# ---- Activation passwords ----


def activation(house, user, **members):
    """A user without a password of the own, and an activation password."""
    if house.api("GET", f"/users/{user}").status == 404:
        house.user(user)
    return house.good("POST", "/activations", {"user": user, **members})


def state(house, made):
    shown = house.good("GET", f"/activations/{made['id']}")
    return shown["state"], shown["tries"], shown["devices"]


def test_A3_an_activation_password_enrols_one_pc(house, tmp_path):
    made = activation(house, "gwen")
    pc = Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "gwen", made["password"])
    pc.discover()
    tokens = pc.log_in(), pc.log_in()
    pc.policies(pc.by_token(tokens[0]))
    house.restart()  # neither the token nor what it stands on is in memory alone
    assert state(house, made) == ("open", 5, 1)
    body = pc.request(pc.by_token(tokens[0]))
    pc.enrol("", body)
    first = pc.answers[-1][1].body
    assert state(house, made)[0] == "used"
    assert house.good("GET", f"/devices/{pc.device}")["owner"] == "gwen"
    pc.enrol("", body)  # a lost answer costs nothing
    assert pc.answers[-1][1].body == first
    other = Computer(house, tmp_path / "other", f"{next(numbers):032X}", "gwen", made["password"])
    other.discover(["OnPremise"])
    refused(house, other, other.request(other.by_token(tokens[1])), "s:Authentication")
    refused(house, other, other.request(other.by_password()), "s:Authentication")


def test_A3_an_activation_password_is_typed_twice_on_premise(house, tmp_path):
    made = activation(house, "hugo", devices=2)
    for place in ("first", "second"):
        pc = Computer(house, tmp_path / place, f"{next(numbers):032X}", "hugo", made["password"])
        pc.discover(["OnPremise"])
        pc.policies(pc.by_password())
        pc.enrol(pc.by_password())
    assert state(house, made)[0] == "used"
    refused(house, pc, pc.request(pc.by_password()), "s:Authentication")


def test_A3_five_wrong_ones_lock_an_activation_password(house, tmp_path):
    made = activation(house, "ines")
    pc = Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "ines", made["password"])
    pc.discover(["OnPremise"])
    for tries in (4, 3, 2, 1, 0):
        refused(house, pc, pc.request(pc.by_password("Wrong-One-12")), "s:Authentication")
        assert state(house, made)[1] == tries
    assert state(house, made)[0] == "locked"
    refused(house, pc, pc.request(pc.by_password()), "s:Authentication")
    # Nobody can tell it from an unknown name: the same fault, word for word but for its ids.
    faults = []
    for user in ("ines", "nobody-at-all"):
        pc.user = user
        refused(house, pc, pc.request(pc.by_password("Wrong-One-13")), "s:Authentication")
        faults.append(re.sub(rb"[0-9A-Fa-f-]{12,36}|\d{4}-\d\d-\d\dT[^<]*", b"-", pc.answers[-1][1].body))
    assert faults[0] == faults[1]


def test_A3_an_activation_password_that_has_expired_enrols_nothing(house, tmp_path):
    made = activation(house, "jana")
    pc = Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "jana", made["password"])
    pc.discover()
    token = pc.log_in()
    with contextlib.closing(sqlite3.connect(house.data / "store.db", timeout=30)) as store, store:
        store.execute("UPDATE activation SET expires = 1 WHERE id = ?", (made["id"],))
    assert state(house, made)[0] == "expired"
    refused(house, pc, pc.request(pc.by_token(token)), "s:Authentication")
    refused(house, pc, pc.request(pc.by_password()), "s:Authentication")


def test_S4_pcs_in_parallel_share_no_activation_password(house, tmp_path):
    made = activation(house, "karl")
    pcs = [Computer(house, tmp_path / f"pc{i}", f"{next(numbers):032X}", "karl", made["password"])
           for i in range(4)]  # fmt: skip
    bodies = []
    for pc in pcs:
        pc.discover()
        bodies.append(pc.request(pc.by_token(pc.log_in())))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda pc, body: pc.soap(pc.services["EnrollmentServiceUrl"], body), pcs, bodies))
    assert sorted(status for status, _ in answers) == [200, 500, 500, 500]
    assert {pc.fault(root)[0] for pc, (status, root) in zip(pcs, answers) if status == 500} <= {
        "s:Authentication", "s:CertificateRequest"}  # fmt: skip
    assert len(house.certificates(user="karl")) == 1
    assert state(house, made)[0] == "used"


def test_the_log_tells_no_secret(house):
    words = (house.data / "sealwright.log").read_text() + str(house.audit())
    assert SECRET not in words
