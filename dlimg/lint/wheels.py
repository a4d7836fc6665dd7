"""Findings about locked wheels: overlaps, CUDA in CPU images, stacks that share nothing."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Final

from dlimg.compat.rules_numpy import NUMPY, NUMPY_1, BuiltForNumpy1, locked_for_numpy_1
from dlimg.facts.load import Facts
from dlimg.lint.model import (
    Finding,
    LintContext,
    LintRule,
    LockSet,
    Severity,
    lock_file,
    lock_line,
    shorten_list,
)
from dlimg.lock.file_conflicts import find_file_conflicts
from dlimg.lock.pylock import ResolvedWheel, WheelContents
from dlimg.model import CPU, Lock, Wheel
from dlimg.units import counted

_CUDA_PART: Final = re.compile(r"(?P<stem>nvidia-[a-z0-9-]+?)-cu(?P<major>[0-9]{2})")
_CUDNN: Final = re.compile(r"nvidia-cudnn-cu[0-9]+")
# The packages of each group fill the same folder, and pip installs them side by side silently.
# The packages of one framework are such a group, too.
_SAME_FOLDER: Final = (
    frozenset(
        {
            "opencv-python",
            "opencv-python-headless",
            "opencv-contrib-python",
            "opencv-contrib-python-headless",
        }
    ),
    frozenset({"pillow", "pillow-simd"}),
)
_RECORDS: Final = "the wheels' RECORDs"
_SOURCES: Final = {"two-cudnns": "the names in the lock", "same-path": _RECORDS}
_NAMES: Final = "the packages' names; --online compares the wheels' RECORDs"


def _two_cudnns(context: LintContext) -> Iterator[Finding]:
    sets_of: dict[tuple[str, ...], list[LockSet]] = {}
    for lock_set in context.lock_sets:
        cudnns = tuple(
            f"{wheel.name} {wheel.version}"
            for wheel in lock_set.lock.wheels
            if _CUDNN.fullmatch(wheel.name)
        )
        if len(cudnns) > 1:
            sets_of.setdefault(cudnns, []).append(lock_set)
    for cudnns, sets in sets_of.items():
        names = " and ".join(cudnns)
        message = (
            f"two cuDNNs in one image: {names}; the first one on the path is loaded: "
            "take the package out that brings the wrong one"
        )
        yield _finding(context, CUDNNS, sets, cudnns[1].split()[0], message, names)


def _same_path(context: LintContext) -> Iterator[Finding]:
    """Yield conflicts by RECORDs if these were read, else warnings by packages' names."""
    records = context.answers.records if context.answers else {}
    yield from _record_conflicts(context, records)
    groups = (*_framework_packages(context.facts), *_SAME_FOLDER)
    sets_of: dict[tuple[str, str], list[LockSet]] = {}
    for lock_set in context.lock_sets:
        wheels = lock_set.lock.wheels
        recorded = {wheel.name for wheel in wheels if wheel.sha256 in records}
        for pair in _overlapping(tuple(wheel.name for wheel in wheels), groups):
            if not recorded.issuperset(pair):
                sets_of.setdefault(pair, []).append(lock_set)
    for (first, second), sets in sets_of.items():
        message = (
            f"{first} and {second} are known to fill the same paths, and the one installed last "
            "wins: take one of them out"
        )
        finding = _finding(context, PATHS, sets, second, message, f"{first} and {second}")
        yield replace(finding, severity=Severity.WARNING, source=_NAMES)


def _record_conflicts(context: LintContext, records: Mapping[str, str]) -> Iterator[Finding]:
    """Yield pairs of wheels whose RECORDs differ for one path."""
    sets_of: dict[tuple[str, str, str], list[LockSet]] = {}
    for lock_set in context.lock_sets:
        contents = {
            _resolved(wheel): WheelContents(size=wheel.size, record=records[wheel.sha256])
            for wheel in lock_set.lock.wheels
            if wheel.sha256 in records
        }
        for conflict in find_file_conflicts(
            contents,
            python=lock_set.lock.python,
            excused={shared.path for shared in lock_set.lock.shared_paths},
        ):
            first, second = conflict.first.split()[0], conflict.second.split()[0]
            path = conflict.paths[0].partition("/site-packages/")[2] or conflict.paths[0]
            sets_of.setdefault((first, second, path), []).append(lock_set)
    for (first, second, path), sets in sets_of.items():
        message = (
            f"{first} and {second} fill {path} with different content, and the one installed last "
            "wins: take one of them out, or another version"
        )
        yield _finding(context, PATHS, sets, second, message, f"{first} and {second}")


def _resolved(wheel: Wheel) -> ResolvedWheel:
    return ResolvedWheel(
        name=wheel.name,
        version=wheel.version,
        file=wheel.file,
        sha256=wheel.sha256,
        address="",
    )


def _framework_packages(facts: Facts) -> Iterator[frozenset[str]]:
    """Yield the packages of each framework: builds of the same module."""
    for framework in facts.releases:
        others = {row.package for row in facts.packages.values() if row.framework == framework}
        yield frozenset({framework, *others})


@cache
def _overlapping(
    names: tuple[str, ...], groups: tuple[frozenset[str], ...]
) -> tuple[tuple[str, str], ...]:
    """Return pairs of these packages that are known to fill the same paths."""
    pairs = [
        tuple(pair) for group in groups for pair in combinations(sorted(group & set(names)), 2)
    ]
    parts: dict[str, list[str]] = {}
    for name in names:
        part = _CUDA_PART.fullmatch(name)
        # Two cuDNNs have a rule of their own.
        if part and not _CUDNN.fullmatch(name):
            parts.setdefault(part["stem"], []).append(name)
    pairs += [pair for same in parts.values() for pair in combinations(sorted(same), 2)]
    return tuple((first, second) for first, second in pairs)


def _numpy_2(context: LintContext) -> Iterator[Finding]:
    sets_of: dict[tuple[BuiltForNumpy1, str], list[LockSet]] = {}
    for lock_set in context.lock_sets:
        old = locked_for_numpy_1(context.facts, lock_set.lock)
        if old:
            key = (old, lock_set.lock.version_of(NUMPY))
            sets_of.setdefault(key, []).append(lock_set)
    for (old, numpy), sets in sets_of.items():
        message = (
            f"{old.message}, and NumPy {numpy} is locked with it ({old.since} is the first for "
            f'NumPy 2): write "{NUMPY_1}" among the packages of the family'
        )
        about = f"{old.package} {old.version}"
        finding = _finding(context, NUMPY_2, sets, NUMPY, message, about)
        yield replace(finding, severity=Severity.WARNING, source=old.source)


def _cuda_on_cpu(context: LintContext) -> Iterator[Finding]:
    cells = {cell.id: cell for cell in context.resolution.cells}
    sets_of: dict[tuple[str, ...], list[LockSet]] = {}
    sizes: dict[tuple[str, ...], int] = {}
    for lock_set in context.lock_sets:
        parts = tuple(w for w in lock_set.lock.wheels if w.name.startswith("nvidia-"))
        on_cpu = tuple(name for name in lock_set.cells if cells[name].accelerator == CPU)
        if parts and on_cpu:
            names = tuple(wheel.name for wheel in parts)
            sets_of.setdefault(names, []).append(LockSet(lock=lock_set.lock, cells=on_cpu))
            sizes[names] = sum(wheel.size for wheel in parts)
    for names, sets in sets_of.items():
        message = (
            f"a CPU image carries {counted(len(names), 'CUDA wheel')}, {sizes[names] // 10**6} MB "
            f"({shorten_list(list(names))}): ask for the CPU build of the package that brings them"
        )
        yield _finding(context, ON_CPU, sets, names[0], message, sets[0].cells[0])


def _finding(
    context: LintContext, rule: LintRule, sets: list[LockSet], wheel: str, message: str, about: str
) -> Finding:
    cells = [cell for lock_set in sets for cell in lock_set.cells]
    others = len(cells) - 1
    more = f" (so in {others} more {'lock' if others == 1 else 'locks'})" if others else ""
    is_error = rule is not ON_CPU
    return Finding(
        id=rule.id,
        severity=Severity.ERROR if is_error else Severity.WARNING,
        file=lock_file(context, cells[0]),
        line=lock_line(sets[0].lock, wheel),
        about=about,
        message=message + more,
        source=_SOURCES.get(rule.id, ""),
    )


def lock_sets(locks: Mapping[str, Lock]) -> tuple[LockSet, ...]:
    """Return the locks without repeats, each with the cells that have it."""
    by_wheels: dict[tuple[str, tuple[Wheel, ...]], list[str]] = {}
    for cell, lock in locks.items():
        by_wheels.setdefault((lock.python, lock.wheels), []).append(cell)
    return tuple(LockSet(lock=locks[cells[0]], cells=tuple(cells)) for cells in by_wheels.values())


def _nothing_shared(context: LintContext) -> Iterator[Finding]:
    """Yield pairs of families on one CUDA without a common CUDA wheel."""
    parts: dict[tuple[str, str, str], dict[str, int]] = {}
    for cell in context.resolution.cells:
        lock = context.locks.get(cell.id)
        if cell.stack and lock:
            key = (cell.stack.cuda, cell.stack.name, cell.family)
            wheels = parts.setdefault(key, {})
            wheels |= {
                wheel.sha256: wheel.size
                for wheel in lock.wheels
                if wheel.name.startswith("nvidia-")
            }
    for (first, first_sizes), (second, second_sizes) in combinations(parts.items(), 2):
        if first[0] != second[0] or first[2] == second[2] or not (first_sizes and second_sizes):
            continue
        if not first_sizes.keys() & second_sizes.keys():
            size = min(sum(first_sizes.values()), sum(second_sizes.values()))
            yield _unshared(context, first, second, size)


def _unshared(
    context: LintContext, first: tuple[str, str, str], second: tuple[str, str, str], size: int
) -> Finding:
    cuda, first_stack, first_family = first
    _, second_stack, second_family = second
    families = f"{first_family} and {second_family}"
    stacks = f"stack {first_stack}"
    if first_stack != second_stack:
        stacks = f"stacks {first_stack} and {second_stack}"
    return Finding(
        id=SHARED.id,
        severity=Severity.WARNING,
        file=context.matrix.source,
        line=context.matrix.stacks[second_stack].line,
        about=f"{families} on CUDA {cuda}",
        message=f"{families} are both on CUDA {cuda} and share no byte of it "
        f"({stacks}; about {size // 10**6} MB more to keep and to pull): put both on one stack",
    )


CUDNNS: Final = LintRule(
    id="two-cudnns",
    title="Two cuDNNs in one image",
    severity="an error",
    why=(
        "The cuDNN wheels of CUDA 12 and CUDA 13 have different names and fill the same folder. "
        "The framework was built for one of them and loads the first on the path: it may work, "
        "fail at import, or fail at the first convolution."
    ),
    example='packages: {cuda13: ["torch=={version}", "tensorflow[and-cuda]==2.21.0"]}',
    remedy="Find the package that brings the other CUDA (`dlimg show CELL`), and take its build "
    "for this CUDA, its CPU build, or none.",
    find=_two_cudnns,
)
PATHS: Final = LintRule(
    id="same-path",
    title="Wheels that fill one path differently",
    severity="an error where RECORDs were read, a warning by names alone",
    why=(
        "No resolver looks at the files of wheels. Where two of them own one path, the one that is "
        "installed last wins, and the other is broken silently. Offline, packages known for "
        "it are found by name; with `--online` the RECORDs of all locked wheels are compared, as "
        "`dlimg lock` does."
    ),
    example="packages: {any: [opencv-python, opencv-python-headless]}",
    remedy="Take one of the two out.",
    find=_same_path,
)
NUMPY_2: Final = LintRule(
    id="numpy-too-new",
    title="Built against NumPy 1, and NumPy 2 beside it",
    severity="a warning",
    why=(
        "NumPy 2 loads no code that was compiled against NumPy 1. Most releases of that time do "
        "not say so in their metadata, so a resolver takes the newest NumPy. `import torch` still "
        'works; `tensor.numpy()` raises "Numpy is not available", and others fail at import.'
    ),
    example='packages: {any: [numpy], cuda12: ["torch=={version}"]}   # version: [2.2.2]',
    remedy='Write `numpy<2` among the packages of the family (`any: ["numpy<2"]`), and lock again; '
    "newer releases, which take NumPy 2, go into a family of their own.",
    find=_numpy_2,
)
ON_CPU: Final = LintRule(
    id="cuda-in-cpu-image",
    title="CUDA in a CPU image",
    severity="a warning",
    why="The package index's default build of many packages is one for CUDA: gigabytes that a CPU "
    "image never loads.",
    example='packages: {cpu: ["tensorflow=={version}"]}   # tensorflow-cpu is the CPU build',
    remedy="Ask for the CPU build, by another name or a local version (`torch=={version}+cpu`).",
    find=_cuda_on_cpu,
)

SHARED: Final = LintRule(
    id="nothing-shared",
    title="Families on one CUDA that share no bytes",
    severity="a warning",
    why=(
        "CUDA is most of an image. Families on one stack share its wheels, and so its layers: in "
        "the store, in the registry and on every machine that pulls. Two stacks of one CUDA lose "
        "that."
    ),
    example='stacks:\n  cuda13.2: {cuda: "13.2", leader: "torch=={version}", python: "3.13"}\n'
    '  cuda13.2-jax: {cuda: "13.2", leader: "jax[cuda13]==0.12.0.1", python: "3.13"}',
    remedy="Put both families on one stack; `dlimg lock` says which pin stands in the way, if any.",
    find=_nothing_shared,
)
