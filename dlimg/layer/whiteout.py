"""A layer of Docker's own image store as containerd's store would have written it.

Both hold the same files. But the former has files and folders, too, that are as below (overlayfs
copied them up), hides all of a folder that was made anew, where containerd says what of it is
gone, and gives a time to what stands for a removed file.
"""

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

_BLOCK: Final = 512
_PIECE: Final = 1 << 20
_END: Final = bytes(2 * _BLOCK)
_REMOVED: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"

_Below = Mapping[str, tuple[tarfile.TarFile, tarfile.TarInfo]]


def same_as_containerd(layer: tarfile.TarFile, below: Sequence[tarfile.TarFile]) -> Iterator[bytes]:
    """The tar that containerd makes of this layer, above those, lowest first."""
    known = _merged(below)
    changed = {path_of(member): member for member in _changed(layer, known)}
    removed = {path: None for path in changed if is_mark(path)} | dict.fromkeys(
        _hidden(layer, known)
    )
    file: Any = layer.fileobj
    for path in sorted({**changed, **removed}, key=order):
        if path in removed:
            yield removal(path)
            continue
        member = changed[path]
        file.seek(member.offset)
        left = member.offset_data - member.offset + (_padded(member.size) if member.isreg() else 0)
        while left:
            piece = file.read(min(left, _PIECE))
            left -= len(piece)
            yield piece
    yield _END


def _merged(layers: Sequence[tarfile.TarFile]) -> _Below:
    """What is there when these lie on each other, by path."""
    found: dict[str, tuple[tarfile.TarFile, tarfile.TarInfo]] = {}
    for tar in layers:
        for mark in filter(is_mark, map(path_of, tar.getmembers())):
            for path in [one for one in found if hides(mark, one)]:
                del found[path]
        found |= {path_of(one): (tar, one) for one in tar if not is_mark(path_of(one))}
    return found


def _hidden(layer: tarfile.TarFile, below: _Below) -> Iterator[str]:
    """A mark for each thing that a folder made anew does not have any more."""
    there = {path_of(member) for member in layer}
    opaque = {folder_of(path) for path in there if _name(path) == _OPAQUE}
    for path in below:
        if folder_of(path) in opaque and path not in there:
            yield mark(path)


def _changed(layer: tarfile.TarFile, below: _Below) -> list[tarfile.TarInfo]:
    """What is not as below, and the folders that it lies in."""
    found: list[tarfile.TarInfo] = []
    parents = {folder_of(path) for path in _hidden(layer, below)}
    for member in reversed(layer.getmembers()):
        path = path_of(member)
        if path not in parents and (_name(path) == _OPAQUE or _is_as_below(layer, member, below)):
            continue
        found.append(member)
        while path:
            path = folder_of(path)
            parents.add(path)
    return found


def _is_as_below(layer: tarfile.TarFile, member: tarfile.TarInfo, below: _Below) -> bool:
    """As containerd compares (continuity's `fs.Changes`): a folder's time does not count."""
    if path_of(member) not in below:
        return False
    tar, other = below[path_of(member)]
    if _about(member) != _about(other):
        return False
    if member.isdir():
        return True
    if (int(member.mtime), member.size) != (int(other.mtime), other.size):
        return False
    return not member.isreg() or _content(layer, member) == _content(tar, other)


def _about(member: tarfile.TarInfo) -> tuple[object, ...]:
    attributes = {name: text for name, text in member.pax_headers.items() if "xattr" in name}
    return (member.type, member.mode, member.uid, member.gid, member.linkname, attributes)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def removal(path: str) -> bytes:
    """The header with which containerd says that a file below is gone."""
    member = tarfile.TarInfo(path)
    member.mode = 0
    block = bytearray(member.tobuf(tarfile.PAX_FORMAT))
    header = block[-_BLOCK:]  # before it lies a longer path, if any
    header[329:345] = b"0000000\0" * 2  # the device's numbers, which Python leaves empty
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(block[:-_BLOCK] + header)


def path_of(member: tarfile.TarInfo) -> str:
    """The member's path from the root, without the `./` that some tars begin with."""
    return member.name.removeprefix("./")


def folder_of(path: str) -> str:
    """The folder that a path lies in; the root is an empty text."""
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _beside(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def mark(path: str) -> str:
    """The path of what says that this one is gone."""
    return _beside(folder_of(path), _REMOVED + _name(path))


def hides(mark: str, path: str) -> bool:
    """Whether this mark says that the path is gone, or all that was in its folder."""
    folder, name = folder_of(mark), _name(mark)
    if name == _OPAQUE:
        return path.startswith(f"{folder}/")
    gone = _beside(folder, name.removeprefix(_REMOVED))
    return path == gone or path.startswith(f"{gone}/")


def is_mark(path: str) -> bool:
    """Whether this stands for something that is gone, and is no file."""
    return _name(path).startswith(_REMOVED)


def order(path: str) -> list[str]:
    """As both stores walk: each folder by name, whether a name is there or gone."""
    return _beside(folder_of(path), _name(path).removeprefix(_REMOVED)).split("/")


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
