"""Planned images assembled side by side: each to its end, be that an image or a failure."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from dlimg.build.assembling import STEPS, Assembling, Told
from dlimg.build.parallel import run_all
from dlimg.build.progress import OnProgress, Progress, Step, advance, ended, failure_log
from dlimg.errors import DlimgError, NoEngine
from dlimg.layers.assemble import Assembled
from dlimg.model import BuildFailure, Built, Planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What all builds of one call share.

    `take` brings an image to where it is wanted, which is called the step `last`: its digest
    and size there come back. `stop` ends what children do not do.
    """

    assemble: Assembling
    report: OnProgress
    last: str
    take: Callable[[Planned, Assembled], tuple[str, int]]
    stop: Callable[[], None]


def build_all(
    planned: Sequence[Planned], site: Site, jobs: int
) -> Mapping[str, Built | BuildFailure]:
    """What became of each, by reference; `jobs` of them at once."""
    tasks = {one.reference: partial(_build, one, site) for one in planned}
    return run_all(tasks, jobs, site.stop)


def _build(planned: Planned, site: Site) -> Built | BuildFailure:
    """One image to its end; what goes wrong with it is the result."""
    began = time.monotonic()
    step = ""
    baked = Progress(cell=planned.image.cell.id)

    def at(name: str) -> None:
        nonlocal step
        step = name
        site.report(_progress(planned, name, (*STEPS, site.last)))

    def on_line(line: str) -> None:
        nonlocal baked
        baked = advance(baked, line)

    try:
        image = site.assemble(planned, Told(at=at, on_line=on_line))
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
    site.report(Progress(cell=planned.image.cell.id, state="done"))
    return Built(
        planned=planned,
        digest=digest,
        size=size,
        seconds=time.monotonic() - began,
        cached=False,
    )


def _progress(planned: Planned, name: str, names: Sequence[str]) -> Progress:
    here = names.index(name)
    steps = {
        one: Step(name=one, state="done" if place < here else "waiting")
        for place, one in enumerate(names)
    }
    steps[name] = Step(name=name, state="running")
    return Progress(cell=planned.image.cell.id, state="running", steps=steps, current=name)
