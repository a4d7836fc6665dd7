"""Building by assembling: layers from the store, a manifest, and an engine that takes the image.

Only two things are executed: the stage with the operating system, by BuildKit, and the compiler
of byte code, in a container of that system.
"""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.build.assembling import STEPS, Assembling, Means, Told, assembling, blobs
from dlimg.build.buildkit import OnProgress, size_of
from dlimg.build.disk import check_space
from dlimg.build.interrupt import terminable
from dlimg.build.progress import Progress, Step, advance, ended, failure_log
from dlimg.build.room import needed
from dlimg.build.secrets import Secrets
from dlimg.build.there import existing
from dlimg.engine import made
from dlimg.engine.client import Engine, answering
from dlimg.engine.process import end_children
from dlimg.errors import DlimgError, NoEngine
from dlimg.layers.assemble import BUILDER, Assembled
from dlimg.layers.compiling import end_compiling
from dlimg.layers.intake import check_local, forget_passing, take_in
from dlimg.layers.store import Store, layer_store
from dlimg.model import BuildFailure, Built, Planned

_TAKEN: Final = "taken in"
_ALL_STEPS: Final = (*STEPS, _TAKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What all builds of one call share."""

    engine: Engine
    store: Store
    assemble: Assembling
    report: OnProgress


@answering()
def build(
    planned: Sequence[Planned],
    engine: Engine,
    *,
    jobs: int,
    secrets: Secrets,
    find_links: Sequence[Path],
    on_progress: OnProgress,
) -> tuple[Built | BuildFailure, ...]:
    """What became of each planned image, in the given order; a failure stops no other cell.

    Raises as BuildKit's `build` does, and `NoEngine` for an engine that is not of this machine.
    """
    check_local(engine)
    found = existing(planned, engine, BUILDER)
    for one in planned:
        if one.reference in found:
            on_progress(Progress(cell=one.image.cell.id, state="cached"))
    wanted = [one for one in planned if one.reference not in found]
    if not wanted:
        return tuple(found[one.reference] for one in planned)
    store = layer_store(engine.environment)
    check_space(wanted, engine, needed(wanted, engine, store))
    forget_passing(engine)
    means = Means(engine=engine, store=store, secrets=secrets, find_links=find_links)
    with terminable(), assembling(wanted, means) as assemble:
        site = _Site(engine=engine, store=store, assemble=assemble, report=on_progress)
        ends = _build_all(wanted, site, jobs)
    return tuple(found.get(one.reference) or ends[one.reference] for one in planned)


def _build_all(
    planned: Sequence[Planned], site: _Site, jobs: int
) -> Mapping[str, Built | BuildFailure]:
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = {one.reference: pool.submit(_build, one, site) for one in planned}
        try:
            return {reference: future.result() for reference, future in futures.items()}
        except BaseException:
            _stop(tuple(futures.values()), site.engine)
            raise


def _build(planned: Planned, site: _Site) -> Built | BuildFailure:
    """One image to its end; what goes wrong with it is the result."""
    began = time.monotonic()
    step = ""
    baked = Progress(cell=planned.image.cell.id)

    def at(name: str) -> None:
        nonlocal step
        step = name
        site.report(_progress(planned, name))

    def on_line(line: str) -> None:
        nonlocal baked
        baked = advance(baked, line)

    try:
        image = site.assemble(planned, Told(at=at, on_line=on_line))
        at(_TAKEN)
        digest = _taken(planned, site, image)
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
    made.remember(site.engine.environment, planned.key, digest)
    site.report(Progress(cell=planned.image.cell.id, state="done"))
    return Built(
        planned=planned,
        digest=digest,
        size=size_of(site.engine, planned.reference),
        seconds=time.monotonic() - began,
        cached=False,
    )


def _taken(planned: Planned, site: _Site, image: Assembled) -> str:
    repository = planned.image.repository
    names = (planned.reference, planned.moving_reference)
    tags = [(repository, name.removeprefix(f"{repository}:")) for name in names]
    served = blobs(image, site.store)
    return take_in(site.engine, image.manifest, image.digest, served, names=tags)


def _progress(planned: Planned, name: str) -> Progress:
    here = _ALL_STEPS.index(name)
    steps = {
        one: Step(name=one, state="done" if place < here else "waiting")
        for place, one in enumerate(_ALL_STEPS)
    }
    steps[name] = Step(name=name, state="running")
    return Progress(cell=planned.image.cell.id, state="running", steps=steps, current=name)


def _stop(futures: Sequence[Future[Built | BuildFailure]], engine: Engine) -> None:
    """Return when nothing of ours runs any more; what waits is never started."""
    for future in futures:
        future.cancel()
    while wait(futures, timeout=0.1).not_done:
        end_children()
        end_compiling(engine)
