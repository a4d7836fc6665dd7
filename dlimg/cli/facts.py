"""`facts`: what is known of the world outside, with its sources."""

import datetime as dt
import sys
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.atomic_write import atomic_write
from dlimg.cli.printing import out, print_json, print_table, say
from dlimg.pipeline.facts_files import FACTS, read_rows, read_text
from dlimg.errors import BadInput, nearest
from dlimg.facts.gpu_names import capability_named
from dlimg.facts.load import facts_of
from dlimg.facts.parse import compiled, rows_of
from dlimg.facts.write import FieldDifference, differences, fresh, with_row
from dlimg.host.local_state import cache_folder
from dlimg.host.process import check
from dlimg.pypi.cache import PackageIndexCache
from dlimg.pypi.framework_releases import FRAMEWORKS, FrameworkReleases
from dlimg.pypi.index import open_index
from dlimg.pypi.simple_api import index_addresses
from dlimg.pypi.uv_pythons import managed_pythons
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
from dlimg.units import counted

FATBIN: Final = "images/common/checks/_fatbin.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class FactsRefresh:
    """One reading of the index: what it is asked with, and what is done with the answer.

    `folder` has the files of facts; `keeps` whether new rows are written, `commits` whether each
    of them becomes a commit.
    """

    folder: Path
    market: PackageIndexCache
    environment: Mapping[str, str]
    today: str
    keeps: bool
    commits: bool


def run_refresh(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0; 1 where a row says other than the index, and with --check where one is missing, too."""
    root = Path(arguments.matrix).parent
    market = PackageIndexCache(
        index=open_index(environment, cache_folder(environment) / "wheels"),
        addresses=index_addresses(environment),
        fatbin=root / FATBIN,
    )
    refresh = FactsRefresh(
        folder=FACTS,
        market=market,
        environment=environment,
        today=dt.datetime.now(dt.UTC).date().isoformat(),
        keeps=not arguments.check,
        commits=arguments.commit and not arguments.check,
    )
    wanted = [arguments.subject] if arguments.subject else sorted((*FRAMEWORKS, "pythons"))
    added, found = refreshed(refresh, wanted)
    for one in found:
        out(f"{one}\n")
    told = f"{counted(added, 'new row')}, {counted(len(found), 'difference')}"
    out(f"{told}; a person decides which side of a difference is right\n" if found else f"{told}\n")
    return 1 if found or (added and arguments.check) else 0


def refreshed(refresh: FactsRefresh, subjects: Sequence[str]) -> tuple[int, list[FieldDifference]]:
    """How many rows are new, and what rows that are there say otherwise.

    Raises BadInput for a subject that no index knows of, and NetworkFailure.
    """
    added = 0
    found: list[FieldDifference] = []
    for subject in subjects:
        if subject not in (*FRAMEWORKS, "pythons"):
            hint = nearest(subject, (*FRAMEWORKS, "pythons"))
            raise BadInput(f"the package index says nothing about {subject!r}", hint=hint)
        news = _pythons(refresh) if subject == "pythons" else _framework(refresh, subject)
        added += news[0]
        found += news[1]
    return added, found


def _framework(refresh: FactsRefresh, subject: str) -> tuple[int, list[FieldDifference]]:
    """How many releases are new, and what rows say otherwise."""
    framework = FRAMEWORKS[subject]
    text = read_text(refresh.folder / f"{subject}.yaml")
    rows = {row["version"]: row for row in rows_of(text, f"{subject}.yaml")["releases"]}
    found: list[FieldDifference] = []
    for version, row in rows.items():
        say(f"{subject} {version}")
        found += _against(refresh, framework, row, f"{subject}.yaml:{row['line']}")
    listed = refresh.market.releases(framework.project)
    new = fresh(rows, listed)
    for version in new:
        out(f"new: {subject} {version}\n")
        _add(refresh, subject, "releases", _row(refresh, subject, version), version)
    return len(new), found


def _against(
    refresh: FactsRefresh, framework: FrameworkReleases, row: Mapping[str, Any], where: str
) -> Iterator[FieldDifference]:
    version = row["version"]
    project = row.get("package", framework.project)
    if version not in refresh.market.releases(project):
        if not row.get("yanked", False):
            there = any(f"-{version}-" in name for name in refresh.market.files(project))
            seen = "taken back (yanked)" if there else "not at the index"
            name = f"{project} {version}"
            yield FieldDifference(where=where, name=name, written="a release", seen=seen)
        return
    yield from differences(row, framework.page(refresh.market, version, row), where)


def _row(refresh: FactsRefresh, subject: str, version: str) -> dict[str, Any]:
    framework = FRAMEWORKS[subject]
    row = framework.page(refresh.market, version, {})
    row |= framework.inside(refresh.market, version, row)
    source = f"PyPI metadata of {framework.project} {version}"
    return {"version": version, **row, "source": source, "checked": refresh.today}


def _pythons(refresh: FactsRefresh) -> tuple[int, list[FieldDifference]]:
    """The newest builds that uv offers, against the rows; a minor without a row is new."""
    text = read_text(refresh.folder / "pythons.yaml")
    rows = {row["python"]: row for row in rows_of(text, "pythons.yaml")["pythons"]}
    uv, offered = managed_pythons(refresh.environment)
    found = [
        one
        for minor, (first, last) in offered.items()
        if minor in rows
        for one in differences(
            rows[minor],
            {"managed_from": first, "managed": last},
            f"pythons.yaml:{rows[minor]['line']}",
        )
    ]
    new = [minor for minor in offered if minor not in rows]
    for minor in new:
        out(f"new: Python {minor}\n")
        first, last = offered[minor]
        row = {"python": minor, "managed_from": first, "managed": last}
        row |= {"source": f"download list of uv {uv}", "checked": refresh.today}
        _add(refresh, "pythons", "pythons", row, minor)
    return len(new), found


def _add(
    refresh: FactsRefresh, subject: str, section: str, row: Mapping[str, Any], name: str
) -> None:
    """Put a row at the end of its section, in the YAML and in the JSON beside it."""
    if not refresh.keeps:
        return
    path = refresh.folder / f"{subject}.yaml"
    text = with_row(read_text(path), section, row)
    kept = refresh.folder / "compiled" / f"{subject}.json"
    json_text = compiled(rows_of(text, path.name), text)
    atomic_write(path, text)
    atomic_write(kept, json_text)
    if refresh.commits:
        message = f"Facts: {subject} {name}"
        files = (str(path), str(kept))
        check(["git", "commit", "--quiet", "--message", message, "--", *files], cwd=refresh.folder)


Found = Sequence[tuple[str, Row]]
HINT: Final = "`dlimg facts` lists the subjects, `dlimg facts SUBJECT` its rows"


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0; 2 for a subject or a name that nothing is known of."""
    if arguments.refresh:
        return run(arguments, environment)
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
    cite = Citations()
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
    from dlimg.atomic_write import atomic_write  # noqa: PLC0415 - the same
    from dlimg.facts.parse import rows_of  # noqa: PLC0415 - slow, and only needed here
    from dlimg.facts.schema import schema  # noqa: PLC0415 - seldom

    texts = {name: read_text(FACTS / f"{name}.yaml") for name in subjects}
    made = {name: compiled(rows_of(text, f"{name}.yaml"), text) for name, text in texts.items()}
    for name, text in made.items():
        atomic_write(FACTS / "compiled" / f"{name}.json", text)
    atomic_write(FACTS / "facts.schema.json", json_text(schema()) + "\n")
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


class Citations:
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


def _one(
    subject: str, section: str, row: Row, cite: Citations, environment: Mapping[str, str]
) -> None:
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


def _many(found: Found, cite: Citations, environment: Mapping[str, str]) -> None:
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
