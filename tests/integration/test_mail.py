"""Mails through a real SMTP server with STARTTLS and AUTH: read back as a mail reader
does, the picture by a scanner; the server away, back, refusing; nothing waits for it."""

import email
import email.policy
import json
import re
import socket
import ssl
import threading
import time
import urllib.parse

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from conftest import COMMAND, free_ports, house_end, house_make, run
from test_self_service import Client
from windows import Computer
from windows_house import SECRET, numbers, set_profile

USER, PASSWORD = "sealwright", "mail server's password"


class Post:
    """A mail server that keeps what it took over."""

    def __init__(self, port, folder, login=(USER, PASSWORD)):
        self.port, self.folder, self.login = port, folder, login
        self.mails, self.refuse, self.controller, self.logins = [], None, None, 0

    def authenticate(self, server, session, envelope, mechanism, data):
        self.logins += 1
        good = isinstance(data, LoginPassword) and (
            data.login.decode(), data.password.decode()) == self.login  # fmt: skip
        return AuthResult(success=good, handled=good)

    async def handle_RCPT(self, server, session, envelope, address, options):
        if self.refuse:
            return self.refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        assert session.ssl, "without TLS"
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.content))
        return "250 taken"

    def open(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.folder / "mail.pem", self.folder / "mail.key")
        self.controller = Controller(
            self, hostname="127.0.0.1", port=self.port, tls_context=context,
            require_starttls=True, authenticator=self.authenticate, auth_required=True,
        )  # fmt: skip
        self.controller.start()
        return self

    def close(self):
        if self.controller:
            self.controller.stop()
        self.controller = None

    def wait(self, count, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end and len(self.mails) < count:
            time.sleep(0.1)
        assert len(self.mails) >= count, f"{len(self.mails)} mails, not {count}"
        return [Mail(*one) for one in self.mails]


class Mail:
    def __init__(self, sender, recipients, octets):
        self.sender, self.recipients, self.octets = sender, recipients, octets
        self.message = email.message_from_bytes(octets, policy=email.policy.default)

    def part(self, kind):
        found = [part for part in self.message.walk() if part.get_content_type() == kind]
        assert len(found) == 1, f"{len(found)} parts {kind}"
        return found[0]

    @property
    def text(self):
        return self.part("text/plain").get_content().replace("\r\n", "\n")

    @property
    def html(self):
        return self.part("text/html").get_content()


@pytest.fixture
def post(tmp_path):
    """A certificate for 127.0.0.1 and a port; not open yet."""
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
        "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=mail",
        "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "mail.key",
        "-out", tmp_path / "mail.pem")  # fmt: skip
    made = Post(free_ports(1)[0], tmp_path)
    yield made
    made.close()


@pytest.fixture
def mail_house(tmp_path_factory, post):
    """A house that hands its mails to `post`; not started."""
    made = house_make(tmp_path_factory)
    secret = made.data / "mail.password"
    secret.write_text(PASSWORD + "\n")
    secret.chmod(0o600)
    made.change_config(mail={
        "server": "127.0.0.1", "port": post.port, "ca_file": str(post.folder / "mail.pem"),
        "user": USER, "password_source": "file:mail.password",
        "from": "ca@example.com", "connect_ms": 3000, "send_ms": 10000,
    })  # fmt: skip
    yield made
    house_end(made)


def state_of(house, mail):
    return house.good("GET", f"/mail/{mail}")


def wait_state(house, mail, state, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if state_of(house, mail)["state"] == state:
            return state_of(house, mail)
        time.sleep(0.1)
    raise AssertionError(f"not {state}: {state_of(house, mail)}\n{house.words()}")


def stored(house):
    """All octets of the store."""
    return b"".join(path.read_bytes() for path in house.data.glob("store.db*"))


def test_a_mail_goes_out_over_starttls_with_a_login(mail_house, post):
    post.open()
    house = mail_house.start()
    done = house.cli("mail", "test", "admin@example.com", "--json")
    mail = json.loads(done.out)["id"]
    (got,) = post.wait(1)
    assert got.sender == "ca@example.com" and got.recipients == ["admin@example.com"]
    assert got.message["From"] == "Example Corp <ca@example.com>"
    assert got.message["Subject"] == "Test mail of Example Corp"
    assert got.message["Message-ID"] == f"<{mail}@example.com>"
    assert got.message["Date"].datetime.timestamp() == pytest.approx(time.time(), abs=120)
    assert not got.message.defects and post.logins == 1
    kept = wait_state(house, mail, "sent")
    assert kept["attempts"] == 1 and kept["sent"] and not kept["failure"]
    assert house.audit(object=f"mail:{mail}", action="mail.send")
    metrics = house.call(
        "GET", house.secure + "/metrics", headers={"Authorization": f"Bearer {house.token}"}
    )
    assert b'sealwright_mails_total{kind="sent"} 1' in metrics.body
    assert b"sealwright_mail_waiting 0\n" in metrics.body
    for words in (house.words(), metrics.body.decode()):
        assert PASSWORD not in words


def test_a_server_that_is_away_gets_the_mail_later(mail_house, post):
    house = mail_house.start()
    began = time.monotonic()
    mail = house.good("POST", "/mail/test", {"recipient": "admin@example.com"})["id"]
    assert time.monotonic() - began < 3, "the request waited for the mail server"
    end = time.monotonic() + 30
    while state_of(house, mail)["attempts"] == 0 and time.monotonic() < end:
        time.sleep(0.1)
    kept = state_of(house, mail)
    assert kept["state"] == "waiting" and kept["attempts"] >= 1 and kept["failure"]
    house.restart()
    assert state_of(house, mail)["state"] == "waiting"
    post.open()
    house.good("POST", f"/mail/{mail}/retry")
    post.wait(1)
    wait_state(house, mail, "sent")
    time.sleep(2)
    assert len(post.mails) == 1, "sent once"
    answer = house.api("POST", f"/mail/{mail}/retry")
    assert answer.status == 409
    assert house.api("DELETE", f"/mail/{mail}").status == 409


class Stalling:
    """A mail server that falls silent at this word of the dialogue."""

    def __init__(self, word):
        self.word, self.taken, self.stopped = word, [], threading.Event()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            with line, line.makefile("rwb", buffering=0) as talk:
                self.talk(talk)

    def talk(self, talk):
        talk.write(b"220 mail\r\n")
        for asked in talk:
            word = asked[:4].strip().decode().upper()
            if word == "DATA":
                talk.write(b"354 go on\r\n")
                text = b"".join(iter(talk.readline, b".\r\n"))
                word = "."
            if word == self.word:
                self.stopped.wait(60)
                return
            if word == ".":
                self.taken.append(text)
            talk.write(b"221 bye\r\n" if word == "QUIT" else b"250 well\r\n")

    def end(self):
        self.stopped.set()
        self.listener.close()


@pytest.mark.parametrize("word, state, attempts", [("RCPT", "waiting", 1), (".", "waiting", 1), ("QUIT", "sent", 1)])
def test_R8_a_server_that_falls_silent_holds_a_mail_for_its_time(tmp_path_factory, word, state, attempts):
    server, house = Stalling(word), house_make(tmp_path_factory)
    try:
        house.change_config(mail={
            "server": "127.0.0.1", "port": server.port, "security": "none", "from": "ca@example.com",
            "connect_ms": 2000, "send_ms": 2000})  # fmt: skip
        house.start()
        house.user("alice", email="alice@example.com")
        started = time.monotonic()
        house.good("POST", "/activations", {"user": "alice", "mail": True})
        (mail,) = house.good("GET", "/mail")["items"]
        while mail["attempts"] == 0 and time.monotonic() - started < 30:
            time.sleep(0.1)
            (mail,) = house.good("GET", "/mail")["items"]
        assert time.monotonic() - started < 10
        assert (mail["state"], mail["attempts"]) == (state, attempts)
        assert len(server.taken) == (1 if state == "sent" else 0)
        stopped = time.monotonic()
        house.stop()
        assert time.monotonic() - stopped < 8
    finally:
        server.end()
        house_end(house)


def test_a_refused_recipient_fails_for_good_a_busy_server_does_not(mail_house, post):
    post.open()
    house = mail_house.start()
    post.refuse = "550 5.1.1 no such user"
    mail = house.good("POST", "/mail/test", {"recipient": "nobody@example.com"})["id"]
    kept = wait_state(house, mail, "failed")
    assert "550" in kept["failure"]
    assert house.audit(object=f"mail:{mail}", action="mail.fail")
    post.refuse = "451 4.3.0 try later"
    other = house.good("POST", "/mail/test", {"recipient": "busy@example.com"})["id"]
    end = time.monotonic() + 30
    while not state_of(house, other)["failure"] and time.monotonic() < end:
        time.sleep(0.1)
    assert state_of(house, other)["state"] == "waiting"
    assert "451" in state_of(house, other)["failure"]
    house.good("DELETE", f"/mail/{other}")
    assert state_of(house, other)["state"] == "withdrawn"
    post.refuse = None
    house.good("POST", f"/mail/{mail}/retry")
    wait_state(house, mail, "sent")
    assert [one.recipients for one in post.wait(1)] == [["nobody@example.com"]]


def test_I5_no_password_goes_to_a_server_that_is_not_ours(mail_house, post):
    """Another certificate, no STARTTLS, a wrong password: the mail waits."""
    house = mail_house
    other = post.folder / "other.pem"
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-days", "2", "-subj", "/CN=other", "-keyout", post.folder / "o.key",
        "-out", other)  # fmt: skip
    post.open()
    house.change_config(mail={"ca_file": str(other)})
    house.start()
    mail = house.good("POST", "/mail/test", {"recipient": "admin@example.com"})["id"]
    end = time.monotonic() + 30
    while not state_of(house, mail)["failure"] and time.monotonic() < end:
        time.sleep(0.1)
    assert state_of(house, mail)["state"] == "waiting" and post.logins == 0
    house.stop()
    house.change_config(mail={"ca_file": str(post.folder / "mail.pem")})
    (house.data / "mail.password").write_text("not this one")
    house.start()
    house.good("POST", f"/mail/{mail}/retry")
    end = time.monotonic() + 30
    while post.logins == 0 and time.monotonic() < end:
        time.sleep(0.1)
    assert post.logins > 0 and not post.mails
    assert state_of(house, mail)["state"] == "waiting"
    (house.data / "mail.password").chmod(0o644)
    house.good("POST", f"/mail/{mail}/retry")
    end = time.monotonic() + 30
    while "password_source" not in state_of(house, mail)["failure"]:
        assert time.monotonic() < end
        time.sleep(0.1)


def test_W4_a_configuration_that_would_send_in_the_clear_stops_the_start(mail_house):
    for members, named in (
        ({"security": "none"}, "mail/security"),
        ({"from": "ca@example.com\r\nBcc: eve@example.com"}, "mail/from"),
        ({"password_source": None}, "mail/password_source"),
        ({"server": "mail/../x"}, "mail/server"),
    ):
        before = mail_house.config_path.read_text()
        mail_house.change_config(mail=members)
        done = mail_house.cli("check", check=False)
        assert done.returncode != 0 and named in done.err, (members, done.err)
        mail_house.config_path.write_text(before)


def scanned(octets, tmp_path):
    """What a scanner reads from the picture."""
    picture = tmp_path / "qr.png"
    picture.write_bytes(octets)
    return run("zbarimg", "--quiet", "--raw", "-Sbinary", picture).out.rstrip("\n")


def fields_of(link):
    """Base and fields of an activation link; the secret is in the fragment alone."""
    before, _, fragment = link.partition("#")
    assert before.endswith("/activate") and "?" not in before
    return before, dict(urllib.parse.parse_qsl(fragment, strict_parsing=True))


def test_an_activation_password_is_mailed_with_link_and_picture(mail_house, post, tmp_path):
    house = mail_house.start()
    house.user("alice", display_name="Ál <b>ice</b>")
    made = house.good("POST", "/activations", {"user": "alice", "mail": True})
    assert "password" not in made
    (waiting,) = house.good("GET", "/mail?user=alice&state=waiting")["items"]
    sealed = stored(house)
    post.open()
    house.good("POST", f"/mail/{waiting['id']}/retry")
    (got,) = post.wait(1)
    wait_state(house, waiting["id"], "sent")
    password = re.search(r"Activation password: (\S+)", got.text)[1]
    assert re.fullmatch(r"(\w{4}-){2}\w{4}", password)
    link = re.search(r"^https://\S+$", got.text, re.M)[0]
    base, fields = fields_of(link)
    assert base == f"{house.secure}/activate"
    assert fields == {"v": "1", "user": "alice", "password": password}
    picture = got.part("image/png").get_content()
    assert scanned(picture, tmp_path) == link
    assert "Hello Ál <b>ice</b>," in got.text
    assert "Ál &lt;b&gt;ice&lt;/b&gt;" in got.html and 'src="cid:qr"' in got.html
    assert password not in got.message["Subject"]
    # In the store it was sealed, and afterwards it is nowhere.
    assert password.encode() not in sealed + stored(house)
    assert password not in house.words()
    assert waiting["id"] in json.dumps(house.audit(action="mail.send"))
    # The link is all that the client needs, and it is good for one device.
    (tmp_path / "store").write_text("behind this password\n")
    for out, ends_with in (("first", 0), ("second", 1)):
        done = run(COMMAND, "activate", "-", "--cacert", house.data / "root.pem", "--out", tmp_path / out,
                   "--out-password-file", tmp_path / "store", "--only-activate", "--json", check=False,
                   stdin=f"{link}\n".encode(), cwd=tmp_path)  # fmt: skip
        assert (done.returncode == 0) == (ends_with == 0), done.err
    assert (tmp_path / "first/activation.p12").exists() and not (tmp_path / "second/activation.p12").exists()
    (device,) = house.good("GET", "/devices?owner=alice")["items"]
    notice = post.wait(2)[1]
    assert notice.recipients == ["alice@example.com"] and device["id"] in notice.text


def test_a_pc_that_enrols_is_told_to_its_user(mail_house, post, tmp_path):
    house = mail_house
    house.change_config(plugins=[{"name": name} for name in ("discovery", "xcep", "wstep", "syncml")])
    house.start()
    post.open()
    house.user("alice")
    house.good("PUT", "/users/alice/password", {"password": SECRET})
    set_profile(house, "certificate", "default", protocols=["wstep"], validity="P10D", renewal_window="P10D")
    pc = Computer(house, tmp_path / "pc", f"{next(numbers):032X}", "alice", SECRET)
    pc.discover(["OnPremise"])
    pc.policies(pc.by_password())
    pc.enrol(pc.by_password())
    (device,) = house.good("GET", "/devices?owner=alice")["items"]
    notice = post.wait(1)[0]
    assert notice.recipients == ["alice@example.com"] and device["id"] in notice.text
    # A renewal is the same device: nothing to tell.
    pc.renew()
    pc.session("0")
    assert len(house.good("GET", "/mail?user=alice")["items"]) == 1


def test_instructions_and_password_come_in_two_mails(mail_house, post):
    post.open()
    house = mail_house.start()
    house.user("bob")
    answer = house.api("GET", "/profiles/activation/default")
    settings = {**answer.json["settings"], "two_messages": True}
    answer = house.api("PUT", "/profiles/activation/default",
                       {**answer.json, "settings": settings},
                       headers={"If-Match": answer.headers["ETag"]})  # fmt: skip
    assert answer.status == 200, answer.body
    house.good("POST", "/activations", {"user": "bob", "mail": True})
    mails = {mail.message["Subject"]: mail for mail in post.wait(2)}
    password = mails["Your activation password"]
    instructions = mails["How to activate your device for Example Corp"]
    secret = re.search(r"activation password: (\S+)", password.text)[1]
    link = re.search(r"^https://\S+$", instructions.text, re.M)[0]
    assert fields_of(link)[1] == {"v": "1", "user": "bob"}
    assert secret not in instructions.octets.decode()
    assert "https://" not in password.text


def test_an_invitation_sets_a_password_once(mail_house, post):
    post.open()
    house = mail_house.start()
    house.user("carol")
    done = house.cli("user", "invite", "carol", "--json")
    (got,) = post.wait(1)
    link = re.search(r"^https://\S+$", got.text, re.M)[0]
    page, _, code = link.partition("#")
    assert page == f"{house.secure}/self/invitation" and len(code) == 59
    assert code not in done.out and code.encode() not in stored(house)
    client = Client(house)

    def use(this, password="tulip grows 4 me"):
        fields = {"token": client.token("/self/invitation"), "code": this,
                  "new": password, "again": password}  # fmt: skip
        return client.ask("POST", "/self/invitation", fields)

    assert use(code[:-1] + ("A" if code[-1] != "A" else "B")).status == 400
    assert use(code, "password").status == 400, "a weak one does not use it up"
    assert use(code).status == 303
    again = use(code, "another 4 the same")
    assert again.status == 400 and "does not work" in again.text
    assert client.log_in("carol", "another 4 the same").status == 403
    assert client.log_in("carol").status == 303
    assert "Login to your self-service page" == post.wait(2)[1].message["Subject"]
    assert house.api("POST", "/users/nobody/invitation", {}).status == 404
    house.good("POST", "/users", {"name": "without"})
    assert house.api("POST", "/users/without/invitation", {}).status == 409


def test_users_get_and_set_activation_passwords(mail_house, post):
    post.open()
    house = mail_house.start()
    house.user("dave")
    assert house.api(
        "PUT", "/users/dave/password", {"password": "tulip grows 4 me"}
    ).status == 204
    client = Client(house)
    assert client.log_in("dave").status == 303
    post.wait(1)
    token = client.token("/self/")
    assert client.ask("POST", "/self/activation-mail", {"token": "x"}).status == 403
    assert client.ask("POST", "/self/activation-mail", {"token": token}).status == 303
    mailed = post.wait(2)[1]
    assert "Activation password: " in mailed.text
    (first,) = house.good("GET", "/activations?user=dave&state=open")["items"]
    for typed in ("short", "aaaaaaaa", "pässwörd 4 me"):
        fields = {"token": token, "new": typed, "again": typed}
        answer = client.ask("POST", "/self/activation", fields)
        assert answer.status == 400, (typed, answer.status)
    fields = {"token": token, "new": "Lantern-7-river", "again": "Lantern-7-rivers"}
    assert client.ask("POST", "/self/activation", fields).status == 400
    fields["again"] = fields["new"]
    assert client.ask("POST", "/self/activation", fields).status == 303
    (second,) = house.good("GET", "/activations?user=dave&state=open")["items"]
    assert second["id"] != first["id"]
    assert "for 1 more device, 5 tries left" in client.ask("GET", "/self/").text
    assert b"Lantern-7-river" not in stored(house)


def test_templates_are_edited_previewed_and_reset(house):
    names = {item["name"] for item in house.good("GET", "/mail-templates")["items"]}
    assert {"activation", "activation_instructions", "activation_password", "login",
            "invitation", "device_activated", "test"} == names  # fmt: skip
    shown = house.api("GET", "/mail-templates/activation")
    assert shown.json["is_built_in"] and shown.headers["ETag"] == '"1"'
    assert "activation.password" in shown.json["variables"]
    body = {"subject": "Hi {{user.name}}", "text": "{{activation.password}}", "html": None}
    tag = {"If-Match": '"1"'}
    for wrong, pointer in (
        ({**body, "subject": "{{activation.password}}"}, "/subject"),
        ({**body, "text": "nothing"}, "/text"),
        ({**body, "html": "<p>{{user.nme}}</p>"}, "/html"),
    ):
        answer = house.api("PUT", "/mail-templates/activation", wrong, headers=tag)
        assert answer.status == 400 and answer.json["errors"][0]["pointer"] == pointer
    assert house.api("PUT", "/mail-templates/activation", body).status == 428
    answer = house.api("PUT", "/mail-templates/activation", body, headers=tag)
    assert answer.status == 200 and answer.json["version"] == 2
    assert house.api("PUT", "/mail-templates/activation", body, headers=tag).status == 412
    preview = house.good("POST", "/mail-templates/activation/preview", {})
    assert preview == {"subject": "Hi alice", "text": "k7dp-93mt-qxwe", "html": None}
    preview = house.good(
        "POST", "/mail-templates/activation/preview",
        {"html": "<p>{{activation.link}}</p>{{activation.qr}}"},
    )  # fmt: skip
    assert "<svg " in preview["html"] and "#v=1&amp;user=" in preview["html"]
    house.cli("mail-template", "reset", "activation")
    shown = house.good("GET", "/mail-templates/activation")
    assert shown["is_built_in"] and shown["version"] == 3
    versions = house.good("GET", "/mail-templates/activation/versions")["items"]
    assert [one["version"] for one in versions] == [3, 2]
    assert house.audit(object="mail_template:activation", action="mail_template.reset")
