"""A wheel's zip structure: a file comes in, its members with their places come out.

Stricter than unzip programs are: every byte of the file belongs to exactly one member or to the
directory, and what a member's own header says is what the directory says. So nothing overlaps,
nothing stands before, between or behind, and no two readers can see two different wheels.

The structure is that of PKWARE's APPNOTE, sections 4.3 to 4.5.
"""

import os
import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

from dlimg.errors import BadInput


def damaged_wheel(file: str, what: str) -> BadInput:
    """A wheel that is not what its author made, most likely."""
    return BadInput(_printable(what), where=file, hint="delete this wheel and fetch it again")


def invalid_wheel(file: str, what: str) -> BadInput:
    """A wheel that must not, or cannot, become a layer, however often it is fetched."""
    hint = "use another version of this package, or tell its authors"
    return BadInput(_printable(what), where=file, hint=hint)


def _printable(text: str) -> str:
    """On one line: what a wheel says of itself may hold anything."""
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


UTF8: Final = 0x0800
_CONTROL: Final = re.compile("[\x00-\x1f\x7f]")
_DRIVE: Final = re.compile("[A-Za-z]:")
# What deletes a file of a lower layer, in OCI's layers.
_WHITEOUT: Final = ".wh."
_MAX_NAME: Final = 255
_MAX_PATH: Final = 3072  # the system's 4096 less what stands before it


def decode_name(raw: bytes, flags: int, *, file: str) -> str:
    """The name as text; raises BadInput where readers may disagree about it.

    Without the flag for UTF-8 a zip's names are in code page 437, by its specification, and in
    anything at all, by custom: only what is the same in all of them is taken.
    """
    try:
        return raw.decode("utf-8" if flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        why = "is not UTF-8" if flags & UTF8 else "is neither ASCII nor marked as UTF-8"
        raise invalid_wheel(file, f"the name {raw!r} in it {why}") from None


def safe_path(name: str, *, file: str) -> str:
    """The name without a folder's last slash; raises BadInput when it is no safe path."""
    path = name.removesuffix("/")
    reason = _unsafe_reason(path)
    if reason:
        raise invalid_wheel(file, f"the name {name!a} in it {reason}")
    return path


def check_duplicates(files: Iterable[str], folders: Iterable[str], *, file: str) -> None:
    """Raises BadInput when a path is there twice, or is both a file and a folder."""
    known: set[str] = set()
    parents: set[str] = set()
    taken = list(files)
    for path in (*taken, *folders):
        if path in known:
            raise invalid_wheel(file, f"{path} is in it twice")
        known.add(path)
        _add_parents(path, parents)
    for path in taken:
        if path in parents:
            raise invalid_wheel(file, f"{path} is both a file and a folder in it")


def _add_parents(path: str, parents: set[str]) -> None:
    parent = path.rpartition("/")[0]
    while parent and parent not in parents:
        parents.add(parent)
        parent = parent.rpartition("/")[0]


def _unsafe_reason(path: str) -> str:
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
        "is too long": len(path.encode()) > _MAX_PATH
        or any(len(part.encode()) > _MAX_NAME for part in parts),
    }
    return next((reason for reason, is_so in wrong.items() if is_so), "")


_END: Final = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR: Final = struct.Struct("<4sLQL")
_ZIP64_END: Final = struct.Struct("<4sQ2H2L4Q")
_DIRECTORY_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_FULL_16: Final = 0xFFFF
_FULL_32: Final = 0xFFFFFFFF
_MAX_OFFSET: Final = (1 << 63) - 1  # what a system can seek; zip64 has numbers beyond
_ZIP64_FIELD_ID: Final = 0x0001
_UNICODE_PATH_FIELD_ID: Final = 0x7075
# Far above any wheel seen (torch has 13,000 files), and what keeps the memory bounded.
_MAX_MEMBERS: Final = 200_000
_MAX_DIRECTORY_SIZE: Final = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ZipDirectoryEntry:
    """A member as the directory lists it."""

    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    attributes: int
    offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _DirectoryLocation:
    """Where the directory lies, and how many members it lists."""

    offset: int
    size: int
    count: int


def read_directory(file: BinaryIO, name: str) -> tuple[list[ZipDirectoryEntry], int]:
    """All that is listed, and where the directory begins; raises BadInput for a broken one."""
    place = _locate_directory(file, name)
    if place.count > _MAX_MEMBERS or place.size > _MAX_DIRECTORY_SIZE:
        raise invalid_wheel(name, f"it holds {place.count} files, more than any wheel should")
    file.seek(place.offset)
    text = file.read(place.size)
    listed = list(_parse_directory(text, name))
    if len(listed) != place.count:
        raise damaged_wheel(
            name, f"its directory lists {len(listed)} files and claims {place.count}"
        )
    return listed, place.offset


def _locate_directory(file: BinaryIO, name: str) -> _DirectoryLocation:
    length = file.seek(0, os.SEEK_END)
    found = _read_struct(file, length - _END.size, _END)
    if found is None or found[0] != b"PK\x05\x06":
        raise damaged_wheel(
            name, "it is cut off, or not a zip file, or has something behind its end"
        )
    _, disk, first_disk, here, count, size, offset, comment = found
    if comment:
        raise invalid_wheel(name, "it claims a comment behind its end")
    end = length - _END.size
    big = _locate_zip64_directory(file, name, end)
    if big is None:
        place = _DirectoryLocation(offset=offset, size=size, count=count)
    else:
        place, end = big
        _check_ends_agree(name, (count, size, offset), place)
    if (disk, first_disk) not in {(0, 0), (_FULL_16, _FULL_16)} or here != count:
        raise invalid_wheel(name, "it is one part of several")
    if place.count == 0 or place.offset + place.size != end:
        raise damaged_wheel(name, "its directory is not where its end says")
    return place


def _locate_zip64_directory(
    file: BinaryIO, name: str, end: int
) -> tuple[_DirectoryLocation, int] | None:
    """What zip64's end says and where that begins; None where there is none."""
    locator = _read_struct(file, end - _ZIP64_LOCATOR.size, _ZIP64_LOCATOR)
    if locator is None or locator[0] != b"PK\x06\x07":
        return None
    _, disk, offset, disks = locator
    found = _read_struct(file, offset, _ZIP64_END)
    if found is None or found[0] != b"PK\x06\x06":
        raise damaged_wheel(name, "its zip64 end is not where its locator says")
    _, length, _, _, disk_number, first_disk, here, count, size, start = found
    whole = offset + _ZIP64_END.size == end - _ZIP64_LOCATOR.size and length == _ZIP64_END.size - 12
    if not whole:
        raise invalid_wheel(name, "its zip64 end holds something that is not known")
    if (disk, disk_number, first_disk) != (0, 0, 0) or disks > 1 or here != count:
        raise invalid_wheel(name, "it is one part of several")
    return _DirectoryLocation(offset=start, size=size, count=count), offset


def _check_ends_agree(name: str, small: tuple[int, int, int], place: _DirectoryLocation) -> None:
    """Raises BadInput unless each field of the old end is the same as zip64's, or full."""
    limits = (_FULL_16, _FULL_32, _FULL_32)
    for old, new, full in zip(small, (place.count, place.size, place.offset), limits, strict=True):
        if old not in {new, full}:
            raise invalid_wheel(name, "its two ends do not agree")


def _read_struct(file: BinaryIO, offset: int, form: struct.Struct) -> tuple[Any, ...] | None:
    if not 0 <= offset <= _MAX_OFFSET:
        return None
    file.seek(offset)
    found = file.read(form.size)
    return form.unpack(found) if len(found) == form.size else None


def _parse_directory(text: bytes, name: str) -> Iterator[ZipDirectoryEntry]:
    position = 0
    while position < len(text):
        head = text[position : position + _DIRECTORY_ENTRY.size]
        if len(head) < _DIRECTORY_ENTRY.size or not head.startswith(b"PK\x01\x02"):
            raise damaged_wheel(name, "its directory is broken")
        fields = _DIRECTORY_ENTRY.unpack(head)
        name_end = position + _DIRECTORY_ENTRY.size + fields[10]
        extra_end = name_end + fields[11]
        comment_end = extra_end + fields[12]
        if comment_end > len(text):
            raise damaged_wheel(name, "its directory is broken")
        raw_name = text[position + _DIRECTORY_ENTRY.size : name_end]
        yield _parse_entry(name, raw_name, fields, text[name_end:extra_end])
        position = comment_end


def _parse_entry(
    name: str, raw_name: bytes, fields: tuple[int, ...], extra: bytes
) -> ZipDirectoryEntry:
    big = _zip64_field(name, raw_name, extra)
    values = []
    # In this order, and each only where the field is full (APPNOTE 4.5.3).
    for value in (fields[9], fields[8], fields[16]):
        if value == _FULL_32 and big:
            value = struct.unpack("<Q", big[:8])[0]  # noqa: PLW2901 - the same value, whole
            big = big[8:]
        values.append(value)
    if big or fields[13]:
        raise invalid_wheel(name, f"{raw_name.decode('utf-8', 'replace')!a} has fields too many")
    size, packed, offset = values
    return ZipDirectoryEntry(
        raw_name=raw_name,
        flags=fields[3],
        method=fields[4],
        crc=fields[7],
        packed=packed,
        size=size,
        attributes=fields[15],
        offset=offset,
    )


def _zip64_field(name: str, raw_name: bytes, extra: bytes) -> bytes:
    """The zip64 field of a member; raises BadInput for a field that gives it another name."""
    found = b""
    shown = ascii(raw_name.decode("utf-8", "replace"))
    while extra:
        kind, length = struct.unpack("<2H", extra[:4]) if len(extra) >= 4 else (0, len(extra))
        if len(extra) < 4 + length:
            raise damaged_wheel(name, f"{shown} has a broken extra field")
        if kind == _UNICODE_PATH_FIELD_ID:
            raise invalid_wheel(name, f"{shown} has a second name")
        if kind == _ZIP64_FIELD_ID:
            found = extra[4 : 4 + length]
            if length % 8:
                raise damaged_wheel(name, f"{shown} has a broken zip64 field")
        extra = extra[4 + length :]
    return found


STORED: Final = 0
DEFLATED: Final = 8
HAS_DESCRIPTOR: Final = 0x0008  # sizes and CRC follow the data

_LOCAL_HEADER: Final = struct.Struct("<4s5H3L2H")
_SATURATED: Final = 0xFFFFFFFF
_KNOWN_FLAGS: Final = 0x0002 | 0x0004 | HAS_DESCRIPTOR | UTF8  # 2 and 4: the deflater's effort
_ENCRYPTED: Final = 0x0001 | 0x0040 | 0x2000
_FILE_TYPE: Final = 0o100000
_FOLDER_TYPE: Final = 0o040000
_LINK_TYPE: Final = 0o120000
_TYPES: Final = 0o170000
# No deflate stream grows by more than 1032 times; no wheel seen grows by more than 7 in all.
_MAX_MEMBER_GROWTH: Final = 1032
_MAX_GROWTH: Final = 100
_ALLOWED_SIZE: Final = 64 << 20


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
        listed, end = read_directory(file, path.name)
        members = tuple(_read_members(file, path.name, listed, end))
    check_duplicates(
        (member.path for member in members if not member.folder),
        (member.path for member in members if member.folder),
        file=path.name,
    )
    _check_growth(members, path)
    return WheelArchive(path=path, members=members)


def _read_members(
    file: BinaryIO, name: str, listed: Sequence[ZipDirectoryEntry], end: int
) -> Iterator[ArchiveMember]:
    """Every member, after its place and its own header were compared with the directory."""
    ordered = sorted(listed, key=lambda one: one.offset)
    starts = [*(one.offset for one in ordered), end]
    if starts[0] != 0:
        raise invalid_wheel(name, "it begins with bytes that belong to no member")
    if starts[-2] >= end:
        raise invalid_wheel(name, "a member is said to be behind its directory")
    for one, (start, stop) in zip(ordered, pairwise(starts), strict=True):
        yield _read_member(file, name, one, (start, stop))


def _read_member(
    file: BinaryIO, name: str, listed: ZipDirectoryEntry, place: tuple[int, int]
) -> ArchiveMember:
    member_name = decode_name(listed.raw_name, listed.flags, file=name)
    path = safe_path(member_name, file=name)
    folder = member_name.endswith("/")
    _check_kind(name, path, listed, folder=folder)
    _check_sizes(name, path, listed, folder=folder)
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


def _check_kind(name: str, path: str, listed: ZipDirectoryEntry, *, folder: bool) -> None:
    """Raises BadInput for what is no ordinary file or folder, or cannot be unpacked."""
    if listed.flags & _ENCRYPTED:
        raise invalid_wheel(name, f"{path} is encrypted")
    if listed.flags & ~_KNOWN_FLAGS:
        raise invalid_wheel(name, f"{path} has flags {listed.flags:#06x} that are not known")
    if listed.method not in {STORED, DEFLATED}:
        raise invalid_wheel(
            name, f"{path} is compressed by method {listed.method}, which is not known"
        )
    kind = listed.attributes >> 16 & _TYPES
    if kind == _LINK_TYPE:
        raise invalid_wheel(name, f"{path} is a symbolic link")
    if kind not in {0, _FOLDER_TYPE if folder else _FILE_TYPE}:
        raise invalid_wheel(
            name, f"{path} is of type {kind:#o}, neither an ordinary file nor a folder"
        )


def _check_sizes(name: str, path: str, listed: ZipDirectoryEntry, *, folder: bool) -> None:
    if folder and listed.size:
        raise invalid_wheel(name, f"the folder {path} has content")
    if listed.method == STORED and listed.packed != listed.size:
        raise damaged_wheel(name, f"{path} is not compressed, but its two sizes differ")
    if listed.size > listed.packed * _MAX_MEMBER_GROWTH:
        raise invalid_wheel(name, f"{path} cannot have {listed.size} bytes in {listed.packed}")


def _check_growth(members: Sequence[ArchiveMember], path: Path) -> None:
    size, packed = sum(member.size for member in members), path.stat().st_size
    if size > packed * _MAX_GROWTH + _ALLOWED_SIZE:
        raise invalid_wheel(
            path.name, f"its {packed} bytes would become {size}, as a zip bomb's do"
        )


def _data_offset(
    file: BinaryIO, name: str, listed: ZipDirectoryEntry, place: tuple[int, int]
) -> int:
    """Where the data begins; raises BadInput where the member's own header says otherwise."""
    start, stop = place
    file.seek(start)
    head = file.read(_LOCAL_HEADER.size)
    shown = ascii(listed.raw_name.decode("utf-8", "replace"))
    if len(head) != _LOCAL_HEADER.size or not head.startswith(b"PK\x03\x04"):
        raise damaged_wheel(name, f"there is no header where {shown} should begin")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL_HEADER.unpack(
        head
    )
    raw_name = file.read(name_length)
    extra = file.read(extra_length)
    if (flags, method, raw_name) != (listed.flags, listed.method, listed.raw_name):
        raise invalid_wheel(name, f"{shown} has another name or method in its own header")
    if not _sizes_match(listed, (crc, packed, size), extra):
        raise invalid_wheel(name, f"{shown} has another size or CRC in its own header")
    offset = start + _LOCAL_HEADER.size + len(raw_name) + len(extra)
    _check_end(file, name, listed, (offset + listed.packed, stop))
    return offset


def _sizes_match(listed: ZipDirectoryEntry, own: tuple[int, int, int], extra: bytes) -> bool:
    """Whether a member's own header agrees; with a descriptor it may leave its fields empty."""
    crc, packed, size = own
    if listed.flags & HAS_DESCRIPTOR and not (crc or packed or size):
        return True
    if _SATURATED in {packed, size}:
        return _zip64_sizes_match(listed, own, extra)
    return own == (listed.crc, listed.packed, listed.size)


def _zip64_sizes_match(listed: ZipDirectoryEntry, own: tuple[int, int, int], extra: bytes) -> bool:
    """The same for a header whose zip64 field, the first of the extra ones, has both sizes."""
    crc, packed, size = own
    if len(extra) < 20 or extra[:4] != b"\x01\x00\x10\x00" or packed != size:
        return False
    big_size, big_packed = struct.unpack("<2Q", extra[4:20])
    empty = bool(listed.flags & HAS_DESCRIPTOR)
    sizes = (big_packed, big_size) == (listed.packed, listed.size)
    return (sizes and crc == listed.crc) or (empty and (crc, big_size, big_packed) == (0, 0, 0))


def _check_end(file: BinaryIO, name: str, listed: ZipDirectoryEntry, gap: tuple[int, int]) -> None:
    """Raises BadInput unless there is nothing but a right descriptor up to the next member."""
    end, stop = gap
    shown = ascii(listed.raw_name.decode("utf-8", "replace"))
    if end > stop:
        raise invalid_wheel(name, f"{shown} overlaps with what follows it")
    if not listed.flags & HAS_DESCRIPTOR:
        if end != stop:
            raise invalid_wheel(name, f"{shown} is followed by bytes that belong to no member")
        return
    file.seek(end)
    found = file.read(min(stop - end, 25))
    sizes = (listed.crc, listed.packed, listed.size)
    forms = [struct.pack("<LQQ", *sizes)]
    if max(sizes) <= _SATURATED:
        forms.append(struct.pack("<3L", *sizes))
    if found.removeprefix(b"PK\x07\x08") not in forms and found not in forms:
        raise damaged_wheel(name, f"{shown} is followed by another size or CRC")
