"""Locking cells and pinning base images."""

import sys
from collections.abc import Mapping, Sequence
from typing import Literal

import uv

from dlimg.context import Context
from dlimg.engine.bases import registry_digest
from dlimg.engine.discover import find_engine
from dlimg.errors import BadInput, DlimgError, NetworkFailure
from dlimg.host import process
from dlimg.lock.local_wheels import wheel_folders
from dlimg.lock.lock_all import Locker
from dlimg.lock.solve import UvSolver
from dlimg.lock.store import read_bases, write_bases
from dlimg.model import Cell
from dlimg.pipeline.project import Project
from dlimg.pypi.index import open_index
from dlimg.pypi.mirrors import check_pip_settings, default_index_names, uv_environment
from dlimg.pypi.reach import index_access

PrivateEngine = Literal["allow", "refuse"]


def locker_for(
    project: Project, find_links: Sequence[str], context: Context, *, upgrade: bool = False
) -> Locker:
    """Return the locker of a project, with uv and the package indexes of this environment.

    Raises BadInput for settings of pip that would not say which package comes from where.
    """
    context = context.with_indexes(project.resolution.indexes)
    check_pip_settings(context)
    solver = UvSolver(
        uv=uv.find_uv_bin(),
        interpreter=sys.executable,
        environment=uv_environment(context),
        folders=wheel_folders(find_links, context),
        run=process.run,
        stop=process.end_children,
        reach=index_access(context),
        asked=default_index_names(context),
    )
    index = open_index(context, context.cache / "wheels")
    return Locker(
        folder=project.locks,
        solver=solver,
        read_wheel=index.read,
        read_member=index.read_member,
        upgrade=upgrade,
    )


def pin_bases(
    project: Project, cells: Sequence[Cell], context: Context, *, private_engine: PrivateEngine
) -> None:
    """Pin the base images of these cells to the registry's digests of today.

    A base whose registry does not answer keeps the pin that it had; then NetworkFailure is raised
    at the end.
    """
    engine = find_engine(context, private=private_engine)
    names = {cell.os.name for cell in project.resolution.cells}
    pins = _read_pins(project, context)
    digests = {name: pin for name, pin in pins.items() if name in names}
    failures: list[DlimgError] = []
    for system in dict.fromkeys(cell.os for cell in cells):
        try:
            digests[system.name] = registry_digest(engine, system.image)
        except NetworkFailure as failure:
            failures.append(failure)
        else:
            context.log(f"{system.name}  {system.image}@{digests[system.name]}")
    if digests != pins:
        write_bases(digests, project.locks)
    if failures:
        raise NetworkFailure.of(problem for error in failures for problem in error.problems)


def _read_pins(project: Project, context: Context) -> Mapping[str, str]:
    """Return the old pins; empty if the file is damaged, because it will be rewritten."""
    try:
        return read_bases(project.locks)
    except BadInput as error:
        context.log(f"the old pins are dropped: {error.problems[0]}")
        return {}
