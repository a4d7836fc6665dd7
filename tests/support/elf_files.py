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


def needing(*names: str) -> bytes:
    """A shared library as the loader reads one, which needs these libraries."""
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    places = [strings.index(b"\0" + name.encode() + b"\0") + 1 for name in names]
    head, base = 64 + 2 * 56, 0x10000
    size = 16 * (len(names) + 3)
    rows = [(1, place) for place in places]
    rows += [(5, base + head + size), (10, len(strings)), (0, 0)]
    table = b"".join(struct.pack("<QQ", tag, value) for tag, value in rows)
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 2, 64, 0, 0)
    whole = head + size + len(strings)
    load = struct.pack("<IIQQQQQQ", 1, 4, 0, base, base, whole, whole, 4096)
    dynamic = struct.pack("<IIQQQQQQ", 2, 4, head, base + head, base + head, size, size, 8)
    return header + load + dynamic + table + strings
