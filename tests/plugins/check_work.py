#!/usr/bin/python3
"""Holds the server to the same work for names that somebody has and names that nobody
has: builds work_activation.c as a release, runs it under callgrind, and compares answers,
statements of the store, calls of the token and instructions."""

import collections
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

ROOT, BUILD = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
TARGETS = ["tests/plugins/work_activation", "plugins/activation/sealwright_activation.so"]
REFERENCE, CONTROL = "live", "control"
PERSONS = 7
TOLERANCE = 0.01  # of the instructions
# Whose calls are counted: a statement of the store, a unit of its writer, the token.
COUNTED = {"store_run": "statements", "store_write": "writes", "store_read": "reads",
           "C_DecryptInit": "token", "C_SignInit": "token", "C_EncryptInit": "token"}  # fmt: skip
SAME = ("status", "size", "statements", "writes", "reads", "token")


def command(*words, **options):
    done = subprocess.run([str(word) for word in words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, **options)  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"{words[0]} ended with {done.returncode}\n{done.stdout[-4000:]}")
    return done.stdout


def build():
    if not (BUILD / "build.ninja").exists():
        command("meson", "setup", BUILD, ROOT, "--buildtype=release")
    command("ninja", "-C", BUILD, *TARGETS)


def dump_read(text):
    """The label of a dump, its instructions, and how often the counted are called."""
    label = re.search(r"^desc: Trigger: Client Request: (.*)$", text, re.M)
    total = re.search(r"^(?:totals|summary): (\d+)", text, re.M)
    if not label or not total:
        return None
    names, calls, callee = {}, collections.Counter(), None
    for line in text.splitlines():
        found = re.match(r"(c?fn)=\((\d+)\)(?: (.*))?$", line)
        if found:
            kind, number, name = found.groups()
            if name:
                names[number] = name.split("'")[0]
            if kind == "cfn":
                callee = names[number]
        elif line.startswith("calls=") and callee in COUNTED:
            calls[COUNTED[callee]] += int(line[6:].split()[0])
    return label[1], int(total[1]), calls


def measure(folder):
    """{(step, person): [figures]}, one of each round."""
    environment = {**os.environ, "GLIBC_TUNABLES": ""}
    text = command("valgrind", "--tool=callgrind", "--instr-atstart=no", "--compress-strings=yes",
                   f"--callgrind-out-file={folder}/out", *(BUILD / target for target in TARGETS), env=environment)  # fmt: skip
    answers = collections.defaultdict(list)
    for step, person, status, size in re.findall(r"^(hello|enroll) (\w+) (\d+) (\d+)$", text, re.M):
        answers[step, person].append({"status": int(status), "size": int(size)})
    rounds = collections.Counter()
    files = [path for path in folder.glob("out.*") if path.suffix[1:].isdigit()]
    for path in sorted(files, key=lambda path: int(path.suffix[1:])):
        found = dump_read(path.read_text())
        if not found:
            continue
        label, instructions, calls = found
        key = tuple(label.split())
        answers[key][rounds[key]].update(instructions=instructions, **{
            name: calls[name] for name in set(COUNTED.values())})  # fmt: skip
        rounds[key] += 1
    return answers


def judge(answers):
    """How many persons differ; the control has to."""
    bad = 0
    for (step, person), rounds in answers.items():
        instructions, wanted = (statistics.median(one["instructions"] for one in each)
                                for each in (rounds, answers[step, REFERENCE]))  # fmt: skip
        share = instructions / wanted - 1
        # The least: once a second somebody's hello counts the sessions as well.
        figures, others = ({name: min(one[name] for one in each) for name in SAME}
                           for each in (rounds, answers[step, REFERENCE]))  # fmt: skip
        is_same = abs(share) <= TOLERANCE and figures == others
        print(f"{step:6} {person:9} {instructions:9.0f} instructions {share:+.2%} "
              + " ".join(f"{name} {value}" for name, value in figures.items()))  # fmt: skip
        if is_same == (person == CONTROL):
            print("  the control was not reported" if is_same else "  is not like the others")
            bad += 1
        if figures["statements"] == 0 or (step == "hello" and figures["token"] != 1):
            print("  calls were not seen")
            bad += 1
    return bad


def main():
    build()
    with tempfile.TemporaryDirectory(prefix="sealwright-work-") as folder:
        answers = measure(pathlib.Path(folder))
    if len(answers) != 2 * PERSONS or any("instructions" not in one for rounds in answers.values() for one in rounds):
        sys.exit(f"some dumps are missing: {sorted(answers)}")
    return 1 if judge(answers) else 0


if __name__ == "__main__":
    sys.exit(main())
