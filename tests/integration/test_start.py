"""Start, reload and stop of the daemon: what is wrong stops the start and is named
(SECURITY W4), what changes while it runs drops nobody."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time

import pytest
from conftest import BUILD, COMMAND, House, free_ports, house_make, run

FAULT = BUILD / "tests/p11fault.so"
FIXTURES = BUILD / "tests/unit"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """One data folder that every test gets a copy of."""
    made = house_make(tmp_path_factory)
    yield made
    shutil.rmtree(made.data.parent, ignore_errors=True)


@pytest.fixture
def house(template, tmp_path):
    """A house of the test's own, not started; its paths are its own."""
    made = House.__new__(House)
    made.__dict__.update(template.__dict__)
    made.data, made.plugins = tmp_path / "data", tmp_path / "plugins"
    shutil.copytree(template.data, made.data)
    made.collect_plugins()
    for path in made.data.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".conf"):
            text = path.read_text().replace(str(template.data), str(made.data))
            mode = path.stat().st_mode
            path.write_text(text)
            path.chmod(mode)
    made.data.chmod(0o700)
    made.change_config(plugin_directory=str(made.plugins))
    yield made
    house_end_quietly(made)


def house_end_quietly(house):
    if house.process and house.process.poll() is None:
        house.stop()


def token_of(house):
    return json.loads(house.config_path.read_text())["tokens"][0]


def start_fails(house, *words, verb="serve", code=1):
    """It ends by itself, soon, with this code, and says these words."""
    done = run(COMMAND, "--data", house.data, verb, check=False, timeout=60)
    assert done.returncode == code, (done.returncode, done.out, done.err)
    said = done.err + house.words()
    for word in words:
        assert word in said, (word, said)
    assert not (house.data / "sealwright.pid").exists()
    return said


# ---- The configuration ----


@pytest.mark.parametrize("change, words", [
    ({"colour": "red"}, ["colour", "unknown"]),
    ({"limits": {"wrokers": 7}}, ["limits/wrokers", "unknown"]),
    ({"limits": {"workers": "many"}}, ["limits/workers"]),
    ({"limits": {"workers": 3}}, ["limits/workers"]),
    ({"log_level": "loud"}, ["log_level", "debug, info"]),
    ({"store": "redis:x"}, ["store"]),
    ({"plugins": [{"name": "scep"}, {"name": "scep"}]}, ["plugins/1/name"]),
    ({"plugins": [{"name": "scep", "settings": {"x": 1}}]}, ["scep", "'x'"]),
    ({"plugins": [{"name": "nothing"}]}, ["sealwright_nothing.so"]),
    ({"tls_certificate": None}, ["tls_"]),
    ({"listeners": [{"bind": "localhost", "port": 8080}]}, ["listeners/0"]),
    ({"listeners": [{"port": 8080, "api": True}]}, ["listeners/0/api"]),
])  # fmt: skip
def test_W4_a_wrong_configuration_stops_the_start_by_name(house, change, words):
    house.change_config(**change)
    start_fails(house, *words)
    start_fails(house, *words, verb="check")


@pytest.mark.parametrize("text, words", [
    ('{"instance": "a", "instance": "b"}', ["twice", "line 1"]),
    ('{"instance": "a"', ["sealwright.json"]),
    ("[]", ["sealwright.json"]), ("", ["sealwright.json"]),
])  # fmt: skip
def test_W4_a_configuration_that_is_no_object_stops_the_start(house, text, words):
    house.config_path.write_text(text)
    start_fails(house, *words)


def test_W4_a_configuration_that_others_can_write_stops_the_start(house):
    house.config_path.chmod(0o620)
    start_fails(house, "sealwright.json")
    house.config_path.unlink()
    start_fails(house, "sealwright.json")


@pytest.mark.parametrize("name, mode, who", [
    (".", 0o770, "its group"), (".", 0o707, "others"), ("store.db", 0o620, "its group"),
    ("store.db-wal", 0o602, "others"), ("store.db-shm", 0o660, "its group"),
])  # fmt: skip
def test_W4_a_store_that_others_can_write_stops_the_start(house, name, mode, who):
    """What they could write they may have written: it is told, not mended."""
    path = house.data / name
    if not path.exists():
        path.touch(0o600)
    path.chmod(mode)
    words = [str(path), f"can be written by {who}"]
    start_fails(house, *words)
    start_fails(house, *words, verb="check")
    assert path.stat().st_mode & 0o7777 == mode


# ---- The token ----


def test_I7_a_wrong_pin_is_tried_once_and_stops_the_start(house):
    """Of a token that is required. The token kills the process at a second C_Login: then
    the code were -9."""
    control = house.data / "fault"
    control.write_text("C_Login:kill-before:1:-1\n")
    token = token_of(house)
    token["module"] = str(FAULT)
    token["environment"].append(f"SEALWRIGHT_FAULT_CONTROL={control}")
    token["required"] = True
    house.change_config(tokens=[token])
    pin = house.data / token["pin_source"].removeprefix("file:")
    right = pin.read_text()
    pin.chmod(0o600)
    pin.write_text("99999999\n")
    said = start_fails(house, "PIN")
    assert "99999999" not in said
    # A restart does not try again, right or wrong, before somebody says so.
    pin.write_text(right)
    control.write_text("C_Login:kill-before:0:-1\n")
    start_fails(house, "unlock")
    # The trap works: with one login more the daemon does not get that far.
    done = house.cli("token", "unlock", "main", check=False)
    assert done.returncode == -9
    control.write_text("clear\n")
    house.cli("token", "unlock", "main")
    house.start()
    assert house.get("/health/ready").status == 200


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o666])
def test_I5_a_pin_file_that_others_can_read_stops_the_start(house, mode):
    pin = house.data / token_of(house)["pin_source"].removeprefix("file:")
    pin.chmod(mode)
    start_fails(house, f"{mode:03o}", "PIN file")


def test_a_module_or_required_token_that_is_not_there_stops_the_start(house):
    token = {**token_of(house), "required": True}
    house.change_config(tokens=[{**token, "uri": "pkcs11:token=another"}])
    start_fails(house, "token 'main'", "none that fits its URI")
    house.change_config(tokens=[{**token, "module": "/usr/lib/nothing.so"}])
    start_fails(house, "/usr/lib/nothing.so")


# ---- Listeners and instances ----


def test_a_port_that_is_taken_stops_the_start_and_is_named(house):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", house.http))
        taken.listen()
        start_fails(house, str(house.http))
    house.start()


def test_a_second_daemon_on_the_same_data_is_refused_and_harms_nothing(house):
    house.start()
    wait_until((house.data / "sealwright.pid").exists)
    pid = (house.data / "sealwright.pid").read_text()
    others = json.loads(house.config_path.read_text())
    for ports in ("same", "other", "other, and no socket"):
        if ports != "same":
            for listener in others["listeners"]:
                if "port" in listener:
                    listener["port"] = free_ports(1)[0]
        if "socket" in ports:
            others["listeners"] = [one for one in others["listeners"] if "port" in one]
        second = house.data / "second.json"
        second.write_text(json.dumps(others))
        second.chmod(0o600)
        done = run(COMMAND, "--data", house.data, "--config", second, "serve",
                   check=False, timeout=60)  # fmt: skip
        assert done.returncode == 1, (ports, done.err)
        assert (house.data / "sealwright.pid").read_text() == pid
        assert house.cli("user", "list").returncode == 0  # over the socket
        assert house.get("/health/ready").status == 200


# ---- Plugins ----


def fixture(house, kind, name="fixture", mode=0o755):
    path = house.plugins / f"sealwright_{name}.so"
    shutil.copy(FIXTURES / f"fixture_{kind}.so", path)
    path.chmod(mode)
    return {"name": name}


def test_a_plugin_that_group_or_others_can_write_stops_the_start(house):
    for mode, who in ((0o775, "its group"), (0o757, "others")):
        house.change_config(plugins=[fixture(house, "good", mode=mode)])
        start_fails(house, "sealwright_fixture.so", who)
    house.change_config(plugins=[fixture(house, "good")])
    house.plugins.chmod(0o777)
    start_fails(house, str(house.plugins))
    house.plugins.chmod(0o755)
    house.start()
    assert house.get("/fixture").status == 404


def test_a_plugin_of_another_abi_stops_the_start_with_both_numbers(house):
    house.change_config(plugins=[fixture(house, "abi")])
    said = start_fails(house, "ABI 99")
    assert re.search(r"ABI 99, this daemon has \d+", said)


def test_two_plugins_with_one_route_stop_the_start(house):
    house.change_config(
        plugins=[fixture(house, "good"), fixture(house, "clash", "clash")]
    )
    start_fails(house, "/fixture", "'fixture'", "'clash'")
    start_fails(house, "/fixture", verb="check")


def test_check_prints_what_will_be_served(house):
    done = run(COMMAND, "--data", house.data, "check")
    assert done.out.splitlines()[-1] == "the configuration holds"
    for word in ("/scep/", "/api/v1", "/health/ready", "/crl", "up", "issuing",
                 "key in the token", f"127.0.0.1:{house.http}"):  # fmt: skip
        assert word in done.out, word
    done = run(COMMAND, "--data", house.data, "check", "--print", "listeners")
    assert f"http://127.0.0.1:{house.http}" in done.out.splitlines()


# ---- Reload ----


def test_SIGHUP_after_a_rotation_writes_into_a_new_log(house):
    house.start()
    house.get("/health/live?first")
    log = house.data / "sealwright.log"
    log.rename(house.data / "sealwright.log.1")
    house.process.send_signal(signal.SIGHUP)
    wait_until(lambda: log.exists() and "reloaded" in log.read_text())
    old = (house.data / "sealwright.log.1").stat().st_size
    house.get("/scep/default?operation=GetCACaps")
    wait_until(lambda: "/scep/default" in log.read_text())
    assert (house.data / "sealwright.log.1").stat().st_size == old
    for line in log.read_text().splitlines():
        json.loads(line)


def wait_until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def served_certificate(house):
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", house.https), timeout=20) as plain:
        with context.wrap_socket(plain, server_hostname="localhost") as tls:
            return tls.getpeercert(binary_form=True)


def test_SIGHUP_changes_the_tls_certificate_and_drops_no_connection(house):
    house.change_config(limits={"idle_ms": 60000})
    house.start()
    before = served_certificate(house)
    kept = http.client.HTTPSConnection("127.0.0.1", house.https, timeout=20,
                                       context=house.tls_context())  # fmt: skip
    headers = {"Authorization": f"Bearer {house.token}"}
    kept.request("GET", "/api/v1/users", headers=headers)
    assert kept.getresponse().read()
    config = json.loads(house.config_path.read_text())
    paths = [house.data / config[name] for name in ("tls_key", "tls_certificate")]
    made = [house.data / "new.key", house.data / "new.pem"]
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
        "-nodes", "-subj", "/CN=new", "-keyout", made[0], "-out", made[1])  # fmt: skip
    for new, old in zip(made, paths):
        new.chmod(0o600)
        new.replace(old)
    house.process.send_signal(signal.SIGHUP)
    wait_until(lambda: served_certificate(house) != before)
    assert served_certificate(house) == ssl.PEM_cert_to_DER_cert(paths[1].read_text())
    kept.request("GET", "/api/v1/users", headers=headers)
    assert kept.getresponse().status == 200, "the old connection goes on"


def test_W4_a_bad_certificate_at_SIGHUP_changes_nothing(house):
    house.start()
    before = served_certificate(house)
    config = json.loads(house.config_path.read_text())
    (house.data / config["tls_certificate"]).write_text("no certificate\n")
    house.process.send_signal(signal.SIGHUP)
    wait_until(lambda: "reload: " in (house.data / "sealwright.log").read_text())
    assert served_certificate(house) == before
    assert house.get("/health/ready").status == 200


# ---- Stop ----


def test_SIGTERM_answers_what_is_in_flight_and_ends_with_0(house):
    """Requests that wait for a slow token when the signal comes are answered."""
    from scep import Fleet

    control = house.data / "fault"
    control.write_text("clear\n")
    token = token_of(house)
    token["module"] = str(FAULT)
    token["environment"].append(f"SEALWRIGHT_FAULT_CONTROL={control}")
    house.change_config(tokens=[token])
    house.start()
    house.user("alice")
    fleet = Fleet(house)
    bodies = [
        fleet.fresh(house.challenge("alice", subject="CN=dev")["challenge"])
        for _ in range(4)
    ]
    control.write_text("C_Decrypt:sleep:1000\n")
    replies = []
    threads = [
        threading.Thread(target=lambda body=body: replies.append(fleet.post(body).word))
        for body in bodies
    ]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    house.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(timeout=60)
    assert replies == ["issued"] * 4
    assert house.process.wait(timeout=60) == 0
    house.process = None
    assert not (house.data / "sealwright.pid").exists()
    assert not (house.data / "sealwright.sock").exists()
    fleet.close()


def test_start_and_stop_are_in_the_audit(house):
    for _ in range(2):
        house.start()
        house.stop()
    house.start()
    actions = [entry["action"] for entry in house.audit()]
    starts = [action for action in actions if "start" in action]
    stops = [action for action in actions if "stop" in action]
    assert (len(starts), len(stops)) == (3, 2), actions


def test_serve_in_the_background_tells_how_the_start_went(house):
    done = subprocess.run(
        [COMMAND, "--data", house.data, "serve", "--daemon"], timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    pid = int((house.data / "sealwright.pid").read_text())
    try:
        assert house.get("/health/ready").status == 200
        again = run(COMMAND, "--data", house.data, "serve", "--daemon", check=False)
        assert again.returncode == 1 and again.err.startswith("sealwright: ")
        assert house.get("/health/ready").status == 200
    finally:
        os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not (house.data / "sealwright.pid").exists())


def test_a_lost_store_does_not_pass_for_a_new_one(fresh_house):
    for path in fresh_house.data.glob("store.db*"):
        path.unlink()
    fresh_house.start(wait=False)
    assert fresh_house.process.wait(timeout=60) == 1
    fresh_house.process = None
    assert "has no issuer" in fresh_house.words()
