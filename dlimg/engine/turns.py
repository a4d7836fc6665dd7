"""One dlimg at a time, where two would do the same work or spoil each other's.

The file that stands for the work comes in; inside the block nobody else is at it. The lock
goes away with the process that holds it, however that ends.
"""

import contextlib
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path


@contextlib.contextmanager
def alone(file: Path, *, doing: str, say: Callable[[str], None]) -> Iterator[None]:
    """Inside, no other process is `doing` this; says so when it has to wait for one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another dlimg that is {doing}")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
