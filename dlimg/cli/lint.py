"""`lint`: the matrix and its locks against the facts; `--index` also asks the outside."""

from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.cli.printing import out, print_json, say
from dlimg.errors import BadInput, DlimgError, NetworkFailure, nearest
from dlimg.facts.load import Facts
from dlimg.host.local_state import cache_folder
from dlimg.lint.catalogue import RULES, LintResult, lint
from dlimg.lint.model import IndexAnswer, LintContext, OnlineAnswers, Severity
from dlimg.lint.pages import page, pages
from dlimg.lock.pylock import ResolvedWheel
from dlimg.lock.store import LOCAL, cell_path, local_path, read_bases, read_lock
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.model import Lock, Wheel
from dlimg.pipeline.facts_files import read_facts, read_text
from dlimg.pypi.index import PackageIndex, open_index
from dlimg.pypi.simple_api import IndexFile as Listed
from dlimg.pypi.simple_api import index_addresses, offers
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import resolve_digest
from dlimg.registry.reference import DOCKER_HUB, parse_reference
from dlimg.report.lint import linted_github, linted_json, linted_text, summary

AT_ONCE: Final = 16
_REGISTRY_SECONDS: Final = 10
Say = Callable[[str], None]


def ask_online(ground: LintContext, environment: Mapping[str, str], *, say: Say) -> OnlineAnswers:
    """The answers that came; who did not answer is named in `unanswered`, and is no failure."""
    wheels = tuple({w.file: w for lock in ground.locks.values() for w in lock.wheels}.values())
    remote = tuple(wheel for wheel in wheels if not wheel.local)
    unanswered: list[str] = []
    found: dict[str, IndexAnswer] = {}
    records: dict[str, str] = {}
    say(f"asking the index for {len(remote)} wheels")
    try:
        index = open_index(environment, cache_folder(environment) / "wheels")
        listed = _listed(index, index_addresses(environment), remote)
        found = {wheel.file: _offer(wheel, listed.get(wheel.name, {})) for wheel in remote}
        records = _records(index, remote, listed)
    except NetworkFailure as error:
        unanswered.append(f"the package index: {error.problems[0].message}")
    digests = dict(_digests(ground, environment, unanswered))
    return OnlineAnswers(
        offers=found, records=records, digests=digests, unanswered=tuple(unanswered)
    )


def _listed(
    index: PackageIndex, addresses: Sequence[str], wheels: Sequence[Wheel]
) -> Mapping[str, Mapping[str, Listed]]:
    """The index's files of each project, by the file's name."""
    names = sorted({wheel.name for wheel in wheels})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        pages = pool.map(lambda name: offers(index, addresses, name), names)
        return {
            name: {one.file: one for one in page} for name, page in zip(names, pages, strict=True)
        }


def _offer(wheel: Wheel, listed: Mapping[str, Listed]) -> IndexAnswer:
    one = listed.get(wheel.file)
    if one is None:
        return IndexAnswer(state="gone")
    if one.sha256 and one.sha256 != wheel.sha256:
        return IndexAnswer(state="gone", reason="a file of the same name has another sha256")
    if one.yanked:
        reason = "" if one.yanked in {"yanked", "true"} else one.yanked
        return IndexAnswer(state="yanked", reason=" ".join(reason.split()))
    return IndexAnswer(state="there")


def _records(
    index: PackageIndex, wheels: Sequence[Wheel], listed: Mapping[str, Mapping[str, Listed]]
) -> dict[str, str]:
    """RECORDs by the wheel's sha256, of the wheels that are still there."""
    there = [
        ResolvedWheel(
            name=wheel.name,
            version=wheel.version,
            file=wheel.file,
            sha256=wheel.sha256,
            address=listed[wheel.name][wheel.file].address,
        )
        for wheel in wheels
        if wheel.file in listed.get(wheel.name, {})
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        contents = pool.map(index.read, there)
        return {one.sha256: read.record for one, read in zip(there, contents, strict=True)}


def _digests(
    ground: LintContext, environment: Mapping[str, str], unanswered: list[str]
) -> Iterator[tuple[str, str]]:
    """What each pinned system's tag leads to now; an empty text where it is gone."""
    pinned = {cell.os.name for cell in ground.resolution.cells if cell.os.digest}
    silent: set[str] = set()
    for system in ground.matrix.operating_systems.values():
        place = parse_reference(system.image)
        if not place.host:
            place = parse_reference(f"{DOCKER_HUB}/{system.image}")
        if system.name not in pinned or place.host in silent:
            continue
        try:
            with open_registry(place.host, environment, seconds=_REGISTRY_SECONDS) as registry:
                repository = Repository(registry=registry, name=place.name)
                found = resolve_digest(repository, place.tag)
        except DlimgError as error:
            silent.add(place.host)
            unanswered.append(f"the registry {place.host}: {error.problems[0].message}")
        else:
            yield system.name, found


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
        ground = replace(ground, asked=ask_online(ground, environment, say=say))
    linted = lint(ground)
    _print(linted, arguments.format)
    code = _code(linted, strict=arguments.strict)
    return code or (5 if ground.asked and ground.asked.unanswered else 0)


def ground_of(matrix: str, facts: Facts, today: date) -> LintContext:
    """What rules look at, read from this matrix's project. Raises BadInput for what is wrong."""
    folder = Path(matrix).parent / "locks"
    choices = parse_matrix(read_text(Path(matrix)), matrix)
    resolution = resolve(choices, facts, read_bases(folder))
    locks, files = _locks(resolution, folder)
    return LintContext(
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


def _print(linted: LintResult, form: str) -> None:
    if form == "json":
        print_json(linted_json(linted))
        return
    out(linted_github(linted) if form == "github" else linted_text(linted))
    for what in linted.not_looked:
        say(f"not looked at: {what}")
    say(summary(linted))


def _code(linted: LintResult, *, strict: bool) -> int:
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
        atomic_write(folder / name, text)
    say(f"{len(current)} pages in {folder}")
    return 0
