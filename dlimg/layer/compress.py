"""The pieces of a tar to a gzip file of many members, in which no wheel's stream is made anew.

A file's member is a gzip header, the deflate stream as it lies in the wheel, and CRC and size
from the wheel's directory; the streams are unpacked only to be checked, and for the diff id.
The format is that of RFC 1952. What is written depends on the pieces and on FORMAT alone.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

import deflate
from zstandard import ZstdCompressor

from dlimg.layer.entries import PackedContent
from dlimg.layer.tar import TarHead, TarPart, tar_bytes
from dlimg.model import GZIP
from dlimg.wheel.archive import DEFLATED
from dlimg.wheel.unpack import MemberReader, iter_compressed

MAX_STORED_BLOCK: Final = 65_535
_RUN: Final = re.compile(rb"(.)\1{3,}", re.DOTALL)
_FIRST_9_BIT: Final = 144
_FLUSH_BITS: Final = 2048  # bits that are held, so that the numbers stay small
_MAX_MATCH: Final = 258
_MIN_MATCH: Final = 3


def stored_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content as stored blocks, cut at the same places however it came in chunks."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) > MAX_STORED_BLOCK:
            yield _block(bytes(held[:MAX_STORED_BLOCK]), last=0)
            del held[:MAX_STORED_BLOCK]
    yield _block(bytes(held), last=1)


def fixed_block(text: bytes) -> bytes:
    """The content as one block with fixed codes: bytes as they are, and runs."""
    out = bytearray()
    value, width = 0b011, 3  # the last block, with fixed codes
    for code, bits in _codes(text):
        value |= code << width
        width += bits
        if width >= _FLUSH_BITS:
            whole = width // 8
            out += (value & ((1 << 8 * whole) - 1)).to_bytes(whole, "little")
            value >>= 8 * whole
            width -= 8 * whole
    return bytes(out) + value.to_bytes((width + 7) // 8, "little")


def _block(content: bytes, *, last: int) -> bytes:
    size = len(content)
    return struct.pack("<BHH", last, size, size ^ 0xFFFF) + content


def _codes(text: bytes) -> Iterator[tuple[int, int]]:
    position = 0
    for run in _RUN.finditer(text):
        yield from _literals(text[position : run.start() + 1])
        left = run.end() - run.start() - 1
        while left >= _MIN_MATCH:
            length = min(left, _MAX_MATCH)
            yield _MATCHES[length]
            left -= length
        position = run.end() - left
    yield from _literals(text[position:])
    yield _SYMBOLS[256]


def _literals(text: bytes) -> Iterator[tuple[int, int]]:
    """The codes of bytes as they are; those below 144 have eight bits, and go together."""
    if text and max(text) < _FIRST_9_BIT:
        yield int.from_bytes(text.translate(_REVERSED), "little"), 8 * len(text)
    else:
        yield from (_SYMBOLS[byte] for byte in text)


def _symbol(number: int) -> tuple[int, int]:
    """A literal's or length's code, its bits in the order in which they are written."""
    if number < _FIRST_9_BIT:
        code, bits = 0x30 + number, 8
    elif number < 256:
        code, bits = 0x190 + number - _FIRST_9_BIT, 9
    elif number < 280:
        code, bits = number - 256, 7
    else:
        code, bits = 0xC0 + number - 280, 8
    return int(f"{code:0{bits}b}"[::-1], 2), bits


def _match(length: int) -> tuple[int, int]:
    """The code for going on with the last byte: a length, its extra bits, and distance 1."""
    number, extra, start = 257, 0, _MIN_MATCH
    if length == _MAX_MATCH:
        number, start = 285, _MAX_MATCH
    else:
        while length >= start + (1 << extra):
            start += 1 << extra
            number += 1
            extra = max(0, (number - 261) // 4)
    code, bits = _symbol(number)
    return code | (length - start) << bits, bits + extra + 5


_SYMBOLS: Final = tuple(_symbol(number) for number in range(286))
_REVERSED: Final = bytes(code & 0xFF for code, _ in _SYMBOLS[:256])
_MATCHES: Final = {length: _match(length) for length in range(_MIN_MATCH, _MAX_MATCH + 1)}


# Goes up with every change to what a layer's bytes are, and to what they are made from.
FORMAT: Final = 2

# Deflate, no flags, no time, no hint on the effort, an unknown system.
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLayer:
    """What was written: sha256 and bytes of the gzip file, and of the tar in it."""

    digest: str
    size: int
    diff_id: str
    unpacked: int


class CountingHash:
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


def splice_wheel_streams(
    parts: Iterable[TarPart], write: Callable[[bytes], object]
) -> WrittenLayer:
    """Writes the layer; raises BadInput when a member is not what its wheel's directory says."""
    file, tar = CountingHash(), CountingHash()
    for part in parts:
        for piece in _gzip_member(part, tar.update):
            file.update(piece)
            write(piece)
    return WrittenLayer(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


def _gzip_member(part: TarPart, plain: Callable[[bytes], object]) -> Iterator[bytes]:
    """The gzip member of one piece, whose content `plain` gets."""
    yield GZIP_HEADER
    match part:
        case TarHead(data=data):
            plain(data)
            yield fixed_block(data)
            yield _trailer(zlib.crc32(data), len(data))
        case bytes():
            plain(part)
            yield from stored_blocks([part])
            yield _trailer(zlib.crc32(part), len(part))
        case PackedContent(member=member):
            packed = _checked_stream(part, plain)
            yield from packed if member.method == DEFLATED else stored_blocks(packed)
            yield _trailer(member.crc, member.size)


def _checked_stream(part: PackedContent, plain: Callable[[bytes], object]) -> Iterator[bytes]:
    """The bytes as they lie in the wheel, each piece after its content went to `plain`."""
    unpacking = MemberReader(part.wheel.name, part.member)
    for piece in iter_compressed(part.wheel, part.member):
        for content in unpacking.feed(piece):
            plain(content)
        yield piece
    unpacking.finish()


def _trailer(crc: int, size: int) -> bytes:
    """CRC and size, of which a gzip member has only the lower 32 bits."""
    return struct.pack("<2L", crc, size & 0xFFFFFFFF)


GZIP_LEVEL: Final = 6
GZIP_MEMBER_SIZE: Final = 1 << 20


def compress_gzip(parts: Iterable[TarPart], write: Callable[[bytes], object]) -> WrittenLayer:
    """Writes the layer."""
    file, tar = CountingHash(), CountingHash()
    for part in split_stream(tar_bytes(parts), GZIP_MEMBER_SIZE):
        tar.update(part)
        trailer = struct.pack("<2L", zlib.crc32(part), len(part))
        member = GZIP_HEADER + bytes(deflate.deflate_compress(part, GZIP_LEVEL)) + trailer
        file.update(member)
        write(member)
    return WrittenLayer(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


def split_stream(stream: Iterable[bytes], length: int) -> Iterator[bytes]:
    """The same bytes in parts of one length, but for the last."""
    held = bytearray()
    for chunk in stream:
        held += chunk
        while len(held) >= length:
            yield bytes(held[:length])
            del held[:length]
    if held:
        yield bytes(held)


ZSTD_FRAME_SIZE: Final = 4 << 20


def compress_zstd(
    parts: Iterable[TarPart], write: Callable[[bytes], object], *, level: int
) -> WrittenLayer:
    """Writes the layer; raises BadInput when a member is not what its wheel's directory says."""
    file, tar = CountingHash(), CountingHash()
    encoder = ZstdCompressor(level=level, write_checksum=True, write_content_size=True, threads=0)
    for part in split_stream(tar_bytes(parts), ZSTD_FRAME_SIZE):
        tar.update(part)
        frame = encoder.compress(part)
        file.update(frame)
        write(frame)
    return WrittenLayer(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


Press = Callable[[Iterable[TarPart], Callable[[bytes], object]], WrittenLayer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Who writes layers: `press` those of wheels, `pack` what lies in no wheel."""

    press: Press
    pack: Press


def presses(compression: str) -> Codec:
    """Those of a method; raises ValueError for one that there is not."""
    if compression == GZIP:
        return Codec(press=splice_wheel_streams, pack=compress_gzip)

    level = int(compression.removeprefix("zstd"))
    anew = partial(compress_zstd, level=level)
    return Codec(press=anew, pack=anew)
