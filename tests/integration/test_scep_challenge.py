"""SCEP challenges from strangers and cheats, against the real daemon: one secret makes
one certificate, for whom it was made."""

import collections
import time

import pytest
from hostile import BAD_CERT_ID, BAD_REQUEST, Watch, fleet, grant, house, settle, watch, watch_again  # noqa: F401
from scep import openssl_x509, serial_of


# ---- Challenges ----


def wrongs(challenge):
    return {
        "all zero": "0" * 48,
        "one character other": challenge[:-1] + ("0" if challenge[-1] != "0" else "1"),
        "last character missing": challenge[:-1],
        "one more": challenge + "0",
        "other case": challenge.swapcase() if challenge.swapcase() != challenge else "x",
        "blank behind": challenge + " ",
        "only the public half": challenge[:16],
        "SQL": "' OR '1'='1",
        "5,000 characters": "A" * 5000,
        "empty": "",
        "none": None,
    }


@pytest.mark.parametrize("name", list(wrongs("A" * 48)))
def test_A3_a_wrong_challenge_is_refused(house, fleet, watch, name):
    made = grant(house)
    watch_again(watch)
    reply = fleet.post(fleet.request(wrongs(made["challenge"])[name]))
    assert reply.word == BAD_REQUEST
    assert not reply.fields["has_content"] and not reply.fields["has_fail_text"]
    watch.unchanged()


def test_A3_a_challenge_is_locked_after_five_wrong_tries(house, fleet):
    made = grant(house)
    watch = Watch(house)
    wrong = wrongs(made["challenge"])["one character other"]
    for _ in range(5):
        assert fleet.post(fleet.request(wrong)).word == BAD_REQUEST
    assert house.good("GET", f"/challenges/{made['id']}")["state"] == "locked"
    assert fleet.post(fleet.request(made["challenge"])).word == BAD_REQUEST
    watch.unchanged(refused=6, but=[made["id"]])


def test_A3_a_used_challenge_is_refused_with_another_key_and_the_same(house, fleet):
    made = grant(house)
    assert fleet.post(fleet.fresh(made["challenge"])).word == "issued"
    watch = Watch(house)
    for signer in ("dev", "stranger"):
        request = fleet.request(made["challenge"], signer)
        assert fleet.post(request, signer=signer).word == BAD_REQUEST
    watch.unchanged(refused=2)


def test_A3_expired_and_withdrawn_challenges_are_refused(house, fleet):
    expired = grant(house, expires_in="PT1S")
    withdrawn = grant(house)
    house.good("DELETE", f"/challenges/{withdrawn['id']}")
    time.sleep(2.1)
    assert house.good("GET", f"/challenges/{expired['id']}")["state"] == "expired"
    watch = Watch(house)
    for made in (expired, withdrawn):
        assert fleet.post(fleet.request(made["challenge"])).word == BAD_REQUEST
    watch.unchanged(refused=2)


def test_A3_a_challenge_is_worth_nothing_at_another_endpoint(house, fleet):
    made = grant(house, "second", "second")
    watch = Watch(house)
    assert fleet.post(fleet.request(made["challenge"])).word == BAD_REQUEST
    watch.unchanged()
    assert fleet.post(fleet.fresh(made["challenge"]), "second").word == "issued"


@pytest.mark.parametrize("cn, san", [
    ("mallory", None), ("dev", "DNS:mallory.example"),
    ("dev", "DNS:dev.example,DNS:mallory.example"), ("dev.", None),
    ("dev", "email:ceo@example.com"), ("dev", "otherName:1.3.6.1.4.1.311.20.2.3;UTF8:admin"),
])  # fmt: skip
def test_R6_A3_a_challenge_bound_to_names_takes_no_others(house, fleet, cn, san):
    made = house.challenge("alice", subject="CN=dev", san=["dns:dev.example"])
    watch = Watch(house)
    request = fleet.fresh(made["challenge"], cn=cn, csr={"san": san})
    assert fleet.post(request).word == BAD_REQUEST
    watch.unchanged(why="asks for|granted")


def test_R6_names_that_a_request_leaves_out_come_from_the_challenge(house, fleet):
    made = grant(house, san=["dns:dev.example"])
    reply = fleet.post(fleet.fresh(made["challenge"], cn=None))
    assert reply.word == "issued"
    record = house.good("GET", f"/certificates/{serial_of(reply.certificate)}")
    assert record["subject"] == "CN=dev" and record["san"][1:] == ["dns:dev.example"]


def test_A3_a_devices_challenge_makes_a_certificate_for_no_other_device(house, fleet):
    device = house.good("POST", "/devices", {"owner": "alice", "kind": "scep"})
    answer = house.api("POST", "/challenges", {
        "user": "mallory", "profile": "default", "device": device["id"]})  # fmt: skip
    assert answer.status in (403, 404), answer.body
    made = grant(house, device=device["id"])
    fleet.device("bound")
    reply = fleet.post(fleet.request(made["challenge"], "bound"), signer="bound")
    assert reply.word == "issued"
    record = house.good("GET", f"/certificates/{serial_of(reply.certificate)}")
    assert record["device"] == device["id"]
    assert device["id"] in openssl_x509(reply.certificate, "-ext", "subjectAltName")


def test_R4_another_devices_key_is_refused(house, fleet):
    fleet.device("taken")
    fleet.enrol("taken", user="alice")
    made = grant(house, "mallory")
    watch = Watch(house)
    request = fleet.request(made["challenge"], "taken")
    assert fleet.post(request, signer="taken").word == BAD_REQUEST
    watch.unchanged(why="key")


# ---- One secret, one certificate ----


@pytest.mark.parametrize("count", [2, 16])
def test_S4_parallel_enrolments_with_one_challenge_get_one_certificate(house, fleet, count):
    made = grant(house)
    bodies = [fleet.fresh(made["challenge"]) for _ in range(count)]
    before = len(house.certificates())
    replies = fleet.post_all(bodies)
    words = collections.Counter(reply.word for reply in replies)
    assert words["issued"] == 1, words
    assert words["issued"] + words[BAD_REQUEST] == count, words
    issued = [c for c in house.certificates() if c["state"] != "abandoned"]
    assert len(issued) == before + 1
    used = house.good("GET", f"/challenges/{made['id']}")
    winner = next(reply for reply in replies if reply.word == "issued")
    assert used["state"] == "used" and used["serial"] == serial_of(winner.certificate)
    settle()


def test_S1_S4_many_parallel_enrolments_have_serials_of_their_own(house, fleet):
    bodies = [fleet.fresh(grant(house)["challenge"]) for _ in range(16)]
    replies = fleet.post_all(bodies)
    assert [reply.word for reply in replies] == ["issued"] * 16
    serials = {serial_of(reply.certificate) for reply in replies}
    assert len(serials) == 16
    for serial in serials:
        assert len(serial) >= 32 and int(serial, 16).bit_length() <= 159


def test_S4_the_same_message_again_gets_the_same_certificate(house, fleet):
    made = grant(house)
    body = fleet.fresh(made["challenge"])
    first = fleet.post(body)
    watch = Watch(house)
    again = [fleet.post(body)] + fleet.post_all([body] * 12)
    assert {reply.word for reply in again} == {"issued"}
    assert {reply.certificate for reply in again} == {first.certificate}
    watch.unchanged(refused=0)


def test_S4_a_new_message_many_times_at_once_makes_one_certificate(house, fleet):
    made = grant(house)
    body = fleet.fresh(made["challenge"])
    before = len(house.certificates())
    replies = fleet.post_all([body] * 16)
    issued = {reply.certificate for reply in replies if reply.word == "issued"}
    assert len(issued) == 1
    # Whoever came while it was being signed may be told to come again, no more.
    assert {reply.word for reply in replies} <= {"issued", "http 503", BAD_REQUEST}
    assert len(house.certificates()) == before + 1
    assert fleet.post(body).certificate in issued
    settle()


def test_A2_anothers_transaction_gives_nothing_to_another_key(house, fleet):
    made = grant(house)
    csr = fleet.csr(fleet.key("victim", "ec:P-256"), challenge=made["challenge"])
    assert fleet.post(fleet.message(csr, transaction="shared-id")).word == "issued"
    watch = Watch(house)
    request = fleet.request(made["challenge"], "stranger", "dev", transaction="shared-id")
    assert fleet.post(request, signer="stranger").word == BAD_REQUEST
    # The same PKCS#10 as the victim's, signed by the thief.
    stolen = fleet.message(csr, "stranger", transaction="shared-id")
    assert fleet.post(stolen, signer="stranger").word == BAD_REQUEST
    poll = fleet.message(
        fleet.tool.do("issuer_and_subject", issuer="issuing", subject="dev"),
        "stranger", transaction="shared-id", type="20",
    )  # fmt: skip
    assert fleet.post(poll, signer="stranger").word == BAD_CERT_ID
    watch.unchanged(refused=3)


def test_I5_no_challenge_is_in_the_log(house, fleet):
    made = grant(house)
    assert fleet.post(fleet.fresh(made["challenge"][:-1] + "!")).word == BAD_REQUEST
    assert fleet.post(fleet.fresh(made["challenge"])).word == "issued"
    assert made["challenge"] not in (house.data / "sealwright.log").read_text()
    assert made["challenge"][:40] not in house.words()
