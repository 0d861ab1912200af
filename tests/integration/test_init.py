"""`sealwright init` with odd options, in odd folders, and cut off half-way."""

import resource
import signal
import subprocess
import time

import pytest
from conftest import COMMAND, free_ports, run


def init(folder, *words, check=False, **options):
    http, https = free_ports(2)
    return run(COMMAND, "init", "--data", folder, "--http", http, "--https", https, *words,
               check=check, **options)  # fmt: skip


def subject_of(path):
    return run("openssl", "x509", "-in", path, "-noout", "-subject", "-nameopt",
               "RFC2253,utf8,-esc_msb").out.strip()  # fmt: skip


@pytest.mark.parametrize("name, escaped", [
    ("Example, Inc.", r"Example\, Inc."),
    ('#A=B+C"D\\E<F>;', r'\#A=B\+C\"D\\E\<F\>\;'),
    ("M\u00fcller & S\u00f6hne", "M\u00fcller & S\u00f6hne"),
    ("{{user.name}}", "{{user.name}}"),
])  # fmt: skip
def test_the_organisation_may_have_any_name(tmp_path, name, escaped):
    data = tmp_path / "data"
    init(data, "--name", name, check=True)
    said = subject_of(data / "chain.pem")
    assert said.startswith(f"subject=O={escaped},CN="), said
    run("openssl", "verify", "-x509_strict", "-CAfile", data / "root.pem",
        data / "chain.pem")  # fmt: skip


@pytest.mark.parametrize("words, says", [
    (["--name", ""], "--name"),
    (["--name", "x" * 54], "--name: subject has a CN of 65 characters, more than 64"),
    (["--name", "a\nb"], "--name"),
    (["--domain", "no domain"], "--domain"),
    (["--bind", "localhost"], "bind: must be a numeric address"),
    (["--bind", "192.0.2.256"], "bind: must be a numeric address"),
    (["--http", "0"], "'0' is no port"),
    (["--http", "65536"], "'65536' is no port"),
    (["--http", "8443", "--https", "8443"], "the same port"),
    (["--token", "ca"], "--token and --pin-source want --module"),
    (["--pin-source", "file:/x"], "--token and --pin-source want --module"),
    (["--module", "/x.so"], "--module wants --token and --pin-source"),
    (["more"], "'more'"),
])  # fmt: skip
def test_options_that_will_not_do_are_named_and_nothing_is_made(tmp_path, words, says):
    done = init(tmp_path / "data", *words)
    assert done.returncode in (1, 2) and says in done.err, (done.returncode, done.err)
    assert list(tmp_path.iterdir()) == []


def test_a_path_too_long_for_its_socket_is_told_before_keys_are_made(tmp_path):
    data = tmp_path / ("p" * 110)
    done = init(data)
    assert done.returncode == 1 and "107 octets" in done.err, done.err
    assert not data.exists()


def test_a_folder_that_others_use_is_left_alone(tmp_path):
    data = tmp_path / "shared"
    data.mkdir(mode=0o755)
    data.chmod(0o755)
    (data / "theirs").write_text("x")
    done = init(data)
    assert done.returncode == 1 and "name a folder of its own" in done.err, done.err
    assert data.stat().st_mode & 0o777 == 0o755
    assert [path.name for path in data.iterdir()] == ["theirs"]
    file = tmp_path / "file"
    file.write_text("x")
    done = init(file)
    assert done.returncode == 1 and "is no folder" in done.err, done.err


@pytest.mark.parametrize("inside", [None, "lost+found"])
def test_an_empty_folder_is_taken_and_closed(tmp_path, inside):
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    if inside:
        (data / inside).mkdir()
    init(data, check=True)
    assert data.stat().st_mode & 0o777 == 0o700


def test_what_it_makes_is_closed_whatever_the_umask(tmp_path):
    data = tmp_path / "data"
    words = ["bash", "-c", 'umask 0; exec "$@"', "bash", COMMAND, "init", "--data", data]
    run(*words)
    assert data.stat().st_mode & 0o777 == 0o700
    for path in data.rglob("*"):
        open_to_others = path.stat().st_mode & 0o077
        assert not open_to_others or path.suffix == ".pem", (path, oct(open_to_others))
        assert path.stat().st_mode & 0o022 == 0, path


def test_a_set_up_that_was_cut_off_is_told_and_not_built_upon(tmp_path):
    data = tmp_path / "data"
    http, https = free_ports(2)
    began = subprocess.Popen(
        [COMMAND, "init", "--data", data, "--http", str(http), "--https", str(https)],
        stdout=subprocess.DEVNULL)  # fmt: skip
    end = time.monotonic() + 30
    while not (data / "store.db").exists() and time.monotonic() < end:
        time.sleep(0.005)
    began.send_signal(signal.SIGKILL)
    assert began.wait() == -signal.SIGKILL, "it was too quick"
    assert not (data / "sealwright.json").exists()
    done = init(data)
    assert done.returncode == 1 and "an earlier set-up did not finish" in done.err
    done = run(COMMAND, "serve", "--data", data, check=False)
    assert done.returncode == 1 and "sealwright.json" in done.err


def test_two_at_once_make_one(tmp_path):
    data = tmp_path / "data"
    ports = [str(port) for port in free_ports(4)]
    both = [subprocess.Popen([COMMAND, "init", "--data", data, "--http", ports[i], "--https",
                              ports[i + 1]], stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE) for i in (0, 2)]  # fmt: skip
    words = [one.communicate(timeout=60)[1] for one in both]
    assert sorted(one.returncode for one in both) == [0, 1], words
    run("openssl", "verify", "-CAfile", data / "root.pem", data / "chain.pem")
    text = (data / "sealwright.json").read_text()
    winner = ports[0] if both[0].returncode == 0 else ports[2]
    assert f'"port": {winner}' in text


@pytest.mark.parametrize("octets", [512, 4096, 65536, 131072])
def test_I2_a_disk_that_is_full_leaves_no_folder_that_looks_whole(tmp_path, octets):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (octets, octets))

    data = tmp_path / "data"
    http, https = free_ports(2)
    done = subprocess.run(
        [COMMAND, "init", "--data", data, "--http", str(http), "--https", str(https)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=limit, timeout=60)  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith(b"sealwright init: "), done.stderr
    assert not (data / "sealwright.json").exists()
