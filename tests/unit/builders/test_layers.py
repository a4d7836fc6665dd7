"""The layers builder without an engine: images assembled by an executor that needs no root."""

import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from dlimg.assembly.compile_python import (
    COMPILE_FOLDER,
    SCRIPT,
    BytecodeRanges,
    Sources,
    Spool,
    compiler_input,
    locate_bytecode,
)
from dlimg.assembly.system import OnLine
from dlimg.builders.assemble import AssembleContext, open_assembler
from dlimg.builders.layers import BuildRun
from dlimg.builders.progress import BuildProgress
from dlimg.context import Context
from dlimg.errors import DlimgError, Negative, NoEngine
from dlimg.layer.compress import compress_gzip
from dlimg.layer.entries import LayerEntry
from dlimg.layer.tar import tar_bytes, tar_parts
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.render.image_config import ImageConfig
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.images import load_image
from dlimg.store.keys import LayerKey
from dlimg.store.store import Store, make_layer
from dlimg.store.systems import SystemLayers, packages_digest
from tests.support import assembled_image, samples, wheel_files

PACKAGES = ("dash:amd64=0.5", "tini:amd64=0.19")
BASE = ImageConfig(env=("PATH=/bin",), labels={}, cmd=("sh",))


class LocalExecutor:
    """An executor with a system of one file, which compiles with the Python of the tests."""

    def __init__(self, folder: Path, errors: dict[str, DlimgError]) -> None:
        self.folder = folder
        self.errors = errors
        self.compiled = 0

    def system(self, planned: PlannedImage, store: Store, on_line: OnLine) -> SystemLayers:  # noqa: ARG002
        if planned.reference in self.errors:
            raise self.errors[planned.reference]
        entry = LayerEntry(path="bin/sh", mode=0o755, content=b"sh", owner="system")
        layers = [
            make_layer(
                store,
                LayerKey(kind="system", source=f"{number:064}"),
                lambda file: compress_gzip(tar_parts([entry]), file.write),
                print,
            )
            for number in range(2)
        ]
        return SystemLayers(
            layers=tuple(layers), config=BASE, interpreter="python", packages=PACKAGES
        )

    def packages(self, planned: PlannedImage, store: Store, on_line: OnLine) -> tuple[str, ...]:
        return self.system(planned, store, on_line).packages

    def compile(
        self, system: SystemLayers, python: str, store: Store, sources: Sources, spool: Spool
    ) -> BytecodeRanges:
        assert (system.interpreter, python) == ("python", "3.13")
        assert store.path.exists()
        self.compiled += 1
        tar = self.folder / f"sources-{self.compiled}.tar"
        tar.write_bytes(b"".join(tar_bytes(tar_parts(compiler_input(sources)))))
        root = self.folder / f"root-{self.compiled}"
        with tarfile.open(tar) as archive:
            archive.extraction_filter = lambda member, _: member  # Python 3.11.2 has none
            archive.extractall(root)  # noqa: S202 - written above
        work = root / COMPILE_FOLDER
        subprocess.run([sys.executable, "-c", SCRIPT, str(work), "/library"], check=True)
        with tarfile.open(fileobj=spool, mode="w:") as archive:
            archive.add(work / "out", arcname="out")
        return locate_bytecode(spool)

    def stop(self) -> None:
        """Do nothing: no compiler outlives its call."""


def plans(wheels: Path) -> tuple[PlannedImage, PlannedImage]:
    """Two images with the same wheels and the packages of the executor's system."""
    locked = tuple(wheel_files.locked(path) for path in sorted(wheels.glob("*.whl")))
    cell = samples.cell(package="big", version="1.0")
    image = samples.image(cell, locked=samples.lock(cell.id, wheels=locked))
    first = samples.planned(image, packages=packages_digest(PACKAGES))
    return first, replace(first, key="b" * 64)


def build(
    planned: tuple[PlannedImage, ...],
    executor: LocalExecutor,
    progress: list[BuildProgress],
    store: Store,
    wheels: Path,
) -> dict[str, BuiltImage | BuildFailure]:
    def deliver(_: PlannedImage, image: AssembledImage) -> tuple[str, int]:
        assert load_image(store, image.digest) is not None
        return image.digest, 7

    context = AssembleContext(
        executor=executor,
        context=Context.of({"HOME": str(executor.folder)}, print),
        store=store,
        find_links=[wheels],
    )
    with open_assembler(planned, context) as assembler:
        run = BuildRun(
            assembler=assembler, on_progress=progress.append, last_step="load", deliver=deliver
        )
        return dict(run.build_all(planned, jobs=1))


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    folder = tmp_path / "wheels"
    folder.mkdir()
    assembled_image.wheels(folder)
    return folder


def test_each_image_is_assembled_recorded_and_delivered(tmp_path: Path, wheels: Path) -> None:
    progress: list[BuildProgress] = []
    executor = LocalExecutor(tmp_path, {})
    first, second = plans(wheels)
    results = build((first, second), executor, progress, Store(path=tmp_path / "store"), wheels)
    built, other = results[first.reference], results[second.reference]
    assert isinstance(built, BuiltImage)
    assert isinstance(other, BuiltImage)
    assert (built.size, built.cached) == (7, False)
    assert built.digest != other.digest  # the content key is a label
    assert executor.compiled == 1
    assert [(step.state, step.name) for step in progress[:5]] == [
        ("running", "system stage"),
        ("running", "wheels"),
        ("running", "byte code"),
        ("running", "load"),
        ("done", ""),
    ]
    assert (progress[1].number, progress[1].total) == (2, 4)


def test_a_failure_names_its_step_and_stops_no_other_image(tmp_path: Path, wheels: Path) -> None:
    progress: list[BuildProgress] = []
    first, second = plans(wheels)
    executor = LocalExecutor(tmp_path, {second.reference: Negative("it broke", hint="mend it")})
    results = build((first, second), executor, progress, Store(path=tmp_path / "store"), wheels)
    assert isinstance(results[first.reference], BuiltImage)
    failure = results[second.reference]
    assert isinstance(failure, BuildFailure)
    assert (failure.step, failure.log) == ("system stage", ("it broke", "  hint: mend it"))
    assert progress[-1].state == "failed"


def test_other_packages_than_those_of_the_key_fail(tmp_path: Path, wheels: Path) -> None:
    first, _ = plans(wheels)
    first = replace(first, packages=packages_digest(["dash:amd64=0.6"]))
    executor = LocalExecutor(tmp_path, {})
    results = build((first,), executor, [], Store(path=tmp_path / "store"), wheels)
    failure = results[first.reference]
    assert isinstance(failure, BuildFailure)
    assert "other packages than its content key says" in failure.log[0]


def test_a_lost_engine_ends_the_call(tmp_path: Path, wheels: Path) -> None:
    first, _ = plans(wheels)
    executor = LocalExecutor(tmp_path, {first.reference: NoEngine("gone")})
    with pytest.raises(NoEngine, match="gone"):
        build((first,), executor, [], Store(path=tmp_path / "store"), wheels)
