"""The disk space that assembled images need: less for layers that exist."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import docker
import pytest

from dlimg.builders.disk_space import needed_bytes
from dlimg.engine.client import Engine
from dlimg.layer.compress import WrittenLayer
from dlimg.model import DEFAULT_COMPRESSION, Wheel
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.store import Store, make_layer
from tests.support import samples

SIZE = 10_000_000


def engine(*layers: Layer) -> Engine:
    """An engine with one image of dlimg, which has these layers."""

    def inspect_image(name: str) -> object:
        if name != "sha256:1":
            raise docker.errors.ImageNotFound("somebody else has removed it")
        return {"RootFS": {"Layers": [layer.diff_id for layer in layers]}}

    api = SimpleNamespace(
        images=lambda **_: [{"Id": "sha256:0"}, {"Id": "sha256:1"}], inspect_image=inspect_image
    )
    return cast("Engine", SimpleNamespace(sdk=SimpleNamespace(api=api)))


def in_store(store: Store, wheel: Wheel) -> Layer:
    digest = f"sha256:{wheel.sha256}"
    layer = WrittenLayer(digest=digest, size=0, diff_id=digest, unpacked=0)
    key = LayerKey(kind="wheel", source=wheel.sha256, compression=DEFAULT_COMPRESSION)
    return make_layer(store, key, lambda _: layer, print)


@pytest.mark.parametrize(
    ("name", "unpacked"),
    [
        ("nvidia-cublas", 0),  # lies lowest: one copy for all images
        ("torch", 1),  # lies on what its family has of CUDA: unpacked once for each of those
    ],
)
def test_existing_layers_need_no_disk_space(name: str, unpacked: int, tmp_path: Path) -> None:
    wheel = samples.wheel(name, size=SIZE)
    planned = [samples.planned(samples.image(locked=samples.lock("one", wheels=(wheel,))))]
    store = Store(path=tmp_path)
    first = needed_bytes(planned, engine(), store)
    layer = in_store(store, wheel)
    stored = needed_bytes(planned, engine(), store)
    assert first - stored == SIZE
    assert (needed_bytes(planned, engine(layer), store) == stored) is bool(unpacked)
