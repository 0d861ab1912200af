#!/usr/bin/python3
"""Holds docs/api.md against the code: its table of calls is what the route tables say,
its problems are those that ca/problem.c knows."""

import difflib
import pathlib
import re
import subprocess
import sys

ROUTE_TABLE, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])


def routes_wrong(text):
    wanted = subprocess.run([ROUTE_TABLE], capture_output=True, text=True, check=True).stdout
    match = re.search(r"^<!-- routes:.*?-->\n(.*?)^<!-- end of routes -->", text, re.S | re.M)
    found = match.group(1) if match else ""
    if wanted.count("\n") < 10:
        return [f"{ROUTE_TABLE} printed no table"]
    return list(difflib.unified_diff(found.splitlines(), wanted.splitlines(), "docs/api.md",
                                     "the route tables", lineterm="", n=0))


def problems_wrong(text):
    source = (ROOT / "ca/problem.c").read_text()
    known = set(re.findall(r'\{ (\d{3}), "([a-z-]+)", "([^"]+)" \}', source))
    told = {(status, word, title) for word, status, title in re.findall(
        r"^\| `urn:sealwright:problem:([a-z-]+)` \| (\d{3}) \| ([^|]+?) \|", text, re.M)}
    if not known:
        return ["no problems were found in ca/problem.c"]
    return [f"problem only in one of docs/api.md and ca/problem.c: {' '.join(row)}"
            for row in sorted(known ^ told)]


def main():
    text = (ROOT / "docs/api.md").read_text()
    wrong = routes_wrong(text) + problems_wrong(text)
    print("\n".join(wrong) if wrong else "docs/api.md agrees")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
