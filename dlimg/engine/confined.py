"""A child that may do anything: it ends in time, its group with it, and its words are bounded.

A container does that for the checks in it; this is for a machine without an engine. It bounds
neither memory nor network, and a child that leaves its process group gets away.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from dlimg.engine.process import MISSING, Child, end_group, open_child, signal_group, wait_until

MOST_OUTPUT: Final = 1_000_000
_PATIENCE: Final = 2.0  # seconds for the last words of a group that is gone
_SIGNAL: Final = 128  # what a shell adds to the number of the signal that ended a command


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a child ended: `code` is 127 when it did not start, 128 + N when signal N ended it."""

    code: int
    stdout: str
    stderr: str
    seconds: float
    is_late: bool = False


def confined(argv: Sequence[str], *, env: Mapping[str, str], cwd: Path, seconds: float) -> Ended:
    """What became of the command; whatever happens, nothing of its group is left."""
    began = time.monotonic()
    try:
        child = open_child(argv, env=env, cwd=cwd, stdin=None)
    except OSError as error:
        return Ended(code=MISSING, stdout="", stderr=str(error), seconds=0.0)
    words = _Words(child)
    try:
        is_late = not wait_until(lambda: child.poll() is not None, seconds)
    except BaseException:
        end_group(child)
        raise
    if is_late:
        end_group(child)
    signal_group(child, signal.SIGKILL)
    words.wait()
    code = child.returncode
    return Ended(
        code=_SIGNAL - code if code < 0 else code,
        stdout=words.text("stdout"),
        stderr="\n".join(filter(None, (words.text("stderr"), _signal_text(code, is_late)))),
        seconds=time.monotonic() - began,
        is_late=is_late,
    )


def _signal_text(code: int, is_late: bool) -> str:  # noqa: FBT001 - what ended it was we
    """What a person calls the signal that ended a child by itself."""
    if code >= 0 or is_late:
        return ""
    name = next((one.name for one in signal.Signals if one == -code), f"signal {-code}")
    why = ": this machine may be out of memory" if name == "SIGKILL" else ""
    return f"ended by {name}{why}"


class _Words:
    """The ends of a child's two streams, read while it runs."""

    def __init__(self, child: Child) -> None:
        self._kept = {"stdout": b"", "stderr": b""}
        pipes = {"stdout": child.stdout, "stderr": child.stderr}
        # Daemonic, because one that has left the group may keep a pipe open for ever.
        self._threads = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in pipes.items()
            if pipe is not None
        ]
        for thread in self._threads:
            thread.start()

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(_PATIENCE)

    def text(self, name: str) -> str:
        return self._kept[name].decode(errors="replace")

    def _read(self, name: str, pipe: IO[str]) -> None:
        with contextlib.suppress(OSError, ValueError), pipe:
            while part := os.read(pipe.fileno(), 1 << 16):
                self._kept[name] = (self._kept[name] + part)[-MOST_OUTPUT:]
