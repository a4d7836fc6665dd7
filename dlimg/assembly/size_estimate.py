"""Sizes of images that may not have been built: exact for layers in the store, else estimated.

Only the lock and the store are read. A wheel's gzip layer is as large as the wheel, within a
thousandth; the sizes of systems and byte code, and the share of zstd, were measured once.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from dlimg.assembly.cell_layer import cell_layer_files
from dlimg.assembly.wheel_to_layer import is_large, small_wheels_keys, wheel_keys
from dlimg.model import GZIP, Cell, Flavour, Lock, Wheel
from dlimg.render.naming import WHEELS_LABEL, wheels_text
from dlimg.store.image_manifest import (
    BYTECODE_HISTORY,
    CELL_HISTORY,
    AssembledImage,
    ImageLayer,
    LayerRank,
    base_history,
    bytecode_history,
    is_cuda_wheel,
    order_layers,
    rank_wheel,
    small_wheels_history,
    system_history,
    wheel_history,
)
from dlimg.store.images import saved_images
from dlimg.store.keys import Layer, LayerKey, hash_texts
from dlimg.store.store import Store, list_layers

# Bytes of gzip layers, measured on 2026-11-21.
BASE: Final = 30_000_000
SYSTEM: Final[Mapping[Flavour, int]] = {
    Flavour.RUNTIME: 12_000_000,
    Flavour.WORKSPACE: 143_000_000,
    Flavour.COMPILE: 106_000_000,
    Flavour.DEVEL: 106_000_000,
}
UV_PYTHON: Final = 30_000_000
CELL: Final = 1_000_000
# The bytes of zstd layers for each byte of gzip layers, measured on 2026-11-29 with PyTorch 2.15.0
# on CUDA 13.2: 2,807 of 3,103 MB at level 3, and 5 % fewer at level 9.
ZSTD: Final = 0.905
ZSTD_9: Final = 0.86
_LEVEL_9: Final = 9
# Byte code for each byte of a wheel: of Python alone, of Python with much else (large ones hold
# data), with compiled libraries, and of a library alone; and the most that any wheel had.
PURE: Final = 1.2
DATA: Final = 0.1
MIXED: Final = 0.15
LIBRARY: Final = 0.01
MAX_BYTECODE: Final = 25_000_000
# Byte code from this size on is taken for a layer of its own.
LARGE_BYTECODE: Final = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerEstimate:
    """A layer of an image: `exact` if it is in the store, else its size is estimated."""

    digest: str
    size: int
    rank: LayerRank
    history: str
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AssembledRecord:
    """An image that was assembled: the label with its wheels, and its layers, lowest first."""

    wheels: str
    layers: tuple[ImageLayer, ...]

    @property
    def compression(self) -> str:
        return self.layers[-1].layer.compression if self.layers else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreIndex:
    """The content of a store, indexed for estimates.

    `layers` are indexed by key and `images`, the latest of each cell, by cell. `others` are the
    layers of systems and the byte code layers of single wheels, by OS, Python and history.
    `bytecode` has all byte code layers of an image, by OS, Python and the label with the image's
    wheels.
    """

    layers: Mapping[str, Layer]
    images: Mapping[str, AssembledRecord]
    others: Mapping[tuple[str, str, str], Layer]
    bytecode: Mapping[tuple[str, str, str], Sequence[ImageLayer]]


def read_store_index(store: Store) -> StoreIndex:
    """Read the index of a store, which may not exist; nothing is created."""
    records: dict[str, AssembledRecord] = {}
    others: dict[tuple[str, str, str], Layer] = {}
    bytecode: dict[tuple[str, str, str], Sequence[ImageLayer]] = {}
    for assembled in saved_images(store):
        labels, record = _read_image(assembled)
        records[labels.get("io.dlimg.cell", "")] = record
        os, python = labels.get("io.dlimg.os", ""), labels.get("io.dlimg.python", "")
        others |= {(os, python, entry.history): entry.layer for entry in record.layers}
        bytecode[os, python, record.wheels] = [
            entry
            for entry in record.layers
            if entry.rank in {LayerRank.WHEEL_BYTECODE, LayerRank.BYTECODE}
        ]
    layers = {str(key): layer for key, layer in list_layers(store)}
    return StoreIndex(layers=layers, images=records, others=others, bytecode=bytecode)


def estimate_layers(
    cell: Cell, lock: Lock, store: StoreIndex, *, compression: str
) -> tuple[LayerEstimate, ...]:
    """Return the layers of the cell's image, lowest first.

    They are the image's own if it was assembled from these wheels, else estimated.
    """
    record = store.images.get(cell.id)
    if record and record.wheels == wheels_text(lock) and record.compression == compression:
        return tuple(_estimate(entry, exact=True) for entry in record.layers)
    exact = set[str]()
    share = _share(compression)
    layers = [*_system_layers(cell, store, share), *_bytecode_layers(cell, lock, store, share)]
    for entry, is_exact in _stored_layers(cell, lock, store, compression):
        layers.append(entry)
        if is_exact:
            exact.add(entry.layer.digest)
    return tuple(
        _estimate(entry, exact=entry.layer.digest in exact) for entry in order_layers(layers)
    )


def _estimate(entry: ImageLayer, *, exact: bool) -> LayerEstimate:
    return LayerEstimate(
        digest=entry.layer.digest,
        size=entry.layer.size,
        rank=entry.rank,
        history=entry.history,
        exact=exact,
    )


def _read_image(image: AssembledImage) -> tuple[Mapping[str, str], AssembledRecord]:
    """Return the labels and layers of an image in the store."""
    config = json.loads(image.config)
    labels: Mapping[str, str] = config["config"].get("Labels") or {}
    steps = [str(step.get("created_by", "")) for step in config.get("history") or ()]
    # Records of an older dlimg have no ranks: for one release they follow from the history.
    ranks = image.ranks or tuple(_rank_by_history(history) for history in steps)
    layers = tuple(
        ImageLayer(layer=layer, rank=rank, history=history)
        for layer, rank, history in zip(image.layers, ranks, steps, strict=False)
    )
    return labels, AssembledRecord(wheels=labels.get(WHEELS_LABEL, ""), layers=layers)


def _rank_by_history(history: str) -> LayerRank:
    kind, _, rest = history.partition(": ")
    if kind == "wheel":
        is_cuda = is_cuda_wheel(rest.partition(" ")[0])
        return LayerRank.CUDA if is_cuda else LayerRank.FRAMEWORK
    ranks = {
        "base": LayerRank.SYSTEM,
        "system": LayerRank.SYSTEM,
        "byte code": LayerRank.WHEEL_BYTECODE,
        "small wheels": LayerRank.SMALL_WHEELS,
        BYTECODE_HISTORY: LayerRank.BYTECODE,
    }
    return ranks.get(kind, LayerRank.CELL)


def _stored_layers(
    cell: Cell, lock: Lock, store: StoreIndex, compression: str
) -> Iterator[tuple[ImageLayer, bool]]:
    """Yield the cell's layers that follow from the lock, and whether the store has each."""
    python = cell.python
    small = [wheel for wheel in lock.wheels if not is_large(wheel)]
    for wheel in lock.wheels:
        if is_large(wheel):
            keys = wheel_keys(wheel, python=python, compression=compression)
            layer, is_exact = _find_or_guess(store, keys, wheel.size)
            rank = rank_wheel(wheel)
            yield _layer(layer, wheel_history(wheel), rank, wheel.size), is_exact
    if small:
        keys = small_wheels_keys(
            small, python=python, compression=compression, shared=lock.shared_paths
        )
        layer, is_exact = _find_or_guess(store, keys, sum(wheel.size for wheel in small))
        yield _layer(layer, small_wheels_history(small), LayerRank.SMALL_WHEELS), is_exact
    key = cell_layer_files(cell, lock).key(compression)
    layer, is_exact = _find_or_guess(store, (key,), CELL)
    yield _layer(layer, CELL_HISTORY, LayerRank.CELL), is_exact


def _find_or_guess(store: StoreIndex, keys: Sequence[LayerKey], size: int) -> tuple[Layer, bool]:
    """Return the layer under one of the keys and True, or one of this size and False."""
    layers = (store.layers[str(key)] for key in keys if str(key) in store.layers)
    layer = next(layers, None)
    if layer:
        return layer, True
    return _guess(int(size * _share(keys[0].compression)), str(keys[0])), False


def _share(compression: str) -> float:
    """Return the bytes of a layer in this compression for each byte of it as gzip."""
    if compression == GZIP:
        return 1.0
    return ZSTD if int(compression.removeprefix("zstd")) < _LEVEL_9 else ZSTD_9


def _system_layers(cell: Cell, store: StoreIndex, share: float) -> Iterator[ImageLayer]:
    """Yield base and system, of the size that they have in another image on the same system."""
    os, python = cell.os.name, cell.python
    uv_python = UV_PYTHON if cell.managed_python else 0
    for history, size, source in (
        (base_history(cell), BASE, ""),
        (system_history(cell), SYSTEM[cell.flavour] + uv_python, f"{python} {cell.managed_python}"),
    ):
        layer = store.others.get((os, python, history)) or _guess(
            int(size * share), history, os, source
        )
        yield _layer(layer, history, LayerRank.SYSTEM)


def _bytecode_layers(
    cell: Cell, lock: Lock, store: StoreIndex, share: float
) -> Iterator[ImageLayer]:
    """Yield byte code of the size that it has in an image with the same wheels, or by wheel."""
    os, python = cell.os.name, cell.python
    recorded = store.bytecode.get((os, python, wheels_text(lock)))
    if recorded:
        sizes = {bytecode_history(wheel): wheel.size for wheel in lock.wheels}
        for entry in recorded:
            size = sizes.get(entry.history, 0)
            yield _layer(entry.layer, entry.history, entry.rank, size)
        return
    rest: list[Wheel] = []
    for wheel in lock.wheels:
        history, size = bytecode_history(wheel), _bytecode_size(wheel)
        stored = store.others.get((os, python, history))
        if stored or size >= LARGE_BYTECODE:
            layer = stored or _guess(int(size * share), wheel.sha256, os, python)
            yield _layer(layer, history, LayerRank.WHEEL_BYTECODE, wheel.size)
        elif size:
            rest.append(wheel)
    if rest:
        hashes = sorted(wheel.sha256 for wheel in rest)
        size = int(sum(map(_bytecode_size, rest)) * share)
        layer = _guess(size, "byte code", *hashes, os, python)
        yield _layer(layer, BYTECODE_HISTORY, LayerRank.BYTECODE)


def _bytecode_size(wheel: Wheel) -> int:
    """Estimate the size of a wheel's byte code."""
    if is_cuda_wheel(wheel.name):
        return 0
    if wheel.file.endswith("-none-any.whl"):
        share = DATA if is_large(wheel) else PURE
    else:
        # A wheel for every Python and one platform is a library with hardly any Python.
        share = LIBRARY if "-none-" in wheel.file else MIXED
    return int(min(wheel.size * share, MAX_BYTECODE))


def _layer(layer: Layer, history: str, rank: LayerRank, wheel_size: int = 0) -> ImageLayer:
    return ImageLayer(layer=layer, rank=rank, history=history, wheel_size=wheel_size)


@cache  # hundreds of images share most of their layers
def _guess(size: int, *source: str) -> Layer:
    """Return a layer of this size that does not exist; its digest is derived from `source`."""
    name = f"sha256:{hash_texts(['expected', *source])}"
    return Layer(digest=name, size=size, diff_id=name, unpacked=0)
