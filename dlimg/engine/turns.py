"""One dlimg at a time, where two would do the same work or spoil each other's.

The file that stands for the work comes in; inside the block nobody else is at it. The lock
goes away with the process that holds it, however that ends.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO


@contextlib.contextmanager
def alone(file: Path, *, doing: str, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, no other process is `doing` this; says so when it has to wait for one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"waiting for another dlimg that is {doing}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_there(file, lock):
                yield
                return


def _is_there(file: Path, lock: IO[str]) -> bool:
    """Whether the lock is the file's; upkeep may have removed it since it was opened."""
    try:
        return file.stat().st_ino == os.fstat(lock.fileno()).st_ino
    except FileNotFoundError:
        return False
