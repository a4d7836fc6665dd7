"""Layers that came from elsewhere, as gzip, to layers of another compression."""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

from dlimg.assembly.wheel_layer import LayerContext
from dlimg.errors import Negative
from dlimg.layer.gzip import WrittenLayer
from dlimg.model import GZIP
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.store import find, make

_PIECE: Final = 1 << 20
_GZIP: Final = 31  # zlib's number for a gzip header and trailer


def recompressed(layers: Sequence[Layer], workshop: LayerContext) -> tuple[Layer, ...]:
    """These layers of the store in the workshop's compression; the same ones where it is gzip.

    Raises Negative for one whose bytes are not what they were.
    """
    if workshop.compression == GZIP:
        return tuple(layers)
    return tuple(_recompressed(layer, workshop) for layer in layers)


def recompressed_key(layer: Layer, compression: str) -> LayerKey:
    """What a layer is made from here is a tar: its diff id."""
    source = layer.diff_id.removeprefix("sha256:")
    return LayerKey(kind="system", source=source, compression=compression)


def inflated(blob: Path) -> Iterator[bytes]:
    """What a gzip file of any number of members holds, in pieces; raises zlib.error, EOFError."""
    with blob.open("rb") as file:
        yield from inflate(iter(lambda: file.read(_PIECE), b""))


def inflate(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """The same for a gzip file that comes in pieces."""
    inflater = zlib.decompressobj(_GZIP)
    for compressed in pieces:
        piece, text = compressed, b""
        # zlib may have taken all of a piece and still hold back what it had no room for.
        while piece or len(text) == _PIECE:
            if inflater.eof:
                inflater = zlib.decompressobj(_GZIP)
            text = inflater.decompress(piece, _PIECE)
            yield text
            piece = inflater.unused_data or inflater.unconsumed_tail
    if not inflater.eof:
        raise EOFError("it is cut off")


def _recompressed(layer: Layer, workshop: LayerContext) -> Layer:
    def write(file: IO[bytes]) -> WrittenLayer:
        blob = workshop.store.blob(layer)
        try:
            written = workshop.pack(inflated(blob), file.write)
        except (zlib.error, EOFError) as error:
            raise _damaged(layer) from error
        if written.diff_id != layer.diff_id:
            raise _damaged(layer)
        return written

    key = recompressed_key(layer, workshop.compression)
    words = "system"
    return find(workshop.store, key) or make(workshop.store, key, write, workshop.say, words=words)


def _damaged(layer: Layer) -> Negative:
    return Negative(
        f"the store's layer {layer.digest} is damaged",
        hint="run `dlimg layers verify`, then build again: it is made anew",
    )
