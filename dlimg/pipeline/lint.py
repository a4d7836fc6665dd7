"""The input of lint: a project with its locks, and the answers of indexes and registries."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path
from typing import Final

from dlimg.context import Context
from dlimg.errors import DlimgError
from dlimg.facts.load import Facts
from dlimg.image_files import image_files
from dlimg.lint.model import IndexAnswer, LintContext, OnlineAnswers
from dlimg.lock.pylock import ResolvedWheel
from dlimg.lock.store import LOCAL, cell_path, local_path, read_bases, read_lock
from dlimg.matrix.parse import parse_matrix
from dlimg.matrix.resolve import Resolution, resolve
from dlimg.model import Lock, Wheel
from dlimg.pipeline.facts_files import read_text
from dlimg.pipeline.project import refuse_empty
from dlimg.pypi.index import PackageIndex, open_index
from dlimg.pypi.mirrors import default_addresses, index_address
from dlimg.pypi.simple_api import IndexFile, list_files
from dlimg.registry.http import Repository, open_registry
from dlimg.registry.manifests import resolve_digest
from dlimg.registry.reference import DOCKER_HUB, parse_reference
from dlimg.render.frameworks import read_frameworks
from dlimg.units import counted

_PARALLEL_REQUESTS: Final = 16
_REGISTRY_SECONDS: Final = 10


def ask_online(lint_context: LintContext, context: Context) -> OnlineAnswers:
    """Return the answers of indexes and registries; `unanswered` names those without any."""
    context = context.with_indexes(lint_context.resolution.indexes)
    locks = lint_context.locks.values()
    wheels = tuple({wheel.file: wheel for lock in locks for wheel in lock.wheels}.values())
    remote = tuple(wheel for wheel in wheels if not wheel.local)
    unanswered: list[str] = []
    answers: dict[str, IndexAnswer] = {}
    records: dict[str, str] = {}
    index = open_index(context, context.cache / "wheels")
    for name in sorted({wheel.index for wheel in remote}):
        asked = tuple(wheel for wheel in remote if wheel.index == name)
        shown = f"the index {name}" if name else "the package index"
        context.log(f"asking {shown} for {counted(len(asked), 'wheel')}")
        try:
            addresses = (index_address(name, context),) if name else default_addresses(context)
            files = _list_files(index, addresses, asked)
            answers |= {wheel.file: _answer(wheel, files.get(wheel.name, {})) for wheel in asked}
            records |= _read_records(index, asked, files)
        except DlimgError as error:
            unanswered.append(f"{shown}: {error.problems[0].message}")
    digests = dict(_digests_today(lint_context, context, unanswered))
    return OnlineAnswers(
        offers=answers, records=records, digests=digests, unanswered=tuple(unanswered)
    )


def _list_files(
    index: PackageIndex, addresses: Sequence[str], wheels: Sequence[Wheel]
) -> Mapping[str, Mapping[str, IndexFile]]:
    """Return the index's files of each project, by file name."""
    names = sorted({wheel.name for wheel in wheels})
    with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
        pages = pool.map(lambda name: list_files(index, addresses, name), names)
        return {
            name: {file.file: file for file in page}
            for name, page in zip(names, pages, strict=True)
        }


def _answer(wheel: Wheel, files: Mapping[str, IndexFile]) -> IndexAnswer:
    file = files.get(wheel.file)
    if file is None:
        return IndexAnswer(state="gone")
    if file.sha256 and file.sha256 != wheel.sha256:
        return IndexAnswer(state="gone", reason="a file of the same name has another sha256")
    if file.yanked:
        reason = "" if file.yanked in {"yanked", "true"} else file.yanked
        return IndexAnswer(state="yanked", reason=" ".join(reason.split()))
    return IndexAnswer(state="there")


def _read_records(
    index: PackageIndex, wheels: Sequence[Wheel], files: Mapping[str, Mapping[str, IndexFile]]
) -> dict[str, str]:
    """Return the RECORDs of the wheels that the index still has, by the wheel's sha256."""
    listed = [
        ResolvedWheel(
            name=wheel.name,
            version=wheel.version,
            file=wheel.file,
            sha256=wheel.sha256,
            address=files[wheel.name][wheel.file].url,
        )
        for wheel in wheels
        if wheel.file in files.get(wheel.name, {})
    ]
    with ThreadPoolExecutor(_PARALLEL_REQUESTS) as pool:
        contents = pool.map(index.read, listed)
        return {
            wheel.sha256: content.record for wheel, content in zip(listed, contents, strict=True)
        }


def _digests_today(
    lint_context: LintContext, context: Context, unanswered: list[str]
) -> Iterator[tuple[str, str]]:
    """Yield each pinned system with the digest that its tag has now; empty if it is gone."""
    pinned = {cell.os.name for cell in lint_context.resolution.cells if cell.os.digest}
    silent_hosts: set[str] = set()
    for system in lint_context.matrix.operating_systems.values():
        reference = parse_reference(system.image)
        if not reference.host:
            reference = parse_reference(f"{DOCKER_HUB}/{system.image}")
        if system.name not in pinned or reference.host in silent_hosts:
            continue
        try:
            with open_registry(reference.host, context, seconds=_REGISTRY_SECONDS) as registry:
                repository = Repository(registry=registry, name=reference.name)
                digest = resolve_digest(repository, reference.tag)
        except DlimgError as error:
            silent_hosts.add(reference.host)
            unanswered.append(f"the registry {reference.host}: {error.problems[0].message}")
        else:
            yield system.name, digest


def read_lint_context(matrix: str, facts: Facts, today: date) -> LintContext:
    """Read the input of the rules. Raises BadInput for a malformed file of the project."""
    folder = Path(matrix).parent / "locks"
    choices = parse_matrix(read_text(Path(matrix)), matrix)
    resolution = resolve(
        choices, facts, read_bases(folder), read_frameworks(image_files(folder.parent))
    )
    refuse_empty(resolution, matrix)
    locks, files = _read_locks(resolution, folder)
    return LintContext(
        matrix=choices,
        resolution=resolution,
        facts=facts,
        today=today,
        locks=locks,
        lock_files=files,
    )


def _read_locks(resolution: Resolution, folder: Path) -> tuple[dict[str, Lock], dict[str, str]]:
    """Return the locks and their files, by cell id."""
    local = {path.stem for path in (folder / LOCAL).glob("*.json")}
    locked = {path.stem for path in folder.glob("*.json")} | local
    locks, files = {}, {}
    for cell in resolution.cells:
        name = cell.id
        lock = read_lock(name, folder) if name in locked else None
        if lock is not None:
            locks[name] = lock
            path_of = local_path if name in local else cell_path
            files[name] = str(path_of(folder, name))
    return locks, files
