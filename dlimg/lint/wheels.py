"""What the locked wheels do to each other, and to the size of images."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from itertools import combinations
from typing import Final

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
from dlimg.model import CPU, Wheel

_CUDA_PART: Final = re.compile(r"(?P<stem>nvidia-[a-z0-9-]+?)-cu(?P<major>[0-9]{2})")
_CUDNN: Final = re.compile(r"nvidia-cudnn-cu[0-9]+")
# Each group's packages own one folder, and pip installs them side by side without a word.
_TWINS: Final = (
    frozenset({"tensorflow", "tensorflow-cpu", "tensorflow-gpu", "tf-nightly", "tf-nightly-cpu"}),
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
_NAMES: Final = "the packages' names; --index compares the wheels' RECORDs"


def _two_cudnns(ground: LintContext) -> Iterator[Finding]:
    found: dict[tuple[str, ...], list[LockSet]] = {}
    for one in ground.lock_sets:
        both = tuple(f"{w.name} {w.version}" for w in one.lock.wheels if _CUDNN.fullmatch(w.name))
        if len(both) > 1:
            found.setdefault(both, []).append(one)
    for both, sets in found.items():
        message = (
            f"two cuDNNs in one image: {' and '.join(both)}; whichever is found first is loaded: "
            "take the package out that brings the wrong one"
        )
        yield _finding(ground, CUDNNS, sets, both[1].split()[0], message, " and ".join(both))


def _same_path(ground: LintContext) -> Iterator[Finding]:
    """By RECORDs where these were read, else by names; names alone are no proof, and warn."""
    records = ground.asked.records if ground.asked else {}
    yield from _recorded(ground, records)
    found: dict[tuple[str, str], list[LockSet]] = {}
    for one in ground.lock_sets:
        read = {wheel.name for wheel in one.lock.wheels if wheel.sha256 in records}
        for pair in _twins(tuple(wheel.name for wheel in one.lock.wheels)):
            if not read.issuperset(pair):
                found.setdefault(pair, []).append(one)
    for (first, second), sets in found.items():
        message = (
            f"{first} and {second} are known to fill the same paths, and the one installed last "
            "wins: take one of them out"
        )
        told = _finding(ground, PATHS, sets, second, message, f"{first} and {second}")
        yield replace(told, severity=Severity.WARNING, source=_NAMES)


def _recorded(ground: LintContext, records: Mapping[str, str]) -> Iterator[Finding]:
    """What RECORDs say: what no table of names can know."""
    found: dict[tuple[str, str, str], list[LockSet]] = {}
    for one in ground.lock_sets:
        contents = {
            _as_found(wheel): WheelContents(size=wheel.size, record=records[wheel.sha256])
            for wheel in one.lock.wheels
            if wheel.sha256 in records
        }
        for clash in find_file_conflicts(contents, python=one.lock.python):
            first, second = clash.first.split()[0], clash.second.split()[0]
            path = clash.paths[0].partition("/site-packages/")[2] or clash.paths[0]
            found.setdefault((first, second, path), []).append(one)
    for (first, second, path), sets in found.items():
        message = (
            f"{first} and {second} fill {path} with different content, and the one installed last "
            "wins: take one of them out, or another version"
        )
        yield _finding(ground, PATHS, sets, second, message, f"{first} and {second}")


def _as_found(wheel: Wheel) -> ResolvedWheel:
    return ResolvedWheel(
        name=wheel.name,
        version=wheel.version,
        file=wheel.file,
        sha256=wheel.sha256,
        address="",
    )


@cache
def _twins(names: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    pairs = [
        tuple(pair) for group in _TWINS for pair in combinations(sorted(group & set(names)), 2)
    ]
    parts: dict[str, list[str]] = {}
    for name in names:
        part = _CUDA_PART.fullmatch(name)
        # Two cuDNNs are told of by a rule of their own.
        if part and not _CUDNN.fullmatch(name):
            parts.setdefault(part["stem"], []).append(name)
    pairs += [pair for same in parts.values() for pair in combinations(sorted(same), 2)]
    return tuple((first, second) for first, second in pairs)


def _cuda_on_cpu(ground: LintContext) -> Iterator[Finding]:
    cells = {cell.id: cell for cell in ground.resolution.cells}
    found: dict[tuple[str, ...], list[LockSet]] = {}
    sizes: dict[tuple[str, ...], int] = {}
    for one in ground.lock_sets:
        parts = tuple(w for w in one.lock.wheels if w.name.startswith("nvidia-"))
        on_cpu = tuple(name for name in one.cells if cells[name].accelerator == CPU)
        if parts and on_cpu:
            names = tuple(wheel.name for wheel in parts)
            found.setdefault(names, []).append(LockSet(lock=one.lock, cells=on_cpu))
            sizes[names] = sum(wheel.size for wheel in parts)
    for names, sets in found.items():
        message = (
            f"a CPU image carries {len(names)} CUDA wheels, {sizes[names] // 10**6} MB "
            f"({shorten_list(list(names))}): ask for the CPU build of the package that brings them"
        )
        yield _finding(ground, ON_CPU, sets, names[0], message, sets[0].cells[0])


def _finding(
    ground: LintContext, rule: LintRule, sets: list[LockSet], wheel: str, message: str, about: str
) -> Finding:
    cells = [cell for one in sets for cell in one.cells]
    others = len(cells) - 1
    more = f" (so in {others} more {'lock' if others == 1 else 'locks'})" if others else ""
    is_error = rule is not ON_CPU
    return Finding(
        id=rule.id,
        severity=Severity.ERROR if is_error else Severity.WARNING,
        file=lock_file(ground, cells[0]),
        line=lock_line(sets[0].lock, wheel),
        about=about,
        message=message + more,
        source=_SOURCES.get(rule.id, ""),
    )


CUDNNS: Final = LintRule(
    id="two-cudnns",
    title="Two cuDNNs in one image",
    severity="an error",
    why=(
        "The cuDNN wheels of CUDA 12 and CUDA 13 have different names and fill the same folder. "
        "The framework was built for one of them and loads whichever is found first: it may work, "
        "fail at import, or fail at the first convolution."
    ),
    example='packages: {cuda13: ["torch=={version}", "tensorflow[and-cuda]==2.21.0"]}',
    remedy="Find the package that brings the other CUDA (`dlimg show CELL`), and take its build "
    "for this CUDA, its CPU build, or none.",
    look=_two_cudnns,
)
PATHS: Final = LintRule(
    id="same-path",
    title="Wheels that fill one path differently",
    severity="an error where RECORDs were read, a warning by names alone",
    why=(
        "No resolver looks at the files of wheels. Where two of them own one path, the one that is "
        "installed last wins, and the other is broken without a word. Offline, packages known for "
        "it are found by name; with `--index` the RECORDs of all locked wheels are compared, as "
        "`dlimg lock` does."
    ),
    example="packages: {any: [opencv-python, opencv-python-headless]}",
    remedy="Take one of the two out.",
    look=_same_path,
)
ON_CPU: Final = LintRule(
    id="cuda-in-cpu-image",
    title="CUDA in a CPU image",
    severity="a warning",
    why="The package index's default build of many packages is one for CUDA: gigabytes that a CPU "
    "image never loads.",
    example='packages: {cpu: ["tensorflow=={version}"]}   # tensorflow-cpu is the CPU build',
    remedy="Ask for the CPU build, by another name or a local version (`torch=={version}+cpu`).",
    look=_cuda_on_cpu,
)
