"""The failures that are shown to users: one class for each exit code."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem: what is wrong, where (`file:line` or a cell), and a hint what to do."""

    message: str
    where: str = ""
    hint: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        hint = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{place}{self.message}{hint}"


class DlimgError(Exception):
    """A failure that is shown without a traceback; holds one problem or several."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        self.problems: tuple[Problem, ...] = (Problem(message=message, where=where, hint=hint),)
        super().__init__(message)

    @classmethod
    def of(cls, problems: Iterable[Problem]) -> "DlimgError":
        """Return one failure for all these problems."""
        all_problems = tuple(problems)
        error = cls(all_problems[0].message)
        error.problems = all_problems
        return error

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)


class Negative(DlimgError):
    """A negative answer: a build or check failed, something is stale or refused (exit 1)."""

    exit_code = 1


class BadInput(DlimgError):
    """Wrong usage, or a wrong file (exit 2)."""

    exit_code = 2


class NotRun(DlimgError):
    """A required check was not run (exit 3)."""

    exit_code = 3


class NoEngine(DlimgError):
    """No container engine or base image is available (exit 4)."""

    exit_code = 4


class NetworkFailure(DlimgError):
    """An index, a registry or a mirror did not answer as it should (exit 5)."""

    exit_code = 5


def nearest(name: str, names: Iterable[str]) -> str:
    """Return a hint with the nearest of the names, or else with all of them."""
    choices = sorted(names)
    close = get_close_matches(name, choices, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"use one of {', '.join(choices)}" if choices else ""
