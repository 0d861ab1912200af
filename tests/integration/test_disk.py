"""A full disk (SECURITY I2): no certificate leaves, readiness says why, and when there is
room again it goes on by itself."""

import concurrent.futures
import json
import os
import resource
import shutil
import signal
import subprocess
import time

import pytest
from conftest import House, house_end, house_make
from scep import Fleet, serial_of


class Mounted:
    """The whole data folder on a small file system of its own."""

    def __init__(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("house")
        folder.chmod(0o700)
        self.data = folder / "data"
        self.data.mkdir(mode=0o700)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=128m,mode=700", "tmpfs", self.data],
            stderr=subprocess.DEVNULL, timeout=30,
        )  # fmt: skip
        assert done.returncode == 0, "root could not mount a tmpfs"
        self.house = House(self.data)
        self.house.start()

    def fill(self):
        with open(self.data / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(1 << 16))
            except OSError:
                pass
            try:
                while True:
                    filler.write(b"0" * 512)
            except OSError:
                pass

    def free(self):
        (self.data / "filler").unlink()

    def end(self):
        try:
            self.house.stop()
        finally:
            subprocess.run(["umount", "-l", self.data], timeout=30)
            shutil.rmtree(self.data.parent, ignore_errors=True)


class Limited:
    """The daemon may let no file grow further: full for it alone, without root."""

    def __init__(self, tmp_path_factory):
        self.house = house_make(tmp_path_factory)
        self.data = self.house.data
        # Elsewhere, for its lines would be the first to meet the limit.
        self.house.change_config(log_file="-")
        self.house.start(
            restore_signals=False,
            preexec_fn=lambda: signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
        )

    def limit(self, size):
        resource.prlimit(
            self.house.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)
        )

    def fill(self):
        self.limit(4096)

    def free(self):
        self.limit(resource.RLIM_INFINITY)

    def end(self):
        house_end(self.house)


# Only root may mount; the limit fills the disk for everybody.
KINDS = [Mounted, Limited] if os.geteuid() == 0 else [Limited]


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__.lower())
def disk(request, tmp_path_factory):
    made = request.param(tmp_path_factory)
    made.house.user("alice")
    yield made
    made.end()


def ready(house):
    answer = house.get("/health/ready")
    return answer.status, {one["check"]: one for one in answer.json["checks"]}


def wait_for(status, house, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found, checks = ready(house)
        if found == status:
            return checks
        time.sleep(0.3)
    raise AssertionError((found, checks))


def test_I2_a_full_disk_lets_no_certificate_out_and_heals(disk):
    house = disk.house
    fleet = Fleet(house)
    assert wait_for(200, house)
    grants = [house.challenge("alice", subject="CN=dev") for _ in range(4)]
    bodies = [fleet.fresh(made["challenge"]) for made in grants]
    first = fleet.post(bodies[0])
    assert first.word == "issued"
    before = house.certificates()
    leaves = house.audit_leaves()

    disk.fill()
    words = {fleet.post(body).word for body in bodies[1:] * 2}
    assert words == {"http 503"}, words
    assert fleet.post(fleet.fresh("0" * 48)).word in ("fail 2", "http 503")
    checks = wait_for(503, house)
    bad = [one for one in checks.values() if not one["ok"]]
    assert bad and all(one["detail"] for one in bad), checks
    assert any(one["check"] in ("store", "disk") for one in bad), bad
    late = house.api("POST", "/users", {"name": "late"})
    assert late.status == 503 and late.headers["Retry-After"].isdigit()
    # It answers what needs no writing.
    assert house.get("/health/live").status == 200
    assert house.get("/scep/default?operation=GetCACert").status == 200
    assert house.get("/crl/issuing.crl").status == 200
    assert house.certificates() == before
    assert house.process.poll() is None

    disk.free()
    wait_for(200, house)
    for made, body in zip(grants[1:], bodies[1:]):
        end = time.monotonic() + 20
        reply = fleet.post(body)
        while reply.http == 503 and time.monotonic() < end:
            time.sleep(0.3)
            reply = fleet.post(body)
        assert reply.word == "issued"
        state = house.good("GET", f"/challenges/{made['id']}")
        assert (state["state"], state["serial"]) == ("used", serial_of(reply.certificate))
    assert fleet.post(bodies[0]).certificate == first.certificate
    assert len(house.certificates(user="alice")) == 4
    assert house.api("POST", "/users", {"name": "late"}).status == 201
    # Nothing of the log from before is gone, and nothing in it has changed.
    after = house.audit_leaves()
    assert after[-len(leaves):] == leaves
    # And all of it is there after a restart.
    house.restart()
    wait_for(200, house)
    assert house.audit_leaves()[-len(after):] == after
    assert json.dumps(house.certificates(user="alice")).count("issued") >= 4
    fleet.close()


def test_I2_the_disk_fills_while_many_enrol(disk):
    """Whatever was answered with a certificate is in the record afterwards."""
    house = disk.house
    fleet = Fleet(house)
    bodies = [
        fleet.fresh(house.challenge("alice", subject="CN=dev")["challenge"])
        for _ in range(12)
    ]
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        futures = [pool.submit(fleet.post, body) for body in bodies]
        time.sleep(0.3)
        disk.fill()
        replies = [future.result(timeout=120) for future in futures]
    assert {reply.word for reply in replies} <= {"issued", "http 503"}
    disk.free()
    wait_for(200, house)
    recorded = {item["serial"]: item["state"] for item in house.certificates()}
    for body, reply in zip(bodies, replies):
        if reply.word == "issued":
            assert recorded[serial_of(reply.certificate)] == "issued"
            assert fleet.post(body).certificate == reply.certificate
    house.audit_leaves()
    fleet.close()


def test_I2_a_disk_that_fills_again_and_again_leaves_a_daemon_that_serves(disk):
    """Filling and freeing again and again leaves a daemon that serves."""
    house = disk.house
    fleet = Fleet(house)
    pid = house.process.pid
    for _ in range(3):
        disk.fill()
        wait_for(503, house)
        disk.free()
        wait_for(200, house)
    made = house.challenge("alice", subject="CN=dev")
    assert fleet.post(fleet.fresh(made["challenge"])).word == "issued"
    assert house.process.pid == pid and os.path.exists(f"/proc/{pid}")
    fleet.close()
