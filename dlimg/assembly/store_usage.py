"""The cells of a matrix that use each layer in the store."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from dlimg.assembly.bytecode import bytecode_key
from dlimg.assembly.cell_layer import cell_layer_files, installer_keys
from dlimg.assembly.wheel_to_layer import (
    is_large,
    python_source_keys,
    small_wheels_keys,
    wheel_keys,
)
from dlimg.model import Base, BaseSource, Image
from dlimg.render.bake import KEY_LABEL, PACKAGES_LABEL
from dlimg.render.content_key import content_key
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.images import has_all_layers, saved_images
from dlimg.store.keys import LayerKey
from dlimg.store.store import Store, list_layers
from dlimg.store.systems import SystemLayers, load_system, system_layer_key

_BASE: Final = "io.dlimg.base"
_CELL: Final = "io.dlimg.cell"

Uses = Mapping[LayerKey, tuple[str, ...]]


def layer_uses(images: Sequence[Image], store: Store, compression: str) -> Uses:
    """Return the ids of the cells that use each layer, or need it to make their layers.

    A cell uses the systems and the byte code from which its current images were assembled, and
    all layers of these, also those in another compression. `compression` is the matrix's.
    """
    uses: dict[LayerKey, dict[str, None]] = {}
    current = current_images(images, store)
    keys_by_digest = _keys_by_digest(store)
    systems = tuple(_read_systems(store))
    for image in images:
        assembled = current.get(image.cell.id, ())
        layers = [layer for built in assembled for layer in built.layers]
        diff_ids = {layer.diff_id for layer in layers}
        keys = [*_lock_keys(image, compression)]
        keys += (key for layer in layers for key in keys_by_digest.get(layer.digest, ()))
        for system in systems:
            if {layer.diff_id for layer in system.layers} <= diff_ids:
                keys += _system_keys(image, system)
        for key in keys:
            uses.setdefault(key, {})[image.cell.id] = None
    return {key: tuple(cells) for key, cells in uses.items()}


def current_images(
    images: Iterable[Image], store: Store
) -> Mapping[str, tuple[AssembledImage, ...]]:
    """Return the assembled images of each cell that are still current, the newest first.

    A cell has one for each base and compression, with the packages of its latest build. The store
    has all its layers.
    """
    by_cell: dict[str, list[tuple[Mapping[str, str], AssembledImage]]] = {}
    for assembled in saved_images(store):
        labels = _labels(assembled)
        by_cell.setdefault(labels.get(_CELL, ""), []).insert(0, (labels, assembled))
    current = {}
    for image in images:
        newest: dict[tuple[str, str], AssembledImage] = {}
        for labels, assembled in by_cell.get(image.cell.id, ()):
            compression = assembled.compression
            if _is_current(image, labels, compression) and has_all_layers(store, assembled):
                newest.setdefault((labels.get(_BASE, ""), compression), assembled)
        current[image.cell.id] = tuple(newest.values())
    return current


def _is_current(image: Image, labels: Mapping[str, str], compression: str) -> bool:
    """Return whether the image's content key is the one it would get today.

    The base and the packages are those in its labels.
    """
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
    """Yield the possible keys of all layers that follow from the image's lock."""
    wheels, python = image.lock.wheels, image.lock.python
    for wheel in wheels:
        if is_large(wheel):
            yield from wheel_keys(wheel, python=python, compression=compression)
        yield from installer_keys(wheel, python=python, requested=True)
        yield from python_source_keys(wheel, python=python)
    small = [wheel for wheel in wheels if not is_large(wheel)]
    yield from small_wheels_keys(
        small, python=python, compression=compression, shared=image.lock.shared_paths
    )
    yield cell_layer_files(image.cell, image.lock).key(compression)


def _system_keys(image: Image, system: SystemLayers) -> Iterator[LayerKey]:
    """Yield the keys of the system's gzip layers, and of byte code compiled by its Python."""
    for layer in system.layers:
        yield system_layer_key(layer.diff_id)
    for wheel in image.lock.wheels:
        yield bytecode_key(wheel, interpreter=system.interpreter, python=image.lock.python)


def _read_systems(store: Store) -> Iterator[SystemLayers]:
    for path in sorted((store.path / "systems").glob("*.json")):
        system = load_system(store, path.stem)
        if system:
            yield system


def _keys_by_digest(store: Store) -> Mapping[str, Sequence[LayerKey]]:
    keys: dict[str, list[LayerKey]] = {}
    for key, layer in list_layers(store):
        keys.setdefault(layer.digest, []).append(key)
    return keys
