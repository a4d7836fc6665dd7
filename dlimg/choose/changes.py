"""What a change costs, and what it is in words: from a question to a combination that works.

A change costs more the more it asks of a person: a patch or minor of the framework or CUDA, then
Python, the operating system, a driver, and last of all another machine or GPU.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from dlimg.choose.asked import CPU
from dlimg.choose.combination import Combination
from dlimg.choose.facts_nouns import Gpu
from dlimg.choose.numbered import numbers
from dlimg.choose.question import Question
from dlimg.choose.releases import PYPI

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
class Offer:
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


def offer(question: Question, one: Combination) -> Offer:
    found = list(_changes(question, one))
    cost = sum(price for price, _ in found)
    cost += ELSEWHERE if one.build and one.build.index != PYPI else 0.0
    return Offer(one=one, changes=tuple(text for _, text in found), cost=round(cost, 3))


def _changes(question: Question, one: Combination) -> Iterator[tuple[float, str]]:
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


def _moved(question: Question, one: Combination) -> Iterator[tuple[float, str]]:
    if question.gpu and one.gpu and question.gpu.name != one.gpu.name:
        cost = COSTS["gpu"] + apart(question.gpu, one.gpu)
        yield cost, f"GPU {question.gpu.name} -> {one.gpu.name}"
    if question.machine and question.machine != one.machine:
        yield COSTS["machine"], f"{question.machine} -> {one.machine}"


def apart(one: Gpu, other: Gpu) -> float:
    return abs(float(one.capability) - float(other.capability))
