"""The entry point becomes the command: words, input, exit codes and signals reach it.

The image's config, as the engine tells it, is what layout, lock and matrix come to: the same
variables, labels and other settings, and nothing besides. Users with another home, or none, get
one that they can write to.

needs: image
seconds: 60
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path

sys.path.append(str(Path(__file__).parent / "../../common/checks"))
import _tag
import _user
import _verdict

ENTRY = ("/usr/bin/tini", "-s", "--", "dlimg-entrypoint")
# How the image starts a command, as the engine tells it (DLIMG_START).
START = {"Entrypoint": list(ENTRY), "WorkingDir": "/code", "User": "user"}
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


def told() -> tuple[dict[str, object], dict[str, object]]:
    """The image's config by the engine's word, and as it is to be."""
    try:
        start = json.loads(os.environ.get("DLIMG_START") or "{}")
        return dict(start.get("actual") or {}), dict(start.get("expected") or {})
    except (ValueError, TypeError, AttributeError) as error:
        return _verdict.fail(f"DLIMG_START is no JSON object of two: {error}")


def started() -> Iterator[str]:
    """Where the image starts a command otherwise than these checks do, or than it is to."""
    found, said = told()
    for name, wanted in START.items():
        if found.get(name) != wanted:
            yield f"the image's {name} is {found.get(name) or 'not set'}, not {wanted}"
    if not said:
        yield "DLIMG_START does not say how the image is to be started"
    yield from differences(found, said)


def differences(found: Mapping[str, object], said: Mapping[str, object]) -> Iterator[str]:
    """Where the engine says something else of the image than is to be.

    What is there is not repeated: somebody may have put a secret there.
    """
    for name in sorted({*found, *said} - {"Env", "Labels"}):
        if found.get(name) != said.get(name):
            yield f"the image's {name} is not what it is to be: {said.get(name) or 'not set'}"
    for group, what in (("Env", "variable"), ("Labels", "label")):
        real, wanted = dict(found.get(group) or {}), dict(said.get(group) or {})
        for name in sorted({*real, *wanted}):
            if name not in wanted:
                yield f"the image has the {what} {name}, which neither layout nor matrix states"
            elif name not in real:
                yield f"the image lacks the {what} {name}, which is to be {wanted[name]}"
            elif real[name] != wanted[name]:
                yield f"the image's {what} {name} is not what it is to be: {wanted[name]}"


def call(words: tuple[str, ...], typed: str = "", **variables: str) -> tuple[str, str, int]:
    """What a command prints, what it complains of, and how it ends, behind the entry point."""
    try:
        done = subprocess.run(
            [*ENTRY, *words],
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
    """What becomes otherwise of a command than without the entry point."""
    for words, typed, wanted, code in CASES:
        printed, complaint, found = call(words, typed)
        if (printed, found) != (wanted, code):
            yield (
                f"`{' '.join(words)}` prints {printed!r} and ends with {found}, "
                f"not {wanted!r} and {code}: {complaint!r}"
            )
        elif code == 0 and complaint:
            yield f"`{' '.join(words)}` is not quiet: {complaint!r}"


def signals() -> Iterator[str]:
    """Signals that do not reach the command, or an end that does not come back."""
    for name in ("TERM", "INT", "HUP", "USR1"):
        number = signal.Signals[f"SIG{name}"]
        found = _signalled(("sh", "-c", HOLD.format(name)), number)
        if found != (f"got {name}\n", 42):
            yield f"SIG{name} does not reach the command: {found}"
    found = _signalled(("sh", "-c", "echo ready; exec sleep 10"), signal.SIGTERM)
    if found != ("", 128 + signal.SIGTERM):
        yield f"a command that SIGTERM ends does not end as such: {found}"


def _signalled(words: tuple[str, ...], number: signal.Signals) -> tuple[str, int]:
    """What a command prints after a signal to the entry point, and how it ends."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    try:
        process = subprocess.Popen([*ENTRY, *words], start_new_session=True, **options)
    except OSError as error:
        return f"it does not run: {error}", -1
    with process:
        try:
            # Until it says so, the command is not there to be told anything.
            process.stdout.readline()
            process.send_signal(number)
            printed, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return f"it does not end within {PATIENCE} s", -1
    return printed, process.returncode


def homes() -> Iterator[str]:
    """Homes that a command does not get as it should."""
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
    found, _ = told()
    _verdict.show(variables=len(found.get("Env") or {}), labels=len(found.get("Labels") or {}))
    # Only the first: where one command is stuck, others are, and each takes its time.
    lie = next(chain(started(), commands(), signals(), homes()), "")
    _verdict.demand(not lie, lie)


if __name__ == "__main__":
    main()
