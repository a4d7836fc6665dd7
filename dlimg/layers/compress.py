"""The pieces of a tar to a gzip file, compressed anew: for what lies in no wheel.

The stream is cut at fixed places, and each part is a gzip member of its own. The encoder is
libdeflate of exactly one release, whose output depends on its input and its level alone: it is
a part of the layers' format, as is the length of a part.
"""

import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import deflate

from dlimg.layers.splice import MEMBER_HEADER, Counted, Spliced
from dlimg.layers.tar import Piece, tar_stream

LEVEL: Final = 6
PART: Final = 1 << 20


def compress(parts: Iterable[Piece], write: Callable[[bytes], object]) -> Spliced:
    """Writes the layer."""
    file, tar = Counted(), Counted()
    for part in cut(tar_stream(parts), PART):
        tar.update(part)
        trailer = struct.pack("<2L", zlib.crc32(part), len(part))
        member = MEMBER_HEADER + bytes(deflate.deflate_compress(part, LEVEL)) + trailer
        file.update(member)
        write(member)
    return Spliced(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


def cut(stream: Iterable[bytes], length: int) -> Iterator[bytes]:
    """The same bytes in parts of one length, but for the last."""
    held = bytearray()
    for chunk in stream:
        held += chunk
        while len(held) >= length:
            yield bytes(held[:length])
            del held[:length]
    if held:
        yield bytes(held)
