"""The files of an image that its default user can see."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ELSEWHERE = ("proc", "sys", "dev")


class Seen(NamedTuple):
    """The entries below a folder, and the subfolders that this user may not read."""

    entries: list[os.DirEntry[str]]
    closed: list[str]


def tree(top: Path) -> Seen:
    """Return everything below a folder, without other file systems, /proc, /sys and /dev."""
    seen = Seen([], [])
    disk = top.stat().st_dev
    waiting = [str(top)]
    skipped = {str(top / name) for name in ELSEWHERE}
    while waiting:
        folder = waiting.pop()
        for entry in _entries(folder, seen):
            seen.entries.append(entry)
            # Only folders tell their disk: on an overlay a file's may be that of a layer.
            if entry.is_dir(follow_symlinks=False) and entry.path not in skipped:
                waiting += [entry.path] if status(entry).st_dev == disk else []
    return seen


def _entries(folder: str, seen: Seen) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except PermissionError:
        seen.closed.append(folder)
    except FileNotFoundError:
        return  # another process of this container has taken it away


def status(entry: os.DirEntry[str]) -> os.stat_result:
    """Return the status of the path itself; links are not followed."""
    try:
        return entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return os.stat_result((0,) * 10)


def is_file(entry: os.DirEntry[str]) -> bool:
    return entry.is_file(follow_symlinks=False)


def is_open(entry: os.DirEntry[str]) -> bool:
    """Return whether any user may write here; folders with the sticky bit do not count."""
    mode = status(entry).st_mode
    is_shared = stat.S_ISDIR(mode) and mode & stat.S_ISVTX
    return bool(mode & stat.S_IWOTH) and not stat.S_ISLNK(mode) and not is_shared


def some(paths: list[str]) -> str:
    """Return the first few of many paths."""
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(sorted(paths)[:3]) + more
