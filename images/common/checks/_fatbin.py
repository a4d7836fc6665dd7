"""The GPUs that a library has code for, read from the fatbinaries in it, without a GPU.

A library's section `.nv_fatbin` is a row of containers, one for each compiled source file, and
each holds the same code for several architectures. The layout was read off the libraries
themselves; it is NVIDIA's, and `cuobjdump --list-elf` lists the same.
"""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ELF = b"\x7fELF\x02\x01"  # 64-bit, little-endian
SECTION = b".nv_fatbin"
CONTAINER = 0xBA55ED50
KINDS = {1: "compute_", 2: "sm_"}  # PTX and machine code
ALIGNMENT = 8


class Held(NamedTuple):
    """Architectures that all containers of a library have, and those of only some; sorted."""

    everywhere: list[str]
    partly: list[str]


def held(library: Path) -> Held:
    """Return the architectures of a library's GPU code. Raises ValueError for unreadable code."""
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            containers = [
                architectures
                for offset, size in _sections(data)
                for architectures in _containers(data, offset, offset + size)
            ]
        except struct.error as error:
            raise ValueError(f"{library}: its GPU code cannot be read: {error}") from error
    common = set.intersection(*containers) if containers else set()
    return Held(sorted(common, key=order), sorted(set().union(*containers) - common, key=order))


def order(architecture: str) -> tuple[bool, int]:
    """Return a sort key: machine code before PTX, then by number."""
    kind, _, number = architecture.partition("_")
    return kind != "sm", int(number)


def _sections(data: mmap.mmap) -> Iterator[tuple[int, int]]:
    """Yield offset and size of every section of this name, by the ELF specification."""
    if data[: len(ELF)] != ELF:
        raise ValueError("this is no 64-bit library")
    (table,) = struct.unpack_from("<Q", data, 40)
    size, count, names = struct.unpack_from("<HHH", data, 58)
    rows = [struct.unpack_from("<IIQQQQ", data, table + index * size) for index in range(count)]
    for name, _, _, _, offset, length in rows:
        start = rows[names][4] + name
        if data[start : start + len(SECTION) + 1] == SECTION + b"\0":
            yield offset, length


def _containers(data: mmap.mmap, start: int, end: int) -> Iterator[set[str]]:
    while start < end:
        magic, _, header, size = struct.unpack_from("<IHHQ", data, start)
        if magic == CONTAINER:
            if start + header + size > end:
                raise ValueError("its GPU code ends too early")
            yield set(_entries(data, start + header, start + header + size))
            start += header + size
        else:
            start += ALIGNMENT


def _entries(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    while start < end:
        kind, _, header, size = struct.unpack_from("<HHIQ", data, start)
        (number,) = struct.unpack_from("<I", data, start + 28)
        if kind in KINDS:
            yield f"{KINDS[kind]}{number}"
        if not header:
            raise ValueError("an entry of no length in its GPU code")
        start += header + size
