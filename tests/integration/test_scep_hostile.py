"""SCEP from strangers and cheats, against the real daemon: what is refused is refused in
its own words, leaves one trace in the audit, and changes nothing."""

import base64
import collections
import os
import random
import statistics
import time
import urllib.parse

import pytest
from hostile import BAD_ALG, BAD_CERT_ID, BAD_REQUEST, Watch, fleet, grant, house, settle, watch  # noqa: F401
from scep import certificates_of, openssl_x509, serial_of


# ---- The good case: what all others are compared with ----


def test_a_good_request_gets_exactly_what_the_profile_says(house, fleet):
    nonce = os.urandom(16)
    made = grant(house)
    reply = fleet.post(fleet.fresh(made["challenge"], nonce=nonce, transaction="good-1"))
    assert reply.word == "issued" and reply.fields["transaction"] == "good-1"
    assert base64.b64decode(reply.fields["recipient_nonce"]) == nonce
    assert base64.b64decode(reply.fields["sender_nonce"]) != nonce
    assert reply.fields["count"] == 1
    serial = serial_of(reply.certificate)
    record = house.good("GET", f"/certificates/{serial}")
    assert record["state"] == "issued" and record["user"] == "alice"
    entry = house.audit(object=f"certificate:{serial}", action="certificate.issue")
    assert len(entry) == 1 and entry[0]["protocol"] == "scep"


# ---- Message types ----


def test_A1_every_message_type_but_the_five_is_refused(house, fleet):
    made = grant(house)
    csr = fleet.csr(challenge=made["challenge"])
    watch = Watch(house)
    words = {}
    for number in range(256):
        if number != 19:
            words[number] = fleet.post(fleet.message(csr, type=str(number))).word
    expected = {20: BAD_CERT_ID, 21: BAD_CERT_ID, 22: BAD_CERT_ID}
    for number, word in words.items():
        assert word == expected.get(number, BAD_REQUEST), (number, word)
    watch.unchanged(refused=255)


@pytest.mark.parametrize("name", ["019", "+19", "19 ", "", "1" * 20, "99%n%s", "0x13"])
def test_A1_a_message_type_is_compared_as_text(house, fleet, name):
    made = grant(house)
    watch = Watch(house)
    body = fleet.request(made["challenge"], type=name)
    assert fleet.post(body).word in (BAD_REQUEST, "http 400")
    watch.unchanged()


def test_A1_update_and_renewal_need_a_certificate_of_ours(house, fleet):
    """CVE-2026-30836: type 18 skipped the challenge."""
    made = grant(house)
    watch = Watch(house)
    for challenge in (None, made["challenge"]):
        for number in ("17", "18"):
            assert fleet.post(fleet.request(challenge, type=number)).word == BAD_REQUEST
    watch.unchanged(refused=4)


# ---- Proof of possession and keys ----


def test_R1_a_broken_self_signature_of_the_csr_is_refused(house, fleet):
    made = grant(house)
    watch = Watch(house)
    body = fleet.fresh(made["challenge"], csr={"broken": True})
    assert fleet.post(body).word == BAD_REQUEST
    watch.unchanged(why="signature")


def test_R1_md5_and_a_key_that_is_not_the_signers_are_refused(house, fleet):
    made = grant(house)
    watch = Watch(house)
    body = fleet.request(made["challenge"], csr={"digest": "MD5"})
    assert fleet.post(body).word == BAD_REQUEST and watch.says("(?i)md5")
    csr = fleet.csr("other", challenge=made["challenge"])
    assert fleet.post(fleet.message(csr)).word == BAD_REQUEST
    watch.unchanged(refused=2)


def test_R2_R3_keys_below_the_profile_are_refused(house, fleet):
    made = grant(house)
    fleet.device("rsa1024", "rsa:1024")
    for name, kind in (("secp256k1", "ec:secp256k1"), ("p192", "ec:P-192")):
        fleet.key(name, kind)
    watch = Watch(house)
    weak = fleet.request(made["challenge"], "rsa1024", "dev")
    assert fleet.post(weak, signer="rsa1024").word in (BAD_REQUEST, BAD_ALG, "http 400")
    for name in ("secp256k1", "p192"):
        csr = fleet.csr(name, challenge=made["challenge"])
        assert fleet.post(fleet.message(csr)).word == BAD_REQUEST
        assert watch.says("curve")
    # A small key in the request of a good signer: the CSR's own rule refuses.
    csr = fleet.csr("rsa1024", challenge=made["challenge"])
    assert fleet.post(fleet.message(csr)).word == BAD_REQUEST
    watch.unchanged(refused=4)


def test_R3_a_p256_key_is_issued_though_another_key_signs(house, fleet):
    made = grant(house)
    fleet.key("curve", "ec:P-256")
    reply = fleet.post(fleet.message(fleet.csr("curve", challenge=made["challenge"])))
    assert reply.word == "issued"
    assert "prime256v1" in openssl_x509(reply.certificate, "-text")


def test_R4_the_cas_own_key_is_refused(house, fleet):
    """Nobody can make such a CSR, so the signature refuses it; the key would be next."""
    made = grant(house)
    watch = Watch(house)
    csr = bytearray(fleet.csr(challenge=made["challenge"]))
    assert fleet.post(fleet.message(bytes(csr[:-1]))).word == BAD_REQUEST
    assert fleet.post(fleet.message(bytes(csr) + b"\0")).word == BAD_REQUEST
    assert fleet.post(fleet.message(b"")).word == BAD_REQUEST
    watch.unchanged(refused=3)


# ---- What a CSR asks for ----


@pytest.mark.parametrize("bend", ["ca", "cert_sign"])
def test_R5_a_request_to_become_a_ca_is_refused(house, fleet, bend):
    made = grant(house)
    watch = Watch(house)
    body = fleet.fresh(made["challenge"], csr={"bend": bend})
    assert fleet.post(body).word == BAD_REQUEST
    watch.unchanged(why="CA|keyCertSign")


def test_R5_no_extension_of_a_csr_reaches_the_certificate(house, fleet):
    made = grant(house)
    reply = fleet.post(fleet.fresh(made["challenge"], csr={"bend": "strange"}))
    assert reply.word == "issued"
    shown = openssl_x509(reply.certificate, "-text")
    for word in ("evil.example", "OCSP Signing", "1.2.3.4", "S-1-5-21", "Name Constraints",
                 "E-mail Protection", "311.21.10"):  # fmt: skip
        assert word not in shown, word
    assert "CA:FALSE" in shown and "ecdsa-with-SHA256" in shown


def test_R6_another_users_san_is_refused_without_a_grant(house, fleet):
    made = grant(house, "mallory")
    watch = Watch(house)
    for san in ("email:alice@example.com", "DNS:alice.example", "IP:10.0.0.1",
                "URI:urn:uuid:00000000-0000-4000-8000-000000000000"):  # fmt: skip
        body = fleet.fresh(made["challenge"], csr={"san": san})
        assert fleet.post(body).word == BAD_REQUEST, san
        assert watch.says("asks for|granted")
    watch.unchanged(refused=4)


@pytest.mark.parametrize("cn", [
    "../../x", "line\nbreak", "tab\there", "x" * 64, "{{user.name}}", "%s%n%x",
    "'; DROP TABLE certificates; --", "<script>alert(1)</script>", "a,CN=admin+OU=x",
])  # fmt: skip
def test_R7_strange_names_of_a_csr_do_no_harm(house, fleet, cn):
    """Where the profile ignores the CSR's subject, and where it has to match."""
    made = house.challenge("registry", "registry")
    before = sorted(path.name for path in house.data.iterdir())
    reply = fleet.post(fleet.fresh(made["challenge"], cn=cn), "registry")
    assert reply.word == "issued"
    record = house.good("GET", f"/certificates/{serial_of(reply.certificate)}")
    assert record["subject"] == "CN=registry,O=Example Corp"
    assert "CN = registry" in openssl_x509(reply.certificate, "-subject")
    matched = grant(house, "mallory")
    assert fleet.post(fleet.fresh(matched["challenge"], cn=cn)).word == BAD_REQUEST
    assert sorted(path.name for path in house.data.iterdir()) == before
    settle()


@pytest.mark.parametrize("bend", ["second_challenge", "second_value"])
def test_A3_two_challenges_in_one_csr_are_refused(house, fleet, bend):
    made = grant(house)
    watch = Watch(house)
    body = fleet.fresh(made["challenge"], csr={"bend": bend})
    assert fleet.post(body).word == BAD_REQUEST
    watch.unchanged(why="challengePassword")


# ---- Messages that are wrong outside ----


@pytest.mark.parametrize("bend", [
    "signature_broken", "content_changed", "signer_twice", "signer_none",
    "certificate_missing", "attributes_missing", "attributes_unsigned", "type_missing",
    "type_doubled", "type_integer", "transaction_missing", "transaction_control",
    "nonce_missing", "nonce_short",
])  # fmt: skip
def test_a_message_that_nobody_signed_well_is_a_400(house, fleet, bend):
    made = grant(house)
    watch = Watch(house)
    assert fleet.post(fleet.request(made["challenge"], bend=bend)).word == "http 400"
    watch.unchanged()


@pytest.mark.parametrize("bend, word", [
    ("recipient_other", BAD_REQUEST), ("recipient_none", BAD_REQUEST),
    ("recipients_many", BAD_REQUEST), ("key_empty", BAD_REQUEST),
    ("key_above", BAD_REQUEST), ("content_cut", BAD_REQUEST),
    ("content_empty", BAD_REQUEST),
])  # fmt: skip
def test_an_envelope_that_is_not_for_us_is_refused(house, fleet, bend, word):
    made = grant(house)
    watch = Watch(house)
    began = time.monotonic()
    reply = fleet.post(fleet.request(made["challenge"], bend=bend))
    assert reply.word == word
    assert time.monotonic() - began < 5
    watch.unchanged()


def test_single_des_is_bad_alg(house, fleet):
    made = grant(house)
    content = fleet.csr(challenge=made["challenge"])
    watch = Watch(house)
    reply = fleet.tool.ask(
        "message", content=content, key="dev", certificate="dev", recipient="ra",
        transaction="des", cipher="rc2-40-cbc",
    )  # fmt: skip
    if "der" not in reply:  # OpenSSL 3 has it in the legacy provider only
        reply = fleet.tool.ask(
            "message", content=content, key="dev", certificate="dev", recipient="ra",
            transaction="des", cipher="camellia-128-cbc",
        )  # fmt: skip
    assert fleet.post(base64.b64decode(reply["der"])).word == BAD_ALG
    watch.unchanged()


def test_bystanders_in_the_bag_change_nothing(house, fleet):
    made = grant(house)
    reply = fleet.post(fleet.fresh(made["challenge"], bend="bystanders"))
    assert reply.word == "issued"


# ---- The oracle ----


def oracle_cases(fleet, good):
    """Everything that is found out after decrypting (scep.md 7 and 11)."""
    csr = fleet.csr(challenge=good)
    key = os.urandom(16)

    def block(size, second=2, first=0, padding=None, separator=0):
        """PKCS#1 of `size` octets of content."""
        fill = padding if padding is not None else 253 - size
        body = bytes([first, second]) + bytes(random.choices(range(1, 256), k=fill))
        body += bytes([separator]) + (key + os.urandom(256))[:size]
        return (body + os.urandom(256))[:256]

    padded = csr + bytes([16 - len(csr) % 16]) * (16 - len(csr) % 16)
    same = {"block": block(16), "content_key": key}
    return {
        "wrong challenge": fleet.message(fleet.csr(challenge="0" * 48)),
        "no challenge": fleet.message(fleet.csr()),
        "broken self-signature": fleet.message(fleet.csr(challenge=good, broken=True)),
        "no PKCS#10": fleet.message(b"not a request" * 40),
        "wrong key": fleet.message(csr, block=block(16), content_key=os.urandom(16)),
        "random block": fleet.message(csr, block=b"\x01" + os.urandom(255), content_key=key),
        "key of 0": fleet.message(csr, block=block(0), content_key=key),
        "key of 7": fleet.message(csr, block=block(7), content_key=key),
        "key of 17": fleet.message(csr, block=block(17), content_key=key),
        "key of 200": fleet.message(csr, block=block(200), content_key=key),
        "no separator": fleet.message(csr, block=block(16, separator=9), content_key=key),
        "block type 1": fleet.message(csr, block=block(16, second=1), content_key=key),
        "padding of 4": fleet.message(csr, block=block(16, padding=4), content_key=key),
        "first octet 1": fleet.message(csr, block=block(16, first=1), content_key=key),
        "last padding 0": fleet.message(padded[:-1] + b"\0", padded=True, **same),
        "last padding 17": fleet.message(padded[:-1] + b"\x11", padded=True, **same),
        "padding unequal": fleet.message(
            csr[: len(csr) // 16 * 16 - 16] + b"\1" * 15 + b"\2", padded=True, **same
        ),
    }


def test_A3_everything_behind_the_decryption_has_one_answer(house, fleet):
    made = grant(house)
    cases = oracle_cases(fleet, made["challenge"])
    watch = Watch(house)
    seen = {}
    for name, body in cases.items():
        # The same transaction id length, so that lengths can be compared.
        reply = fleet.post(body)
        fields = {k: v for k, v in reply.fields.items()
                  if k not in ("transaction", "sender_nonce", "recipient_nonce")}  # fmt: skip
        length = len(reply.body) - len(reply.fields.get("transaction", ""))
        seen[name] = (reply.word, length, tuple(sorted(fields.items(), key=str)))
    assert len(set(seen.values())) == 1, seen
    assert seen["wrong key"][0] == BAD_REQUEST
    watch.unchanged(refused=len(cases))


@pytest.mark.long
def test_A3_and_takes_the_same_time(house, fleet):
    times = collections.defaultdict(list)
    for _ in range(30):
        for name, body in oracle_cases(fleet, "0" * 48).items():
            began = time.monotonic()
            fleet.post(body)
            times[name].append(time.monotonic() - began)
    medians = {name: statistics.median(found) for name, found in times.items()}
    assert max(medians.values()) < 1.5 * min(medians.values()), medians


# ---- Polls and questions ----


def test_a_poll_for_nothing_and_questions_of_strangers_are_bad_cert_id(house, fleet):
    fleet.device("owner")
    mine = fleet.enrol("owner", user="alice")
    serial = serial_of(mine.certificate)
    question = fleet.tool.do("issuer_and_serial", issuer="issuing", serial=serial)
    subject = fleet.tool.do("issuer_and_subject", issuer="issuing", subject="dev")
    watch = Watch(house)
    asks = [
        fleet.message(subject, type="20", transaction="never-seen"),
        fleet.message(question, type="21"),
        fleet.message(question, type="22"),
        fleet.message(b"no question", type="22"),
        fleet.message(b"no question", type="21"),
    ]
    assert [fleet.post(body).word for body in asks] == [BAD_CERT_ID] * 5
    watch.unchanged(refused=5)
    # A CRL is public: where the profile gives it this way, anybody may have it.
    reply = fleet.post(fleet.message(question, type="22"), "crls")
    assert reply.fields["has_crl"] and reply.certificate is None
    # The owner of the certificate may ask for it.
    own = fleet.message(question, "owner-issued", key="owner", type="21")
    reply = fleet.post(own, signer="owner-issued", key="owner")
    assert reply.word == "issued" and reply.certificate == mine.certificate
    # But not for another device's.
    fleet.device("neighbour")
    fleet.enrol("neighbour", user="mallory")
    theirs = fleet.message(question, "neighbour-issued", key="neighbour", type="21")
    reply = fleet.post(theirs, signer="neighbour-issued", key="neighbour")
    assert reply.word == BAD_CERT_ID
    unknown = fleet.tool.do("issuer_and_serial", issuer="issuing", serial="4711")
    body = fleet.message(unknown, "owner-issued", key="owner", type="21")
    assert fleet.post(body, signer="owner-issued", key="owner").word == BAD_CERT_ID


# ---- Octets ----


def test_R8_a_message_cut_anywhere_is_refused(house, fleet):
    made = grant(house)
    good = fleet.fresh(made["challenge"])
    lengths = sorted({1, 2, 3, 4, 5, 16, len(good) - 1, len(good) - 2}
                     | set(random.Random(7).sample(range(len(good)), 60)))  # fmt: skip
    lengths = [length for length in lengths if length > 0]
    watch = Watch(house)
    for length in lengths:
        assert fleet.post(good[:length]).http == 400, length
    watch.unchanged(refused=len(lengths))
    assert fleet.post(good).word == "issued"


def test_R8_mutations_make_at_most_the_one_certificate(house, fleet):
    made = grant(house)
    good = fleet.fresh(made["challenge"])
    dice = random.Random(11)
    before = len(house.certificates())
    for _ in range(150):
        body = bytearray(good)
        for _ in range(dice.choice((1, 1, 2, 8))):
            body[dice.randrange(len(body))] = dice.randrange(256)
        url = house.scep() + "?operation=PKIOperation"
        answer = house.call("POST", url, bytes(body))
        assert answer.status in (200, 400), answer.status
    assert len(house.certificates()) <= before + 1
    settle()


NOISE = {
    "nothing": (b"", 400),
    "zeros": (bytes(4096), 400),
    "noise": (random.Random(3).randbytes(5000), 400),
    "nested sequences": (b"\x30\x80" * 30000, 400),
    "nested strings": (b"\x24\x80" * 30000, 400),
    "length 2^31": (bytes.fromhex("308480000000") + bytes(64), 400),
    "length 2^32-1": (bytes.fromhex("3084ffffffff") + bytes(64), 400),
    "length 2^63": (bytes.fromhex("30888000000000000000") + bytes(64), 400),
    "64 KiB": (bytes(64 * 1024), 400),
    "64 KiB and one": (bytes(64 * 1024 + 1), 413),
    "3 MiB": (bytes(3 << 20), 413),
}


@pytest.mark.parametrize("name", list(NOISE))
def test_R8_unsigned_noise_is_refused(house, fleet, watch, name):
    body, status = NOISE[name]
    try:
        assert fleet.post(body).http == status
    except OSError as error:  # urllib wraps a broken pipe
        assert status == 413, error  # closed before the whole body had gone out
    watch.unchanged(refused=0 if status == 413 else 1)


def get_message(house, value):
    return house.get(f"/scep/default?operation=PKIOperation&message={value}")


def test_get_takes_the_base64_of_real_clients(house, fleet):
    """Raw + / =, percent-escapes, twice escaped, base64url, no padding, line breaks."""
    forms = [
        lambda b: base64.b64encode(b).decode(),
        lambda b: urllib.parse.quote(base64.b64encode(b), safe=""),
        lambda b: urllib.parse.quote(
            urllib.parse.quote(base64.b64encode(b), safe=""), safe=""
        ),
        lambda b: base64.urlsafe_b64encode(b).decode().rstrip("="),
        lambda b: urllib.parse.quote(base64.encodebytes(b), safe=""),
    ]
    for form in forms:
        made = grant(house)
        body = fleet.fresh(made["challenge"])
        assert fleet.read(get_message(house, form(body))).word == "issued"


MANGLES = {
    "empty": lambda t: "",
    "another first character": lambda t: "!" + t[1:],
    "half": lambda t: t[: len(t) // 2],
    "lone percent": lambda t: "%",
    "bad escape": lambda t: t + "%zz",
    "NUL before": lambda t: "%00" + t,
    "star inside": lambda t: t[:100] + "*" + t[101:],
    "only padding": lambda t: "====",
    "backwards": lambda t: t[::-1],
    "thrice escaped": lambda t: "%252525" + t,
}


@pytest.mark.parametrize("name", list(MANGLES))
def test_mangled_base64_in_a_get_is_refused(house, fleet, name):
    made = grant(house)
    body = urllib.parse.quote(base64.b64encode(fleet.request(made["challenge"])), safe="")
    watch = Watch(house)
    assert get_message(house, MANGLES[name](body)).status == 400
    watch.unchanged()


@pytest.mark.parametrize("path, statuses", [
    ("/scep/default", (400,)), ("/scep/default?operation=", (400,)),
    ("/scep/default?operation=GetEverything", (400,)),
    ("/scep/default?operation=GetCACaps&operation=GetCACert", (400,)),
    ("/scep/default?operation=GetCACaps%00", (400,)),
    ("/scep/default?operation=PKIOperation", (400,)),
    ("/scep/nothing?operation=GetCACaps", (404,)), ("/scep/?operation=GetCACaps", (404,)),
    ("/scep/default?operation=GetNextCACert", (404, 400)),
    ("/scep/" + "x" * 300 + "?operation=GetCACaps", (404,)),
    ("/scep/..%2fdefault?operation=GetCACaps", (400, 404)),
])  # fmt: skip
def test_questions_that_make_no_sense(house, fleet, path, statuses):
    assert house.get(path).status in statuses


# ---- Afterwards ----


def test_after_all_of_it_the_house_stands(house, fleet):
    caps = house.get("/scep/default?operation=GetCACaps").body.decode().split()
    assert {"POSTPKIOperation", "Renewal", "SCEPStandard"} <= set(caps)
    answer = house.get("/scep/default?operation=GetCACert")
    assert answer.headers["Content-Type"] == "application/x-x509-ca-ra-cert"
    assert len(certificates_of(answer.body)) >= 2
    fleet.device("last")
    fleet.enrol("last", user="alice")
    states = {item["state"] for item in house.certificates()}
    assert states <= {"issued", "revoked", "abandoned"}, states
    assert house.get("/health/ready").status == 200
