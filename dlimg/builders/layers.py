"""Building by assembling: layers from the store, a manifest, and an engine that takes the image.

Only two things are executed: the stage with the operating system, by BuildKit, and the compiler
of byte code, in a container of that system.
"""

from collections.abc import Sequence
from pathlib import Path

from dlimg.assembly.compile_python import end_compiling
from dlimg.builders.assemble import AssembleContext, assembling
from dlimg.builders.buildkit import size_of
from dlimg.builders.disk_space import check_space, needed
from dlimg.builders.executor import blobs, of_engine
from dlimg.builders.existing import existing
from dlimg.builders.interrupt import interruptible
from dlimg.builders.load import check_local, forget_passing, take_in
from dlimg.builders.parallel import BuildRun, build_all
from dlimg.builders.progress import BuildProgress, OnProgress
from dlimg.builders.secrets import Secrets
from dlimg.engine import built_images
from dlimg.engine.client import Engine, engine_errors
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.store.image_manifest import BUILDER, AssembledImage
from dlimg.store.maintenance import reading
from dlimg.store.store import Store, layer_store


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

    Raises as BuildKit's `build` does, and `NoEngine` for an engine that is not of this machine.
    """
    check_local(engine)
    found = existing(planned, engine, BUILDER)
    for one in planned:
        if one.reference in found:
            on_progress(BuildProgress(cell=one.image.cell.id, state="cached"))
    wanted = [one for one in planned if one.reference not in found]
    if not wanted:
        return tuple(found[one.reference] for one in planned)
    store = layer_store(engine.environment)
    check_space(wanted, engine, needed(wanted, engine, store))
    forget_passing(engine)
    means = AssembleContext(
        hands=of_engine(engine, secrets),
        environment=engine.environment,
        store=store,
        find_links=find_links,
    )

    def stop() -> None:
        means.end.come()
        end_compiling(engine)

    with interruptible(), assembling(wanted, means) as assemble:
        site = BuildRun(
            assemble=assemble,
            report=on_progress,
            last="taken in",
            take=lambda one, image: _taken(one, image, engine, store),
            stop=stop,
        )
        ends = build_all(wanted, site, jobs)
    return tuple(found.get(one.reference) or ends[one.reference] for one in planned)


def _taken(
    planned: PlannedImage, image: AssembledImage, engine: Engine, store: Store
) -> tuple[str, int]:
    """The image's digest and size in the engine, which has it now."""
    repository = planned.image.repository
    names = (planned.reference, planned.moving_reference)
    tags = [(repository, name.removeprefix(f"{repository}:")) for name in names]
    served = blobs(image, store)
    with reading(store, image.layers):
        digest = take_in(engine, image.manifest, image.digest, served, names=tags)
    built_images.remember(engine.environment, planned.key, digest)
    return digest, size_of(engine, planned.reference)
