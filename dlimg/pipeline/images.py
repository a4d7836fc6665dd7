"""What `build` and its like are about: images, the bases they stand on, and both with their key."""

from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from dlimg.builders.interrupt import interruptible
from dlimg.builders.secrets import Secrets, secrets_from
from dlimg.cli.lock import locksmith
from dlimg.cli.printing import say
from dlimg.cli.progress import ProgressDisplay
from dlimg.cli.project import Project
from dlimg.cli.render import current_images
from dlimg.engine.bases import Choice, base_for
from dlimg.engine.client import Engine, accept_buildx, engine_errors
from dlimg.errors import DlimgError
from dlimg.lock.lock_all import lock_cells
from dlimg.lock.request import has_local_version
from dlimg.lock.store import read_bases, read_lock, wheel_folders
from dlimg.model import Base, BuildFailure, Cell, Image, PlannedImage

# Builders are not imported where nothing is missing.
if TYPE_CHECKING:
    from dlimg.builders.executor import Executor
    from dlimg.store.store import Store


def images_of(
    cells: Sequence[Cell], project: Project, arguments: Namespace, environment: Mapping[str, str]
) -> tuple[Image, ...]:
    """The images of these cells. A lock that is never committed is made where it can be."""
    folders = wheel_folders(arguments.find_links, environment)
    local = tuple(cell for cell in cells if folders and _wants_local_lock(project, cell))
    if local:
        say(f"locking {len(local)} cells whose wheels come from an extra folder")
        lock_cells(local, locksmith(project, arguments, environment), say=say)
    return current_images(project, cells)


def _wants_local_lock(project: Project, cell: Cell) -> bool:
    """Whether this cell has no lock here, and its wheels come from an extra folder."""
    wants = any(has_local_version(text) for text in cell.requirements)
    return wants and read_lock(cell.id, project.locks) is None


def bases_of(
    images: Sequence[Image], engine: Engine, project: Project, choice: Choice
) -> dict[str, Base | DlimgError]:
    """The base of each operating system, or why it cannot be had here; the others go on."""
    found: dict[str, Base | DlimgError] = {}
    pins = read_bases(project.locks)
    for image in images:
        system = image.cell.os
        if system.name in found:
            continue
        try:
            found[system.name] = base_for(engine, system, choice=choice, pins=pins, say=say)
        except DlimgError as error:
            found[system.name] = error
    return found


def planned_on(
    images: Sequence[Image], bases: Mapping[str, Base | DlimgError], compression: str
) -> tuple[PlannedImage, ...]:
    """Every image whose base is at hand, without its key: that takes its packages."""
    return tuple(
        PlannedImage(image=image, base=base, key="", compression=compression)
        for image in images
        if isinstance(base := bases[image.cell.os.name], Base)
    )


def engine_keys(
    planned: Sequence[PlannedImage], engine: Engine, arguments: Namespace
) -> tuple[PlannedImage | BuildFailure, ...]:
    """As `with_keys`; this engine builds what is missing."""

    def hands_of(secrets: Secrets) -> "Executor":
        from dlimg.builders.executor import of_engine  # noqa: PLC0415 - only what is missing

        accept_buildx(engine.docker, engine.environment)
        find_links = wheel_folders(arguments.find_links, engine.environment)
        return of_engine(engine, secrets, find_links)

    with engine_errors():
        return with_keys(planned, engine.environment, hands_of, jobs=arguments.jobs)


def with_keys(
    planned: Sequence[PlannedImage],
    environment: Mapping[str, str],
    hands_of: "Callable[[Secrets], Executor]",
    *,
    jobs: int,
) -> tuple[PlannedImage | BuildFailure, ...]:
    """The images with their keys, each of which is told; `hands_of` these secrets build systems.

    What is installed in a system that was built here is known. Any other is built now.
    """
    from dlimg.builders.image_packages import with_known_keys  # noqa: PLC0415 - not for what has no base
    from dlimg.store.store import layer_store  # noqa: PLC0415 - the same

    store = layer_store(environment)
    found: dict[str, PlannedImage | BuildFailure] = {
        one.image.cell.id: one for one in with_known_keys(planned, store, environment)
    }
    missing = [one for one in found.values() if isinstance(one, PlannedImage) and not one.key]
    if missing:
        ends = _with_built_keys(missing, environment, hands_of, store, jobs)
        found |= {one.image.cell.id: end for one, end in zip(missing, ends, strict=True)}
    for end in found.values():
        if isinstance(end, PlannedImage):
            source = f"{end.base.source} base {end.base.identity[:19]}"
            packages = f"packages {end.packages[:19]}"
            say(f"plan: {end.reference} on {end.image.cell.os.image}, {source}, {packages}")
    return tuple(found.values())


def _with_built_keys(
    missing: Sequence[PlannedImage],
    environment: Mapping[str, str],
    hands_of: "Callable[[Secrets], Executor]",
    store: "Store",
    jobs: int,
) -> tuple[PlannedImage | BuildFailure, ...]:
    from dlimg.builders.content_keys import with_built_keys  # noqa: PLC0415 - only what is missing
    from dlimg.store.maintenance import using  # noqa: PLC0415 - the same

    say("building systems first: their packages are a part of each image's name")
    with (
        interruptible(),
        using(store),
        secrets_from(environment) as secrets,
        ProgressDisplay(environment) as board,
    ):
        return with_built_keys(missing, hands_of(secrets), store, jobs=jobs, on_progress=board.show)
