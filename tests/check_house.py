#!/usr/bin/python3
"""Holds the tree against its architecture: includes go down the levels only, and what
belongs to one room stays there. Prints every breach and fails on any."""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve()

# docs/architecture.md explains the levels. A module is its file's first word:
# store_sqlite belongs to store.
LEVELS = [
    "status auto log clock text problem digest der pubkey field template metrics omadm seal stretch mime qr"
    " rendezvous csv ticker jws fetch address owned",
    "config store schema record query",
    "audit state profile user password group assignment device certificate challenge pending"
    " admin organisation authority management activation offer sealing outbox letter"
    " instance roster",
    "issuer tbs lint crl csr names keycheck vault offer_judge scep_effective scep_wire upstream"
    " directory oidc",
    "flight refusal refuse service readiness exchange lifecycle endpoint grant auth"
    " enrolment issue login onetime activate outcome enroll poll calls keeper jobs ceremony health"
    " smtp mail mailer invitation webhook offer_count upstream_enroll"
    " directory_sync",
    "",  # plugins and api
    "http loader",
    "main serve check init rollover verb",
]
PKCS11_LEVEL = 1
API_LEVEL = 5
RECORD_LEVEL = 2
# plugin.h and plugin_activation.h are the ABI: anyone may include them.
PLUGINS_SEE = ("plugin.h", "plugin_activation.h", "status.h", "auto.h")
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names.split()}
LEVEL_OF["plugin"] = 0

SIZE_MAX = 600
# Files over the limit, each with its reason.
LONG_FILES = {}
# Lists that are included once for each meaning of their macro.
MACRO_LISTS = {"pkcs11/guard_calls.h", "pkcs11/guard_list.h"}


def files(*folders):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.[ch]")):
            yield path


def includes(path):
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if match:
            yield number, match.group(1) == '"', match.group(2)


def module(path):
    """The module of a core file: the longest known name that begins its file name."""
    stem = path.stem
    while stem and stem not in LEVEL_OF:
        stem = stem.rpartition("_")[0]
    return stem


def header_of(name):
    """Which folder of ours has this header, and its path."""
    for folder in ("ca", "pkcs11", "api", "api/cli", "plugins/common"):
        path = ROOT / folder / name
        if path.is_file():
            return folder, path
    return None, None


def core_breaches(path):
    own = module(path)
    if not own:
        yield 1, f"no level is known for {path.name}: add it to tests/check_house.py"
        return
    level = LEVEL_OF[own]
    for number, quoted, name in includes(path):
        if not quoted:
            continue
        folder, header = header_of(name)
        if folder is None:
            continue
        other = module(header) if folder == "ca" else None
        if folder == "pkcs11":
            other_level = PKCS11_LEVEL
        elif folder.startswith("api"):
            other_level = API_LEVEL
        elif folder == "plugins/common":
            yield number, f"the core includes {name} of the plugins"
            continue
        else:
            other_level = LEVEL_OF.get(other, 99)
        if other_level > level:
            yield number, f"{own} (level {level}) includes {name} (level {other_level})"
        if level == RECORD_LEVEL == other_level and other != own:
            yield number, f"record {own} includes record {other}"


def pkcs11_breaches(path):
    for number, quoted, name in includes(path):
        folder, header = header_of(name)
        if quoted and folder == "ca" and LEVEL_OF.get(module(header), 99) > 0:
            yield number, f"pkcs11 includes {name} of the core above level 0"
        if quoted and folder and folder not in ("ca", "pkcs11"):
            yield number, f"pkcs11 includes {name} of {folder}"


def api_breaches(path):
    for number, quoted, name in includes(path):
        folder, header = header_of(name)
        if quoted and folder == "ca" and LEVEL_OF.get(module(header), 99) > 4:
            yield number, f"the API includes {name} above level 4"


def plugin_breaches(path):
    own = path.parent.name
    for number, quoted, name in includes(path):
        if not quoted:
            continue
        beside = (path.parent / name).is_file()
        common = (ROOT / "plugins/common" / name).is_file()
        if not beside and not common and name not in PLUGINS_SEE:
            yield number, f"plugin {own} includes {name}, which plugins do not see"


def owner_breaches(path):
    """Libraries with one owner."""
    inside = path.relative_to(ROOT).parts
    is_http = inside[0] == "ca" and path.stem.startswith("http")
    for number, _, name in includes(path):
        if name.startswith("libp11") and inside[0] != "pkcs11":
            yield number, "only pkcs11/ knows libp11"
        if name == "civetweb.h" and not is_http:
            yield number, "only http knows civetweb"
        if name == "sqlite3.h" and not path.stem.startswith("store_sqlite"):
            yield number, "only store_sqlite knows SQLite"
        if name == "dlfcn.h" and path.stem != "loader" and inside[0] != "pkcs11":
            yield number, "only loader and pkcs11/ open libraries"


def text_breaches(path):
    lines = path.read_text().splitlines()
    relative = str(path.relative_to(ROOT))
    if len(lines) > SIZE_MAX and relative not in LONG_FILES:
        yield len(lines), f"{len(lines)} lines, at most {SIZE_MAX}"
    is_list = relative in MACRO_LISTS
    if path.suffix == ".h" and not is_list and "#pragma once" not in lines:
        yield 1, "no #pragma once"
    if not lines or not lines[0].startswith("/*"):
        yield 1, "does not start with a sentence on its job"
    for number, line in enumerate(lines, 1):
        if re.search(r"\bgoto\b", line) and not line.strip().startswith(("*", "/*")):
            yield number, "goto"
        if re.search(r"\bPKCS11_\w+\s*\(|\bPKCS11_(CTX|SLOT|KEY)\b", line) and not (
            relative.startswith("pkcs11/")
        ):
            yield number, "libp11's names outside pkcs11/"


def document_breaches():
    """docs/architecture.md shows newcomers the levels: the very words of LEVELS."""
    text = (ROOT / "docs/architecture.md").read_text()
    for level, names in enumerate(LEVELS):
        row = re.search(rf"^\| {level} \| `ca/` ([a-z_ ]+)", text, re.M)
        said = set(row.group(1).split()) if row else set()
        for name in sorted(said ^ set(names.split())):
            where = "docs/architecture.md" if name in said else "tests/check_house.py"
            yield f"level {level}: {name} is in {where} alone"


def main():
    checks = [
        (files("ca"), core_breaches),
        (files("pkcs11"), pkcs11_breaches),
        (files("api"), api_breaches),
        (files("plugins"), plugin_breaches),
        (files("ca", "pkcs11", "api", "plugins"), owner_breaches),
        (files("ca", "pkcs11", "api", "plugins"), text_breaches),
    ]
    breaches = 0
    seen = 0
    for paths, check in checks:
        for path in paths:
            seen += 1
            for number, what in check(path):
                breaches += 1
                print(f"{path.relative_to(ROOT)}:{number}: {what}")
    for what in document_breaches():
        breaches += 1
        print(what)
    if seen == 0:
        print("no source files found")
        return 1
    print(f"{breaches} breaches")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())
