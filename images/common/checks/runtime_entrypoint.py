"""The entry point executes the command: arguments, input, exit codes and signals reach it.

The image's config in the engine is exactly that of layout, lock and matrix: variables, labels and
other settings. Users with another home, or none, get one that they can write to.

needs: image
seconds: 60
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain, islice
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import _user
import _verdict

ENTRY = ("/usr/bin/tini", "-s", "--", "dlimg-entrypoint")
# How the image starts a command, as the engine tells it (DLIMG_START).
START = {"Entrypoint": list(ENTRY), "WorkingDir": "/code"}
# Clusters refuse a name where they are to run no container as root: it could be any number.
NUMBERS = re.compile(r"[1-9][0-9]*:[0-9]+")
PATIENCE = 5  # seconds until a command is taken as stuck
# (command, what it reads, what it prints, how it ends)
CASES = (
    (("sh", "-c", "exit 7"), "", "", 7),
    (("true",), "", "", 0),
    (("no-such-command-anywhere",), "", "", 127),
    (("sh", "-c", "kill -KILL $$"), "", "", 137),
    (("printf", "%s|", "a b", "", "$HOME", "*", "-s"), "", "a b||$HOME|*|-s|", 0),
    (("cat",), "typed\n", "typed\n", 0),
    (("sh", "-c", "cat /proc/$PPID/comm"), "", "tini\n", 0),
)
# It ends by itself, so that one that cannot be told to does not stay.
HOLD = "trap 'echo got {0}; exit 42' {0}; echo ready; for i in $(seq 400); do sleep 0.02; done"
SHOW_HOME = 'touch "$HOME/.dlimg-check" && rm "$HOME/.dlimg-check" && printf %s "$HOME"'


def read_configs() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the image's config as the engine has it, and the expected one (DLIMG_START)."""
    try:
        start = json.loads(os.environ.get("DLIMG_START") or "{}")
        return dict(start.get("actual") or {}), dict(start.get("expected") or {})
    except (ValueError, TypeError, AttributeError) as error:
        return _verdict.fail(f"DLIMG_START is no JSON object of two: {error}")


def started() -> Iterator[str]:
    """Yield differences between the expected config and the image's."""
    actual, expected = read_configs()
    for name, wanted in START.items():
        if actual.get(name) != wanted:
            yield f"the image's {name} is {actual.get(name) or 'not set'}, not {wanted}"
    if not NUMBERS.fullmatch(str(actual.get("User"))):
        yield f"the image's User is {actual.get('User') or 'not set'}, not two numbers"
    if not expected:
        yield "DLIMG_START has no config that the image is compared with"
    yield from differences(actual, expected)


def differences(actual: Mapping[str, Any], expected: Mapping[str, Any]) -> Iterator[str]:
    """Yield where two configs differ; actual values are not printed, they may be secrets."""
    for name in sorted({*actual, *expected} - {"Env", "Labels"}):
        if actual.get(name) != expected.get(name):
            yield f"the image's {name} is not as expected: {expected.get(name) or 'not set'}"
    for group, kind in (("Env", "variable"), ("Labels", "label")):
        real, wanted = dict(actual.get(group) or {}), dict(expected.get(group) or {})
        for name in sorted({*real, *wanted}):
            if name not in wanted:
                yield f"the image has the {kind} {name}, which neither layout nor matrix states"
            elif name not in real:
                yield f"the image lacks the {kind} {name}, expected: {wanted[name]}"
            elif real[name] != wanted[name]:
                yield f"the image's {kind} {name} is not as expected: {wanted[name]}"


def call(command: tuple[str, ...], typed: str = "", **variables: str) -> tuple[str, str, int]:
    """Run a command behind the entry point; return its stdout, stderr and exit code."""
    try:
        done = subprocess.run(
            [*ENTRY, *command],
            input=typed,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={**_user.given(), "DLIMG_QUIET": "1", **variables},
        )
    except subprocess.TimeoutExpired:
        return "", f"it does not end within {PATIENCE} s", -1
    except OSError as error:
        return "", f"it does not run: {error}", -1
    return done.stdout, done.stderr.strip(), done.returncode


def commands() -> Iterator[str]:
    """Yield commands that the entry point changes in output or exit code."""
    for command, typed, wanted, code in CASES:
        printed, complaint, ended = call(command, typed)
        if (printed, ended) != (wanted, code):
            yield (
                f"`{' '.join(command)}` prints {printed!r} and ends with {ended}, "
                f"not {wanted!r} and {code}: {complaint!r}"
            )
        elif code == 0 and complaint:
            yield f"`{' '.join(command)}` is not quiet: {complaint!r}"


def signals() -> Iterator[str]:
    """Yield signals that do not reach the command, or whose exit code is lost."""
    for name in ("TERM", "INT", "HUP", "USR1"):
        number = signal.Signals[f"SIG{name}"]
        result = _signalled(("sh", "-c", HOLD.format(name)), number)
        if result != (f"got {name}\n", 42):
            yield f"SIG{name} does not reach the command: {result}"
    result = _signalled(("sh", "-c", "echo ready; exec sleep 10"), signal.SIGTERM)
    if result != ("", 128 + signal.SIGTERM):
        yield f"a command that SIGTERM ends does not end as such: {result}"


def _signalled(command: tuple[str, ...], number: signal.Signals) -> tuple[str, int]:
    """Send a signal to the entry point; return the command's stdout and exit code."""
    try:
        process = subprocess.Popen(
            [*ENTRY, *command],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError as error:
        return f"it does not run: {error}", -1
    with process:
        try:
            if process.stdout:
                process.stdout.readline()  # the command has started
            process.send_signal(number)
            printed, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"it does not end within {PATIENCE} s", -1
    return printed, process.returncode


def homes() -> Iterator[str]:
    """Yield values of HOME with which a command gets another home than expected."""
    own = _tag.cell().get("home", "")
    if not os.access(own, os.W_OK):
        own = f"/tmp/home-{os.geteuid()}"  # noqa: S108  # where the entry point makes one
    with tempfile.TemporaryDirectory() as folder:
        cases = ((folder, folder), ("/", own), ("", own), ("/root", own), ("/nowhere", own))
        for given, wanted in cases:
            printed, complaint, code = call(("sh", "-c", SHOW_HOME), HOME=given)
            if (printed, code) != (wanted, 0):
                yield (f"with HOME={given} the home is {printed!r}, not {wanted!r}: {complaint!r}")


def main() -> None:
    if not _tag.cell():
        _verdict.not_run("DLIMG_CELL is not set: this is no image")
    actual, _ = read_configs()
    _verdict.show(variables=len(actual.get("Env") or {}), labels=len(actual.get("Labels") or {}))
    # Of commands only the first: where one hangs, the others do, too, and each takes its time.
    faults = list(started()) or list(islice(chain(commands(), signals(), homes()), 1))
    _verdict.demand(not faults, "; ".join(faults))


if __name__ == "__main__":
    main()
