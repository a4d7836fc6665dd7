"""`dlimg lock`: cells resolved to exact wheels, base images pinned, or both checked."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from dlimg.cli.arguments import add_cells, add_find_links, add_private_engine, cells_of
from dlimg.cli.printing import print_table
from dlimg.context import Context
from dlimg.errors import Negative
from dlimg.lock.check import check_locks
from dlimg.lock.lock_all import LockState
from dlimg.model import CellSelection
from dlimg.pipeline.built_packages import lock_project_cells
from dlimg.pipeline.locks import PrivateEngine, pin_bases
from dlimg.pipeline.project import read_project, select_cells
from dlimg.pipeline.system_needs import log_missing_libraries
from dlimg.units import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class LockOptions:
    """The options of `lock`."""

    matrix: str
    cells: CellSelection
    check: bool
    upgrade: bool
    bases: bool
    private_engine: PrivateEngine
    find_links: tuple[str, ...]


def add_arguments(parser: ArgumentParser) -> None:
    add_cells(parser)
    parser.add_argument("--check", action="store_true", help="only say whether locks are current")
    parser.add_argument("--upgrade", action="store_true", help="resolve current locks anew, too")
    parser.add_argument(
        "--bases", action="store_true", help="pin the registry's digests of base images instead"
    )
    add_private_engine(parser)
    add_find_links(parser)


def options_of(arguments: Namespace) -> LockOptions:
    return LockOptions(
        matrix=arguments.matrix,
        cells=cells_of(arguments),
        check=arguments.check,
        upgrade=arguments.upgrade,
        bases=arguments.bases,
        private_engine="refuse" if arguments.no_private_engine else "allow",
        find_links=tuple(arguments.find_links),
    )


def run(options: LockOptions, context: Context) -> int:
    """Return 0 when all locks are current, or were made so."""
    project = read_project(
        options.matrix, pins="ignore" if options.bases else "read", log=context.log
    )
    cells = select_cells(project, options.cells, log=context.log)
    if options.check:
        problems = check_locks(cells, project.locks, everything=project.resolution.cells)
        if problems:
            raise Negative.of(problems)
        context.log("all locks are current")
        return 0
    if options.bases:
        pin_bases(project, cells, context, private_engine=options.private_engine)
        return 0
    results = lock_project_cells(
        project,
        cells,
        options.find_links,
        context,
        private_engine=options.private_engine,
        upgrade=options.upgrade,
    )
    rows = [
        (result.name, result.state.value, ", ".join(result.changes) or result.reason or "-")
        for result in results
        if result.state is not LockState.CURRENT
    ]
    written = {result.name for result in results if result.state is LockState.WRITTEN}
    new = [cell for cell in cells if cell.id in written]
    log_missing_libraries(project, new, options.find_links, context)
    if rows:
        print_table(("lock", "state", "changes"), rows, context)
    current = counted(len(results) - len(rows), "lock", "was")
    context.log(f"{current} current, {len(rows)} {'was' if len(rows) == 1 else 'were'} not")
    return 0
