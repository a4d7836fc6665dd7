"""Layers to an image: an order that is shared, bytes that are the same, a layout that is whole."""

import hashlib
import json
import os
from pathlib import Path

import make
import pytest

from dlimg.draw.config import Config
from dlimg.layers.assemble import (
    Height,
    Part,
    assemble,
    height_of,
    ordered,
    sharing,
    write_layout,
)
from dlimg.layers.index import Key, Layer
from dlimg.layers.splice import splice
from dlimg.layers.store import Store
from dlimg.layers.store import make as make_layer
from dlimg.layers.tar import Head

CONFIG = Config(  # noqa: S604  # it says how an image is run, and runs nothing
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


def part(number: int, height: Height, *, words: str = "", shared: int = 1) -> Part:
    return Part(layer=layer(number), words=words or str(number), height=height, shared=shared)


def numbers(parts: list[Part]) -> list[int]:
    return [found.size for found, _ in ordered(parts)]


def test_what_more_images_share_is_lower() -> None:
    parts = [
        part(9, Height.BYTECODE),
        part(8, Height.OWN, shared=7),
        part(7, Height.SMALL),
        part(6, Height.FRAMEWORK, words="torch"),
        part(5, Height.FRAMEWORK, words="numpy", shared=3),
        part(4, Height.SYSTEM, words="z: the base, and so the first"),
        part(3, Height.SYSTEM, words="a: what was put on it"),
        part(2, Height.CUDA, words="nvidia-b", shared=5),
        part(1, Height.CUDA, words="nvidia-a", shared=5),
        part(10, Height.CUDA, words="nvidia-0", shared=4),
    ]
    assert numbers(parts) == [1, 2, 10, 4, 3, 5, 6, 7, 8, 9]


def test_layers_of_wheels_come_in_any_order() -> None:
    parts = [part(number, Height.CUDA, shared=number % 3) for number in range(12)]
    assert numbers(parts) == numbers(parts[::-1])


def test_one_layer_is_there_once() -> None:
    parts = [part(1, Height.SYSTEM, words="first"), part(1, Height.SYSTEM, words="second")]
    assert numbers(parts) == [1]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nvidia-cublas", Height.CUDA),
        ("cuda-bindings", Height.CUDA),
        ("torch", Height.FRAMEWORK),
        ("jax-cuda13-plugin", Height.FRAMEWORK),
        ("triton", Height.FRAMEWORK),
    ],
)
def test_height_of_a_wheel(name: str, expected: Height) -> None:
    assert height_of(make.wheel(name)) is expected


def test_sharing_counts_locks() -> None:
    torch, pip = make.wheel("torch"), make.wheel("pip", "26.3")
    locks = [make.lock("a", wheels=(torch, pip)), make.lock("b", wheels=(pip,))]
    assert sharing(locks) == {torch.sha256: 1, pip.sha256: 2}


def test_manifest_and_config() -> None:
    planned = make.planned()
    image = assemble(planned, [(layer(1), "base"), (layer(2), "wheel: torch")], CONFIG)
    manifest, config = json.loads(image.manifest), json.loads(image.config)
    assert manifest["mediaType"] == "application/vnd.oci.image.manifest.v1+json"
    assert manifest["config"] == {
        "mediaType": "application/vnd.oci.image.config.v1+json",
        "digest": f"sha256:{hashlib.sha256(image.config).hexdigest()}",
        "size": len(image.config),
    }
    assert [one["digest"] for one in manifest["layers"]] == [layer(1).digest, layer(2).digest]
    assert {one["mediaType"] for one in manifest["layers"]} == {layer(1).media_type}
    assert image.digest == f"sha256:{hashlib.sha256(image.manifest).hexdigest()}"
    assert image.config_digest == manifest["config"]["digest"]
    assert config["rootfs"] == {"type": "layers", "diff_ids": [layer(1).diff_id, layer(2).diff_id]}
    assert config["created"] == "1980-01-02T00:00:00Z"
    assert [one["created_by"] for one in config["history"]] == ["base", "wheel: torch"]
    said = config["config"]
    assert said.pop("Labels") == {
        "z": "ü",
        "io.dlimg.cell": planned.image.cell.id,
        "io.dlimg.key": planned.key,
        "io.dlimg.base": planned.base.identity,
        "io.dlimg.base-source": "bootstrap",
    }
    assert said == {
        "Cmd": ["bash"],
        "Entrypoint": ["tini"],
        "Env": ["PATH=/bin"],
        "ExposedPorts": {"8888/tcp": {}},
        "Shell": ["/bin/bash", "-c"],
        "User": "user",
        "WorkingDir": "/code",
    }


def test_equal_images_are_equal_bytes() -> None:
    planned = make.planned()
    other = Config(
        **{name: getattr(CONFIG, name) for name in CONFIG.__slots__ if name != "labels"},
        labels=dict(reversed(CONFIG.labels.items())),
    )
    layers = [(layer(1), "one")]
    assert assemble(planned, layers, CONFIG) == assemble(planned, layers, other)
    assert (
        assemble(planned, layers, CONFIG).digest
        == "sha256:0ccd228503eac70835c36fc707cebd36b94c3dbf99a273d3abdf6b2fc6361e25"
    )


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(path=tmp_path / "store")


def kept(store: Store, number: int) -> Layer:
    key = Key(kind="wheel", source=f"{number:064}")
    return make_layer(
        store, key, lambda file: splice([Head(str(number).encode())], file.write), print
    )


def test_a_layout_is_whole_and_takes_no_space(tmp_path: Path, store: Store) -> None:
    layers = [(kept(store, number), str(number)) for number in range(3)]
    image = assemble(make.planned(), layers, CONFIG)
    for _ in range(2):  # again into the same folder
        write_layout(tmp_path / "layout", image, store, name="the-tag")
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert json.loads((tmp_path / "layout/oci-layout").read_text()) == {
        "imageLayoutVersion": "1.0.0"
    }
    (manifest,) = index["manifests"]
    assert manifest["annotations"] == {"org.opencontainers.image.ref.name": "the-tag"}
    blobs = {path.name: path for path in (tmp_path / "layout/blobs/sha256").iterdir()}
    for name, path in blobs.items():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == name
    content = json.loads(blobs[manifest["digest"].removeprefix("sha256:")].read_bytes())
    named = [content["config"], *content["layers"], manifest]
    assert {one["digest"].removeprefix("sha256:") for one in named} == set(blobs)
    for found, _ in layers:
        copy = blobs[found.digest.removeprefix("sha256:")]
        assert copy.stat().st_ino == store.blob(found).stat().st_ino


def test_a_layout_elsewhere_is_a_copy(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError

    monkeypatch.setattr(os, "link", refuse)
    one = kept(store, 1)
    write_layout(tmp_path / "layout", assemble(make.planned(), [(one, "")], CONFIG), store)
    copy = tmp_path / "layout/blobs/sha256" / one.digest.removeprefix("sha256:")
    assert copy.read_bytes() == store.blob(one).read_bytes()
    index = json.loads((tmp_path / "layout/index.json").read_text())
    assert "annotations" not in index["manifests"][0]
