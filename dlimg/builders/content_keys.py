"""The content keys of images whose packages are not known yet: what installs them is built first.

Without its packages an image has no name, and whether it is there already cannot be said.
"""

import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from dlimg.builders.executor import Executor
from dlimg.builders.image_packages import packages_key
from dlimg.builders.progress import BuildProgress, OnProgress, advance, failure_log, with_state
from dlimg.errors import DlimgError, NoEngine
from dlimg.host.interrupt import run_all
from dlimg.model import BuildFailure, PlannedImage
from dlimg.render.content_key import with_key
from dlimg.store.store import Store
from dlimg.store.systems import packages_digest

_STEP: Final = "the system stage, for its packages"


def with_built_keys(
    planned: Sequence[PlannedImage],
    executor: Executor,
    store: Store,
    *,
    jobs: int,
    on_progress: OnProgress,
) -> tuple[PlannedImage | BuildFailure, ...]:
    """The images with their keys, once what holds their packages is built; each of those once."""
    lock = threading.Lock()

    def report(progress: BuildProgress) -> None:
        with lock:
            on_progress(progress)

    firsts: dict[str, PlannedImage] = {}
    for one in planned:
        firsts.setdefault(packages_key(one), one)
    tasks = {
        source: partial(_built, one, executor, store, report) for source, one in firsts.items()
    }
    ends = run_all(tasks, jobs)
    return tuple(_keyed(one, ends[packages_key(one)]) for one in planned)


def _keyed(planned: PlannedImage, end: str | BuildFailure) -> PlannedImage | BuildFailure:
    if isinstance(end, str):
        return with_key(planned, end)
    return BuildFailure(planned=planned, step=end.step, log=end.log, seconds=end.seconds)


def _built(
    planned: PlannedImage, executor: Executor, store: Store, report: OnProgress
) -> str | BuildFailure:
    """The digest of an image's packages, or why they cannot be had."""
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
