"""Planned images assembled side by side: each to its end, be that an image or a failure."""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from dlimg.builders.assemble import STEPS, Assembling, BuildCallbacks
from dlimg.builders.progress import (
    BuildProgress,
    BuildStep,
    OnProgress,
    advance,
    ended,
    failure_log,
)
from dlimg.errors import DlimgError, NoEngine
from dlimg.host.process import end_children
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.store.image_manifest import AssembledImage

Name = TypeVar("Name")
Result = TypeVar("Result")


def run_all(
    tasks: Mapping[Name, Callable[[], Result]], jobs: int, stop: Callable[[], None] = lambda: None
) -> dict[Name, Result]:
    """What each task came to, by name; `jobs` of them at once.

    Where one raises, those that wait are never started, and children of this process are ended;
    `stop` ends what children do not do.
    """
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = {name: pool.submit(task) for name, task in tasks.items()}
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            # Again and again, because a task may have been about to start its process.
            while wait(futures.values(), timeout=0.1).not_done:
                end_children()
                stop()
            raise


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRun:
    """What all builds of one call share.

    `take` brings an image to where it is wanted, which is called the step `last`: its digest
    and size there come back. `stop` ends what children do not do.
    """

    assemble: Assembling
    report: OnProgress
    last: str
    take: Callable[[PlannedImage, AssembledImage], tuple[str, int]]
    stop: Callable[[], None]


def build_all(
    planned: Sequence[PlannedImage], site: BuildRun, jobs: int
) -> Mapping[str, BuiltImage | BuildFailure]:
    """What became of each, by reference; `jobs` of them at once."""
    tasks = {one.reference: partial(_build, one, site) for one in planned}
    return run_all(tasks, jobs, site.stop)


def _build(planned: PlannedImage, site: BuildRun) -> BuiltImage | BuildFailure:
    """One image to its end; what goes wrong with it is the result."""
    began = time.monotonic()
    step = ""
    baked = BuildProgress(cell=planned.image.cell.id)

    def at(name: str) -> None:
        nonlocal step
        step = name
        site.report(_progress(planned, name, (*STEPS, site.last)))

    def on_line(line: str) -> None:
        nonlocal baked
        baked = advance(baked, line)

    try:
        image = site.assemble(planned, BuildCallbacks(at=at, on_line=on_line))
        at(site.last)
        digest, size = site.take(planned, image)
    except NoEngine:
        raise
    except DlimgError as error:
        site.report(ended(baked, "failed"))
        log = failure_log(baked) if step == STEPS[0] else ()
        return BuildFailure(
            planned=planned,
            step=baked.failing.name if baked.failing else step,
            log=(*log, *str(error).splitlines()),
            seconds=time.monotonic() - began,
        )
    site.report(BuildProgress(cell=planned.image.cell.id, state="done"))
    return BuiltImage(
        planned=planned,
        digest=digest,
        size=size,
        seconds=time.monotonic() - began,
        cached=False,
    )


def _progress(planned: PlannedImage, name: str, names: Sequence[str]) -> BuildProgress:
    here = names.index(name)
    steps = {
        one: BuildStep(name=one, state="done" if place < here else "waiting")
        for place, one in enumerate(names)
    }
    steps[name] = BuildStep(name=name, state="running")
    return BuildProgress(cell=planned.image.cell.id, state="running", steps=steps, current=name)
