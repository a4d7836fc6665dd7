"""Which of a matrix's cells use what is in a store: images come in, keys with cells come out."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from dlimg.assembly.bytecode import bytecode_key
from dlimg.assembly.cell_layer import installer_keys, own_of
from dlimg.assembly.wheel_to_layer import (
    is_large,
    python_source_keys,
    small_wheels_keys,
    wheel_keys,
)
from dlimg.model import Base, BaseSource, Image
from dlimg.render.bake import KEY_LABEL, PACKAGES_LABEL
from dlimg.render.content_key import key as content_key
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.images import has_all_layers
from dlimg.store.images import saved_images as kept_images
from dlimg.store.keys import LayerKey
from dlimg.store.store import Store, list_layers
from dlimg.store.systems import SystemLayers, load_system, system_key

_BASE: Final = "io.dlimg.base"
_CELL: Final = "io.dlimg.cell"

Uses = Mapping[LayerKey, tuple[str, ...]]


def layer_uses(images: Sequence[Image], store: Store, compression: str) -> Uses:
    """The cells, by id, that use each layer or part: what they are made from, and came to.

    A system or byte code is used when an image is, that was assembled here from it and is still
    what its cell comes to.
    """
    found: dict[LayerKey, dict[str, None]] = {}
    current = current_images(images, store, compression)
    by_digest = _keys_by_digest(store)
    systems = tuple(_systems(store))
    for image in images:
        of_image = current.get(image.cell.id, ())
        layers = [layer for one in of_image for layer in one.layers]
        keys = [*_lock_keys(image, compression)]
        keys += (key for layer in layers for key in by_digest.get(layer.digest, ()))
        for system in systems:
            if {one.diff_id for one in system.layers} <= {layer.diff_id for layer in layers}:
                keys += _system_keys(image, system)
        for key in keys:
            found.setdefault(key, {})[image.cell.id] = None
    return {key: tuple(cells) for key, cells in found.items()}


def current_images(
    images: Iterable[Image], store: Store, compression: str
) -> Mapping[str, tuple[AssembledImage, ...]]:
    """What the store remembers of cells that is still what they come to, the newest first.

    There is one for each base that a cell was assembled on, with the packages of its latest
    build. Their layers are all there.
    """
    by_cell: dict[str, list[tuple[Mapping[str, str], AssembledImage]]] = {}
    for one in kept_images(store):
        labels = _labels(one)
        by_cell.setdefault(labels.get(_CELL, ""), []).insert(0, (labels, one))
    found = {}
    for image in images:
        by_base: dict[str, AssembledImage] = {}
        for labels, one in by_cell.get(image.cell.id, ()):
            if _is_current(image, labels, compression) and has_all_layers(store, one):
                by_base.setdefault(labels.get(_BASE, ""), one)
        found[image.cell.id] = tuple(by_base.values())
    return found


def _is_current(image: Image, labels: Mapping[str, str], compression: str) -> bool:
    """Whether the image would have the same content key now, on its base, with its packages."""
    base = Base(
        os=image.cell.os.name,
        source=BaseSource.REGISTRY,  # not in the key
        identity=labels.get(_BASE, ""),
        reference="",
    )
    packages = labels.get(PACKAGES_LABEL, "")
    return labels.get(KEY_LABEL) == content_key(image, base, packages, compression)


def _labels(image: AssembledImage) -> Mapping[str, str]:
    labels: Mapping[str, str] = json.loads(image.config)["config"].get("Labels", {})
    return labels


def _lock_keys(image: Image, compression: str) -> Iterator[LayerKey]:
    wheels, python = image.lock.wheels, image.lock.python
    for wheel in wheels:
        if is_large(wheel):
            yield from wheel_keys(wheel, python=python, compression=compression)
        yield from installer_keys(wheel, python=python, requested=True)
        yield from python_source_keys(wheel, python=python)
    small = [wheel for wheel in wheels if not is_large(wheel)]
    yield from small_wheels_keys(small, python=python, compression=compression)
    yield own_of(image).key(compression)


def _system_keys(image: Image, system: SystemLayers) -> Iterator[LayerKey]:
    """The system's layers as they were built, and what its Python has compiled."""
    yield from map(system_key, system.layers)
    for wheel in image.lock.wheels:
        yield bytecode_key(wheel, interpreter=system.interpreter, python=image.lock.python)


def _systems(store: Store) -> Iterator[SystemLayers]:
    for path in sorted((store.path / "systems").glob("*.json")):
        system = load_system(store, path.stem)
        if system:
            yield system


def _keys_by_digest(store: Store) -> Mapping[str, Sequence[LayerKey]]:
    found: dict[str, list[LayerKey]] = {}
    for key, layer in list_layers(store):
        found.setdefault(layer.digest, []).append(key)
    return found
