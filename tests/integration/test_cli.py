"""The command against a running daemon: every verb, for people and for scripts."""

import json
import os
import re
import subprocess

import pytest
from conftest import COMMAND, SOURCE, run
from scep import Fleet, serial_of

CONFIG = {"limits": {"requests_per_second": 0}}


def as_json(house, *words, **options):
    return json.loads(house.cli(*words, "--json", **options).out)


def fails(house, *words, code=1, says="", **options):
    done = house.cli(*words, check=False, **options)
    assert done.returncode == code, (words, done.returncode, done.out, done.err)
    assert says in done.err, (words, done.err)
    assert done.err.startswith(("sealwright", "Usage")), done.err
    assert "Traceback" not in done.err and "Sanitizer" not in done.err
    assert "\x1b" not in done.err
    return done


# ---- Help ----


def pages():
    """The verbs that --help lists, with their actions where these have a page each."""
    found = [()]
    section = None
    for line in run(COMMAND, "--help").out.splitlines():
        if line.startswith(("On this machine", "Over the API")):
            section = line
        match = re.match(r"  ([a-z-]+) +(?:([a-z]+) ([a-z]+):)?", line)
        if section and match and not line.startswith("  --"):
            if match.group(2) == match.group(1):
                found.append((match.group(1), match.group(3)))
            else:
                found.append((match.group(1),))
        if line.startswith("Options"):
            break
    return found


@pytest.mark.parametrize("page", pages(), ids=" ".join)
def test_help_of_everything_ends_with_0_and_has_examples(page):
    done = run(COMMAND, *page, "--help")
    assert done.out.startswith("Usage: sealwright") and not done.err
    assert "Example" in done.out
    if page:
        assert f"sealwright {' '.join(page)}" in done.out


def test_help_covers_the_verbs_that_are_promised():
    verbs = {page[0] for page in pages() if page}
    assert verbs >= {"serve", "init", "check", "user", "group", "profile", "assign",
                     "challenge", "device", "cert", "issuer", "audit", "status"}  # fmt: skip


# ---- Without a daemon, or with wrong words ----


@pytest.mark.parametrize("words, code, says", [
    ([], 2, "Usage"), (["fly"], 2, "fly"), (["user"], 2, "user"),
    (["user", "fly"], 2, "fly"), (["user", "create"], 2, "NAME"),
    (["user", "create", "a", "--colour", "red"], 2, "colour"),
    (["user", "create", "a", "b"], 2, "b"), (["challenge", "create"], 2, "--user"),
    (["cert", "revoke"], 2, "SERIAL"), (["user", "list", "--limit"], 2, "limit"),
])  # fmt: skip
def test_wrong_words_are_explained(house, words, code, says):
    done = house.cli(*words, check=False)
    assert done.returncode == code, (done.returncode, done.err)
    assert says in done.err and not done.out


def test_no_daemon_and_no_folder_are_explained(house, tmp_path):
    done = run(COMMAND, "--data", tmp_path / "nothing", "user", "list", check=False)
    assert done.returncode == 1 and str(tmp_path / "nothing") in done.err
    (tmp_path / "admin.token").write_text(house.token)
    done = run(COMMAND, "--data", tmp_path, "user", "list", check=False)
    assert done.returncode == 1 and "sealwright.sock" in done.err, done.err
    assert house.token not in done.err


def test_A6_a_wrong_token_is_explained(house, tmp_path):
    wrong = tmp_path / "token"
    wrong.write_text("0" * 43 + "\n")
    wrong.chmod(0o600)
    done = fails(house, "--token-file", wrong, "user", "list")
    assert "0000" not in done.err


# ---- Over the socket and over TLS ----


def test_a_remote_daemon_is_asked_over_tls(house, tmp_path):
    words = ["--url", house.secure, "user", "list", "--json"]
    assert house.cli(*words).returncode == 0
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-subj", "/CN=x", "-keyout", tmp_path / "k", "-out", tmp_path / "c")  # fmt: skip
    fails(house, "--cacert", tmp_path / "c", *words)
    done = house.cli("--url", house.base, "user", "list", check=False)
    assert done.returncode != 0, "the token must not go out in the clear"


# ---- Each verb ----


def test_users_groups_and_assignments(house):
    house.cli("user", "create", "alice", "--email", "alice@example.com",
              "--display-name", "Alice Doe", "--attribute", "room=7")  # fmt: skip
    user = as_json(house, "user", "show", "alice")
    assert user["email"] == "alice@example.com" and user["attributes"] == {"room": "7"}
    assert "alice@example.com" in house.cli("user", "show", "alice").out
    assert "alice" in house.cli("user", "list").out
    assert [item["name"] for item in as_json(house, "user", "list")["items"]] == ["alice"]
    house.cli("user", "set", "alice", "--display-name", "", "--work-space", "ws-1")
    user = as_json(house, "user", "show", "alice")
    assert not user.get("display_name") and user["work_space"] == "ws-1"
    fails(house, "user", "create", "alice", says="alice")
    fails(house, "user", "create", "Alice!", says="name")
    fails(house, "user", "show", "nobody", says="nobody")
    house.cli("user", "create", "ghost", "--dry-run")
    fails(house, "user", "show", "ghost")

    house.cli("group", "create", "staff", "--priority", "50", "--description", "all")
    house.cli("group", "add", "staff", "alice")
    assert "alice" in house.cli("group", "members", "staff").out
    assert "staff" in house.cli("group", "list").out
    created = house.cli("profile", "create", "scep/tablets", "-", stdin=json.dumps(
        {"settings": {"certificate": "default"}}).encode())  # fmt: skip
    assert created.returncode == 0
    house.cli("assign", "group", "staff", "scep/tablets")
    effective = as_json(house, "user", "profiles", "alice")["effective"]["scep"]
    assert effective == {"profile": "tablets", "from": "group:staff"}
    house.cli("assign", "user", "alice", "scep/default")
    assert as_json(house, "user", "profiles", "alice")["effective"]["scep"]["from"] == "user"
    house.cli("assign", "user", "alice", "scep/default", "--remove")
    house.cli("group", "remove", "staff", "alice")
    house.cli("assign", "group", "staff", "scep/tablets", "--remove")
    house.cli("group", "delete", "staff")
    fails(house, "group", "show", "staff")


def test_profiles_are_shown_changed_and_versioned(house):
    shown = house.cli("profile", "show", "certificate/default", "--json").out
    house.cli("profile", "create", "certificate/copy", "-", stdin=shown.replace(
        '"default"', '"copy"', 1).encode())  # fmt: skip
    house.cli("profile", "set", "certificate/copy", "-",
              stdin=b'{"settings": {"validity": "P90D"}}')  # fmt: skip
    after = as_json(house, "profile", "show", "certificate/copy")
    assert after["settings"]["validity"] == "P90D"
    versions = as_json(house, "profile", "versions", "certificate/copy")["items"]
    assert len(versions) >= 2
    fails(house, "profile", "set", "certificate/copy", "-",
          stdin=b'{"settings": {"validity": "a year"}}', says="validity")  # fmt: skip
    fails(house, "profile", "set", "certificate/copy", "-", code=2, stdin=b"{", says="JSON")
    fails(house, "profile", "show", "colour/x", says="no such")
    listed = house.cli("profile", "list", "certificate").out
    assert "copy" in listed and "default" in listed
    house.cli("profile", "delete", "certificate/copy")
    fails(house, "profile", "delete", "certificate/default")


@pytest.fixture(scope="module")
def enrolled(house):
    """A user with a device and a certificate, the challenge made by the command."""
    house.cli("user", "create", "bob")
    made = as_json(house, "challenge", "create", "--user", "bob", "--subject", "CN=dev",
                   "--expires-in", "PT10M")  # fmt: skip
    fleet = Fleet(house)
    reply = fleet.post(fleet.fresh(made["challenge"]))
    assert reply.word == "issued"
    fleet.close()
    return {"id": made["id"], "challenge": made["challenge"],
            "serial": serial_of(reply.certificate), "der": reply.certificate}  # fmt: skip


def test_challenges_show_their_secret_once(house, enrolled):
    done = house.cli("challenge", "create", "--user", "bob")
    secret = re.search(r"\b[0-9A-F]{48}\b", done.out).group(0)
    listed = house.cli("challenge", "list").out + house.cli("challenge", "list", "--json").out
    assert secret not in listed and enrolled["id"] in listed
    assert "used" in house.cli("challenge", "show", enrolled["id"]).out
    opened = as_json(house, "challenge", "list", "--state", "open")["items"]
    assert opened
    for item in opened:
        house.cli("challenge", "withdraw", item["id"])
    assert not as_json(house, "challenge", "list", "--state", "open")["items"]
    fails(house, "challenge", "withdraw", enrolled["id"])
    fails(house, "challenge", "create", "--user", "nobody")
    fails(house, "challenge", "create", "--user", "bob", "--expires-in", "soon")


def test_certificates_are_found_downloaded_and_revoked(house, enrolled, tmp_path):
    serial = enrolled["serial"]
    assert serial in house.cli("cert", "list", "--user", "bob").out
    assert as_json(house, "cert", "show", serial)["state"] == "issued"
    pem = house.cli("cert", "get", serial).out
    assert pem.startswith("-----BEGIN CERTIFICATE-----")
    house.cli("cert", "get", serial, "--der", "--out", tmp_path / "c.cer")
    assert (tmp_path / "c.cer").read_bytes() == enrolled["der"]
    house.cli("cert", "revoke", serial, "--reason", "superseded", "--dry-run")
    assert as_json(house, "cert", "show", serial)["state"] == "issued"
    fails(house, "cert", "revoke", serial, "--reason", "because")
    house.cli("cert", "revoke", serial, "--reason", "superseded")
    assert as_json(house, "cert", "show", serial)["reason"] == "superseded"
    fails(house, "cert", "revoke", serial, "--reason", "superseded")
    fails(house, "cert", "show", "0" * 32)
    entries = as_json(house, "audit", "list")["items"]
    revoked = next(e for e in entries if e["action"] == "certificate.revoke")
    assert revoked["object"] == f"certificate:{serial}"


def test_devices(house, enrolled):
    device = as_json(house, "cert", "show", enrolled["serial"])["device"]
    assert device in house.cli("device", "list", "--owner", "bob").out
    made = as_json(house, "device", "create", "--owner", "bob", "--kind", "router",
                   "--hardware", "serial=7F3A")  # fmt: skip
    assert made["hardware"] == {"serial": "7F3A"}
    house.cli("device", "disable", made["id"])
    assert as_json(house, "device", "show", made["id"])["state"] == "disabled"
    house.cli("device", "enable", made["id"])
    house.cli("device", "delete", made["id"])
    fails(house, "device", "show", made["id"])


def test_issuers_admins_status_and_organisation(house, tmp_path):
    assert "issuing" in house.cli("issuer", "list").out
    chain = house.cli("issuer", "get", "issuing").out
    assert chain.count("BEGIN CERTIFICATE") >= 1
    house.cli("admin", "create", "helpdesk", "--role", "operator")
    token = as_json(house, "admin-token", "create", "helpdesk")["token"]
    (tmp_path / "t").write_text(token)
    (tmp_path / "t").chmod(0o600)
    assert house.cli("--token-file", tmp_path / "t", "user", "list").returncode == 0
    fails(house, "--token-file", tmp_path / "t", "admin", "list")
    fails(house, "--token-file", tmp_path / "t", "audit", "list")
    house.cli("admin", "disable", "helpdesk")
    fails(house, "--token-file", tmp_path / "t", "user", "list")
    assert "Example Corp" in house.cli("organisation", "show").out
    done = house.cli("status")
    assert "ready" in done.out


def test_a_user_is_disabled_and_deleted_by_the_command(house):
    house.cli("user", "create", "leaver")
    house.cli("user", "disable", "leaver")
    assert as_json(house, "user", "show", "leaver")["state"] == "disabled"
    house.cli("user", "enable", "leaver")
    house.cli("user", "delete", "leaver")
    fails(house, "user", "show", "leaver")


def test_lists_are_whole_however_long(house):
    for number in range(130):
        house.user(f"many{number:03}")
    found = as_json(house, "user", "list", "--q", "many")["items"]
    assert len(found) == 130
    lines = [line for line in house.cli("user", "list", "--q", "many").out.splitlines()
             if line.startswith("many")]  # fmt: skip
    assert len(lines) == 130
    assert len(as_json(house, "user", "list", "--q", "many", "--limit", "5")["items"]) == 5


def test_R7_what_others_wrote_cannot_drive_the_terminal(house):
    """A device's own words about itself are the ones that no field's check cleans."""
    house.good("POST", "/groups", {"name": "esc", "description": "caf\u00e9 <b> %s %n"})
    assert "caf\u00e9 <b> %s %n" in house.cli("group", "show", "esc").out
    for text in ("\x1b[2J", "\u009b31m", "\u202eevil", "\x7f"):
        answer = house.api("POST", "/groups", {"name": "bad", "description": text})
        assert answer.status == 400, (text, answer.status)
        fails(house, "group", "show", text, says="")
        done = house.cli("group", "create", "bad", "--description", text, check=False)
        assert done.returncode == 1 and text not in done.out + done.err


# ---- What else the command leaves alone ----


def test_I5_no_secret_on_the_command_line_or_in_the_environment(house):
    """The daemon's and the command's words, as every user of the machine sees them."""
    pid = house.process.pid
    words = open(f"/proc/{pid}/cmdline", "rb").read()
    pin = (house.data / json.loads(house.config_path.read_text())["tokens"][0][
        "pin_source"].removeprefix("file:")).read_text().strip()  # fmt: skip
    assert pin.encode() not in words and house.token.encode() not in words
    if os.geteuid() == 0:
        environment = open(f"/proc/{pid}/environ", "rb").read()
        assert pin.encode() not in environment and house.token.encode() not in environment


def test_init_refuses_a_folder_that_is_in_use(house):
    done = run(COMMAND, "init", "--data", house.data, check=False)
    assert done.returncode == 1 and str(house.data) in done.err
    assert house.get("/health/ready").status == 200


@pytest.mark.parametrize("words, wanted", [
    (["us"], {"user"}), (["user", ""], {"create", "list", "disable"}),
    (["user", "cre"], {"create"}), (["user", "create", "a", "--em"], {"--email"}),
    (["cert", "revoke", "0a", "--reason"], {"--reason"}), (["--tok"], {"--token-file"}),
    (["init", "--mod"], {"--module"}), (["nonsense", ""], set()),
])  # fmt: skip
def test_completion_offers_what_may_follow(words, wanted):
    done = subprocess.run(
        ["bash", "-c", 'source /usr/share/bash-completion/bash_completion; source "$1"; shift\n'
         'COMP_WORDS=(sealwright "$@"); COMP_CWORD=$#; COMP_LINE="${COMP_WORDS[*]}"\n'
         'COMP_POINT=${#COMP_LINE}; found=$(complete -p sealwright) || exit 1\n'
         'found=${found#*-F }; "${found%% *}" sealwright "${!#}" || :\n'
         'printf "%s\\n" "${COMPREPLY[@]}"',
         "bash", SOURCE / "deploy/completion/sealwright", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=30,
    )  # fmt: skip
    offered = set(done.stdout.decode().split())
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert offered >= wanted and (wanted or not offered), offered
    assert all(word.startswith(words[-1]) for word in offered), offered
