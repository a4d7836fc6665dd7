"""A run over the whole catalogue: rows of today are kept, so that it goes on after an interrupt."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock as ThreadLock
from threading import Semaphore
from typing import Any, Final

import requests
import uv

from dlimg.compat.rules_bounds import bound_texts
from dlimg.context import Context
from dlimg.errors import BadInput, nearest
from dlimg.facts.load import Facts
from dlimg.facts.model import FrameworkFact
from dlimg.host import process
from dlimg.image_files import image_files
from dlimg.lock.lock_all import Locker
from dlimg.lock.pylock import ResolvedWheel, WheelContents
from dlimg.lock.solve import UvSolver
from dlimg.pipeline.catalogue import (
    CatalogueQuestion,
    CatalogueRow,
    CatalogueTrial,
    index_versions,
    questions,
    try_release,
)
from dlimg.pipeline.facts_files import read_facts
from dlimg.pypi.index import PackageIndex, open_index
from dlimg.pypi.mirrors import default_addresses, uv_environment
from dlimg.pypi.simple_api import list_files
from dlimg.render.frameworks import read_frameworks

# Requests to the index at once, of all rows together.
REQUESTS_AT_ONCE: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueResult:
    """All rows in order, how many of them were tried now, and what that cost."""

    rows: tuple[CatalogueRow, ...]
    tried: int
    seconds: float
    bytes_read: int


@dataclass(slots=True)
class ByteCounter:
    """The bytes of the answers to dlimg's own requests."""

    total: int = 0
    guard: ThreadLock = field(default_factory=ThreadLock)

    def count(self, response: requests.Response, *_: object, **__: object) -> None:
        """Add an answer's length; a session calls it for each."""
        with self.guard:
            self.total += int(response.headers.get("Content-Length", 0))


def run_catalogue(
    root: Path, names: Sequence[str], context: Context, *, again: bool
) -> CatalogueResult:
    """Try every release of these frameworks (without names: of all) that the index serves.

    Rows that were tried today are taken as they are, unless `again`. Raises BadInput for an
    unknown framework, NetworkFailure if the index is out of reach; finished rows are kept.
    """
    begin = time.monotonic()
    facts = read_facts()
    folder = context.cache / "catalogue"
    quiet = _with_few_requests(context, folder / "uv")
    index, counter = _counted_index(quiet)
    before = _folder_size(folder / "uv")
    trial = _trial(root, index, facts, quiet)
    asked = [
        question
        for framework in _frameworks(facts, names)
        for question in questions(facts, framework, _versions(index, framework, quiet))
    ]
    journal = folder / f"{datetime.now(UTC).date()}.jsonl"
    if again:
        journal.unlink(missing_ok=True)
    rows = kept_rows(journal)
    keys = [_key(question, facts) for question in asked]
    missing = {key: question for key, question in zip(keys, asked, strict=True) if key not in rows}
    for key, row in _try_all(missing, trial, context):
        rows[key] = row
        with journal.open("a", encoding="utf-8") as file:
            file.write(json.dumps([key, asdict(row)]) + "\n")
    return CatalogueResult(
        rows=tuple(rows[key] for key in keys),
        tried=len(missing),
        seconds=time.monotonic() - begin,
        bytes_read=counter.total + max(0, _folder_size(folder / "uv") - before),
    )


def _with_few_requests(context: Context, cache: Path) -> Context:
    """Return the context with a cache of uv's of its own, and two requests for each uv."""
    settings = {"UV_CACHE_DIR": str(cache), "UV_CONCURRENT_DOWNLOADS": "2"}
    cache.mkdir(parents=True, exist_ok=True)
    return replace(context, environment={**context.environment, **settings})


def _counted_index(context: Context) -> tuple[PackageIndex, ByteCounter]:
    index, counter = open_index(context, context.cache / "wheels"), ByteCounter()
    index.session.hooks["response"].append(counter.count)
    return index, counter


def _trial(root: Path, index: PackageIndex, facts: Facts, context: Context) -> CatalogueTrial:
    few = Semaphore(REQUESTS_AT_ONCE)

    def read(wheel: ResolvedWheel) -> WheelContents:
        with few:
            return index.read(wheel)

    solver = UvSolver(
        uv=uv.find_uv_bin(),
        interpreter=sys.executable,
        environment=uv_environment(context),
        folders=(),
        run=process.run,
        stop=process.end_children,
    )
    images = image_files(root)
    return CatalogueTrial(
        locker=Locker(folder=context.cache / "catalogue", solver=solver, read_wheel=read),
        facts=facts,
        frameworks=read_frameworks(images),
        images=images,
    )


def _frameworks(facts: Facts, names: Sequence[str]) -> Iterator[FrameworkFact]:
    frameworks = {name: fact for name, fact in facts.frameworks.items() if fact.catalogue_from}
    for name in names or sorted(frameworks):
        if name not in frameworks:
            raise BadInput(
                f"the catalogue has no framework {name!r}", hint=nearest(name, frameworks)
            )
        yield frameworks[name]


def _versions(index: PackageIndex, framework: FrameworkFact, context: Context) -> tuple[str, ...]:
    files = list_files(index, default_addresses(context), framework.name)
    return index_versions([file.file for file in files], framework.catalogue_from)


def _key(question: CatalogueQuestion, facts: Facts) -> str:
    bounds = bound_texts(facts, question.framework, question.version)
    return " ".join((question.name, *bounds))


def kept_rows(path: Path) -> dict[str, CatalogueRow]:
    """Return the rows of an earlier run of the same day, without a line that was cut off."""
    rows = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            key, fields = json.loads(line)
            rows[key] = CatalogueRow(**fields)
        except (ValueError, TypeError):
            continue
    return rows


def _try_all(
    missing: Mapping[str, CatalogueQuestion], trial: CatalogueTrial, context: Context
) -> Iterator[tuple[str, CatalogueRow]]:
    """Yield rows as they are ready; two at a time, each of which asks for several wheels."""
    pool = ThreadPoolExecutor(REQUESTS_AT_ONCE // 2)
    try:
        futures: dict[Any, str] = {
            pool.submit(try_release, question, trial): key for key, question in missing.items()
        }
        for number, future in enumerate(as_completed(futures), start=1):
            row = future.result()
            verdict = f"yes  {row.cuda and f'CUDA {row.cuda}'}" if row.works else "no"
            context.log(f"{number}/{len(futures)}  {row.requirement} py{row.python}  {verdict}")
            yield futures[future], row
    except KeyboardInterrupt:
        trial.locker.solver.stop()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _folder_size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
