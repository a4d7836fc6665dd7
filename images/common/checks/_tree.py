"""The paths of an image, with kind, owner, mode and mounts."""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

ELSEWHERE = ("proc", "sys", "dev")  # what the kernel and the engine make up
OURS = "tmp/dlimg"  # the checks themselves
ROOT = "."
MOST_LINKS = 40  # as Linux follows
KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "folder",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
}
# What the host's kernel and disks attach to every file; all else is somebody's doing.
LABELS: tuple[str, ...] = (
    "security.selinux",
    "security.apparmor",
    "security.ima",
    "security.evm",
    "btrfs.",
)
LABELS += ("user.overlay.", "user.fuseoverlayfs.", "user.containers.", "trusted.overlay.")


class Entry(NamedTuple):
    """A path below the root; `attributes` are the names of its extended attributes."""

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    target: str = ""
    attributes: tuple[str, ...] = ()


class Tree(NamedTuple):
    """The entries below a root; `mounted` are the paths of mounts."""

    entries: dict[str, Entry]
    mounted: frozenset[str]


def read(top: Path, mounts: list[str]) -> Tree:
    """Return all entries, folders before their contents; mounts are not entered."""
    mounted = frozenset(point.strip("/") for point in mounts) - {""}
    entries = {ROOT: look(top, ROOT)}
    waiting = [""]
    while waiting:
        folder = waiting.pop()
        for entry in _listed(top, folder):
            entries[entry.path] = entry
            if entry.kind == "folder" and not is_elsewhere(entry.path, mounted):
                waiting.append(entry.path)
    return Tree(entries, mounted)


def is_elsewhere(path: str, mounted: frozenset[str]) -> bool:
    return path in ELSEWHERE or path == OURS or path in mounted


def parents(paths: Iterable[str]) -> set[str]:
    """Return the folders above these paths, which an engine creates for its mounts."""
    return {str(parent) for path in paths for parent in Path(path).parents} - {"."}


def resolved(entries: dict[str, Entry], path: str) -> str:
    """Return the target of a path through all links within the root; itself without a target.

    Links are resolved by hand, because the root may be a folder of another system.
    """
    place, waiting, links = "", path.split("/"), 0
    while waiting:
        step = waiting.pop(0)
        if step == "..":
            place = place.rpartition("/")[0]
        elif step not in ("", "."):
            inner = f"{place}/{step}".lstrip("/")
            entry = entries.get(inner)
            if entry and entry.kind == "link" and links < MOST_LINKS:
                links += 1
                waiting = [*entry.target.split("/"), *waiting]
                place = "" if entry.target.startswith("/") else place
            else:
                place = inner
    return place


def _listed(top: Path, folder: str) -> Iterator[Entry]:
    start = f"{folder}/" if folder else ""
    try:
        names = os.listdir(top / folder)  # noqa: PTH208  # a Path for each takes three times as long
    except FileNotFoundError:
        return  # another process of this container has taken it away
    for name in names:
        path = start + name
        try:
            yield look(top, path)
        except FileNotFoundError:
            continue


def look(top: Path, path: str) -> Entry:
    """Return the entry of this path. Raises FileNotFoundError."""
    place = f"{top}/{path}"
    status = os.lstat(place)
    kind = KINDS.get(stat.S_IFMT(status.st_mode), "unknown")
    target = os.readlink(place) if kind == "link" else ""  # noqa: PTH115  # the same
    names = _attributes(place)
    mode = stat.S_IMODE(status.st_mode)
    return Entry(path, kind, mode, status.st_uid, status.st_gid, status.st_size, target, names)


def _attributes(place: str) -> tuple[str, ...]:
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError:  # a file system that knows none
        return ()
    return tuple(name for name in names if not name.startswith(LABELS))
