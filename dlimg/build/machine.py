"""Planned images assembled by this machine alone; they are in the store when this is done."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from dlimg.build.assembling import Means, assembling
from dlimg.build.each import Site, build_all
from dlimg.build.hands import of_machine
from dlimg.build.interrupt import terminable
from dlimg.build.progress import OnProgress
from dlimg.build.secrets import Secrets
from dlimg.layers.assemble import Assembled
from dlimg.layers.store import layer_store
from dlimg.model import BuildFailure, Built, Planned


def build(
    planned: Sequence[Planned],
    environment: Mapping[str, str],
    *,
    jobs: int,
    secrets: Secrets,
    find_links: Sequence[Path],
    on_progress: OnProgress,
) -> tuple[Built | BuildFailure, ...]:
    """What became of each planned image, in the given order; a failure stops no other cell.

    An image's size is that of its layers.
    """
    means = Means(
        hands=of_machine(secrets),
        environment=environment,
        store=layer_store(environment),
        find_links=find_links,
    )
    with terminable(), assembling(planned, means) as assemble:
        site = Site(
            assemble=assemble,
            report=on_progress,
            last="kept",
            take=_kept,
            stop=means.end.come,
        )
        ends = build_all(planned, site, jobs)
    return tuple(ends[one.reference] for one in planned)


def _kept(_: Planned, image: Assembled) -> tuple[str, int]:
    """The store has it already."""
    return image.digest, sum(layer.size for layer in image.layers)
