"""Ownership: the images and containers of an engine that dlimg made.

Labels do not prove it for images, because an image built on another inherits its labels. So each
built image leaves an empty file whose name is the whole record: content key and digest.

A container has the process that made it in a label, so that no other dlimg removes it while that
process runs. An engine may serve several hosts and PID namespaces: a process that cannot be seen
from here does not count as ended.
"""

import contextlib
import os
from pathlib import Path
from typing import Final, Literal

from dlimg.context import Context

OWNER_LABEL: Final = "io.dlimg.owner"
OwnerState = Literal["alive", "gone", "out of sight"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_START_TIME: Final = 19  # of the fields that follow the command's name in /proc/PID/stat


def record_build(context: Context, key: str, digest: str) -> None:
    """Record that an image with this digest was built from this content key."""
    record = _record(context, key, digest)
    # Without a record the image is built again, mostly from the build cache; nothing is lost.
    with contextlib.suppress(OSError):
        record.parent.mkdir(parents=True, exist_ok=True)
        record.touch()


def was_built_here(context: Context, key: str, digest: str) -> bool:
    """Return whether a build on this machine recorded the image under this content key."""
    try:
        return _record(context, key, digest).is_file()
    except OSError:
        return False


def _record(context: Context, key: str, digest: str) -> Path:
    name = f"{key.removeprefix('sha256:')}-{digest.removeprefix('sha256:')}"
    return context.state / "built" / name


def owner_label(pid: int | None = None) -> str:
    """Return the owner label of this process, or of another one in this PID namespace."""
    number = os.getpid() if pid is None else pid
    return f"{_pid_namespace()}:{number}:{_start_time(number)}"


def owner_state(label: str) -> OwnerState:
    """Return whether the process with this label still runs.

    Containers of early releases have no label; their owner counts as gone.
    """
    if not label:
        return "gone"
    namespace, _, pid = label.rpartition(":")[0].rpartition(":")
    if namespace != _pid_namespace() or not pid.isdecimal():
        return "out of sight"
    return "alive" if label == owner_label(int(pid)) else "gone"


def _pid_namespace() -> str:
    """Return a name for this PID namespace that lasts until the host restarts."""
    try:
        namespace = Path("/proc/self/ns/pid").stat().st_ino
        return f"{_BOOT_ID.read_text(encoding='ascii').strip()}:{namespace}"
    except OSError:
        return os.uname().nodename


def _start_time(pid: int) -> str:
    """Return when the process began, in the kernel's clock ticks; empty without a process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[_START_TIME]
