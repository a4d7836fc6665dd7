"""A user's folders for state and cache, by the XDG specification, and file locks in them."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO


def state_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of results: `$XDG_STATE_HOME/dlimg`, by default in `~/.local/state`."""
    return _folder(environment, "XDG_STATE_HOME", ".local/state")


def cache_folder(environment: Mapping[str, str]) -> Path:
    """Return the folder of downloads: `$XDG_CACHE_HOME/dlimg`, by default in `~/.cache`."""
    return _folder(environment, "XDG_CACHE_HOME", ".cache")


def _folder(environment: Mapping[str, str], name: str, default: str) -> Path:
    folder = environment.get(name, "")
    # The specification says to ignore a relative path.
    if not folder.startswith("/"):
        folder = f"{environment.get('HOME') or Path.home()}/{default}"
    return Path(folder) / "dlimg"


@contextlib.contextmanager
def file_lock(file: Path, *, doing: str, log: Callable[[str], None]) -> Iterator[None]:
    """Hold a lock between processes, and log `doing` while another process holds it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("w", encoding="ascii") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                log(f"waiting for another dlimg that is {doing}")
                fcntl.flock(lock, fcntl.LOCK_EX)
            if _is_current(file, lock):
                yield
                return


def _is_current(file: Path, lock: IO[str]) -> bool:
    """Return whether the file is still the opened one; pruning may have removed it."""
    try:
        return file.stat().st_ino == os.fstat(lock.fileno()).st_ino
    except FileNotFoundError:
        return False
