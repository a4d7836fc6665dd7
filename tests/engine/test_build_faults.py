"""Builds by the command that are stopped, run twice at once, or find damaged layers."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dlimg.assembly.compile_python import LABEL
from dlimg.builders.load import remove_leftover_names
from dlimg.builders.loopback_registry import NAME, serve_image
from dlimg.engine.client import Engine, list_images
from dlimg.model import BuiltImage
from dlimg.store.maintenance import list_entries
from dlimg.store.store import Store
from tests.engine.test_load_images import an_image, sha256
from tests.support import real_jax
from tests.support.fake_registry import FakeRegistry, running
from tests.support.one_cell_project import (
    BUILD,
    REGISTRY,
    SIZE,
    OneCellProject,
    digest_of,
    one_cell_project,
)

pytestmark = pytest.mark.engine

Process = subprocess.Popen[str]
STEPS = ("fetching", "splicing", "compiling", "taking")


@pytest.fixture(scope="module")
def project(
    engine: Engine, jax_image: BuiltImage, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OneCellProject]:
    assert engine.host
    with one_cell_project(tmp_path_factory.mktemp("project"), jax_image) as result:
        yield result


@pytest.fixture(scope="module")
def undisturbed(project: OneCellProject, engine: Engine) -> str:
    """The digest of the image from an undisturbed build."""
    project.ready("undisturbed")
    digest = project.built("undisturbed")
    forget(engine)
    return digest


@pytest.fixture(autouse=True)
def clean(engine: Engine) -> Iterator[None]:
    yield
    forget(engine)


def forget(engine: Engine) -> None:
    """Remove the image from the engine, with the layers that only this image has."""
    for name in named(engine):
        engine.sdk.images.remove(name)


def named(engine: Engine) -> list[str]:
    images = list_images(engine, {"reference": f"{REGISTRY}/*"})
    return [name for image in images for name in image["RepoTags"] or ()]


def passing(engine: Engine, digest: str) -> set[str]:
    """The temporary names of this image, without those of other images."""
    images = list_images(engine, intermediate=True)
    rows = [row for row in images if digest in str((row["Id"], row["RepoDigests"]))]
    names = [
        name for row in rows for kind in ("RepoDigests", "RepoTags") for name in row[kind] or ()
    ]
    return {name for name in names if NAME in name}


def compiling(engine: Engine, process: Process) -> list[str]:
    """The containers in which this process compiles byte code."""
    label = f"{LABEL}=bytecode-{process.pid}"
    return [
        container["Id"]
        for container in engine.sdk.api.containers(all=True, filters={"label": label})
    ]


def half_made(store: Store) -> set[Path]:
    return set(store.making.glob("*"))


def splicing(store: Store) -> bool:
    """Return whether a large layer is partly written."""
    for path in store.making.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if SIZE // 8 < path.stat().st_size < SIZE:
                return True
    return False


def taking(store: Store, process: Process) -> bool:
    """Return whether the engine pulls an image from this process."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    threads = children.parents[1].glob("*/children")
    with contextlib.suppress(OSError):
        for child in " ".join(thread.read_text() for thread in threads).split():
            command_line = Path(f"/proc/{child}/cmdline").read_bytes()
            if b"pull" in command_line.split(b"\0") and any((store.path / "images").glob("*.json")):
                return True
    return False


def await_step(is_there: Callable[[], object], process: Process) -> None:
    deadline = time.monotonic() + 300
    while not is_there():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.003)


@pytest.fixture
def neighbour(engine: Engine) -> Iterator[str]:
    """The digest of an image that another dlimg is loading; it must lose nothing."""
    manifest, blobs = an_image(os.urandom(20))
    with serve_image(manifest, blobs) as served:
        reference = served.reference(sha256(manifest))
        repository, _, digest = reference.partition("@")
        engine.sdk.api.pull(repository, digest, auth_config={})
        yield sha256(manifest)
        assert passing(engine, sha256(manifest)) == {reference}
        engine.sdk.images.remove(reference)


@pytest.mark.usefixtures("neighbour")
@pytest.mark.parametrize(
    "first", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_a_build_stopped_at_any_step_can_be_repeated(
    engine: Engine, project: OneCellProject, undisturbed: str, first: signal.Signals
) -> None:
    """Each time one step further; completed steps are not repeated."""
    cache = first.name
    store = project.ready(cache)
    whole = len(list_entries(store))
    numbers = [signal.SIGINT, signal.SIGKILL] * 3
    for step, number in zip(STEPS, numbers[numbers.index(first) :], strict=False):
        halves = half_made(store)  # which a kill has left, and nobody sees
        process = stopped(engine, project, cache, step, number)
        assert "all good" in project.said(cache, "store", "verify")
        assert len(list_entries(store)) >= whole
        whole = len(list_entries(store))
        if step == "taking":
            forget(engine)  # it may have come to its end just before
        assert not named(engine)
        left = compiling(engine, process)
        if number == signal.SIGINT:
            assert not left
            assert half_made(store) <= halves
            assert not passing(engine, undisturbed)
        for container in left:
            engine.sdk.api.remove_container(container, force=True, v=True)
        remove_leftover_names(engine)
        assert not passing(engine, undisturbed)
    assert project.built(cache) == undisturbed
    assert not passing(engine, undisturbed)


def stopped(
    engine: Engine, project: OneCellProject, cache: str, step: str, number: signal.Signals
) -> Process:
    """Run a build that gets this signal in this step."""
    store = project.store(cache)
    project.index.shut()
    if step != "fetching":
        project.index.opened.set()
    with project.start(cache, *BUILD) as process:
        steps: dict[str, Callable[[], object]] = {
            "fetching": project.index.halfway.is_set,
            "splicing": lambda: splicing(store),
            "compiling": lambda: compiling(engine, process),
            "taking": lambda: taking(store, process),
        }
        await_step(steps[step], process)
        process.send_signal(number)
        try:
            _, message = process.communicate(timeout=90)
        finally:
            process.kill()
            project.index.opened.set()
    assert "Traceback" not in message
    assert process.returncode == (130 if number == signal.SIGINT else -number), (step, message)
    return process


@pytest.mark.slow
def test_two_builds_of_one_image_at_once(
    engine: Engine, project: OneCellProject, undisturbed: str
) -> None:
    """They share all work; maintenance of the store meanwhile breaks nothing."""
    project.ready("shared")
    project.index.shut()
    with (
        project.start("shared", *BUILD, "--format", "json") as first,
        project.start("shared", *BUILD, "--format", "json") as other,
    ):
        await_step(project.index.halfway.is_set, first)
        assert "all good" in project.said("shared", "store", "verify")
        message = project.said("shared", "store", "prune", "--all", code=1)
        assert "another dlimg is using" in message
        project.index.opened.set()
        outs = [process.communicate(timeout=300) for process in (first, other)]
    for process, (out, message) in zip((first, other), outs, strict=True):
        assert digest_of(process.returncode, out, message) == undisturbed
    assert len(named(engine)) == 2
    assert "all good" in project.said("shared", "store", "verify")


@pytest.mark.slow
def test_a_damaged_layer_is_named_and_made_again(
    engine: Engine, project: OneCellProject, undisturbed: str
) -> None:
    store = project.ready("damaged")
    assert project.built("damaged") == undisturbed
    forget(engine)
    held = next(entry for entry in list_entries(store) if entry.key.kind == "wheel")
    blob = store.blob(held.layer)
    raw = bytearray(blob.read_bytes())
    raw[len(raw) // 2] ^= 1
    blob.write_bytes(raw)
    with project.start("damaged", *BUILD) as process:
        _, message = process.communicate(timeout=300)
    # An engine that still has the files of this layer asks for none; else it refuses this one.
    if process.returncode:
        assert "damaged in the store: wheel jax 0.12.0.1" in message
        assert "run the command again" in message
    forget(engine)
    verified = project.said("damaged", "store", "verify", code=0 if process.returncode else 1)
    assert process.returncode or "damaged, and removed: wheel jax 0.12.0.1" in verified
    assert project.built("damaged") == undisturbed


@pytest.mark.slow
def test_another_compression_of_the_same_layers(
    engine: Engine, project: OneCellProject, undisturbed: str, tmp_path: Path
) -> None:
    """The engine has these files from other blobs, pulls none, and must be given them."""
    project.ready("both")
    assert project.built("both") == undisturbed
    digest = project.built("both", "--compression", "gzip")
    assert digest != undisturbed
    name = f"{REGISTRY}/jax:{real_jax.CELL.removeprefix('jax-')}"
    result = engine.sdk.images.get(name)
    assert (result.id, result.attrs["Os"]) == (digest, "linux")
    saved = tmp_path / "saved.tar"
    with saved.open("wb") as file:
        file.writelines(result.save())
    assert saved.stat().st_size > SIZE
    with running(FakeRegistry()) as registry:
        result.tag(f"{registry.host}/jax", "pushed")
        try:
            message = engine.sdk.images.push(f"{registry.host}/jax", "pushed")
        finally:
            engine.sdk.images.remove(f"{registry.host}/jax:pushed")
        assert digest in message, message
        assert digest in {digest for _, digest in registry.manifests}
