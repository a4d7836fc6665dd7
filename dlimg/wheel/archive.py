"""A wheel's zip structure: a file comes in, its members with their places come out.

Stricter than unzip programs are: every byte of the file belongs to exactly one member or to the
directory, and what a member's own header says is what the directory says. So nothing overlaps,
nothing stands before, between or behind, and no two readers can see two different wheels.

The structure is that of PKWARE's APPNOTE, sections 4.3 to 4.5.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO, Final

from dlimg.wheel import safe_paths
from dlimg.wheel.errors import damaged, unfit
from dlimg.wheel.zip_directory import ZipDirectoryEntry, directory

STORED: Final = 0
DEFLATED: Final = 8
DESCRIBED: Final = 0x0008  # sizes and CRC follow the data

_LOCAL: Final = struct.Struct("<4s5H3L2H")
_SATURATED: Final = 0xFFFFFFFF
_KNOWN_FLAGS: Final = (
    0x0002 | 0x0004 | DESCRIBED | safe_paths.UTF8
)  # 2 and 4: the deflater's effort
_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_FILE_TYPE: Final = 0o100000
_FOLDER_TYPE: Final = 0o040000
_LINK_TYPE: Final = 0o120000
_TYPES: Final = 0o170000
# No deflate stream grows by more than 1032 times; no wheel seen grows by more than 7 in all.
_MOST_GROWTH: Final = 1032
_MOST_GROWTH_IN_ALL: Final = 100
_ALWAYS_ALLOWED: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveMember:
    """A file or folder of a wheel: `packed` bytes lie at `offset`, `size` after unpacking."""

    path: str
    folder: bool
    executable: bool
    method: int
    crc: int
    packed: int
    size: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WheelArchive:
    """A wheel on disk, with all its members in the order of the file."""

    path: Path
    members: tuple[ArchiveMember, ...]

    @property
    def file(self) -> str:
        return self.path.name


def read_archive(path: Path) -> WheelArchive:
    """The wheel's members; raises BadInput for anything but a plain, whole, unambiguous zip."""
    with path.open("rb") as file:
        listed, end = directory(file, path.name)
        members = tuple(_members(file, path.name, listed, end))
    safe_paths.refuse_clashes(
        (member.path for member in members if not member.folder),
        (member.path for member in members if member.folder),
        file=path.name,
    )
    _refuse_bomb(members, path)
    return WheelArchive(path=path, members=members)


def _members(
    file: BinaryIO, name: str, listed: Sequence[ZipDirectoryEntry], end: int
) -> Iterator[ArchiveMember]:
    """Every member, after its place and its own header were compared with the directory."""
    ordered = sorted(listed, key=lambda one: one.offset)
    starts = [*(one.offset for one in ordered), end]
    if starts[0] != 0:
        raise unfit(name, "it begins with bytes that belong to no member")
    if starts[-2] >= end:
        raise unfit(name, "a member is said to be behind its directory")
    for one, (start, stop) in zip(ordered, pairwise(starts), strict=True):
        yield _member(file, name, one, (start, stop))


def _member(
    file: BinaryIO, name: str, listed: ZipDirectoryEntry, place: tuple[int, int]
) -> ArchiveMember:
    decoded = safe_paths.decoded(listed.raw_name, listed.flags, file=name)
    path = safe_paths.safe(decoded, file=name)
    folder = decoded.endswith("/")
    _refuse_kind(name, path, listed, folder=folder)
    _refuse_sizes(name, path, listed, folder=folder)
    return ArchiveMember(
        path=path,
        folder=folder,
        executable=bool(listed.attributes >> 16 & 0o111),
        method=listed.method,
        crc=listed.crc,
        packed=listed.packed,
        size=listed.size,
        offset=_data_offset(file, name, listed, place),
    )


def _refuse_kind(name: str, path: str, listed: ZipDirectoryEntry, *, folder: bool) -> None:
    """Raises BadInput for what is no ordinary file or folder, or cannot be unpacked."""
    if listed.flags & _ENCRYPTED:
        raise unfit(name, f"{path} is encrypted")
    if listed.flags & ~_KNOWN_FLAGS:
        raise unfit(name, f"{path} has flags {listed.flags:#06x} that are not known")
    if listed.method not in {STORED, DEFLATED}:
        raise unfit(name, f"{path} is compressed by method {listed.method}, which is not known")
    kind = listed.attributes >> 16 & _TYPES
    if kind == _LINK_TYPE:
        raise unfit(name, f"{path} is a symbolic link")
    if kind not in {0, _FOLDER_TYPE if folder else _FILE_TYPE}:
        raise unfit(name, f"{path} is of type {kind:#o}, neither an ordinary file nor a folder")


def _refuse_sizes(name: str, path: str, listed: ZipDirectoryEntry, *, folder: bool) -> None:
    if folder and listed.size:
        raise unfit(name, f"the folder {path} has content")
    if listed.method == STORED and listed.packed != listed.size:
        raise damaged(name, f"{path} is not compressed, but its two sizes differ")
    if listed.size > listed.packed * _MOST_GROWTH:
        raise unfit(name, f"{path} cannot have {listed.size} bytes in {listed.packed}")


def _refuse_bomb(members: Sequence[ArchiveMember], path: Path) -> None:
    size, packed = sum(member.size for member in members), path.stat().st_size
    if size > packed * _MOST_GROWTH_IN_ALL + _ALWAYS_ALLOWED:
        raise unfit(path.name, f"its {packed} bytes would become {size}, as a zip bomb's do")


def _data_offset(
    file: BinaryIO, name: str, listed: ZipDirectoryEntry, place: tuple[int, int]
) -> int:
    """Where the data begins; raises BadInput where the member's own header says otherwise."""
    start, stop = place
    file.seek(start)
    head = file.read(_LOCAL.size)
    shown = ascii(listed.raw_name.decode("utf-8", "replace"))
    if len(head) != _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise damaged(name, f"there is no header where {shown} should begin")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL.unpack(head)
    raw_name = file.read(name_length)
    extra = file.read(extra_length)
    if (flags, method, raw_name) != (listed.flags, listed.method, listed.raw_name):
        raise unfit(name, f"{shown} has another name or method in its own header")
    if not _same_sizes(listed, (crc, packed, size), extra):
        raise unfit(name, f"{shown} has another size or CRC in its own header")
    offset = start + _LOCAL.size + len(raw_name) + len(extra)
    _check_end(file, name, listed, (offset + listed.packed, stop))
    return offset


def _same_sizes(listed: ZipDirectoryEntry, own: tuple[int, int, int], extra: bytes) -> bool:
    """Whether a member's own header agrees; with a descriptor it may leave its fields empty."""
    crc, packed, size = own
    if listed.flags & DESCRIBED and not (crc or packed or size):
        return True
    if _SATURATED in {packed, size}:
        return _described_big(listed, own, extra)
    return own == (listed.crc, listed.packed, listed.size)


def _described_big(listed: ZipDirectoryEntry, own: tuple[int, int, int], extra: bytes) -> bool:
    """The same for a header whose zip64 field, the first of the extra ones, has both sizes."""
    crc, packed, size = own
    if len(extra) < 20 or extra[:4] != b"\x01\x00\x10\x00" or packed != size:
        return False
    big_size, big_packed = struct.unpack("<2Q", extra[4:20])
    empty = bool(listed.flags & DESCRIBED)
    sizes = (big_packed, big_size) == (listed.packed, listed.size)
    return (sizes and crc == listed.crc) or (empty and (crc, big_size, big_packed) == (0, 0, 0))


def _check_end(file: BinaryIO, name: str, listed: ZipDirectoryEntry, gap: tuple[int, int]) -> None:
    """Raises BadInput unless there is nothing but a right descriptor up to the next member."""
    end, stop = gap
    shown = ascii(listed.raw_name.decode("utf-8", "replace"))
    if end > stop:
        raise unfit(name, f"{shown} overlaps with what follows it")
    if not listed.flags & DESCRIBED:
        if end != stop:
            raise unfit(name, f"{shown} is followed by bytes that belong to no member")
        return
    file.seek(end)
    found = file.read(min(stop - end, 25))
    sizes = (listed.crc, listed.packed, listed.size)
    forms = [struct.pack("<LQQ", *sizes)]
    if max(sizes) <= _SATURATED:
        forms.append(struct.pack("<3L", *sizes))
    if found.removeprefix(b"PK\x07\x08") not in forms and found not in forms:
        raise damaged(name, f"{shown} is followed by another size or CRC")
