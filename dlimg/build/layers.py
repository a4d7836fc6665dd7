"""Building by assembling: layers from the store, a manifest, and an engine that takes the image.

Only two things are executed: the stage with the operating system, by BuildKit, and the compiler
of byte code, in a container of the image that has none yet.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.build.buildkit import OnProgress, existing, size_of
from dlimg.build.disk import check_space, layered_bytes
from dlimg.build.interrupt import terminable
from dlimg.build.progress import Progress, Step, advance, ended, failure_log
from dlimg.build.secrets import Secrets
from dlimg.build.wheel_layers import PartsOf, making
from dlimg.draw.config import image_config
from dlimg.engine import made
from dlimg.engine.client import Engine, answering
from dlimg.engine.folders import cache_folder
from dlimg.engine.index import open_index
from dlimg.engine.process import end_children
from dlimg.errors import DlimgError, NoEngine
from dlimg.layers.addresses import addresses, asking
from dlimg.layers.assemble import Assembled, Part, assemble, ordered
from dlimg.layers.bytecode import bytecode_key, bytecode_layer, end_compiling
from dlimg.layers.fetch import Source
from dlimg.layers.index import Layer
from dlimg.layers.intake import check_local, forget_passing, take_in, visiting
from dlimg.layers.parts import bytecode_part, system_parts
from dlimg.layers.serve import Content
from dlimg.layers.store import Store, find
from dlimg.layers.system import System, Tools, system
from dlimg.model import NO_COUNTS, BuildFailure, Built, Planned

STEPS: Final = ("the system", "wheels", "taken in without byte code", "byte code", "taken in")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Site:
    """What all builds of one call share."""

    engine: Engine
    store: Store
    secrets: Secrets
    parts_of: PartsOf
    report: OnProgress


@answering()
def build(  # noqa: PLR0913  # what every builder takes, and `shared`
    planned: Sequence[Planned],
    engine: Engine,
    *,
    jobs: int,
    secrets: Secrets,
    find_links: Sequence[Path],
    on_progress: OnProgress,
    shared: Mapping[str, int] = NO_COUNTS,
) -> tuple[Built | BuildFailure, ...]:
    """What became of each planned image, in the given order; a failure stops no other cell.

    `shared` is how many images of the matrix hold each wheel, by sha256: it decides on the order
    of layers. Raises as BuildKit's `build` does, and `NoEngine` for an engine that is not of this
    machine.
    """
    check_local(engine)
    found = {one.reference: existing(one, engine) for one in planned}
    for one in planned:
        if found[one.reference]:
            on_progress(Progress(cell=one.image.cell.id, state="cached"))
    wanted = [one for one in planned if found[one.reference] is None]
    if not wanted:
        return tuple(built for built in found.values() if built)
    check_space(wanted, engine, layered_bytes(wanted))
    forget_passing(engine)
    store, source = _places(engine.environment, find_links)
    with terminable(), making(wanted, store, source, shared) as parts_of:
        site = _Site(
            engine=engine, store=store, secrets=secrets, parts_of=parts_of, report=on_progress
        )
        ends = _build_all(wanted, site, jobs)
    return tuple(found[one.reference] or ends[one.reference] for one in planned)


def obstacle(planned: Planned, engine: Engine) -> str:
    """Why this image cannot be assembled for this engine; nothing when it can."""
    try:
        check_local(engine)
        image_config(planned.image.dockerfile)
    except DlimgError as error:
        return error.problems[0].message
    return ""


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


def _places(environment: Mapping[str, str], find_links: Sequence[Path]) -> tuple[Store, Source]:
    """Where layers are kept, and where wheels come from."""
    cache = cache_folder(environment)
    ask = asking(environment)
    source = Source(
        folders=tuple(find_links),
        folder=cache / "fetched",
        addresses=lambda wheels, target: addresses(wheels, target, ask),
        session=open_index(environment, cache / "wheels").session,
        say=_hush,
    )
    return Store(path=cache / "layers"), source


def _build(planned: Planned, site: _Site) -> Built | BuildFailure:
    """One image to its end; what goes wrong with it is the result."""
    began = time.monotonic()
    step = ""
    baked = Progress(cell=planned.image.cell.id)

    def at(number: int) -> None:
        nonlocal step
        step = STEPS[number]
        site.report(_progress(planned, number))

    def on_line(line: str) -> None:
        nonlocal baked
        baked = advance(baked, line)

    try:
        digest = _made(planned, site, at, on_line)
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


def _made(
    planned: Planned, site: _Site, at: Callable[[int], None], on_line: Callable[[str], None]
) -> str:
    """The id of the image, which has its names."""
    at(0)
    tools = Tools(
        engine=site.engine,
        secrets=site.secrets.files,
        arguments=site.secrets.arguments,
        on_line=on_line,
        say=_hush,
    )
    below = system(planned, site.store, tools)
    at(1)
    parts = (*system_parts(below, planned.image), *site.parts_of(planned.image))
    lock = planned.image.lock
    key = bytecode_key(below.layers, lock.wheels, python=lock.python)
    compiled = find(site.store, key)
    if compiled:
        at(4)
        return _taken(planned, site, _image(planned, below, parts, compiled))
    at(2)
    bare = _image(planned, below, parts, None)
    with visiting(site.engine, bare.manifest, bare.digest, _blobs(bare, site.store)) as visitor:
        at(3)
        compiled = bytecode_layer(site.store, key, site.engine, visitor)
        at(4)
        return _taken(planned, site, _image(planned, below, parts, compiled))


def _image(
    planned: Planned, below: System, parts: Sequence[Part], compiled: Layer | None
) -> Assembled:
    config = image_config(planned.image.dockerfile).on(below.config)
    top = [bytecode_part(compiled)] if compiled else []
    return assemble(planned, ordered([*parts, *top]), config)


def _taken(planned: Planned, site: _Site, image: Assembled) -> str:
    repository = planned.image.repository
    names = (planned.reference, planned.moving_reference)
    tags = [(repository, name.removeprefix(f"{repository}:")) for name in names]
    return take_in(site.engine, image.manifest, image.digest, _blobs(image, site.store), names=tags)


def _blobs(image: Assembled, store: Store) -> Mapping[str, Content]:
    layers: dict[str, Content] = {layer.digest: store.blob(layer) for layer in image.layers}
    return {**layers, image.config_digest: image.config}


def _progress(planned: Planned, number: int) -> Progress:
    steps = {
        name: Step(name=name, state="done" if place < number else "waiting")
        for place, name in enumerate(STEPS)
    }
    name = STEPS[number]
    steps[name] = Step(name=name, state="running")
    cell = planned.image.cell.id
    return Progress(cell=cell, state="running", steps=steps, current=name)


def _stop(futures: Sequence[Future[Built | BuildFailure]], engine: Engine) -> None:
    """Return when nothing of ours runs any more; what waits is never started."""
    for future in futures:
        future.cancel()
    while wait(futures, timeout=0.1).not_done:
        end_children()
        end_compiling(engine)


def _hush(_: str) -> None:
    """Waiting for another dlimg is shown as what it is: a step that takes its time."""
