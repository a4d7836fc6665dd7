"""Records of images in the store; damaged ones count as missing."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.render.image_config import ImageConfig
from dlimg.store.image_manifest import (
    AssembledImage,
    ImageLayer,
    LayerRank,
    assemble_image,
)
from dlimg.store.images import (
    has_all_layers,
    load_image,
    remove_broken_records,
    save_image,
    saved_images,
)
from dlimg.store.keys import Layer
from dlimg.store.store import Store
from tests.support import samples

CONFIG = ImageConfig(
    env=("NAME=ü",), labels={}, workdir="/code", user="user", entrypoint=(), cmd=()
)


def an_image(*numbers: int) -> AssembledImage:
    layers = [
        Layer(
            digest=f"sha256:{number:064}", size=number, diff_id=f"sha256:{number:063}d", unpacked=9
        )
        for number in numbers
    ]
    return assemble_image(
        samples.planned(),
        [ImageLayer(layer=layer, rank=LayerRank.FRAMEWORK, history="wheel: a") for layer in layers],
        CONFIG,
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "layers")


def record(store: Store, digest: str) -> Path:
    return store.path / "images" / f"{digest.removeprefix('sha256:')}.json"


def fill(store: Store, image: AssembledImage) -> None:
    for layer in image.layers:
        store.blobs.mkdir(parents=True, exist_ok=True)
        store.blob(layer).write_bytes(bytes(layer.size))


def test_an_image_is_known_by_its_manifest_and_by_its_config(store: Store) -> None:
    image = an_image(1, 2)
    assert load_image(store, image.digest) is None
    save_image(store, image)
    save_image(store, image)
    assert load_image(store, image.digest) == load_image(store, image.config_digest) == image
    assert load_image(store, an_image(1).digest) is None
    assert {path.suffix for path in record(store, image.digest).parent.iterdir()} == {".json"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: text.replace('"format": 1', '"format": 2'),
        lambda text: text.replace("amd64", "arm64"),
        lambda text: text.replace('"size": 2', '"size": 3'),
        lambda text: text.replace('"unpacked"', '"other"'),
        lambda _: "[]",
        lambda _: "\udcff",
        lambda _: "[" * 100_000,
        lambda _: json.dumps({"manifest": 1, "config": 2, "layers": [], "format": 1}),
    ],
)
def test_a_damaged_record_counts_as_missing(store: Store, damage: object) -> None:
    assert callable(damage)
    image = an_image(1, 2)
    save_image(store, image)
    path = record(store, image.digest)
    text = damage(path.read_text(encoding="utf-8"))
    path.write_bytes(text.encode("utf-8", errors="surrogateescape"))
    assert load_image(store, image.digest) is None
    assert load_image(store, image.config_digest) == image
    save_image(store, image)
    assert load_image(store, image.digest) == image


def test_a_record_under_another_digest_is_ignored(store: Store) -> None:
    image, other = an_image(1), an_image(2)
    save_image(store, other)
    record(store, other.digest).rename(record(store, image.digest))
    assert load_image(store, image.digest) is None


def test_an_image_that_cannot_be_recorded_raises_nothing(store: Store) -> None:
    store.path.mkdir()
    (store.path / "images").write_text("a file in the folder's place")
    save_image(store, an_image(1))
    assert load_image(store, an_image(1).digest) is None


def test_records_without_their_layers_are_removed(store: Store) -> None:
    whole, broken, cut = an_image(1, 2), an_image(3), an_image(4)
    for image in (whole, broken, cut):
        save_image(store, image)
    fill(store, whole)
    fill(store, cut)
    store.blob(cut.layers[0]).write_bytes(b"cut")
    assert [has_all_layers(store, image) for image in (whole, broken, cut)] == [True, False, False]
    record(store, "sha256:0").write_text("no record")
    assert remove_broken_records(store) > 0
    assert [load_image(store, image.digest) for image in (whole, broken, cut)] == [
        whole,
        None,
        None,
    ]
    assert len(list((store.path / "images").iterdir())) == 2


def test_a_record_without_ranks_is_read(store: Store) -> None:
    """Older releases wrote no ranks."""
    image = an_image(1, 2)
    save_image(store, image)
    path = record(store, image.digest)
    content = json.loads(path.read_text(encoding="utf-8"))
    for layer in content["layers"]:
        assert layer.pop("rank") == "framework"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert load_image(store, image.digest) == replace(image, ranks=())


def test_all_images_are_found(store: Store) -> None:
    first, second = an_image(1), an_image(2)
    assert list(saved_images(store)) == []
    for image in (first, second):
        save_image(store, image)
    assert {image.digest for image in saved_images(store)} == {first.digest, second.digest}
