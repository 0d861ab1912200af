"""Keys, issuers and ceremonies by the command, beside and without a daemon."""

import base64
import hashlib
import json
import re
import shutil
import sqlite3
import ssl

import pytest
from conftest import SOURCE, House, house_end, run
from tokens import pin_of, pin_write, rows, wait_for


# ---- Keys (SECURITY I6) ----


def test_keys_are_made_shown_and_destroyed(fresh_house):
    uri = fresh_house.cli("key", "generate", "extra-1", "--algorithm", "p-384").out.strip()
    assert uri.startswith("pkcs11:token=sealwright;") and "object=extra-1;" in uri
    assert "pin" not in uri
    again = fresh_house.cli("key", "generate", "extra-1", check=False)
    assert again.returncode == 1 and "already" in again.err
    listed = {row["label"]: row for row in rows(fresh_house, "key", "list")}
    assert listed["extra-1"]["bits"] == 384 and listed["extra-1"]["used_by"] == ""
    by_use = {row["used_by"]: row for row in listed.values()}
    assert by_use["ra of issuing"]["uses"] == "sign, decrypt"
    assert by_use["issuer root"]["kind"] == "ec"
    assert all(row["departures"] == [] for row in listed.values())
    values = {
        row["attribute"]: (row["value"], row["verdict"])
        for row in rows(fresh_house, "key", "attributes", "extra-1")
    }
    assert values["CKA_SENSITIVE"] == ("true", "ok")
    assert values["CKA_EXTRACTABLE"] == ("false", "ok")
    assert values["CKA_DECRYPT"] == ("false", "ok")
    gone = fresh_house.cli("key", "destroy", "extra-1", stdin=b"extra-1\n")
    assert "destroyed" in gone.out
    assert "extra-1" not in {row["label"] for row in rows(fresh_house, "key", "list")}
    fresh_house.start()
    made = {e["action"] for e in fresh_house.audit(object="key:extra-1")}
    assert made == {"key.generate", "key.destroy"}


@pytest.mark.parametrize(
    "words, answer",
    [
        ((), b"\n"), ((), b"yes\n"), ((), b""), ((), b"spare\n"),
        (("--yes", "spare"), b""), (("--yes", ""), b"spare-1\n"),
    ],
)  # fmt: skip
def test_destroying_wants_the_label(house_with_spare, words, answer):
    done = house_with_spare.cli(
        "key", "destroy", "spare-1", *words, stdin=answer, check=False
    )
    assert done.returncode == 1 and "not confirmed" in done.err
    labels = {row["label"] for row in rows(house_with_spare, "key", "list")}
    assert "spare-1" in labels


@pytest.fixture(scope="module")
def house_with_spare(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spare")
    folder.chmod(0o700)
    made = House(folder / "data")
    made.cli("key", "generate", "spare-1")
    yield made
    house_end(made)


@pytest.mark.parametrize("role", ["issuer root", "issuer issuing", "ra of issuing", "audit", "sealing"])
def test_a_key_in_use_is_not_destroyed(house_with_spare, role):
    keys = {row["used_by"]: row["label"] for row in rows(house_with_spare, "key", "list")}
    label = keys[role]
    done = house_with_spare.cli("key", "destroy", label, "--yes", label, check=False)
    assert done.returncode == 1 and f"in use: {role}" in done.err
    assert label in {row["label"] for row in rows(house_with_spare, "key", "list")}


# ---- Issuers ----


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    """A root that nothing here knows, as its ceremony elsewhere leaves it."""
    folder = tmp_path_factory.mktemp("outside")
    run(
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384",
        "-nodes", "-keyout", folder / "key.pem", "-out", folder / "root.pem", "-days", "3650",
        "-subj", "/O=Outside/CN=Outside Root", "-addext", "keyUsage=critical,keyCertSign,cRLSign",
    )  # fmt: skip
    return folder


def outside_sign(outside, csr, out, *extensions):
    lines = ["basicConstraints=critical,CA:TRUE,pathlen:0", "keyUsage=critical,keyCertSign,cRLSign",
             "subjectKeyIdentifier=hash", "authorityKeyIdentifier=keyid", *extensions]  # fmt: skip
    config = outside / "extensions.conf"
    config.write_text("\n".join(lines))
    run(
        "openssl", "x509", "-req", "-in", csr, "-CA", outside / "root.pem", "-CAkey",
        outside / "key.pem", "-days", "1000", "-sha384", "-extfile", config, "-out", out,
    )  # fmt: skip


def issuer_of(house, name):
    return house.good("GET", f"/issuers/{name}")


def test_an_outside_root_certifies_an_issuer(fresh_house, outside):
    house, data = fresh_house, fresh_house.data
    csr, certificate = data / "ext.csr", data / "ext.pem"
    house.cli("issuer", "csr", "ext", "--subject", "CN=Ext CA,O=Example", "--out", csr)
    assert "Ext CA" in run("openssl", "req", "-in", csr, "-verify", "-noout", "-subject").out
    taken = house.cli("issuer", "csr", "ext2", "--subject", "CN=X", "--out", csr, check=False)
    assert taken.returncode == 1 and "exists" in taken.err
    assert not [row for row in rows(house, "key", "list") if row["label"].startswith("ext2")]
    outside_sign(outside, csr, certificate)
    words = ["issuer", "import", "ext", "--certificate", certificate]
    missing = house.cli(*words, check=False)
    assert missing.returncode == 1 and "no chain" in missing.err
    words += ["--chain", outside / "root.pem"]
    house.start()
    assert "could be" in house.cli(*words, "--check").out
    assert house.api("GET", "/issuers/ext").status == 404
    house.cli(*words)
    assert "2 new" in house.cli("issuer", "renew-helpers", "ext").out
    assert "0 new" in house.cli("issuer", "renew-helpers", "ext").out
    found = issuer_of(house, "ext")
    assert found["state"] == "active" and "CN=Ext CA" in found["subject"]
    # The daemon issues by it without a restart.
    profile = house.good("GET", "/profiles/certificate/default")
    house.good(
        "PATCH", "/profiles/certificate/default", {"settings": {"issuer": "ext"}},
        headers={"If-Match": f'"{profile["version"]}"', "Content-Type": "application/merge-patch+json"},
    )  # fmt: skip
    wait_for(lambda: house.get("/crl/ext.crl").status == 200)
    actions = [e["action"] for e in house.audit(object="issuer:ext")]
    assert actions == ["issuer.import", "issuer.request"]
    assert house.audit(object="issuer:ext")[0]["actor"].startswith("local:")


def test_issuers_are_created_below_each_other(fresh_house):
    house = fresh_house
    house.cli(
        "issuer", "create", "top", "--subject", "CN=Top,O=Example", "--path-length", "1",
        "--validity", "P3Y",
    )  # fmt: skip
    house.cli("issuer", "create", "mid", "--subject", "CN=Mid", "--parent", "top")
    refusals = [
        (("low", "--subject", "CN=Low", "--parent", "mid"), "room"),
        (("wide", "--subject", "CN=Wide", "--parent", "top", "--path-length", "1"), "room"),
        (("mid", "--subject", "CN=Mid 2", "--parent", "top"), "exists"),
        (("odd", "--subject", "CN=Odd", "--algorithm", "p-224"), "algorithm"),
        (("odd", "--subject", "no name"), ""),
        (("odd", "--subject", "CN=Odd", "--parent", "nobody"), "nobody"),
        (("odd", "--subject", "CN=Odd", "--token", "nowhere"), "nowhere"),
    ]
    before = len(rows(house, "key", "list"))
    for words, says in refusals:
        done = house.cli("issuer", "create", *words, check=False)
        assert done.returncode == 1 and says in done.err, (words, done.err)
    assert len(rows(house, "key", "list")) == before, "no key was left behind"
    for words in [(), ("--subject", "CN=A"), ("a", "b", "--subject", "CN=A"), ("a",),
                  ("a", "--subject", "CN=A", "--validity", "1 year"),
                  ("a", "--subject", "CN=A", "--path-length", "-1")]:  # fmt: skip
        assert house.cli("issuer", "create", *words, check=False).returncode == 2, words
    house.start()
    house.cli("issuer", "get", "mid", "--out", house.data / "mid.pem")
    house.cli("issuer", "get", "top", "--out", house.data / "top.pem")
    run("openssl", "verify", "-x509_strict", "-CAfile", house.data / "top.pem",
        house.data / "mid.pem")  # fmt: skip
    text = run("openssl", "x509", "-in", house.data / "mid.pem", "-noout", "-text").out
    assert "CA:TRUE, pathlen:0" in text


def test_rollover_while_the_daemon_runs(fresh_house):
    house = fresh_house.start()
    early = house.cli("issuer", "rollover", "issuing", "--activate", check=False)
    assert early.returncode == 1 and "no standby" in early.err
    assert "stands by" in house.cli("issuer", "rollover", "issuing", "--standby", "issuing-2").out
    again = house.cli("issuer", "rollover", "issuing", "--standby", "issuing-3", check=False)
    assert again.returncode == 1 and "already" in again.err
    assert issuer_of(house, "issuing")["next"] == "issuing-2"
    capabilities = house.get("/scep/default?operation=GetNextCACert")
    assert capabilities.status == 200
    house.cli("issuer", "rollover", "issuing", "--activate")
    assert issuer_of(house, "issuing")["state"] == "retired"
    assert issuer_of(house, "issuing-2")["state"] == "active"
    profile = house.good("GET", "/profiles/certificate/default")
    assert profile["settings"]["issuer"] == "issuing-2"
    for name in ("issuing", "issuing-2"):  # the old one signs its CRLs
        crl = house.data / f"{name}.crl"
        crl.write_bytes(house.get(f"/crl/{name}.crl").body)
        assert "Next Update" in run("openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text").out
    early = house.cli("issuer", "retire", "issuing", check=False)
    assert early.returncode == 1 and "not over before" in early.err
    wait_for(lambda: house.get("/health/ready").status == 200)
    # The TLS certificate comes from the new one now.
    house.cli("init", "--renew-tls")
    issuer = run("openssl", "x509", "-in", house.data / "tls.pem", "-noout", "-issuer").out
    assert "CN = Example Corp Issuing CA issuing-2" in issuer


def test_rollover_of_a_root_makes_cross_certificates(fresh_house):
    house, data = fresh_house, fresh_house.data
    house.cli("issuer", "rollover", "root", "--standby", "root-2", "--algorithm", "p-384")
    house.cli("issuer", "create", "low-2", "--subject", "CN=Low 2", "--parent", "root-2")
    house.start()
    house.cli("issuer", "get", "low-2", "--out", data / "low-2.pem")
    house.cli("issuer", "get", "root-2", "--out", data / "root-2.pem")
    # Who trusts the old root alone: by the old root's certificate for the new one.
    run("openssl", "verify", "-x509_strict", "-CAfile", data / "root.pem", "-untrusted",
        data / "root-2-by-root.pem", data / "low-2.pem")  # fmt: skip
    # Who trusts the new root alone: the old hierarchy by the new root's certificate.
    chain = (data / "chain.pem").read_text()
    (data / "old.pem").write_text(chain[: chain.index("-----END") + 26])
    run("openssl", "verify", "-x509_strict", "-CAfile", data / "root-2.pem", "-untrusted",
        data / "root-by-root-2.pem", data / "old.pem")  # fmt: skip


def test_helpers_are_renewed_and_taken_up(fresh_house):
    house = fresh_house.start()
    before = {row["label"] for row in rows(house, "key", "list")}
    assert "0 new" in house.cli("issuer", "renew-helpers").out
    assert "1 new" in house.cli("issuer", "renew-helpers", "--role", "ra", "--force").out
    assert "1 new" in house.cli("issuer", "renew-helpers", "--window", "P2Y").out  # OCSP: a year
    made = {row["label"]: row["used_by"] for row in rows(house, "key", "list")}
    assert sorted(made[label] for label in set(made) - before) == ["ocsp of issuing", "ra of issuing"]
    old = next(label for label in made if made[label] == "previous ra of issuing")
    assert house.get("/health/ready").status == 200
    house.cli("key", "destroy", old, "--yes", old)
    assert house.cli("issuer", "renew-helpers", "nobody", check=False).returncode == 1


# ---- Ceremonies by script ----

SCRIPT = {
    "ceremony": "Example hierarchy 2027",
    "people": ["Alice, security officer", "Bob, witness"],
    "acts": [
        {"act": "root", "name": "root-27", "subject": "CN=Root 27,O=Example", "validity": "P15Y",
         "path_length": 1, "out": "root-27.pem"},
        {"act": "issuer", "name": "issuing-27", "parent": "root-27", "subject": "CN=Issuing 27",
         "algorithm": "p-384", "validity": "P5Y"},
        {"act": "helper", "role": "ra", "name": "issuing-27", "subject": "CN=RA 27"},
        {"act": "helper", "role": "ocsp", "name": "issuing-27", "subject": "CN=OCSP 27"},
        {"act": "cross", "name": "root-27", "parent": "root", "out": "root-27-by-root.pem"},
        {"act": "csr", "name": "partner", "subject": "CN=Partner CA", "out": "partner.csr"},
        {"act": "crl", "name": "root-27", "out": "root-27.crl"},
    ],
}  # fmt: skip


def script_write(house, script, name="script.json"):
    path = house.data / name
    path.write_text(json.dumps(script))
    return path


def test_a_ceremony_is_rehearsed_done_and_verified(fresh_house):
    house, data = fresh_house, fresh_house.data
    path = script_write(house, SCRIPT)
    before = (data / "store.db").stat().st_size, len(rows(house, "key", "list"))
    dry = rows(house, "ceremony", path, "--dry-run")
    assert [act["outcome"] for act in dry] == ["ok"] * 7
    assert dry[1]["would_end"].startswith("2031") and all("key" not in act for act in dry)
    assert len(rows(house, "key", "list")) == before[1]
    assert not (data / "root-27.pem").exists() and not list(data.glob("*.transcript"))
    transcript = data / "27.transcript"
    house.cli("ceremony", path, "--transcript", transcript)
    told = json.loads(transcript.read_text())
    assert told["outcome"] == "ok" and told["people"] == SCRIPT["people"]
    assert told["script_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert told["operator"].startswith("local:")
    keys = {row["uri"] for row in rows(house, "key", "list")}
    assert {act["key"] for act in told["acts"] if act["act"] in ("root", "issuer", "helper", "csr")} <= keys
    root = ssl.PEM_cert_to_DER_cert((data / "root-27.pem").read_text())
    assert told["acts"][0]["sha256"] == hashlib.sha256(root).hexdigest()
    text = run("openssl", "x509", "-in", data / "root-27.pem", "-noout", "-text").out
    assert "pathlen:1" in text
    run("openssl", "verify", "-x509_strict", "-CAfile", data / "root.pem", data / "root-27-by-root.pem")
    run("openssl", "req", "-in", data / "partner.csr", "-verify", "-noout")
    run("openssl", "crl", "-in", data / "root-27.crl", "-CAfile", data / "root-27.pem", "-noout")
    assert "hold" in house.cli("ceremony", "verify", transcript).out
    # The same script again: nothing is made.
    again = house.cli("ceremony", path, check=False)
    assert again.returncode == 1 and "exists" in again.err
    # The rest of the life of what was asked for outside.
    house.start()
    entry = house.audit(action="ceremony.run")[0]
    assert entry["outcome"] == "ok" and entry["detail"]["title"] == SCRIPT["ceremony"]
    made = [e for e in house.audit(action="issuer.create") if e["actor"].startswith("local:")]
    assert {e["object"] for e in made} == {"issuer:root-27", "issuer:issuing-27"}


def test_a_ceremony_that_was_changed_afterwards_is_found(fresh_house):
    house, data = fresh_house, fresh_house.data
    acts = [{"act": "root", "name": "solo", "subject": "CN=Solo", "algorithm": "p-256"}]
    path = script_write(house, {"ceremony": "Solo", "acts": acts})
    transcript = data / "solo.transcript"
    house.cli("ceremony", path, "--transcript", transcript)
    good = transcript.read_text()

    def refused(says):
        done = house.cli("ceremony", "verify", transcript, check=False)
        assert done.returncode == 1 and says in done.err, done.err

    transcript.write_text(good.replace("Solo", "Sola"))
    refused("no ceremony with this transcript")
    transcript.write_text(good + " ")
    refused("no ceremony with this transcript")
    transcript.write_text(good)
    store = data / "store.db"
    kept = house.data / "kept.db"
    changes = [
        ("UPDATE certificate SET der = zeroblob(300) WHERE subject = 'CN=Solo'", "is not the transcript's"),
        ("UPDATE audit_entry SET entry = replace(entry, 'signature\":\"ME', 'signature\":\"MF')"
         " WHERE action = 'ceremony.run'", "not as it was written"),
        ("DELETE FROM audit_entry WHERE action = 'ceremony.run'", "no ceremony"),
    ]  # fmt: skip
    for change, says in changes:
        shutil.copy(store, kept)
        sql(house, change)
        refused(says)
        for suffix in ("-wal", "-shm"):
            (data / f"store.db{suffix}").unlink(missing_ok=True)
        shutil.copy(kept, store)
    # Another's signature under a hash that somebody computed anew.
    db = sqlite3.connect(store, isolation_level=None)
    number, entry = db.execute(
        "SELECT number, entry FROM audit_entry WHERE action = 'ceremony.run'"
    ).fetchone()
    forged = json.loads(entry)
    signature = bytearray(base64.b64decode(forged["detail"]["signature"]))
    signature[-1] ^= 1
    forged["detail"]["signature"] = base64.b64encode(signature).decode()
    text = json.dumps(forged, sort_keys=True, separators=(",", ":"))
    leaf = hashlib.sha256(b"\0" + text.encode()).digest()
    db.execute("UPDATE audit_entry SET entry = ?, leaf = ? WHERE number = ?", (text, leaf, number))
    db.close()
    refused("signature does not verify")


def sql(house, statement):
    db = sqlite3.connect(house.data / "store.db", isolation_level=None)
    assert db.execute(statement).rowcount > 0, statement
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


ROOT = {"act": "root", "name": "r", "subject": "CN=R"}


@pytest.mark.parametrize("acts, says", [
    ([], "no acts"),
    ([{"act": "burn"}], "acts/0/act"),
    ([{"act": "root", "name": "r"}], "needs 'subject'"),
    ([{"act": "root", "name": "r", "subject": "CN=R", "parent": "root"}], "takes no 'parent'"),
    ([{**ROOT, "extra": 1}], "extra"),
    ([{**ROOT, "name": "root"}], "exists already"),
    ([ROOT, ROOT], "act 2 (root): issuer 'r' exists already"),
    ([{**ROOT, "algorithm": "p-224"}], "no key algorithm"),
    ([{**ROOT, "token": "nowhere"}], "no token 'nowhere'"),
    ([{**ROOT, "subject": "no name"}], "act 1"),
    ([{**ROOT, "path_length": 0}, {"act": "issuer", "name": "i", "parent": "r", "subject": "CN=I"}], "room"),
    ([{"act": "issuer", "name": "i", "parent": "none", "subject": "CN=I"}], "none"),
    ([{"act": "helper", "role": "ra"}], "needs 'name'"),
    ([{"act": "helper", "role": "audit", "name": "issuing"}], "takes no 'name'"),
    ([{"act": "helper", "role": "sealing", "algorithm": "p-256"}], "cannot decrypt"),
    ([{"act": "csr", "name": "c", "subject": "CN=C"}], "needs 'out'"),
    ([{"act": "csr", "name": "c", "subject": "CN=C", "out": "store.db"}], "store.db exists"),
    ([{"act": "import", "name": "c", "certificate": "missing.pem"}], "missing.pem"),
    ([{"act": "cross", "name": "root", "parent": "root"}], "by itself"),
    ([{"act": "cross", "name": "root", "parent": "issuing"}], "room"),
    ([{"act": "crl", "name": "none"}], "none"),
    ([{**ROOT, "attestation": "missing.bin"}], "missing.bin"),
])  # fmt: skip
def test_a_script_that_cannot_be_done_is_refused_before_the_first_act(house_with_spare, acts, says):
    path = script_write(house_with_spare, {"ceremony": "X", "acts": acts})
    before = len(rows(house_with_spare, "key", "list"))
    for words in (["--dry-run"], []):
        done = house_with_spare.cli("ceremony", path, *words, check=False)
        assert done.returncode == 1 and says in done.err, done.err
    assert len(rows(house_with_spare, "key", "list")) == before
    assert not list(house_with_spare.data.glob("*.transcript"))


def test_the_script_of_the_documentation_can_be_done(house_with_spare):
    text = (SOURCE / "docs/operations.md").read_text()
    script = re.search(r"```json\n(\{\n  \"ceremony\".*?)```", text, re.S).group(1)
    path = script_write(house_with_spare, json.loads(script.replace('"token": "offline",', "")), "doc.json")
    acts = rows(house_with_spare, "ceremony", path, "--dry-run")
    assert len(acts) == 6 and {act["outcome"] for act in acts} == {"ok"}
    # And its verbs are the command's.
    told = set(re.findall(r"sealwright (?:--data \S+ )?(\w[\w-]*(?: [a-z]+[a-z-]*)?)", text))
    known = house_with_spare.cli("--help").out
    for words in told:
        assert re.search(rf"^  {re.escape(words.split()[0])} ", known, re.M), words


# ---- I5: PINs and keys are nowhere ----


def test_I5_no_pin_in_logs_answers_command_lines_or_environments(fresh_house):
    house = fresh_house
    pin = pin_of(house)
    so_pin = (house.data / "token/so-pin").read_text().strip()
    house.start()
    outputs = []
    for words in (["token", "info", "main"], ["token", "test", "main"], ["key", "list", "--json"],
                  ["issuer", "create", "x", "--subject", "CN=X"], ["health-check", "--json"],
                  ["issuer", "renew-helpers", "--force"], ["check"]):  # fmt: skip
        done = house.cli(*words, check=False)
        outputs.append(done.out + done.err)
    pin_write(house, "0" * 16)
    outputs.append(house.cli("token", "unlock", "main", check=False).err)
    for name in ("environ", "cmdline"):
        path = f"/proc/{house.process.pid}/{name}"
        try:
            outputs.append(open(path, "rb").read().decode(errors="replace"))
        except PermissionError:
            pass  # the process is not dumpable: nobody reads it
    outputs.append(house.words())
    house.stop()
    for path in house.data.rglob("*"):
        if path.is_file() and path.parent.name != "token" and "tokens" not in path.parts:
            outputs.append(path.read_bytes().decode(errors="replace"))
    for secret in (pin, so_pin):
        assert len(secret) == 16
        assert not [text for text in outputs if secret in text]
