#!/usr/bin/python3
"""Holds the completion and the manual against what the command says of itself: every
verb, action and option of --help is in both, and nothing else is."""

import pathlib
import re
import subprocess
import sys

COMMAND, ROOT = sys.argv[1], pathlib.Path(sys.argv[2])
COMPLETION = ROOT / "deploy/completion/sealwright"
MANUAL = ROOT / "docs/man/sealwright.1"
BRINGS = {"limit", "dry-run"}  # explained once in the manual, for all actions
wrong = []


def check(holds, message):
    if not holds:
        wrong.append(message)


def run(*words):
    done = subprocess.run([COMMAND, *words], capture_output=True, text=True, timeout=60)
    check(done.returncode == 0, f"{' '.join(words)}: exit status {done.returncode}")
    check(not done.stderr, f"{' '.join(words)}: {done.stderr}")
    return done.stdout


def verbs():
    """Local and online verbs; a local one may be VERB ACTION ("issuer rollover: ...")."""
    text = run("--help")
    local, online = [], []
    kind = None
    for line in text.splitlines():
        if line.endswith(":"):
            kind = {"On this machine:": local, "Over the API of a running daemon:": online}.get(line)
        match = re.match(r"  (\S+) +(.*)$", line)
        if kind is None or not match:
            continue
        name, summary = match.groups()
        action = re.match(rf"{re.escape(name)} (\S+):", summary)
        kind.append((name, action.group(1)) if action else (name, None))
    return local, online


def local_options(text):
    return set(re.findall(r"^  --([a-z0-9-]+)", text, re.M))


def online_actions(verb):
    """{action: {option}} of --help; one action alone has the name None."""
    text = run(verb, "--help")
    check("\nExamples:\n  " in text, f"{verb} --help has no example")
    check(max(map(len, text.splitlines())) <= 100, f"{verb} --help has lines over 100")
    actions, current = {}, None
    for line in text.splitlines():
        if line.startswith("The options of"):
            break
        match = re.match(rf"  {re.escape(verb)}(?: ([a-z-]+))?(?: .*)?$", line)
        if match:
            current = actions.setdefault(match.group(1), set())
        option = re.match(r"      --([a-z0-9-]+)", line)
        if option:
            current.add(option.group(1))
    check(actions, f"{verb} --help lists no action")
    for action in actions:
        if action:
            own = run(verb, action, "--help")
            check(f"  {verb} {action}" in own, f"{verb} {action} --help says nothing of it")
    return actions


def completed(*words):
    """What bash offers behind these words, the last of them unfinished."""
    script = 'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _sealwright; ' \
             'printf "%s\\n" "${COMPREPLY[@]}"'
    done = subprocess.run(["bash", "-uc", script, "bash", COMPLETION, "sealwright", *words],
                          capture_output=True, text=True, timeout=60)
    check(done.returncode == 0 and not done.stderr, f"completion of {words}: {done.stderr}")
    return set(done.stdout.split())


def manual_actions():
    """{(verb, action)} and {(verb, action): {option}} of the manual."""
    options, current, heading = {}, None, None
    for line in MANUAL.read_text().splitlines():
        if line.startswith(".Ss "):
            heading = line[4:]
            current = options.setdefault((heading, None), set())
        item = re.match(r"\.It Cm ([a-z-]+)(?: ([a-z-]+))?(?: |$)", line)
        if item:
            current = options.setdefault((item.group(1), item.group(2)), set())
        elif line.startswith(".Sh "):
            current = None
        if current is not None:
            current.update(re.findall(r"Fl -([a-z0-9-]+)", line))
    return options


def main():
    shared = local_options(run("--help")) - {"version"}
    local, online = verbs()
    check(local and online, "--help lists no verbs")
    named = {name for name, _ in local + online}
    check(completed("") == named | {"help"}, f"completion of verbs: {completed('') ^ named}")
    manual = manual_actions()
    seen = set()

    def hold(verb, action, options):
        words = [verb] + ([action] if action else [])
        offered = {word[2:] for word in completed(*words, "--")}
        check(offered == options | shared,
              f"completion of {' '.join(words)}: {sorted(offered ^ (options | shared))}")
        told = manual.get((verb, action))
        check(told is not None, f"the manual has no {' '.join(words)}")
        check(told is None or told - BRINGS == options - BRINGS,
              f"the manual's {' '.join(words)}: {sorted((told or set()) ^ options)}")
        seen.add((verb, action))

    for verb, action in local:
        hold(verb, action, local_options(run(*([verb] + ([action] if action else [])), "--help")))
    for verb, _ in online:
        actions = online_actions(verb)
        offered = {word for word in completed(verb, "")}
        also = {action for name, action in local if name == verb}
        check(offered == {a for a in actions if a} | also,
              f"completion of {verb}: {sorted(offered ^ set(filter(None, actions)))}")
        check((verb, None) in manual, f"the manual has no section {verb}")
        seen.add((verb, None))
        for action, options in actions.items():
            hold(verb, action, options)
    check(not set(manual) - seen, f"only the manual has {sorted(map(str, set(manual) - seen))}")

    check("active" in completed("--data", "/tmp", "device", "list", "--state", ""),
          "states are not completed behind shared options")
    check(completed("cert", "revoke", "00", "--reason", "key_") == {"key_compromise"},
          "reasons are not completed")
    lint = subprocess.run(["mandoc", "-Tlint", "-W", "warning", MANUAL],
                          capture_output=True, text=True, timeout=60)
    check(lint.returncode == 0, f"mandoc: {lint.stdout}")

    print("\n".join(wrong) if wrong else f"{len(seen)} verbs and actions")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
