"""A member's name in a zip to a safe relative path, or a refusal.

Refused is all that an installer could be tricked with: what leaves the folder, what another
system reads in another way, and what two readers decode differently.
"""

import re
from collections.abc import Iterable
from typing import Final

from dlimg.wheel.errors import unfit

UTF8: Final = 0x0800
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_DRIVE: Final = re.compile("[A-Za-z]:")
# What deletes a file of a lower layer, in OCI's layers.
_WHITEOUT: Final = ".wh."
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 3072  # the system's 4096 less what stands before it


def decoded(raw: bytes, flags: int, *, file: str) -> str:
    """The name as text; raises BadInput where readers may disagree about it.

    Without the flag for UTF-8 a zip's names are in code page 437, by its specification, and in
    anything at all, by custom: only what is the same in all of them is taken.
    """
    try:
        return raw.decode("utf-8" if flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        why = "is not UTF-8" if flags & UTF8 else "is neither ASCII nor marked as UTF-8"
        raise unfit(file, f"the name {raw!r} in it {why}") from None


def safe(name: str, *, file: str) -> str:
    """The name without a folder's last slash; raises BadInput when it is no safe path."""
    path = name.removesuffix("/")
    reason = _reason(path)
    if reason:
        raise unfit(file, f"the name {name!a} in it {reason}")
    return path


def refuse_clashes(files: Iterable[str], folders: Iterable[str], *, file: str) -> None:
    """Raises BadInput when a path is there twice, or is both a file and a folder."""
    known: set[str] = set()
    parents: set[str] = set()
    taken = list(files)
    for path in (*taken, *folders):
        if path in known:
            raise unfit(file, f"{path} is in it twice")
        known.add(path)
        _add_parents(path, parents)
    for path in taken:
        if path in parents:
            raise unfit(file, f"{path} is both a file and a folder in it")


def _add_parents(path: str, parents: set[str]) -> None:
    parent = path.rpartition("/")[0]
    while parent and parent not in parents:
        parents.add(parent)
        parent = parent.rpartition("/")[0]


def _reason(path: str) -> str:
    """What is wrong with a path, or nothing."""
    parts = path.split("/")
    wrong = {
        "is an absolute path": path.startswith("/"),
        "holds a control character": _CONTROL.search(path),
        "holds a backslash": "\\" in path,
        "begins with a drive letter": _DRIVE.match(path),
        "leads out of its folder": ".." in parts,
        "is not a plain path": "" in parts or "." in parts,
        "would delete a file in an image": any(part.startswith(_WHITEOUT) for part in parts),
        "is too long": len(path.encode()) > _LONGEST_PATH
        or any(len(part.encode()) > _LONGEST_NAME for part in parts),
    }
    return next((reason for reason, is_so in wrong.items() if is_so), "")
