"""How much room assembled images will take: less for what the store and the engine have already."""

import contextlib
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import docker

from dlimg.build.disk import layered_bytes
from dlimg.draw.bake import KEY_LABEL
from dlimg.engine.client import Engine
from dlimg.layers.assemble import Height, height_of
from dlimg.layers.index import Layer
from dlimg.layers.make import is_large, wheel_keys
from dlimg.layers.store import Store, find
from dlimg.model import Planned, Wheel


def needed(planned: Sequence[Planned], engine: Engine, store: Store) -> int:
    """Bytes that these images will take, rather too many than too few."""
    kept = _kept(planned, store)
    there = _unpacked(engine) if kept else frozenset()
    # Only what lies below the frameworks is unpacked once for all.
    shared = [wheel for wheel, layer in kept.items() if _is_low(wheel) and layer.diff_id in there]
    return layered_bytes(planned, kept=frozenset(kept), there=frozenset(shared))


def _kept(planned: Sequence[Planned], store: Store) -> Mapping[Wheel, Layer]:
    """The large wheels whose layers are in the store."""
    found = {}
    for one in planned:
        lock = one.image.lock
        for wheel in filter(is_large, lock.wheels):
            keys = wheel_keys(wheel, python=lock.python, compression=one.compression)
            layer = next((layer for key in keys if (layer := find(store, key))), None)
            if layer:
                found[wheel] = layer
    return found


def _is_low(wheel: Wheel) -> bool:
    return height_of(wheel) < Height.FRAMEWORK


def _unpacked(engine: Engine) -> Collection[str]:
    """The diff ids of all layers of images that dlimg made and the engine has."""
    api: Any = engine.sdk.api
    names = [one["Id"] for one in api.images(filters={"label": [KEY_LABEL]})]
    found: set[str] = set()
    for name in names:
        with contextlib.suppress(docker.errors.ImageNotFound):  # somebody removes it meanwhile
            found.update(api.inspect_image(name)["RootFS"].get("Layers") or ())
    return found
