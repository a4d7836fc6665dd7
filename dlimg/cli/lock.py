"""`lock`: cells to exact wheels, or whether that is still true."""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence

import uv

from dlimg.cli.printing import print_table, say
from dlimg.pipeline.project import (Project, chosen, private_engine, read_project)
from dlimg.engine.bases import registry_digest
from dlimg.engine.discover import find
from dlimg.errors import BadInput, DlimgError, Negative, NetworkFailure
from dlimg.host import process
from dlimg.host.local_state import cache_folder
from dlimg.lock.check import check_locks
from dlimg.lock.lock_all import Locker, LockState, lock_cells
from dlimg.lock.solve import UvSolver
from dlimg.lock.store import read_bases, wheel_folders, write_bases
from dlimg.model import Cell
from dlimg.pypi.index import open_index
from dlimg.pypi.mirrors import uv_environment


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when all locks are current or have been made so."""
    project = read_project(arguments.matrix, pins="ignore" if arguments.bases else "read")
    if arguments.check:
        return _check(project, arguments)
    cells = chosen(project, arguments)
    if arguments.bases:
        return _pin_bases(project, cells, arguments, environment)
    done = lock_cells(cells, locksmith(project, arguments, environment), say=say)
    rows = [
        (one.name, one.state.value, ", ".join(one.changes) or one.reason or "-")
        for one in done
        if one.state is not LockState.CURRENT
    ]
    if rows:
        print_table(("lock", "state", "what changed"), rows, environment)
    say(f"{len(done) - len(rows)} locks were current, {len(rows)} were not")
    return 0


def locksmith(project: Project, arguments: Namespace, environment: Mapping[str, str]) -> Locker:
    """All that locking needs from outside, from this command line and environment."""
    solver = UvSolver(
        uv=uv.find_uv_bin(),
        interpreter=sys.executable,
        environment=uv_environment(environment),
        folders=wheel_folders(arguments.find_links, environment),
        run=process.run,
        stop=process.end_children,
    )
    return Locker(
        folder=project.locks,
        solver=solver,
        read_wheel=open_index(environment, cache_folder(environment) / "wheels").read,
        upgrade=getattr(arguments, "upgrade", False),
    )


def _pin_bases(
    project: Project, cells: Sequence[Cell], arguments: Namespace, environment: Mapping[str, str]
) -> int:
    """Pin the base images of these cells; what cannot be asked for keeps the pin it had."""
    engine = find(environment, private=private_engine(arguments), say=say)
    known = {system.name for system in (cell.os for cell in project.resolution.cells)}
    there = _pins(project)
    digests = {name: pin for name, pin in there.items() if name in known}
    failures: list[DlimgError] = []
    for system in dict.fromkeys(cell.os for cell in cells):
        try:
            digests[system.name] = registry_digest(engine, system.image)
        except NetworkFailure as failure:
            failures.append(failure)
        else:
            say(f"{system.name}  {system.image}@{digests[system.name]}")
    if digests != there:
        write_bases(digests, project.locks)
    if failures:
        raise NetworkFailure.of(problem for one in failures for problem in one.problems)
    return 0


def _pins(project: Project) -> Mapping[str, str]:
    """The pins that there are; a damaged file has none, and is about to be written anew."""
    try:
        return read_bases(project.locks)
    except BadInput as error:
        say(f"no pin is kept: {error.problems[0]}")
        return {}


def _check(project: Project, arguments: Namespace) -> int:
    everything = project.resolution.cells
    problems = check_locks(chosen(project, arguments), project.locks, everything=everything)
    if problems:
        raise Negative.of(problems)
    say("all locks are current")
    return 0
