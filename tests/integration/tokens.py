"""What the tests of tokens and keys share: the PIN file, tables of the command, patience."""

import json
import time


def rows(house, *words, **options):
    """A table of the command as JSON."""
    return json.loads(house.cli(*words, "--json", **options).out)["items"]


def pin_of(house):
    return (house.data / "token/pin").read_text().strip()


def pin_write(house, pin):
    path = house.data / "token/pin"
    path.chmod(0o600)
    path.write_text(pin + "\n")
    path.chmod(0o400)


def token_of(house, name="main"):
    return house.good("GET", f"/instance/tokens/{name}")


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to that")
