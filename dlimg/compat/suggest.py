"""The nearest combinations that work: least change first, every one of them judged by the rules.

Releases and CUDAs are tried in the order of their cost; the rest is changed only where a refusal
speaks of it. The search is bounded in judgements, so it is bounded in time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.parse_names import CPU
from dlimg.compat.query import Query, QueryContext, by_build, cudas, machine_of
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import RuleResult
from dlimg.document.versions import driver_numbers, minor, numbers
from dlimg.facts.load import Facts
from dlimg.facts.model import PYPI, X86_64, CudaFact, GpuFact

COSTS: Final[Mapping[str, float]] = {
    "cudnn": 1,
    "python": 5,
    "system": 7,
    "driver": 10,
    "machine": 25,
    "gpu": 40,
}
# A GPU that is not used, or one that is asked for where there was none.
_NO_GPU: Final = 9.0
# An index that must be named.
ELSEWHERE: Final = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """A combination that works, what it changes (`CUDA 13.0 -> 12.4`), and how much that is."""

    one: Combination
    changes: tuple[str, ...]
    cost: float


def version_cost(old: str, new: str) -> float:
    here, there = (*numbers(old), 0, 0, 0)[:4], (*numbers(new), 0, 0, 0)[:4]
    if old == new:
        return 0.0
    if here[0] != there[0]:
        return 8.0 + abs(here[0] - there[0]) + 0.05 * abs(there[1])
    if here[1] != there[1]:
        return 1.5 + 0.5 * abs(here[1] - there[1]) + 0.01 * there[2]
    return 1.0 + 0.01 * abs(here[2] - there[2])


def cuda_cost(old: str, new: str) -> float:
    if (old == CPU) != (not new):
        return _NO_GPU
    here, there = numbers(old), numbers(new)
    if old == CPU or here == there[: len(here)]:
        return 0.0
    if here[0] != there[0]:
        return 2.0 + 0.5 * abs(here[0] - there[0]) + (0.02 * (9 - there[1]))
    return 1.0 + 0.1 * abs(here[1] - there[1])


def offer(question: Query, one: Combination) -> Suggestion:
    found = list(_changes(question, one))
    cost = sum(price for price, _ in found)
    cost += ELSEWHERE if one.build and one.build.index != PYPI else 0.0
    return Suggestion(one=one, changes=tuple(text for _, text in found), cost=round(cost, 3))


def _changes(question: Query, one: Combination) -> Iterator[tuple[float, str]]:
    """What differs from what was asked for, with its cost; what was left open costs nothing."""
    if question.package and one.build and one.build.package != question.package:
        # The name alone: what it costs is told by what else changes.
        yield 0.0, f"{question.package} -> {one.build.package}"
    if one.version != question.version:
        cost = version_cost(question.version, one.version)
        yield cost, f"{one.framework} {question.version} -> {one.version}"
    price = cuda_cost(question.cuda, one.cuda) if question.cuda else 0.0
    if price:
        yield price, f"CUDA {question.cuda} -> {one.cuda or CPU}"
    system = question.system.distribution if question.system else ""
    there = one.distribution.distribution if one.distribution else ""
    old = (question.cudnn, question.python, system, question.driver)
    wanted = one.build.cudnn if one.build else ""
    new = (one.cudnn, one.python, there, one.driver)
    words = ("cuDNN", "Python", "", "driver")
    for axis, word, before, after in zip(
        ("cudnn", "python", "system", "driver"), words, old, new, strict=True
    ):
        if before and before != after:
            text = f"{word} {before} -> {after or wanted or 'what the wheel asks for'}".strip()
            yield COSTS[axis], text
    yield from _moved(question, one)


def _moved(question: Query, one: Combination) -> Iterator[tuple[float, str]]:
    if question.gpu and one.gpu and question.gpu.name != one.gpu.name:
        cost = COSTS["gpu"] + apart(question.gpu, one.gpu)
        yield cost, f"GPU {question.gpu.name} -> {one.gpu.name}"
    if question.machine and question.machine != one.machine:
        yield COSTS["machine"], f"{question.machine} -> {one.machine}"


def apart(one: GpuFact, other: GpuFact) -> float:
    return abs(float(one.capability) - float(other.capability))


_BUDGET: Final = 1500
# How many drivers are tried for one release and CUDA, from the oldest on.
_TRIED: Final = 12


def offers(
    judge: RuleEngine, ground: QueryContext, question: Query, count: int
) -> tuple[Suggestion, ...]:
    """Up to so many offers, the cheapest first; other hardware only where nothing else helps."""
    wanted = question
    if question.package:
        # The name ended or sees no GPU; what it names did not end, and sees one.
        wanted = replace(question, package="")
    for hardware in _hardware(judge.facts, wanted):
        search = _Search(judge, ground, wanted)
        for asked in hardware:
            search.look(asked, count)
        if search.found:
            named = (replace(one, changes=offer(question, one.one).changes) for one in search.found)
            return _distinct(sorted(named, key=lambda one: one.cost), count)
    return ()


def _distinct(found: Iterable[Suggestion], count: int) -> tuple[Suggestion, ...]:
    """No two that change the same to the same; of one release and CUDA only the cheapest."""
    chosen: dict[tuple[str, str, str], Suggestion] = {}
    for one in found:
        name = one.one.gpu.name if one.one.gpu else ""
        cuda = one.one.build.cuda if one.one.build else one.one.cuda
        chosen.setdefault((minor(one.one.version), cuda, name), one)
    return tuple(list(chosen.values())[:count])


def _hardware(facts: Facts, question: Query) -> Iterator[list[Query]]:
    """The question itself; then on another machine; then with other GPUs, the nearest first."""
    yield [question]
    usual = (question.gpu.machine if question.gpu else "") or X86_64
    if machine_of(question) != usual:
        yield [replace(question, machine=usual)]
    gpu = question.gpu
    if gpu is not None:
        others = [one for one in facts.gpus.values() if one.origin.certain and not one.machine]
        others.sort(key=lambda one: (one.kind != gpu.kind, apart(one, gpu)))
        unlike = {one.sm: one for one in reversed(others) if one.sm != gpu.sm}
        near = sorted(unlike.values(), key=lambda one: apart(one, gpu))
        yield [replace(question, gpu=one, machine="") for one in near[:6]]


def _pairs(facts: Facts, question: Query) -> list[tuple[float, str, str]]:
    """Releases with a CUDA each, and what the change to them costs, the cheapest first."""
    found = set()
    for version, release in facts.releases.get(question.framework, {}).items():
        cost = version_cost(question.version, version)
        if not question.cuda:
            found.add((cost, version, ""))
            continue
        for build in release.builds:
            if question.on_gpu and not build.cuda:
                continue
            for cuda in cudas(facts, build):
                price = cuda_cost(question.cuda, cuda) + (build.index != PYPI) * ELSEWHERE
                found.add((cost + price, version, cuda or CPU))
    return sorted(found, key=lambda one: (one[0], [-n for n in numbers(one[1])], one[2]))


def _choices(facts: Facts, asked: Query, axis: str) -> list[tuple[float, str]]:
    """What an axis may become (empty: anything), with its cost; first that it stays."""
    values = _drivers(facts, asked) if axis == "driver" else [""]
    return [(0.0, ""), *((COSTS[axis], value) for value in values)]


def _opened(asked: Query, axes: Iterable[str]) -> Query:
    """The question with all of these axes left open."""
    for axis in axes:
        asked = _changed(asked, axis, "")
    return asked


def _changed(asked: Query, axis: str, value: str) -> Query:
    match axis:
        case "driver":
            return replace(asked, driver=value)
        case "system":
            return replace(asked, system=None)
        case "python":
            return replace(asked, python="")
        case _:
            return replace(asked, cudnn="")


def _drivers(facts: Facts, asked: Query) -> list[str]:
    """Drivers that a rule could ask for: the floors of its CUDAs, the GPU's first and last."""
    found: list[str] = []
    release = facts.releases.get(asked.framework, {}).get(asked.version)
    builds = release.builds if release else ()
    its = {cuda for build in builds for cuda in cudas(facts, build) if cuda in facts.cuda}
    for cuda in [asked.cuda] if asked.cuda in facts.cuda else sorted(its):
        fact: CudaFact = facts.cuda[cuda]
        found += [fact.min_driver, fact.native_driver]
        found += fact.drivers.values() if cuda == asked.cuda else ()
    if asked.gpu:
        found += [one for one in (asked.gpu.first_driver, asked.gpu.last_driver) if one]
    higher = [one for one in found if driver_numbers(one) > driver_numbers(asked.driver)]
    lower = [asked.gpu.last_driver] if asked.gpu and asked.gpu.last_driver else []
    ordered = sorted({*higher, *lower} - {""}, key=driver_numbers)
    return ordered[:_TRIED]


# Rules whose doubts are no reason to send somebody elsewhere: what they doubt is seen at once.
_HARMLESS: Final = frozenset(("base-image", "python-life", "system-life", "gpu-host"))
# A refusal that reads neither holds on every system, with every Python.
_PLACE: Final = frozenset(("python", "distribution"))
# What a rule reads, by the axis of a question that may be changed for it.
_MENDABLE: Final[Mapping[str, str]] = {
    "python": "python",
    "distribution": "system",
    "cudnn": "cudnn",
    "driver": "driver",
}

_FIXED: Final = frozenset(_MENDABLE)


def _is_against(reason: RuleResult) -> bool:
    """Whether nobody should be sent to it: a refusal, or a doubt about whether it works at all."""
    if reason.rule == "driver-cuda":
        return reason.level != "support"  # a package that an image seldom has
    return reason.level == "refusal" or not (reason.certain or reason.rule in _HARMLESS)


def _is_less(one: Suggestion, other: Suggestion) -> bool:
    """Whether one changes a part of what the other changes, and needs no newer driver."""
    here, there = ({text.partition(" -> ")[0] for text in each.changes} for each in (one, other))
    return here < there and driver_numbers(one.one.driver) <= driver_numbers(other.one.driver)


class _Search:
    """One search: what it has found, and how many judgements are left to it."""

    def __init__(self, judge: RuleEngine, ground: QueryContext, question: Query) -> None:
        self.judge = judge
        self.ground = ground
        self.question = question
        self.left = _BUDGET
        self.found: list[Suggestion] = []

    def look(self, asked: Query, count: int) -> None:
        """Every release and CUDA by its cost, until none can be cheaper than what was found."""
        for cost, version, cuda in _pairs(self.judge.facts, asked):
            best = sorted(one.cost for one in self.found)[:count]
            if self.left <= 0 or (len(best) == count and cost >= best[-1]):
                return
            one = self._relaxed(replace(asked, version=version, cuda=cuda))
            if one is not None:
                self._keep(offer(self.question, one))

    def _keep(self, new: Suggestion) -> None:
        """Keep it, unless another asks for less; and let go of those that ask for more."""
        if not any(_is_less(one, new) for one in self.found):
            self.found = [one for one in self.found if not _is_less(new, one)]
            self.found.append(new)

    def _relaxed(self, asked: Query) -> Combination | None:
        """The cheapest way to make this release and CUDA work, changing what refusals speak of."""
        kept, blamed = self._first_valid(asked)
        if kept is not None:
            return kept
        axes = ("cudnn", "python", "system", "driver")
        free = [axis for axis in axes if axis in blamed and getattr(asked, axis)]
        if not free or self._first_valid(_opened(asked, free))[0] is None:
            return None
        tries = sorted(
            product(*(_choices(self.judge.facts, asked, axis) for axis in free)),
            key=lambda changes: sum(cost for cost, _ in changes),
        )
        for changes in tries[1:]:
            there = asked
            for axis, (cost, value) in zip(free, changes, strict=True):
                there = _changed(there, axis, value) if cost else there
            one, _ = self._first_valid(there)
            if one is not None or self.left <= 0:
                return one
        return None

    def _first_valid(self, asked: Query) -> tuple[Combination | None, frozenset[str]]:
        """The first combination with nothing against it; else the axes of a question to change.

        None of them where something is against every build that no such change would mend.
        """
        blamed: set[str] = set()
        for of_one_build in by_build(self.ground, asked):
            here: set[str] = set()
            for one in of_one_build:
                self.left -= 1
                if self.judge.excludes(one, _is_against, _FIXED):
                    here.clear()
                    break
                against = [reason for reason in self.judge.reasons(one) if _is_against(reason)]
                if not against:
                    return one, frozenset()
                reads = [frozenset(self.judge.reads(reason)) for reason in against]
                if self.left <= 0:
                    here.clear()
                    break
                here.update(_MENDABLE[axis] for read in reads for axis in read & _MENDABLE.keys())
                if any(_PLACE.isdisjoint(read) for read in reads):
                    break
            blamed |= here
        return None, frozenset(blamed)
