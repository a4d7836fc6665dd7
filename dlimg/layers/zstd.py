"""The pieces of a tar to a zstd file, for people who value the time to pull.

The stream is cut at fixed places, and each part is a frame of its own, which knows its size and
has a checksum. The encoder is zstandard of exactly one release, which brings its own libzstd:
what comes out depends on the tar and the level alone. Both are a part of the layers' format.

The format is that of RFC 8878; readers take frames one behind another as one stream.
"""

from collections.abc import Callable, Iterable
from typing import Final

from zstandard import ZstdCompressor

from dlimg.layers.compress import cut
from dlimg.layers.splice import Counted, Spliced
from dlimg.layers.tar import Piece, tar_stream

PART: Final = 4 << 20


def press(parts: Iterable[Piece], write: Callable[[bytes], object], *, level: int) -> Spliced:
    """Writes the layer; raises BadInput when a member is not what its wheel's directory says."""
    file, tar = Counted(), Counted()
    encoder = ZstdCompressor(level=level, write_checksum=True, write_content_size=True, threads=0)
    for part in cut(tar_stream(parts), PART):
        tar.update(part)
        frame = encoder.compress(part)
        file.update(frame)
        write(frame)
    return Spliced(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)
