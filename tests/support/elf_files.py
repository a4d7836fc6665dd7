"""Small libraries for tests, with GPU code as `nvcc` would lay it out."""

import struct


def entry(kind: int, architecture: int, size: int = 16) -> bytes:
    """Code for one architecture, as it lies in a fatbinary."""
    return struct.pack("<HHIQ12xI", kind, 0, 64, size, architecture).ljust(64 + size, b"\0")


def container(*entries: bytes) -> bytes:
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, sum(map(len, entries))) + b"".join(entries)


def library(content: bytes, section: bytes = b".nv_fatbin") -> bytes:
    """An ELF file with one section beside that of the names."""
    names = b"\0" + section + b"\0.shstrtab\0"
    start = 64 + 3 * 64
    header = b"\x7fELF\x02\x01".ljust(40, b"\0") + struct.pack("<Q", 64)
    header = header.ljust(58, b"\0") + struct.pack("<HHH", 64, 3, 2)
    rows = [
        bytes(64),
        struct.pack("<IIQQQQ", 1, 1, 0, 0, start, len(content)).ljust(64, b"\0"),
        struct.pack("<IIQQQQ", 2, 3, 0, 0, start + len(content), len(names)).ljust(64, b"\0"),
    ]
    return header + b"".join(rows) + content + names
