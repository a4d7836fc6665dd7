"""Rows for `parametrize`; the usual session runs only the first of them."""

from collections.abc import Iterable, Sequence

import pytest
from _pytest.mark.structures import ParameterSet


def first_rows(
    rows: Iterable[Sequence[object]], count: int, mark: pytest.MarkDecorator
) -> list[ParameterSet]:
    """Return all rows; those behind the first `count` have this mark."""
    return [
        pytest.param(*row, marks=() if place < count else mark) for place, row in enumerate(rows)
    ]


def first_values(
    values: Iterable[object], count: int, mark: pytest.MarkDecorator
) -> list[ParameterSet]:
    """Return rows of one value each; those behind the first `count` have this mark."""
    return first_rows(([value] for value in values), count, mark)
