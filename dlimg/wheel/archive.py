"""The zip archive of a wheel: its members, their offsets and sizes.

Stricter than unzip programs: every byte of the file belongs to exactly one member or to the
directory, and a member's own header agrees with the directory. So no two readers can see two
different wheels.

The structure is that of PKWARE's APPNOTE, sections 4.3 to 4.5.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, BinaryIO, Final

from dlimg.units import counted
from dlimg.wheel.errors import damaged_wheel, invalid_wheel
from dlimg.wheel.member_paths import UTF8, check_duplicates, decode_name, safe_path

_END: Final = struct.Struct("<4s4H2LH")
_ZIP64_LOCATOR: Final = struct.Struct("<4sLQL")
_ZIP64_END: Final = struct.Struct("<4sQ2H2L4Q")
_DIRECTORY_ENTRY: Final = struct.Struct("<4s6H3L5H2L")
_FULL_16: Final = 0xFFFF
_FULL_32: Final = 0xFFFFFFFF
_MAX_OFFSET: Final = (1 << 63) - 1  # of a file; zip64 has larger numbers
_ZIP64_FIELD_ID: Final = 0x0001
_UNICODE_PATH_FIELD_ID: Final = 0x7075
# Limits on memory, far above any wheel seen: torch has 13,000 files.
_MAX_MEMBERS: Final = 200_000
_MAX_DIRECTORY_SIZE: Final = 64 << 20
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
class ZipDirectoryEntry:
    """The zip directory's entry of a member."""

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
    """Offset and size of the zip directory, and the number of its entries."""

    offset: int
    size: int
    count: int


def read_directory(file: BinaryIO, name: str) -> tuple[list[ZipDirectoryEntry], int]:
    """Return the directory's entries and its offset; raises BadInput for a broken one."""
    location = _locate_directory(file, name)
    if location.count > _MAX_MEMBERS or location.size > _MAX_DIRECTORY_SIZE:
        raise invalid_wheel(name, f"it holds {location.count} files, more than any wheel should")
    file.seek(location.offset)
    entries = list(_parse_directory(file.read(location.size), name))
    if len(entries) != location.count:
        raise damaged_wheel(
            name, f"its directory lists {counted(len(entries), 'file')}, claims {location.count}"
        )
    return entries, location.offset


def _locate_directory(file: BinaryIO, name: str) -> _DirectoryLocation:
    length = file.seek(0, os.SEEK_END)
    fields = _read_struct(file, length - _END.size, _END)
    if fields is None or fields[0] != b"PK\x05\x06":
        raise damaged_wheel(
            name, "it is cut off, or not a zip file, or has something behind its end"
        )
    _, disk, first_disk, disk_count, count, size, offset, comment = fields
    if comment:
        raise invalid_wheel(name, "it claims a comment behind its end")
    end = length - _END.size
    zip64 = _locate_zip64_directory(file, name, end)
    if zip64 is None:
        location = _DirectoryLocation(offset=offset, size=size, count=count)
    else:
        location, end = zip64
        _check_ends_agree(name, (count, size, offset), location)
    if (disk, first_disk) not in {(0, 0), (_FULL_16, _FULL_16)} or disk_count != count:
        raise invalid_wheel(name, "it is one part of several")
    if location.count == 0 or location.offset + location.size != end:
        raise damaged_wheel(name, "its directory is not where its end says")
    return location


def _locate_zip64_directory(
    file: BinaryIO, name: str, end: int
) -> tuple[_DirectoryLocation, int] | None:
    """Return the directory by zip64's end record, and the record's offset; None without one."""
    locator = _read_struct(file, end - _ZIP64_LOCATOR.size, _ZIP64_LOCATOR)
    if locator is None or locator[0] != b"PK\x06\x07":
        return None
    _, disk, offset, disks = locator
    fields = _read_struct(file, offset, _ZIP64_END)
    if fields is None or fields[0] != b"PK\x06\x06":
        raise damaged_wheel(name, "its zip64 end is not where its locator says")
    _, length, _, _, disk_number, first_disk, disk_count, count, size, start = fields
    is_known = (
        offset + _ZIP64_END.size == end - _ZIP64_LOCATOR.size and length == _ZIP64_END.size - 12
    )
    if not is_known:
        raise invalid_wheel(name, "its zip64 end holds something that is not known")
    if (disk, disk_number, first_disk) != (0, 0, 0) or disks > 1 or disk_count != count:
        raise invalid_wheel(name, "it is one part of several")
    return _DirectoryLocation(offset=start, size=size, count=count), offset


def _check_ends_agree(
    name: str, old_end: tuple[int, int, int], location: _DirectoryLocation
) -> None:
    """Raise BadInput unless each field of the old end record equals zip64's, or is saturated."""
    limits = (_FULL_16, _FULL_32, _FULL_32)
    zip64_end = (location.count, location.size, location.offset)
    for old, new, full in zip(old_end, zip64_end, limits, strict=True):
        if old not in {new, full}:
            raise invalid_wheel(name, "its two ends do not agree")


def _read_struct(file: BinaryIO, offset: int, form: struct.Struct) -> tuple[Any, ...] | None:
    if not 0 <= offset <= _MAX_OFFSET:
        return None
    file.seek(offset)
    data = file.read(form.size)
    return form.unpack(data) if len(data) == form.size else None


def _parse_directory(data: bytes, name: str) -> Iterator[ZipDirectoryEntry]:
    position = 0
    while position < len(data):
        head = data[position : position + _DIRECTORY_ENTRY.size]
        if len(head) < _DIRECTORY_ENTRY.size or not head.startswith(b"PK\x01\x02"):
            raise damaged_wheel(name, "its directory is broken")
        fields = _DIRECTORY_ENTRY.unpack(head)
        name_end = position + _DIRECTORY_ENTRY.size + fields[10]
        extra_end = name_end + fields[11]
        comment_end = extra_end + fields[12]
        if comment_end > len(data):
            raise damaged_wheel(name, "its directory is broken")
        raw_name = data[position + _DIRECTORY_ENTRY.size : name_end]
        yield _parse_entry(name, raw_name, fields, data[name_end:extra_end])
        position = comment_end


def _parse_entry(
    name: str, raw_name: bytes, fields: tuple[int, ...], extra: bytes
) -> ZipDirectoryEntry:
    zip64 = _zip64_field(name, raw_name, extra)
    values = []
    # In this order, and each only where the field is saturated (APPNOTE 4.5.3).
    for value in (fields[9], fields[8], fields[16]):
        if value == _FULL_32 and zip64:
            value = struct.unpack("<Q", zip64[:8])[0]  # noqa: PLW2901 - the same value, whole
            zip64 = zip64[8:]
        values.append(value)
    if zip64 or fields[13]:
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
    """Return a member's zip64 field; raises BadInput for a field with another name."""
    field = b""
    shown = ascii(raw_name.decode("utf-8", "replace"))
    while extra:
        kind, length = struct.unpack("<2H", extra[:4]) if len(extra) >= 4 else (0, len(extra))
        if len(extra) < 4 + length:
            raise damaged_wheel(name, f"{shown} has a broken extra field")
        if kind == _UNICODE_PATH_FIELD_ID:
            raise invalid_wheel(name, f"{shown} has a second name")
        if kind == _ZIP64_FIELD_ID:
            field = extra[4 : 4 + length]
            if length % 8:
                raise damaged_wheel(name, f"{shown} has a broken zip64 field")
        extra = extra[4 + length :]
    return field


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveMember:
    """A file or folder of a wheel: `packed` bytes at `offset`, `size` bytes when inflated."""

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
    """A wheel on disk and its members, in the order of the file."""

    path: Path
    members: tuple[ArchiveMember, ...]

    @property
    def file(self) -> str:
        return self.path.name


def read_archive(path: Path) -> WheelArchive:
    """Read the wheel's members; raises BadInput for a damaged, unusual or ambiguous zip."""
    with path.open("rb") as file:
        entries, end = read_directory(file, path.name)
        members = tuple(_read_members(file, path.name, entries, end))
    check_duplicates(
        (member.path for member in members if not member.folder),
        (member.path for member in members if member.folder),
        file=path.name,
    )
    _check_growth(members, path)
    return WheelArchive(path=path, members=members)


def _read_members(
    file: BinaryIO, name: str, entries: Sequence[ZipDirectoryEntry], end: int
) -> Iterator[ArchiveMember]:
    """Yield every member after checking its offset and its own header."""
    ordered = sorted(entries, key=lambda entry: entry.offset)
    starts = [*(entry.offset for entry in ordered), end]
    if starts[0] != 0:
        raise invalid_wheel(name, "it begins with bytes that belong to no member")
    if starts[-2] >= end:
        raise invalid_wheel(name, "a member lies behind its directory")
    for entry, span in zip(ordered, pairwise(starts), strict=True):
        yield _read_member(file, name, entry, span)


def _read_member(
    file: BinaryIO, name: str, entry: ZipDirectoryEntry, span: tuple[int, int]
) -> ArchiveMember:
    member_name = decode_name(entry.raw_name, entry.flags, file=name)
    path = safe_path(member_name, file=name)
    folder = member_name.endswith("/")
    _check_kind(name, path, entry, folder=folder)
    _check_sizes(name, path, entry, folder=folder)
    return ArchiveMember(
        path=path,
        folder=folder,
        executable=bool(entry.attributes >> 16 & 0o111),
        method=entry.method,
        crc=entry.crc,
        packed=entry.packed,
        size=entry.size,
        offset=_data_offset(file, name, entry, span),
    )


def _check_kind(name: str, path: str, entry: ZipDirectoryEntry, *, folder: bool) -> None:
    """Raise BadInput for a member that is not a file or folder, or cannot be inflated."""
    if entry.flags & _ENCRYPTED:
        raise invalid_wheel(name, f"{path} is encrypted")
    if entry.flags & ~_KNOWN_FLAGS:
        raise invalid_wheel(name, f"{path} has flags {entry.flags:#06x} that are not known")
    if entry.method not in {STORED, DEFLATED}:
        raise invalid_wheel(
            name, f"{path} is compressed by method {entry.method}, which is not known"
        )
    kind = entry.attributes >> 16 & _TYPES
    if kind == _LINK_TYPE:
        raise invalid_wheel(name, f"{path} is a symbolic link")
    if kind not in {0, _FOLDER_TYPE if folder else _FILE_TYPE}:
        raise invalid_wheel(
            name, f"{path} is of type {kind:#o}, neither an ordinary file nor a folder"
        )


def _check_sizes(name: str, path: str, entry: ZipDirectoryEntry, *, folder: bool) -> None:
    if folder and entry.size:
        raise invalid_wheel(name, f"the folder {path} has content")
    if entry.method == STORED and entry.packed != entry.size:
        raise damaged_wheel(name, f"{path} is not compressed, but its two sizes differ")
    if entry.size > entry.packed * _MAX_MEMBER_GROWTH:
        raise invalid_wheel(name, f"{path} cannot have {entry.size} bytes in {entry.packed}")


def _check_growth(members: Sequence[ArchiveMember], path: Path) -> None:
    size, packed = sum(member.size for member in members), path.stat().st_size
    if size > packed * _MAX_GROWTH + _ALLOWED_SIZE:
        raise invalid_wheel(
            path.name, f"its {packed} bytes would become {size}, as a zip bomb's do"
        )


def _data_offset(file: BinaryIO, name: str, entry: ZipDirectoryEntry, span: tuple[int, int]) -> int:
    """Return the offset of the data; raises BadInput for a header that differs from the entry."""
    start, stop = span
    file.seek(start)
    head = file.read(_LOCAL_HEADER.size)
    shown = ascii(entry.raw_name.decode("utf-8", "replace"))
    if len(head) != _LOCAL_HEADER.size or not head.startswith(b"PK\x03\x04"):
        raise damaged_wheel(name, f"there is no header where {shown} should begin")
    _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL_HEADER.unpack(
        head
    )
    raw_name = file.read(name_length)
    extra = file.read(extra_length)
    if (flags, method, raw_name) != (entry.flags, entry.method, entry.raw_name):
        raise invalid_wheel(name, f"{shown} has another name or method in its own header")
    if not _sizes_match(entry, (crc, packed, size), extra):
        raise invalid_wheel(name, f"{shown} has another size or CRC in its own header")
    offset = start + _LOCAL_HEADER.size + len(raw_name) + len(extra)
    _check_end(file, name, entry, (offset + entry.packed, stop))
    return offset


def _sizes_match(entry: ZipDirectoryEntry, header: tuple[int, int, int], extra: bytes) -> bool:
    """Return whether the header's CRC and sizes agree; before a descriptor they may be 0."""
    crc, packed, size = header
    if entry.flags & HAS_DESCRIPTOR and not (crc or packed or size):
        return True
    if _SATURATED in {packed, size}:
        return _zip64_sizes_match(entry, header, extra)
    return header == (entry.crc, entry.packed, entry.size)


def _zip64_sizes_match(
    entry: ZipDirectoryEntry, header: tuple[int, int, int], extra: bytes
) -> bool:
    """Return whether the sizes in the header's zip64 field, its first extra field, agree."""
    crc, packed, size = header
    if len(extra) < 20 or extra[:4] != b"\x01\x00\x10\x00" or packed != size:
        return False
    big_size, big_packed = struct.unpack("<2Q", extra[4:20])
    empty = bool(entry.flags & HAS_DESCRIPTOR)
    sizes = (big_packed, big_size) == (entry.packed, entry.size)
    return (sizes and crc == entry.crc) or (empty and (crc, big_size, big_packed) == (0, 0, 0))


def _check_end(file: BinaryIO, name: str, entry: ZipDirectoryEntry, gap: tuple[int, int]) -> None:
    """Raise BadInput unless the next member follows directly, or after a correct descriptor."""
    end, stop = gap
    shown = ascii(entry.raw_name.decode("utf-8", "replace"))
    if end > stop:
        raise invalid_wheel(name, f"{shown} overlaps with what follows it")
    if not entry.flags & HAS_DESCRIPTOR:
        if end != stop:
            raise invalid_wheel(name, f"{shown} is followed by bytes that belong to no member")
        return
    file.seek(end)
    descriptor = file.read(min(stop - end, 25))
    sizes = (entry.crc, entry.packed, entry.size)
    forms = [struct.pack("<LQQ", *sizes)]
    if max(sizes) <= _SATURATED:
        forms.append(struct.pack("<3L", *sizes))
    if descriptor.removeprefix(b"PK\x07\x08") not in forms and descriptor not in forms:
        raise damaged_wheel(name, f"{shown} is followed by another size or CRC")
