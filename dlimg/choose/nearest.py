"""The nearest combinations that work: least change first, every one of them judged by the rules.

A change costs more the more it asks of a person: a patch or minor of the framework or CUDA, then
Python, the operating system, a driver, and only when nothing else helps another GPU or machine.
Releases and CUDAs are tried in the order of their cost; the rest is changed only where a refusal
speaks of it. The search is bounded in judgements, so it is bounded in time.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from typing import Final

from dlimg.choose.asked import CPU
from dlimg.choose.combination import Combination
from dlimg.choose.facts import Facts
from dlimg.choose.facts_nouns import CudaFact, Gpu
from dlimg.choose.judge import Judge
from dlimg.choose.numbered import driver_numbers, minor, numbers
from dlimg.choose.question import Question, completions, cudas, machine_of
from dlimg.choose.reason import Reason, refusals
from dlimg.choose.releases import PYPI, X86_64

COSTS: Final[Mapping[str, float]] = {
    "cudnn": 1,
    "python": 5,
    "system": 7,
    "driver": 10,
    "machine": 25,
    "gpu": 40,
}
_BUDGET: Final = 4000
_NO_GPU: Final = 9.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A combination that works, what it changes (`CUDA 13.0 -> 12.4`), and how much that is."""

    one: Combination
    changes: tuple[str, ...]
    cost: float


class _Purse:
    """How many judgements are left."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self) -> bool:
        self.left -= 1
        return self.left >= 0


def offers(judge: Judge, question: Question, today: date, count: int) -> tuple[Offer, ...]:
    """Up to so many offers, the cheapest first; other hardware only where nothing else helps."""
    wanted = question
    if question.package == "tensorflow-gpu":
        # The name ended, what it names did not.
        wanted = replace(question, package="")
    for hardware in _hardware(judge.facts, wanted):
        purse = _Purse(_BUDGET)
        found: list[Offer] = []
        for asked in hardware:
            found += _search(judge, question, asked, today, count, purse)
        if found:
            best = sorted(found, key=lambda one: one.cost)
            return _distinct(best, count)
    return ()


def _distinct(found: Iterable[Offer], count: int) -> tuple[Offer, ...]:
    """No two that change the same to the same; of one release and CUDA only the cheapest."""
    chosen: dict[tuple[str, str, str], Offer] = {}
    for one in found:
        name = one.one.gpu.name if one.one.gpu else ""
        chosen.setdefault((minor(one.one.version), one.one.cuda, name), one)
    return tuple(list(chosen.values())[:count])


def _hardware(facts: Facts, question: Question) -> Iterator[list[Question]]:
    """The question itself; then on another machine; then with other GPUs, the nearest first."""
    yield [question]
    if machine_of(question) != X86_64:
        yield [replace(question, machine=X86_64)]
    gpu = question.gpu
    if gpu is not None:
        others = [one for one in facts.gpus.values() if one.origin.certain and not one.machine]
        others.sort(key=lambda one: (one.kind != gpu.kind, _apart(one, gpu)))
        unlike = {one.sm: one for one in reversed(others) if one.sm != gpu.sm}
        near = sorted(unlike.values(), key=lambda one: _apart(one, gpu))
        yield [replace(question, gpu=one, machine="") for one in near[:4]]


def _apart(one: Gpu, other: Gpu) -> float:
    return abs(float(one.capability) - float(other.capability))


def _search(
    judge: Judge, question: Question, asked: Question, today: date, count: int, purse: _Purse
) -> list[Offer]:
    found: list[Offer] = []
    for cost, version, cuda in _pairs(judge.facts, asked):
        worst = sorted(one.cost for one in found)[:count]
        if purse.left <= 0 or (len(worst) == count and cost >= worst[-1]):
            break
        there = replace(asked, version=version, cuda=cuda)
        found += _relaxed(judge, question, there, today, purse)
    return found


def _pairs(facts: Facts, question: Question) -> list[tuple[float, str, str]]:
    """Releases with a CUDA each, and what the change to them costs, the cheapest first."""
    found = set()
    for version, release in facts.releases.get(question.framework, {}).items():
        cost = _version_cost(question.version, version)
        if not question.cuda:
            found.add((cost, version, ""))
            continue
        for build in release.builds:
            for cuda in cudas(facts, build):
                price = _cuda_cost(question.cuda, cuda) + (build.index != PYPI) * 0.3
                found.add((cost + price, version, cuda or CPU))
    return sorted(found, key=lambda one: (one[0], [-n for n in numbers(one[1])], one[2]))


def _version_cost(old: str, new: str) -> float:
    here, there = (*numbers(old), 0, 0, 0)[:4], (*numbers(new), 0, 0, 0)[:4]
    if old == new:
        return 0.0
    if here[0] != there[0]:
        return 8.0 + abs(here[0] - there[0]) + 0.05 * abs(there[1])
    if here[1] != there[1]:
        return 1.5 + 0.5 * abs(here[1] - there[1]) + 0.01 * there[2]
    return 1.0 + 0.01 * abs(here[2] - there[2])


def _cuda_cost(old: str, new: str) -> float:
    if (old == CPU) != (not new):
        return _NO_GPU
    here, there = numbers(old), numbers(new)
    if old == CPU or here == there[: len(here)]:
        return 0.0
    if here[0] != there[0]:
        return 2.0 + 0.5 * abs(here[0] - there[0]) + (0.02 * (9 - there[1]))
    return 1.0 + 0.1 * abs(here[1] - there[1])


def _relaxed(
    judge: Judge, question: Question, asked: Question, today: date, purse: _Purse
) -> list[Offer]:
    """The cheapest way to make this release and CUDA work, changing what its refusals speak of."""
    kept, blamed = _first_valid(judge, asked, today, purse)
    if kept is not None:
        return [_offer(question, kept)]
    free = [axis for axis in ("cudnn", "python", "system", "driver") if axis in blamed]
    tries = sorted(
        product(*(_choices(judge.facts, asked, axis) for axis in free)),
        key=lambda changes: sum(cost for cost, _ in changes),
    )
    for changes in tries[1:]:
        there = asked
        for axis, (cost, value) in zip(free, changes, strict=True):
            there = _changed(there, axis, value) if cost else there
        one, _ = _first_valid(judge, there, today, purse)
        if one is not None:
            return [_offer(question, one)]
        if purse.left <= 0:
            break
    return []


def _choices(facts: Facts, asked: Question, axis: str) -> list[tuple[float, str]]:
    """What an axis may become (empty: anything), with its cost; first that it stays."""
    values = _drivers(facts, asked) if axis == "driver" else [""]
    return [(0.0, ""), *((COSTS[axis], value) for value in values)]


def _changed(asked: Question, axis: str, value: str) -> Question:
    match axis:
        case "driver":
            return replace(asked, driver=value)
        case "system":
            return replace(asked, system=None)
        case "python":
            return replace(asked, python="")
        case _:
            return replace(asked, cudnn="")


def _drivers(facts: Facts, asked: Question) -> list[str]:
    """Drivers that a rule could ask for: this CUDA's floors, the GPU's first and last branch."""
    found: list[str] = []
    for cuda in [asked.cuda] if asked.cuda in facts.cuda else list(facts.cuda):
        fact: CudaFact = facts.cuda[cuda]
        found += [fact.min_driver, *fact.drivers.values()]
    if asked.gpu:
        found += [one for one in (asked.gpu.first_driver, asked.gpu.last_driver) if one]
    higher = [one for one in found if driver_numbers(one) > driver_numbers(asked.driver)]
    lower = [asked.gpu.last_driver] if asked.gpu and asked.gpu.last_driver else []
    ordered = sorted({*higher, *lower}, key=driver_numbers)
    return ordered[:12]


# Rules whose doubts are no reason to send somebody elsewhere: what they doubt is seen at once.
_HARMLESS: Final = frozenset(("base-image", "python-life", "system-life", "gpu-host"))
# A refusal that reads neither holds on every system, with every Python.
_PLACE: Final = frozenset(("python", "distribution"))
_BLAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "python": ("python",),
    "distribution": ("system",),
    "platform": ("system",),
    "cudnn": ("cudnn",),
    "driver": ("driver",),
}


def _first_valid(
    judge: Judge, asked: Question, today: date, purse: _Purse
) -> tuple[Combination | None, frozenset[str]]:
    """The first combination that nothing refuses; else what the refusals read."""
    blamed: set[str] = set()
    hopeless: tuple[int, str] | None = None
    for one in completions(judge.facts, asked, today):
        here = (id(one.build), one.cuda)
        if here == hopeless:
            continue
        if not purse.take():
            break
        reasons = judge.reasons(one)
        against = refusals(reasons)
        if not against and not any(_in_doubt(reason) for reason in reasons):
            return one, frozenset()
        if not against:
            continue
        read = [axis for reason in against for axis in judge.reads(reason)]
        blamed.update(*(_BLAMES.get(axis, ()) for axis in read))
        if any(_PLACE.isdisjoint(judge.reads(reason)) for reason in against):
            hopeless = here
    return None, frozenset(blamed)


def _in_doubt(reason: Reason) -> bool:
    if reason.rule == "driver-cuda":
        return reason.level == "warning"  # needs a package that an image seldom has
    return not reason.certain and reason.rule not in _HARMLESS


def _offer(question: Question, one: Combination) -> Offer:
    found = list(_changes(question, one))
    cost = sum(price for price, _ in found)
    cost += 0.3 if one.build and one.build.index != PYPI else 0.0
    return Offer(one=one, changes=tuple(text for _, text in found), cost=round(cost, 3))


def _changes(question: Question, one: Combination) -> Iterator[tuple[float, str]]:
    """What differs from what was asked for, with its cost; what was left open costs nothing."""
    if one.version != question.version:
        cost = _version_cost(question.version, one.version)
        yield cost, f"{one.framework} {question.version} -> {one.version}"
    price = _cuda_cost(question.cuda, one.cuda) if question.cuda else 0.0
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


def _moved(question: Question, one: Combination) -> Iterator[tuple[float, str]]:
    if question.gpu and one.gpu and question.gpu.name != one.gpu.name:
        cost = COSTS["gpu"] + _apart(question.gpu, one.gpu)
        yield cost, f"GPU {question.gpu.name} -> {one.gpu.name}"
    if question.machine and question.machine != one.machine:
        yield COSTS["machine"], f"{question.machine} -> {one.machine}"
