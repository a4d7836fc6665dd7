"""The BuildKit builder: one `docker buildx bake` for each cell, so that a failure stops no other.

BuildKit runs a step that several cells share once, even when the cells build in parallel.
"""

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import docker
from docker.models.images import Image as EngineImage

from dlimg.builders.builder import BuildParameters, split_existing
from dlimg.builders.disk_space import check_space, predicted_bytes
from dlimg.builders.image_packages import forget_packages, packages_in_image
from dlimg.builders.progress import BuildProgress, OnProgress, advance, failure_log, with_state
from dlimg.builders.secrets import Secrets
from dlimg.engine import ownership
from dlimg.engine.client import Engine, engine_errors, list_images, unreachable_reason
from dlimg.errors import Negative, NoEngine
from dlimg.host.interrupt import interruptible, run_all
from dlimg.host.process import MISSING, ProcessResult, run_streaming
from dlimg.lock.local_wheels import place_local_wheels
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.render.bake import BUILDER, bake_file, target_name
from dlimg.store.store import layer_store
from dlimg.store.systems import packages_digest


@dataclass(frozen=True, slots=True, kw_only=True)
class _BakeResult:
    """The result of the bake of one cell."""

    completed: ProcessResult
    progress: BuildProgress
    seconds: float


@engine_errors()
def build(
    planned: Sequence[PlannedImage], engine: Engine, parameters: BuildParameters
) -> tuple[BuiltImage | BuildFailure, ...]:
    """Build images into an engine and return the results in order; a failure stops no other cell.

    An image that an earlier build made, and that still has its immutable name, is not built
    again. Raises `BadInput` for a local wheel
    that is missing or not the locked one, `Negative` without enough disk space, and
    `KeyboardInterrupt` after every bake has ended.
    """
    present, missing = split_existing(planned, engine, BUILDER, parameters.on_progress)
    check_space(missing, engine, predicted_bytes(missing))
    baked = _bake_all(missing, engine, parameters)
    return tuple(
        present.get(plan.reference) or _result(plan, baked[plan.reference], engine)
        for plan in planned
    )


def bake_argv(docker_client: Path, target: str, readable: Sequence[str]) -> list[str]:
    """Return the command that bakes a target of the file on stdin and may read these folders."""
    return [
        *(str(docker_client), "buildx", "bake", "--file", "-", "--progress", "rawjson"),
        *(f"--allow=fs.read={folder}" for folder in readable),
        target,
    ]


def _bake_all(
    planned: Sequence[PlannedImage], engine: Engine, parameters: BuildParameters
) -> Mapping[str, _BakeResult]:
    secrets = parameters.secrets
    lock = threading.Lock()

    def report(progress: BuildProgress) -> None:
        with lock:
            parameters.on_progress(progress)

    with interruptible(), tempfile.TemporaryDirectory(prefix="dlimg-build-") as folder:
        inputs = {
            plan.reference: _bake_input(plan, secrets, parameters.find_links, Path(folder))
            for plan in planned
        }
        tasks = {
            plan.reference: partial(_bake, plan, engine, inputs[plan.reference], secrets, report)
            for plan in planned
        }
        return run_all(tasks, parameters.jobs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _BakeInput:
    """The folder in which buildx runs, with an image's local wheels, and the bake file's text.

    The text goes to stdin, because a proxy's address in its arguments may have a password.
    """

    folder: Path
    text: str = field(repr=False)


def _bake_input(
    planned: PlannedImage, secrets: Secrets, find_links: Sequence[Path], parent: Path
) -> _BakeInput:
    name = target_name(planned.image.cell)
    folder = parent / name
    folder.mkdir()
    wheels = place_local_wheels(planned.image.lock, find_links, folder / "wheels")
    content = bake_file(
        [planned], secrets.files, {name: wheels} if wheels else {}, secrets.arguments
    )
    return _BakeInput(folder=folder, text=json.dumps(content))


def _bake(
    planned: PlannedImage, engine: Engine, bake: _BakeInput, secrets: Secrets, report: OnProgress
) -> _BakeResult:
    progress = BuildProgress(cell=planned.image.cell.id)
    began = time.monotonic()

    def on_line(line: str) -> None:
        nonlocal progress
        before, progress = progress, advance(progress, line)
        if _shown(before) != _shown(progress):
            report(progress)

    readable = sorted({str(Path(path).parent) for path in secrets.files.values()})
    argv = bake_argv(engine.docker, target_name(planned.image.cell), readable)
    # buildx leaves temporary files when it is killed; in this folder they are removed with ours.
    environment = {**engine.environment, "TMPDIR": str(bake.folder)}
    completed = run_streaming(
        argv, on_line=on_line, env=environment, cwd=bake.folder, stdin=bake.text
    )
    progress = with_state(progress, "done" if completed.returncode == 0 else "failed")
    report(progress)
    return _BakeResult(completed=completed, progress=progress, seconds=time.monotonic() - began)


def _shown(progress: BuildProgress) -> tuple[object, ...]:
    """Return the parts of the progress that are shown."""
    return (progress.state, progress.number, progress.total, progress.name)


def _result(planned: PlannedImage, baked: _BakeResult, engine: Engine) -> BuiltImage | BuildFailure:
    if baked.completed.returncode == MISSING:
        raise NoEngine(
            f"{engine.docker} cannot be started: {baked.completed.stderr}",
            hint="install the docker client with its buildx plugin",
        )
    image = _find_image(planned.reference, engine) if baked.completed.returncode == 0 else None
    differ = _check_baked_packages(planned, engine) if image is not None else None
    if differ:
        return BuildFailure(
            planned=planned, step="", log=tuple(str(differ).splitlines()), seconds=baked.seconds
        )
    if image is not None:
        ownership.record_build(engine.context, planned.key, str(image.id))
        return BuiltImage(
            planned=planned,
            digest=str(image.id),
            size=image_size(engine, planned.reference),
            seconds=baked.seconds,
            cached=False,
        )
    reason = unreachable_reason(engine.context)
    if reason:
        raise NoEngine(
            f"the container engine at {engine.host} no longer answers: {reason}",
            hint="start it again and repeat the command; finished work is kept",
        )
    step = baked.progress.failing
    return BuildFailure(
        planned=planned,
        step=step.name if step else "",
        log=failure_log(baked.progress),
        seconds=baked.seconds,
    )


def _check_baked_packages(planned: PlannedImage, engine: Engine) -> Negative | None:
    """Remove the names of an image with other packages than its key says; return the error.

    BuildKit may have lost the cached steps behind the key and run them again. The outdated
    record is forgotten, so that the next build computes another key.
    """
    if not planned.packages:  # the key does not depend on packages
        return None
    packages = packages_in_image(engine, planned.reference)
    if packages_digest(packages) == planned.packages:
        return None
    for name in (planned.reference, planned.moving_reference):
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.sdk.images.remove(name)
    return forget_packages(planned, packages, layer_store(engine.context), engine.context)


def _find_image(reference: str, engine: Engine) -> EngineImage | None:
    try:
        return engine.sdk.images.get(reference)
    except docker.errors.ImageNotFound:
        return None


def image_size(engine: Engine, reference: str) -> int:
    """Return an image's size on disk in bytes, unpacked, as `docker images` shows it."""
    rows = list_images(engine, {"reference": reference})
    return int(rows[0]["Size"]) if rows else 0
