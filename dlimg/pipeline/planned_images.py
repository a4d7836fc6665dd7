"""Images before they are built: their locks, bases, and content keys."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

from dlimg.builders.choose import BuilderOption
from dlimg.builders.content_keys import with_built_keys, with_known_keys
from dlimg.builders.executor import EngineExecutor, Executor
from dlimg.builders.progress import OnProgress
from dlimg.builders.secrets import Secrets, secrets_from
from dlimg.context import Context
from dlimg.engine.bases import BaseChoice, find_base
from dlimg.engine.client import Engine, check_buildx, engine_errors
from dlimg.errors import BadInput, DlimgError
from dlimg.host.interrupt import interruptible
from dlimg.lock.local_wheels import wheel_folders
from dlimg.lock.request import has_local_version, package_name
from dlimg.lock.store import read_bases, read_lock
from dlimg.model import Base, BuildFailure, Cell, CellSelection, Image, PlannedImage
from dlimg.pipeline.built_packages import lock_project_cells
from dlimg.pipeline.images import current_images
from dlimg.pipeline.locks import PrivateEngine
from dlimg.pipeline.project import Project
from dlimg.store.maintenance import hold_store
from dlimg.store.store import layer_store
from dlimg.units import counted

# Shows the progress of builds until it is left.
Display = Callable[[Context], AbstractContextManager[OnProgress]]


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildSettings:
    """The images to build and the options of building, which several commands share.

    `compression` is the command line's; if empty, the matrix's is used. `display` shows the
    progress.
    """

    cells: CellSelection
    display: Display
    jobs: int = 2
    base: BaseChoice = "auto"
    builder: BuilderOption = "auto"
    compression: str = ""
    find_links: tuple[str, ...] = ()
    private_engine: PrivateEngine = "allow"


def buildable_images(
    cells: Sequence[Cell],
    project: Project,
    find_links: Sequence[str],
    context: Context,
    *,
    private_engine: PrivateEngine,
) -> tuple[Image, ...]:
    """Return the images of these cells.

    Locks first the cells without a lock whose wheels come from an extra folder, or are built here:
    such locks are never committed. Raises BadInput for every other lock that is missing.
    """
    folders = wheel_folders(find_links, context)
    local = tuple(
        cell
        for cell in cells
        if (cell.additions.build or (folders and _pins_local_version(cell)))
        and read_lock(cell.id, project.locks) is None
    )
    if local and project.is_shipped:
        hint = "`dlimg init` starts a project, whose locks may name wheels of a folder"
        raise BadInput(
            "wheels from an extra folder are not for the matrix that comes with dlimg", hint=hint
        )
    if local:
        context.log(
            f"locking {counted(len(local), 'cell')} with wheels of an extra folder, or built here"
        )
        lock_project_cells(project, local, find_links, context, private_engine=private_engine)
    return current_images(project, cells)


def _pins_local_version(cell: Cell) -> bool:
    """Return whether a requirement pins a local version without an index in the matrix."""
    routed = {name for index in cell.indexes for name in index.packages}
    return any(
        has_local_version(requirement) and package_name(requirement) not in routed
        for requirement in cell.requirements
    )


def find_bases(
    images: Sequence[Image], engine: Engine, project: Project, choice: BaseChoice, context: Context
) -> dict[str, Base | DlimgError]:
    """Return the base of each operating system, or the error that prevents it."""
    bases: dict[str, Base | DlimgError] = {}
    pins = read_bases(project.locks)
    for system in dict.fromkeys(image.cell.os for image in images):
        try:
            bases[system.name] = find_base(
                engine, system, choice=choice, pins=pins, log=context.log
            )
        except DlimgError as error:
            bases[system.name] = error
    return bases


def plan_images(
    images: Sequence[Image], bases: Mapping[str, Base | DlimgError], compression: str
) -> tuple[PlannedImage, ...]:
    """Return the images whose base was found, still without keys: those depend on packages."""
    return tuple(
        PlannedImage(image=image, base=base, key="", compression=compression)
        for image in images
        if isinstance(base := bases[image.cell.os.name], Base)
    )


def keys_by_engine(
    planned: Sequence[PlannedImage], engine: Engine, settings: BuildSettings, context: Context
) -> tuple[PlannedImage | BuildFailure, ...]:
    """Return the images with their keys; this engine builds the systems that are missing."""

    def executor_with(secrets: Secrets) -> Executor:
        check_buildx(engine)
        find_links = wheel_folders(settings.find_links, engine.context)
        return EngineExecutor(engine=engine, secrets=secrets, find_links=find_links)

    with engine_errors():
        return with_keys(planned, executor_with, settings, context)


def with_keys(
    planned: Sequence[PlannedImage],
    executor_with: Callable[[Secrets], Executor],
    settings: BuildSettings,
    context: Context,
) -> tuple[PlannedImage | BuildFailure, ...]:
    """Return the images with their keys, and log each.

    A key depends on the packages of the image's system. Systems that were built here are known;
    the others are built now.
    """
    store = layer_store(context)
    keyed: dict[str, PlannedImage | BuildFailure] = {
        image.image.cell.id: image for image in with_known_keys(planned, store, context)
    }
    missing = [
        image for image in keyed.values() if isinstance(image, PlannedImage) and not image.key
    ]
    if missing:
        built = _with_built_keys(missing, executor_with, settings, context)
        keyed |= {image.image.cell.id: result for image, result in zip(missing, built, strict=True)}
    for image in keyed.values():
        if isinstance(image, PlannedImage):
            source = f"{image.base.source} base {image.base.identity[:19]}"
            packages = f"packages {image.packages[:19]}"
            context.log(
                f"plan: {image.reference} on {image.image.cell.os.image}, {source}, {packages}"
            )
    return tuple(keyed.values())


def _with_built_keys(
    missing: Sequence[PlannedImage],
    executor_with: Callable[[Secrets], Executor],
    settings: BuildSettings,
    context: Context,
) -> tuple[PlannedImage | BuildFailure, ...]:
    context.log("building systems first: their packages are a part of each image's name")
    store = layer_store(context)
    with (
        interruptible(),
        hold_store(store),
        secrets_from(context) as secrets,
        settings.display(context) as on_progress,
    ):
        return with_built_keys(
            missing, executor_with(secrets), store, jobs=settings.jobs, on_progress=on_progress
        )
