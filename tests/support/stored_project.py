"""A project whose image was assembled into the layer store, from layers of a few bytes each."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from dlimg.assembly.cell_layer import cell_layer_files
from dlimg.assembly.wheel_to_layer import is_large, small_wheels_keys, wheel_keys
from dlimg.layer.compress import compress_wheel, splice_wheel_streams
from dlimg.layer.tar import TarHead
from dlimg.model import DEFAULT_COMPRESSION, Base, BaseSource, Image, PlannedImage
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import read_project
from dlimg.render.content_key import with_key
from dlimg.render.image_config import ImageConfig, image_config
from dlimg.store.image_manifest import (
    AssembledImage,
    ImageLayer,
    LayerRank,
    assemble_image,
    order_layers,
)
from dlimg.store.images import save_image
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.store import Store, find_layer, make_layer
from dlimg.store.systems import system_layer_key
from tests.support.jax_project import CELL

STORE: Final = "cache/dlimg/layers"
_EMPTY: Final = ImageConfig(
    env=(), labels={}, workdir="", user="", entrypoint=(), cmd=(), exposed=(), shell=()
)


@dataclass(frozen=True, kw_only=True)
class StoredProject:
    """The image of the project's locked cell, and the store that holds it as `assembled`."""

    store: Store
    image: Image
    keys: tuple[LayerKey, ...]
    assembled: AssembledImage

    def assemble(self, **options: str) -> AssembledImage:
        """Assemble the image again with `options` of `assemble_in`."""
        return assemble_in(self.store, self.image, **options)

    def layer(self, key: LayerKey, *, description: str = "") -> Layer:
        return _layer(self.store, key, description)

    def system(self, identity: str) -> Layer:
        return _system(self.store, identity)

    def spoil(self, key: LayerKey) -> None:
        layer = find_layer(self.store, key)
        assert layer
        self.store.blob(layer).write_bytes(b"x" * layer.size)


def assemble_in(
    store: Store,
    image: Image,
    *,
    compression: str = DEFAULT_COMPRESSION,
    identity: str = "sha256:1",
    packages: str = "sha256:2",
) -> AssembledImage:
    """Assemble the image on a base with this identity and these packages, and save it."""
    base = Base(os="debian13", source=BaseSource.BOOTSTRAP, identity=identity, reference="")
    planned = PlannedImage(image=image, base=base, key="", compression=compression)
    layers = [_layer(store, key) for key in _keys(image, compression)]
    parts = [
        ImageLayer(layer=layer, history=layer.digest, rank=LayerRank.SMALL_WHEELS)
        for layer in layers
    ]
    system = _system(store, identity + packages)
    # Not the uppermost layer: as that of a registry's base, it is gzip in every image.
    parts.append(ImageLayer(layer=system, history="base", rank=LayerRank.SHARED_CUDA))
    config = image_config(image.cell, image.labels).on(_EMPTY)
    assembled = assemble_image(with_key(planned, packages), order_layers(parts), config)
    save_image(store, assembled)
    return assembled


def _layer(store: Store, key: LayerKey, description: str = "") -> Layer:
    head = TarHead(str(key).encode())
    return make_layer(
        store,
        key,
        lambda file: compress_wheel([head], file.write, key.compression),
        print,
        description=description,
    )


def _system(store: Store, identity: str) -> Layer:
    head = TarHead(identity.encode())
    key = system_layer_key(splice_wheel_streams([head], len).diff_id)
    return make_layer(store, key, lambda file: splice_wheel_streams([head], file.write), print)


def _keys(image: Image, compression: str = DEFAULT_COMPRESSION) -> tuple[LayerKey, ...]:
    wheels, python = image.lock.wheels, image.lock.python
    small = [wheel for wheel in wheels if not is_large(wheel)]
    return (
        *(
            wheel_keys(wheel, python=python, compression=compression)[0]
            for wheel in wheels
            if is_large(wheel)
        ),
        small_wheels_keys(small, python=python, compression=compression)[0],
        cell_layer_files(image.cell, image.lock).key(compression),
    )


def store_project(folder: Path) -> StoredProject:
    """Assemble the image of the project in this folder."""
    project = read_project(str(folder / "matrix.yaml"))
    (image,) = locked_images(project, project.resolution.cells[1:])
    assert image.cell.id == CELL
    store = Store(path=folder / STORE)
    assembled = assemble_in(store, image)
    return StoredProject(store=store, image=image, keys=_keys(image), assembled=assembled)


def copy_store(original: StoredProject, folder: Path) -> StoredProject:
    """Return the same project in this folder, with a copy of the store."""
    shutil.copytree(original.store.path, folder / STORE)
    return replace(original, store=Store(path=folder / STORE))
