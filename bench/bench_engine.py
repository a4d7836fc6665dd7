"""The surroundings of `layers_cost.py`: engines and registries of its own, wheels on disk.

Everything is in one folder. The engines and their content are removed afterwards.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Final

import requests

from dlimg.assembly.download import WheelSource, downloading
from dlimg.builders.builder import BuildParameters
from dlimg.builders.buildkit import build
from dlimg.builders.executor import EngineExecutor
from dlimg.builders.load import load_image
from dlimg.builders.secrets import Secrets, secrets_from
from dlimg.context import Context
from dlimg.engine import private_engine
from dlimg.engine.bases import find_base
from dlimg.engine.client import Engine
from dlimg.engine.private_home import home_of
from dlimg.host.process import run_checked
from dlimg.model import BuiltImage, PlannedImage, Wheel
from dlimg.pipeline.images import current_images
from dlimg.pipeline.project import read_project
from dlimg.pypi.index import open_index
from dlimg.pypi.uv_queries import uv_query, wheel_urls
from dlimg.render.content_key import with_key
from dlimg.store.image_manifest import ImageLayer, LayerRank, assemble_image
from dlimg.store.store import Store, layer_store

ROOT: Final = Path(__file__).parent.parent
REGISTRY: Final = ROOT / "tests/engine/registry/Dockerfile"


# A file system for one measurement: a sparse file, which takes what is written to it. Without the
# options mkfs would leave work to the kernel, in the middle of what is measured.
DISK_BYTES: Final = 48 * 2**30
MAKE_DISK: Final = (
    *("mkfs.ext4", "-q", "-F", "-N", "1000000"),
    *("-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A folder with its engine, the images to build in it, and their wheels."""

    folder: Path
    engine: Engine
    secrets: Secrets
    planned: tuple[PlannedImage, ...]
    wheels: Path
    environment: Mapping[str, str]


@contextmanager
def open_bench(folder: Path, cells: Sequence[str]) -> Iterator[Bench]:
    """Set up everything that is not measured; remove the engine at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    environment = {
        **{name: text for name, text in os.environ.items() if not name.startswith("DOCKER_")},
        "DLIMG_ENGINE_HOME": str(folder / "engine"),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "XDG_STATE_HOME": str(folder / "state"),
    }
    home = home_of(Context.of(environment, print))
    engine = private_engine.up(home, Context.of(environment, print))
    try:
        with secrets_from(Context.of(environment, print)) as secrets:
            planned = _planned(engine, cells, secrets, environment)
            wheels = _download_wheels(folder / "wheels", planned, environment)
            yield Bench(
                folder=folder,
                engine=engine,
                secrets=secrets,
                planned=planned,
                wheels=wheels,
                environment=environment,
            )
    finally:
        private_engine.purge(home, log=print)


@contextmanager
def fresh_engine(bench: Bench) -> Iterator[Bench]:
    """Yield the bench with an engine on a new file system, which has the bases alone.

    A file system remembers what was on it: ext4 without a journal does not use the inodes of files
    that were deleted a moment ago, and looks at each of them for every new file.
    """
    disk, folder = bench.folder / "fresh.img", bench.folder / "fresh"
    folder.mkdir(exist_ok=True)
    with disk.open("wb") as file:
        file.truncate(DISK_BYTES)
    run_checked([*MAKE_DISK, str(disk)], env=os.environ)
    run_checked(["mount", "-o", "loop", str(disk), str(folder)], env=os.environ)
    environment = {**bench.environment, "DLIMG_ENGINE_HOME": str(folder / "engine")}
    context = Context.of(environment, _discard)
    home = home_of(context)
    home.path.mkdir()
    home.root.symlink_to(home_of(Context.of(bench.environment, _discard)).root)
    try:
        engine = private_engine.up(home, context)
        for reference in {planned.base.reference for planned in bench.planned}:
            name = reference.removeprefix("docker-image://")
            engine.sdk.images.load(b"".join(bench.engine.sdk.images.get(name).save(named=name)))
        os.sync()
        yield replace(bench, engine=engine, environment=environment)
        engine.sdk.close()
    finally:
        private_engine.down(home, log=_discard)
        run_checked(["umount", str(folder)], env=os.environ)
        disk.unlink()


def _discard(_: str) -> None:
    """Print nothing."""


def _planned(
    engine: Engine, cells: Sequence[str], secrets: Secrets, environment: Mapping[str, str]
) -> tuple[PlannedImage, ...]:
    project = read_project(str(ROOT / "matrix.yaml"))
    by_id = {cell.id: cell for cell in project.resolution.cells}
    images = current_images(project, [by_id[name] for name in cells])
    bases = {
        image.cell.os.name: find_base(engine, image.cell.os, choice="auto", pins={}, log=print)
        for image in images
    }
    planned = [
        PlannedImage(image=image, base=bases[image.cell.os.name], key="") for image in images
    ]
    store = layer_store(Context.of(environment, print))
    executor = EngineExecutor(engine=engine, secrets=secrets)
    systems = [executor.system(image, store, lambda _: None) for image in planned]
    return tuple(
        with_key(image, system.packages_digest)
        for image, system in zip(planned, systems, strict=True)
    )


def _download_wheels(
    folder: Path, planned: Sequence[PlannedImage], environment: Mapping[str, str]
) -> Path:
    folder.mkdir(exist_ok=True)
    ask = uv_query(Context.of(environment, print))
    source = WheelSource(
        folders=(folder,),
        folder=folder,
        find_urls=lambda wheels, target: wheel_urls(wheels, target, ask),
        session=open_index(Context.of(environment, print), folder / "index").session,
        log=print,
    )
    wanted: dict[tuple[str, str], list[Wheel]] = {}
    for lock in (image.image.lock for image in planned):
        wanted.setdefault((lock.python, lock.platform), []).extend(lock.wheels)
    with downloading(wanted, source) as locate:
        for group in wanted.values():
            for wheel in group:
                locate(wheel)
    return folder


def system_image(bench: Bench, planned: PlannedImage, store: Store) -> str:
    """Load an image with only the system of this one into the engine; return its name."""
    system = EngineExecutor(engine=bench.engine, secrets=bench.secrets).system(
        planned, store, lambda _: None
    )
    layers = [
        ImageLayer(layer=layer, rank=LayerRank.SYSTEM, history="system") for layer in system.layers
    ]
    image = assemble_image(planned, layers, system.config)
    blobs = {layer.digest: store.blob(layer) for layer in image.layers}
    tag = image.digest.removeprefix("sha256:")[:12]
    load_image(
        bench.engine,
        image.manifest,
        image.digest,
        {**blobs, image.config_digest: image.config},
        names=[("bench/system", tag)],
    )
    return f"bench/system:{tag}"


def registry_image(bench: Bench) -> str:
    """Build the image of a registry on the first image's base; return its name."""
    planned = bench.planned[0]
    cell = replace(planned.image.cell, family="bench-registry")
    text = REGISTRY.read_text().replace("debian:trixie-slim", cell.os.image)
    image = replace(
        planned.image, cell=cell, dockerfile=text, repository="bench/registry", tag="1", aliases=()
    )
    key = sha256(text.encode()).hexdigest()
    wanted = replace(planned, image=image, key=key, packages="")
    (built,) = build(
        [wanted],
        bench.engine,
        BuildParameters(jobs=1, secrets=bench.secrets, find_links=[], on_progress=lambda _: None),
    )
    if not isinstance(built, BuiltImage):
        raise SystemExit("\n".join(built.log))
    return wanted.reference


@contextmanager
def registry(bench: Bench, name: str, image: str) -> Iterator[str]:
    """Run an empty registry with its data in the bench's folder; yield its address."""
    data = bench.folder / name
    container = bench.engine.sdk.containers.run(
        image,
        detach=True,
        ports={"5000/tcp": ("127.0.0.1", 0)},
        volumes={str(data): {"bind": "/var/lib/registry", "mode": "rw"}},
    )
    try:
        container.reload()
        (bound,) = container.ports["5000/tcp"] or [{}]
        address = f"127.0.0.1:{bound['HostPort']}"
        _wait(address)
        yield address
    finally:
        container.remove(force=True, v=True)
        shutil.rmtree(data, ignore_errors=True)


def registry_bytes(bench: Bench, name: str) -> int:
    """Return the bytes of a registry's blobs."""
    blobs = bench.folder / name / "docker/registry/v2/blobs"
    return sum(path.stat().st_size for path in blobs.rglob("data"))


def _wait(address: str) -> None:
    for _ in range(100):
        with suppress(requests.RequestException):
            if requests.get(f"http://{address}/v2/", timeout=1).ok:
                return
        time.sleep(0.1)
    raise SystemExit(f"no registry answers at {address}")
