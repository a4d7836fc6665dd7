"""What a rule says about a combination: against it, for it, or a warning; and its source."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

Stage: TypeAlias = Literal["install", "image", "runtime"]
Level: TypeAlias = Literal["refusal", "warning", "support"]
STAGES: Final[tuple[Stage, ...]] = ("install", "image", "runtime")
_ORDER: Final = {"refusal": 0, "warning": 1, "support": 2}


class RuleResult(NamedTuple):
    """One rule's word, and who says so; only a refusal has a stage `at` which it strikes.

    An uncertain one rests on what nobody could confirm: it warns, and never refuses.
    """

    rule: str
    message: str
    source: str
    certain: bool = True
    at: Stage | None = None
    level: Level = "support"


def against(rule: str, at: Stage, message: str, source: str, *, certain: bool = True) -> RuleResult:
    """A refusal; a warning where the fact behind it was never confirmed."""
    if not certain:
        return warning(rule, message, source, certain=False)
    return RuleResult(rule=rule, message=message, source=source, at=at, level="refusal")


def warning(rule: str, message: str, source: str, *, certain: bool = True) -> RuleResult:
    return RuleResult(rule=rule, message=message, source=source, certain=certain, level="warning")


def support(rule: str, message: str, source: str, *, certain: bool = True) -> RuleResult:
    return RuleResult(rule=rule, message=message, source=source, certain=certain)


def refusals(reasons: Iterable[RuleResult]) -> tuple[RuleResult, ...]:
    """Those that make a combination invalid."""
    return tuple(one for one in reasons if one.level == "refusal")


def fails_at(reasons: Iterable[RuleResult]) -> Stage | None:
    """The first stage at which it fails, or None where nothing refuses."""
    struck = {one.at for one in reasons if one.level == "refusal"}
    return next((stage for stage in STAGES if stage in struck), None)


def worst_first(reasons: Iterable[RuleResult]) -> tuple[RuleResult, ...]:
    """Refusals in the order of their stages, then warnings, then what speaks for it."""
    stages = {stage: number for number, stage in enumerate(STAGES)}
    return tuple(
        sorted(reasons, key=lambda one: (_ORDER[one.level], stages[one.at] if one.at else 0))
    )
