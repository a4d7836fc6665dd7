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
_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"

_LowerFiles = Mapping[str, tuple[tarfile.TarFile, tarfile.TarInfo]]


def containerd_layer(layer: tarfile.TarFile, below: Sequence[tarfile.TarFile]) -> Iterator[bytes]:
    """The tar that containerd makes of this layer, above those, lowest first."""
    known = _merge_layers(below)
    changed = {member_path(member): member for member in _changed_members(layer, known)}
    removed = {path: None for path in changed if is_whiteout(path)} | dict.fromkeys(
        _whiteouts_of_opaque(layer, known)
    )
    file: Any = layer.fileobj
    for path in sorted({**changed, **removed}, key=path_sort_key):
        if path in removed:
            yield whiteout_header(path)
            continue
        member = changed[path]
        file.seek(member.offset)
        left = (
            member.offset_data
            - member.offset
            + (_padded_size(member.size) if member.isreg() else 0)
        )
        while left:
            piece = file.read(min(left, _PIECE))
            left -= len(piece)
            yield piece
    yield _END


def _merge_layers(layers: Sequence[tarfile.TarFile]) -> _LowerFiles:
    """What is there when these lie on each other, by path."""
    found: dict[str, tuple[tarfile.TarFile, tarfile.TarInfo]] = {}
    for tar in layers:
        for mark in filter(is_whiteout, map(member_path, tar.getmembers())):
            for path in [one for one in found if whiteout_hides(mark, one)]:
                del found[path]
        found |= {member_path(one): (tar, one) for one in tar if not is_whiteout(member_path(one))}
    return found


def _whiteouts_of_opaque(layer: tarfile.TarFile, below: _LowerFiles) -> Iterator[str]:
    """A mark for each thing that a folder made anew does not have any more."""
    there = {member_path(member) for member in layer}
    opaque = {parent_folder(path) for path in there if _name(path) == _OPAQUE}
    for path in below:
        if parent_folder(path) in opaque and path not in there:
            yield whiteout_path(path)


def _changed_members(layer: tarfile.TarFile, below: _LowerFiles) -> list[tarfile.TarInfo]:
    """What is not as below, and the folders that it lies in."""
    found: list[tarfile.TarInfo] = []
    parents = {parent_folder(path) for path in _whiteouts_of_opaque(layer, below)}
    for member in reversed(layer.getmembers()):
        path = member_path(member)
        if path not in parents and (_name(path) == _OPAQUE or _is_unchanged(layer, member, below)):
            continue
        found.append(member)
        while path:
            path = parent_folder(path)
            parents.add(path)
    return found


def _is_unchanged(layer: tarfile.TarFile, member: tarfile.TarInfo, below: _LowerFiles) -> bool:
    """As containerd compares (continuity's `fs.Changes`): a folder's time does not count."""
    if member_path(member) not in below:
        return False
    tar, other = below[member_path(member)]
    if _attributes(member) != _attributes(other):
        return False
    if member.isdir():
        return True
    if (int(member.mtime), member.size) != (int(other.mtime), other.size):
        return False
    return not member.isreg() or _read_member(layer, member) == _read_member(tar, other)


def _attributes(member: tarfile.TarInfo) -> tuple[object, ...]:
    attributes = {name: text for name, text in member.pax_headers.items() if "xattr" in name}
    return (member.type, member.mode, member.uid, member.gid, member.linkname, attributes)


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    return file.read() if file else b""


def whiteout_header(path: str) -> bytes:
    """The header with which containerd says that a file below is gone."""
    member = tarfile.TarInfo(path)
    member.mode = 0
    block = bytearray(member.tobuf(tarfile.PAX_FORMAT))
    header = block[-_BLOCK:]  # before it lies a longer path, if any
    header[329:345] = b"0000000\0" * 2  # the device's numbers, which Python leaves empty
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(block[:-_BLOCK] + header)


def member_path(member: tarfile.TarInfo) -> str:
    """The member's path from the root, without the `./` that some tars begin with."""
    return member.name.removeprefix("./")


def parent_folder(path: str) -> str:
    """The folder that a path lies in; the root is an empty text."""
    return path.rpartition("/")[0]


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def whiteout_path(path: str) -> str:
    """The path of what says that this one is gone."""
    return _join(parent_folder(path), _WHITEOUT + _name(path))


def whiteout_hides(mark: str, path: str) -> bool:
    """Whether this mark says that the path is gone, or all that was in its folder."""
    folder, name = parent_folder(mark), _name(mark)
    if name == _OPAQUE:
        return path.startswith(f"{folder}/")
    gone = _join(folder, name.removeprefix(_WHITEOUT))
    return path == gone or path.startswith(f"{gone}/")


def is_whiteout(path: str) -> bool:
    """Whether this stands for something that is gone, and is no file."""
    return _name(path).startswith(_WHITEOUT)


def path_sort_key(path: str) -> list[str]:
    """As both stores walk: each folder by name, whether a name is there or gone."""
    return _join(parent_folder(path), _name(path).removeprefix(_WHITEOUT)).split("/")


def _padded_size(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
