"""Tables on a terminal."""

import io
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"passed": "green", "failed": "bold red", "not-run": "yellow", "present": "green"}
)


# The least width of a readable column of text, and the space between columns.
READABLE: Final = 30
_GAP: Final = 2


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, colour: bool
) -> str:
    """Return the rows under their headings, or as blocks if the terminal is too narrow."""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    common = _common_columns(rows)
    if _least_width(headings, rows) <= width:
        parts: Iterator[RenderableType] = iter((_aligned(headings, rows),))
    elif (
        common
        and _has_groups(rows, common)
        and _least_width(headings[common:], [row[common:] for row in rows]) <= width - _GAP
    ):
        parts = _groups(headings, rows, common, width)
    else:
        parts = _blocks(headings, rows, width)
    for part in parts:
        console.print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _widths(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(headings, *rows, strict=True)]


def _least_width(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    """Return the least width for the table, with its wrapped column at its narrowest."""
    widths = _widths(headings, rows)
    roomy = _wrapped_column(headings, rows)
    spared = 0 if roomy is None else max(0, widths[roomy] - READABLE)
    return sum(widths) + _GAP * (len(widths) - 1) - spared


def _wrapped_column(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> int | None:
    """Return the widest column that has several words in a row, never the first: it is the name."""
    widths = _widths(headings, rows)
    wordy = {number for row in rows for number, cell in enumerate(row) if number and " " in cell}
    return max(wordy, key=lambda number: widths[number], default=None)


def _common_columns(rows: Sequence[Sequence[str]]) -> int:
    """Return the number of first columns that, taken together, are equal in several rows."""
    most = len(rows[0]) - 1 if rows else 0
    return next(
        (
            number
            for number in range(most)
            if len({tuple(r[: number + 1]) for r in rows}) == len(rows)
        ),
        most,
    )


def _has_groups(rows: Sequence[Sequence[str]], common: int) -> bool:
    """Return whether neighbours are alike in their first columns, so that groups are fewer."""
    return sum(1 for _ in groupby(rows, key=lambda row: tuple(row[:common]))) < len(rows)


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> RenderableType:
    roomy = _wrapped_column(headings, rows)
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for number, heading in enumerate(headings):
        drawn.add_column(heading, overflow="fold", no_wrap=number != roomy)
    for row in rows:
        drawn.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    return drawn


def _groups(
    headings: Sequence[str], rows: Sequence[Sequence[str]], common: int, width: int
) -> Iterator[RenderableType]:
    """Yield a block for what several rows have in common, and below it a table of the rest."""
    for shared, alike in groupby(rows, key=lambda row: tuple(row[:common])):
        yield from _blocks(headings[:common], [shared], width)
        rest = _aligned(headings[common:], [row[common:] for row in alike])
        yield Padding(rest, (0, 0, 0, _GAP))


def _blocks(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> Iterator[RenderableType]:
    """Yield each row's name, and below it its other fields, as many on a line as fit."""
    for name, *cells in rows:
        yield Text(name, style="bold")
        indent = len(name) - len(name.lstrip()) + _GAP
        line = Text()
        for heading, cell in zip(headings[1:], cells, strict=True):
            if cell in {"", "-"}:
                continue
            part = Text.assemble((f"{heading}: ", "dim"), (cell, _style(cell)))
            if line and len(line) + _GAP + len(part) > width - indent:
                yield Padding(line, (0, 0, 0, indent))
                line = Text()
            line = Text(" " * _GAP).join((line, part)) if line else part
        if line:
            yield Padding(line, (0, 0, 0, indent))


def _style(cell: str) -> str:
    return next((style for word, style in STYLES.items() if cell.startswith(word)), "")
