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
from dlimg.lock.local_wheels import is_locked_wheel, wheel_folders
from dlimg.lock.store import read_lock
from dlimg.model import Cell, Lock, Wheel
from dlimg.pipeline.facts_files import FACTS
from dlimg.pipeline.library_refresh import TABLE
from dlimg.pipeline.project import Project
from dlimg.pypi.index import cached_contents, open_index
from dlimg.pypi.mirrors import default_addresses, index_address
from dlimg.pypi.wheel_needs import cached_needs, has_libraries, read_local_needs, read_needs
from dlimg.units import counted
from dlimg.wheel.elf import WheelNeeds


@cache
def read_system_libraries() -> SystemLibraries:
    return parse_system_libraries(Path(FACTS, TABLE).read_text(encoding="utf-8"))


def with_known_needs(lint_context: LintContext, context: Context) -> LintContext:
    """Return the context with the locked wheels' needs that are known without a network.

    Wheels in extra folders are read there.
    """
    folder = context.cache / "wheels"
    wheels = {wheel.sha256: wheel for lock in lint_context.locks.values() for wheel in lock.wheels}
    judged = _judged(lint_context.resolution.cells, lint_context.locks)
    needs = {
        **cached_needs(folder, list(filter(has_libraries, wheels.values()))),
        **_local_needs(judged, wheel_folders((), context), folder),
    }
    return replace(
        lint_context,
        needs=needs,
        unread_wheels=len(judged.keys() - needs.keys()),
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


def log_missing_libraries(
    project: Project, cells: Sequence[Cell], find_links: Sequence[str], context: Context
) -> None:
    """Log what the wheels of these cells' locks need of the system and images lack.

    The wheels are read at their index; one that does not answer is no failure.
    """
    locks = {cell.id: lock for cell in cells if (lock := read_lock(cell.id, project.locks))}
    context = context.with_indexes(project.resolution.indexes)
    needs = read_wheel_needs(cells, locks, wheel_folders(find_links, context), context)
    for line in dict.fromkeys(_lines(cells, locks, needs, context.cache / "wheels")):
        context.log(line)


def read_wheel_needs(
    cells: Sequence[Cell], locks: Mapping[str, Lock], folders: Sequence[Path], context: Context
) -> Mapping[str, WheelNeeds]:
    """Return what the wheels of these cells' locks need, by sha256, and remember it.

    They are read in extra folders, or at their index; one that does not answer is logged.
    """
    wheels = _judged(cells, locks)
    index = open_index(context, context.cache / "wheels")
    needs = dict(_local_needs(wheels, folders, index.cache))
    needs |= cached_needs(index.cache, list(wheels.values()))
    unread = [wheel for sha, wheel in wheels.items() if sha not in needs and not wheel.local]
    if unread:
        size = sum(wheel.size for wheel in unread) // 10**6
        needing = counted(len(unread), "wheel", "needs")
        context.log(f"reading what {needing} of the system ({size} MB at most)")
    for name in sorted({wheel.index for wheel in unread}):
        asked = [wheel for wheel in unread if wheel.index == name]
        try:
            addresses = (index_address(name, context),) if name else default_addresses(context)
            needs |= read_needs(index, addresses, asked)
        except NetworkFailure as error:
            context.log(f"not read: {error.problems[0].message}")
    return needs


def _judged(cells: Iterable[Cell], locks: Mapping[str, Lock]) -> Mapping[str, Wheel]:
    """Return the wheels of these cells whose libraries are judged, by sha256."""
    return {
        wheel.sha256: wheel
        for cell in cells
        if cell.id in locks
        for wheel in wheels_to_read(cell, locks[cell.id])
        if has_libraries(wheel)
    }


def _local_needs(
    wheels: Mapping[str, Wheel], folders: Sequence[Path], cache: Path
) -> Mapping[str, WheelNeeds]:
    """Return the needs of the wheels that are in extra folders."""
    paths = {
        wheel: path
        for wheel in wheels.values()
        for folder in folders
        if (path := folder / wheel.file).is_file() and is_locked_wheel(path, wheel)
    }
    return read_local_needs(cache, paths)


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
