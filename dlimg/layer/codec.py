"""How layers are compressed: a method's name in keys, such as `gzip` or `zstd3`, to who does it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final

from zstandard import ZstdCompressor

from dlimg.layer.gzip import CountingHash, WrittenLayer, compress, cut, splice
from dlimg.layer.tar import Piece, tar_stream
from dlimg.model import GZIP

PART: Final = 4 << 20


def press(parts: Iterable[Piece], write: Callable[[bytes], object], *, level: int) -> WrittenLayer:
    """Writes the layer; raises BadInput when a member is not what its wheel's directory says."""
    file, tar = CountingHash(), CountingHash()
    encoder = ZstdCompressor(level=level, write_checksum=True, write_content_size=True, threads=0)
    for part in cut(tar_stream(parts), PART):
        tar.update(part)
        frame = encoder.compress(part)
        file.update(frame)
        write(frame)
    return WrittenLayer(digest=file.digest, size=file.size, diff_id=tar.digest, unpacked=tar.size)


Press = Callable[[Iterable[Piece], Callable[[bytes], object]], WrittenLayer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codec:
    """Who writes layers: `press` those of wheels, `pack` what lies in no wheel."""

    press: Press
    pack: Press


def presses(compression: str) -> Codec:
    """Those of a method; raises ValueError for one that there is not."""
    if compression == GZIP:
        return Codec(press=splice, pack=compress)

    level = int(compression.removeprefix("zstd"))
    anew = partial(press, level=level)
    return Codec(press=anew, pack=anew)
