"""`lint`: the matrix and its locks against the facts; `--index` also asks the outside."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from dlimg.choose.facts import Facts
from dlimg.choose.read_matrix import parse_matrix
from dlimg.choose.resolve import Resolution, resolve
from dlimg.commands.printing import out, print_json, say
from dlimg.commands.reading import read_facts, read_text
from dlimg.errors import BadInput, nearest
from dlimg.lint.catalogue import RULES, Linted, lint
from dlimg.lint.finding import Ground, Severity
from dlimg.lint.pages import page, pages
from dlimg.lock.store import LOCAL, cell_path, local_path, read_bases, read_lock
from dlimg.model import Lock
from dlimg.report.linted import linted_github, linted_json, linted_text, summary
from dlimg.whole import write_whole


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when nothing is wrong, 1 with errors (with --strict: with warnings, too).

    5 when --index got no answer from somebody, and nothing worse was found.
    """
    if arguments.explain:
        out(_explained(arguments.explain))
        return 0
    if arguments.pages:
        return _write_pages(Path(arguments.pages))
    ground = ground_of(arguments.matrix, read_facts(), datetime.now(tz=UTC).date())
    if arguments.index:
        from dlimg.commands.asking import asked  # noqa: PLC0415 - the network is not for all

        ground = replace(ground, asked=asked(ground, environment, say=say))
    linted = lint(ground)
    _print(linted, arguments.format)
    code = _code(linted, strict=arguments.strict)
    return code or (5 if ground.asked and ground.asked.unanswered else 0)


def ground_of(matrix: str, facts: Facts, today: date) -> Ground:
    """What rules look at, read from this matrix's project. Raises BadInput for what is wrong."""
    folder = Path(matrix).parent / "locks"
    choices = parse_matrix(read_text(Path(matrix)), matrix)
    resolution = resolve(choices, facts, read_bases(folder))
    locks, files = _locks(resolution, folder)
    return Ground(
        matrix=choices,
        resolution=resolution,
        facts=facts,
        today=today,
        locks=locks,
        lock_files=files,
    )


def _locks(resolution: Resolution, folder: Path) -> tuple[dict[str, Lock], dict[str, str]]:
    """The locks that there are, and their files, by cell id."""
    local = {path.stem for path in (folder / LOCAL).glob("*.json")}
    there = {path.stem for path in folder.glob("*.json")} | local
    locks, files = {}, {}
    for cell in resolution.cells:
        name = cell.id
        lock = read_lock(name, folder) if name in there else None
        if lock is not None:
            locks[name] = lock
            place = local_path if name in local else cell_path
            files[name] = str(place(folder, name))
    return locks, files


def _print(linted: Linted, form: str) -> None:
    if form == "json":
        print_json(linted_json(linted))
        return
    out(linted_github(linted) if form == "github" else linted_text(linted))
    for what in linted.not_looked:
        say(f"not looked at: {what}")
    say(summary(linted))


def _code(linted: Linted, *, strict: bool) -> int:
    warnings = linted.count(Severity.WARNING) if strict else 0
    return 1 if linted.count(Severity.ERROR) or warnings else 0


def _explained(name: str) -> str:
    rules = {rule.id: rule for rule in RULES}
    if name not in rules:
        raise BadInput(f"no finding is called {name!r}", hint=nearest(name, rules))
    return page(rules[name])


def _write_pages(folder: Path) -> int:
    """Write the pages, and remove those of findings that are no more."""
    current = pages()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.md"):
        if path.name not in current:
            path.unlink()
    for name, text in current.items():
        write_whole(folder / name, text)
    say(f"{len(current)} pages in {folder}")
    return 0
