"""Paths of a wheel's members: decoded from a zip archive, and safe to unpack."""

import re
from collections.abc import Iterable
from typing import Final

from dlimg.wheel.errors import invalid_wheel

UTF8: Final = 0x0800
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_DRIVE: Final = re.compile("[A-Za-z]:")
# Files of this prefix delete files of lower layers.
_WHITEOUT: Final = ".wh."
_MAX_NAME: Final = 255
_MAX_PATH: Final = 3072  # the system's 4096, less the path that is put before it


def decode_name(raw: bytes, flags: int, *, file: str) -> str:
    """Return a member's name as text; raises BadInput if readers may disagree about it.

    Without the UTF-8 flag names are in code page 437 by the specification, and in any encoding by
    custom, so only ASCII is accepted.
    """
    try:
        return raw.decode("utf-8" if flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        reason = "is not UTF-8" if flags & UTF8 else "is neither ASCII nor marked as UTF-8"
        raise invalid_wheel(file, f"the name {raw!r} in it {reason}") from None


def safe_path(name: str, *, file: str) -> str:
    """Return the name without a folder's last slash; raises BadInput for an unsafe path."""
    path = name.removesuffix("/")
    reason = _unsafe_reason(path)
    if reason:
        raise invalid_wheel(file, f"the name {name!a} in it {reason}")
    return path


def check_duplicates(files: Iterable[str], folders: Iterable[str], *, file: str) -> None:
    """Raise BadInput for a path that occurs twice, or as a file and as a folder."""
    paths: set[str] = set()
    parents: set[str] = set()
    file_paths = list(files)
    for path in (*file_paths, *folders):
        if path in paths:
            raise invalid_wheel(file, f"{path} is in it twice")
        paths.add(path)
        _add_parents(path, parents)
    for path in file_paths:
        if path in parents:
            raise invalid_wheel(file, f"{path} is both a file and a folder in it")


def _add_parents(path: str, parents: set[str]) -> None:
    parent = path.rpartition("/")[0]
    while parent and parent not in parents:
        parents.add(parent)
        parent = parent.rpartition("/")[0]


def _unsafe_reason(path: str) -> str:
    """Return why a path is unsafe, or an empty text."""
    parts = path.split("/")
    reasons = {
        "is an absolute path": path.startswith("/"),
        "holds a control character": _CONTROL.search(path),
        "holds a backslash": "\\" in path,
        "begins with a drive letter": _DRIVE.match(path),
        "leads out of its folder": ".." in parts,
        "is not a plain path": "" in parts or "." in parts,
        "would delete a file in an image": any(part.startswith(_WHITEOUT) for part in parts),
        "is too long": len(path.encode()) > _MAX_PATH
        or any(len(part.encode()) > _MAX_NAME for part in parts),
    }
    return next((reason for reason, applies in reasons.items() if applies), "")
