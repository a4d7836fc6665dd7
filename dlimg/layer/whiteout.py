"""Whiteouts: the files of a layer that delete files of the layers below it.

`.wh.NAME` deletes `NAME` in its folder, and `.wh..wh..opq` all of its folder (OCI image
specification, "Image Layer Filesystem Changeset").
"""

import tarfile
from typing import Final

_BLOCK: Final = 512
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"


def whiteout_header(path: str) -> bytes:
    """Return the tar header of a whiteout as containerd writes it."""
    member = tarfile.TarInfo(path)
    member.mode = 0
    block = bytearray(member.tobuf(tarfile.PAX_FORMAT))
    header = block[-_BLOCK:]  # a pax header may come before it, for a long path
    header[329:345] = b"0000000\0" * 2  # device numbers, which Python leaves empty
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(block[:-_BLOCK] + header)


def whiteout_path(path: str) -> str:
    """Return the path of the whiteout that deletes this path."""
    return _join(parent_folder(path), _WHITEOUT + file_name(path))


def whiteout_hides(whiteout: str, path: str) -> bool:
    """Return whether the whiteout deletes the path, or a folder above it."""
    folder, name = parent_folder(whiteout), file_name(whiteout)
    if name == _OPAQUE:
        return path.startswith(f"{folder}/")
    deleted = _join(folder, name.removeprefix(_WHITEOUT))
    return path == deleted or path.startswith(f"{deleted}/")


def is_whiteout(path: str) -> bool:
    return file_name(path).startswith(_WHITEOUT)


def is_opaque(path: str) -> bool:
    """Return whether this whiteout deletes all of its folder."""
    return file_name(path) == _OPAQUE


def path_sort_key(path: str) -> list[str]:
    """Sort key of both image stores: folder by folder, a whiteout like the name it deletes."""
    return _join(parent_folder(path), file_name(path).removeprefix(_WHITEOUT)).split("/")


def member_path(member: tarfile.TarInfo) -> str:
    """Return the member's path from the root, without the `./` of some tars."""
    return member.name.removeprefix("./")


def parent_folder(path: str) -> str:
    """Return the folder of a path; the root is an empty text."""
    return path.rpartition("/")[0]


def file_name(path: str) -> str:
    return path.rpartition("/")[2]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name
