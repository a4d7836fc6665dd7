"""Building by assembling: layers from the store, a manifest, and an engine that takes the image.

Only two things are executed: the stage with the operating system, by BuildKit, and the compiler
of byte code, in a container of that system.
"""

from collections.abc import Sequence
from pathlib import Path

from dlimg.build.assembling import Means, assembling
from dlimg.build.buildkit import size_of
from dlimg.build.disk import check_space
from dlimg.build.each import Site, build_all
from dlimg.build.hands import blobs, of_engine
from dlimg.build.interrupt import terminable
from dlimg.build.progress import OnProgress, Progress
from dlimg.build.room import needed
from dlimg.build.secrets import Secrets
from dlimg.build.there import existing
from dlimg.engine import made
from dlimg.engine.client import Engine, answering
from dlimg.layers.assemble import BUILDER, Assembled
from dlimg.layers.compiling import end_compiling
from dlimg.layers.intake import check_local, forget_passing, take_in
from dlimg.layers.store import Store, layer_store
from dlimg.layers.upkeep import reading
from dlimg.model import BuildFailure, Built, Planned


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
    means = Means(
        hands=of_engine(engine, secrets),
        environment=engine.environment,
        store=store,
        find_links=find_links,
    )

    def stop() -> None:
        means.end.come()
        end_compiling(engine)

    with terminable(), assembling(wanted, means) as assemble:
        site = Site(
            assemble=assemble,
            report=on_progress,
            last="taken in",
            take=lambda one, image: _taken(one, image, engine, store),
            stop=stop,
        )
        ends = build_all(wanted, site, jobs)
    return tuple(found.get(one.reference) or ends[one.reference] for one in planned)


def _taken(planned: Planned, image: Assembled, engine: Engine, store: Store) -> tuple[str, int]:
    """The image's digest and size in the engine, which has it now."""
    repository = planned.image.repository
    names = (planned.reference, planned.moving_reference)
    tags = [(repository, name.removeprefix(f"{repository}:")) for name in names]
    served = blobs(image, store)
    with reading(store, image.layers):
        digest = take_in(engine, image.manifest, image.digest, served, names=tags)
    made.remember(engine.environment, planned.key, digest)
    return digest, size_of(engine, planned.reference)
