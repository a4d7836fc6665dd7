"""What other people's tools make of an assembled image: skopeo, umoci, podman, gzip and its kin."""

import hashlib
import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from docker.models.containers import Container
from docker.types import Mount

from dlimg.builders.load import temporary_image
from dlimg.builders.loopback_registry import Content
from dlimg.engine.client import Engine
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store
from tests.support import assembled_image, image_tree, oci_schemas, small_images
from tests.support.oci_layout import write_layout
from tests.support.rows import first_values

pytestmark = pytest.mark.engine

NAME = f"dlimg-test/little-{small_images.TOKEN}"
TAG = "a-tag"
BIG = f"/opt/env/lib/python/site-packages/{assembled_image.BIG}"
# In a container there is neither a cgroup of its own for podman nor an init that logs.
PODMAN = (
    "podman --root /w/podman --runroot /w/podman-run --runtime crun --cgroup-manager cgroupfs"
    " --events-backend none --log-level error --storage-driver overlay"
)
RUN = f"{PODMAN} run --rm --network none --cgroups disabled"


@dataclass(frozen=True, kw_only=True)
class Table:
    """A container with the tools, in which a layout of each compression lies under /w."""

    container: Container
    images: dict[str, AssembledImage]
    store: Store
    folder: Path

    def sh(self, script: str) -> str:
        """What a script prints; it must not fail."""
        arguments = ["bash", "-euo", "pipefail", "-c", script]
        ended = self.container.exec_run(arguments, workdir="/w", demux=True)
        printed, output = ended.output
        assert ended.exit_code == 0, (output or b"").decode()
        return (printed or b"").decode()


@pytest.fixture(scope="module")
def table(
    engine: Engine, tools_image: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Table]:
    folder = tmp_path_factory.mktemp("images")
    container = engine.sdk.containers.create(
        tools_image,
        entrypoint=["sleep", "infinity"],
        mounts=[Mount("/w", None, type="volume")],
        network_mode="none",
        privileged=True,  # podman mounts and makes namespaces
    )
    try:
        container.start()
        images = _laid_out(folder, small_images.file_in(engine, tools_image, "/bin/busybox"))
        container.put_archive("/w", _tar(folder, list(images)))
        yield Table(
            container=container, images=images, store=Store(path=folder / "store"), folder=folder
        )
    finally:
        container.remove(force=True, v=True)


def _laid_out(folder: Path, busybox: bytes) -> dict[str, AssembledImage]:
    """The image as layouts in folders that are called like their compression."""
    wheels = folder / "wheels"
    wheels.mkdir()
    assembled_image.wheels(wheels)
    images = {}
    for name, compression in (("gzip", "gzip"), ("zstd", "zstd3")):
        store = Store(path=folder / "store")
        images[name] = assembled_image.image(
            wheels, store, busybox=busybox, compression=compression
        )
        write_layout(folder / name, images[name], store, name=f"{NAME}:{TAG}")
    return images


def _tar(folder: Path, names: list[str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in names:
            tar.add(folder / name, name)
    return out.getvalue()


def test_gzip_tools_and_tar_unpack_every_layer(table: Table) -> None:
    image = table.images["gzip"]
    diff_ids = json.loads(image.config)["rootfs"]["diff_ids"]
    for layer, diff_id in zip(image.layers, diff_ids, strict=True):
        blob = f"gzip/blobs/{layer.digest.replace(':', '/')}"
        table.sh(f"gzip -t <{blob}; pigz -t <{blob}; zcat {blob} | tar -t")
        for command in ("gzip", "pigz", "igzip"):
            assert table.sh(f"{command} -dc {blob} | sha256sum").split()[0] == diff_id[7:]


@pytest.mark.parametrize("name", first_values(["zstd", "gzip"], 1, pytest.mark.slow))
def test_skopeo_reads_and_copies_it(table: Table, name: str, tmp_path: Path) -> None:
    image = table.images[name]
    inspected = json.loads(table.sh(f"skopeo inspect oci:{name}:{TAG}"))
    assert inspected["Digest"] == image.digest
    assert inspected["Layers"] == [layer.digest for layer in image.layers]
    copy = f"skopeo copy --quiet --insecure-policy oci:{name}:{TAG}"
    table.sh(f"{copy} oci:copied-{name}:{TAG}; {copy} dir:dir-{name}")
    chunks, _ = table.container.get_archive(f"/w/copied-{name}")
    with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as tar:
        for member in tar:  # Python 3.11.2 has no `filter` for all at once
            file = tar.extractfile(member)
            if file:
                (tmp_path / member.name).parent.mkdir(parents=True, exist_ok=True)
                (tmp_path / member.name).write_bytes(file.read())
    copied, _ = oci_schemas.check_layout(tmp_path / f"copied-{name}")
    assert copied == json.loads(image.manifest)
    assert table.sh(f"sha256sum dir-{name}/manifest.json").split()[0] == image.digest[7:]
    # This one is not compressed: all layers go through the reader that Go's tools share.
    table.sh(f"{copy} docker-archive:{name}.tar")
    (listed,) = json.loads(table.sh(f"tar -xOf {name}.tar manifest.json"))
    unpacked = json.loads(table.sh(f"tar -xOf {name}.tar {listed['Config']}"))
    assert unpacked["rootfs"] == json.loads(image.config)["rootfs"]


def test_umoci_unpacks_the_files_that_the_engine_has(engine: Engine, table: Table) -> None:
    image = table.images["gzip"]
    blobs: dict[str, Content] = {layer.digest: table.store.blob(layer) for layer in image.layers}
    blobs[image.config_digest] = image.config
    with temporary_image(engine, image.manifest, image.digest, blobs) as visitor:
        ours = image_tree.tree(engine, visitor)
    table.sh(f"umoci unpack --image gzip:{TAG} bundle")
    chunks, _ = table.container.get_archive("/w/bundle/rootfs")
    theirs = image_tree.files(chunks, start="rootfs")
    assert set(ours) ^ set(theirs) == set()
    assert {path: theirs[path] for path in ours if theirs[path] != ours[path]} == {}
    assert BIG[1:] in ours
    assert "bin/gone" not in ours


@pytest.mark.parametrize("name", first_values(["zstd", "gzip"], 1, pytest.mark.slow))
def test_podman_pulls_and_runs_it(table: Table, name: str) -> None:
    result = table.sh(f"{PODMAN} pull --quiet oci:{name}:{TAG}").strip()
    assert result == table.images[name].config_digest[7:]
    assert table.sh(f"{RUN} {result}") == "it runs\n"
    output = table.sh(f"{RUN} {result} sh -c 'id -u; pwd; sha256sum {BIG}'").split()
    whole = next(iter((table.folder / "wheels").glob("big-*")))
    assert output == ["1000", "/code", _digest_in(whole), BIG]


def _digest_in(wheel: Path) -> str:
    with zipfile.ZipFile(wheel) as archive:
        return hashlib.sha256(archive.read(assembled_image.BIG)).hexdigest()


@pytest.mark.parametrize("name", first_values(["zstd", "gzip"], 1, pytest.mark.slow))
def test_docker_loads_the_layout(engine: Engine, table: Table, name: str) -> None:
    image = table.images[name]
    content: Any = _tar(table.folder / name, ["blobs", "index.json", "oci-layout"])
    try:
        (loaded,) = engine.sdk.images.load(content)
        assert (loaded.id, loaded.tags) == (image.digest, [f"{NAME}:{TAG}"])
        assert loaded.id
        assert engine.sdk.containers.run(loaded.id, remove=True) == b"it runs\n"
    finally:
        engine.sdk.images.remove(f"{NAME}:{TAG}")
