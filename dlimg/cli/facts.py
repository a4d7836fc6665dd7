"""`dlimg facts`: facts shown with their sources, or compared with the package index."""

import sys
from argparse import SUPPRESS, ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_format
from dlimg.cli.printing import out, print_json, print_table
from dlimg.context import Context
from dlimg.errors import BadInput, nearest
from dlimg.facts.gpus import capability_in
from dlimg.facts.load import facts_of
from dlimg.facts.schema import schema
from dlimg.pipeline.facts_files import read_rows, subject_names
from dlimg.pipeline.facts_refresh import facts_refresh, refresh_facts
from dlimg.report.facts import (
    Row,
    Rows,
    cells,
    confidence,
    details,
    headings,
    name_of,
    overview,
    row_json,
    sections_of,
)
from dlimg.report.plain import json_text
from dlimg.units import counted

# Rows with the name of their section.
NamedRows = Sequence[tuple[str, Row]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsOptions:
    """The options of `facts`; `check` and `commit` are for a refresh."""

    matrix: str
    subject: str
    names: tuple[str, ...]
    schema: bool
    keep: bool
    refresh: bool
    check: bool
    commit: bool
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("subject", nargs="?", metavar="SUBJECT", help="one of them; none: all")
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help='rows of it, e.g. "RTX 4090", 2.6.0'
    )
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of the files")
    parser.add_argument("--keep", action="store_true", help=SUPPRESS)
    parser.add_argument(
        "--refresh", action="store_true", help="ask the package index; add rows for new releases"
    )
    parser.add_argument("--check", action="store_true", help="with --refresh: write nothing")
    parser.add_argument("--commit", action="store_true", help="with --refresh: commit each new row")
    add_format(parser)


def options_of(arguments: Namespace) -> FactsOptions:
    return FactsOptions(
        matrix=arguments.matrix,
        subject=arguments.subject or "",
        names=tuple(arguments.names),
        schema=arguments.schema,
        keep=arguments.keep,
        refresh=arguments.refresh,
        check=arguments.check,
        commit=arguments.commit,
        format=arguments.format,
    )


def run(options: FactsOptions, context: Context) -> int:
    """Return 0; a refresh returns 1 for differences, and with --check for missing rows."""
    if options.refresh:
        return _refresh(options, context)
    if options.keep:
        context.log("--keep is no longer needed: parsed facts are cached by themselves")
        return 0
    if options.schema:
        out(json_text(schema()) + "\n")
        return 0
    subjects = subject_names()
    if not options.subject:
        _print_subjects({name: read_rows(name) for name in subjects}, options, context)
        return 0
    if options.subject not in subjects:
        hint = nearest(options.subject, subjects)
        raise BadInput(f"no facts about {options.subject!r}", hint=hint)
    rows = read_rows(options.subject)
    selected = _select(options.subject, rows, options.names)
    if options.format == "json":
        print_json([row_json(options.subject, section, row) for section, row in selected])
        return 0
    names = _row_names(options.subject, rows, options.names)
    in_full = [row for row in selected if name_of(*row) in names]
    cite = Citations()
    for section, row in in_full:
        _print_row(options.subject, section, row, cite, context)
    _print_tables([row for row in selected if row not in in_full], cite, context)
    out(cite.legend())
    return 0


def _refresh(options: FactsOptions, context: Context) -> int:
    refresh = facts_refresh(
        Path(options.matrix).parent,
        context,
        write=not options.check,
        commit=options.commit and not options.check,
    )
    result = refresh_facts(refresh, [options.subject] if options.subject else refresh.subjects)
    for name in result.new:
        out(f"new: {name}\n")
    for difference in result.differences:
        out(f"{difference}\n")
    total = (
        f"{counted(len(result.new), 'new row')}, {counted(len(result.differences), 'difference')}"
    )
    hint = "; a person decides which side of a difference is right" if result.differences else ""
    out(f"{total}{hint}\n")
    return 1 if result.differences or (result.new and options.check) else 0


def _row_names(subject: str, rows: Rows, names: Sequence[str]) -> frozenset[str]:
    """Return the names of rows among these; of GPUs by their full names."""
    if names and subject == "gpus":
        facts = facts_of({"gpus.yaml": rows})
        names = [name if name in facts.statements else facts.gpu(name).name for name in names]
    return frozenset(names)


def _print_subjects(rows: Mapping[str, Rows], options: FactsOptions, context: Context) -> None:
    lines = overview(rows)
    if options.format == "json":
        names = ("subject", "rows", "not_sure", "oldest_check")
        print_json([dict(zip(names, line, strict=True)) for line in lines])
    else:
        print_table(("subject", "rows", "not confirmed", "oldest check"), lines, context)


def _select(subject: str, rows: Rows, names: Sequence[str]) -> NamedRows:
    """Return the rows of these names; all of them without any. Raises BadInput for unknown ones."""
    every = [
        (section, row)
        for section, section_rows in sections_of(rows).items()
        for row in section_rows
    ]
    if not names:
        return every
    selected: list[tuple[str, Row]] = []
    for name in names:
        matches = [row for row in every if _is_called(*row, name)]
        matches = matches or list(_gpu_rows(subject, rows, every, name))
        if not matches:
            row_names = {name_of(section, row) for section, row in every if section != "variants"}
            raise BadInput(f"no facts about {subject} {name!r}", hint=nearest(name, row_names))
        selected += matches
    return selected


def _is_called(section: str, row: Row, name: str) -> bool:
    return name == name_of(section, row) or name in row.get("versions", ())


def _gpu_rows(subject: str, rows: Rows, every: NamedRows, name: str) -> NamedRows:
    """Return the row of the GPU with this name, or all rows of a compute capability."""
    if subject != "gpus":
        return ()
    gpu = facts_of({"gpus.yaml": rows}).gpu(name)
    if capability_in(name):
        return [row for row in every if row[1].get("capability") == gpu.capability]
    return [row for row in every if row[1].get("gpu") == gpu.name]


class Citations:
    """Citations of sources: numbers with a legend on a terminal, whole addresses in a pipe."""

    def __init__(self) -> None:
        self.is_terminal = sys.stdout.isatty()
        self.numbers: dict[str, int] = {}

    def __call__(self, source: str) -> str:
        if not self.is_terminal:
            return source
        return f"[{self.numbers.setdefault(source, len(self.numbers) + 1)}]"

    def legend(self) -> str:
        return "".join(f"[{number}] {source}\n" for source, number in self.numbers.items())


def _print_row(subject: str, section: str, row: Row, cite: Citations, context: Context) -> None:
    """Print everything about one row."""
    lines = [
        *details(section, row, cite),
        ("confidence", confidence(row)),
        ("checked", row["checked"]),
        ("source", cite(row["source"])),
        ("defined in", f"dlimg/facts/{subject}.yaml:{row['line']}"),
    ]
    print_table((section, name_of(section, row)), lines, context)
    out("\n")


def _print_tables(rows: NamedRows, cite: Citations, context: Context) -> None:
    """Print a table for each section; on a terminal the day stands with the source."""
    for section in dict.fromkeys(name for name, _ in rows):
        of_section = [row for name, row in rows if name == section]
        if cite.is_terminal:
            out(f"{section}\n")
            lines = [
                (
                    *cells(section, row),
                    _confidence(row),
                    cite(f"{row['source']} ({row['checked']})"),
                )
                for row in of_section
            ]
            print_table(headings(section, "confidence", "source"), lines, context)
        else:
            lines = [
                (*cells(section, row), confidence(row), row["checked"], row["source"])
                for row in of_section
            ]
            print_table(headings(section, "confidence", "checked", "source"), lines, context)
        out("\n")


def _confidence(row: Row) -> str:
    text = confidence(row)
    return text if text in ("yes", "no") else "partly"
