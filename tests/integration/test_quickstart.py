"""deploy/quickstart in its parts: what it needs no build for, how it stops, the
demonstration. The whole of it from a bare clone is for a fresh machine."""

import os
import re
import shutil
import subprocess
import time

import pytest
from conftest import COMMAND, SOURCE, free_ports, run

QUICKSTART = SOURCE / "deploy/quickstart"
SCRIPTS = [QUICKSTART, SOURCE / "deploy/demo-device", SOURCE / "deploy/demo-activation", SOURCE / "deploy/packages",
           SOURCE / "deploy/build-civetweb", SOURCE / "tests/run", SOURCE / ".ci/run"]  # fmt: skip


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_whole_and_executable(script):
    assert os.access(script, os.X_OK)
    first = script.read_text().splitlines()[0]
    assert first in ("#!/bin/bash", "#!/bin/sh"), first
    run(first[2:], "-n", script)


@pytest.mark.parametrize("script", SCRIPTS[:1] + SCRIPTS[3:6], ids=lambda path: path.name)
def test_scripts_explain_themselves(script, tmp_path):
    done = run(script, "--help", cwd=tmp_path)
    assert done.out.startswith("Usage: ") and not done.err
    assert list(tmp_path.iterdir()) == [], "help changes nothing"


def test_help_names_every_option(tmp_path):
    shown = run(QUICKSTART, "--help", cwd=tmp_path).out
    taken = set(re.findall(r"^    (--[a-z-]+)\)", QUICKSTART.read_text(), re.M))
    taken |= {"--data", "--http", "--https", "--bind", "--no-demo", "--stop"}
    for option in taken:
        assert option in shown, option
    for default in ("./sealwright-data", "8080", "8443", "127.0.0.1"):
        assert default in shown, default


@pytest.mark.parametrize("words", [["--colour"], ["--data"], ["--http", ""], ["extra"]])
def test_wrong_options_are_explained_and_do_nothing(words, tmp_path):
    done = run(QUICKSTART, *words, cwd=tmp_path, check=False)
    assert done.returncode == 1 and "quickstart: " in done.err and "Usage" in done.err
    assert list(tmp_path.iterdir()) == []


def test_stop_of_nothing_is_harmless(tmp_path):
    done = run(QUICKSTART, "--data", tmp_path / "nothing", "--stop")
    assert done.out == "not running\n" and not (tmp_path / "nothing").exists()


def test_stop_leaves_a_stranger_with_that_number_alone(tmp_path):
    """A pid file from before a reboot may name anybody."""
    stranger = subprocess.Popen(["sleep", "60"])
    try:
        for text in (f"{stranger.pid}\n", "", "x\n", "999999999\n", "-1\n", "1\n"):
            (tmp_path / "sealwright.pid").write_text(text)
            assert run(QUICKSTART, "--data", tmp_path, "--stop").out == "not running\n"
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_stop_ends_the_daemon_of_this_folder(fresh_house):
    data = fresh_house.data
    run(COMMAND, "serve", "--config", data / "sealwright.json", "--daemon")
    pid = int((data / "sealwright.pid").read_text())
    other = data.parent / "other"
    assert run(QUICKSTART, "--data", other, "--stop").out == "not running\n"
    assert fresh_house.get("/health/ready").status == 200
    assert run(QUICKSTART, "--data", data, "--stop").out == "stopped\n"
    end = time.monotonic() + 10
    while is_running(pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_running(pid)
    assert run(QUICKSTART, "--data", data, "--stop").out == "not running\n"


@pytest.mark.parametrize("spelled", ["{name}/", "./{name}/", "{name}/../{name}//", "link"])
def test_stop_knows_the_folder_however_it_is_spelled(fresh_house, spelled):
    data = fresh_house.data.resolve()
    link = data.parent / "link"
    link.unlink(missing_ok=True)
    link.symlink_to(data)
    run(COMMAND, "serve", "--config", data / "sealwright.json", "--daemon")
    done = run(QUICKSTART, "--data", spelled.format(name=data.name), "--stop", cwd=data.parent)
    assert done.out == "stopped\n"


def is_running(pid):
    """A daemon that nobody waits for stays as a zombie in some containers."""
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_init_leaves_the_files_that_others_rely_on(fresh_house):
    data = fresh_house.data
    for name in ("sealwright.json", "root.pem", "chain.pem", "admin.token", "store.db"):
        assert (data / name).is_file(), name
    assert (data / "token").is_dir()
    assert (data / "admin.token").stat().st_mode & 0o777 == 0o600
    for path in data.rglob("*"):
        if path.is_file() and path.suffix not in (".pem",):
            assert path.stat().st_mode & 0o022 == 0, path
    run("openssl", "verify", "-x509_strict", "-CAfile", data / "root.pem",
        data / "chain.pem")  # fmt: skip


def test_the_demonstration_enrols_and_a_second_one_renews(fresh_house):
    house = fresh_house
    house.start()
    for _ in range(2):
        done = run(SOURCE / "deploy/demo-device", "--command", COMMAND, "--data", house.data,
                   "--url", house.base)  # fmt: skip
        assert "openssl verify -x509_strict: OK" in done.out and not done.err, done.err
    found = house.certificates(user="demo")
    assert len({item["device"] for item in found}) == 1
    # The challenge is shown by its public half alone, and is worth nothing now.
    for word in re.findall(r"\b[0-9A-F]{16,}\b", done.out):
        assert len(word) < 48


def test_the_second_demonstration_activates_and_enrols_by_scep(fresh_house):
    house = fresh_house
    house.start()
    for _ in range(2):
        done = run(SOURCE / "deploy/demo-activation", "--command", COMMAND, "--data", house.data,
                   "--url", house.secure)  # fmt: skip
        assert not done.err, done.err
        assert "SCEP profile 'default' in mode simple" in done.out
        assert done.out.count("subject=") == 2, "of the activation, and the working one"
        assert "read its policy" in done.out
    held = house.certificates(user="demo-activation", state="issued")
    assert sorted(one["protocol"] for one in held) == ["activation", "scep"], "one device"


@pytest.mark.long
def test_the_whole_of_it_twice(tmp_path):
    """In a folder with a blank, the second time behind a proxy that does not know us."""
    http, https = free_ports(2)
    data = tmp_path / "my data"
    words = [QUICKSTART, "--data", data, "--http", str(http), "--https", str(https)]
    proxy = {"http_proxy": "http://127.0.0.1:1", "https_proxy": "http://127.0.0.1:1"}

    def refused(says, *options):
        done = run(QUICKSTART, *options, check=False, timeout=300)
        assert done.returncode == 1 and says in done.err, (done.out, done.err)

    try:
        first = run(*words, timeout=1200)
        pid = (data / "sealwright.pid").read_text()
        began = time.monotonic()
        second = run(*words, timeout=300, env=proxy)
        assert time.monotonic() - began < 120
        assert (data / "sealwright.pid").read_text() == pid
        for done in (first, second):
            assert "openssl verify -x509_strict: OK" in done.out
            assert "SoftHSM" in done.out and "Next:" in done.out
            assert str(data) not in done.out.split("Next:")[1], "quoted for a shell"
        listing = re.search(r"^    (.* cert list)$", second.out, re.M).group(1)
        assert "demo-device" in run("bash", "-c", listing).out
        assert "is there already: nothing changed" in second.out
        for options in (["--http", "1"], ["--http", "1", "--https", str(https)],
                        ["--http", str(http), "--https", "1"], ["--bind", "::1"]):  # fmt: skip
            refused("other ports", "--data", data, "--no-demo", *options)
        other = tmp_path / "other"
        refused(f"port {http}", "--data", other, "--http", str(http), "--https", "1")
        assert not other.exists()
    finally:
        assert run(QUICKSTART, "--data", data, "--stop").out == "stopped\n"
        shutil.rmtree(data, ignore_errors=True)
