"""Locks on GPUs that the containers of one machine share, and the GPU that each run holds."""

import contextlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.engine.client import Engine
from dlimg.engine.gpu import gpu_devices
from dlimg.errors import BadInput
from dlimg.model import LocalMachine
from dlimg.run.model import GpuAccess
from dlimg.run.start_script import QUEUE_LOCK, SHARED_LOCK

# In memory, for all users of the machine, and gone after a restart, as the runs are.
FOLDER: Final = Path("/run/lock/dlimg-gpus")
_HOLDER: Final = "run-"
# On another machine: where a user cannot write to the folder of all, locks are in the home.
_HOME: Final = '"$HOME/.dlimg-gpus"'
_READ_HOLDERS: Final = f"""for file in "$1"/{_HOLDER}* {_HOME}/{_HOLDER}*; do
    [ ! -r "$file" ] || echo "${{file##*/{_HOLDER}}} $(cat "$file")"
done
"""
_FORGET: Final = f'rm -f "$1/{_HOLDER}$2" {_HOME}/"{_HOLDER}$2" 2>/dev/null || true\n'
_SHORT_ID: Final = 12


def gpu_numbers(
    access: GpuAccess, machine: LocalMachine | None, engine: Engine
) -> tuple[tuple[str, int], ...]:
    """Return the GPUs of a container: for each the name of its lock, and its number inside.

    A container with a single GPU of the machine calls that number 0.
    """
    if not access:
        return ()
    if len(access.devices) == 1 and not access.devices[0].endswith("=all"):
        return ((re.sub(r"[^\w.-]", "-", access.devices[0].rpartition("=")[2]), 0),)
    count = len(machine.gpus) if machine else 0
    if not count:
        kind = re.escape(
            access.devices[0].partition("=")[0] if access.devices else "nvidia.com/gpu"
        )
        count = sum(1 for name in gpu_devices(engine) if re.fullmatch(rf"{kind}=\d+", name)) or 1
    return tuple((str(number), number) for number in range(count))


def lock_files(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the files that a run opens for GPUs with these locks."""
    return (QUEUE_LOCK, SHARED_LOCK, *(f"gpu-{name}.lock" for name in names))


def lock_folder(names: Iterable[str], context: Context, folder: Path = FOLDER) -> Path:
    """Return the folder with a file for each lock, which all users may read."""
    names = tuple(names)
    for candidate in (folder, context.state / "gpus"):
        with contextlib.suppress(OSError):
            candidate.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(PermissionError):
                candidate.chmod(0o1777)
            for file in lock_files(names):
                (candidate / file).touch(mode=0o644)
            return candidate
    raise BadInput(f"there is no folder for locks on GPUs: {folder} cannot be written to")


def holders(engine: Engine, context: Context) -> Mapping[str, str]:
    """Return the GPU of each container that took one from the queue, by its short id."""
    if engine.ssh:
        text = engine.ssh.script(_READ_HOLDERS, FOLDER.as_posix()).stdout
        rows = (line.partition(" ") for line in text.splitlines())
        return {container: gpu.strip() for container, _, gpu in rows}
    return holders_in((FOLDER, context.state / "gpus"))


def holders_in(folders: Iterable[Path]) -> Mapping[str, str]:
    """Return the GPU of each container with a note in these folders of this machine."""
    gpus = {}
    for file in (file for folder in folders for file in folder.glob(f"{_HOLDER}*")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            gpus[file.name.removeprefix(_HOLDER)] = file.read_text(encoding="ascii").strip()
    return gpus


def forget_holder(container: str, engine: Engine, context: Context) -> None:
    """Remove the note of a container that is gone; another user's stays until a restart."""
    short = container[:_SHORT_ID]
    if engine.ssh:
        engine.ssh.script(_FORGET, FOLDER.as_posix(), short)
        return
    for folder in (FOLDER, context.state / "gpus"):
        with contextlib.suppress(OSError):
            (folder / f"{_HOLDER}{short}").unlink()


def held_gpu(container: str, gpus: Mapping[str, str]) -> str:
    return gpus.get(container[:_SHORT_ID], "")
