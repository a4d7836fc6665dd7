"""Which image runs on which GPU and driver: the shipped matrix, and proofs where none can."""

from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from dlimg.cli.pick import PAGE, with_table
from dlimg.compat.combination import Combination, combination_of
from dlimg.compat.pick_table import (
    BRANCHES,
    GpuKind,
    PickTableEntry,
    gpu_kinds,
    index_builds,
    pick_table,
    smallest_cover,
    verdict_on,
)
from dlimg.compat.rule_engine import RuleEngine, rules
from dlimg.document.versions import numbers
from dlimg.facts.model import FrameworkRelease
from dlimg.lock.store import read_stack_lock
from dlimg.pipeline.pick import PickContext, read_pick_context
from dlimg.report.catalogue import parse_catalogue
from dlimg.report.pick_table import pick_table_text

ROOT = Path(__file__).parents[3]
TODAY = date(2026, 11, 29)
FAMILIES = {"pytorch": "torch", "tensorflow": "tensorflow", "jax": "jax"}
# The index has hundreds of builds of JAX.
FAMILY_ROWS = ["pytorch", "tensorflow", pytest.param("jax", marks=pytest.mark.slow)]
# More cells than this would be a matrix that nobody reads.
MOST_NEW_CELLS = 40
Pair = tuple[str, str]


@cache
def context() -> PickContext:
    return read_pick_context(str(ROOT / "matrix.yaml"), TODAY, print)


@cache
def engine() -> RuleEngine:
    return RuleEngine(context().facts, rules(TODAY))


@cache
def table() -> tuple[PickTableEntry, ...]:
    return tuple(pick_table(context().catalog, engine()))


@cache
def offered(framework: str) -> tuple[tuple[FrameworkRelease, Combination], ...]:
    """Return the CUDA builds of every release that the catalogue found to work on some Python."""
    _, rows = parse_catalogue((ROOT / "docs/catalogue.json").read_text(), source="catalogue")
    works = {row.version for row in rows if row.framework == framework and row.works and row.cuda}
    releases = context().facts.releases[framework]
    # The last build for CUDA 11 installs on a Python that is on neither Debian.
    works |= {cell.version for cell in context().catalog.cells if cell.package == framework}
    return tuple(index_builds(context().facts, [releases[version] for version in sorted(works)]))


@pytest.mark.parametrize("family", FAMILY_ROWS)
def test_each_pair_has_a_tag_or_the_index_has_no_build_for_it(family: str) -> None:
    entries = [entry for entry in table() if entry.family == family]
    assert len(entries) == len(gpu_kinds(context().facts)) * len(BRANCHES)
    for entry in entries:
        name = f"{family}, {entry.kind.first.name}, driver {entry.branch}"
        if entry.cell is not None and entry.doubt is None:
            assert context().catalog.is_locked(entry.cell.id), name
            continue
        verdicts = [
            verdict_on(engine(), build, entry.kind, entry.branch)
            for _, build in offered(FAMILIES[family])
        ]
        assert not any(sure for _, sure in verdicts), f"{name}: the index has a sure build"
        if entry.cell is None:
            assert entry.reason, name
            assert not any(runs for runs, _ in verdicts), f"{name}: the index has a build"


def covered(family: str) -> dict[str, frozenset[Pair]]:
    """Return the pairs that each build of the family in the matrix surely runs on."""
    covers: dict[str, frozenset[Pair]] = {}
    for cell in context().catalog.cells:
        if cell.family != family or not cell.stack:
            continue
        lock = read_stack_lock(cell.stack.lock_name, ROOT / "locks")
        build = combination_of(cell, context().facts, lock)._replace(wheels=None)
        covers[f"{cell.version} {cell.stack.lock_name}"] = frozenset(sure_pairs(build))
    return covers


def sure_pairs(build: Combination) -> Iterator[Pair]:
    for kind in gpu_kinds(context().facts):
        for branch in BRANCHES:
            if verdict_on(engine(), build, kind, branch)[1]:
                yield kind.first.name, branch


@pytest.mark.parametrize("family", FAMILY_ROWS)
def test_the_builds_for_old_hardware_are_as_few_as_cover_the_pairs(family: str) -> None:
    covers = covered(family)
    newest = max(covers, key=lambda name: numbers(name.split()[0]))
    smallest = smallest_cover(
        covers | {newest: covers[newest]}, rank=lambda name: numbers(name.split()[0])
    )
    possible = {build: frozenset(sure_pairs(build)) for _, build in offered(FAMILIES[family])}
    least = smallest_cover(possible, rank=lambda build: numbers(build.version))
    assert len(smallest) == len(least), (smallest, [build.name for build in least])


def test_the_matrix_grew_by_at_most_forty_cells() -> None:
    for_old_hardware = [
        cell.id
        for cell in context().catalog.cells
        if cell.is_cuda and cell.version in {"2.9.1", "2.7.1", "2.0.1", "2.14.1"}
    ]
    assert 0 < len(for_old_hardware) <= MOST_NEW_CELLS


def test_the_page_has_the_table_of_today() -> None:
    page = (ROOT / PAGE).read_text()
    assert page == with_table(page, pick_table_text(table())), "run `nox -s pick_table`"


def test_a_cover_of_the_fewest_choices_takes_the_highest_rank() -> None:
    covers = {1: frozenset("ab"), 2: frozenset("ab"), 3: frozenset("bc"), 4: frozenset("b")}
    assert set(smallest_cover(covers, rank=lambda choice: choice)) == {2, 3}
    assert smallest_cover({1: frozenset[str]()}, rank=lambda choice: choice) == ()


def test_kinds_of_gpu_do_not_mix_hosts_or_generations() -> None:
    kinds = gpu_kinds(context().facts)
    assert all(len({gpu.capability for gpu in kind.gpus}) == 1 for kind in kinds)
    names = [gpu.name for kind in kinds for gpu in kind.gpus]
    assert {"P100", "V100", "T4", "RTX 4090", "RTX 5090", "GH200"} <= set(names)
    assert len(names) == len(set(names))
    assert GpuKind(gpus=kinds[0].gpus).first.capability == "6.0"
