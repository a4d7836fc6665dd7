"""The directory at the end of a zip: a file comes in, what is listed comes out.

Both forms of its end are read, the old one and zip64's.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from dlimg.wheel.errors import damaged, unfit

_END: Final = struct.Struct("<4s4H2LH")
_BIG_LOCATOR: Final = struct.Struct("<4sLQL")
_BIG_END: Final = struct.Struct("<4sQ2H2L4Q")
_LISTED: Final = struct.Struct("<4s6H3L5H2L")
_FULL_16: Final = 0xFFFF
_FULL_32: Final = 0xFFFFFFFF
_LARGEST_OFFSET: Final = (1 << 63) - 1  # what a system can seek; zip64 has numbers beyond
_BIG_FIELD: Final = 0x0001
_OTHER_NAME_FIELD: Final = 0x7075
# Far above any wheel seen (torch has 13,000 files), and what keeps the memory bounded.
_MOST_MEMBERS: Final = 200_000
_MOST_BYTES: Final = 64 << 20


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


def directory(file: BinaryIO, name: str) -> tuple[list[ZipDirectoryEntry], int]:
    """All that is listed, and where the directory begins; raises BadInput for a broken one."""
    place = _place(file, name)
    if place.count > _MOST_MEMBERS or place.size > _MOST_BYTES:
        raise unfit(name, f"it holds {place.count} files, more than any wheel should")
    file.seek(place.offset)
    text = file.read(place.size)
    listed = list(_listed(text, name))
    if len(listed) != place.count:
        raise damaged(name, f"its directory lists {len(listed)} files and claims {place.count}")
    return listed, place.offset


def _place(file: BinaryIO, name: str) -> _DirectoryLocation:
    length = file.seek(0, os.SEEK_END)
    found = _tail(file, length - _END.size, _END)
    if found is None or found[0] != b"PK\x05\x06":
        raise damaged(name, "it is cut off, or not a zip file, or has something behind its end")
    _, disk, first_disk, here, count, size, offset, comment = found
    if comment:
        raise unfit(name, "it claims a comment behind its end")
    end = length - _END.size
    big = _big_place(file, name, end)
    if big is None:
        place = _DirectoryLocation(offset=offset, size=size, count=count)
    else:
        place, end = big
        _check_agreement(name, (count, size, offset), place)
    if (disk, first_disk) not in {(0, 0), (_FULL_16, _FULL_16)} or here != count:
        raise unfit(name, "it is one part of several")
    if place.count == 0 or place.offset + place.size != end:
        raise damaged(name, "its directory is not where its end says")
    return place


def _big_place(file: BinaryIO, name: str, end: int) -> tuple[_DirectoryLocation, int] | None:
    """What zip64's end says and where that begins; None where there is none."""
    locator = _tail(file, end - _BIG_LOCATOR.size, _BIG_LOCATOR)
    if locator is None or locator[0] != b"PK\x06\x07":
        return None
    _, disk, offset, disks = locator
    found = _tail(file, offset, _BIG_END)
    if found is None or found[0] != b"PK\x06\x06":
        raise damaged(name, "its zip64 end is not where its locator says")
    _, length, _, _, disk_number, first_disk, here, count, size, start = found
    whole = offset + _BIG_END.size == end - _BIG_LOCATOR.size and length == _BIG_END.size - 12
    if not whole:
        raise unfit(name, "its zip64 end holds something that is not known")
    if (disk, disk_number, first_disk) != (0, 0, 0) or disks > 1 or here != count:
        raise unfit(name, "it is one part of several")
    return _DirectoryLocation(offset=start, size=size, count=count), offset


def _check_agreement(name: str, small: tuple[int, int, int], place: _DirectoryLocation) -> None:
    """Raises BadInput unless each field of the old end is the same as zip64's, or full."""
    limits = (_FULL_16, _FULL_32, _FULL_32)
    for old, new, full in zip(small, (place.count, place.size, place.offset), limits, strict=True):
        if old not in {new, full}:
            raise unfit(name, "its two ends do not agree")


def _tail(file: BinaryIO, offset: int, form: struct.Struct) -> tuple[Any, ...] | None:
    if not 0 <= offset <= _LARGEST_OFFSET:
        return None
    file.seek(offset)
    found = file.read(form.size)
    return form.unpack(found) if len(found) == form.size else None


def _listed(text: bytes, name: str) -> Iterator[ZipDirectoryEntry]:
    position = 0
    while position < len(text):
        head = text[position : position + _LISTED.size]
        if len(head) < _LISTED.size or not head.startswith(b"PK\x01\x02"):
            raise damaged(name, "its directory is broken")
        fields = _LISTED.unpack(head)
        name_end = position + _LISTED.size + fields[10]
        extra_end = name_end + fields[11]
        comment_end = extra_end + fields[12]
        if comment_end > len(text):
            raise damaged(name, "its directory is broken")
        raw_name = text[position + _LISTED.size : name_end]
        yield _one(name, raw_name, fields, text[name_end:extra_end])
        position = comment_end


def _one(name: str, raw_name: bytes, fields: tuple[int, ...], extra: bytes) -> ZipDirectoryEntry:
    big = _big_fields(name, raw_name, extra)
    values = []
    # In this order, and each only where the field is full (APPNOTE 4.5.3).
    for value in (fields[9], fields[8], fields[16]):
        if value == _FULL_32 and big:
            value = struct.unpack("<Q", big[:8])[0]  # noqa: PLW2901 - the same value, whole
            big = big[8:]
        values.append(value)
    if big or fields[13]:
        raise unfit(name, f"{raw_name.decode('utf-8', 'replace')!a} has fields too many")
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


def _big_fields(name: str, raw_name: bytes, extra: bytes) -> bytes:
    """The zip64 field of a member; raises BadInput for a field that gives it another name."""
    found = b""
    shown = ascii(raw_name.decode("utf-8", "replace"))
    while extra:
        kind, length = struct.unpack("<2H", extra[:4]) if len(extra) >= 4 else (0, len(extra))
        if len(extra) < 4 + length:
            raise damaged(name, f"{shown} has a broken extra field")
        if kind == _OTHER_NAME_FIELD:
            raise unfit(name, f"{shown} has a second name")
        if kind == _BIG_FIELD:
            found = extra[4 : 4 + length]
            if length % 8:
                raise damaged(name, f"{shown} has a broken zip64 field")
        extra = extra[4 + length :]
    return found
