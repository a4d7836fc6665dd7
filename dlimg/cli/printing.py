"""Output to a terminal or to a pipe; `NO_COLOR` is honoured.

A reader that goes away (`dlimg test | head`) ends the output and nothing else: the command
finishes, and its exit code stays true.
"""

import os
import shutil
import sys
from collections.abc import Sequence
from typing import Final, Literal, TextIO

from dlimg.context import Context
from dlimg.report.plain import clean, json_text, plain_table

# The number of the form of all JSON output: raised when a field changes its meaning or goes.
JSON_SCHEMA: Final = 1


def out(text: str) -> None:
    """Write a command's result to standard output."""
    _write(sys.stdout, text)


def log(text: str) -> None:
    """Write a message for the user to standard error.

    It may repeat what a file or a program says, so control characters are taken out.
    """
    _write(sys.stderr, f"{clean(text)}\n")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]], context: Context) -> None:
    """Write a table to standard output: aligned on a terminal, tab-separated in a pipe."""
    rows = [[clean(field) for field in row] for row in rows]
    if not is_terminal():
        out(plain_table(headings, rows))
        return
    # rich takes 40 ms to import, and output to a pipe needs none of it.
    from dlimg.report.table import table  # noqa: PLC0415

    width = shutil.get_terminal_size().columns
    out(table(headings, rows, width=width, colour=_has_colour(context)))


def write_bytes(data: bytes, stream: Literal["out", "err"]) -> None:
    """Write a piece of a program's output as it is."""
    target = sys.stdout if stream == "out" else sys.stderr
    try:
        target.flush()
        target.buffer.write(data)
        target.buffer.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), target.fileno())


def is_terminal() -> bool:
    """Return whether standard output is a terminal, where people read."""
    return sys.stdout.isatty()


def _has_colour(context: Context) -> bool:
    plain = context.environment.get("NO_COLOR") or context.environment.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def print_json(value: object) -> None:
    """Write one JSON document to standard output, with the number of its schema."""
    out(json_text(with_schema(value)) + "\n")


def with_schema(value: object) -> object:
    """Return an object with the field `schema`; in a list each of its objects has it."""
    match value:
        case dict():
            return {"schema": JSON_SCHEMA, **value}
        case list() | tuple():
            return [with_schema(element) for element in value]
        case _:
            return value


def _write(stream: TextIO, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
