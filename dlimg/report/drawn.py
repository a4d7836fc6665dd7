"""Tables for a terminal, aligned and coloured; where it is too narrow, a block for each row.

One column may be wrapped, the widest that has several words; a name is never taken apart, because
people copy it.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"passed": "green", "failed": "bold red", "not-run": "yellow", "present": "green"}
)


# What a column of words needs at least to be read with ease, and what lies between columns.
READABLE: Final = 30
_GAP: Final = 2


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, colour: bool
) -> str:
    """The rows under their headings, or as blocks, in so many columns of a terminal."""
    widths = [max(map(len, column)) for column in zip(headings, *rows, strict=True)]
    roomy = _roomy(rows, widths)
    least = sum(widths) + _GAP * (len(widths) - 1)
    if roomy is not None:
        least -= max(0, widths[roomy] - READABLE)
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    if least <= width:
        console.print(_aligned(headings, rows, roomy))
    else:
        for part in _blocks(headings, rows, width):
            console.print(part)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _roomy(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> int | None:
    """The widest column that has several words somewhere, but never the first: it is the name."""
    wordy = {number for row in rows for number, cell in enumerate(row) if number and " " in cell}
    return max(wordy, key=lambda number: widths[number], default=None)


def _aligned(
    headings: Sequence[str], rows: Sequence[Sequence[str]], roomy: int | None
) -> RenderableType:
    drawn = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold")
    for number, heading in enumerate(headings):
        drawn.add_column(heading, overflow="fold", no_wrap=number != roomy)
    for row in rows:
        drawn.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    return drawn


def _blocks(
    headings: Sequence[str], rows: Sequence[Sequence[str]], width: int
) -> Iterator[RenderableType]:
    """The name of each row, and below it what is known of the rest, as many on a line as fit."""
    for name, *cells in rows:
        yield Text(name, style="bold")
        line = Text()
        for heading, cell in zip(headings[1:], cells, strict=True):
            if cell in {"", "-"}:
                continue
            part = Text.assemble((f"{heading}: ", "dim"), (cell, _style(cell)))
            if line and len(line) + _GAP + len(part) > width - _GAP:
                yield Padding(line, (0, 0, 0, _GAP))
                line = Text()
            line = Text(" " * _GAP).join((line, part)) if line else part
        yield Padding(line, (0, 0, 0, _GAP))


def _style(cell: str) -> str:
    return next((style for word, style in STYLES.items() if cell.startswith(word)), "")
