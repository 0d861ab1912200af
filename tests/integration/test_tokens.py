"""Tokens that are missing, refuse, or fail under load, and the daemon before them; and
the same questions to every kind of token that Debian has."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import pytest
from conftest import BUILD, IS_LONG, free_ports, run
from scep import Fleet, serial_of

FAULT = BUILD / "tests/p11fault.so"
SUITE = BUILD / "tests/integration/token_suite"
LIBRARIES = pathlib.Path("/usr/lib/x86_64-linux-gnu")
SOFTHSM = pathlib.Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "1234"


# ---- A daemon and its token ----


def wait_for(question, seconds=30):
    end = time.monotonic() + seconds
    while not question():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.05)


def checks(house):
    """The red checks of /health/ready by name."""
    answer = house.get("/health/ready")
    red = {one["check"]: one["detail"] for one in answer.json["checks"] if not one["ok"]}
    assert answer.status == (503 if red else 200)
    return red


def is_ready(house):
    return not checks(house)


def calls(house, function, what="call_seconds_count"):
    """PKCS#11 calls of the running daemon."""
    text = house.call(
        "GET", house.secure + "/metrics", headers={"Authorization": f"Bearer {house.token}"}
    ).body.decode()
    found = re.search(
        rf'^sealwright_pkcs11_{what}{{token="main",function="{function}"}} (\d+)$', text, re.M
    )
    return int(found.group(1)) if found else 0


def arm(house, *commands):
    (house.data / "fault").write_text("clear\n" + "".join(c + "\n" for c in commands))


def faulty(house, **members):
    """The fault module goes between the daemon and its token."""
    control = house.data / "fault"
    control.write_text("clear\n")
    token = json.loads(house.config_path.read_text())["tokens"][0]
    token.update(module=str(FAULT), **members)
    token["environment"].append(f"SEALWRIGHT_FAULT_CONTROL={control}")
    house.change_config(
        tokens=[token], limits={"requests_per_second": 0, "connections_per_source": 512}
    )
    return house


def enrol(house, fleet):
    made = house.challenge("alice", subject="CN=dev")
    return fleet.post(fleet.fresh(made["challenge"]))


def test_a_daemon_serves_without_its_token_and_takes_it_up_when_it_comes(fresh_house):
    house = fresh_house
    house.start()
    house.user("alice")
    wait_for(lambda: is_ready(house))
    fleet = Fleet(house)
    body = fleet.fresh(house.challenge("alice", subject="CN=dev")["challenge"])
    house.stop()
    tokens, away = house.data / "token/tokens", house.data / "token/away"
    tokens.rename(away)
    house.start()
    red = checks(house)
    assert {"token:main", "issuer:issuing", "ra:issuing"} <= set(red), red
    assert house.get("/health/live").status == 200
    assert house.get("/crl/issuing.crl").status == 200
    assert house.get("/issuer/issuing.cer").status == 200
    assert fleet.post(body).http == 503
    assert house.good("GET", "/instance/tokens/main")["state"] == "rebuilding"
    away.rename(tokens)
    wait_for(lambda: is_ready(house))
    assert fleet.post(body).word == "issued"
    assert enrol(house, fleet).word == "issued"
    fleet.close()


def test_I7_a_wrong_pin_at_the_start_is_tried_once_and_never_again(fresh_house):
    house = fresh_house
    pin = house.data / "token/pin"
    right = pin.read_text()
    pin.chmod(0o600)
    pin.write_text("99999999\n")
    house.start()
    assert "latched" in checks(house)["token:main"]
    assert calls(house, "C_Login") == calls(house, "C_Login", "failures_total") == 1
    for _ in range(3):
        assert house.get("/health/live").status == 200
        time.sleep(0.5)
    assert calls(house, "C_Login") == 1
    house.restart()
    assert "latched" in checks(house)["token:main"]
    assert calls(house, "C_Login") == 0
    assert house.api("POST", "/instance/tokens/main/unlock").status == 409
    assert calls(house, "C_Login") == 1
    pin.write_text(right)
    assert house.api("POST", "/instance/tokens/main/unlock").status == 200
    wait_for(lambda: is_ready(house))
    assert "99999999" not in house.words()
    house.restart()
    wait_for(lambda: is_ready(house))


def test_readiness_turns_red_with_the_token_and_green_by_itself(fresh_house):
    house = faulty(fresh_house, wait_ms=500)
    house.start()
    house.user("alice")
    wait_for(lambda: is_ready(house))
    fleet = Fleet(house)
    for _ in range(2):
        arm(house, "removed")
        assert enrol(house, fleet).http == 503
        assert {"token:main", "issuer:issuing", "ra:issuing"} <= set(checks(house))
        assert calls(house, "C_GetSlotList") > 0
        arm(house)
        wait_for(lambda: is_ready(house))
        assert enrol(house, fleet).word == "issued"
    fleet.close()


def test_a_call_that_does_not_return_is_refused_at_once_and_reported(fresh_house):
    house = faulty(fresh_house, stuck_ms=500, wait_ms=1000)
    house.start()
    house.user("alice")
    wait_for(lambda: is_ready(house))
    fleet = Fleet(house)
    body = fleet.fresh(house.challenge("alice", subject="CN=dev")["challenge"])
    arm(house, "C_Sign:hang")
    first = threading.Thread(target=fleet.post, args=(body,))
    first.start()
    wait_for(lambda: "stuck" in checks(house).get("token:main", ""))
    start = time.monotonic()
    assert fleet.post(fleet.fresh(house.challenge("alice", subject="CN=dev")["challenge"])).http == 503
    assert time.monotonic() - start < 5
    arm(house)
    first.join(timeout=30)
    wait_for(lambda: is_ready(house))
    assert enrol(house, fleet).word == "issued"
    fleet.close()


def test_a_stuck_token_ends_the_daemon_where_that_is_wanted(fresh_house):
    house = faulty(fresh_house, stuck_ms=500, exit_when_stuck=True)
    house.start()
    house.user("alice")
    wait_for(lambda: is_ready(house))
    fleet = Fleet(house)
    body = fleet.fresh(house.challenge("alice", subject="CN=dev")["challenge"])
    arm(house, "C_Sign:hang")
    with contextlib.suppress(Exception):
        fleet.post(body)
    assert house.process.wait(timeout=30) == 75
    house.kill()
    arm(house)
    house.start()
    wait_for(lambda: is_ready(house))
    wait_for(lambda: fleet.post(body).word == "issued")
    fleet.close()


# ---- The soak through the daemon ----

SOAK_SECONDS = 300 if IS_LONG else 40
SOAK_WIDTH = 8
SOAK_FAULTS = [
    ("closeall",),
    ("C_Sign:0x30:0:1",),
    ("C_Sign:0xb3:1:1", "C_Decrypt:0xb3:1:1"),
    ("C_SignInit:0x101:0:3",),
    ("finalize",),
    ("C_Sign:flip:0:1",),
    ("removed",),
    ("C_OpenSession:0x30:0:4", "closeall"),
    ("C_Sign:sleep:400",),  # a hang that ends before anybody calls it one
    ("C_DecryptInit:0x82:0:1",),
    ("C_Login:0x5:0:1", "closeall"),
]  # fmt: skip


class Soak:
    """Devices that enrol in parallel until told to stop."""

    def __init__(self, house):
        self.house, self.stop = house, threading.Event()
        self.lock = threading.Lock()
        self.serials, self.words, self.longest = [], [], 0.0
        self.certificates = []
        self.threads = [threading.Thread(target=self.run) for _ in range(SOAK_WIDTH)]

    def run(self):
        fleet = Fleet(self.house)
        while not self.stop.is_set():
            made = self.house.challenge("alice", subject="CN=dev")
            body = fleet.fresh(made["challenge"])
            start = time.monotonic()
            reply = fleet.post(body)
            took = time.monotonic() - start
            with self.lock:
                self.longest = max(self.longest, took)
                self.words.append(reply.word)
                if reply.word == "issued":
                    self.serials.append(serial_of(reply.certificate))
                    self.certificates.append(reply.certificate)
        fleet.close()

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *what):
        self.stop.set()
        for thread in self.threads:
            thread.join(timeout=60)

    def progress(self, more, seconds=20):
        """Until that many more were issued."""
        wanted = len(self.serials) + more
        end = time.monotonic() + seconds
        while len(self.serials) < wanted and time.monotonic() < end:
            time.sleep(0.02)


def descriptors(house):
    return len(os.listdir(f"/proc/{house.process.pid}/fd"))


def verify_all(house, certificates):
    """Each against the chain, by OpenSSL."""
    folder = house.data / "issued"
    folder.mkdir()
    paths = []
    for number, der in enumerate(certificates):
        path = folder / f"{number}.der"
        path.write_bytes(der)
        paths.append(path)
    for at in range(0, len(paths), 200):
        done = run("openssl", "verify", "-x509_strict", "-CAfile", house.data / "root.pem",
                   "-untrusted", house.data / "chain.pem", *paths[at : at + 200])  # fmt: skip
        assert done.out.count(": OK") == len(paths[at : at + 200])


def test_soak_devices_enrol_while_the_token_fails_in_every_way(fresh_house):
    house = faulty(fresh_house, wait_ms=10000, stuck_ms=5000)
    house.start()
    house.user("alice")
    wait_for(lambda: is_ready(house))
    with Soak(house) as soak:
        soak.progress(2 * SOAK_WIDTH, 60)
        before = descriptors(house)
        end, injected = time.monotonic() + SOAK_SECONDS, 0
        while time.monotonic() < end or injected < 20:
            fault = SOAK_FAULTS[injected % len(SOAK_FAULTS)]
            arm(house, *fault)
            time.sleep(0.3)
            arm(house)
            injected += 1
            soak.progress(SOAK_WIDTH)
        after = descriptors(house)
    rebuilds = house.good("GET", "/instance/tokens/main")["rebuilds"]
    print(f"{len(soak.serials)} enrolments, {injected} faults, {rebuilds} rebuilds, "
          f"longest {soak.longest:.2f} s, descriptors {before} -> {after}")  # fmt: skip
    assert set(soak.words) == {"issued"}, [w for w in soak.words if w != "issued"]
    assert len(set(soak.serials)) == len(soak.serials) >= 100
    assert injected >= 20 and rebuilds >= injected / 2
    assert after <= before + SOAK_WIDTH
    verify_all(house, soak.certificates)
    recorded = {item["serial"]: item["state"] for item in house.good(
        "GET", "/certificates?limit=1000&state=issued")["items"]}  # fmt: skip
    if len(soak.serials) < 900:
        assert set(soak.serials) <= set(recorded)
    assert is_ready(house)


# ---- Every kind of token ----


class Token:
    """What token_suite is told of one."""

    def __init__(self, name, module, *options, env=None, steps=(), soak=None):
        self.name, self.module, self.options = name, module, options
        self.env, self.soak = env or {}, soak
        self.steps = steps or ("open", "find", "refuse", "sign", "decrypt", "recover",
                               "soak", "close")  # fmt: skip

    def words(self, *options):
        return [SUITE, *self.options, *options]

    def environment(self):
        return {**os.environ, **self.env, "SEALWRIGHT_FAULT_MODULE": str(self.module)}


def needs(path, package):
    if not pathlib.Path(path).exists():
        pytest.fail(f"{path} is missing: install {package} (deploy/packages test)")


def pin_file(folder):
    path = folder / "pin"
    path.write_text(PIN + "\n")
    path.chmod(0o400)
    return f"file:{path}"


def softhsm_env(folder):
    """A SoftHSM token `ca` below the folder."""
    (folder / "tokens").mkdir(mode=0o700)
    (folder / "softhsm2.conf").write_text(
        f"directories.tokendir = {folder}/tokens\nobjectstore.backend = file\nlog.level = ERROR\n"
    )
    env = {"SOFTHSM2_CONF": str(folder / "softhsm2.conf")}
    run("softhsm2-util", "--init-token", "--free", "--label", "ca", "--so-pin", "12345678",
        "--pin", PIN, env=env)  # fmt: skip
    return env


@contextlib.contextmanager
def softhsm(folder):
    yield Token("softhsm", SOFTHSM, "--uri", "pkcs11:token=ca", "--pin-source", pin_file(folder),
                "--waive", "software", "--keys", "ec,rsa,decrypt", env=softhsm_env(folder))  # fmt: skip


class Remote:
    """A p11-kit server before SoftHSM; it can be killed and started anew."""

    def __init__(self, folder):
        self.folder, self.socket = folder, folder / "sock"
        self.process = None
        self.source = pin_file(folder)
        self.initialise()

    def initialise(self):
        self.env = softhsm_env(self.folder)

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["p11-kit", "server", "--foreground", "--provider", str(SOFTHSM),
             "--name", str(self.socket), "pkcs11:token=ca"],
            env={**os.environ, **self.env}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wait_for(self.socket.exists)

    def kill(self):
        """With the children that serve its connections."""
        children = run("pgrep", "-P", self.process.pid, check=False).out.split()
        for pid in [*children, self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        self.process.wait()

    def token(self):
        return Token(
            "p11-kit", LIBRARIES / "pkcs11/p11-kit-client.so", "--uri", "pkcs11:token=ca",
            "--pin-source", self.source, "--waive", "software",
            "--keys", "ec,rsa,decrypt",
            env={**self.env, "P11_KIT_SERVER_ADDRESS": f"unix:path={self.socket}"},
        )  # fmt: skip


@contextlib.contextmanager
def p11_kit(folder):
    needs(LIBRARIES / "pkcs11/p11-kit-client.so", "p11-kit-modules")
    remote = Remote(folder)
    remote.start()
    try:
        yield remote.token()
    finally:
        remote.kill()


@contextlib.contextmanager
def nss(folder):
    """Softokn: keys are not LOCAL, however they were made."""
    module = LIBRARIES / "libsoftokn3.so"
    needs(module, "libnss3")
    needs("/usr/bin/certutil", "libnss3-tools")
    source = pin_file(folder)
    (folder / "nss").mkdir()
    run("certutil", "-N", "-d", f"sql:{folder}/nss", "-f", folder / "pin")
    yield Token(
        "nss", module, "--uri", "pkcs11:token=NSS%20Certificate%20DB", "--pin-source", source,
        "--arguments", f"configdir='sql:{folder}/nss' certPrefix='' keyPrefix='' "
        "secmod='secmod.db' flags=", "--waive", "software", "--waive", "not_local",
        "--keys", "ec,decrypt",
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    tmp_path.chmod(0o700)
    return tmp_path


def suite_run(token, *options, timeout=300):
    done = run(*token.words(*options), check=False, env={**token.environment()}, timeout=timeout)
    said = done.out + done.err
    assert done.returncode == 0, said
    steps = re.findall(r"^ok (\S+)$", done.out, re.M)
    for step in token.steps:
        assert step in steps, (step, said)
    return done.out


@pytest.mark.parametrize("kind", [softhsm, p11_kit, nss])
def test_every_token_finds_signs_decrypts_and_comes_back(kind, folder):
    with kind(folder) as token:
        said = suite_run(token, "--soak", 60 if IS_LONG else 5)
        print(re.search("^soaked.*$", said, re.M).group(0))


def soak_under_kills(remote, *options):
    """Eight threads sign while the server is killed and started anew; status, output and
    the number of kills."""
    token = remote.token()
    seconds = 60 if IS_LONG else 10
    process = subprocess.Popen(
        [str(word) for word in token.words("--outside", "--soak", seconds, *options)],
        env=token.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    said, kills = [], 0
    try:
        for line in process.stdout:
            said.append(line)
            if line == "soaking\n":
                break
        end = time.monotonic() + seconds - 3
        while time.monotonic() < end and process.poll() is None:
            time.sleep(0.7)
            remote.kill()
            time.sleep(0.3)
            remote.start()
            kills += 1
            time.sleep(0.7)
        code = process.wait(timeout=120)
        return code, "".join(said + process.stdout.readlines()), kills
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def remote(folder):
    needs(LIBRARIES / "pkcs11/p11-kit-client.so", "p11-kit-modules")
    made = Remote(folder)
    made.start()
    yield made
    made.kill()


def test_a_killed_p11_kit_server_is_waited_for_and_loses_nothing(remote):
    """With one call at a time, as docs/hsm.md says: its client (0.24.1) does not wake the
    calls that wait for their turn when the server dies under another."""
    code, text, kills = soak_under_kills(remote, "--permits", 1)
    assert code == 0, text
    soaked = re.search(r"soaked: (\d+) verified, 0 failed, 0 wrong, .* (\d+) rebuilds", text)
    assert soaked and int(soaked.group(1)) > 0, text
    assert kills >= 2 and int(soaked.group(2)) >= kills, text


def test_a_p11_kit_client_that_hangs_ends_the_process_and_a_start_mends_it(remote):
    """With many calls at a time it comes back or hangs; then it is said and ended."""
    for _ in range(3):
        code, text, _ = soak_under_kills(remote, "--exit-when-stuck")
        assert code in (0, 75), text
        if code == 75:
            assert "is stuck" in text and "ending" in text, text
        shutil.rmtree(remote.folder / "tokens")
        remote.kill()
        remote.initialise()
        remote.start()
        if code == 75:
            break
    suite_run(remote.token(), "--soak", 1)


# The template of keys fails there, and what tpm2_ptool makes signs and decrypts.
TPM = """
set -eu
d=$1 port=$2; shift 2
mkdir -p $d/state $d/store
swtpm socket --tpm2 --tpmstate dir=$d/state --ctrl type=tcp,port=$((port + 1)),bindaddr=127.0.0.1 \\
  --server type=tcp,port=$port,bindaddr=127.0.0.1 --flags not-need-init,startup-clear \\
  --daemon --pid file=$d/swtpm.pid
root=; [ "$(id -u)" != 0 ] || root=--allow-root
tpm2-abrmd $root --session --tcti=swtpm:host=127.0.0.1,port=$port >$d/abrmd.log 2>&1 &
abrmd=$!
trap 'kill $abrmd; kill $(cat $d/swtpm.pid) || true' EXIT
sleep 2
export TPM2TOOLS_TCTI=tabrmd:bus_type=session TPM2_PKCS11_TCTI=tabrmd:bus_type=session
export TPM2_PKCS11_STORE=$d/store
tpm2_ptool init --path $d/store
tpm2_ptool addtoken --pid=1 --label=ca --sopin=12345678 --userpin=1234 --path $d/store
tpm2_ptool addkey --label=ca --userpin=1234 --algorithm=ecc256 --key-label=p256 --path $d/store
"$@"
"""


def tpm_run(folder):
    """Its library leaks with each signature, which is not ours to find."""
    module = LIBRARIES / "libtpm2_pkcs11.so.1"
    needs(module, "libtpm2-pkcs11-1")
    for tool, package in (("swtpm", "swtpm"), ("tpm2-abrmd", "tpm2-abrmd"),
                          ("tpm2_ptool", "libtpm2-pkcs11-tools")):  # fmt: skip
        assert shutil.which(tool), f"install {package}"
    token = Token("tpm2", module, "--uri", "pkcs11:token=ca", "--pin-source", pin_file(folder),
                  "--sign", "pkcs11:token=ca;object=p256", "--waive", "sign_and_decrypt",
                  "--waive", "not_local", "--waive", "other_uses", "--keys", "",
                  steps=("open", "find", "sign", "recover", "soak", "close"))  # fmt: skip
    port = free_ports(2)[0]  # swtpm takes the one after it as well
    done = run("dbus-run-session", "--", "sh", "-c", TPM, "tpm", folder, port,
               *token.words("--soak", 20), check=False, timeout=300,
               env={**token.environment(), "ASAN_OPTIONS": "detect_leaks=0"})  # fmt: skip
    assert done.returncode == 0, done.out + done.err
    for step in token.steps:
        assert f"ok {step}\n" in done.out, done.out
    print(re.search("^soaked.*$", done.out, re.M).group(0))


# A skipped test counts as failed: in the short run there is none.
if IS_LONG:

    def test_a_tpm_signs_and_comes_back(folder):
        tpm_run(folder)
