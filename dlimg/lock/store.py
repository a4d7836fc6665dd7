"""The folder of locks: paths, reading and writing."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.errors import BadInput
from dlimg.lock.lockfile import bases_text, lock_text, parse_bases, parse_lock
from dlimg.model import Lock

STACKS: Final = "stacks"
LOCAL: Final = "local"
BASES: Final = "bases.json"
BASES_HINT: Final = "`dlimg lock --bases` writes a new file"


def cell_path(folder: Path, cell: str) -> Path:
    return folder / f"{cell}.json"


def local_path(folder: Path, cell: str) -> Path:
    """Return the path of a cell's lock with local wheels; git ignores it."""
    return folder / LOCAL / f"{cell}.json"


def stack_path(folder: Path, stack: str) -> Path:
    return folder / STACKS / f"{stack}.json"


def read_lock(cell: str, folder: Path) -> Lock | None:
    """Return the lock of a cell, the local one first, or None.

    Raises BadInput for a file that is not a lock, or another cell's.
    """
    return _read(local_path(folder, cell), cell) or _read(cell_path(folder, cell), cell)


def read_stack_lock(stack: str, folder: Path) -> Lock | None:
    """Return the lock of a stack by the lock's name, or None. Raises BadInput as `read_lock`."""
    return _read(stack_path(folder, stack), stack)


def read_bases(folder: Path) -> Mapping[str, str]:
    """Return the pinned registry digest of each operating system.

    Raises BadInput for a file that `dlimg lock --bases` did not write.
    """
    path = folder / BASES
    try:
        return parse_bases(path.read_text(encoding="utf-8"), source=str(path))
    except FileNotFoundError:
        return {}
    except BadInput as error:
        where, message = error.problems[0].where, error.problems[0].message
        raise BadInput(message, where=where, hint=BASES_HINT) from error
    except (OSError, ValueError) as error:
        message = f"cannot read the pins: {error}"
        raise BadInput(message, where=str(path), hint=BASES_HINT) from error


def write_lock(lock: Lock, path: Path) -> None:
    """Write the lock atomically; raises BadInput if that fails."""
    _write(path, lock_text(lock))


def write_bases(digests: Mapping[str, str], folder: Path) -> None:
    """Write the digests atomically; raises BadInput if that fails."""
    _write(folder / BASES, bases_text(digests))


def lock_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield every lock file with the kind of its owner, `cell` or `stack`."""
    for parent, kind in ((folder, "cell"), (folder / LOCAL, "cell"), (folder / STACKS, "stack")):
        for path in sorted(parent.glob("*.json")):
            if path != folder / BASES:
                yield path, kind


# A command reads the same locks several times; the key is the file's text.
_parsed = lru_cache(maxsize=256)(parse_lock)


def _read(path: Path, name: str) -> Lock | None:
    try:
        lock = _parsed(path.read_text(encoding="utf-8"), source=str(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"cannot read the lock: {error}", where=str(path)) from error
    if lock.name != name:
        raise BadInput(
            f"this is the lock of {lock.name}",
            where=str(path),
            hint=f"run `dlimg lock {name}`",
        )
    return lock


def _write(path: Path, text: str) -> None:
    try:
        atomic_write(path, text)
    except OSError as error:
        raise BadInput(
            f"cannot write the lock: {error.strerror or error}",
            where=str(path),
            hint="make the folder writable, or name another checkout",
        ) from error
