"""Locked wheels in a user's extra folders, each held to its lock's sha256."""

import contextlib
import hashlib
import shutil
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from dlimg.errors import BadInput
from dlimg.model import Lock, Wheel


def find_local_wheel(folders: Sequence[Path], wheel: Wheel, *, where: str = "") -> Path | None:
    """The wheel in the first of these folders that has it; None where an index has it, too.

    Raises BadInput, with `where`, for a local wheel that is not there or not the locked one.
    """
    found = [path for folder in folders if (path := folder / wheel.file).is_file()]
    right = next((path for path in found if is_locked_wheel(path, wheel)), None)
    if right or not wheel.local:
        return right
    if found:
        raise BadInput(
            f"{found[0]} has another sha256 than the lock",
            where=where,
            hint=f"bring back the wheel that was locked, or run `{f'dlimg lock {where}'.strip()}`",
        )
    raise BadInput(
        f"the wheel {wheel.file} is in none of the extra folders",
        where=where,
        hint="name its folder with --find-links, UV_FIND_LINKS or PIP_FIND_LINKS",
    )


def is_locked_wheel(path: Path, wheel: Wheel) -> bool:
    """Whether the file is the wheel that was locked, by its sha256."""
    return file_sha256(path) == wheel.sha256


def file_sha256(path: Path) -> str:
    """Of the file's bytes, which are read once while the file system tells of no change."""
    status = path.stat()
    return _sha256(path, status.st_size, status.st_mtime_ns, status.st_ino)


@lru_cache(maxsize=4096)
def _sha256(path: Path, _size: int, _changed: int, _number: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place_local_wheels(lock: Lock, find_links: Sequence[Path], folder: Path) -> str:
    """The folder with the lock's local wheels, or an empty text when it has none.

    Raises `BadInput` when no folder holds a wheel with the lock's sha256.
    """
    local = [wheel for wheel in lock.wheels if wheel.local]
    if not local:
        return ""
    folder.mkdir(parents=True)
    for wheel in local:
        found = find_local_wheel(find_links, wheel, where=lock.name)
        if found is not None:
            _place(found, folder / wheel.file)
    return str(folder)


def _place(source: Path, target: Path) -> None:
    # A link costs nothing, but works only within one file system and for files of our own.
    with contextlib.suppress(OSError):
        target.hardlink_to(source)
        return
    shutil.copyfile(source, target)
