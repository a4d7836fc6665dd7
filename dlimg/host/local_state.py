"""Where dlimg keeps things of a user's: an environment comes in, a folder goes out.

The XDG specification names the variables and says that a relative path is to be ignored.
"""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO


def state_folder(environment: Mapping[str, str]) -> Path:
    """What was seen and made: `$XDG_STATE_HOME/dlimg`, by default under `~/.local/state`."""
    return _folder(environment, "XDG_STATE_HOME", ".local/state")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """What can be fetched again: `$XDG_CACHE_HOME/dlimg`, by default under `~/.cache`."""
    return _folder(environment, "XDG_CACHE_HOME", ".cache")


def _folder(environment: Mapping[str, str], name: str, default: str) -> Path:
    named = environment.get(name, "")
    if not named.startswith("/"):
        named = f"{environment.get('HOME') or Path.home()}/{default}"
    return Path(named) / "dlimg"


@contextlib.contextmanager
def file_lock(file: Path, *, doing: str, log: Callable[[str], None]) -> Iterator[None]:
    """Inside, no other process is `doing` this; says so when it has to wait for one."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log(f"waiting for another dlimg that is {doing}")
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
