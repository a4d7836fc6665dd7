"""Combinations that are no cells: they cannot exist by the facts, or the matrix excludes them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from dlimg.compat.rule_result import RuleResult
from dlimg.errors import Problem
from dlimg.facts.load import Facts
from dlimg.matrix.cells import CellFactory
from dlimg.matrix.cudnn import cudnn_choices
from dlimg.matrix.feasibility import Feasibility
from dlimg.matrix.leaders import StackResolver
from dlimg.matrix.model import (
    AXES,
    CUDNN,
    FAMILY,
    PYTHON_SOURCE,
    AxisValues,
    CellSelector,
    Exclude,
    Family,
    Matrix,
)
from dlimg.model import DroppedCell


class ExcludeFilter:
    """The excludes of a matrix and its families; remembers which of them had an effect."""

    def __init__(self, matrix: Matrix, factory: CellFactory) -> None:
        self.matrix = matrix
        self.factory = factory
        self.effective: set[int] = set()
        self.keeping: set[int] = set()

    def first(self, family: Family, axis_values: AxisValues) -> Exclude | None:
        """Return the first exclude that drops this combination, or None."""
        source = self.factory.python_source(axis_values)
        values = {**axis_values, FAMILY: family.name, PYTHON_SOURCE: source}
        dropping = None
        for exclude in (*family.exclude, *self.matrix.exclude):
            self.keeping.update(map(id, exclude.keeping(values)))
            if exclude.fits(values):
                self.effective.add(id(exclude))
                dropping = dropping or exclude
        return dropping

    def unused(self, excludes: Sequence[Exclude], owner: str = "") -> Iterator[Problem]:
        """Yield the excludes that drop nothing, and the exceptions that keep nothing."""
        for exclude in excludes:
            if id(exclude) not in self.effective:
                hint = "remove it: nothing is there to exclude, or the facts rule it out already"
                message = f"{owner}this exclude matches nothing"
                yield self._problem(exclude.match, message, hint)
                continue
            for exception in exclude.exceptions:
                if id(exception) not in self.keeping:
                    hint = "remove it, or let it fit a cell that the exclude would drop"
                    several = len(exclude.exceptions) > 1
                    subject = "an entry under `except`" if several else "the `except`"
                    message = f"{owner}{subject} of this exclude keeps nothing"
                    yield self._problem(exception, message, hint)

    def _problem(self, selector: CellSelector, message: str, hint: str) -> Problem:
        where = f"{self.matrix.source}:{selector.line}"
        return Problem(message=message, where=where, hint=hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class DroppedCombination:
    """A combination that cannot exist or is excluded, before it has an id."""

    family: Family
    axis_values: AxisValues
    cause: RuleResult | Exclude

    @property
    def reason(self) -> str:
        return self.cause.why if isinstance(self.cause, Exclude) else self.cause.message

    def fits(self, selector: CellSelector) -> bool:
        """Return whether a selector, also one that names families, would choose it."""
        return selector.fits({FAMILY: self.family.name, **self.axis_values})


_MOST_REASONS: Final = 3


def join_reasons(reasons: Iterable[str]) -> str:
    """Return different reasons as one text, the first ones in full."""
    different = list(dict.fromkeys(reasons))
    rest = len(different) - _MOST_REASONS
    more = [f"and {rest} more"] if rest > 0 else []
    return "; ".join([*different[:_MOST_REASONS], *more])


def _combinations(matrix: Matrix, family: Family) -> Iterator[AxisValues]:
    """Yield all combinations of a family's axes, with each cuDNN of their stack."""
    for values in product(*(family.axes[axis] for axis in AXES)):
        axis_values = dict(zip(AXES, values, strict=True))
        for cudnn in cudnn_choices(matrix, axis_values["accelerator"]):
            yield {**axis_values, CUDNN: cudnn}


def wanted_cells(
    matrix: Matrix,
    facts: Facts,
    family: Family,
    excludes: ExcludeFilter,
    dropped: list[DroppedCombination],
) -> Iterator[AxisValues]:
    """Yield the combinations that can exist and are not excluded; others are added to `dropped`."""
    verdict = Feasibility(matrix, facts, family).verdict
    for axis_values in _combinations(matrix, family):
        cause = verdict(axis_values) or excludes.first(family, axis_values)
        if cause is None:
            yield axis_values
        else:
            dropped.append(DroppedCombination(family=family, axis_values=axis_values, cause=cause))


def dropped_cells(
    matrix: Matrix,
    facts: Facts,
    wanted: Mapping[str, Sequence[AxisValues]],
    factory: CellFactory,
    dropped: Sequence[DroppedCombination],
) -> tuple[DroppedCell, ...]:
    """Return the dropped cells with the ids that they would have."""
    resolver = StackResolver(matrix, facts, wanted)  # another: their stacks are nobody's
    cells = []
    for entry in dropped:
        stack = resolver.stack(entry.family, entry.axis_values)
        name = factory.id_of(entry.family, entry.axis_values, stack)
        cells.append(_dropped_cell(matrix, entry, name))
    return tuple(cells)


def _dropped_cell(matrix: Matrix, entry: DroppedCombination, name: str) -> DroppedCell:
    values = entry.axis_values
    stack = matrix.stacks.get(values["accelerator"])
    dropped = DroppedCell(
        id=name,
        reason=entry.reason,
        source="",
        framework=entry.family.framework,
        version=values["version"],
        cuda=stack.cuda if stack else "",
        python=values["python"],
        distribution=matrix.operating_systems[values["os"]].distribution,
    )
    match entry.cause:
        case Exclude(match=match):
            return replace(dropped, source=f"{matrix.source}:{match.line}")
        case RuleResult() as cause:
            return replace(dropped, source=cause.source, rule=cause.rule, at=cause.at)
