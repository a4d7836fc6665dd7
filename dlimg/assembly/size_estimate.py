"""The layers of an image that may not be built yet: from the store what it has, else estimated.

Nothing is asked but the store. A lock tells the size of each wheel, and a wheel's layer has that
size within a thousandth; what systems and byte code come to was measured once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from dlimg.assembly.cell_layer import cell_layer_files
from dlimg.assembly.wheel_to_layer import is_large, small_wheels_keys, wheel_keys
from dlimg.model import Cell, Flavour, Lock, Wheel
from dlimg.render.naming import WHEELS_LABEL, wheels_text
from dlimg.store.image_manifest import (
    BYTECODE_HISTORY,
    CELL_HISTORY,
    AssembledImage,
    ImageLayer,
    LayerRank,
    base_history,
    bytecode_history,
    order_layers,
    rank_wheel,
    small_wheels_history,
    system_history,
    wheel_history,
)
from dlimg.store.images import saved_images
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, list_layers

# What layers came to on 2026-11-21, in bytes as they are pulled.
BASE: Final = 30_000_000
SYSTEM: Final[Mapping[Flavour, int]] = {
    Flavour.RUNTIME: 12_000_000,
    Flavour.WORKSPACE: 12_000_000,
    Flavour.COMPILE: 106_000_000,
    Flavour.DEVEL: 106_000_000,
}
MANAGED_PYTHON: Final = 30_000_000
OWN: Final = 1_000_000
# Byte code for each byte of a wheel: of Python alone, of Python with much else (large ones hold
# data), with compiled libraries, and of a library alone; and what it never was more than.
PURE: Final = 1.2
DATA: Final = 0.1
MIXED: Final = 0.15
LIBRARY: Final = 0.01
MOST: Final = 25_000_000
APART: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEstimate:
    """A layer of an image, in words; `exact` when it is in the store, else its size is a guess."""

    digest: str
    size: int
    words: str
    height: LayerRank
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledRecord:
    """An image that was assembled: its wheels as its label names them, its layers with words."""

    wheels: str
    layers: tuple[tuple[Layer, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIndex:
    """What a store knows: layers by key, the last image of each cell, and other parts by words.

    `others` are layers of systems and of single wheels' byte code, by OS, Python and words, and
    `compiled` all byte code of an image, by OS, Python and the label that names its wheels.
    """

    layers: Mapping[str, Layer]
    images: Mapping[str, AssembledRecord]
    others: Mapping[tuple[str, str, str], Layer]
    compiled: Mapping[tuple[str, str, str], Sequence[tuple[Layer, str]]]


def read_store_index(store: Store) -> StoreIndex:
    """All that the store has; an empty one knows nothing, and nothing is made."""
    found: dict[str, AssembledRecord] = {}
    others: dict[tuple[str, str, str], Layer] = {}
    compiled: dict[tuple[str, str, str], Sequence[tuple[Layer, str]]] = {}
    for image in saved_images(store):
        labels, one = _recorded(image)
        found[labels.get("io.dlimg.cell", "")] = one
        os, python = labels.get("io.dlimg.os", ""), labels.get("io.dlimg.python", "")
        others |= {(os, python, words): layer for layer, words in one.layers}
        code = [pair for pair in one.layers if pair[1].startswith("byte code")]
        compiled[os, python, one.wheels] = code
    layers = {str(key): layer for key, layer in list_layers(store)}
    return StoreIndex(layers=layers, images=found, others=others, compiled=compiled)


def estimate_layers(
    cell: Cell, lock: Lock, store: StoreIndex, *, compression: str
) -> tuple[LayerEstimate, ...]:
    """The layers of the cell's image, lowest first.

    Those of the image itself where it was assembled from these wheels; else what they would be.
    """
    recorded = store.images.get(cell.id)
    if recorded and recorded.wheels == wheels_text(lock):
        return tuple(_as_recorded(lock, recorded))
    exact = set[str]()
    parts = []
    for part, is_exact in _expected(cell, lock, store, compression):
        parts.append(part)
        if is_exact:
            exact.add(part.layer.digest)
    heights = {part.layer.digest: part.height for part in parts}
    return tuple(
        LayerEstimate(
            digest=layer.digest,
            size=layer.size,
            words=words,
            height=heights[layer.digest],
            exact=layer.digest in exact,
        )
        for layer, words in order_layers(parts)
    )


def _recorded(image: AssembledImage) -> tuple[Mapping[str, str], AssembledRecord]:
    config = json.loads(image.config)
    labels: Mapping[str, str] = config["config"].get("Labels") or {}
    words = [str(step.get("created_by", "")) for step in config.get("history") or ()]
    layers = tuple(zip(image.layers, words, strict=False))
    return labels, AssembledRecord(wheels=labels.get(WHEELS_LABEL, ""), layers=layers)


def _as_recorded(lock: Lock, recorded: AssembledRecord) -> Iterator[LayerEstimate]:
    by_name = {wheel.name: wheel for wheel in lock.wheels}
    for layer, words in recorded.layers:
        yield LayerEstimate(
            digest=layer.digest,
            size=layer.size,
            words=words,
            height=_height(words, by_name),
            exact=True,
        )


def _height(words: str, wheels: Mapping[str, Wheel]) -> LayerRank:
    """Where the layer of these words lies; what the words do not tell is the image's own."""
    kind, _, rest = words.partition(": ")
    name = rest.partition(" ")[0]
    if kind == "wheel" and name in wheels:
        return rank_wheel(wheels[name])
    kinds = {
        "base": LayerRank.SYSTEM,
        "system": LayerRank.SYSTEM,
        "byte code": LayerRank.COMPILED,
        "small wheels": LayerRank.SMALL,
    }
    return (
        LayerRank.BYTECODE if words.startswith("byte code of") else kinds.get(kind, LayerRank.OWN)
    )


def _expected(
    cell: Cell, lock: Lock, store: StoreIndex, compression: str
) -> Iterator[tuple[ImageLayer, bool]]:
    """Each part, and whether it is in the store."""
    python = cell.python
    small = [wheel for wheel in lock.wheels if not is_large(wheel)]
    for wheel in lock.wheels:
        if is_large(wheel):
            keys = wheel_keys(wheel, python=python, compression=compression)
            layer, is_exact = _either(store, keys, wheel.size)
            yield _part(layer, wheel_history(wheel), rank_wheel(wheel), wheel.size), is_exact
    if small:
        keys = small_wheels_keys(small, python=python, compression=compression)
        layer, is_exact = _either(store, keys, sum(one.size for one in small))
        yield _part(layer, small_wheels_history(small), LayerRank.SMALL), is_exact
    layer, is_exact = _either(store, (cell_layer_files(cell, lock).key(compression),), OWN)
    yield _part(layer, CELL_HISTORY, LayerRank.OWN), is_exact
    for part in (*_system(cell, store), *_bytecode(cell, lock, store)):
        yield part, False


def _either(store: StoreIndex, keys: Sequence[LayerKey], size: int) -> tuple[Layer, bool]:
    """The layer under one of these keys, or one of about this size; and which of both it is."""
    found = next((store.layers[str(key)] for key in keys if str(key) in store.layers), None)
    return (found, True) if found else (_guess(size, str(keys[0])), False)


def _system(cell: Cell, store: StoreIndex) -> Iterator[ImageLayer]:
    """The base and what is put on it: as another image on the same has it, or by experience."""
    os, python = cell.os.name, cell.python
    managed = MANAGED_PYTHON if cell.managed_python else 0
    for words, size, source in (
        (base_history(cell), BASE, ""),
        (system_history(cell), SYSTEM[cell.flavour] + managed, f"{python} {cell.managed_python}"),
    ):
        layer = store.others.get((os, python, words)) or _guess(size, words, os, source)
        yield _part(layer, words, LayerRank.SYSTEM)


def _bytecode(cell: Cell, lock: Lock, store: StoreIndex) -> Iterator[ImageLayer]:
    """Byte code as an image with the same wheels has it, or that of each wheel as another has."""
    os, python = cell.os.name, cell.python
    code = store.compiled.get((os, python, wheels_text(lock)))
    if code:
        by_words = {bytecode_history(wheel): wheel.size for wheel in lock.wheels}
        for layer, words in code:
            is_apart = words in by_words
            height = LayerRank.COMPILED if is_apart else LayerRank.BYTECODE
            yield _part(layer, words, height, by_words.get(words, 0))
        return
    rest: list[Wheel] = []
    for wheel in lock.wheels:
        words, size = bytecode_history(wheel), _compiled_size(wheel)
        found = store.others.get((os, python, words))
        if found or size >= APART:
            layer = found or _guess(size, wheel.sha256, os, python)
            yield _part(layer, words, LayerRank.COMPILED, wheel.size)
        elif size:
            rest.append(wheel)
    if rest:
        hashes = sorted(wheel.sha256 for wheel in rest)
        layer = _guess(sum(map(_compiled_size, rest)), "byte code", *hashes, os, python)
        yield _part(layer, BYTECODE_HISTORY, LayerRank.BYTECODE)


def _compiled_size(wheel: Wheel) -> int:
    """What its byte code may come to; CUDA's libraries have next to none."""
    if rank_wheel(wheel) in {LayerRank.COMMON, LayerRank.CUDA}:
        return 0
    if wheel.file.endswith("-none-any.whl"):
        share = DATA if is_large(wheel) else PURE
    else:
        # What fits every Python and one platform is a library, and hardly any Python.
        share = LIBRARY if "-none-" in wheel.file else MIXED
    return int(min(wheel.size * share, MOST))


def _part(layer: Layer, words: str, height: LayerRank, wheel_size: int = 0) -> ImageLayer:
    return ImageLayer(layer=layer, words=words, height=height, wheel_size=wheel_size)


@cache  # hundreds of images share most of their layers
def _guess(size: int, *source: str) -> Layer:
    """A layer that is not there: its digest tells it apart, and is that of no content."""
    name = f"sha256:{hash_texts(['expected', *source])}"
    return Layer(digest=name, size=size, diff_id=name, unpacked=0)
