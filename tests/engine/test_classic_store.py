"""An engine with Docker's own image store instead of containerd's makes the same images."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import little
import make
import pytest
import small

from dlimg.engine import private
from dlimg.engine.client import Engine, has_containerd_store
from dlimg.engine.home import daemon_settings, home_of
from dlimg.layers.assemble import Assembled
from dlimg.layers.intake import take_in
from dlimg.layers.serve import Content
from dlimg.layers.store import Store
from dlimg.layers.system import Tools, system
from dlimg.layers.systems import System
from dlimg.model import Base, BaseSource

pytestmark = pytest.mark.engine

REPOSITORY = f"dlimg-test/classic-{small.TOKEN}"
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
    found = daemon_settings(pool, **given)
    return {**found, "features": {"containerd-snapshotter": False, "cdi": True}}


@pytest.fixture(scope="module")
def classic(engine: Engine) -> Iterator[Engine]:
    obstacle = private.obstacle()
    if obstacle:
        pytest.skip(f"no private engine on this machine: {obstacle}")
    # A short path: sockets have one.
    folder = Path(tempfile.mkdtemp(prefix="dlimg-"))
    environment = {**os.environ, "DLIMG_ENGINE_HOME": str(folder / "c")}
    home = home_of(environment)
    if engine.private:
        home.path.mkdir()
        home.root.symlink_to(home_of(os.environ).root)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(private, "daemon_settings", settings)
            second = private.up(home, environment=environment, say=print)
        yield second
        second.sdk.close()
    finally:
        private.purge(home, say=print)
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheels")
    little.wheels(folder)
    return folder


@pytest.fixture(scope="module")
def busybox(engine: Engine, tools_image: str) -> bytes:
    return small.file_in(engine, tools_image, "/bin/busybox")


def blobs(image: Assembled, store: Store) -> Mapping[str, Content]:
    layers: dict[str, Content] = {one.digest: store.blob(one) for one in image.layers}
    return {**layers, image.config_digest: image.config}


@pytest.mark.parametrize("compression", ["gzip", "zstd3"])
def test_it_takes_an_image(
    engine: Engine, classic: Engine, wheels: Path, busybox: bytes, compression: str, tmp_path: Path
) -> None:
    assert (has_containerd_store(engine), has_containerd_store(classic)) == (True, False)
    store = Store(path=tmp_path)
    image = little.image(wheels, store, busybox=busybox, compression=compression)
    content = blobs(image, store)
    names = [(REPOSITORY, compression)]
    found = take_in(classic, image.manifest, image.digest, content, names=names)
    assert found == image.config_digest
    taken = classic.sdk.images.get(found)
    assert taken.tags == [f"{REPOSITORY}:{compression}"]
    assert taken.attrs["RepoDigests"] == []
    assert classic.sdk.containers.run(found, remove=True) == b"it runs\n"
    classic.sdk.images.remove(f"{REPOSITORY}:{compression}")


def test_a_system_has_the_digest_that_it_has_from_containerds_store(
    engine: Engine, classic: Engine, wheels: Path, busybox: bytes, tmp_path: Path
) -> None:
    store = Store(path=tmp_path / "base")
    image = little.image(wheels, store, busybox=busybox)
    below = Base(
        os="debian13",
        source=BaseSource.BOOTSTRAP,
        identity=image.digest,
        reference=f"docker-image://{REPOSITORY}:base",
    )
    planned = make.planned(make.image(dockerfile=SYSTEM), on=below)
    systems: list[System] = []
    for number, one in enumerate((engine, classic)):
        content = blobs(image, store)
        take_in(one, image.manifest, image.digest, content, names=[(REPOSITORY, "base")])
        tools = Tools(engine=one, secrets={}, arguments={}, on_line=print, say=print)
        try:
            systems.append(system(planned, Store(path=tmp_path / str(number)), tools))
        finally:
            one.sdk.images.remove(f"{REPOSITORY}:base")
    first, second = systems
    assert first == second
    assert len(first.layers) == len(image.layers) + 1
    assert not [name for one in classic.sdk.images.list() for name in one.tags]
