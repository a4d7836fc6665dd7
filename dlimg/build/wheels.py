"""Wheels from extra folders, set out for a build: only the needed ones, each held to its lock."""

import contextlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from dlimg.lock.folders import wheel_in
from dlimg.model import Lock


def lay_out(lock: Lock, find_links: Sequence[Path], folder: Path) -> str:
    """The folder with the lock's local wheels, or an empty text when it has none.

    Raises `BadInput` when no folder holds a wheel with the lock's sha256.
    """
    local = [wheel for wheel in lock.wheels if wheel.local]
    if not local:
        return ""
    folder.mkdir(parents=True)
    for wheel in local:
        found = wheel_in(find_links, wheel, where=lock.name)
        if found is not None:
            _place(found, folder / wheel.file)
    return str(folder)


def _place(source: Path, target: Path) -> None:
    # A link costs nothing, but works only within one file system and for files of our own.
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copyfile(source, target)
