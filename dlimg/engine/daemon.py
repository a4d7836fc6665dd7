"""Processes that are not our children: a daemon known by its process id.

A process id comes in; whether it lives, what it was started as, or its end comes out.
"""

import contextlib
import os
import signal
from pathlib import Path

from dlimg.engine.process import GRACE, wait_until


def alive(pid: int) -> bool:
    """Whether the process runs; a zombie does not."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] not in {"Z", "X"}


def command_line(pid: int) -> tuple[str, ...]:
    """The argument list of a running process; nothing when there is none."""
    try:
        text = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ()
    return tuple(text.rstrip("\0").split("\0")) if text else ()


def end(pid: int, *, patience: float) -> None:
    """End a process that is not our child: ask, wait this many seconds, then insist."""
    for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, GRACE)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
        if wait_until(lambda: not alive(pid), seconds):
            return


def mounts_under(folder: Path) -> tuple[Path, ...]:
    """Every mount point below the folder, innermost first."""
    text = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    # The fifth field, with blanks and the like as octal numbers (man 5 proc).
    points = (line.split()[4] for line in text.splitlines())
    named = (Path(point.encode().decode("unicode_escape")) for point in points)
    return tuple(sorted((p for p in named if folder in p.parents), reverse=True))
