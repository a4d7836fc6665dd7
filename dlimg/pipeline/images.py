"""The images of a project's locked cells, and the checks of its cells."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from dlimg.checks.discover import CheckFolders, checks_for, header_notices
from dlimg.context import Log
from dlimg.errors import BadInput, Problem
from dlimg.lock.check import check_locks
from dlimg.lock.store import read_lock
from dlimg.model import Cell, Check, Image
from dlimg.pipeline.project import Project
from dlimg.render.dockerfile import load_templates, render_image
from dlimg.render.naming import repository_name, shared_names, tag


def locked_images(project: Project, cells: Sequence[Cell]) -> Iterator[Image]:
    """Yield the images of those cells that have a committed or local lock."""
    jinja = load_templates(project.images)
    for cell in cells:
        lock = read_lock(cell.id, project.locks)
        if lock is not None:
            yield render_image(cell, lock, project.resolution, jinja)


def current_images(project: Project, cells: Sequence[Cell]) -> tuple[Image, ...]:
    """Return the images of cells. Raises BadInput for a lock that is missing or out of date."""
    problems = check_locks(cells, project.locks, everything=project.resolution.cells)
    names = {cell.id for cell in cells} | {
        f"stack {cell.stack.lock_name}" for cell in cells if cell.stack
    }
    concerning = [problem for problem in problems if problem.where in names]
    images = tuple(locked_images(project, cells))
    locked = {image.cell.id for image in images}
    concerning += [
        Problem(message="there is no lock", where=cell.id, hint=f"run `dlimg lock {cell.id}`")
        for cell in cells
        if cell.id not in locked and cell.id not in {problem.where for problem in concerning}
    ]
    concerning += _shared_names(project)
    if concerning:
        raise BadInput.of(concerning)
    return images


def check_architecture(cells: Iterable[Cell], architecture: str, builder: str) -> None:
    """Refuse cells for another CPU architecture than that of their builder.

    The system would be the builder's, and the wheels could not be imported.
    """
    foreign = [cell for cell in cells if cell.architecture != architecture]
    if foreign:
        cell = foreign[0]
        other = "x86_64" if cell.platform.startswith("aarch64") else "aarch64"
        ours = cell.platform.replace(cell.platform.partition("-")[0], other)
        raise BadInput(
            f"the matrix has `platform: {cell.platform}`, and {builder} is "
            f"linux/{architecture}: it cannot build {cell.oci_platform}",
            where=cell.id,
            hint=f"build on a machine of that architecture (DOCKER_HOST names its engine), or write"
            f" `platform: {ours}` and lock again",
        )


def _shared_names(project: Project) -> Iterator[Problem]:
    """Yield a problem for each name that two cells would have: one image would hide the other."""
    registry, aliases = project.resolution.registry, project.resolution.aliases
    locked = ((cell, read_lock(cell.id, project.locks)) for cell in project.resolution.cells)
    names = {
        cell.id: [
            f"{repository_name(registry, cell)}:{name}"
            for name in (tag(cell, lock), *aliases.get(cell.id, ()))
        ]
        for cell, lock in locked
        if lock
    }
    for name, cells in shared_names(names).items():
        hint = "give the alias another name, or tell the cells apart"
        yield Problem(message=f"{' and '.join(cells)} would both be {name}", hint=hint)


def checks_of_cell(project: Project, cell: Cell, own_checks: Path | None) -> tuple[Check, ...]:
    """Return a cell's checks, with those of a user's own folder.

    Raises BadInput for a missing folder or a malformed check.
    """
    return checks_for(cell, _check_folders(project, own_checks), project.resolution.required_places)


def log_former_needs(
    project: Project, cells: Iterable[Cell], own_checks: Path | None, log: Log
) -> None:
    """Log a sentence for each former name in the headers of these cells' checks."""
    families = {cell.family: cell.framework.folder for cell in cells}
    for notice in header_notices(families, _check_folders(project, own_checks)):
        log(str(notice))


def _check_folders(project: Project, own_checks: Path | None) -> CheckFolders:
    families = tuple(dict.fromkeys(cell.family for cell in project.resolution.cells))
    return CheckFolders(images=project.images, own=own_checks, families=families)
