"""Content keys of planned images, from the distribution packages in them.

Without its packages an image has no name, so whether an engine has it already cannot be known.
"""

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from dlimg.builders.executor import Executor
from dlimg.builders.image_packages import known_packages, packages_key
from dlimg.builders.progress import BuildProgress, OnProgress, advance, failure_log, with_state
from dlimg.context import Context
from dlimg.errors import DlimgError, NoEngine
from dlimg.host.interrupt import run_all
from dlimg.model import BuildFailure, PlannedImage
from dlimg.render.content_key import with_key
from dlimg.store.store import Store
from dlimg.store.systems import packages_digest

_STEP: Final = "the system stage, for its packages"


def with_known_keys(
    planned: Sequence[PlannedImage], store: Store, context: Context
) -> tuple[PlannedImage, ...]:
    """Return the images, with keys if the packages are known here.

    Needs neither an engine nor the network.
    """
    digests: dict[str, str] = {}
    images = []
    for image in planned:
        key = packages_key(image)
        if key not in digests:
            packages = known_packages(image, store, context)
            digests[key] = "" if packages is None else packages_digest(packages)
        images.append(with_key(image, digests[key]) if digests[key] else image)
    return tuple(images)


def with_built_keys(
    planned: Sequence[PlannedImage],
    executor: Executor,
    store: Store,
    *,
    jobs: int,
    on_progress: OnProgress,
) -> tuple[PlannedImage | BuildFailure, ...]:
    """Return the images with keys, after building what determines their packages, once each."""
    lock = threading.Lock()

    def report(progress: BuildProgress) -> None:
        with lock:
            on_progress(progress)

    images: dict[str, PlannedImage] = {}
    for image in planned:
        images.setdefault(packages_key(image), image)
    tasks = {
        key: partial(_build_packages_digest, image, executor, store, report)
        for key, image in images.items()
    }
    results = run_all(tasks, jobs)
    return tuple(_with_result(image, results[packages_key(image)]) for image in planned)


def _with_result(planned: PlannedImage, result: str | BuildFailure) -> PlannedImage | BuildFailure:
    if isinstance(result, str):
        return with_key(planned, result)
    return BuildFailure(planned=planned, step=result.step, log=result.log, seconds=result.seconds)


def _build_packages_digest(
    planned: PlannedImage, executor: Executor, store: Store, report: OnProgress
) -> str | BuildFailure:
    """Return the digest of an image's packages, or the failure of the build."""
    began = time.monotonic()
    progress = BuildProgress(cell=planned.image.cell.id)

    def on_line(line: str) -> None:
        nonlocal progress
        before, progress = progress, advance(progress, line)
        if (before.number, before.name) != (progress.number, progress.name):
            report(progress)

    try:
        return packages_digest(executor.packages(planned, store, on_line))
    except NoEngine:
        raise
    except DlimgError as error:
        report(with_state(progress, "failed"))
        return BuildFailure(
            planned=planned,
            step=progress.failing.name if progress.failing else _STEP,
            log=(*failure_log(progress), *str(error).splitlines()),
            seconds=time.monotonic() - began,
        )
