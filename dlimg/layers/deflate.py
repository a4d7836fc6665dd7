"""Deflate streams written here, and so the same under every compression library.

Two forms, both part of the layers' format: blocks that are merely stored, for content, and one
block with the fixed codes, in which only runs of one byte are shortened, for tar headers. Those
are mostly zeros, and shrink to a fifth.

The format is that of RFC 1951, sections 3.2.3 to 3.2.6.
"""

import re
import struct
from collections.abc import Iterable, Iterator
from typing import Final

LARGEST_BLOCK: Final = 65_535
_RUN: Final = re.compile(rb"(.)\1{3,}", re.DOTALL)
_EIGHT_BITS: Final = 144
_FLUSHED: Final = 2048  # bits that are held, so that the numbers stay small
_LONGEST_MATCH: Final = 258
_SHORTEST_MATCH: Final = 3


def stored(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The content as stored blocks, cut at the same places however it came in chunks."""
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) > LARGEST_BLOCK:
            yield _block(bytes(held[:LARGEST_BLOCK]), last=0)
            del held[:LARGEST_BLOCK]
    yield _block(bytes(held), last=1)


def squeezed(text: bytes) -> bytes:
    """The content as one block with fixed codes: bytes as they are, and runs."""
    out = bytearray()
    value, width = 0b011, 3  # the last block, with fixed codes
    for code, bits in _codes(text):
        value |= code << width
        width += bits
        if width >= _FLUSHED:
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
        while left >= _SHORTEST_MATCH:
            length = min(left, _LONGEST_MATCH)
            yield _MATCHES[length]
            left -= length
        position = run.end() - left
    yield from _literals(text[position:])
    yield _SYMBOLS[256]


def _literals(text: bytes) -> Iterator[tuple[int, int]]:
    """The codes of bytes as they are; those below 144 have eight bits, and go together."""
    if text and max(text) < _EIGHT_BITS:
        yield int.from_bytes(text.translate(_REVERSED), "little"), 8 * len(text)
    else:
        yield from (_SYMBOLS[byte] for byte in text)


def _symbol(number: int) -> tuple[int, int]:
    """A literal's or length's code, its bits in the order in which they are written."""
    if number < _EIGHT_BITS:
        code, bits = 0x30 + number, 8
    elif number < 256:
        code, bits = 0x190 + number - _EIGHT_BITS, 9
    elif number < 280:
        code, bits = number - 256, 7
    else:
        code, bits = 0xC0 + number - 280, 8
    return int(f"{code:0{bits}b}"[::-1], 2), bits


def _match(length: int) -> tuple[int, int]:
    """The code for going on with the last byte: a length, its extra bits, and distance 1."""
    number, extra, start = 257, 0, _SHORTEST_MATCH
    if length == _LONGEST_MATCH:
        number, start = 285, _LONGEST_MATCH
    else:
        while length >= start + (1 << extra):
            start += 1 << extra
            number += 1
            extra = max(0, (number - 261) // 4)
    code, bits = _symbol(number)
    return code | (length - start) << bits, bits + extra + 5


_SYMBOLS: Final = tuple(_symbol(number) for number in range(286))
_REVERSED: Final = bytes(code & 0xFF for code, _ in _SYMBOLS[:256])
_MATCHES: Final = {length: _match(length) for length in range(_SHORTEST_MATCH, _LONGEST_MATCH + 1)}
