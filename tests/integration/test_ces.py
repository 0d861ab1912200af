"""Clients of the domain kind enrol: policies by CEP, certificates by CES, in the real
daemon; and what an enrolment over the device service shares with them."""

import base64
import contextlib
import datetime
import hashlib
import sqlite3
import time
import xml.etree.ElementTree as ET

import ces
import pytest
from ces_house import (  # noqa: F401
    ACCOUNT, alice, approver, assign, bob, common_name, count, DEVICE, held, holder, house, MESSAGES, policies, profile, SECRET,
)
from conftest import run
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization


def test_a_policy_leads_to_its_certificate(house, alice):
    base = house.good("GET", "/organisation")["base_url"]
    templates, uris = policies(house, "UsernamePassword",
                               ces.by_password("alice", SECRET))
    assert {"user", "webserver", "z-approved"} == set(templates) and "unassigned" not in templates
    assert uris == {base + ces.PASSWORD_PATH}
    key = ces.rsa_key()
    reply = alice.ask(ces.pkcs10(key, extensions=[ces.by_oid(templates["user"])]))
    assert reply.code == "issued", reply.body
    assert common_name(reply.certificate) == "alice"
    # What Windows looks for: the template of the policy, and the account.
    assert ces.extension_of(reply.certificate, ces.TEMPLATE_OID) == \
        ces.sequence(ces.oid(templates["user"]), ces.integer(100))
    assert ces.extension_of(reply.certificate, ces.SID) == ces.sequence(ces.der(
        0xA0, ces.oid(ces.SID + ".1"), ces.der(0xA0, ces.octets(ACCOUNT.encode()))))
    (record,) = [one for one in house.certificates(user="alice")
                 if int(one["serial"], 16) == reply.certificate.serial_number]
    assert (record["profile"], record["protocol"]) == ("user", "wstep")


def test_any_spelling_of_the_paths_leads_there_and_a_look_is_free(house, alice):
    for path in (ces.PASSWORD_PATH, ces.CERTIFICATE_PATH, ces.PASSWORD_PATH.upper(),
                 ces.CERTIFICATE_PATH.lower()):
        answer = house.call("GET", house.secure + path)
        assert (answer.status, answer.body) == (200, b""), path
    assert alice.ask(ces.pkcs10(ces.ec_key()), path=ces.PASSWORD_PATH.lower()).code == "issued"
    answer = house.call("POST", house.base + ces.PASSWORD_PATH, b"<a/>", ces.SOAP)
    assert answer.status in (403, 404), "not without TLS"


def test_without_a_template_it_is_the_users_own(house, bob):
    reply = bob.ask(ces.pkcs10(ces.ec_key()))
    assert reply.code == "issued"
    assert ces.extension_of(reply.certificate, ces.SID) is None, "bob's record has none"
    assert [one["profile"] for one in house.certificates(user="bob")] == ["user"]


@pytest.mark.parametrize("ask", [
    lambda key: ces.pkcs10(key, extensions=[ces.by_name("WebServer")]),
    lambda key: ces.pkcs10(key, attributes=[ces.attribute(
        ces.MICROSOFT + "13.2.1", ces.sequence(ces.bmp("CertificateTemplate"),
                                               ces.bmp("WebServer")))]),
    lambda key: ces.cmc(ces.pkcs10(key), [(None, key, None)], [ces.control(
        2, ces.CMC + "18", ces.octets(b"a=b&CertificateTemplate=Web%53erver&rmd=x"))]),
    lambda key: ces.cmc(ces.pkcs10(key), [(None, key, None)], [ces.control(
        3, ces.MICROSOFT + "10.10.1", ces.sequence(ces.integer(0), ces.sequence(
            ces.integer(7)), ces.set_of(ces.attribute(
                "1.2.840.113549.1.9.14", ces.sequence(ces.by_name("WebServer"))))))]),
], ids=["extension", "pair", "reginfo", "added"])
def test_a_template_is_named_in_any_of_the_published_ways(house, alice, ask):
    reply = alice.ask(ask(ces.rsa_key()))
    assert reply.code == "issued", reply.body
    assert reply.certificate.not_valid_after - reply.certificate.not_valid_before > \
        datetime.timedelta(days=300), "the validity of this profile"


@pytest.mark.parametrize("template", [
    ces.by_name("unassigned"), ces.by_name("Nowhere"), ces.by_oid("1.3.6.1.4.1.311.21.8.1.2.3"),
    ces.by_name("../x"),
], ids=["unassigned", "unknown", "unknown-oid", "path"])
def test_A1_a_template_that_is_not_assigned_is_refused(house, alice, template):
    before = count(house)
    assert alice.ask(ces.pkcs10(ces.rsa_key(), extensions=[template])).code == "s:Authorization"
    assert count(house) == before


def test_A2_who_is_not_known_learns_nothing_of_templates(house):
    answers = []
    for user, secret in (("dora", "wrong"), ("nobody", SECRET)):
        for name in ("User", "Unassigned", "Nowhere"):
            reply = ces.Client(house, user, secret).ask(
                ces.pkcs10(ces.ec_key(), extensions=[ces.by_name(name)]))
            answers.append((reply.code, reply.fault.findtext(f"{ces.S}Reason/{ces.S}Text")))
    assert set(answers) == {answers[0]} and answers[0][0] == "s:Authentication"


def test_R6_names_template_and_account_come_from_the_registry_alone(house, alice):
    """ESC15 and Certifried: nothing of what the request says of an account is issued."""
    wanted = [
        ces.by_name("User"),
        ces.extension(ces.SID, ces.sequence(ces.der(0xA0, ces.oid(ces.SID + ".1"), ces.der(
            0xA0, ces.octets(b"S-1-5-21-1-2-3-500"))))),
        ces.extension(ces.MICROSOFT + "21.10", ces.sequence(ces.sequence(
            ces.oid("1.3.6.1.4.1.311.20.2.1")))),
    ]
    reply = alice.ask(ces.pkcs10(ces.rsa_key(), cn="administrator", extensions=wanted))
    assert reply.code == "issued", reply.body
    assert common_name(reply.certificate) == "alice"
    assert b"S-1-5-21-1-2-3-500" not in reply.certificate.public_bytes(serialization.Encoding.DER)
    assert ACCOUNT.encode() in ces.extension_of(reply.certificate, ces.SID)
    assert ces.extension_of(reply.certificate, ces.MICROSOFT + "21.10") is None
    assert ces.extension_of(reply.certificate, ces.TEMPLATE_NAME) is None


def test_R6_a_sid_that_is_none_refuses(house):
    house.user("mallory", attributes={"sid": "S-1-5-21-1 "})
    house.good("PUT", "/users/mallory/password", {"password": SECRET})
    assign(house, "mallory", "user")
    reply = ces.Client(house, "mallory", SECRET).ask(ces.pkcs10(ces.ec_key()))
    assert reply.code == "s:CertificateRequest"


# ---- CMC ----


def added(part, message, requests, *attributes):
    """[MS-WCCE] attributes for a request beside it."""
    return ces.control(part, ces.MICROSOFT + "10.10.1", ces.sequence(
        ces.integer(message), ces.sequence(*(ces.integer(one) for one in requests)),
        ces.set_of(*attributes)))


@pytest.mark.parametrize("key", [ces.rsa_key(), ces.ec_key()], ids=["rsa", "ec"])
def test_a_CMC_request_is_answered_to_its_part(house, alice, key):
    """As certenroll makes it: the PKCS#10's own signature proves nothing, the outer one
    does."""
    request = ces.pkcs10(key, extensions=[ces.by_name("User")], signer=ces.ec_key())
    controls = [ces.control(1, ces.CMC + "5", ces.integer(99)),
                ces.control(2, ces.CMC + "6", ces.octets(b"nonce-of-mine")),
                ces.control(3, ces.CMC + "8", ces.sequence()),  # extensions: the profile's
                added(4, 0, [4294967295], ces.attribute(ces.MICROSOFT + "21.20", ces.octets(b"x")))]
    reply = alice.ask(ces.cmc(request, [(None, key, None)], controls, part=4294967295))
    assert reply.code == "issued", reply.body
    assert reply.cmc.part == 4294967295
    assert reply.cmc.controls[ces.oid(ces.CMC + "5")] == ces.integer(99)
    assert reply.cmc.controls[ces.oid(ces.CMC + "7")] == ces.octets(b"nonce-of-mine")
    assert reply.certificate.public_key().public_numbers() == key.public_key().public_numbers()


def test_R1_SHA1_proves_a_key_only_where_the_profile_takes_it(house, alice):
    key = ces.rsa_key()
    for name, code in (("User", "s:CertificateRequest"), ("WebServer", "issued")):
        request = ces.pkcs10(key, extensions=[ces.by_name(name)], signer=ces.ec_key())
        reply = alice.ask(ces.cmc(request, [(None, key, hashes.SHA1())]))
        assert reply.code == code, name


def cmc_bent():
    key, other = ces.rsa_key(), ces.rsa_key()
    request = ces.pkcs10(key, extensions=[ces.by_name("User")])
    good = ces.cmc(request, [(None, key, None)])
    tag = ces.der(0xA0, ces.integer(7), request)

    def around(*parts):
        return ces.signed_data(ces.sequence(*parts), "1.3.6.1.5.5.7.12.2", [(None, key, None)])

    empty = ces.sequence()
    return {
        "by another key": ces.cmc(request, [(None, other, None)]),
        "signed twice": ces.cmc(request, [(None, key, None), (None, key, hashes.SHA1())]),
        "an altered bit": good[:-1] + bytes([good[-1] ^ 1]),
        "cut short": good[:-5],
        "a tail": good + b"\0",
        "no signer": ces.signed_data(
            ces.sequence(empty, ces.sequence(tag), empty, empty), "1.3.6.1.5.5.7.12.2", []),
        "two requests": around(empty, ces.sequence(tag, ces.der(0xA0, ces.integer(8), request)),
                               empty, empty),
        "no request": around(empty, empty, empty, empty),
        "CRMF": around(empty, ces.sequence(ces.der(0xA1, ces.integer(0))), empty, empty),
        "messages inside": around(empty, ces.sequence(tag), ces.sequence(ces.integer(1)), empty),
        "part 0": ces.cmc(request, [(None, key, None)], part=0),
        "part of 33 bits": ces.cmc(request, [(None, key, None)], part=1 << 32),
        "a part twice": ces.cmc(request, [(None, key, None)],
                                [ces.control(7, ces.CMC + "5", ces.integer(1))]),
        "a nonce twice": ces.cmc(request, [(None, key, None)],
                                 [ces.control(n, ces.CMC + "6", ces.octets(b"n")) for n in (1, 2)]),
        "many controls": ces.cmc(request, [(None, key, None)],
                                 [ces.control(n + 9, ces.CMC + "8", ces.integer(n))
                                  for n in range(40)]),
        # RFC 5272 3.2.1: what is not understood stops all of it.
        **{f"control {name}": ces.cmc(request, [(None, key, None)],
                                      [ces.control(1, name, ces.octets(b"x"))])
           for name in ("1.2.3.4", *(ces.CMC + last for last in ("1", "3", "4", "17", "23")))},
        **{f"attributes of {message} for {requests}": ces.cmc(
            request, [(None, key, None)], [added(1, message, requests, ces.attribute(
                ces.MICROSOFT + "21.20", ces.octets(b"x")))])
           for message, requests in ((99, [7]), (0, [99]), (0, []), (0, [7, 7]), (7, [7]))},
        "not CMC": ces.signed_data(request, "1.3.6.1.5.5.7.12.3", [(None, key, None)]),
    }


@pytest.mark.parametrize("name", sorted(cmc_bent()))
def test_R1_a_bent_CMC_request_is_refused(house, alice, name):
    before = count(house)
    reply = alice.ask(cmc_bent()[name])
    # A signer who is named by certificate and is nobody is an authentication failure.
    assert reply.code in ("s:CertificateRequest", "s:Authentication"), reply.body
    assert count(house) == before


def test_R4_R5_the_request_itself_is_judged(house, alice):
    key = ces.rsa_key()
    before = count(house)
    for token in (
        ces.pkcs10(key, signer=ces.ec_key()),  # possession is not proved
        ces.pkcs10(ces.rsa_key(1024)),
        ces.pkcs10(key, extensions=[ces.extension("2.5.29.19", ces.sequence(
            ces.der(0x01, b"\xff")))]),  # a CA
        ces.sequence(), b"\x30\x80", b"x" * 100,
    ):  # fmt: skip
        assert alice.ask(token).code == "s:CertificateRequest"
    assert count(house) == before


# ---- Renewal ----


def renewed(house, old, new):
    assert new.serial_number != old.serial_number and new.subject == old.subject
    device = {one["serial"]: one["device"] for one in house.certificates(user="alice")}
    serials = {int(serial, 16): serial for serial in device}
    assert device[serials[old.serial_number]] == device[serials[new.serial_number]]


@pytest.mark.parametrize("path", [ces.PASSWORD_PATH, ces.CERTIFICATE_PATH])
def test_A4_the_older_certificate_renews_itself(house, alice, held, path):
    key, old = held
    new = ces.rsa_key()
    # Anonymous, as [MS-WSTEP] allows for renewals alone.
    reply = alice.ask(ces.pkcs7(ces.pkcs10(new, cn="alice"), old, key), path=path, security="")
    assert reply.code == "issued", reply.body
    renewed(house, old, reply.certificate)
    assert ces.extension_of(reply.certificate, ces.TEMPLATE_OID) == \
        ces.extension_of(old, ces.TEMPLATE_OID)


def test_A4_a_renewal_by_CMC_is_signed_by_both_keys(house, alice, held):
    key, old = held
    new = ces.ec_key()
    request = ces.pkcs10(new, signer=ces.rsa_key())
    alone = alice.ask(ces.cmc(request, [(old, key, None)], certificates=[old]))
    assert alone.code == "s:CertificateRequest", "the new key has proved nothing"
    reply = alice.ask(ces.cmc(request, [(old, key, None), (None, new, None)],
                              certificates=[old]), security="")
    assert reply.code == "issued", reply.body
    renewed(house, old, reply.certificate)


def test_A4_what_is_no_renewal_is_refused(house, alice, bob, held, tmp_path):
    key, old = held
    before = count(house)
    new = ces.rsa_key()
    stranger = ces.rsa_key()
    fake = (x509.CertificateBuilder().subject_name(old.subject).issuer_name(old.issuer)
            .public_key(stranger.public_key()).serial_number(old.serial_number)
            .not_valid_before(old.not_valid_before).not_valid_after(old.not_valid_after)
            .sign(stranger, hashes.SHA256()))
    # The names of a certificate are no proof, its octets are.
    assert alice.ask(ces.pkcs7(ces.pkcs10(new), fake, stranger)).code == "s:Authentication"
    assert alice.ask(ces.pkcs7(ces.pkcs10(new), old, stranger)).code == "s:Authentication"
    other = ces.pkcs7(ces.pkcs10(new, extensions=[ces.by_name("WebServer")]), old, key)
    assert alice.ask(other).code == "s:Authorization", "of another template"
    # One certificate renews, by one signature over a PKCS#10 and nothing else.
    twice, data = [(old, key, None), (old, key, None)], "1.2.840.113549.1.7."
    second = alice.ask(ces.pkcs10(stranger, extensions=[ces.by_name("User")])).certificate
    before += 1
    for token in (
        ces.signed_data(ces.pkcs10(new), data + "1", twice, [old]),
        ces.signed_data(ces.pkcs10(new), data + "2", twice[:1], [old]),
        ces.signed_data(ces.pkcs10(new), "1.3.6.1.5.5.7.12.3", twice[:1], [old]),
        ces.signed_data(ces.pkcs7(ces.pkcs10(new), old, key), data + "1", twice[:1], [old]),
        ces.cmc(ces.pkcs10(new), [*twice[:1], (second, stranger, None)], certificates=[old, second]),
    ):  # fmt: skip
        assert alice.ask(token).code == "s:CertificateRequest"
        assert count(house) == before
    stranger = ces.rsa_key()
    # Who shows a certificate in TLS shows the one that signs.
    shown = bob.ask(ces.pkcs10(stranger, extensions=[ces.by_name("User")]))
    context = holder(house, tmp_path / "bob", stranger, shown.certificate)
    reply = alice.ask(ces.pkcs7(ces.pkcs10(new), old, key), context=context, security="")
    assert reply.code == "s:Authentication"
    long = alice.ask(ces.pkcs10(new, extensions=[ces.by_name("WebServer")]))
    assert long.code == "issued"
    early = ces.pkcs7(ces.pkcs10(ces.rsa_key()), long.certificate, new)
    assert alice.ask(early).code == "s:Authorization", "before its window"
    assert count(house) == before + 2
    serial = next(one["serial"] for one in house.certificates(user="alice")
                  if int(one["serial"], 16) == old.serial_number)
    house.good("POST", f"/certificates/{serial}/revoke", {"reason": "superseded"})
    assert alice.ask(ces.pkcs7(ces.pkcs10(new), old, key)).code in (
        "s:Authentication", "s:Authorization")
    assert count(house) == before + 2


# ---- The certificate as the credential ----


def test_the_connections_certificate_enrols_for_its_own_user_and_device(house, alice, held,
                                                                         tmp_path):
    key, old = held
    context = holder(house, tmp_path / "pc", key, old)
    templates, uris = policies(house, "Certificate", context=context)
    assert uris == {house.good("GET", "/organisation")["base_url"] + ces.CERTIFICATE_PATH}
    ask = dict(path=ces.CERTIFICATE_PATH, security="", context=context)
    new = ces.rsa_key()
    message = ces.envelope(ces.rst(ces.pkcs10(new, extensions=[ces.by_oid(
        templates["webserver"])])))
    reply = alice.send(message, ces.CERTIFICATE_PATH, context)
    assert reply.code == "issued", reply.body
    renewed(house, old, reply.certificate)
    # The same octets again are the same request, from the same sender alone.
    again = alice.send(message, ces.CERTIFICATE_PATH, context)
    assert again.certificate == reply.certificate
    assert alice.send(message, ces.CERTIFICATE_PATH).code == "a:InvalidSecurity"
    # It has one now, which renews itself: two profiles are no way around the window.
    second = alice.ask(ces.pkcs10(ces.rsa_key(), extensions=[ces.by_name("WebServer")]), **ask)
    assert second.code == "s:Authorization"
    # Its own profile is a renewal.
    own = alice.ask(ces.pkcs10(ces.rsa_key(), extensions=[ces.by_name("User")]), **ask)
    assert own.code == "issued", own.body
    renewed(house, old, own.certificate)


def test_W1_a_signed_message_is_a_credential_of_both_services(house, alice, held, tmp_path):
    key, old = held
    holder(house, tmp_path / "pc", key, old)

    def signed(body, created=None):
        path = tmp_path / "message.xml"
        path.write_bytes(ces.envelope(
            body, '<wsse:Security s:mustUnderstand="1"></wsse:Security>'))
        words = [MESSAGES / "sign", path, tmp_path / "pc/key.pem", tmp_path / "pc/certificate.pem"]
        return run(*words, *([created] if created else [])).stdout

    body = ces.rst(ces.pkcs10(ces.rsa_key(), extensions=[ces.by_name("WebServer")]))
    message = signed(body)
    before = count(house)
    for bent in (
        message.replace(b"urn:uuid:4b0c", b"urn:uuid:4b0d"),
        signed(body, "2026-01-01T00:00:00Z"),
    ):
        assert alice.send(bent, ces.CERTIFICATE_PATH).code == "s:Authentication"
    wrapped = message.replace(b"<s:Body>", b"<s:Body></s:Body><s:Body>")
    assert alice.send(wrapped, ces.CERTIFICATE_PATH).code == "s:MessageFormat"
    assert alice.send(message).code == "a:InvalidSecurity", "not a password"
    # Who shows another certificate in TLS than the one that signed.
    other = ces.rsa_key()
    shown = alice.ask(ces.pkcs10(other, extensions=[ces.by_name("User")])).certificate
    context = holder(house, tmp_path / "other", other, shown)
    before = count(house)
    assert alice.send(message, ces.CERTIFICATE_PATH, context).code == "s:Authentication"
    assert count(house) == before
    reply = alice.send(message, ces.CERTIFICATE_PATH)
    assert reply.code == "issued", reply.body
    renewed(house, old, reply.certificate)
    assert alice.send(message, ces.CERTIFICATE_PATH).certificate == reply.certificate
    # The device service takes it too: the user's own profile, for the same device.
    answer = house.call("POST", house.secure + DEVICE, signed(ces.rst(ces.pkcs10(
        ces.rsa_key()), value_type="#PKCS10")), ces.SOAP)
    run("xmllint", "--noout", "-", stdin=answer.body)
    assert answer.status == 200, answer.body
    document = base64.b64decode(ET.fromstring(answer.body).find(
        f".//{ces.T}RequestedSecurityToken/{ces.W}BinarySecurityToken").text)
    assert ET.fromstring(document).tag == "wap-provisioningdoc"


# ---- Approval ----


def test_a_request_waits_and_its_number_finds_the_certificate(house, alice, bob):
    key = ces.rsa_key()
    request = ces.pkcs10(key, extensions=[ces.by_name("Z-Approved")], signer=ces.ec_key())
    body = ces.rst(ces.cmc(request, [(None, key, None)], part=41))
    reply = alice.post(body)
    assert reply.code == "pending", reply.body
    base = house.good("GET", "/organisation")["base_url"]
    assert reply.pending == base + ces.PASSWORD_PATH and reply.cmc.part == 41
    assert alice.post(body).id == reply.id, "the same message, the same number"
    asked = alice.query(reply.id)
    assert (asked.code, asked.id, asked.cmc.part) == ("pending", reply.id, 41)
    (waiting,) = house.good("GET", "/requests?state=waiting")["items"]
    assert (waiting["user"], waiting["profile"]) == ("alice", "z-approved")
    # The number is no secret, and helps nobody else.
    for client, number in ((bob, reply.id), (alice, reply.id % 2147483647 + 1), (alice, 1)):
        assert client.query(number).code == "s:Authorization"
    assert ces.Client(house, "alice", "wrong").query(reply.id).code == "s:Authentication"
    token = approver(house, "desk")
    house.good("POST", f"/requests/{waiting['id']}/approve", token=token)
    end = time.monotonic() + 20
    while (asked := alice.query(reply.id)).code == "pending" and time.monotonic() < end:
        time.sleep(0.2)
    assert asked.code == "issued", asked.body
    assert asked.id == reply.id and asked.cmc.part == 41
    assert asked.certificate.public_key().public_numbers() == key.public_key().public_numbers()
    assert ACCOUNT.encode() in ces.extension_of(asked.certificate, ces.SID), "as was asked"
    assert ces.extension_of(asked.certificate, ces.TEMPLATE_OID)
    for again in (alice.query(reply.id), alice.post(body)):
        assert (again.certificate, again.id) == (asked.certificate, reply.id)
    assert bob.query(reply.id).code == "s:Authorization"
    assert len(house.certificates(profile="z-approved")) == 1


def test_A3_a_number_that_is_anothers_is_not_given_again(house, alice):
    """31 bits of a digest may meet: the next ones are taken then."""
    message = ces.envelope(ces.rst(ces.pkcs10(ces.ec_key(), extensions=[ces.by_name("Z-Approved")])),
                           ces.by_password("alice", SECRET))
    digest = hashlib.sha256(message).digest()
    first, second = (int.from_bytes(digest[at : at + 4], "big") & 0x7FFFFFFF for at in (0, 4))
    with contextlib.closing(sqlite3.connect(house.data / "store.db", timeout=30)) as db, db:
        db.execute("INSERT INTO state (space, key, value, expires, version) VALUES (?, ?, ?, ?, 1)",
                   ("wstep/request", str(first), b"a" * 200, 2**40))
    reply = alice.send(message)
    assert (reply.code, reply.id) == ("pending", second), reply.body
    assert alice.query(first).code == "s:Authorization"
    assert alice.query(second).code == "pending"
    (waiting,) = house.good("GET", "/requests?state=waiting")["items"]
    house.good("POST", f"/requests/{waiting['id']}/refuse", {"reason": "done"}, token=approver(house, "desk9"))


def test_a_refused_request_stays_refused(house, alice):
    reply = alice.ask(ces.pkcs10(ces.ec_key(), extensions=[ces.by_name("Z-Approved")]))
    assert reply.code == "pending"
    (waiting,) = house.good("GET", "/requests?state=waiting")["items"]
    house.good("POST", f"/requests/{waiting['id']}/refuse", {"reason": "no such machine"},
               token=approver(house, "desk2"))
    assert alice.query(reply.id).code == "s:Authorization"
    assert not [one for one in house.good("GET", "/requests?state=waiting")["items"]]


def test_A6_whoever_made_the_activation_password_does_not_approve_it(house, alice):
    house.good("POST", "/admins", {"name": "maker", "roles": ["operator", "approver"]})
    maker = house.good("POST", "/tokens", {"admin": "maker"})["token"]
    made = house.good("POST", "/activations", {"user": "alice"}, token=maker)
    impostor = ces.Client(house, "alice", made["password"])
    reply = impostor.ask(ces.pkcs10(ces.ec_key(), extensions=[ces.by_name("Z-Approved")]))
    assert reply.code == "pending", reply.body
    (waiting,) = house.good("GET", "/requests?state=waiting")["items"]
    path = f"/requests/{waiting['id']}/approve"
    assert house.api("POST", path, token=maker).status == 403
    assert alice.query(reply.id).code == "pending"
    house.good("POST", path, token=approver(house, "desk3"))


def test_a_certificate_asks_for_what_it_asked_for(house, alice, held, tmp_path):
    key, old = held
    ask = dict(path=ces.CERTIFICATE_PATH, security="",
               context=holder(house, tmp_path / "pc", key, old))
    reply = alice.ask(ces.pkcs10(ces.rsa_key(), extensions=[ces.by_name("Z-Approved")]), **ask)
    assert reply.code == "pending", reply.body
    assert reply.pending.endswith(ces.CERTIFICATE_PATH)
    assert alice.query(reply.id, **ask).code == "pending"
    (waiting,) = house.good("GET", "/requests?state=waiting")["items"]
    house.good("POST", f"/requests/{waiting['id']}/approve", token=approver(house, "desk4"))
    end = time.monotonic() + 20
    while (asked := alice.query(reply.id, **ask)).code == "pending" and time.monotonic() < end:
        time.sleep(0.2)
    assert asked.code == "issued", asked.body
    renewed(house, old, asked.certificate)
