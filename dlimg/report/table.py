"""Tables: aligned and coloured on a terminal, tab-separated plain text elsewhere."""

import io
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

STYLES = {
    "passed": "green",
    "failed": "bold red",
    "not-run": "yellow",
    "built": "green",
    "present": "green",
}


def table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, width: int, colour: bool
) -> str:
    """The rows under their headings; `width` is the terminal's in columns, 0 for no terminal."""
    if not width:
        return "".join("\t".join(row) + "\n" for row in (headings, *rows))
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


def bytes_text(size: int) -> str:
    """`1.2 GB` for 1,234,567,890: decimal units, as registries count."""
    amount = float(size)
    for unit in ("B", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.0f} {unit}"
        amount /= 1000
    return f"{amount:.2f} GB"


def seconds_text(seconds: float) -> str:
    """`4.2 s`, or `3 min 05 s`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
