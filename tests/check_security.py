#!/usr/bin/python3
"""Holds docs/security.md against the tests: every requirement has a row, and each test file
that a row names carries a test of that name. With --print, the rows in full."""

import pathlib
import re
import sys

ROOT = pathlib.Path(sys.argv[1])
ROW = r"(?:S|R|A|I|V|H|W)\d"


def ids_of(name):
    """R6_A3_a_challenge_... carries two."""
    match = re.match(rf"((?:{ROW}_)+)", name)
    return re.findall(ROW, match.group(1)) if match else []


def collect():
    found = {}
    sources = [(r"\bTest\(\s*\w+,\s*(\w+)", "*.c"), (r"\bdef test_(\w+)", "*.py"),
               (r"\bplain_test\(\s*(\w+)", "*.c")]  # fmt: skip
    for pattern, glob in sources:
        for path in sorted((ROOT / "tests").rglob(glob)):
            for name in re.findall(pattern, path.read_text()):
                for row in ids_of(name):
                    short = path.stem.removeprefix("test_")
                    if path.suffix == ".py":
                        short += ".py"
                    found.setdefault(row, set()).add(short)
    return found


def key(row):
    return "SRAIVHW".index(row[0]), int(row[1:])


def main():
    found = collect()
    if "--print" in sys.argv:
        for row in sorted(found, key=key):
            print(row, " ".join(sorted(found[row])))
        return 0
    text = (ROOT / "docs/security.md").read_text()
    documented = dict(re.findall(rf"^\| ({ROW}) \|.*\| ([^|]*) \|$", text, re.M))
    bad = 0
    for row in sorted(set(found) | set(documented), key=key):
        said = set(documented.get(row, "").split())
        if row not in documented:
            print(f"{row}: no row in docs/security.md")
            bad += 1
        elif row in found and (not said or said - found[row]):
            print(f"{row}: docs/security.md names {sorted(said - found[row])}, tests "
                  f"are in {sorted(found[row])}")  # fmt: skip
            bad += 1
        elif row not in found and said != {"later"}:
            print(f"{row}: no test carries it, and its row does not say 'later'")
            bad += 1
    return 1 if bad or not found else 0


if __name__ == "__main__":
    sys.exit(main())
