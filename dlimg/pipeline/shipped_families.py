"""Families of dlimg's own matrix for other matrices: entries, stacks, and what lint may ignore."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date

from packaging.version import Version

from dlimg.facts.load import Facts
from dlimg.image_files import shipped_root
from dlimg.lint.catalogue import lint
from dlimg.lint.model import LintContext
from dlimg.lock.store import read_lock
from dlimg.matrix.family_template import FamilyTemplate, family_template, ignored_for_libraries
from dlimg.matrix.model import NO_FACTS, IgnoredFinding, Matrix
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import resolve
from dlimg.model import Cell, Lock
from dlimg.pipeline.facts_files import read_text
from dlimg.pipeline.project import Project, read_project
from dlimg.pipeline.shipped import MATRIX


@dataclass(frozen=True, slots=True, kw_only=True)
class ShippedMatrix:
    """The matrix that comes with dlimg: its text, choices and project."""

    text: str
    matrix: Matrix
    project: Project

    @property
    def locked(self) -> tuple[Cell, ...]:
        """The cells with a lock."""
        names = self.project.locked()
        return tuple(cell for cell in self.project.resolution.cells if cell.id in names)

    def lock_of(self, cell: Cell) -> Lock | None:
        return read_lock(cell.id, self.project.locks)

    def newest(self, family: str) -> Cell | None:
        """Return a family's newest locked cell; None without any."""
        cells = [cell for cell in self.locked if cell.family == family]
        return max(cells, key=lambda cell: Version(cell.version), default=None)

    def template(self, cell: Cell) -> FamilyTemplate:
        return family_template(self.text, self.matrix, cell)


def families_without_facts() -> tuple[str, ...]:
    """Return the families of dlimg's own matrix that have no facts."""
    matrix = parse_matrix(read_text(shipped_root() / MATRIX), MATRIX)
    return tuple(name for name, family in matrix.families.items() if family.framework == NO_FACTS)


def read_shipped(facts: Facts) -> ShippedMatrix:
    path = shipped_root() / MATRIX
    text = read_text(path)
    project = read_project(str(path), facts=facts)
    return ShippedMatrix(text=text, matrix=parse_matrix(text, MATRIX), project=project)


def ignored_by_shipped(
    shipped: ShippedMatrix,
    text: str,
    facts: Facts,
    today: date,
    locks: Mapping[str, Lock],
    *,
    before: str = "",
) -> tuple[IgnoredFinding, ...]:
    """Return dlimg's own exceptions for findings of lint in a new matrix.

    `locks` are those of its cells, as far as they are there. What lint found `before` in the same
    matrix is not the new part's.
    """
    ignored = shipped.matrix.ignored
    earlier = used_ignored(before, ignored, facts, today, {}) if before else ()
    keys = {_key(entry) for entry in earlier}
    used = (
        *used_ignored(text, ignored, facts, today, locks),
        *ignored_for_libraries(ignored, locks.values()),
    )
    own = {_key(entry) for entry in parse_matrix(text, MATRIX).ignored}
    new = {_key(entry): entry for entry in used if _key(entry) not in keys | own}
    return tuple(new.values())


def used_ignored(
    text: str,
    ignored: tuple[IgnoredFinding, ...],
    facts: Facts,
    today: date,
    locks: Mapping[str, Lock],
) -> Sequence[IgnoredFinding]:
    """Return the entries that match a finding of lint in this matrix, with these locks."""
    matrix = parse_matrix(text, MATRIX)
    context = LintContext(
        matrix=replace(matrix, ignored=ignored),
        resolution=resolve(matrix, facts),
        facts=facts,
        today=today,
        locks=locks,
        lock_files={},
    )
    return [entry for _, entry in lint(context).ignored]


def _key(entry: IgnoredFinding) -> tuple[str, str]:
    return entry.id, entry.about
