"""The nearest valid combinations: least change first, each of them judged by the rules.

Releases and CUDAs are tried in the order of their cost; the rest is changed only if a refusal
depends on it. The search is bounded in judgements, so it is bounded in time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.parse_names import CPU
from dlimg.compat.query import Query, QueryContext, arch_of, completions_by_build, cudas
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import RuleResult
from dlimg.document.versions import driver_numbers, minor, numbers
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, X86_64, FrameworkRelease, GpuFact, ReleaseBuild

COSTS: Final[Mapping[str, float]] = {
    "cudnn": 1,
    "python": 5,
    "system": 7,
    "driver": 10,
    "arch": 25,
    "gpu": 40,
}
# To leave a GPU unused, or to need one where none was asked for.
_GPU_OR_NOT: Final = 9.0
# An index that must be named.
OTHER_INDEX: Final = 0.3
_PYPI_INDEX: Final = "index PyPI"
# Judgements of one search.
_BUDGET: Final = 1500
# Drivers that are tried for one release and CUDA, from the oldest on.
_MOST_DRIVERS: Final = 12
_MOST_GPUS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A valid combination, its changes (`CUDA 13.0 -> 12.4`), and their cost."""

    combination: Combination
    changes: tuple[str, ...]
    cost: float


def version_cost(old: str, new: str) -> float:
    before, after = (*numbers(old), 0, 0, 0)[:4], (*numbers(new), 0, 0, 0)[:4]
    if old == new:
        return 0.0
    if before == after:
        return 1.1  # a release candidate, or a repaired upload
    if before[0] != after[0]:
        return 8.0 + abs(before[0] - after[0]) + 0.05 * abs(after[1])
    if before[1] != after[1]:
        return 1.5 + 0.5 * abs(before[1] - after[1]) + 0.01 * after[2]
    return 1.0 + 0.01 * abs(before[2] - after[2])


def cuda_cost(old: str, new: str) -> float:
    if (old == CPU) != (not new):
        return _GPU_OR_NOT
    before, after = numbers(old), numbers(new)
    if old == CPU or before == after[: len(before)]:
        return 0.0
    if before[0] != after[0]:
        return 2.0 + 0.5 * abs(before[0] - after[0]) + (0.02 * (9 - after[1]))
    return 1.0 + 0.1 * abs(before[1] - after[1])


def suggestion_of(query: Query, combination: Combination) -> Suggestion:
    """Return the combination with its changes to the question and their cost."""
    changes = list(_changes(query, combination))
    cost = sum(price for price, _ in changes)
    build = combination.build
    cost += OTHER_INDEX if build and build.index != PYPI else 0.0
    return Suggestion(
        combination=combination, changes=tuple(text for _, text in changes), cost=round(cost, 3)
    )


def _changes(query: Query, combination: Combination) -> Iterator[tuple[float, str]]:
    """Yield the differences to the query with their costs; a value that it leaves open is free."""
    build, cuda = combination.build, combination.cuda
    if query.package and build and build.package != query.package.package:
        # The name alone costs nothing: its cost is in the other changes.
        yield 0.0, f"{query.package.package} -> {build.package}"
    if combination.version != query.version:
        cost = version_cost(query.version, combination.version)
        yield cost, f"{combination.framework} {query.version} -> {combination.version}"
    price = cuda_cost(query.cuda, cuda) if query.cuda else 0.0
    if price:
        yield price, f"CUDA {query.cuda} -> {cuda or CPU}"
    if build and build.index != PYPI and not query.cuda:
        yield 0.0, f"{_PYPI_INDEX} -> the vendor's {build.variant}"
    system, other = query.system, combination.distribution
    before = (query.cudnn, query.python, system.distribution if system else "", query.driver)
    after = (
        combination.cudnn or (build.cudnn if build else ""),
        combination.python,
        other.distribution if other else "",
        combination.driver,
    )
    axes = {"cudnn": "cuDNN", "python": "Python", "system": "", "driver": "driver"}
    new_values = (combination.cudnn, *after[1:])
    for (axis, label), old, new, shown in zip(axes.items(), before, new_values, after, strict=True):
        if old and old != new:
            text = f"{label} {old} -> {shown or 'what the wheel asks for'}".strip()
            yield COSTS[axis], text
    yield from _hardware_changes(query, combination)
    if combination.gpu and not _code_is_known(combination):
        yield 0.0, f"it is not known whether it has code for {combination.gpu.sm}"


def _code_is_known(combination: Combination) -> bool:
    return combination.build is None or bool(combination.build.architectures)


def _hardware_changes(query: Query, combination: Combination) -> Iterator[tuple[float, str]]:
    gpu, other = query.gpu, combination.gpu
    if gpu and other and gpu.name != other.name:
        yield COSTS["gpu"] + _distance(gpu, other), f"GPU {gpu.name} -> {other.name}"
    if query.arch and query.arch != combination.arch:
        yield COSTS["arch"], f"{query.arch} -> {combination.arch}"


def _distance(gpu: GpuFact, other: GpuFact) -> float:
    return abs(float(gpu.capability) - float(other.capability))


def suggest(
    engine: RuleEngine, context: QueryContext, query: Query, count: int
) -> tuple[Suggestion, ...]:
    """Return up to `count` suggestions, the cheapest first.

    Other hardware is suggested only if nothing else helps: builds whose code for the GPU is not
    known come before it, and say so.
    """
    # A package that ended or sees no GPU stands for the framework, which did not and does.
    without_package = replace(query, package=None)
    for queries, any_code in _hardware(engine.facts, without_package):
        search = _Search(engine, context, without_package, any_code=any_code)
        for candidate in queries:
            search.run(candidate, count)
        if search.suggestions:
            described = [
                replace(each, changes=suggestion_of(query, each.combination).changes)
                for each in search.suggestions
            ]
            return _distinct(query, sorted(described, key=lambda each: each.cost), count)
    return ()


def _distinct(
    query: Query, suggestions: Iterable[Suggestion], count: int
) -> tuple[Suggestion, ...]:
    """Return the cheapest suggestion for each minor release, CUDA and GPU.

    The release that was asked about is not left out for a neighbour of its minor.
    """
    chosen: dict[tuple[str, str, str], Suggestion] = {}
    for suggestion in suggestions:
        combination = suggestion.combination
        gpu = combination.gpu.name if combination.gpu else ""
        cuda = combination.build.cuda if combination.build else combination.cuda
        version = combination.version
        release = version if version == query.version else minor(version)
        chosen.setdefault((release, cuda, gpu), suggestion)
    return tuple(list(chosen.values())[:count])


def _hardware(facts: Facts, query: Query) -> Iterator[tuple[list[Query], bool]]:
    """Yield the query as it is, then for the usual hosts, then for the GPUs nearest to its own.

    Each with whether builds count whose code for the GPU is not known.
    """
    yield [query], False
    gpu = query.gpu
    usual = (gpu.arch if gpu else "") or X86_64
    if arch_of(query) != usual:
        yield [replace(query, arch=usual)], False
    elif gpu is not None:
        yield [query], True
    if gpu is not None:
        others = [other for other in facts.gpus.values() if other.origin.certain and not other.arch]
        others.sort(key=lambda other: (other.kind != gpu.kind, _distance(other, gpu)))
        by_code = {other.sm: other for other in reversed(others) if other.sm != gpu.sm}
        nearest = sorted(by_code.values(), key=lambda other: _distance(other, gpu))
        yield [replace(query, gpu=other, arch="") for other in nearest[:_MOST_GPUS]], False


def _releases_and_cudas(facts: Facts, query: Query) -> list[tuple[float, str, str]]:
    """Return (cost of the change, release, CUDA) for each release and CUDA, the cheapest first."""
    pairs = set()
    for version, release in facts.releases.get(query.framework, {}).items():
        cost = version_cost(query.version, version)
        if not query.cuda:
            pairs.add((cost, version, ""))
        elif query.cuda == CPU and not query.on_gpu:  # not every framework has a build of its own
            pairs.add((cost, version, CPU))
        for build in release.builds if query.cuda else _only_at_vendor(query, release):
            if query.on_gpu and not build.cuda:
                continue
            for cuda in cudas(facts, build):
                price = cuda_cost(query.cuda, cuda) if query.cuda else 0.0
                price += (build.index != PYPI) * OTHER_INDEX
                pairs.add((cost + price, version, cuda or CPU))
    return sorted(
        pairs, key=lambda pair: (pair[0], *([-n for n in numbers(text)] for text in pair[1:]))
    )


def _only_at_vendor(query: Query, release: FrameworkRelease) -> list[ReleaseBuild]:
    """Return the vendor's builds with CUDA of a release that has none on PyPI for this host."""
    builds = [build for build in release.builds if build.arch == arch_of(query) and build.cuda]
    return [] if any(build.index == PYPI for build in builds) else builds


def _choices(facts: Facts, query: Query, axis: str) -> list[tuple[float, str]]:
    """Return the values to try on an axis (empty: any) with their costs; first no change."""
    values = _drivers(facts, query) if axis == "driver" else [""]
    return [(0.0, ""), *((COSTS[axis], value) for value in values)]


def _opened(query: Query, axes: Iterable[str]) -> Query:
    """Return the query without values on these axes."""
    for axis in axes:
        query = _changed(query, axis, "")
    return query


def _changed(query: Query, axis: str, value: str) -> Query:
    match axis:
        case "driver":
            return replace(query, driver=value)
        case "system":
            return replace(query, system=None)
        case "python":
            return replace(query, python="")
        case _:
            return replace(query, cudnn="")


def _drivers(facts: Facts, query: Query) -> list[str]:
    """Return drivers that a rule could demand: bounds of its CUDAs and of the GPU."""
    release = facts.releases.get(query.framework, {}).get(query.version)
    builds = release.builds if release else ()
    of_release = {cuda for build in builds for cuda in cudas(facts, build) if cuda in facts.cuda}
    bounds: list[str] = []
    for cuda in [query.cuda] if query.cuda in facts.cuda else sorted(of_release):
        fact = facts.cuda[cuda]
        bounds += [fact.min_driver, fact.native_driver]
        bounds += fact.drivers.values() if cuda == query.cuda else ()
    last = query.gpu.last_driver if query.gpu else ""
    bounds += [query.gpu.first_driver, last] if query.gpu else []
    higher = [
        driver
        for driver in filter(None, bounds)
        if driver_numbers(driver) > driver_numbers(query.driver)
    ]
    ordered = sorted({*higher, last} - {""}, key=driver_numbers)
    return ordered[:_MOST_DRIVERS]


# Rules whose doubts need no other combination: a user notices at once whether they are right.
_HARMLESS: Final = frozenset(("base-image", "python-life", "system-life", "gpu-host"))
# A refusal that reads neither holds on each system, with each Python.
_PLACE: Final = frozenset(("python", "distribution"))
# The axes of a question that may be changed, by the axis of a combination.
_CHANGEABLE: Final[Mapping[str, str]] = {
    "python": "python",
    "distribution": "system",
    "cudnn": "cudnn",
    "driver": "driver",
}


def is_against(reason: RuleResult) -> bool:
    """Return whether a reason forbids a suggestion: a refusal, or a doubt whether it works."""
    if reason.rule == "driver-cuda":
        return reason.level != "support"  # a package that an image seldom has
    return reason.level == "refusal" or not (reason.certain or reason.rule in _HARMLESS)


def _changes_less(suggestion: Suggestion, other: Suggestion) -> bool:
    """Return whether its changes are a part of the other's, and need no newer driver."""
    changes = {text.partition(" -> ")[0] for text in suggestion.changes}
    # Another index alone is no larger change than another release.
    other_changes = {text.partition(" -> ")[0] for text in other.changes} - {_PYPI_INDEX}
    driver, other_driver = suggestion.combination.driver, other.combination.driver
    return changes < other_changes and driver_numbers(driver) <= driver_numbers(other_driver)


def first_valid(engine: RuleEngine, context: QueryContext, query: Query) -> Combination | None:
    """Return the first completion of a query that nothing is known or doubted against."""
    return _Search(engine, context, query, any_code=False).first_valid(query)[0]


class _Search:
    """One search: its suggestions so far, and the number of judgements it may still make.

    `any_code` takes builds whose code for the GPU is not known.
    """

    def __init__(
        self, engine: RuleEngine, context: QueryContext, query: Query, *, any_code: bool
    ) -> None:
        self.engine = engine
        self.context = context
        self.query = query
        self.any_code = any_code
        self.budget = _BUDGET
        self.suggestions: list[Suggestion] = []

    def run(self, query: Query, count: int) -> None:
        """Try each release and CUDA by its cost, until none can be cheaper than the best."""
        for cost, version, cuda in _releases_and_cudas(self.engine.facts, query):
            best = sorted(suggestion.cost for suggestion in self.suggestions)[:count]
            if self.budget <= 0 or (len(best) == count and cost >= best[-1]):
                return
            combination = self._relaxed(replace(query, version=version, cuda=cuda))
            if combination is not None:
                self._add(suggestion_of(self.query, combination))

    def _add(self, new: Suggestion) -> None:
        """Add a suggestion unless another changes less; remove those that change more."""
        if not any(_changes_less(suggestion, new) for suggestion in self.suggestions):
            self.suggestions = [
                suggestion for suggestion in self.suggestions if not _changes_less(new, suggestion)
            ]
            self.suggestions.append(new)

    def _relaxed(self, query: Query) -> Combination | None:
        """Return the cheapest valid combination of this release and CUDA.

        Only axes that a refusal depends on are changed.
        """
        valid, blamed = self.first_valid(query)
        if valid is not None:
            return valid
        axes = ("cudnn", "python", "system", "driver")
        free = [axis for axis in axes if axis in blamed and getattr(query, axis)]
        if not free or self.first_valid(_opened(query, free))[0] is None:
            return None
        attempts = sorted(
            product(*(_choices(self.engine.facts, query, axis) for axis in free)),
            key=lambda changes: sum(cost for cost, _ in changes),
        )
        for changes in attempts[1:]:
            changed = query
            for axis, (cost, value) in zip(free, changes, strict=True):
                changed = _changed(changed, axis, value) if cost else changed
            valid, _ = self.first_valid(changed)
            if valid is not None or self.budget <= 0:
                return valid
        return None

    def _is_against(self, combination: Combination, reason: RuleResult) -> bool:
        if self.any_code and reason.rule == "gpu-code" and not _code_is_known(combination):
            return reason.level == "refusal"
        return is_against(reason)

    def first_valid(self, query: Query) -> tuple[Combination | None, frozenset[str]]:
        """Return the first combination with nothing against it; else the axes to change.

        The axes are empty if a change of them would help no build.
        """
        blamed: set[str] = set()
        for combinations in completions_by_build(self.context, query):
            of_build: set[str] = set()
            for combination in combinations:
                self.budget -= 1
                changeable = frozenset(_CHANGEABLE)
                counts = partial(self._is_against, combination)
                if self.engine.refuses_regardless_of(changeable, combination, counts):
                    of_build.clear()
                    break
                against = [reason for reason in self.engine.reasons(combination) if counts(reason)]
                if not against:
                    return combination, frozenset()
                reads = [frozenset(self.engine.reads(reason)) for reason in against]
                if self.budget <= 0:
                    of_build.clear()
                    break
                of_build.update(
                    _CHANGEABLE[axis] for axes in reads for axis in axes & _CHANGEABLE.keys()
                )
                if any(_PLACE.isdisjoint(axes) for axes in reads):
                    break
            blamed |= of_build
        return None, frozenset(blamed)
