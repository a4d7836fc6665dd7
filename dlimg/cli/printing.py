"""Printing to a terminal or to a pipe; `NO_COLOR` is honoured.

A reader that goes away (`dlimg test | head`) ends what is shown and nothing else: what was begun
is finished, and the exit code stays true.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import TextIO

from dlimg.report.table import clean, json_text, plain_table


def out(text: str) -> None:
    """What a person or a program asked for, on standard output."""
    _write(sys.stdout, text)


def say(text: str) -> None:
    """A line for the person who waits, apart from what a program may read.

    It may repeat what a file or a program says, so nothing in it is a command to the terminal.
    """
    _write(sys.stderr, f"{clean(text)}\n")


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> None:
    """A table on standard output: drawn on a terminal, tab-separated in a pipe."""
    rows = [[clean(field) for field in row] for row in rows]
    if not sys.stdout.isatty():
        out(plain_table(headings, rows))
        return
    import shutil  # noqa: PLC0415 - pipes need neither

    from dlimg.report.table import table  # noqa: PLC0415 - costs 40 ms

    width = shutil.get_terminal_size().columns
    out(table(headings, rows, width=width, colour=coloured(environment)))


def coloured(environment: Mapping[str, str]) -> bool:
    """Whether standard output takes colour."""
    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def print_json(value: object) -> None:
    """One JSON document on standard output."""
    out(json_text(value) + "\n")


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
