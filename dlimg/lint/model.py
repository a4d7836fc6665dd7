"""The nouns of lint: a finding, the rule that finds it, and all that rules look at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Literal

from dlimg.facts.load import Facts
from dlimg.matrix.model import Family, Matrix
from dlimg.matrix.resolve import Resolution
from dlimg.model import Lock


class Severity(StrEnum):
    """What a finding does: an error fails, a warning fails with --strict, a note never does."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was found: `about` is what it is about, `source` who says so."""

    id: str
    severity: Severity
    file: str
    line: int
    about: str
    message: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAnswer:
    """What the index says of a wheel: `there`, `yanked` with its reason, or `gone`."""

    state: Literal["there", "yanked", "gone"]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineAnswers:
    """Answers from outside: offers by a wheel's file, RECORDs by its sha256, digests by system.

    `unanswered` names who did not answer, and why.
    """

    offers: Mapping[str, IndexAnswer]
    records: Mapping[str, str]
    digests: Mapping[str, str]
    unanswered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSet:
    """Locks that hold just the same wheels, for one Python: what is true of one is true of all."""

    lock: Lock
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LintContext:
    """All that rules look at; `asked` is None where nothing outside was asked.

    `locks` has the locks that there are by cell id, `lock_files` their files, and `lock_sets` the
    same locks, those that are alike once.
    """

    matrix: Matrix
    resolution: Resolution
    facts: Facts
    today: date
    locks: Mapping[str, Lock]
    lock_files: Mapping[str, str]
    lock_sets: tuple[LockSet, ...] = ()
    asked: OnlineAnswers | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LintRule:
    """What is looked for. Its page in docs/lint says `title`, `why`, an example and `remedy`.

    `severity` is in words, for it may depend; `online` when it needs what is `asked`.
    """

    id: str
    title: str
    severity: str
    why: str
    example: str
    remedy: str
    look: Callable[[LintContext], Iterable[Finding]]
    online: bool = False


# `dlimg lock` writes seven lines above the wheels, and the wheels by name.
_ABOVE = 7


def lock_line(lock: Lock, name: str) -> int:
    """The line of a wheel in its lock's file."""
    names = sorted(wheel.name for wheel in lock.wheels)
    return _ABOVE + 1 + names.index(name)


def axis_line(family: Family, axis: str) -> int:
    """The line of an axis of a family."""
    return family.lines.get(axis, family.line)


def lock_file(ground: LintContext, cell: str) -> str:
    return ground.lock_files.get(cell, f"locks/{cell}.json")


def shorten_list(names: list[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    shown = ", ".join(names[:most])
    rest = len(names) - most
    return f"{shown} and {rest} more" if rest > 0 else shown
