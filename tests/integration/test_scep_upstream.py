"""Mode simple towards somebody else's CA (ECSPEKE-ACT-1 section 13.5): the server asks it
under an RA certificate, and what it answers is believed no further than it is proven."""

import concurrent.futures
import contextlib
import json
import sqlite3
import ssl
import time

import pytest
from conftest import free_ports, house_end, run
from scep import subject_of
from scep_device import NUMBERS, Device, activation_house, decode, encode, working_profile
from scep_house import ca, fleet  # noqa: F401


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = activation_house(tmp_path_factory)
    yield made
    house_end(made)


@pytest.fixture
def device(house, fleet, ca, tmp_path):
    ca.how, ca.asked = "issue", []
    name = f"user{next(NUMBERS)}"
    working_profile(house, f"ra-{name}", modes=["simple"], retry_delay=7, upstream=ca.members)
    made = Device(house, fleet, name, tmp_path, profile=f"ra-{name}")
    made.report()
    made.make_key("mine")
    return made


def enroll(device, csr):
    return device.call(*device.step("enroll", {"csr": encode(csr)}, f"ra-{device.user}"))


def used(device):
    return [entry for entry in device.house.audit(action="offer.use")
            if entry["detail"]["user"] == device.user]  # fmt: skip


def test_the_upstream_issues_once_and_the_same_again(device, ca):
    device.profile()
    csr = device.csr("mine")
    answer = enroll(device, csr)
    assert answer.status == 200, (answer.body, device.house.words())
    certificate = decode(answer.json["cert"])
    assert subject_of(certificate) == f"subject=CN = {device.user}"
    assert [decode(one) for one in answer.json["chain"]] == [
        ssl.PEM_cert_to_DER_cert(ca.pem.read_text())]  # fmt: skip
    again = enroll(device, csr)
    assert (again.status, again.json) == (200, answer.json)
    assert ca.asked == ["19"]
    assert len(used(device)) == 1
    other = device.csr("mine", digest="SHA384")
    assert (enroll(device, other).status, enroll(device, other).json["error"]) == (410, "txn_gone")


def asking(device, *extensions):
    """A PKCS#10 with the device's names that asks for these extensions as well."""
    words = [f"subjectAltName={device.mail}", *extensions]
    made = device.folder / "asking.csr"
    run("openssl", "req", "-new", "-key", device.folder / "mine.key", "-subj", f"/CN={device.user}",
        "-outform", "DER", "-out", made, *(part for word in words for part in ("-addext", word)))  # fmt: skip
    return made.read_bytes()


def test_R5_the_upstream_is_asked_for_nothing_but_what_was_offered(device, ca):
    for extension in ("extendedKeyUsage=clientAuth,1.3.6.1.4.1.311.20.2.2",
                      "extendedKeyUsage=1.3.6.1.4.1.311.20.2.1",
                      "1.3.6.1.4.1.311.25.2=ASN1:UTF8:S-1-5-21-500",
                      "1.3.6.1.4.1.311.20.2=ASN1:BMP:User"):  # fmt: skip
        device.profile()
        answer = enroll(device, asking(device, extension))
        assert (answer.status, answer.json["error"]) == (422, "san_mismatch"), extension
    assert ca.asked == [] and used(device) == []
    found = device.house.audit(action="offer.mismatch")
    assert [entry["detail"]["mismatch"] for entry in found].count("san_mismatch") >= 4
    device.profile()
    csr = asking(device, "keyUsage=digitalSignature,keyEncipherment", "extendedKeyUsage=clientAuth")
    assert enroll(device, csr).status == 200, device.house.words()
    assert ca.asked == ["19"]


def test_a_pending_request_is_polled_until_it_is_issued(device, ca):
    device.profile()
    csr = device.csr("mine")
    ca.how = "pending"
    for _ in range(3):
        answer = enroll(device, csr)
        assert (answer.status, answer.json) == (202, {"v": 1, "retry_after": 7})
    ca.how = "issue"
    answer = enroll(device, csr)
    assert answer.status == 200, (answer.body, device.house.words())
    assert ca.asked == ["19", "20", "20", "20"]


def failures(device):
    return [entry for entry in device.house.audit(action="offer.upstream")
            if entry["detail"]["user"] == device.user]  # fmt: skip


def test_a_refusal_is_told_and_another_request_may_follow(device, ca):
    device.profile()
    csr = device.csr("mine")
    ca.how = "pending"
    assert enroll(device, csr).status == 202
    ca.how = "refuse"
    refused = enroll(device, csr)
    assert (refused.status, refused.json["error"]) == (502, "upstream")
    assert "failInfo 2" in failures(device)[0]["detail"]["reason"]
    assert used(device) == []
    # The offer stays bound to the key.
    device.make_key("another")
    answer = enroll(device, device.csr("another"))
    assert (answer.status, answer.json["error"]) == (422, "key_rejected")
    ca.how = "issue"
    assert enroll(device, csr).status == 200
    assert ca.asked == ["19", "20", "19"], "a request that was refused is not polled"


@pytest.mark.parametrize("how", ["other_key", "other_issuer", "other_signer", "other_nonce",
                                 "other_name", "expired", "ca_certificate", "md5_certificate", "md5",
                                 "garbage", "cut", "error", "page", "huge"])  # fmt: skip
def test_an_answer_that_proves_nothing_changes_nothing(device, ca, how):
    device.profile()
    csr = device.csr("mine")
    ca.how = how
    answer = enroll(device, csr)
    assert (answer.status, answer.json) == (502, {"v": 1, "error": "upstream"})
    assert len(failures(device)) == 1 and used(device) == []
    assert failures(device)[0]["outcome"] == "unavailable"
    assert ("answer is too large" in failures(device)[0]["detail"]["reason"]) == (how == "huge")
    ca.how = "pending"
    assert enroll(device, csr).status == 202
    ca.how = how
    assert enroll(device, csr).status == 502
    assert len(failures(device)) == 2 and used(device) == []
    ca.how = "issue"
    assert enroll(device, csr).status == 200
    assert len(used(device)) == 1
    assert ca.asked[-1] == "20", "a poll that failed does not end the request"


def test_W2_an_upstreams_page_is_not_served_as_one_of_ours(house, fleet, ca, tmp_path):
    name = f"user{next(NUMBERS)}"
    working_profile(house, f"ra-{name}", modes=["proxy"], upstream=ca.members)
    device = Device(house, fleet, name, tmp_path, profile=f"ra-{name}")
    device.report()
    place = device.place(device.profile()) + "?operation="
    types = {"GetCACaps": "text/plain", "GetNextCACert": "application/x-x509-next-ca-cert",
             "PKIOperation": "application/x-pki-message"}  # fmt: skip
    ca.how = "page"
    try:
        for operation, kind in types.items():
            method, body = ("POST", b"x") if operation == "PKIOperation" else ("GET", None)
            answer = house.call(method, place + operation, body)
            assert (answer.status, answer.headers["Content-Type"]) == (200, kind), operation
        assert house.call("GET", place + "GetCACert").status == 502, "none of that CA"
    finally:
        ca.how = "issue"


def test_I1_a_daemon_killed_at_the_upstream_asks_again_and_once(house, device, ca):
    """What was on its way is lost: for two minutes nobody sends it, then one does."""
    device.profile()
    csr = device.csr("mine")
    ca.how = "slow"
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(enroll, device, csr)
        time.sleep(2)
        house.kill()
        with pytest.raises(OSError):
            first.result()
    ca.how = "issue"
    house.start()
    again = enroll(device, csr)
    assert (again.status, again.json) == (202, {"v": 1, "retry_after": 7})
    assert ca.asked == [] and used(device) == [] and failures(device) == []
    with contextlib.closing(sqlite3.connect(house.data / "store.db", timeout=30)) as db, db:
        ended = db.execute("UPDATE state SET expires = 1 WHERE space = 'scep/upstream' AND value = ?",
                           (b"flight\0",)).rowcount  # fmt: skip
    assert ended == 1
    answer = enroll(device, csr)
    assert answer.status == 200, (answer.body, house.words())
    assert enroll(device, csr).json == answer.json
    assert ca.asked == ["19"] and len(used(device)) == 1


def test_a_request_sent_twice_at_once_gets_one_answer(device, ca):
    device.profile()
    csr = device.csr("mine")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: enroll(device, csr), range(4)))
    told = [(one.status, one.json.get("error")) for one in answers]
    assert (200, None) in told, told
    assert set(told) <= {(200, None), (202, None)}, told
    assert ca.asked == ["19"], "sent once"
    last = enroll(device, csr).json
    assert all(one.json == last for one in answers if one.status == 200)
    assert len(used(device)) == 1


def test_an_upstream_that_is_slow_or_away_is_said_so(house, fleet, ca, device):
    name, other = f"ra-{device.user}", f"user{next(NUMBERS)}"
    working_profile(house, f"ra-{other}", modes=["simple"], retry_delay=7,
                    upstream={**ca.members, "url": f"http://127.0.0.1:{free_ports(1)[0]}/scep"})  # fmt: skip
    house.good("DELETE", f"/users/{device.user}/profiles/scep/{name}")
    house.good("PUT", f"/users/{device.user}/profiles/scep/ra-{other}")
    device.profile()
    csr = device.csr("mine")
    step = device.step("enroll", {"csr": encode(csr)}, f"ra-{other}")
    assert device.error(*step) == (502, "upstream")
    house.good("DELETE", f"/users/{device.user}/profiles/scep/ra-{other}")
    house.good("PUT", f"/users/{device.user}/profiles/scep/{name}")
    device.profile()
    ca.how = "slow"
    began = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        first = pool.submit(enroll, device, csr)
        time.sleep(3)
        copy = enroll(device, csr)
        assert (copy.status, copy.json) == (202, {"v": 1, "retry_after": 7}), "it is on its way"
        assert time.monotonic() - began < 12 and not first.done()
        assert first.result().status == 502
    assert time.monotonic() - began < 25, "bounded"
    ca.how = "issue"
    assert enroll(device, csr).status == 200


def device_certificate(ca, folder, purpose):
    """A certificate by the upstream's CA for a key of somebody else's."""
    key, csr, pem, extensions = (folder / f"thief.{word}" for word in ("key", "csr", "pem", "ext"))
    extensions.write_text(f"keyUsage=digitalSignature,keyEncipherment\n{purpose}")
    run("openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-subj", "/CN=RA",
        "-out", csr)  # fmt: skip
    run("openssl", "x509", "-req", "-in", csr, "-CA", ca.pem, "-CAkey", ca.key, "-days", "2",
        "-set_serial", "77", "-extfile", extensions, "-out", pem)  # fmt: skip
    return pem


@pytest.mark.parametrize("purpose", ["extendedKeyUsage=clientAuth", "",
                                     "extendedKeyUsage=1.3.6.1.4.1.311.20.2.1"])  # fmt: skip
def test_a_certificate_beside_the_ca_is_not_enveloped_to(device, ca, tmp_path, purpose):
    ca.beside = [device_certificate(ca, tmp_path, purpose)]
    try:
        device.profile()
        # The CA decrypts the request: it was not enveloped to the other key.
        assert enroll(device, device.csr("mine")).status == 200, device.house.words()
    finally:
        ca.beside = []
    assert ca.asked == ["19"]


def test_an_upstream_without_tls_has_its_ra_pinned(house, ca):
    working_profile(house, "pinned")
    for pins in (None, [], ["00"], ["z" * 64]):
        settings = {"certificate": "pinned", "upstream": {**ca.members, "ra_sha256": pins}}
        if pins is None:
            del settings["upstream"]["ra_sha256"]
        answer = house.api("POST", "/profiles/scep", {"name": "unpinned", "settings": settings})
        assert answer.status in (400, 422), answer.body
        assert "/settings/upstream/" in json.dumps(answer.json), answer.body


def test_files_of_secrets_are_what_they_must_be(house, ca, device):
    device.profile()
    csr = device.csr("mine")
    path = house.data / "upstream" / "ra"
    for bend, mend in (
        (lambda: path.chmod(0o640), lambda: path.chmod(0o600)),
        (lambda: path.rename(path.with_name("away")), lambda: path.with_name("away").rename(path)),
    ):
        bend()
        assert enroll(device, csr).json == {"v": 1, "error": "upstream"}
        assert ca.asked == []
        mend()
    assert enroll(device, csr).status == 200


def test_simple_alone_needs_an_ra_certificate(house, ca):
    working_profile(house, "base")
    without = {name: value for name, value in ca.members.items() if name != "ra_file"}
    answer = house.api("POST", "/profiles/scep", {"name": "none", "settings": {
        "certificate": "base", "modes": ["simple"], "upstream": without}})  # fmt: skip
    assert answer.status == 400 or answer.status == 422, answer.body
    assert "/settings/upstream/ra_file" in json.dumps(answer.json), answer.body
