"""How layers are compressed: a method's name in keys, such as `gzip` or `zstd3`, to who does it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from dlimg.layers.compress import compress
from dlimg.layers.splice import Spliced, splice
from dlimg.layers.tar import Piece
from dlimg.model import GZIP

Press = Callable[[Iterable[Piece], Callable[[bytes], object]], Spliced]


@dataclass(frozen=True, slots=True, kw_only=True)
class Presses:
    """Who writes layers: `press` those of wheels, `pack` what lies in no wheel."""

    press: Press
    pack: Press


def presses(compression: str) -> Presses:
    """Those of a method; raises ValueError for one that there is not."""
    if compression == GZIP:
        return Presses(press=splice, pack=compress)
    from dlimg.layers import zstd  # noqa: PLC0415 - costs 5 ms, and most images need none of it

    level = int(compression.removeprefix("zstd"))
    anew = partial(zstd.press, level=level)
    return Presses(press=anew, pack=anew)
