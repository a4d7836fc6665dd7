"""Wheels from extra folders, set out for a build: only the needed ones, each held to its lock."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from dlimg.errors import BadInput
from dlimg.model import Lock, Wheel


def lay_out(lock: Lock, find_links: Sequence[Path], folder: Path) -> str:
    """The folder with the lock's local wheels, or an empty text when it has none.

    Raises `BadInput` when no folder holds a wheel with the lock's sha256.
    """
    local = [wheel for wheel in lock.wheels if wheel.local]
    if not local:
        return ""
    folder.mkdir(parents=True)
    for wheel in local:
        _place(_find(wheel, find_links, lock.name), folder / wheel.file)
    return str(folder)


def _find(wheel: Wheel, find_links: Sequence[Path], where: str) -> Path:
    candidates = [path for path in _paths(wheel, find_links) if path.is_file()]
    for path in candidates:
        if _sha256(path) == wheel.sha256:
            return path
    if candidates:
        raise BadInput(
            f"{candidates[0]} has another sha256 than the lock",
            where=where,
            hint=f"bring back the wheel that was locked, or run `dlimg lock {where}`",
        )
    raise BadInput(
        f"the wheel {wheel.file} is in none of the extra folders",
        where=where,
        hint="name its folder with --find-links, UV_FIND_LINKS or PIP_FIND_LINKS",
    )


def _paths(wheel: Wheel, find_links: Sequence[Path]) -> Iterator[Path]:
    return (folder / wheel.file for folder in find_links)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place(source: Path, target: Path) -> None:
    # A link costs nothing, but works only within one file system and for files of our own.
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
