"""The answer about several requirements: the facts' verdict, uv's resolution, suggestions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from dlimg.compat.rule_result import STAGES, Stage
from dlimg.compat.several import SeveralQuery, SeveralVerdict
from dlimg.lock.conflict import Conflict

Resolution: TypeAlias = Literal["resolved", "refused", "no answer", "not asked"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """uv's answer: versions by package, or the conflict; `note` is the reason for no answer."""

    outcome: Resolution
    packages: Mapping[str, str] = field(default_factory=dict)
    conflict: Conflict | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralSuggestion:
    """Requirements that work together, the changes, and uv's resolution of them."""

    requirements: tuple[str, ...]
    python: str
    changes: tuple[str, ...]
    resolution: Resolution


@dataclass(frozen=True, slots=True, kw_only=True)
class SeveralAnswer:
    """The answer about several requirements: the facts' verdict, and the resolution."""

    query: SeveralQuery
    verdict: SeveralVerdict
    resolved: Resolved
    nearest: tuple[SeveralSuggestion, ...] = ()

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The conflict that uv found, else those that the facts know."""
        if self.resolved.conflict:
            return (self.resolved.conflict,)
        # What uv resolved is no conflict, whatever the facts say.
        return () if self.resolved.outcome == "resolved" else self.verdict.conflicts

    @property
    def fails_at(self) -> Stage | None:
        if self.conflicts:
            return "install"
        failed = {each.answer.fails_at for each in self.verdict.answers}
        return next((stage for stage in STAGES if stage in failed), None)

    @property
    def valid(self) -> bool:
        return self.fails_at is None
