"""Folders for secrets: in memory where possible, and removed even if their process is killed.

A process holds a lock on its folder. The kernel releases it when the process ends, so a folder
that can be locked has no owner any more.
"""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from dlimg.host.flock import EXCLUSIVE, NOW, flock

PREFIX: Final = "dlimg-secrets-"
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - other users cannot read the folders in it
# Containers often have only 64 MB of it; a build has at most five secrets of 0.5 MB.
_NEEDED_BYTES: Final = 8 * 2**20


@contextlib.contextmanager
def secret_folder(memory: Path = MEMORY) -> Iterator[Path]:
    """Yield a new folder that only this user can read, and remove it afterwards.

    First removes the folders that killed processes of this user left.
    """
    disk = Path(tempfile.gettempdir())
    for parent in dict.fromkeys((memory, disk)):
        _remove_abandoned(parent)
    folder, lock = _locked_folder(memory if _is_usable(memory) else disk)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _is_usable(memory: Path) -> bool:
    try:
        return os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > _NEEDED_BYTES
    except OSError:
        return False


def _locked_folder(parent: Path) -> tuple[Path, int]:
    """Return a new folder and its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
        # Until the lock is taken, another process may take the folder for an abandoned one.
        with contextlib.suppress(FileNotFoundError):
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            flock(lock, EXCLUSIVE)
            if folder.is_dir():
                return folder, lock
            os.close(lock)


def _remove_abandoned(parent: Path) -> None:
    """Remove this user's folders in which no process holds the lock."""
    for folder in parent.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
        return
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        flock(lock, EXCLUSIVE | NOW)
        shutil.rmtree(folder)
    finally:
        os.close(lock)
