#!/usr/bin/python3
"""Holds what the command exports against what plugin.h and status.h mark: that list is
the ABI, nothing more and nothing less."""

import pathlib
import re
import subprocess
import sys

command, root = sys.argv[1], pathlib.Path(sys.argv[2])

marked = set()
for header in ("ca/plugin.h", "ca/plugin_activation.h", "ca/status.h"):
    text = re.sub(r"#define.*", "", (root / header).read_text())
    for match in re.finditer(r"CA_EXPORT\s+[^;(]*?(\w+)\s*\(", text):
        marked.add(match.group(1))

listed = subprocess.run(
    ["nm", "-D", "--defined-only", command], check=True, stdout=subprocess.PIPE
)
exported = set()
for line in listed.stdout.decode().splitlines():
    kind, name = line.split()[-2:]
    name = name.split("@")[0]
    # Sanitisers and the C runtime export names of their own.
    if kind in "TDBRV" and re.match(r"(ca|profile|store|token|issuer|http|api)_", name):
        exported.add(name)

missing, extra = sorted(marked - exported), sorted(exported - marked)
if not marked:
    sys.exit("no function is marked CA_EXPORT")
for name in missing:
    print(f"{name} is marked CA_EXPORT and not exported")
for name in extra:
    print(f"{name} is exported and not marked CA_EXPORT")
sys.exit(1 if missing or extra else 0)
