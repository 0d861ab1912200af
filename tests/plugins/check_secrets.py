#!/usr/bin/python3
"""Holds the cryptography of activation to constant time: builds secret_speke.c with
compilers and levels, runs each case under valgrind with the secret marked undefined, and
looks for secrets left on the stack. The controls must be reported. SEALWRIGHT_LONG=yes
takes all compilers and levels, else gcc -O2 alone."""

import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(sys.argv[1]).resolve()
REPORTED = 42
SUITES = ["ecspeke-p521", "ecspeke-p256"]
CASES = ["map", "field", "generator", "schedule"]
CONTROLS = ["control-branch", "control-address"]
FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-gdwarf-4", "-fstack-protector-strong",
         "-fstack-clash-protection", "-fcf-protection", "-U_FORTIFY_SOURCE",
         "-D_FORTIFY_SOURCE=2"]
# clang 14 refuses what gcc 12 takes, as in the build of the project. (And valgrind 3.19
# cannot read clang's DWARF 5.)
FLAGS_OF = {"gcc": ["-ftrivial-auto-var-init=zero"], "clang-14": []}
SOURCES = [*sorted((ROOT / "plugins/activation").glob("speke*.c")),
           *(ROOT / "plugins/activation" / name
             for name in ("box.c", "schedule.c", "transcript.c")),
           ROOT / "ca/status.c", ROOT / "ca/text.c", ROOT / "tests/plugins/secret_speke.c"]

passed = failed = 0


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=300)


def result(name, is_good, output=""):
    global passed, failed
    passed, failed = passed + is_good, failed + (not is_good)
    if not is_good:
        print(f"FAILED {name}\n{output}")


def build(compiler, level, folder):
    program = pathlib.Path(folder) / f"secret_{compiler}{level}"
    libraries = run("pkg-config", "--cflags", "--libs", "libcrypto", "jansson").stdout.split()
    folders = ["-I", ROOT / "ca", "-I", ROOT / "plugins/activation"]
    done = run(compiler, level, *FLAGS, *FLAGS_OF[compiler], *folders, "-o", program,
               *SOURCES, *libraries, "-lpthread")
    result(f"{compiler} {level}: build", done.returncode == 0, done.stdout)
    return program if done.returncode == 0 else None


def check(compiler, level, folder):
    program = build(compiler, level, folder)
    if not program:
        return
    for suite in SUITES:
        for case in CASES + CONTROLS:
            # The secret is public once it is hidden in a point: only then is it printed.
            done = run("valgrind", "-q", f"--error-exitcode={REPORTED}", program, case, suite)
            wanted = REPORTED if case in CONTROLS else 0
            result(f"{compiler} {level}: {case} {suite}", done.returncode == wanted, done.stdout)
        done = run(program, "residue", suite)
        result(f"{compiler} {level}: residue {suite}", done.returncode == 0, done.stdout)


builds = [("gcc", "-O2")]
if os.environ.get("SEALWRIGHT_LONG") == "yes":
    builds = [(compiler, level) for compiler in ("gcc", "clang-14")
              for level in ("-O1", "-O2", "-O3", "-Os")]
with tempfile.TemporaryDirectory() as folder:
    for compiler, level in builds:
        check(compiler, level, folder)
print(f"{passed} passed, {failed} failed")
sys.exit(failed != 0 or passed == 0)
