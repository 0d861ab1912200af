"""What becomes of a certificate after its enrolment: revoked, held, renewed or not, and
who may decide it (SECURITY A4 to A7, V1, V2)."""

import re
import signal
import ssl
import time

import pytest
from conftest import run
from scep import Fleet, certificates_of, openssl_x509, serial_of, subject_of

BAD_REQUEST = "fail 2"
CONFIG = {"limits": {"requests_per_second": 0}, "crl_check_seconds": 1}


def profile(house, name, **settings):
    """A pair of profiles of this name, for a user of this name."""
    base = {
        "issuer": "issuing", "validity": "P10D", "renewal_window": "P30D",
        "subject": "CN={{user.name}}", "names_from_challenge": True,
        "key_usage": ["digital_signature"], "extended_key_usage": ["client_auth"],
        "protocols": ["scep"],
    }  # fmt: skip
    house.good("POST", "/profiles/certificate", {
        "name": name, "settings": {**base, **settings}})  # fmt: skip
    house.good("POST", "/profiles/scep", {
        "name": name, "settings": {"certificate": name}})  # fmt: skip
    house.user(name)
    house.good("PUT", f"/users/{name}/profiles/scep/{name}")
    return name


class Device:
    """One device of one user with its certificate, and what it may do with it."""

    def __init__(self, house, user, name="dev", endpoint="default"):
        self.house, self.user, self.name = house, user, name
        self.fleet = Fleet(house, endpoint)
        if name != "dev":  # which every fleet has
            self.fleet.device(name)

    def enrol(self):
        self.reply = self.fleet.enrol(self.name, user=self.user)
        self.serial = serial_of(self.reply.certificate)
        return self

    def renewal(self, kind="17", cn=None, signer=None, **members):
        """The message; the new key's proof and the old certificate's signature."""
        key = self.fleet.key("next", "ec:P-256")
        csr = self.fleet.csr(key, cn or self.name, **members)
        return self.fleet.message(csr, signer or f"{self.name}-issued", key=self.name,
                                  type=kind)  # fmt: skip

    def renew(self, **members):
        signer = members.get("signer") or f"{self.name}-issued"
        return self.fleet.post(self.renewal(**members), signer=signer, key=self.name)

    @property
    def record(self):
        return self.house.good("GET", f"/certificates/{self.serial}")

    def close(self):
        self.fleet.close()


@pytest.fixture
def device(house, request):
    """A device with a certificate, of a user and profiles of the test's own."""
    name = re.sub("[^a-z0-9]", "", request.node.name.lower())[-40:]
    settings = getattr(request, "param", {})
    made = Device(house, profile(house, name, **settings), endpoint=name).enrol()
    yield made
    made.close()


def refused(house, reply, device=None):
    """`device`: whose certificate held, so that the refusal is an entry of its own."""
    assert reply.word == BAD_REQUEST, reply.word
    if device:
        entry = house.audit(action="enrol.refuse")[0]
        assert entry["count"] == 1 and entry["detail"]["reason"]
        said = (entry["actor"], entry["detail"].get("device"))
        assert f"user:{device.user}" in said or device.record["device"] in str(said), entry


def patch(house, path, body):
    tag = house.api("GET", path).headers["ETag"]
    return house.good("PATCH", path, body, headers={"If-Match": tag})


def crl_check(house, tmp_path, reply):
    """openssl's word on a certificate: "OK", or the reason."""
    crl = house.get("/crl/issuing.crl").body
    run("openssl", "crl", "-inform", "DER", "-out", tmp_path / "crl.pem", stdin=crl)
    (tmp_path / "c.pem").write_text(ssl.DER_cert_to_PEM_cert(reply.certificate))
    done = run("openssl", "verify", "-crl_check", "-CAfile", house.data / "root.pem",
               "-untrusted", house.data / "chain.pem", "-CRLfile", tmp_path / "crl.pem",
               tmp_path / "c.pem", check=False)  # fmt: skip
    return "OK" if done.returncode == 0 else done.err + done.out


def wait_for_crl(house, tmp_path, reply, word, seconds=15):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = crl_check(house, tmp_path, reply)
        if word in found:
            return found
        time.sleep(0.3)
    raise AssertionError(found)


def crl_text(house):
    crl = house.get("/crl/issuing.crl").body
    return run("openssl", "crl", "-inform", "DER", "-noout", "-text", stdin=crl).out


def crl_number(house):
    return int(re.search(r"CRL Number:\s*\n\s*(\d+)", crl_text(house)).group(1))


def entry_of(house, serial):
    """The CRL's lines on a serial, or None."""
    found = re.search(
        f"Serial Number: 0*{serial.lstrip('0').upper()}\n(.*?)(?=\n    Serial|\n    Sig)",
        crl_text(house), re.S,
    )  # fmt: skip
    return found.group(1) if found else None


# ---- Revocation ----


def test_V1_a_revocation_is_in_a_new_crl_within_seconds(house, device, tmp_path):
    assert crl_check(house, tmp_path, device.reply) == "OK"
    before = crl_number(house)
    house.good("POST", f"/certificates/{device.serial}/revoke",
               {"reason": "key_compromise"})  # fmt: skip
    wait_for_crl(house, tmp_path, device.reply, "certificate revoked")
    assert crl_number(house) > before
    assert "Key Compromise" in entry_of(house, device.serial)
    assert device.record["state"] == "revoked"
    assert device.record["reason"] == "key_compromise"
    entries = house.audit(object=f"certificate:{device.serial}")
    assert [e["action"].removeprefix("certificate.") for e in entries] == [
        "revoke", "issue", "intend"]  # fmt: skip
    again = house.api("POST", f"/certificates/{device.serial}/revoke",
                      {"reason": "superseded"})  # fmt: skip
    assert again.status == 409


def test_V2_reason_unspecified_is_left_out_of_the_crl(house, device, tmp_path):
    house.good("POST", f"/certificates/{device.serial}/revoke", {"reason": "unspecified"})
    wait_for_crl(house, tmp_path, device.reply, "certificate revoked")
    assert "Reason" not in entry_of(house, device.serial)


def test_V2_a_certificate_is_held_and_released(house, device, tmp_path):
    path = f"/certificates/{device.serial}/revoke"
    house.good("POST", path, {"reason": "certificate_hold"})
    wait_for_crl(house, tmp_path, device.reply, "certificate revoked")
    assert "Certificate Hold" in entry_of(house, device.serial)
    refused(house, device.renew())
    house.good("POST", path, {"reason": "remove_from_crl"})
    wait_for_crl(house, tmp_path, device.reply, "OK")
    assert entry_of(house, device.serial) is None
    assert device.record["state"] == "issued"
    assert device.renew().word == "issued"
    # Only what is on hold can be released.
    assert house.api("POST", path, {"reason": "remove_from_crl"}).status in (400, 409)


@pytest.mark.parametrize("body", [
    {"reason": "because"}, {"reason": 1}, {"reason": "superseded", "when": "now"},
    {"reason": "superseded", "invalidity_date": "yesterday"},
])  # fmt: skip
def test_a_revocation_that_makes_no_sense_changes_nothing(house, body):
    serial = house.certificates(state="issued")[0]["serial"]
    assert house.api("POST", f"/certificates/{serial}/revoke", body).status == 400
    assert house.good("GET", f"/certificates/{serial}")["state"] == "issued"
    assert house.api("POST", "/certificates/" + "0" * 32 + "/revoke",
                     {"reason": "superseded"}).status == 404  # fmt: skip


# ---- Renewal (A4) ----


@pytest.mark.parametrize("kind", ["17", "19"])
def test_A4_a_renewal_by_the_devices_own_certificate_is_issued(house, device, kind):
    reply = device.renew(kind=kind)
    assert reply.word == "issued"
    new = house.good("GET", f"/certificates/{serial_of(reply.certificate)}")
    assert new["device"] == device.record["device"] and new["user"] == device.user
    assert new["subject"] == device.record["subject"] and new["san"] == device.record["san"]


@pytest.mark.parametrize("kind", ["17", "19"])
def test_A4_another_subject_is_refused_in_a_renewal(house, device, kind):
    before = house.certificates()
    refused(house, device.renew(kind=kind, cn="admin"), device)
    refused(house, device.renew(kind=kind, san="DNS:admin.example"))
    assert house.certificates() == before


@pytest.mark.parametrize("device", [{"validity": "P30D", "renewal_window": "P1D"}],
                         indirect=True)  # fmt: skip
def test_A4_a_renewal_before_its_window_is_refused(house, device):
    before = house.certificates()
    refused(house, device.renew(), device)
    refused(house, device.renew(kind="19"))
    assert house.certificates() == before


@pytest.mark.parametrize("device", [
    {"validity": "PT4S", "renewal_window": "PT4S", "backdate": "PT0S"}], indirect=True)  # fmt: skip
def test_A4_an_expired_certificate_renews_nothing(house, device):
    time.sleep(5.5)
    before = house.certificates()
    refused(house, device.renew())
    assert len(house.certificates()) == len(before)


def test_A4_a_revoked_certificate_renews_nothing(house, device):
    house.good("POST", f"/certificates/{device.serial}/revoke", {"reason": "superseded"})
    before = house.certificates()
    refused(house, device.renew())
    refused(house, device.renew(kind="19"))
    assert house.certificates() == before


def test_A4_another_devices_certificate_renews_only_its_own(house, device):
    """The neighbour signs with what is the neighbour's, and asks for this one's name."""
    neighbour = Device(house, device.user, "neighbour", device.user).enrol()
    before = house.certificates()
    refused(house, neighbour.renew(cn=device.name))
    # With the neighbour's own name: but the key that signs is not the certificate's.
    key = neighbour.fleet.key("thief")
    csr = neighbour.fleet.csr(key, "neighbour")
    forged = neighbour.fleet.message(csr, "neighbour-issued", key=key, type="17")
    assert neighbour.fleet.post(forged).word == "http 400"
    assert house.certificates() == before
    neighbour.close()


def test_A4_a_foreign_ca_with_our_names_and_serials_is_refused(house, device):
    fleet = device.fleet
    fleet.key("foreign")
    fleet.tool.do("certificate", name="forged", key=device.name, cn=device.name,
                  issuer="issuing", like=f"{device.name}-issued", by="foreign")  # fmt: skip
    before = house.certificates()
    for kind in ("17", "19"):
        key = fleet.key("next", "ec:P-256")
        body = fleet.message(fleet.csr(key, device.name), "forged", key=device.name, type=kind)
        reply = fleet.post(body, signer="forged", key=device.name)
        refused(house, reply)
    assert house.certificates() == before


def test_A4_a_certificate_of_another_endpoint_is_refused(house, device):
    other = Device(house, profile(house, "elsewhere"), endpoint="elsewhere").enrol()
    before = house.certificates()
    body = other.renewal()
    reply = other.fleet.post(body, profile=device.user, signer="dev-issued", key="dev")
    refused(house, reply)
    assert house.certificates() == before
    other.close()


@pytest.mark.parametrize("kind", ["17", "19"])
@pytest.mark.parametrize("is_right", [True, False])
def test_A4_a_renewal_neither_needs_nor_uses_a_challenge(house, device, kind, is_right):
    made = house.challenge(device.user, device.user, subject="CN=dev")
    challenge = made["challenge"] if is_right else "0" * 48
    assert device.renew(kind=kind, challenge=challenge).word == "issued"
    assert house.good("GET", f"/challenges/{made['id']}")["state"] == "open"


# ---- Who is disabled (A5) ----


def test_A5_a_disabled_user_loses_everything(house, device, tmp_path):
    made = house.challenge(device.user, device.user, subject="CN=dev")
    patch(house, f"/users/{device.user}", {"state": "disabled"})
    assert device.record["state"] == "revoked"
    wait_for_crl(house, tmp_path, device.reply, "certificate revoked")
    before = house.certificates()
    refused(house, device.renew())
    assert device.fleet.post(device.fleet.fresh(made["challenge"])).word == BAD_REQUEST
    body = {"user": device.user, "profile": device.user}
    assert house.api("POST", "/challenges", body).status in (403, 409)
    assert house.certificates() == before
    actions = [e["action"] for e in house.audit(object=f"certificate:{device.serial}")]
    assert "certificate.revoke" in actions
    # Enabled again: what was revoked stays so, a new challenge works.
    patch(house, f"/users/{device.user}", {"state": "active"})
    assert device.record["state"] == "revoked"
    refused(house, device.renew())
    assert device.fleet.post(device.fleet.fresh(made["challenge"])).word == BAD_REQUEST
    made = house.challenge(device.user, device.user, subject="CN=dev")
    assert device.fleet.post(device.fleet.fresh(made["challenge"])).word == "issued"


@pytest.mark.parametrize("state", ["disabled", "unenrolled"])
def test_A5_a_disabled_device_loses_its_certificate_and_no_other(house, device, tmp_path, state):
    second = Device(house, device.user, "second", device.user).enrol()
    patch(house, f"/devices/{device.record['device']}", {"state": state})
    assert device.record["state"] == "revoked" and second.record["state"] == "issued"
    wait_for_crl(house, tmp_path, device.reply, "certificate revoked")
    refused(house, device.renew())
    answer = house.api("POST", "/challenges", {
        "user": device.user, "profile": device.user, "device": device.record["device"]})  # fmt: skip
    assert answer.status in (403, 409)
    assert second.renew().word == "issued"
    second.close()


# ---- Approvals (A6) ----


def approver(house, name, roles=("approver",)):
    house.good("POST", "/admins", {"name": name, "roles": list(roles)})
    return house.good("POST", "/tokens", {"admin": name})["token"]


def waiting(house, fleet, user, **members):
    """A request that waits, as its message and its record."""
    made = house.challenge(user, user, subject="CN=dev", **members)
    body = fleet.fresh(made["challenge"])
    assert fleet.post(body).word == "pending"
    found = house.good("GET", "/requests?state=waiting")["items"]
    return body, next(item for item in found if item["user"] == user)


def test_A6_nobody_approves_an_own_request_and_one_approver_counts_once(house):
    name = profile(house, "approved", approvals=2)
    fleet = Fleet(house, name)
    own, first, second = (approver(house, who) for who in (name, "first", "second"))
    auditor = approver(house, "looker", ["auditor"])
    body, request = waiting(house, fleet, name)
    path = f"/requests/{request['id']}/approve"

    def approve(token):
        return house.api("POST", path, token=token).status

    assert approve(own) == 403  # the user it is for
    assert approve(auditor) == 403  # not the role
    assert fleet.post(body).word == "pending"
    assert approve(first) == 200
    assert approve(first) == 409
    assert fleet.post(body).word == "pending"
    assert not house.certificates(user=name)
    assert approve(second) == 200
    reply = fleet.post(body)
    end = time.monotonic() + 10
    while reply.word == "pending" and time.monotonic() < end:
        time.sleep(0.2)
        reply = fleet.post(body)
    assert reply.word == "issued" and len(house.certificates(user=name)) == 1
    assert approve(second) == 409
    fleet.close()


def test_A6_whoever_made_the_challenge_does_not_approve_it(house):
    name = profile(house, "madeby", approvals=1)
    maker = approver(house, "maker", ["operator", "approver"])
    fleet = Fleet(house, name)
    made = house.good("POST", "/challenges", {
        "user": name, "profile": name, "subject": "CN=dev"}, token=maker)  # fmt: skip
    assert fleet.post(fleet.fresh(made["challenge"])).word == "pending"
    request = [r for r in house.good("GET", "/requests?state=waiting")["items"]
               if r["user"] == name][0]  # fmt: skip
    answer = house.api("POST", f"/requests/{request['id']}/approve", token=maker)
    assert answer.status == 403
    assert not house.certificates(user=name)
    fleet.close()


def test_A6_a_refused_request_is_over(house):
    name = profile(house, "refusing", approvals=1)
    fleet = Fleet(house, name)
    body, request = waiting(house, fleet, name)
    token = approver(house, "refuser")
    path = f"/requests/{request['id']}"
    house.good("POST", path + "/refuse", {"reason": "not known here"}, token=token)
    assert house.api("POST", path + "/approve", token=token).status == 409
    assert fleet.post(body).word == BAD_REQUEST
    assert not house.certificates(user=name)
    fleet.close()


def test_A4_a_stranger_does_not_poll_anothers_request(house):
    name = profile(house, "polled", approvals=1)
    fleet = Fleet(house, name)
    fleet.device("stranger")
    made = house.challenge(name, name, subject="CN=dev")
    csr = fleet.csr(fleet.key("mine", "ec:P-256"), challenge=made["challenge"])
    assert fleet.post(fleet.message(csr, transaction="polled-1")).word == "pending"
    subject = fleet.tool.do("issuer_and_subject", issuer="issuing", subject="dev")
    poll = {"type": "20", "transaction": "polled-1"}
    assert fleet.post(fleet.message(subject, **poll)).word == "pending"
    theirs = fleet.message(subject, "stranger", **poll)
    assert fleet.post(theirs, signer="stranger").word == "fail 4"
    request = [r for r in house.good("GET", "/requests?state=waiting")["items"]
               if r["user"] == name][0]  # fmt: skip
    house.good("POST", f"/requests/{request['id']}/approve", token=approver(house, "yes"))
    assert fleet.post(theirs, signer="stranger").word == "fail 4"
    assert fleet.post(fleet.message(subject, **poll)).word == "issued"
    fleet.close()


# ---- Rates (A7) ----


def test_A7_a_source_that_proves_nothing_is_slowed_down(fresh_house):
    house = fresh_house
    house.change_config(limits={"requests_per_second": 2, "burst": 20})
    house.start()
    house.user("alice")
    fleet = Fleet(house)
    bodies = [fleet.fresh("0" * 48) for _ in range(40)]
    made = house.challenge("alice", subject="CN=dev")
    words = [fleet.post(body).word for body in bodies]
    assert words.count("http 429") >= 10, words
    assert set(words) == {"fail 2", "http 429"}
    answer = house.get("/scep/default?operation=GetCACaps")
    if answer.status == 429:
        assert int(answer.headers["Retry-After"]) >= 1
    assert house.get("/health/live").status in (200, 429)
    assert house.cli("user", "list").returncode == 0  # the socket is not a stranger
    end = time.monotonic() + 30
    reply = fleet.post(fleet.fresh(made["challenge"]))
    while reply.http == 429 and time.monotonic() < end:
        time.sleep(1)
        reply = fleet.post(fleet.fresh(made["challenge"]))
    assert reply.word == "issued"
    fleet.close()


# ---- The next issuer ----


def test_the_next_issuer_is_seen_by_the_running_daemon(fresh_house):
    house = fresh_house
    house.start()
    house.user("alice")
    fleet = Fleet(house)
    url = "/scep/default?operation="
    assert "GetNextCACert" not in house.get(url + "GetCACaps").body.decode()
    assert house.get(url + "GetNextCACert").status in (400, 404)
    done = house.cli("issuer", "rollover", "issuing", "--standby", "issuing-2")
    assert "stands by" in done.out and "reads it now" in done.out + done.err
    end = time.monotonic() + 15
    while "GetNextCACert" not in house.get(url + "GetCACaps").body.decode():
        assert time.monotonic() < end, house.words()
        time.sleep(0.2)
    answer = house.get(url + "GetNextCACert")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/x-x509-next-ca-cert"
    # Signed by the present RA over a certs-only SignedData with the next one.
    (house.data / "next.p7").write_bytes(answer.body)
    trusted = house.data / "trusted.pem"
    trusted.write_text((house.data / "root.pem").read_text()
                       + (house.data / "chain.pem").read_text())  # fmt: skip
    done = run("openssl", "cms", "-verify", "-inform", "DER", "-in", house.data / "next.p7",
               "-CAfile", trusted, "-purpose", "any", "-binary")  # fmt: skip
    found = certificates_of(done.stdout)
    assert any("issuing-2" in subject_of(der) for der in found), [subject_of(d) for d in found]
    # The present one still issues, and a second standby is refused.
    made = house.challenge("alice", subject="CN=dev")
    reply = fleet.post(fleet.fresh(made["challenge"]))
    assert reply.word == "issued" and "issuing-2" not in openssl_x509(reply.certificate, "-issuer")
    again = house.cli("issuer", "rollover", "issuing", "--standby", "issuing-3", check=False)
    assert again.returncode == 1 and "already" in again.err
    assert house.get("/crl/issuing-2.crl").status == 200
    house.process.send_signal(signal.SIGHUP)
    assert house.get("/health/ready").status == 200
    fleet.close()
