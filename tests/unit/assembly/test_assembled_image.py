"""Images of layers: the order of layers, reproducible bytes, exported layouts."""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.assembly.wheel_to_layer import LARGE_WHEEL
from dlimg.layer.compress import FORMAT, splice_wheel_streams
from dlimg.layer.tar import TarHead
from dlimg.lock.request import PINNED_BY_STACK
from dlimg.render.image_config import ImageConfig
from dlimg.store.image_manifest import (
    ImageLayer,
    LayerRank,
    assemble_image,
    order_layers,
    rank_wheel,
)
from dlimg.store.keys import Layer, LayerKey
from dlimg.store.store import Store, make_layer
from tests.support import samples
from tests.support.oci_layout import write_layout

ROOT = Path(__file__).parents[3]

CONFIG = ImageConfig(  # noqa: S604  # it says how an image is run, and runs nothing
    env=("PATH=/bin",),
    labels={"z": "ü", "io.dlimg.cell": "another"},
    workdir="/code",
    user="user",
    entrypoint=("tini",),
    cmd=("bash",),
    exposed=("8888/tcp",),
    shell=("/bin/bash", "-c"),
)


def layer(number: int) -> Layer:
    return Layer(
        digest=f"sha256:{number:064}", size=number, diff_id=f"sha256:{number:063}d", unpacked=9
    )


def layer_of(layer: Layer, history: str) -> ImageLayer:
    return ImageLayer(layer=layer, rank=LayerRank.SYSTEM, history=history)


def part(number: int, rank: LayerRank, *, history: str = "", size: int = 0) -> ImageLayer:
    return ImageLayer(
        layer=layer(number), history=history or str(number), rank=rank, wheel_size=size
    )


def numbers(parts: list[ImageLayer]) -> list[int]:
    return [image_layer.layer.size for image_layer in order_layers(parts)]


def test_layers_shared_by_more_images_are_lower() -> None:
    parts = [
        part(9, LayerRank.BYTECODE),
        part(8, LayerRank.CELL),
        part(7, LayerRank.SMALL_WHEELS),
        part(11, LayerRank.WHEEL_BYTECODE, history="byte code: torch", size=50),
        part(6, LayerRank.FRAMEWORK, history="numpy", size=4),
        part(5, LayerRank.FRAMEWORK, history="torch", size=50),
        part(4, LayerRank.SYSTEM, history="z: the base, and so the first"),
        part(3, LayerRank.SYSTEM, history="a: what was put on it"),
        part(10, LayerRank.CUDA, history="nvidia-0", size=900),
        part(2, LayerRank.SHARED_CUDA, history="nvidia-b", size=5),
        part(1, LayerRank.SHARED_CUDA, history="nvidia-a", size=5),
    ]
    assert numbers(parts) == [1, 2, 10, 5, 6, 11, 7, 9, 4, 3, 8]


def test_layers_of_wheels_come_in_any_order() -> None:
    parts = [part(number, LayerRank.CUDA, size=number % 3) for number in range(12)]
    assert numbers(parts) == numbers(parts[::-1])


def test_an_image_has_no_layer_twice() -> None:
    parts = [
        part(1, LayerRank.SYSTEM, history="first"),
        part(1, LayerRank.SYSTEM, history="second"),
    ]
    assert numbers(parts) == [1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvidia-cusparselt-cu13", LayerRank.CUDA),
        ("cuda-bindings", LayerRank.CUDA),
        ("torch", LayerRank.FRAMEWORK),
        ("jax-cuda13-plugin", LayerRank.FRAMEWORK),
        ("triton", LayerRank.FRAMEWORK),
    ],
)
def test_rank_of_a_wheel(name: str, expected: LayerRank) -> None:
    assert rank_wheel(samples.wheel(name)) is expected


def test_a_shared_wheel_lies_lowest() -> None:
    wheel = replace(samples.wheel("nvidia-cublas"), shared=True)
    assert rank_wheel(wheel) is LayerRank.SHARED_CUDA


def test_the_lowest_layers_are_in_every_image_of_a_stack() -> None:
    stacks: dict[str, list[dict[str, str]]] = {}
    frameworks: dict[str, set[str]] = {}
    marked: dict[str, set[str]] = {}
    for path in (ROOT / "locks").glob("*-cuda*.json"):
        match = re.fullmatch(r"(\w+)-[^-]+-(cuda.+?)-py.*", path.stem)
        assert match
        family, accelerator = match.groups()
        wheels = json.loads(path.read_text())["wheels"]
        large = {wheel["name"]: wheel["sha256"] for wheel in wheels if wheel["size"] >= LARGE_WHEEL}
        stacks.setdefault(accelerator, []).append(large)
        frameworks.setdefault(accelerator, set()).add(family)
        names = {wheel["name"] for wheel in wheels if wheel.get("shared")}
        marked.setdefault(accelerator, set()).update(names)
    shared = {name for name in stacks if len(frameworks[name]) > 1}
    assert shared
    for stack in shared:
        everywhere = set.intersection(*(set(wheel.items()) for wheel in stacks[stack]))
        names = {name for name, _ in everywhere if name.startswith(PINNED_BY_STACK)}
        lowest = marked[stack] & {name for wheels in stacks[stack] for name in wheels}
        assert lowest
        # A stack that is not the first of its CUDA marks what the others mark, maybe not all.
        assert lowest <= names


def test_the_config_names_the_architecture_of_the_cells_wheels() -> None:
    amd64 = samples.planned()
    cell = replace(amd64.image.cell, platform="aarch64-manylinux_2_28")
    arm64 = replace(amd64, image=replace(amd64.image, cell=cell))
    layers = [layer_of(layer(1), "base")]
    made = [assemble_image(planned, layers, CONFIG) for planned in (amd64, arm64)]
    configs = [json.loads(image.config) for image in made]
    assert [config["architecture"] for config in configs] == ["amd64", "arm64"]
    assert {config["os"] for config in configs} == {"linux"}


def test_manifest_and_config() -> None:
    planned = samples.planned()
    image = assemble_image(
        planned, [layer_of(layer(1), "base"), layer_of(layer(2), "wheel: torch")], CONFIG
    )
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["config"] == {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": f"sha256:{hashlib.sha256(image.config).hexdigest()}",
        "size": len(image.config),
    }
    assert [descriptor["digest"] for descriptor in manifest["layers"]] == [
        layer(1).digest,
        layer(2).digest,
    ]
    assert {descriptor["mediaType"] for descriptor in manifest["layers"]} == {layer(1).media_type}
    assert image.digest == f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"
    assert image.config_digest == manifest["config"]["digest"]
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer(1).diff_id, layer(2).diff_id]}
    assert config["created"] == "1980-01-02T00:00:00Z"
    assert [descriptor["created_by"] for descriptor in config["history"]] == [
        "base",
        "wheel: torch",
    ]
    settings = config["config"]
    assert settings.pop("Labels") == {
        "z": "ü",
        "io.dlimg.cell": planned.image.cell.id,
        "io.dlimg.key": planned.key,
        "io.dlimg.base": planned.base.identity,
        "io.dlimg.base-source": "bootstrap",
        "io.dlimg.builder": f"layers/{FORMAT}",
    }
    assert settings == {
        "Cmd": ["bash"],
        "Entrypoint": ["tini"],
        "Env": ["PATH=/bin"],
        "ExposedPorts": {"8888/tcp": {}},
        "Shell": ["/bin/bash", "-c"],
        "User": "user",
        "WorkingDir": "/code",
    }


def test_equal_images_are_equal_bytes() -> None:
    planned = samples.planned()
    other = ImageConfig(
        **{name: getattr(CONFIG, name) for name in CONFIG.__slots__ if name != "labels"},
        labels=dict(reversed(list(CONFIG.labels.items()))),
    )
    layers = [layer_of(layer(1), "one")]
    assert assemble_image(planned, layers, CONFIG) == assemble_image(planned, layers, other)
    assert (
        assemble_image(planned, layers, CONFIG).digest
        == "sha256:31e397c889d5769f140db6e2211ac1296455d52b02b13914856215794cf6877a"
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "store")


def kept(store: Store, number: int) -> Layer:
    key = LayerKey(kind="wheel", source=f"{number:064}")
    return make_layer(
        store,
        key,
        lambda file: splice_wheel_streams([TarHead(str(number).encode())], file.write),
        print,
    )


def test_an_exported_layout_links_to_the_blobs_of_the_store(tmp_path: Path, store: Store) -> None:
    layers = [layer_of(kept(store, number), str(number)) for number in range(3)]
    image = assemble_image(samples.planned(), layers, CONFIG)
    for _ in range(2):  # again into the same folder
        write_layout(tmp_path / "layout", image, store, name="dlimg/jax:the-tag")
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert json.loads((tmp_path / "layout/oci-layout").read_text()) == {
        "imageLayoutVersion": "1.0.0"
    }
    (manifest,) = index["manifests"]
    assert manifest["annotations"] == {
        "org.opencontainers.image.ref.name": "the-tag",
        "io.containerd.image.name": "docker.io/dlimg/jax:the-tag",
    }
    blobs = {path.name: path for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    for name, path in blobs.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    content = json.loads(blobs[manifest["digest"].removeprefix("sha256:")].read_bytes())
    named = [content["config"], *content["layers"], manifest]
    assert {descriptor["digest"].removeprefix("sha256:") for descriptor in named} == set(blobs)
    for image_layer in layers:
        copy = blobs[image_layer.layer.digest.removeprefix("sha256:")]
        assert copy.stat().st_ino == store.blob(image_layer.layer).stat().st_ino


def test_an_exported_layout_on_another_file_system_has_copies(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    stored = kept(store, 1)
    image = assemble_image(samples.planned(), [layer_of(stored, "")], CONFIG)
    write_layout(tmp_path / "layout", image, store, name="jax:1")
    copy = tmp_path / "layout/blobs/sha256" / stored.digest.removeprefix("sha256:")
    assert copy.read_bytes() == store.blob(stored).read_bytes()


@pytest.mark.parametrize(
    ("name", "whole"),
    [
        ("jax:1", "docker.io/library/jax:1"),
        ("team/jax:1", "docker.io/team/jax:1"),
        ("localhost/jax:1", "localhost/jax:1"),
        ("127.0.0.1:5000/team/jax:1", "127.0.0.1:5000/team/jax:1"),
        ("ghcr.io/team/jax:1", "ghcr.io/team/jax:1"),
    ],
)
def test_an_exported_layout_has_the_full_reference(
    tmp_path: Path, store: Store, name: str, whole: str
) -> None:
    image = assemble_image(samples.planned(), [layer_of(kept(store, 1), "")], CONFIG)
    write_layout(tmp_path / "layout", image, store, name=name)
    (manifest,) = json.loads((tmp_path / "layout/index.json").read_text())["manifests"]
    assert manifest["annotations"]["io.containerd.image.name"] == whole
    assert manifest["annotations"]["org.opencontainers.image.ref.name"] == "1"
