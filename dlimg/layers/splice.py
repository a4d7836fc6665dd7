"""The pieces of a tar to a gzip file of many members, in which no wheel's stream is made anew.

A file's member is a gzip header, the deflate stream as it lies in the wheel, and CRC and size
from the wheel's directory; the streams are unpacked only to be checked, and for the diff id.
The format is that of RFC 1952. What is written depends on the pieces and on FORMAT alone.
"""

import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from dlimg.layers.archive import DEFLATED
from dlimg.layers.deflate import squeezed, stored
from dlimg.layers.entry import Packed
from dlimg.layers.tar import Head, Piece
from dlimg.layers.unpack import Unpacking, packed_pieces

# Goes up with every change to what a layer's bytes are, and to what they are made from.
FORMAT: Final = 2

# Deflate, no flags, no time, no hint on the effort, an unknown system.
MEMBER_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spliced:
    """What was written: sha256 and bytes of the gzip file, and of the tar in it."""

    digest: str
    size: int
    diff_id: str
    unpacked: int


class Counted:
    """A sha256 that counts what it was given."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.size = 0

    def update(self, data: bytes) -> None:
        self.hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self.hash.hexdigest()}"


def splice(parts: Iterable[Piece], write: Callable[[bytes], object]) -> Spliced:
    """Writes the layer; raises BadInput when a member is not what its wheel's directory says."""
    file, tar = Counted(), Counted()
    for part in parts:
        for piece in _member(part, tar.update):
            file.update(piece)
            write(piece)
    return Spliced(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


def _member(part: Piece, plain: Callable[[bytes], object]) -> Iterator[bytes]:
    """The gzip member of one piece, whose content `plain` gets."""
    yield MEMBER_HEADER
    match part:
        case Head(data=data):
            plain(data)
            yield squeezed(data)
            yield _trailer(zlib.crc32(data), len(data))
        case bytes():
            plain(part)
            yield from stored([part])
            yield _trailer(zlib.crc32(part), len(part))
        case Packed(member=member):
            packed = _checked(part, plain)
            yield from packed if member.method == DEFLATED else stored(packed)
            yield _trailer(member.crc, member.size)


def _checked(part: Packed, plain: Callable[[bytes], object]) -> Iterator[bytes]:
    """The bytes as they lie in the wheel, each piece after its content went to `plain`."""
    unpacking = Unpacking(part.wheel.name, part.member)
    for piece in packed_pieces(part.wheel, part.member):
        for content in unpacking.feed(piece):
            plain(content)
        yield piece
    unpacking.finish()


def _trailer(crc: int, size: int) -> bytes:
    """CRC and size, of which a gzip member has only the lower 32 bits."""
    return struct.pack("<2L", crc, size & 0xFFFFFFFF)
