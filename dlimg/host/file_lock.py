"""Locks on files, by which processes of dlimg wait for each other."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from dlimg.host.flock import EXCLUSIVE, NOW, flock


@contextlib.contextmanager
def file_lock(file: Path, *, doing: str, log: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock between processes, and log `doing` while another process holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("w", encoding="ascii") as lock:
            try:
                flock(lock, EXCLUSIVE | NOW)
            except BlockingIOError:
                log(f"waiting for another dlimg that is {doing}")
                flock(lock, EXCLUSIVE)
            if _is_current(file, lock):
                yield
                return


def _is_current(file: Path, lock: IO[str]) -> bool:
    """Return whether the file is still the opened one; pruning may have removed it."""
    try:
        return file.stat().st_ino == os.fstat(lock.fileno()).st_ino
    except FileNotFoundError:
        return False
