"""Compression of layers: gzip spliced from a wheel's own streams, plain gzip, or zstd.

*Splicing*: a wheel is a zip of deflate streams, and a gzip file may consist of many members. So a
file's gzip member is a header, the deflate stream as it is in the wheel, and the CRC and size from
the wheel's directory. Nothing is compressed again; streams are inflated only to check them and to
compute the diff id. The gzip format is that of RFC 1952. What is written depends on the parts and
on FORMAT alone.
"""

import hashlib
import re
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import deflate
from zstandard import ZstdCompressor, ZstdDecompressor

from dlimg.layer.entries import PackedContent
from dlimg.layer.tar import TarHead, TarPart, tar_bytes
from dlimg.model import GZIP
from dlimg.wheel.archive import DEFLATED
from dlimg.wheel.unpack import MemberReader, iter_compressed

# The number of the layer format: raise it with every change to a layer's bytes, or to what they
# are made from.
FORMAT: Final = 2

# Deflate, no flags, no time, no hint on the effort, an unknown system.
GZIP_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
GZIP_LEVEL: Final = 6
GZIP_MEMBER_SIZE: Final = 1 << 20
ZSTD_FRAME_SIZE: Final = 4 << 20

MAX_STORED_BLOCK: Final = 65_535
_RUN: Final = re.compile(rb"(.)\1{3,}", re.DOTALL)
_FIRST_9_BIT: Final = 144
_FLUSH_BITS: Final = 2048  # written at this many bits, so that the integers stay small
_MAX_MATCH: Final = 258
_MIN_MATCH: Final = 3
_CHUNK_SIZE: Final = 1 << 20
_GZIP_WINDOW: Final = 31  # zlib's number for a gzip header and trailer

Write = Callable[[bytes], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class WrittenLayer:
    """A written layer: digest and bytes of the compressed file, diff id and bytes of its tar."""

    digest: str
    size: int
    diff_id: str
    unpacked: int


class CountingHash:
    """A sha256 that counts the bytes that it hashed."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()
        self.size = 0

    def update(self, data: bytes) -> None:
        self.hash.update(data)
        self.size += len(data)

    @property
    def digest(self) -> str:
        return f"sha256:{self.hash.hexdigest()}"


def compress_wheel(parts: Iterable[TarPart], write: Write, compression: str) -> WrittenLayer:
    """Write a layer of wheel files: spliced for gzip, compressed anew for zstd.

    Raises BadInput for a member that differs from its wheel's directory, ValueError for an
    unknown compression.
    """
    if compression == GZIP:
        return splice_wheel_streams(parts, write)
    return compress_zstd(parts, write, level=_zstd_level(compression))


def compress_other(parts: Iterable[TarPart], write: Write, compression: str) -> WrittenLayer:
    """Write a layer of a tar that does not come from a wheel; raises as `compress_wheel`."""
    if compression == GZIP:
        return compress_gzip(parts, write)
    return compress_zstd(parts, write, level=_zstd_level(compression))


def splice_wheel_streams(parts: Iterable[TarPart], write: Write) -> WrittenLayer:
    """Write a gzip layer that holds the wheels' own deflate streams.

    Raises BadInput for a member that differs from its wheel's directory.
    """
    file, tar = CountingHash(), CountingHash()
    for part in parts:
        for chunk in _gzip_member(part, tar.update):
            file.update(chunk)
            write(chunk)
    return WrittenLayer(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


def compress_gzip(parts: Iterable[TarPart], write: Write) -> WrittenLayer:
    """Write a gzip layer of this tar, in members of `GZIP_MEMBER_SIZE`."""
    file, tar = CountingHash(), CountingHash()
    for chunk in split_stream(tar_bytes(parts), GZIP_MEMBER_SIZE):
        tar.update(chunk)
        trailer = _gzip_trailer(zlib.crc32(chunk), len(chunk))
        member = GZIP_HEADER + bytes(deflate.deflate_compress(chunk, GZIP_LEVEL)) + trailer
        file.update(member)
        write(member)
    return WrittenLayer(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


def compress_zstd(parts: Iterable[TarPart], write: Write, *, level: int) -> WrittenLayer:
    """Write a zstd layer of this tar, in frames of `ZSTD_FRAME_SIZE`."""
    file, tar = CountingHash(), CountingHash()
    encoder = ZstdCompressor(level=level, write_checksum=True, write_content_size=True, threads=0)
    for chunk in split_stream(tar_bytes(parts), ZSTD_FRAME_SIZE):
        tar.update(chunk)
        frame = encoder.compress(chunk)
        file.update(frame)
        write(frame)
    return WrittenLayer(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


def _zstd_level(compression: str) -> int:
    return int(compression.removeprefix("zstd"))


def split_stream(stream: Iterable[bytes], length: int) -> Iterator[bytes]:
    """Yield the stream's bytes in chunks of this length; the last one may be shorter."""
    buffer = bytearray()
    for chunk in stream:
        buffer += chunk
        while len(buffer) >= length:
            yield bytes(buffer[:length])
            del buffer[:length]
    if buffer:
        yield bytes(buffer)


def inflate_file(path: Path) -> Iterator[bytes]:
    """Yield the content of a gzip file; raises as `inflate`."""
    with path.open("rb") as file:
        yield from inflate(iter(lambda: file.read(_CHUNK_SIZE), b""))


def inflate(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a gzip stream of any number of members.

    Raises zlib.error for a damaged stream, EOFError for one that is cut off.
    """
    inflater = zlib.decompressobj(_GZIP_WINDOW)
    for chunk in chunks:
        compressed, content = chunk, b""
        # zlib may have consumed the whole chunk and still hold back output beyond the limit.
        while compressed or len(content) == _CHUNK_SIZE:
            if inflater.eof:
                inflater = zlib.decompressobj(_GZIP_WINDOW)
            content = inflater.decompress(compressed, _CHUNK_SIZE)
            yield content
            compressed = inflater.unused_data or inflater.unconsumed_tail
    if not inflater.eof:
        raise EOFError("the gzip stream is cut off")


def inflate_zstd(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content of a zstd stream of any number of frames.

    Raises ZstdError for a damaged stream. One that is cut off yields what was read until then.
    """
    source: Any = _ChunkReader(iter(chunks))
    with ZstdDecompressor().stream_reader(source, read_across_frames=True) as reader:
        while content := reader.read(_CHUNK_SIZE):
            yield content


class _ChunkReader:
    """Chunks of bytes as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int) -> bytes:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._rest = chunk
        part, self._rest = self._rest[:size], self._rest[size:]
        return part


def _gzip_member(part: TarPart, on_content: Write) -> Iterator[bytes]:
    """Yield the gzip member of a part, after passing its content to `on_content`."""
    yield GZIP_HEADER
    match part:
        case TarHead(data=data):
            on_content(data)
            yield fixed_block(data)
            yield _gzip_trailer(zlib.crc32(data), len(data))
        case bytes():
            on_content(part)
            yield from stored_blocks([part])
            yield _gzip_trailer(zlib.crc32(part), len(part))
        case PackedContent(member=member):
            stream = _checked_stream(part, on_content)
            yield from stream if member.method == DEFLATED else stored_blocks(stream)
            yield _gzip_trailer(member.crc, member.size)


def _checked_stream(part: PackedContent, on_content: Write) -> Iterator[bytes]:
    """Yield a member's bytes as they are in the wheel, each chunk after inflating it."""
    reader = MemberReader(part.wheel.name, part.member)
    for chunk in iter_compressed(part.wheel, part.member):
        for content in reader.feed(chunk):
            on_content(content)
        yield chunk
    reader.finish()


def _gzip_trailer(crc: int, size: int) -> bytes:
    """CRC and size; a gzip trailer has room for the size's lower 32 bits."""
    return struct.pack("<2L", crc, size & 0xFFFFFFFF)


def stored_blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the content as stored deflate blocks, whose sizes do not depend on the chunks'."""
    buffer = bytearray()
    for chunk in chunks:
        buffer += chunk
        while len(buffer) > MAX_STORED_BLOCK:
            yield _stored_block(bytes(buffer[:MAX_STORED_BLOCK]), last=0)
            del buffer[:MAX_STORED_BLOCK]
    yield _stored_block(bytes(buffer), last=1)


def fixed_block(data: bytes) -> bytes:
    """Return the data as one deflate block with fixed Huffman codes, in which runs are matches."""
    out = bytearray()
    value, width = 0b011, 3  # the header of a last block with fixed codes
    for code, bits in _codes(data):
        value |= code << width
        width += bits
        if width >= _FLUSH_BITS:
            size = width // 8
            out += (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")
            value >>= 8 * size
            width -= 8 * size
    return bytes(out) + value.to_bytes((width + 7) // 8, "little")


def _stored_block(content: bytes, *, last: int) -> bytes:
    size = len(content)
    return struct.pack("<BHH", last, size, size ^ 0xFFFF) + content


def _codes(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the codes of the data and of the block's end, with the number of bits of each."""
    position = 0
    for run in _RUN.finditer(data):
        yield from _literals(data[position : run.start() + 1])
        zeros = run.end() - run.start() - 1
        while zeros >= _MIN_MATCH:
            length = min(zeros, _MAX_MATCH)
            yield _MATCHES[length]
            zeros -= length
        position = run.end() - zeros
    yield from _literals(data[position:])
    yield _SYMBOLS[256]


def _literals(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield the codes of literal bytes; the eight-bit codes of bytes below 144 come in one."""
    if data and max(data) < _FIRST_9_BIT:
        yield int.from_bytes(data.translate(_REVERSED), "little"), 8 * len(data)
    else:
        yield from (_SYMBOLS[byte] for byte in data)


def _symbol(number: int) -> tuple[int, int]:
    """Return the code of a literal or length, its bits in writing order, and their number."""
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
    """Return the code that repeats the last byte: a length, its extra bits, and distance 1."""
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
