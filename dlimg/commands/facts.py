"""`facts`: what is known of the world outside, with its sources."""

import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from typing import Final

from dlimg.choose.facts import facts_of
from dlimg.choose.facts_kept import compiled
from dlimg.choose.gpu_names import capability_named
from dlimg.commands.printing import out, print_json, print_table
from dlimg.commands.reading import FACTS, read_rows, read_text
from dlimg.errors import BadInput, nearest
from dlimg.report.facts import (
    Row,
    Rows,
    cells,
    details,
    headings,
    name_of,
    overview,
    row_json,
    sections_of,
    sure,
)
from dlimg.report.table import json_text

Found = Sequence[tuple[str, Row]]
HINT: Final = "`dlimg facts` lists the subjects, `dlimg facts SUBJECT` its rows"


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0; 2 for a subject or a name that nothing is known of."""
    if arguments.refresh:
        from dlimg.commands import refreshing  # noqa: PLC0415 - asks the network

        return refreshing.run(arguments, environment)
    subjects = [path.stem for path in sorted(FACTS.glob("*.yaml"))]
    if arguments.keep:
        return _keep(subjects)
    if not arguments.subject:
        _subjects({name: read_rows(name) for name in subjects}, arguments, environment)
        return 0
    if arguments.subject not in subjects:
        hint = nearest(arguments.subject, subjects)
        raise BadInput(f"no facts about {arguments.subject!r}", hint=hint)
    rows = read_rows(arguments.subject)
    found = _named(arguments.subject, rows, arguments.names)
    if arguments.format == "json":
        print_json([row_json(arguments.subject, section, row) for section, row in found])
        return 0
    names = _names(arguments.subject, rows, arguments.names)
    alone = [one for one in found if name_of(*one) in names]
    cite = Cited()
    for section, row in alone:
        _one(arguments.subject, section, row, cite, environment)
    _many([one for one in found if one not in alone], cite, environment)
    out(cite.legend())
    return 0


def _names(subject: str, rows: Rows, names: Sequence[str]) -> frozenset[str]:
    """What the rows that were asked for one by one are called."""
    if names and subject == "gpus":
        facts = facts_of({"gpus.yaml": rows})
        names = [one if one in facts.statements else facts.gpu(one).name for one in names]
    return frozenset(names)


def _keep(subjects: Sequence[str]) -> int:
    from dlimg.choose.facts_schema import schema  # noqa: PLC0415 - seldom
    from dlimg.choose.facts_text import rows_of  # noqa: PLC0415 - slow, and only needed here
    from dlimg.whole import write_whole  # noqa: PLC0415 - the same

    texts = {name: read_text(FACTS / f"{name}.yaml") for name in subjects}
    made = {name: compiled(rows_of(text, f"{name}.yaml"), text) for name, text in texts.items()}
    for name, text in made.items():
        write_whole(FACTS / "compiled" / f"{name}.json", text)
    write_whole(FACTS / "facts.schema.json", json_text(schema()) + "\n")
    return 0


def _subjects(
    rows: Mapping[str, Rows], arguments: Namespace, environment: Mapping[str, str]
) -> None:
    if arguments.format == "json":
        names = ("subject", "rows", "not_sure", "oldest_check")
        print_json([dict(zip(names, one, strict=True)) for one in overview(rows)])
        return
    print_table(("subject", "rows", "not sure", "oldest check"), overview(rows), environment)


def _named(subject: str, rows: Rows, names: Sequence[str]) -> Found:
    """The rows of these names; all of them where none is given."""
    every = [(section, row) for section, found in sections_of(rows).items() for row in found]
    if not names:
        return every
    found: list[tuple[str, Row]] = []
    for name in names:
        hits = [one for one in every if _is_called(one, name)] or _gpus(subject, rows, every, name)
        if not hits:
            known = {name_of(section, row) for section, row in every if section != "variants"}
            raise BadInput(f"no facts about {subject} {name!r}", hint=nearest(name, known))
        found += hits
    return found


def _is_called(one: tuple[str, Row], name: str) -> bool:
    section, row = one
    return name == name_of(section, row) or name in row.get("versions", ())


def _gpus(subject: str, rows: Rows, every: Found, name: str) -> Found:
    """A GPU by any of its names, or all of a compute capability."""
    if subject != "gpus":
        return ()
    gpu = facts_of({"gpus.yaml": rows}).gpu(name)
    if capability_named(name):
        return [one for one in every if one[1].get("capability") == gpu.capability]
    return [one for one in every if one[1].get("gpu") == gpu.name]


class Cited:
    """Sources by number, as a terminal would take long addresses apart; in a pipe as they are."""

    def __init__(self) -> None:
        self.drawn = sys.stdout.isatty()
        self.numbers: dict[str, int] = {}

    def __call__(self, source: str) -> str:
        if not self.drawn:
            return source
        return f"[{self.numbers.setdefault(source, len(self.numbers) + 1)}]"

    def legend(self) -> str:
        return "".join(f"[{number}] {source}\n" for source, number in self.numbers.items())


def _one(subject: str, section: str, row: Row, cite: Cited, environment: Mapping[str, str]) -> None:
    """Everything about one row: to be read, and to be corrected."""
    lines = [
        *details(section, row, cite),
        ("sure", sure(row)),
        ("checked", row["checked"]),
        ("source", cite(row["source"])),
        ("stands in", f"dlimg/facts/{subject}.yaml:{row['line']}"),
    ]
    print_table((section, name_of(section, row)), lines, environment)
    out("\n")


def _many(found: Found, cite: Cited, environment: Mapping[str, str]) -> None:
    """A table for each section; on a terminal the day stands with the source."""
    for section in dict.fromkeys(one for one, _ in found):
        rows = [row for name, row in found if name == section]
        if cite.drawn:
            out(f"{section}\n")
            lines = [(*cells(section, row), _word(row), cite(_dated(row))) for row in rows]
            print_table(headings(section, "sure", "source"), lines, environment)
        else:
            lines = [
                (*cells(section, one), sure(one), one["checked"], one["source"]) for one in rows
            ]
            print_table(headings(section, "sure", "checked", "source"), lines, environment)
        out("\n")


def _word(row: Row) -> str:
    certain = sure(row)
    return certain if certain in ("yes", "no") else "partly"


def _dated(row: Row) -> str:
    return f"{row['source']} ({row['checked']})"
