"""Findings that lint ignores in a matrix, edited together with the cells that they are about."""

from datetime import date
from pathlib import Path

from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.lock.store import read_lock
from dlimg.matrix.add import add_ignored
from dlimg.matrix.family_template import ignored_for_libraries
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.matrix.text import MatrixText
from dlimg.model import Cell, Lock
from dlimg.pipeline.shipped_families import (
    ShippedMatrix,
    ignored_by_shipped,
    read_shipped,
    used_ignored,
)


def with_shipped_ignored(
    facts: Facts, shipped: ShippedMatrix, source: str, before: str, after: str, today: date
) -> str:
    """Return the new text, with dlimg's own exceptions for the new cell."""
    names = {cell.id for cell in resolve(parse_matrix(after, source), facts).cells}
    locks = {
        cell.id: lock
        for cell in shipped.locked
        if cell.id in names and (lock := shipped.lock_of(cell))
    }
    entries = ignored_by_shipped(shipped, after, facts, today, locks, before=before)
    return add_ignored(after, source, facts, entries)


def without_unused_ignored(facts: Facts, source: str, before: str, after: str, today: date) -> str:
    """Return the new text without exceptions for the removed cells alone."""
    if not parse_matrix(before, source).ignored:
        return after
    locks = _Locks(facts, Path(source).parent / "locks")
    unused = _used(locks, facts, source, before, today) - _used(locks, facts, source, after, today)
    edited = MatrixText(after, source, facts)
    ignored = parse_matrix(after, source).ignored
    for index in reversed(range(len(ignored))):
        if (ignored[index].id, ignored[index].about) in unused:
            edited.remove(("lint", "ignore", index))
    return edited.text


class _Locks:
    """The locks of a project's cells, or else of the same cells in dlimg's own matrix."""

    def __init__(self, facts: Facts, folder: Path) -> None:
        self.folder = folder
        self.shipped = read_shipped(facts)
        self.names = {cell.id: cell for cell in self.shipped.locked}

    def of(self, cell: Cell) -> Lock | None:
        try:
            lock = read_lock(cell.id, self.folder)
        except BadInput:
            return None
        same = self.names.get(cell.id)
        return lock or (self.shipped.lock_of(same) if same else None)


def _used(
    locks: _Locks, facts: Facts, source: str, text: str, today: date
) -> frozenset[tuple[str, str]]:
    """Return id and subject of the entries that match a finding of lint."""
    matrix = parse_matrix(text, source)
    cells = resolve(matrix, facts).cells
    locked = {cell.id: lock for cell in cells if (lock := locks.of(cell))}
    used = (
        *used_ignored(text, matrix.ignored, facts, today, locked),
        *ignored_for_libraries(matrix.ignored, locked.values()),
    )
    return frozenset((entry.id, entry.about) for entry in used)
