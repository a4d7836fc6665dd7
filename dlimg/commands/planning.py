"""What `build` and its like are about: images, the bases they stand on, and both with their key."""

from argparse import Namespace
from collections.abc import Mapping, Sequence

from dlimg.commands.drawing import current_images
from dlimg.commands.locking import locksmith
from dlimg.commands.printing import say
from dlimg.commands.project import Project
from dlimg.draw.key import key
from dlimg.engine.bases import Choice, base_for
from dlimg.engine.client import Engine
from dlimg.errors import DlimgError
from dlimg.lock.question import has_local_version
from dlimg.lock.store import read_bases, read_lock, wheel_folders
from dlimg.lock.walk import lock_cells
from dlimg.model import Base, Cell, Image, Planned


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
) -> tuple[Planned, ...]:
    """Every image whose base is at hand, with its key; the plan is told before it is done."""
    planned = []
    for image in images:
        base = bases[image.cell.os.name]
        if isinstance(base, Base):
            one = Planned(
                image=image,
                base=base,
                key=key(image, base, compression),
                compression=compression,
            )
            source = f"{base.source} base {base.identity[:19]}"
            say(f"plan: {one.reference} on {image.cell.os.image}, {source}")
            planned.append(one)
    return tuple(planned)
