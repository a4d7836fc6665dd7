"""`facts --refresh`: the package index against the facts; new releases become rows."""

import datetime as dt
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from dlimg.choose.facts_kept import compiled
from dlimg.choose.facts_text import rows_of
from dlimg.choose.facts_written import with_row
from dlimg.choose.grown import Difference, differences, fresh
from dlimg.commands.printing import out, say
from dlimg.commands.reading import FACTS, read_text
from dlimg.engine.folders import cache_folder
from dlimg.engine.frameworks import FRAMEWORKS, Framework
from dlimg.engine.index import open_index
from dlimg.engine.managed import managed_pythons
from dlimg.engine.market import Market
from dlimg.engine.offers import index_addresses
from dlimg.engine.process import check
from dlimg.errors import BadInput, nearest
from dlimg.report.table import counted
from dlimg.whole import write_whole

FATBIN: Final = "images/common/checks/_fatbin.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """One reading of the index: what it is asked with, and what is done with the answer.

    `folder` has the files of facts; `keeps` whether new rows are written, `commits` whether each
    of them becomes a commit.
    """

    folder: Path
    market: Market
    environment: Mapping[str, str]
    today: str
    keeps: bool
    commits: bool


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0; 1 where a row says other than the index, and with --check where one is missing, too."""
    root = Path(arguments.matrix).parent
    market = Market(
        index=open_index(environment, cache_folder(environment) / "wheels"),
        addresses=index_addresses(environment),
        fatbin=root / FATBIN,
    )
    refresh = Refresh(
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


def refreshed(refresh: Refresh, subjects: Sequence[str]) -> tuple[int, list[Difference]]:
    """How many rows are new, and what rows that are there say otherwise.

    Raises BadInput for a subject that no index knows of, and NetworkFailure.
    """
    added = 0
    found: list[Difference] = []
    for subject in subjects:
        if subject not in (*FRAMEWORKS, "pythons"):
            hint = nearest(subject, (*FRAMEWORKS, "pythons"))
            raise BadInput(f"the package index says nothing about {subject!r}", hint=hint)
        news = _pythons(refresh) if subject == "pythons" else _framework(refresh, subject)
        added += news[0]
        found += news[1]
    return added, found


def _framework(refresh: Refresh, subject: str) -> tuple[int, list[Difference]]:
    """How many releases are new, and what rows say otherwise."""
    framework = FRAMEWORKS[subject]
    text = read_text(refresh.folder / f"{subject}.yaml")
    rows = {row["version"]: row for row in rows_of(text, f"{subject}.yaml")["releases"]}
    found: list[Difference] = []
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
    refresh: Refresh, framework: Framework, row: Mapping[str, Any], where: str
) -> Iterator[Difference]:
    version = row["version"]
    project = row.get("package", framework.project)
    if version not in refresh.market.releases(project):
        if not row.get("yanked", False):
            there = any(f"-{version}-" in name for name in refresh.market.files(project))
            seen = "taken back (yanked)" if there else "not at the index"
            name = f"{project} {version}"
            yield Difference(where=where, name=name, written="a release", seen=seen)
        return
    yield from differences(row, framework.page(refresh.market, version, row), where)


def _row(refresh: Refresh, subject: str, version: str) -> dict[str, Any]:
    framework = FRAMEWORKS[subject]
    row = framework.page(refresh.market, version, {})
    row |= framework.inside(refresh.market, version, row)
    source = f"PyPI metadata of {framework.project} {version}"
    return {"version": version, **row, "source": source, "checked": refresh.today}


def _pythons(refresh: Refresh) -> tuple[int, list[Difference]]:
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


def _add(refresh: Refresh, subject: str, section: str, row: Mapping[str, Any], name: str) -> None:
    """Put a row at the end of its section, in the YAML and in the JSON beside it."""
    if not refresh.keeps:
        return
    path = refresh.folder / f"{subject}.yaml"
    text = with_row(read_text(path), section, row)
    kept = refresh.folder / "compiled" / f"{subject}.json"
    json_text = compiled(rows_of(text, path.name), text)
    write_whole(path, text)
    write_whole(kept, json_text)
    if refresh.commits:
        message = f"Facts: {subject} {name}"
        files = (str(path), str(kept))
        check(["git", "commit", "--quiet", "--message", message, "--", *files], cwd=refresh.folder)
