"""An engine with Docker's own image store instead of containerd's makes the same images."""

import gzip
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
import requests

from dlimg.assembly.system import SystemBuildTools, build_system
from dlimg.builders.load import load_image
from dlimg.builders.loopback_registry import Content
from dlimg.context import Context
from dlimg.engine import private_engine
from dlimg.engine.client import Engine, has_containerd_store
from dlimg.engine.private_home import daemon_settings, home_of
from dlimg.errors import Negative
from dlimg.host.process import wait_until
from dlimg.model import Base, BaseSource, BuiltImage, CheckStatus, Evidence, Verdict
from dlimg.publish.policy import CheckRunner
from dlimg.publish.promote import PublishedImage, PublishRequest, publish
from dlimg.publish.push_source import ImageSources
from dlimg.publish.tags import require_manifest
from dlimg.registry.blobs import upload_bytes
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import put_manifest
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import Store
from dlimg.store.systems import SystemLayers
from tests.support import assembled_image, samples, small_images
from tests.support.rows import first_values

pytestmark = pytest.mark.engine

REPOSITORY = f"dlimg-test/classic-{small_images.TOKEN}"
# All that overlayfs and the classic store keep in other ways than containerd: a file that is gone,
# one that was touched and is as before, a folder anew in the place of one, and new ones.
SYSTEM = """\
FROM debian:trixie-slim AS system
USER 0:0
SHELL ["/bin/sh", "-euc"]
RUN cd /opt/env/lib/python/site-packages; \\
    busybox rm small.py; busybox chmod 644 other/data.bin; \\
    busybox rm -r big; busybox mkdir -p big /new/folder; echo text >/new/folder/file; \\
    busybox find /new /opt -newer /bin/busybox -exec busybox touch -h -d '1980-01-02 00:00:00' {} +
FROM system
RUN true
"""


def settings(pool: str, **given: Any) -> Mapping[str, Any]:
    result = daemon_settings(pool, **given)
    return {**result, "features": {"containerd-snapshotter": False, "cdi": True}}


@pytest.fixture(scope="module")
def classic(engine: Engine) -> Iterator[Engine]:
    obstacle = private_engine.unsupported_reason()
    if obstacle:
        pytest.skip(f"no private engine on this machine: {obstacle}")
    # A short path: sockets have one.
    folder = Path(tempfile.mkdtemp(prefix="dlimg-"))
    environment = {**os.environ, "DLIMG_ENGINE_HOME": str(folder / "c")}
    home = home_of(Context.of(environment, print))
    if engine.private:
        home.path.mkdir()
        home.root.symlink_to(home_of(Context.of(os.environ, print)).root)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(private_engine, "daemon_settings", settings)
            second = private_engine.up(home, Context.of(environment, print))
        yield second
        second.sdk.close()
    finally:
        private_engine.purge(home, log=print)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    assembled_image.wheels(folder)
    return folder


@pytest.fixture(scope="module")
def busybox(engine: Engine, tools_image: str) -> bytes:
    return small_images.file_in(engine, tools_image, "/bin/busybox")


def blobs(image: AssembledImage, store: Store) -> Mapping[str, Content]:
    layers: dict[str, Content] = {layer.digest: store.blob(layer) for layer in image.layers}
    return {**layers, image.config_digest: image.config}


@pytest.mark.slow
@pytest.mark.parametrize("compression", first_values(["zstd3", "gzip"], 1, pytest.mark.slow))
def test_the_classic_store_loads_an_image(
    engine: Engine, classic: Engine, wheels: Path, busybox: bytes, compression: str, tmp_path: Path
) -> None:
    assert (has_containerd_store(engine), has_containerd_store(classic)) == (True, False)
    store = Store(path=tmp_path)
    image = assembled_image.image(wheels, store, busybox=busybox, compression=compression)
    content = blobs(image, store)
    names = [(REPOSITORY, compression)]
    result = load_image(classic, image.manifest, image.digest, content, names=names)
    assert result == image.config_digest
    taken = classic.sdk.images.get(result)
    assert taken.tags == [f"{REPOSITORY}:{compression}"]
    assert taken.attrs["RepoDigests"] == []
    assert classic.sdk.containers.run(result, remove=True) == b"it runs\n"
    classic.sdk.images.remove(f"{REPOSITORY}:{compression}")


@pytest.mark.slow
def test_a_system_has_the_same_digest_as_in_containerds_store(
    engine: Engine, classic: Engine, wheels: Path, busybox: bytes, tmp_path: Path
) -> None:
    store = Store(path=tmp_path / "base")
    image = assembled_image.image(wheels, store, busybox=busybox)
    below = Base(
        os="debian13",
        source=BaseSource.BOOTSTRAP,
        identity=image.digest,
        reference=f"docker-image://{REPOSITORY}:base",
    )
    planned = samples.planned(samples.image(dockerfile=SYSTEM), on=below)
    systems: list[SystemLayers] = []
    for number, one in enumerate((engine, classic)):
        content = blobs(image, store)
        load_image(one, image.manifest, image.digest, content, names=[(REPOSITORY, "base")])
        tools = SystemBuildTools(engine=one, secrets={}, arguments={}, on_line=print, log=print)
        try:
            systems.append(build_system(planned, Store(path=tmp_path / str(number)), tools))
        finally:
            one.sdk.images.remove(f"{REPOSITORY}:base")
    first, second = systems
    assert first == second
    assert len(first.layers) == len(image.layers) + 1
    assert not [name for image in classic.sdk.images.list() for name in image.tags]


def publish_from(classic: Engine, built: BuiltImage, registry: str, notes: Path) -> PublishedImage:
    """Publish from the engine, whose classic store has the image's config but no manifest."""
    verdict = Verdict(check="a", sha256="1", status=CheckStatus.PASSED, reason="", seconds=1.0)

    def evidence(image: BuiltImage) -> Evidence:
        return Evidence(
            digest=image.digest,
            cell=image.planned.image.cell.id,
            device="none",
            day="2026-11-21",
            dlimg="0.1",
            engine="28",
            verdicts=(verdict,),
        )

    wanted = PublishRequest(
        to=f"{registry}/team",
        allow_untested_gpu=False,
        attach=None,
        context=Context.of(os.environ, print),
        runner=CheckRunner(checks=lambda _: (), test=evidence, known=lambda _a, _b: None),
        state=notes,
    )
    stock = ImageSources(store=Store(path=notes / "none"), engine=classic, siblings=(), log=print)
    return publish(built, evidence(built), stock, request=wanted)


@pytest.fixture
def built(classic: Engine, wheels: Path, busybox: bytes, tmp_path: Path) -> Iterator[BuiltImage]:
    store = Store(path=tmp_path / "layers")
    image = assembled_image.image(wheels, store, busybox=busybox)
    planned = samples.planned(samples.image(samples.cell("classic")), key="1" * 64)
    repository, _, tag = planned.reference.rpartition(":")
    result = load_image(
        classic, image.manifest, image.digest, blobs(image, store), names=[(repository, tag)]
    )
    yield BuiltImage(planned=planned, digest=result, size=1, seconds=1.0, cached=False)
    classic.sdk.images.remove(planned.reference)


@pytest.fixture
def registry(engine: Engine, tools_image: str) -> Iterator[str]:
    """The address of a registry in a container of the other engine."""
    container = engine.sdk.containers.run(
        tools_image,
        detach=True,
        network_mode="bridge",
        ports=cast("Any", {"5000/tcp": ("127.0.0.1", None)}),
    )
    try:
        container.reload()
        address = f"127.0.0.1:{(container.ports['5000/tcp'] or [])[0]['HostPort']}"
        assert wait_until(lambda: answers(address), seconds=30)
        yield address
    finally:
        container.remove(force=True, v=True)


def answers(address: str) -> bool:
    try:
        return requests.get(f"http://{address}/v2/", timeout=2).ok
    except requests.RequestException:
        return False


@pytest.mark.slow
def test_a_published_image_is_recognized_by_its_layers(
    classic: Engine, built: BuiltImage, registry: str, tmp_path: Path
) -> None:
    """By the record of the pushed manifest, or without that by the content of the layers."""
    first = publish_from(classic, built, registry, tmp_path / "a")
    assert publish_from(classic, built, registry, tmp_path / "a") == first
    assert publish_from(classic, built, registry, tmp_path / "b") == first
    for name in ("a", "b"):
        (note,) = (tmp_path / name / "manifests").iterdir()
        assert (f"sha256:{note.name}", note.read_text().strip()) == (first.digest, built.digest)


@pytest.mark.slow
def test_a_manifest_with_the_tested_config_and_other_layers_gets_no_name(
    classic: Engine, built: BuiltImage, registry: str, tmp_path: Path
) -> None:
    first = publish_from(classic, built, registry, tmp_path / "a")
    tag = first.reference.rpartition(":")[2]
    moving = first.moved[0].rpartition(":")[2]
    with open_registry(registry, Context.of(os.environ, print)) as there:
        repository = Repository(registry=there, name="team/classic")
        manifest = require_manifest(repository, tag)
        lie = json.loads(manifest.text)
        content = gzip.compress(b"no such layer")
        lie["layers"][-1] |= {"digest": upload_bytes(repository, content), "size": len(content)}
        changed = json.dumps(lie).encode()
        put_manifest(repository, moving, changed, manifest.media_type)
        put = put_manifest(repository, tag, changed, manifest.media_type)
        with pytest.raises(Negative, match="its layers are not those that its config names"):
            publish_from(classic, built, registry, tmp_path / "b")
        assert require_manifest(repository, tag).digest == put.digest
        assert not (tmp_path / "b").exists()
