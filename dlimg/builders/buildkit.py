"""Building with `docker buildx bake`: one call for each cell, so that the others go on.

BuildKit itself does a step once that several cells share, also when they run side by side.
"""

import contextlib
import json
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import docker
from docker.models.images import Image as EngineImage

from dlimg.builders.disk_space import check_space, predicted_bytes
from dlimg.builders.existing import existing_images
from dlimg.builders.image_packages import forget_packages, packages_in_image
from dlimg.builders.progress import BuildProgress, OnProgress, advance, failure_log, with_state
from dlimg.builders.secrets import Secrets
from dlimg.engine import ownership
from dlimg.engine.client import Engine, engine_errors, unreachable_reason
from dlimg.errors import Negative, NoEngine
from dlimg.host.interrupt import interruptible, run_all
from dlimg.host.process import MISSING, ProcessResult, run_streaming
from dlimg.lock.local_wheels import place_local_wheels
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.render.bake import BUILDER, bake_file, target_name
from dlimg.store.store import layer_store
from dlimg.store.systems import packages_digest

_BAKE_FILE: Final = "bake.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ended:
    """How the bake of one cell ended."""

    outcome: ProcessResult
    progress: BuildProgress
    seconds: float


@engine_errors()
def build(
    planned: Sequence[PlannedImage],
    engine: Engine,
    *,
    jobs: int,
    secrets: Secrets,
    find_links: Sequence[Path],
    on_progress: OnProgress,
) -> tuple[BuiltImage | BuildFailure, ...]:
    """What became of each planned image, in the given order; a failure stops no other cell.

    An image that an earlier build has made and that still has its immutable name is not built
    again. `on_progress` is called from one thread at a time. Raises `BadInput` for a local wheel
    that is not there or not the locked one, `Negative` when the disk is too small, and
    `KeyboardInterrupt` after every bake has ended.
    """
    found = existing_images(planned, engine, BUILDER)
    for one in planned:
        if one.reference in found:
            on_progress(BuildProgress(cell=one.image.cell.id, state="cached"))
    missing = [one for one in planned if one.reference not in found]
    check_space(missing, engine, predicted_bytes(missing))
    ends = _bake_all(missing, engine, jobs, secrets, find_links, on_progress)
    return tuple(
        found.get(one.reference) or _result(one, ends[one.reference], engine) for one in planned
    )


def bake_argv(docker_client: Path, file: Path, target: str, readable: Sequence[str]) -> list[str]:
    """The command that bakes one target and may read these folders besides its own."""
    return [
        *(str(docker_client), "buildx", "bake", "--file", str(file), "--progress", "rawjson"),
        *(f"--allow=fs.read={folder}" for folder in readable),
        target,
    ]


def _bake_all(
    planned: Sequence[PlannedImage],
    engine: Engine,
    jobs: int,
    secrets: Secrets,
    find_links: Sequence[Path],
    on_progress: OnProgress,
) -> Mapping[str, _Ended]:
    lock = threading.Lock()

    def report(progress: BuildProgress) -> None:
        with lock:
            on_progress(progress)

    with interruptible(), tempfile.TemporaryDirectory(prefix="dlimg-build-") as folder:
        files = {one.reference: _write(one, secrets, find_links, Path(folder)) for one in planned}
        tasks = {
            one.reference: partial(_bake, one, engine, files[one.reference], secrets, report)
            for one in planned
        }
        return run_all(tasks, jobs)


def _write(
    planned: PlannedImage, secrets: Secrets, find_links: Sequence[Path], folder: Path
) -> Path:
    """The bake file of one image, alone in a folder with the wheels it needs."""
    name = target_name(planned.image.cell)
    own = folder / name
    own.mkdir()
    wheels = place_local_wheels(planned.image.lock, find_links, own / "wheels")
    content = bake_file(
        [planned], secrets.files, {name: wheels} if wheels else {}, secrets.arguments
    )
    file = own / _BAKE_FILE
    file.touch(mode=0o600)
    file.write_text(json.dumps(content), encoding="utf-8")
    return file


def _bake(
    planned: PlannedImage, engine: Engine, file: Path, secrets: Secrets, report: OnProgress
) -> _Ended:
    progress = BuildProgress(cell=planned.image.cell.id)
    began = time.monotonic()

    def on_line(line: str) -> None:
        nonlocal progress
        before, progress = progress, advance(progress, line)
        if _seen(before) != _seen(progress):
            report(progress)

    readable = sorted({str(Path(path).parent) for path in secrets.files.values()})
    argv = bake_argv(engine.docker, file, target_name(planned.image.cell), readable)
    # buildx leaves temporary files behind when it is ended: they are to go with ours.
    environment = {**engine.environment, "TMPDIR": str(file.parent)}
    outcome = run_streaming(argv, on_line=on_line, env=environment, cwd=file.parent)
    progress = with_state(progress, "done" if outcome.returncode == 0 else "failed")
    report(progress)
    return _Ended(outcome=outcome, progress=progress, seconds=time.monotonic() - began)


def _seen(progress: BuildProgress) -> tuple[object, ...]:
    """What of the progress a person would see."""
    return (progress.state, progress.number, progress.total, progress.name)


def _result(planned: PlannedImage, end: _Ended, engine: Engine) -> BuiltImage | BuildFailure:
    if end.outcome.returncode == MISSING:
        raise NoEngine(
            f"{engine.docker} cannot be started: {end.outcome.stderr}",
            hint="install the docker client with its buildx plugin",
        )
    image = _under(planned.reference, engine) if end.outcome.returncode == 0 else None
    moved = _moved(planned, engine) if image is not None else None
    if moved:
        return BuildFailure(
            planned=planned, step="", log=tuple(str(moved).splitlines()), seconds=end.seconds
        )
    if image is not None:
        ownership.record_build(engine.environment, planned.key, str(image.id))
        return BuiltImage(
            planned=planned,
            digest=str(image.id),
            size=image_size(engine, planned.reference),
            seconds=end.seconds,
            cached=False,
        )
    reason = unreachable_reason(engine.environment)
    if reason:
        raise NoEngine(
            f"the container engine at {engine.host} does not answer any more: {reason}",
            hint="start it again, then run this again; what was finished is kept",
        )
    step = end.progress.failing
    return BuildFailure(
        planned=planned,
        step=step.name if step else "",
        log=failure_log(end.progress),
        seconds=end.seconds,
    )


def _moved(planned: PlannedImage, engine: Engine) -> Negative | None:
    """What is wrong with the packages of an image that was baked; then it loses its names.

    BuildKit may have lost the steps that the key was computed from, and have run them again. The
    record that is no longer true is forgotten, so that the next build computes another key.
    """
    if not planned.packages:  # nothing was promised
        return None
    found = packages_in_image(engine, planned.reference)
    if packages_digest(found) == planned.packages:
        return None
    for name in (planned.reference, planned.moving_reference):
        with contextlib.suppress(docker.errors.ImageNotFound):
            engine.sdk.images.remove(name)
    return forget_packages(planned, found, layer_store(engine.environment), engine.environment)


def _under(reference: str, engine: Engine) -> EngineImage | None:
    try:
        return engine.sdk.images.get(reference)
    except docker.errors.ImageNotFound:
        return None


def image_size(engine: Engine, reference: str) -> int:
    """Bytes on disk, unpacked files included: what `docker images` shows."""
    rows = engine.sdk.api.images(filters={"reference": reference})
    return int(rows[0]["Size"]) if rows else 0
