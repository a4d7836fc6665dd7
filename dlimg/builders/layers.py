"""The layers builder: assembled images, loaded into an engine or left in the store.

Only the system stage and the compiling of byte code are executed, in the engine or on this host.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from dlimg.builders.assemble import (
    STEPS,
    AssembleContext,
    Assembler,
    BuildCallbacks,
    open_assembler,
)
from dlimg.builders.builder import BuildParameters, split_existing
from dlimg.builders.buildkit import image_size
from dlimg.builders.disk_space import check_space, needed_bytes
from dlimg.builders.executor import EngineExecutor, HostExecutor, blobs
from dlimg.builders.load import check_local, load_image, remove_leftover_names
from dlimg.builders.progress import (
    BuildProgress,
    BuildStep,
    OnProgress,
    advance,
    failure_log,
    with_state,
)
from dlimg.context import Context
from dlimg.engine import ownership
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import DlimgError, NoEngine
from dlimg.host.interrupt import interruptible, run_all
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.store.image_manifest import BUILDER, AssembledImage
from dlimg.store.maintenance import reading_layers
from dlimg.store.store import Store, layer_store

Deliver = Callable[[PlannedImage, AssembledImage], tuple[str, int]]


@engine_errors()
def build(
    planned: Sequence[PlannedImage], engine: Engine, parameters: BuildParameters
) -> tuple[BuiltImage | BuildFailure, ...]:
    """Build images into an engine and return the results in order; a failure stops no other cell.

    Raises as `buildkit.build` does, and `NoEngine` for an engine that is not on this host.
    """
    check_local(engine)
    present, missing = split_existing(planned, engine, BUILDER, parameters.on_progress)
    if not missing:
        return tuple(present[image.reference] for image in planned)
    store = layer_store(engine.context)
    check_space(missing, engine, needed_bytes(missing, engine, store))
    remove_leftover_names(engine)
    assembling = AssembleContext(
        executor=EngineExecutor(engine=engine, secrets=parameters.secrets),
        context=engine.context,
        store=store,
        find_links=parameters.find_links,
    )
    with interruptible(), open_assembler(missing, assembling) as assembler:
        build_run = BuildRun(
            assembler=assembler,
            on_progress=parameters.on_progress,
            last_step="load into the engine",
            deliver=partial(_load, engine=engine, store=store),
        )
        results = build_run.build_all(missing, parameters.jobs)
    return tuple(present.get(image.reference) or results[image.reference] for image in planned)


def build_into_store(
    planned: Sequence[PlannedImage], context: Context, parameters: BuildParameters
) -> tuple[BuiltImage | BuildFailure, ...]:
    """Build images on this host without an engine and return the results in order.

    The store has the images afterwards; an image's size is that of its layers.
    """
    assembling = AssembleContext(
        executor=HostExecutor(secrets=parameters.secrets),
        context=context,
        store=layer_store(context),
        find_links=parameters.find_links,
    )
    with interruptible(), open_assembler(planned, assembling) as assembler:
        build_run = BuildRun(
            assembler=assembler,
            on_progress=parameters.on_progress,
            last_step="store",
            deliver=_in_store,
        )
        results = build_run.build_all(planned, parameters.jobs)
    return tuple(results[image.reference] for image in planned)


def _load(
    planned: PlannedImage, image: AssembledImage, *, engine: Engine, store: Store
) -> tuple[str, int]:
    """Load the image into the engine; return the digest and size that it has in the engine."""
    repository = planned.image.repository
    references = (planned.reference, planned.moving_reference)
    names = [(repository, name.removeprefix(f"{repository}:")) for name in references]
    with reading_layers(store, image.layers):
        digest = load_image(engine, image.manifest, image.digest, blobs(image, store), names=names)
    ownership.record_build(engine.context, planned.key, digest)
    return digest, image_size(engine, planned.reference)


def _in_store(_: PlannedImage, image: AssembledImage) -> tuple[str, int]:
    """Return the image's digest and size; the assembler has already recorded it in the store."""
    return image.digest, sum(layer.size for layer in image.layers)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRun:
    """All builds of one call.

    `deliver` moves an assembled image to its destination and returns its digest and size at the
    destination; `last_step` is the name of this step in the progress.
    """

    assembler: Assembler
    on_progress: OnProgress
    last_step: str
    deliver: Deliver

    def build_all(
        self, planned: Sequence[PlannedImage], jobs: int
    ) -> Mapping[str, BuiltImage | BuildFailure]:
        """Build `jobs` images at once and return the results by reference."""
        tasks = {image.reference: partial(self._build, image) for image in planned}
        return run_all(tasks, jobs, self.assembler.stop)

    def _build(self, planned: PlannedImage) -> BuiltImage | BuildFailure:
        began = time.monotonic()
        cell = planned.image.cell.id
        step = ""
        system_progress = BuildProgress(cell=cell)

        def on_step(name: str) -> None:
            nonlocal step
            step = name
            self.on_progress(_at_step(cell, name, (*STEPS, self.last_step)))

        def on_line(line: str) -> None:
            nonlocal system_progress
            system_progress = advance(system_progress, line)

        try:
            image = self.assembler.assemble(
                planned, BuildCallbacks(on_step=on_step, on_line=on_line)
            )
            on_step(self.last_step)
            digest, size = self.deliver(planned, image)
        except NoEngine:
            raise
        except DlimgError as error:
            self.on_progress(with_state(system_progress, "failed"))
            log = failure_log(system_progress) if step == STEPS[0] else ()
            failing = system_progress.failing
            return BuildFailure(
                planned=planned,
                step=failing.name if failing else step,
                log=(*log, *str(error).splitlines()),
                seconds=time.monotonic() - began,
            )
        self.on_progress(BuildProgress(cell=cell, state="done"))
        seconds = time.monotonic() - began
        return BuiltImage(planned=planned, digest=digest, size=size, seconds=seconds, cached=False)


def _at_step(cell: str, current: str, names: Sequence[str]) -> BuildProgress:
    """Return the progress of a cell's build that has reached this step."""
    done = names[: names.index(current)]
    steps = {
        name: BuildStep(name=name, state="done" if name in done else "waiting") for name in names
    }
    steps[current] = BuildStep(name=current, state="running")
    return BuildProgress(cell=cell, state="running", steps=steps, current=current)
