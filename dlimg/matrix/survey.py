"""All combinations of a matrix: cells, and dropped ones, before anything is said about the rest."""

from collections.abc import Mapping
from typing import NamedTuple

from dlimg.errors import BadInput, Problem
from dlimg.facts.load import Facts
from dlimg.matrix.cells import CellFactory
from dlimg.matrix.dropped import DroppedCombination, ExcludeFilter, wanted_cells
from dlimg.matrix.model import PYTHON_SOURCE, AxisValues, Matrix
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import without_unknown_names


class Point(NamedTuple):
    """One combination: a value for each axis."""

    family: str
    version: str
    accelerator: str
    python: str
    os: str
    flavour: str
    cudnn: str

    @classmethod
    def of(cls, family: str, axis_values: AxisValues) -> "Point":
        return cls(family=family, **axis_values)


class Survey:
    """The combinations of a matrix text: `points` are cells, the others are `dropped`."""

    def __init__(self, text: str, source: str, facts: Facts) -> None:
        """Raise BadInput for the problems that keep a family from being read."""
        written = parse_matrix(text, source)
        problems: list[Problem] = list(written.problems)
        self.text, self.facts = text, facts
        self.written = written
        self.matrix: Matrix = without_unknown_names(facts, written, problems)
        if problems:
            raise BadInput.of(dict.fromkeys(problems))
        self.factory = CellFactory(self.matrix, facts, {})
        self.excludes = ExcludeFilter(self.matrix, self.factory)
        dropped: list[DroppedCombination] = []
        self.points = frozenset(
            Point.of(family.name, axis_values)
            for family in self.matrix.families.values()
            for axis_values in wanted_cells(self.matrix, facts, family, self.excludes, dropped)
        )
        self.dropped: Mapping[Point, DroppedCombination] = {
            Point.of(entry.family.name, entry.axis_values): entry for entry in dropped
        }

    def values(self, point: Point) -> AxisValues:
        """Return the values that excludes choose by."""
        axes = point._asdict()
        return {**axes, PYTHON_SOURCE: self.factory.python_source(axes)}
