"""System libraries that wheels need: read after locking, and looked up for lint."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from posixpath import basename

from dlimg.context import Context
from dlimg.errors import NetworkFailure
from dlimg.facts.system_libraries import SystemLibraries, parse_system_libraries
from dlimg.lint.model import LintContext
from dlimg.lint.system_libraries import (
    MissingLibraries,
    apt_key,
    apt_sentence,
    missing_libraries,
    wheels_to_read,
)
from dlimg.lock.file_conflicts import installed_paths
from dlimg.lock.store import read_lock
from dlimg.model import Cell, Lock, Wheel
from dlimg.pipeline.facts_files import FACTS
from dlimg.pipeline.library_refresh import TABLE
from dlimg.pipeline.project import Project
from dlimg.pypi.index import cached_contents, open_index
from dlimg.pypi.mirrors import default_addresses
from dlimg.pypi.wheel_needs import cached_needs, has_libraries, read_needs
from dlimg.units import counted
from dlimg.wheel.elf import WheelNeeds


@cache
def read_system_libraries() -> SystemLibraries:
    return parse_system_libraries(Path(FACTS, TABLE).read_text(encoding="utf-8"))


def with_known_needs(lint_context: LintContext, context: Context) -> LintContext:
    """Return the context with what is known, without a network, of the locked wheels' needs."""
    folder = context.cache / "wheels"
    wheels = {wheel.sha256: wheel for lock in lint_context.locks.values() for wheel in lock.wheels}
    needs = cached_needs(folder, list(filter(has_libraries, wheels.values())))
    judged = {
        wheel.sha256
        for cell in lint_context.resolution.cells
        if cell.id in lint_context.locks
        for wheel in wheels_to_read(cell, lint_context.locks[cell.id])
        if has_libraries(wheel)
    }
    return replace(
        lint_context,
        needs=needs,
        unread_wheels=len(judged - needs.keys()),
        libraries=read_system_libraries(),
        wheel_files=wheel_files(folder, wheels.values()) if needs else {},
    )


def wheel_files(folder: Path, wheels: Iterable[Wheel]) -> Mapping[str, frozenset[str]]:
    """Return the names of the files in these wheels, by sha256, as far as they were read before."""
    files = {}
    for wheel in wheels:
        contents = cached_contents(folder, wheel.sha256)
        if contents:
            paths = installed_paths(contents.record, name=wheel.name, python="3")
            files[wheel.sha256] = frozenset(map(basename, paths))
    return files


def log_missing_libraries(project: Project, cells: Sequence[Cell], context: Context) -> None:
    """Log what the wheels of these cells' locks need of the system and images lack.

    The wheels are read at their index; one that does not answer is no failure.
    """
    locks = {cell.id: lock for cell in cells if (lock := read_lock(cell.id, project.locks))}
    wheels = {
        wheel.sha256: wheel
        for cell in cells
        if cell.id in locks
        for wheel in wheels_to_read(cell, locks[cell.id])
        if has_libraries(wheel)
    }
    context = context.with_indexes(project.resolution.indexes)
    index = open_index(context, context.cache / "wheels")
    known = cached_needs(index.cache, list(wheels.values()))
    unread = [wheel for wheel in wheels.values() if wheel.sha256 not in known]
    if unread:
        size = sum(wheel.size for wheel in unread) // 10**6
        needing = counted(len(unread), "wheel", "needs")
        context.log(f"reading what {needing} of the system ({size} MB at most)")
        try:
            known = read_needs(index, default_addresses(context), list(wheels.values()))
        except NetworkFailure as error:
            context.log(f"not read: {error.problems[0].message}")
    for line in dict.fromkeys(_lines(cells, locks, known, index.cache)):
        context.log(line)


def _lines(
    cells: Sequence[Cell],
    locks: Mapping[str, Lock],
    needs: Mapping[str, WheelNeeds],
    folder: Path,
) -> Iterator[str]:
    """Yield a sentence for each wheel and distribution."""
    table = read_system_libraries().distributions
    for cell in cells:
        lock, libraries = locks.get(cell.id), table.get(cell.os.distribution)
        if lock is None or libraries is None:
            continue
        files = wheel_files(folder, lock.wheels)
        brought = {name for names in files.values() for name in names}
        for missing in missing_libraries(cell, lock, needs, libraries, brought):
            if missing.needed:
                yield _line(
                    missing, cell, apt_sentence(missing, libraries, key=apt_key(cell, cells))
                )


def _line(missing: MissingLibraries, cell: Cell, sentence: str) -> str:
    wheel = missing.wheel
    return (
        f"{wheel.name} {wheel.version} needs libraries that images on {cell.os.distribution} "
        f"lack, in {cell.id}: {sentence}"
    )
