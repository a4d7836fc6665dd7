"""The nouns of lint: a finding, the rule that finds it, and all that rules look at."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Literal

from dlimg.choose.facts import Facts
from dlimg.choose.matrix import Matrix
from dlimg.choose.resolve import Resolution
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
class Offer:
    """What the index says of a wheel: `there`, `yanked` with its reason, or `gone`."""

    state: Literal["there", "yanked", "gone"]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Answers from outside: offers by a wheel's file, RECORDs by its sha256, digests by system.

    `unanswered` names who did not answer, and why.
    """

    offers: Mapping[str, Offer]
    records: Mapping[str, str]
    digests: Mapping[str, str]
    unanswered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSet:
    """Locks that hold just the same wheels, for one Python: what is true of one is true of all."""

    lock: Lock
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
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
    asked: Asked | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is looked for. Its page in docs/lint says `title`, `why`, an example and `remedy`.

    `severity` is in words, for it may depend; `online` when it needs what is `asked`.
    """

    id: str
    title: str
    severity: str
    why: str
    example: str
    remedy: str
    look: Callable[[Ground], Iterable[Finding]]
    online: bool = False
