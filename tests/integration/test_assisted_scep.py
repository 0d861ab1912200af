"""SCEP of activated devices (ECSPEKE-ACT-1 section 13): the three modes, by our own CA
and by another daemon as the upstream, and what is refused."""

import concurrent.futures
import hashlib
import json
import re
import socket
import ssl
import time
import urllib.parse

import pytest
from conftest import free_ports, house_end, run
from scep import Fleet, certificates_of, openssl_x509, serial_of, subject_of
from scep_device import (
    NUMBERS,
    Device,
    activation_house,
    assisted,
    decode,
    dynamic_upstream,
    encode,
    expire,
    first_pem,
    info_of,
    secret_file,
    working_profile,
)
from scep_house import challenges, fleet, upstream  # noqa: F401


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    made = activation_house(tmp_path_factory)
    working_profile(made, "wifi")
    yield made
    house_end(made)


@pytest.fixture
def device(house, fleet, tmp_path):
    made = Device(house, fleet, f"user{next(NUMBERS)}", tmp_path)
    made.report()
    return made


def test_profile_says_all_that_the_device_needs(house, fleet, tmp_path):
    device = Device(house, fleet, "paula", tmp_path)
    path = "/activation/v1/scep-profile"
    assert device.error("GET", path) == (409, "report_required")
    device.report()
    answer = device.call("GET", path)
    assert answer.headers["Cache-Control"] == "no-store"
    profile = answer.json
    token = re.fullmatch(r"https://[^/]+(:\d+)?/scep/wifi/([A-Za-z0-9_-]{22})/pkiclient.exe",
                         profile.pop("url"))  # fmt: skip
    assert token
    challenge = profile.pop("challenge")
    assert re.fullmatch("[A-Za-z0-9_-]{43}", challenge)
    issuing = first_pem((house.data / "chain.pem").read_text())
    assert decode(profile.pop("ca_sha256")) == hashlib.sha256(issuing).digest()
    assert profile == {
        "v": 1, "profile": "wifi", "version": 1, "modes": ["proxy", "assisted", "simple"],
        "ca_ident": "wifi", "subject": "CN=paula",
        "san": [{"type": "rfc822", "value": "paula@example.com"}],
        "key": {"alg": "rsa", "bits": 2048},
        "key_usage": ["digitalSignature", "keyEncipherment"], "eku": ["1.3.6.1.5.5.7.3.2"],
        "digest": "sha256", "cipher": "aes256", "challenge_expires_in": 3600,
        "retries": 3, "retry_delay": 10, "renew_before_days": 30,
    }  # fmt: skip
    again = device.profile()
    assert again["challenge"] != challenge
    made = house.audit(action="offer.create")
    assert len([entry for entry in made if entry["detail"]["user"] == "paula"]) == 2
    assert challenge not in json.dumps(made)


def test_simple_gives_one_certificate_and_the_same_again(device):
    device.make_key("simple")
    csr = device.csr("simple")
    assert device.error(*device.step("enroll", {"csr": encode(csr)})) == (410, "txn_gone")
    device.profile()
    answer = device.call(*device.step("enroll", {"csr": encode(csr)}))
    assert answer.status == 200, (answer.body, device.house.words())
    certificate = decode(answer.json["cert"])
    assert subject_of(certificate) == f"subject=CN = {device.user}"
    assert f"email:{device.user}@example.com" in openssl_x509(
        certificate, "-ext", "subjectAltName"
    )
    chain = [decode(one) for one in answer.json["chain"]]
    assert chain[0] == first_pem((device.house.data / "chain.pem").read_text())
    assert openssl_x509(certificate, "-issuer").split("=", 1)[1].strip() == (
        subject_of(chain[0]).split("=", 1)[1].strip()
    )
    assert subject_of(chain[-1])[8:] == openssl_x509(chain[-1], "-issuer")[7:]
    again = device.call(*device.step("enroll", {"csr": encode(csr)}))
    assert again.json == answer.json
    other = device.csr("simple", digest="SHA384")
    assert device.error(*device.step("enroll", {"csr": encode(other)})) == (410, "txn_gone")
    record = [one for one in device.house.certificates(user=device.user)
              if one["serial"] == serial_of(certificate)][0]  # fmt: skip
    activation = [one for one in device.house.certificates(user=device.user)
                  if one["serial"] == device.serial][0]  # fmt: skip
    assert record["device"] == activation["device"]
    assert activation["state"] == "issued", "the activation's certificate stays"
    # The working certificate is not for these resources.
    device.certificate_file.with_name("wifi.pem").write_text(
        ssl.DER_cert_to_PEM_cert(certificate)
    )
    assert device.error(
        "GET", "/activation/v1/scep-profile",
        cert=device.certificate_file.with_name("wifi.pem"), key=device.folder / "simple.key",
    ) == (403, "wrong_certificate")  # fmt: skip


def test_A5_a_device_that_is_disabled_waits_for_no_policy(device):
    house = device.house
    key = device.make_key("waits")
    device.profile()
    answer = device.call(*device.step("enroll", {"csr": encode(device.csr("waits"))}))
    work = device.folder / "waits.pem"
    work.write_text(ssl.DER_cert_to_PEM_cert(decode(answer.json["cert"])))
    context = house.tls_context(work, key)
    path = house.secure + "/activation/v1/policy"
    tag = house.call("GET", path, context=context).headers["ETag"]
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        begun = time.monotonic()
        waiting = pool.submit(house.call, "GET", path + "?wait=25",
                              headers={"If-None-Match": tag}, context=context)  # fmt: skip
        time.sleep(1)
        user = house.api("GET", f"/users/{device.user}")
        house.good("PATCH", f"/users/{device.user}", {"state": "disabled"},
                   headers={"If-Match": user.headers["ETag"]})  # fmt: skip
        answer = waiting.result()
    assert (answer.status, answer.json["error"]) == (403, "wrong_certificate")
    assert time.monotonic() - begun < 15


def test_simple_refuses_in_its_words_and_the_third_kills(device):
    device.make_key("wrong")
    device.fleet.key("large", "rsa:3072")
    device.profile()
    for csr, word in (
        (device.csr("wrong", cn="somebody"), "subject_mismatch"),
        (device.csr("wrong", san="email:boss@example.com"), "san_mismatch"),
    ):
        assert device.error(*device.step("enroll", {"csr": encode(csr)})) == (422, word)
    good = device.csr("wrong")
    assert device.call(*device.step("enroll", {"csr": encode(good)})).status == 200
    device.profile()
    for csr, word in (
        (device.csr("large"), "key_rejected"),
        (device.csr("wrong", broken=True), "bad_signature"),
        (device.csr("wrong", san=None), "san_mismatch"),
    ):
        body = {"csr": encode(csr)}
        assert device.error(*device.step("enroll", body)) == (422, word)
    fresh = device.csr("wrong", digest="SHA512")
    assert device.error(*device.step("enroll", {"csr": encode(fresh)})) == (410, "txn_gone")
    killed = [entry for entry in device.house.audit(action="offer.mismatch")
              if entry["detail"].get("killed")]  # fmt: skip
    assert killed
    assert device.error(*device.step("enroll", {"csr": "AA=="})) == (400, "bad_request")
    assert device.error(*device.step("enroll", {"csr": encode(b"0")})) == (400, "bad_request")
    assert device.error(*device.step("enroll", {"csr": encode(good)}, "other")) == (
        404, "no_profile")  # fmt: skip


def test_proxy_is_stock_scep_under_a_path_of_its_own(device):
    fleet, house = device.fleet, device.house
    device.make_key("proxy")
    profile = device.profile()
    for der in certificates_of(house.call("GET", device.place(profile) + "?operation=GetCACert").body):
        if "RA" in subject_of(der):
            fleet.tool.do("load", name="ra", der=der)
    csr = device.csr("proxy", challenge=profile["challenge"])
    message = fleet.message(csr, "proxy")
    # Not under another path, not with another device's certificate.
    assert device.post(profile, message, "proxy", url=house.scep("wifi"))[0] == "fail 2"
    stranger = Device(house, fleet, "stranger", device.folder)
    context = house.tls_context(stranger.certificate_file, stranger.key_file)
    secure = house.secure + urllib.parse.urlsplit(profile["url"]).path
    assert device.post(profile, message, "proxy", url=secure, context=context)[0] == "http 403"
    own = house.tls_context(device.certificate_file, device.key_file)
    word, certificate = device.post(profile, message, "proxy", url=secure, context=own)
    assert word == "issued", house.words()
    assert device.post(profile, message, "proxy") == ("issued", certificate)
    again = fleet.message(csr, "proxy")
    assert device.post(profile, again, "proxy")[0] == "fail 2"


def test_proxy_challenge_dies_of_three_mismatches(device):
    fleet = device.fleet
    device.make_key("dies")
    profile = device.profile()
    for cn in ("one", "two", "three"):
        csr = device.csr("dies", cn=cn, challenge=profile["challenge"])
        assert device.post(profile, fleet.message(csr, "dies"), "dies")[0] == "fail 2"
    csr = device.csr("dies", challenge=profile["challenge"])
    assert device.post(profile, fleet.message(csr, "dies"), "dies")[0] == "fail 2"
    csr = device.csr("dies", challenge=device.profile()["challenge"])
    fresh = device.profile()
    assert device.post(fresh, fleet.message(csr, "dies"), "dies")[0] == "fail 2"
    csr = device.csr("dies", challenge=fresh["challenge"])
    assert device.post(fresh, fleet.message(csr, "dies"), "dies")[0] == "issued"


def test_assisted_keeps_the_challenge_at_the_server(device):
    fleet = device.fleet
    profile = device.profile()
    body = assisted(device, "helped")
    answer = device.call(*device.step("envelope", body))
    assert answer.status == 200, (answer.body, device.house.words())
    fleet.tool.do("load", name="ra", der=decode(answer.json["ca"][0]))
    message = fleet.message(b"x", "helped", envelope=decode(answer.json["enveloped"]),
                            transaction=answer.json["transaction_id"])  # fmt: skip
    word, certificate = device.post(profile, message, "helped")
    assert word == "issued", device.house.words()
    assert subject_of(certificate) == f"subject=CN = {device.user}"
    assert device.post(profile, message, "helped") == ("issued", certificate)
    assert device.error(*device.step("envelope", body)) == (410, "txn_gone")


def test_assisted_refuses_what_does_not_fit(device):
    device.profile()
    device.make_key("bent")
    for csr, word in (
        (device.csr("bent", cn="somebody"), "subject_mismatch"),
        (device.csr("bent", san="email:boss@example.com"), "san_mismatch"),
    ):
        body = {"cri": encode(info_of(csr)), "digest": "sha256"}
        assert device.error(*device.step("prepare", body)) == (422, word)
    body = {"cri": encode(info_of(device.csr("bent", challenge="mine"))), "digest": "sha256"}
    assert device.error(*device.step("prepare", body)) == (400, "bad_request")
    body = {"cri": encode(info_of(device.csr("bent"))), "digest": "md5"}
    assert device.error(*device.step("prepare", body)) == (400, "bad_request")
    device.profile()
    body = assisted(device, "foreign")
    stranger = Device(device.house, device.fleet, "stranger2", device.folder)
    stranger.report()
    stranger.profile()
    assert stranger.error(*device.step("envelope", body)) == (410, "txn_gone")
    body = assisted(device, "unsigned")
    body["sig"] = encode(bytes(256))
    assert device.error(*device.step("envelope", body)) == (422, "bad_signature")
    assert device.error(*device.step("envelope", body)) == (410, "txn_gone")


def test_R8_what_is_signed_and_the_signature_have_their_sizes(device):
    device.profile()

    def why():
        return device.house.audit(action="enrol.refuse")[0]["detail"]["reason"]

    for size in (8192, 8193):
        info = b"\x30\x82" + (size - 4).to_bytes(2, "big") + bytes(size - 4)
        assert device.error(*device.step("prepare", {"cri": encode(info), "digest": "sha256"})) == (400, "bad_request")
        assert (why() == f"CertificationRequestInfo of {size} octets") == (size > 8192)
    body = assisted(device, "sized")
    for size, told in ((1025, (400, "bad_request")), (0, (400, "bad_request")), (1024, (422, "bad_signature"))):
        wrong = {**body, "sig": encode(b"\x01" * size)}
        assert device.error(*device.step("envelope", wrong)) == told, size
    assert device.error(*device.step("envelope", body)) == (410, "txn_gone"), "spent by the last"
    body = assisted(device, "earlier")
    device.profile()
    assert device.error(*device.step("envelope", body)) == (410, "txn_gone"), "of the offer before"
    assert "another offer" in why()


def test_A3_a_known_device_that_is_refused_is_listed(device):
    """Each once, with the device and the word that it got; what it may ask again is not."""
    stranger = Device(device.house, device.fleet, f"user{next(NUMBERS)}", device.folder)
    for one in (device, stranger):
        one.report()
        one.profile()
    theirs = assisted(stranger, "theirs")
    device.make_key("own")
    info = encode(info_of(device.csr("own")))

    def listed():
        return [(entry["outcome"], entry["actor"]) for entry in device.house.audit(action="enrol.refuse")
                if entry["protocol"] == "activation"]  # fmt: skip

    (own,) = (one["device"] for one in device.house.certificates() if one["serial"] == device.serial)
    for words, code in (
        (device.step("envelope", theirs), "txn_gone"),
        (device.step("envelope", {**theirs, "cipher": "des"}), "bad_request"),
        (device.step("prepare", {"cri": info, "digest": "md5"}), "bad_request"),
        (device.step("prepare", {"cri": encode(b"0\0")}), "bad_request"),
        (device.step("enroll", {"csr": encode(b"0\0")}), "bad_request"),
        (device.step("enroll", {"csr": encode(device.csr("own"))}, "nothing"), "no_profile"),
        (("PUT", "/activation/v1/device", {"device": {}, "software": {}}), "bad_request"),
    ):
        before = listed()
        assert device.error(*words)[1] == code, words
        now = listed()
        assert now[: len(now) - len(before)] == [(code, f"device:{own}")], words


def test_a_path_is_for_one_device_and_its_time(house, fleet, tmp_path):
    name = f"user{next(NUMBERS)}"
    working_profile(house, f"strict-{name}", path_token=True, client_certificate=True)
    device = Device(house, fleet, name, tmp_path, profile=f"strict-{name}")
    stranger = Device(house, fleet, f"{name}-other", tmp_path, profile=f"strict-{name}")
    for one in (device, stranger):
        one.report()
    device.make_key("strict")
    profile = device.profile()
    own = house.tls_context(device.certificate_file, device.key_file)
    found = house.call("GET", house.secure + urllib.parse.urlsplit(profile["url"]).path + "?operation=GetCACert",
                       context=own)  # fmt: skip
    assert found.status == 200, house.words()
    for der in certificates_of(found.body):
        if "RA" in subject_of(der):
            fleet.tool.do("load", name="ra", der=der)

    def post(profile, url=None, who=device):
        csr = device.csr("strict", challenge=profile["challenge"])
        message = fleet.message(csr, "strict")
        path = urllib.parse.urlsplit(profile["url"]).path
        context = who and house.tls_context(who.certificate_file, who.key_file)
        return device.post(profile, message, "strict", context=context,
                           url=house.secure + path if url is None else url)[0]  # fmt: skip

    assert post(profile, who=None) == "http 403", "no certificate"
    assert post(profile, url=device.place(profile), who=None) == "http 403"
    assert post(profile, who=stranger) == "http 403"
    token = profile["url"].split("/")[-2]
    for other in ("A" * 22, token[:-1] + ("A" if token[-1] != "A" else "B"), stranger.profile()["url"].split("/")[-2]):
        url = house.secure + f"/scep/strict-{name}/{other}/pkiclient.exe"
        assert post(profile, url=url) in ("http 404", "http 403")
    assert post(profile, url=f"{house.secure}/scep/strict-{name}/pkiclient.exe") == "http 404"
    assert post(profile, url=f"{house.secure}/scep/wifi/{token}/pkiclient.exe") in ("http 404", "fail 2")
    replaced, profile = profile, device.profile()
    assert post(replaced) == "http 404", "a path ends with its offer"
    expire(house, device)
    assert post(profile) == "http 404", "and in time"
    csr = encode(device.csr("strict"))
    step = device.step("enroll", {"csr": csr}, f"strict-{name}")
    assert device.error(*step) == (410, "txn_gone")
    assert post(device.profile()) == "issued", house.words()
    for _ in range(100):  # counts reach the store together
        refused = [entry for entry in house.audit(action="request.refuse") if entry["protocol"] == "scep"]
        if sum(entry["count"] for entry in refused) >= 3:
            return
        time.sleep(0.1)
    raise AssertionError(refused)


def test_subject_is_written_last_rdn_first(house, fleet, tmp_path):
    house.good("POST", "/profiles/certificate", {
        "name": "two", "settings": {"issuer": "issuing", "protocols": ["scep"],
                                    "subject": "CN={{user.name}},OU=ws\\, one,O=Example"}})  # fmt: skip
    house.good("POST", "/profiles/scep", {"name": "two", "settings": {"certificate": "two"}})
    device = Device(house, fleet, f"user{next(NUMBERS)}", tmp_path, profile="two")
    device.report()
    told = re.split(r"(?<!\\),", device.profile()["subject"])
    assert sorted(told) == [f"CN={device.user}", "O=Example", "OU=ws\\, one"]
    key = device.make_key("two")
    csr = tmp_path / "two.csr"
    for order, status in ((told, 422), (told[::-1], 200)):
        subject = "".join("/" + one.replace("\\,", ",") for one in order)
        run("openssl", "req", "-new", "-key", key, "-subj", subject, "-outform", "DER",
            "-out", csr)  # fmt: skip
        answer = device.call(*device.step("enroll", {"csr": encode(csr.read_bytes())}, "two"))
        assert answer.status == status, (subject, answer.body)


# ---- An upstream ----


@pytest.fixture
def carried(house, upstream, challenges, fleet, tmp_path):
    """A device whose scep profile is another CA's."""
    name = f"user{next(NUMBERS)}"
    dynamic_upstream(house, upstream, challenges, name)
    made = Device(house, fleet, name, tmp_path, profile=f"up-{name}")
    made.report()
    return made


def load_upstream_ra(device, profile, name="ra-up"):
    found = device.house.call("GET", device.place(profile) + "?operation=GetCACert")
    assert found.status == 200, device.house.words()
    for der in certificates_of(found.body):
        if "RA" in subject_of(der):
            device.fleet.tool.do("load", name=name, der=der)


def test_upstream_proxy_passes_messages_on(carried, upstream):
    profile = carried.profile()
    issuing = first_pem((upstream.data / "chain.pem").read_text())
    assert decode(profile["ca_sha256"]) == hashlib.sha256(issuing).digest()
    load_upstream_ra(carried, profile)
    caps = carried.house.call("GET", carried.place(profile) + "?operation=GetCACaps")
    assert b"AES" in caps.body
    carried.make_key("passed")
    csr = carried.csr("passed", challenge=profile["challenge"])
    message = carried.fleet.message(csr, "passed", recipient="ra-up")
    word, certificate = carried.post(profile, message, "passed", ra="ra-up")
    assert word == "issued", upstream.words()
    assert serial_of(certificate) in [one["serial"] for one in upstream.certificates()]
    assert serial_of(certificate) not in [one["serial"] for one in carried.house.certificates()]
    # Only under its path, only these operations, and not endlessly.
    bare = carried.house.scep(profile["profile"])
    assert carried.house.call("GET", bare + "?operation=GetCACert").status == 404
    odd = carried.house.call("GET", carried.place(profile) + "?operation=Other")
    assert odd.status == 400
    found = [carried.house.call("GET", carried.place(profile) + "?operation=GetCACaps").status
             for _ in range(40)]  # fmt: skip
    assert 200 in found and 429 in found


def test_upstream_assisted_hides_the_upstreams_challenge(carried, upstream):
    profile = carried.profile()
    body = assisted(carried, "lent", profile["profile"])
    answer = carried.call(*carried.step("envelope", body, profile["profile"]))
    assert answer.status == 200, (answer.body, carried.house.words())
    carried.fleet.tool.do("load", name="ra-up", der=decode(answer.json["ca"][0]))
    message = carried.fleet.message(
        b"x", "lent", recipient="ra-up", envelope=decode(answer.json["enveloped"]),
        transaction=answer.json["transaction_id"])  # fmt: skip
    word, certificate = carried.post(profile, message, "lent", ra="ra-up")
    assert word == "issued", upstream.words()
    assert serial_of(certificate) in [one["serial"] for one in upstream.certificates()]


def test_S4_an_upstreams_offer_is_one_keys_and_gives_one_certificate(carried, challenges):
    name, step = f"up-{carried.user}", carried.step
    carried.profile()
    before = challenges.given
    first = assisted(carried, "once", name)
    carried.make_key("twice")
    other = {"cri": encode(info_of(carried.csr("twice"))), "digest": "sha256"}
    assert carried.error(*step("prepare", other, name)) == (422, "key_rejected")
    second = assisted(carried, "once", name, key=carried.folder / "once.key")
    assert carried.error(*step("envelope", first, name)) == (410, "txn_gone")
    assert carried.call(*step("envelope", second, name)).status == 200, carried.house.words()
    assert carried.error(*step("envelope", second, name)) == (410, "txn_gone")
    again = {"cri": encode(info_of(carried.csr("once"))), "digest": "sha256"}
    assert carried.error(*step("prepare", again, name)) == (410, "txn_gone")
    assert challenges.given == before + 2
    used = carried.house.audit(action="offer.use")
    assert len([entry for entry in used if entry["detail"].get("user") == carried.user]) == 1
    carried.profile()
    before = challenges.given
    found = [carried.call(*step("prepare", again, name)).status for _ in range(7)]
    assert found == [200] * 5 + [429] * 2
    assert challenges.given == before + 5


def change_scep(house, name, change):
    path = f"/profiles/scep/{name}"
    present = house.api("GET", path)
    settings = present.json["settings"]
    change(settings)
    answer = house.api("PUT", path, {"name": name, "settings": settings},
                       headers={"If-Match": present.headers["ETag"]})  # fmt: skip
    assert answer.status == 200, answer.body


def test_upstream_static_challenge_is_strong_or_not_used(house, carried, upstream):
    name = f"up-{carried.user}"
    made = upstream.challenge(carried.user, "default2")["challenge"]
    secret_file(house, "static", made + "\n")
    change_scep(house, name, lambda settings: settings["upstream"].update(
        challenge="static", challenge_file="static", challenge_url=None))  # fmt: skip
    profile = carried.profile()
    assert profile["challenge"] == made
    load_upstream_ra(carried, profile)
    carried.make_key("static")
    csr = carried.csr("static", challenge=made)
    message = carried.fleet.message(csr, "static", recipient="ra-up")
    assert carried.post(profile, message, "static", ra="ra-up")[0] == "issued", upstream.words()
    secret_file(house, "static", "correct-horse\n")
    assert carried.error("GET", "/activation/v1/scep-profile") == (502, "upstream")
    # A device could guess at a short one by the digest that it signs (13.5, warning b).
    change_scep(house, name, lambda settings: settings.update(modes=["assisted"]))
    carried.profile()
    carried.make_key("guess")
    body = {"cri": encode(info_of(carried.csr("guess"))), "digest": "sha256"}
    assert carried.error(*carried.step("prepare", body, name)) == (502, "upstream")


def test_upstream_path_wants_the_devices_certificate_where_the_profile_does(house, carried, fleet, tmp_path):
    change_scep(house, f"up-{carried.user}", lambda settings: settings.update(path_token=True, client_certificate=True))
    profile = carried.profile()
    secure = house.secure + urllib.parse.urlsplit(profile["url"]).path + "?operation=GetCACert"
    stranger = Device(house, fleet, f"user{next(NUMBERS)}", tmp_path)
    for who, status in ((None, 403), (stranger, 403), (carried, 200)):
        context = who and house.tls_context(who.certificate_file, who.key_file)
        assert house.call("GET", secure, context=context).status == status
    assert house.call("GET", carried.place(profile) + "?operation=GetCACert").status == 403
    expire(house, carried)
    context = house.tls_context(carried.certificate_file, carried.key_file)
    assert house.call("GET", secure, context=context).status == 404


def test_an_upstream_that_is_silent_keeps_nobody_else_waiting(tmp_path_factory, tmp_path):
    """Nine requests may wait here, two of them for CAs of somebody else."""
    house = activation_house(tmp_path_factory)
    silent = socket.create_server(("127.0.0.1", 0), backlog=64)
    try:
        house.stop()
        house.change_config(limits={"workers": 16})
        house.start()
        working_profile(house, "far", upstream={
            "url": "http://127.0.0.1:9/scep/x", "ca_sha256": "00" * 32, "ra_sha256": ["00" * 32],
            "challenge": "dynamic", "challenge_file": secret_file(house, "ndes", "uem:secret\n"),
            "challenge_url": f"https://127.0.0.1:{silent.getsockname()[1]}/mscep_admin"})  # fmt: skip
        fleet = Fleet(house)
        device = Device(house, fleet, "carried", tmp_path, profile="far")
        device.report()
        house.user("other")
        fleet.device("near")
        with concurrent.futures.ThreadPoolExecutor(9) as pool:
            asked = [pool.submit(device.error, "GET", "/activation/v1/scep-profile") for _ in range(9)]
            started = time.monotonic()
            while sum(one.done() for one in asked) < 7 and time.monotonic() - started < 10:
                time.sleep(0.05)
            assert sum(one.done() for one in asked) == 7, "two are asked for, no more"
            fleet.enrol("near", user="other")
            assert not all(one.done() for one in asked), "all the while"
            silent.close()
        assert {one.result() for one in asked} == {(502, "upstream")}
        fleet.close()
    finally:
        silent.close()
        house_end(house)


def test_upstream_that_is_down_is_said_so(house, fleet, tmp_path, carried):
    dead = f"http://127.0.0.1:{free_ports(1)[0]}/scep/x"
    path = f"/profiles/scep/up-{carried.user}"
    present = house.api("GET", path)
    settings = present.json["settings"]
    profile = carried.profile()
    settings["upstream"]["url"] = dead
    settings["upstream"]["challenge"] = "none"
    answer = house.api("PUT", path, {"name": present.json["name"], "settings": settings},
                       headers={"If-Match": present.headers["ETag"]})  # fmt: skip
    assert answer.status == 200, answer.body
    assert house.call("GET", carried.place(profile) + "?operation=GetCACert").status == 502
    carried.profile()
    name = f"up-{carried.user}"
    carried.make_key("down")
    body = assisted(carried, "down2", name)
    assert carried.error(*carried.step("envelope", body, name)) == (502, "upstream")
    body = {"csr": encode(carried.csr("down"))}
    assert carried.profile()["modes"] == ["proxy", "assisted"], "there is no RA certificate"
    assert carried.error(*carried.step("enroll", body, name)) == (404, "no_profile")
    settings["upstream"]["challenge"] = "dynamic"
    settings["upstream"]["challenge_url"] = "https://127.0.0.1:9/none"
    present = house.api("GET", path)
    answer = house.api("PUT", path, {"name": present.json["name"], "settings": settings},
                       headers={"If-Match": present.headers["ETag"]})  # fmt: skip
    assert answer.status == 200, answer.body
    assert carried.error("GET", "/activation/v1/scep-profile") == (502, "upstream")
