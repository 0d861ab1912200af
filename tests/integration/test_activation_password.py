"""Activation passwords over API and command, used by the reference client; sealing keys
of both modes, rotated; what is refused."""

import json

import pytest


def secret_file(folder, name, text):
    path = folder / name
    path.write_text(text + "\n")
    path.chmod(0o600)
    return path


def activate(house, tmp_path, user, password, check=True, name="out"):
    """The reference client; gives its words."""
    done = house.cli(
        "activate", "--server", house.secure, "--user", user,
        "--password-file", secret_file(tmp_path, "password", password),
        "--out", tmp_path / name,
        "--out-password-file", secret_file(tmp_path, "out-password", "correct horse"),
        "--only-activate", check=check,
    )
    return done


def test_a_generated_password_is_shown_once_and_activates_one_device(house, tmp_path):
    house.user("alice")
    made = house.good("POST", "/activations", {"user": "alice"})
    assert len(made["password"]) == 14 and made["state"] == "open" and made["tries"] == 5
    shown = house.good("GET", f"/activations/{made['id']}")
    assert "password" not in shown
    listed = house.good("GET", "/activations?user=alice&state=open")["items"]
    assert [item["id"] for item in listed] == [made["id"]]
    assert made["password"] not in json.dumps(house.audit())

    activate(house, tmp_path, "ALICE@example.com", made["password"])
    assert house.good("GET", f"/activations/{made['id']}")["state"] == "used"
    certificates = house.certificates(user="alice")
    assert len(certificates) == 1
    assert certificates[0]["protocol"] == "activation"
    organisation, work_space, name = certificates[0]["subject"].split(",")
    assert organisation.startswith("O=") and name == "CN=alice"
    assert work_space.startswith("OU=ws-")
    assert [d["state"] for d in house.good("GET", "/devices?owner=alice")["items"]] == ["active"]

    again = activate(house, tmp_path, "alice", made["password"], check=False, name="again")
    assert again.returncode != 0
    assert len(house.certificates(user="alice")) == 1


def test_A3_wrong_passwords_lock_and_answers_do_not_tell(house, tmp_path):
    house.user("bob")
    house.change_config(activation={"hellos_per_source": 1000, "hellos_per_name": 1000})
    house.restart()
    made = house.good("POST", "/activations", {"user": "bob", "password": "Right-One-12"})
    assert made["password"] == "Right-One-12"
    words = set()
    for attempt in range(5):
        done = activate(house, tmp_path, "bob", "Wrong-One-12", check=False)
        words.add((done.returncode, done.stderr))
    done = activate(house, tmp_path, "nobody", "Wrong-One-12", check=False)
    words.add((done.returncode, done.stderr))
    done = activate(house, tmp_path, "bob", "Right-One-12", check=False)
    words.add((done.returncode, done.stderr))
    assert len(words) == 1, words
    assert house.good("GET", f"/activations/{made['id']}")["state"] == "locked"
    assert house.certificates(user="bob") == []


@pytest.mark.parametrize(
    "body, status",
    [
        ({"user": "nobody"}, 404),
        ({"user": "alice", "password": "short"}, 400),
        ({"user": "alice", "password": "Ünbrauchbar-12"}, 400),
        ({"user": "alice", "ref": "not a ref"}, 400),
        ({"user": "alice", "profile": "none"}, 404),
        ({"user": "alice", "expires_in": "PT1S"}, 400),
        ({"user": "alice", "expires_in": "P31D"}, 400),
        ({"user": "alice", "devices": 1001}, 400),
        ({"user": "alice", "uses": 1}, 400),
        ({}, 400),
    ],
)
def test_what_no_password_is_made_of(house, body, status):
    answer = house.api("POST", "/activations", body)
    assert answer.status == status, answer.body
    assert b"Right" not in answer.body


def test_a_new_password_ends_the_one_before_and_a_withdrawn_one_is_over(house):
    house.user("carol")
    first = house.good("POST", "/activations", {"user": "carol"})
    other = house.good("POST", "/activations", {"user": "carol", "ref": "tablet"})
    second = house.good("POST", "/activations", {"user": "carol"})
    states = {item["id"]: item["state"]
              for item in house.good("GET", "/activations?user=carol")["items"]}
    assert states == {first["id"]: "withdrawn", other["id"]: "open", second["id"]: "open"}
    assert house.api("DELETE", f"/activations/{second['id']}").status == 204
    assert house.api("DELETE", f"/activations/{second['id']}").status == 409
    assert house.api("DELETE", "/activations/0000000000000000").status == 404


def test_the_command_makes_lists_and_withdraws(house, tmp_path):
    house.user("dora")
    made = json.loads(house.cli("activation", "create", "dora", "--devices", "2",
                                "--expires-in", "PT1H", "--json").stdout)
    assert made["devices"] == 2 and made["password"]
    chosen = tmp_path / "chosen.json"
    chosen.write_text('{"password": "My-Own-Words-3"}')
    made = json.loads(house.cli("activation", "set", "dora", chosen, "--json").stdout)
    assert made["password"] == "My-Own-Words-3"
    assert made["id"] in house.cli("activation", "list", "--user", "dora").stdout.decode()
    house.cli("activation", "withdraw", made["id"])
    shown = json.loads(house.cli("activation", "show", made["id"], "--json").stdout)
    assert shown["state"] == "withdrawn"


def test_sealing_keys_rotate_and_change_their_mode(house, tmp_path):
    house.user("erin")
    made = house.good("POST", "/activations", {"user": "erin", "devices": 5})
    house.cli("key", "sealing")
    activate(house, tmp_path, "erin", made["password"], name="rotated")
    # The other mode is never taken by itself.
    house.stop()
    house.change_config(activation={"kek": "memory"})
    done = house.cli("serve", check=False)
    assert done.returncode != 0 and b"key sealing" in done.stderr
    house.cli("key", "sealing")
    house.start()
    activate(house, tmp_path, "erin", made["password"], name="memory")
    assert house.good("GET", f"/activations/{made['id']}")["devices"] == 3
