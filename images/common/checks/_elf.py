"""The header of a shared library: its architecture, and where the loader looks for others.

By the System V ABI, chapters 4 and 5 (and elf.h), for the 64-bit little-endian files of today's
Linux on x86-64 and ARM.
"""

import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

MAGIC = b"\x7fELF\x02\x01"  # 64-bit, little-endian
LOAD, DYNAMIC = 1, 2  # PT_LOAD, PT_DYNAMIC
STRINGS, RPATH, RUNPATH = 5, 15, 29  # DT_STRTAB, DT_RPATH, DT_RUNPATH
NAME_MAX = 65536


class Library(NamedTuple):
    """`machine` is ELF's e_machine, 0 for other files; `paths` are its RPATH or RUNPATH folders."""

    machine: int
    paths: list[Path]


class _Segment(NamedTuple):
    """A program header: the offsets and addresses in it."""

    kind: int
    offset: int
    address: int
    size: int


def read(path: Path) -> Library:
    """Return the header of a file; an empty one for a damaged file."""
    try:
        with path.open("rb") as file:
            return _library(file, path)
    except (OSError, ValueError, OverflowError, struct.error):
        return Library(0, [])


def _library(file: BinaryIO, path: Path) -> Library:
    header = file.read(64)
    if not header.startswith(MAGIC):
        return Library(0, [])
    (machine,) = struct.unpack_from("<H", header, 18)
    segments = list(_segments(file, header))
    dynamic = next((segment for segment in segments if segment.kind == DYNAMIC), None)
    if dynamic is None:
        return Library(machine, [])
    values = list(_values(file, dynamic))
    strings = _offset(segments, dict(values).get(STRINGS, 0))
    texts = [_text(file, strings + value) for tag, value in values if tag in (RPATH, RUNPATH)]
    origin = str(path.resolve().parent)
    folders = [folder for text in texts for folder in text.split(":") if folder]
    expanded = [
        folder.replace("${ORIGIN}", origin).replace("$ORIGIN", origin) for folder in folders
    ]
    return Library(machine, [Path(os.path.normpath(folder)) for folder in expanded])


def _segments(file: BinaryIO, header: bytes) -> Iterator[_Segment]:
    (start,) = struct.unpack_from("<Q", header, 32)
    size, count = struct.unpack_from("<HH", header, 54)
    for index in range(count):
        file.seek(start + index * size)
        kind, _, offset, address, _, length = struct.unpack("<IIQQQQ", file.read(40))
        yield _Segment(kind, offset, address, length)


def _values(file: BinaryIO, dynamic: _Segment) -> Iterator[tuple[int, int]]:
    file.seek(dynamic.offset)
    section = file.read(dynamic.size)
    yield from struct.iter_unpack("<qQ", section[: len(section) // 16 * 16])


def _offset(segments: list[_Segment], address: int) -> int:
    """Return the offset in the file of a virtual address."""
    for segment in segments:
        if segment.kind == LOAD and segment.address <= address < segment.address + segment.size:
            return address - segment.address + segment.offset
    return address


def _text(file: BinaryIO, offset: int) -> str:
    file.seek(offset)
    return file.read(NAME_MAX).partition(b"\0")[0].decode(errors="replace")
