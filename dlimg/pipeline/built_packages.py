"""Packages that the matrix has built from source: their wheels are made before locks are."""

from collections.abc import Sequence

from packaging.requirements import Requirement

from dlimg.context import Context
from dlimg.lock.built_wheels import built_files
from dlimg.lock.check import cell_problems
from dlimg.lock.lock_all import LockResult, lock_cells
from dlimg.lock.request import package_name, parse_requirement
from dlimg.lock.store import local_path, read_lock
from dlimg.model import Cell
from dlimg.pipeline.build_wheel import build_wheel
from dlimg.pipeline.locks import PrivateEngine, locker_for
from dlimg.pipeline.project import Project
from dlimg.pypi.sources import WheelExists


def lock_project_cells(
    project: Project,
    cells: Sequence[Cell],
    find_links: Sequence[str],
    context: Context,
    *,
    private_engine: PrivateEngine,
    upgrade: bool = False,
) -> tuple[LockResult, ...]:
    """Update the locks of these cells, after building what the matrix names under `build`.

    Raises what building and locking raise.
    """
    build_packages(project, cells, context, private_engine=private_engine, upgrade=upgrade)
    locker = locker_for(project, find_links, context, upgrade=upgrade)
    return lock_cells(cells, locker, log=context.log)


def build_packages(
    project: Project,
    cells: Sequence[Cell],
    context: Context,
    *,
    private_engine: PrivateEngine,
    upgrade: bool = False,
) -> None:
    """Build the packages under `build` of cells whose locks are not current, once a system.

    A package that the index has a wheel of is left to the lock.
    """
    context = context.with_indexes(project.resolution.indexes)
    done: set[tuple[str, str, str, str]] = set()
    for cell in cells:
        if not cell.additions.build or (not upgrade and _is_current(project, cell, context)):
            continue
        for text in cell.additions.build:
            requirement = requirement_to_build(text, cell)
            key = (str(requirement), cell.os.name, cell.python, cell.platform)
            if key in done:
                continue
            done.add(key)
            try:
                built = build_wheel(
                    project, cell, requirement, context, private_engine=private_engine
                )
            except WheelExists as error:
                message = error.problems[0].message
                context.log(f"{requirement.name} of {cell.id} is not built: {message}")
            else:
                state = "built" if built.is_new else "built before"
                context.log(f"{built.record.file} ({state}) for {cell.os.distribution}")


def requirement_to_build(text: str, cell: Cell) -> Requirement:
    """Return the requirement to build: with what the cell's packages ask of its version, too."""
    requirement = parse_requirement(text, where=cell.id)
    for other in (*cell.requirements, *cell.bounds):
        if package_name(other) == package_name(text):
            requirement.specifier &= parse_requirement(other, where=cell.id).specifier
    return requirement


def _is_current(project: Project, cell: Cell, context: Context) -> bool:
    """Return whether the cell has a current lock whose built wheels are on this machine.

    A lock of wheels that are gone is removed: no build gives the same bytes again for certain.
    """
    lock = read_lock(cell.id, project.locks)
    if lock is None or cell_problems(cell, project.locks):
        return False
    names = {package_name(text) for text in cell.additions.build}
    files = {
        (wheel.file, wheel.sha256) for wheel in lock.wheels if wheel.name in names and wheel.local
    }
    if files <= built_files(context):
        return True
    local_path(project.locks, cell.id).unlink(missing_ok=True)
    return False
