"""Which process a container belongs to, so that no other dlimg removes it while that one lives.

An engine may serve several machines and process namespaces: a process that cannot be seen from
here is not taken for a dead one.
"""

import os
from pathlib import Path
from typing import Final, Literal

OWNER_LABEL: Final = "io.dlimg.owner"
State = Literal["alive", "gone", "out of sight"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_START_TIME: Final = 19  # of the fields that follow the command's name in /proc/PID/stat


def owner(pid: int | None = None) -> str:
    """The label of what this process, or another one of this machine, has made."""
    number = os.getpid() if pid is None else pid
    return f"{_place()}:{number}:{_started(number)}"


def state_of(label: str) -> State:
    """Whether the process with this label still runs; one without a label is of an old dlimg."""
    if not label:
        return "gone"
    place, _, process = label.rpartition(":")[0].rpartition(":")
    if place != _place() or not process.isdecimal():
        return "out of sight"
    return "alive" if label == owner(int(process)) else "gone"


def _place() -> str:
    """The process namespace, on a machine from one start to the next."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()}:{namespace}"
    except OSError:
        return os.uname().nodename


def _started(pid: int) -> str:
    """When the process began, as the kernel counts; empty where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return text.rpartition(")")[2].split()[_START_TIME]
