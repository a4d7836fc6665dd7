"""Printing to a terminal or to a pipe; `NO_COLOR` is honoured."""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence

from dlimg.report.table import plain_table


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], environment: Mapping[str, str]
) -> None:
    """A table on standard output: drawn on a terminal, tab-separated in a pipe."""
    if not sys.stdout.isatty():
        sys.stdout.write(plain_table(headings, rows))
        return
    from dlimg.report.drawn import table  # noqa: PLC0415 - costs 40 ms, and pipes need none of it

    width = shutil.get_terminal_size().columns
    sys.stdout.write(table(headings, rows, width=width, colour=coloured(environment)))


def coloured(environment: Mapping[str, str]) -> bool:
    """Whether standard output takes colour."""
    plain = environment.get("NO_COLOR") or environment.get("TERM") == "dumb"
    return sys.stdout.isatty() and not plain


def print_json(value: object) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def say(text: str) -> None:
    """A line for the person who waits, apart from what a program may read."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
