"""Tables for a terminal, aligned and coloured."""

import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES: Final[Mapping[str, str]] = MappingProxyType(
    {"passed": "green", "failed": "bold red", "not-run": "yellow", "present": "green"}
)


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, colour: bool
) -> str:
    """The rows under their headings, in so many columns of a terminal."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell, style=_style(cell)) for cell in row))
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        width=width,
        force_terminal=colour,
        color_system="standard" if colour else None,
        highlight=False,
    )
    console.print(drawn)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def _style(cell: str) -> str:
    return next((style for word, style in STYLES.items() if cell.startswith(word)), "")
