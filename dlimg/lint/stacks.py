"""Locks that are alike."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Final

from dlimg.lint.model import Finding, LintContext, LintRule, LockSet, Severity
from dlimg.model import Lock, Wheel


def lock_sets(locks: Mapping[str, Lock]) -> tuple[LockSet, ...]:
    """The locks by what they hold, in their order."""
    alike: dict[tuple[str, tuple[Wheel, ...]], list[str]] = {}
    for cell, lock in locks.items():
        alike.setdefault((lock.python, lock.wheels), []).append(cell)
    return tuple(LockSet(lock=locks[cells[0]], cells=tuple(cells)) for cells in alike.values())


def _nothing_shared(ground: LintContext) -> Iterator[Finding]:
    """Families on one CUDA: their CUDA wheels should be the same, or they share no layer."""
    parts: dict[tuple[str, str, str], dict[str, int]] = {}
    for cell in ground.resolution.cells:
        lock = ground.locks.get(cell.id)
        if cell.stack and lock:
            key = (cell.stack.cuda, cell.stack.name, cell.family)
            wheels = parts.setdefault(key, {})
            wheels |= {w.sha256: w.size for w in lock.wheels if w.name.startswith("nvidia-")}
    for (first, ours), (second, theirs) in combinations(parts.items(), 2):
        if first[0] != second[0] or first[2] == second[2] or not (ours and theirs):
            continue
        if not ours.keys() & theirs.keys():
            yield _unshared(ground, first, second, min(sum(ours.values()), sum(theirs.values())))


def _unshared(
    ground: LintContext, first: tuple[str, str, str], second: tuple[str, str, str], size: int
) -> Finding:
    cuda, one, family = first
    _, other, another = second
    where = f"stack {one}" if one == other else f"stacks {one} and {other}"
    return Finding(
        id=SHARED.id,
        severity=Severity.WARNING,
        file=ground.matrix.source,
        line=ground.matrix.stacks[other].line,
        about=f"{family} and {another} on CUDA {cuda}",
        message=f"{family} and {another} are both on CUDA {cuda} and share no byte of it "
        f"({where}; about {size // 10**6} MB more to keep and to pull): put both on one stack",
    )


SHARED: Final = LintRule(
    id="nothing-shared",
    title="Families on one CUDA that share no bytes",
    severity="a warning",
    why=(
        "CUDA is most of an image. Families on one stack share its wheels, and so its layers: in "
        "the store, in the registry and on every machine that pulls. Two stacks of one CUDA give "
        "that away."
    ),
    example='stacks:\n  cuda13.2: {cuda: "13.2", leader: torch==2.15.0, python: "3.13"}\n'
    '  cuda13.2-jax: {cuda: "13.2", leader: "jax[cuda13]==0.12.0.1", python: "3.13"}',
    remedy="Put both families on one stack; `dlimg lock` says which pin stands in the way, if any.",
    look=_nothing_shared,
)
