"""Values of lint: findings, rules, and the context that rules examine."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Final, Literal

from dlimg.facts.load import Facts
from dlimg.facts.system_libraries import SystemLibraries
from dlimg.matrix.model import Family, Matrix
from dlimg.matrix.resolve import Resolution
from dlimg.model import Lock
from dlimg.wheel.elf import WheelNeeds


class Severity(StrEnum):
    """Effect of a finding: an error fails, a warning fails with --strict, a note never does."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One finding; `about` is its subject, and `source` the origin of the facts that it uses."""

    id: str
    severity: Severity
    file: str
    line: int
    about: str
    message: str
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexAnswer:
    """The index's state of a wheel: `there`, `yanked` with its reason, or `gone`."""

    state: Literal["there", "yanked", "gone"]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineAnswers:
    """Answers of indexes and registries.

    `offers` are by a wheel's file, `records` by its sha256, `digests` by operating system.
    `unanswered` names the services that did not answer, with the reason.
    """

    offers: Mapping[str, IndexAnswer]
    records: Mapping[str, str]
    digests: Mapping[str, str]
    unanswered: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSet:
    """Cells with the same wheels for one Python, which share their findings."""

    lock: Lock
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LintContext:
    """The input of rules; `answers` is None without `--online`.

    `locks` has the existing locks by cell id, `lock_files` their files, and `lock_sets` the same
    locks without repeats. `needs` and `wheel_files` are what is known of wheels, by their sha256,
    `unread_wheels` counts those whose needs are not known, and `libraries` are those of the
    distributions.
    """

    matrix: Matrix
    resolution: Resolution
    facts: Facts
    today: date
    locks: Mapping[str, Lock]
    lock_files: Mapping[str, str]
    lock_sets: tuple[LockSet, ...] = ()
    answers: OnlineAnswers | None = None
    needs: Mapping[str, WheelNeeds] = field(default_factory=dict)
    unread_wheels: int = 0
    libraries: SystemLibraries | None = None
    wheel_files: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def brought(self, lock: Lock) -> frozenset[str]:
        """Return the names of files in the wheels of a lock, as far as they were read."""
        return frozenset(
            name for wheel in lock.wheels for name in self.wheel_files.get(wheel.sha256, ())
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LintRule:
    """A kind of finding. Its page in docs/lint has `title`, `why`, an example and `remedy`.

    `severity` is prose, because it may depend on the case; `online` rules need answers, and those
    with `reads_wheels` the needs of the locked wheels.
    """

    id: str
    title: str
    severity: str
    why: str
    example: str
    remedy: str
    find: Callable[[LintContext], Iterable[Finding]]
    online: bool = False
    reads_wheels: bool = False

    def can_find_all(self, context: LintContext) -> bool:
        """Return whether the context has all that this rule judges."""
        if self.online:
            return context.answers is not None and not context.answers.unanswered
        return not (self.reads_wheels and context.unread_wheels)


# Lines above the wheels in a lock; the wheels are sorted by name.
_HEADER_LINES: Final = 7


def lock_line(lock: Lock, name: str) -> int:
    """Return the line of a wheel in its lock's file."""
    names = sorted(wheel.name for wheel in lock.wheels)
    return _HEADER_LINES + 1 + names.index(name)


def axis_line(family: Family, axis: str) -> int:
    """Return the line of an axis of a family."""
    return family.lines.get(axis, family.line)


def lock_file(context: LintContext, cell: str) -> str:
    return context.lock_files.get(cell, f"locks/{cell}.json")


def shorten_list(names: list[str], most: int = 3) -> str:
    """Return text such as `a, b, c and 4 more`."""
    shown = ", ".join(names[:most])
    rest = len(names) - most
    return f"{shown} and {rest} more" if rest > 0 else shown
