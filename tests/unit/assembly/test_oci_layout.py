"""Assembled images follow OCI's image specification, and the schemas notice violations."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store
from tests.support import assembled_image, oci_schemas
from tests.support.oci_layout import write_layout


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    assembled_image.wheels(folder)
    return folder


@pytest.mark.parametrize("compression", ["gzip", "zstd3"])
def test_an_image_follows_the_oci_specification(
    wheels: Path, compression: str, tmp_path: Path
) -> None:
    store = Store(path=tmp_path / "store")
    image = assembled_image.image(wheels, store, compression=compression)
    write_layout(tmp_path / "layout", image, store, name="a-tag")
    manifest, config = oci_schemas.check_layout(tmp_path / "layout")
    method = compression.rstrip("3")
    assert {layer["mediaType"].rpartition("+")[2] for layer in manifest["layers"]} == {method}
    assert config["config"]["ExposedPorts"] == {"8888/tcp": {}}


@pytest.fixture(scope="module")
def image(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> AssembledImage:
    return assembled_image.image(wheels, Store(path=tmp_path_factory.mktemp("store")))


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("schema", "change"),
    [
        (oci_schemas.MANIFEST, lambda content: content.update(schemaVersion=1)),
        (oci_schemas.MANIFEST, lambda content: content.pop("config")),
        (oci_schemas.MANIFEST, lambda content: content["layers"][0].update(size=-1)),
        (oci_schemas.MANIFEST, lambda content: content["layers"][0].update(digest="sha256:A")),
        (oci_schemas.MANIFEST, lambda content: content["layers"][0].update(mediaType="a/tar")),
        (oci_schemas.CONFIG, lambda content: content["config"].update(Env=["A"])),
        (oci_schemas.CONFIG, lambda content: content["config"].update(WorkingDir="code")),
        (oci_schemas.CONFIG, lambda content: content["config"].update(cmd=["sh"])),
        (oci_schemas.CONFIG, lambda content: content.update(created="today")),
    ],
)
def test_the_schemas_notice_a_broken_rule(
    image: AssembledImage, schema: dict[str, object], change: Change
) -> None:
    content = json.loads(image.manifest if schema is oci_schemas.MANIFEST else image.config)
    assert oci_schemas.broken(content, schema) == []
    change(content)
    assert len(oci_schemas.broken(content, schema)) == 1
