"""Planned images assembled by this machine alone; they are in the store when this is done."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dlimg.builders.assemble import AssembleContext, assembling
from dlimg.builders.executor import of_machine
from dlimg.builders.interrupt import interruptible
from dlimg.builders.parallel import BuildRun, build_all
from dlimg.builders.progress import OnProgress
from dlimg.builders.secrets import Secrets
from dlimg.model import BuildFailure, BuiltImage, PlannedImage
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.store import layer_store


def build(
    planned: Sequence[PlannedImage],
    environment: Mapping[str, str],
    *,
    jobs: int,
    secrets: Secrets,
    find_links: Sequence[Path],
    on_progress: OnProgress,
) -> tuple[BuiltImage | BuildFailure, ...]:
    """What became of each planned image, in the given order; a failure stops no other cell.

    An image's size is that of its layers.
    """
    means = AssembleContext(
        hands=of_machine(secrets),
        environment=environment,
        store=layer_store(environment),
        find_links=find_links,
    )
    with interruptible(), assembling(planned, means) as assemble:
        site = BuildRun(
            assemble=assemble,
            report=on_progress,
            last="kept",
            take=_kept,
            stop=means.end.come,
        )
        ends = build_all(planned, site, jobs)
    return tuple(ends[one.reference] for one in planned)


def _kept(_: PlannedImage, image: AssembledImage) -> tuple[str, int]:
    """The store has it already."""
    return image.digest, sum(layer.size for layer in image.layers)
