"""The real daemon, token, store and clients: a fixture each."""

import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

BUILD = pathlib.Path(os.environ.get("SEALWRIGHT_BUILD", "build")).resolve()
SOURCE = pathlib.Path(__file__).resolve().parents[2]
COMMAND = BUILD / "sealwright"
IS_LONG = os.environ.get("SEALWRIGHT_LONG") == "yes"

sys.path.insert(0, str(SOURCE / "tests/support"))
from ports import free_ports  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "long: only in the long run (tests/run --long)")


def pytest_collection_modifyitems(config, items):
    """What belongs to the long run is left out of the short one, not skipped: a skipped
    test is a missing part and fails the run."""
    if IS_LONG:
        return
    config.hook.pytest_deselected(
        items=[item for item in items if item.get_closest_marker("long")]
    )
    items[:] = [item for item in items if not item.get_closest_marker("long")]


def minute_with(seconds):
    """Waits until the daemon's minute, by which it counts wrong log-ins, has so many left."""
    left = 60 - time.monotonic() % 60
    if left < seconds:
        time.sleep(left)


def run(*words, check=True, env=None, stdin=None, cwd=None, timeout=120):
    """A command to its end, bounded; its output as text."""
    done = subprocess.run(
        [str(word) for word in words],
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **(env or {})},
        cwd=cwd,
        timeout=timeout,
    )
    done.out = done.stdout.decode("utf-8", "replace")
    done.err = done.stderr.decode("utf-8", "replace")
    if check and done.returncode != 0:
        raise AssertionError(
            f"{words} ended with {done.returncode}\n{done.out}\n{done.err}"
        )
    return done


class Answer:
    """What HTTP brought back."""

    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


class House:
    """One data folder with its daemon."""

    def __init__(self, folder, *init_options):
        self.data = folder
        self.http, self.https = free_ports(2)
        self.process = None
        self.plugins = folder.parent / f"{folder.name}-plugins"
        self.collect_plugins()
        run(
            COMMAND, "init", "--data", folder, "--http", self.http, "--https", self.https,
            "--name", "Example Corp", "--domain", "example.com", *init_options,
        )  # fmt: skip
        self.change_config(plugin_directory=str(self.plugins))
        self.token = (folder / "admin.token").read_text().strip()

    def collect_plugins(self):
        """The build's plugins in one folder, as an installation has them."""
        self.plugins.mkdir(exist_ok=True)
        for built in BUILD.glob("plugins/*/sealwright_*.so"):
            shutil.copy(built, self.plugins / built.name)
            (self.plugins / built.name).chmod(0o755)

    # ---- configuration ----

    @property
    def config_path(self):
        return self.data / "sealwright.json"

    def change_config(self, **members):
        config = json.loads(self.config_path.read_text())
        for name, value in members.items():
            if isinstance(value, dict) and isinstance(config.get(name), dict):
                config[name].update(value)
            else:
                config[name] = value
        self.config_path.write_text(json.dumps(config, indent=2))
        self.config_path.chmod(0o600)

    # ---- the daemon ----

    def start(self, wait=True, env=None, **options):
        self.stderr = open(self.data / "stderr.txt", "ab")
        self.process = subprocess.Popen(
            [COMMAND, "serve", "--data", self.data],
            stdout=self.stderr,
            stderr=self.stderr,
            stdin=subprocess.DEVNULL,
            env={**os.environ, **(env or {})},
            **options,
        )
        if wait:
            self.wait_until_live()
        return self

    def wait_until_live(self, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise AssertionError(
                    f"the daemon ended with {self.process.returncode}:\n{self.words()}"
                )
            try:
                if self.get("/health/live").status == 200:
                    return
            except (OSError, urllib.error.URLError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"the daemon does not answer:\n{self.words()}")

    def peak_megabytes(self):
        """The most memory that the daemon has had."""
        with open(f"/proc/{self.process.pid}/status") as lines:
            (line,) = [line for line in lines if line.startswith("VmHWM")]
        return int(line.split()[1]) // 1024

    def words(self):
        texts = []
        for name in ("stderr.txt", "sealwright.log"):
            path = self.data / name
            if path.exists():
                texts.append(path.read_text(errors="replace")[-8000:])
        return "\n".join(texts)

    def stop(self):
        """SIGTERM must end it cleanly; under ASan that is the leak check of all."""
        if not self.process:
            return
        process, self.process = self.process, None
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the daemon did not stop:\n{self.words()}")
        finally:
            self.stderr.close()
        assert code == 0, f"the daemon ended with {code}:\n{self.words()}"

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process = None
        self.stderr.close()

    def restart(self):
        self.stop()
        return self.start()

    def log_lines(self):
        lines = (self.data / "sealwright.log").read_text().splitlines()
        return [json.loads(line) for line in lines]

    # ---- HTTP ----

    @property
    def base(self):
        return f"http://127.0.0.1:{self.http}"

    @property
    def secure(self):
        return f"https://127.0.0.1:{self.https}"

    def tls_context(self, cert=None, key=None):
        context = ssl.create_default_context(cafile=self.data / "root.pem")
        if cert:
            context.load_cert_chain(cert, key)
        return context

    def call(self, method, url, body=None, headers=None, context=None, timeout=60):
        request = urllib.request.Request(url, data=body, method=method)
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(
                request,
                timeout=timeout,
                context=(context or self.tls_context())
                if url.startswith("https")
                else None,
            ) as reply:
                return Answer(reply.status, reply.headers, reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, error.headers, error.read())

    def get(self, path, **options):
        return self.call("GET", self.base + path, **options)

    def api(self, method, path, body=None, headers=None, token=None, raw=None):
        """A call of the admin API; `body` goes as JSON."""
        all_headers = {"Authorization": f"Bearer {token or self.token}"}
        data = raw
        if body is not None:
            data = json.dumps(body).encode()
        if data is not None:
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        return self.call(
            method, self.secure + "/api/v1" + path, data, all_headers
        )

    def good(self, method, path, body=None, **options):
        """As `api`, and it must have gone well."""
        answer = self.api(method, path, body, **options)
        assert answer.status < 300, (method, path, answer.status, answer.body)
        return answer.json if answer.body else None

    def cli(self, *words, check=True, **options):
        return run(COMMAND, "--data", self.data, *words, check=check, **options)

    # ---- what most tests need ----

    def user(self, name="alice", **members):
        members.setdefault("email", f"{name}@example.com")
        return self.good("POST", "/users", {"name": name, **members})

    def challenge(self, user="alice", profile="default", **members):
        body = {"user": user, "profile": profile, **members}
        return self.good("POST", "/challenges", body)

    def certificates(self, **filters):
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        return self.good("GET", f"/certificates?limit=1000&{query}")["items"]

    def audit(self, **filters):
        query = "&".join(f"{name}={value}" for name, value in filters.items())
        return self.good("GET", f"/audit?limit=1000&{query}")["items"]

    def audit_leaves(self):
        """All leaves of the log, newest first, without a gap."""
        entries, path = [], "/audit?limit=1000"
        while path:
            page = self.good("GET", path)
            entries += page["items"]
            path = page["next"] and f"/audit?limit=1000&after={page['next']}"
        leaves = [entry for entry in entries if entry["number"] >= 0]
        numbers = [entry["number"] for entry in leaves]
        assert numbers == list(range(len(leaves) - 1 + numbers[-1], numbers[-1] - 1, -1))
        assert numbers[-1] in (0, 1)
        return leaves

    def scep(self, profile="default"):
        return f"{self.base}/scep/{profile}"


def house_make(tmp_path_factory, *init_options):
    folder = tmp_path_factory.mktemp("house")
    folder.chmod(0o700)
    return House(folder / "data", *init_options)


def house_end(house):
    try:
        house.stop()
    finally:
        if os.environ.get("SEALWRIGHT_KEEP") != "yes":
            shutil.rmtree(house.data.parent, ignore_errors=True)


@pytest.fixture(scope="module")
def house(request, tmp_path_factory):
    """A running house that the tests of one file share; CONFIG of the file, if there is
    one, has members of its configuration."""
    made = house_make(tmp_path_factory)
    made.change_config(**getattr(request.module, "CONFIG", {}))
    made.start()
    yield made
    house_end(made)


@pytest.fixture
def fresh_house(tmp_path_factory):
    """A house of the test's own, not started."""
    made = house_make(tmp_path_factory)
    yield made
    house_end(made)
