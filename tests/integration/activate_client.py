"""The client of this project, `sealwright activate`, run as a user would."""

import secrets

from conftest import COMMAND, run
from cryptography.hazmat.primitives.serialization import pkcs12


def issue(house, user, **members):
    """A new activation password; what the API answers."""
    return house.good("POST", "/activations", {"user": user, **members})


def person(house):
    """A user of a test's own."""
    name = f"u{secrets.token_hex(4)}"
    house.user(name, work_space=f"ws-{name}")
    return name


class Client:
    """One run of `sealwright activate` with its files."""

    def __init__(self, house, folder, password):
        self.house, self.folder = house, folder
        folder.mkdir(exist_ok=True)
        self.out = folder / "out"
        (folder / "password").write_text(password + "\n")
        (folder / "store").write_text("behind this password\n")

    def run(self, *words, verify=True, **options):
        trust = ["--cacert", self.house.data / "root.pem"] if verify else []
        return run(COMMAND, "activate", *words, *trust, "--json", "--out", self.out, check=False,
                   cwd=self.folder, **options)  # fmt: skip

    def by_name(self, name, *words, **options):
        return self.run("--server", self.house.secure, "--user", name, "--password-file",
                        self.folder / "password", "--out-password-file", self.folder / "store",
                        *words, **options)  # fmt: skip

    def identity(self, name="activation.p12"):
        octets = (self.out / name).read_bytes()
        return pkcs12.load_key_and_certificates(octets, b"behind this password")
