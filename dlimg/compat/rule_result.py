"""Results of rules: a refusal, a warning or a confirmation, with its source."""

from collections.abc import Iterable
from typing import Final, Literal, NamedTuple, TypeAlias

Stage: TypeAlias = Literal["install", "image", "runtime"]
Level: TypeAlias = Literal["refusal", "warning", "support"]
STAGES: Final[tuple[Stage, ...]] = ("install", "image", "runtime")
_ORDER: Final = {"refusal": 0, "warning": 1, "support": 2}


class RuleResult(NamedTuple):
    """One rule's result and its source; a refusal also has the stage `at` which it fails.

    An uncertain result is based on an unconfirmed fact: it warns, and never refuses.
    """

    rule: str
    message: str
    source: str
    certain: bool = True
    at: Stage | None = None
    level: Level = "support"


def refuse(rule: str, at: Stage, message: str, source: str, *, certain: bool = True) -> RuleResult:
    """Return a refusal; a warning if the fact behind it is not certain."""
    if not certain:
        return warn(rule, message, source, certain=False)
    return RuleResult(rule=rule, message=message, source=source, at=at, level="refusal")


def warn(rule: str, message: str, source: str, *, certain: bool = True) -> RuleResult:
    return RuleResult(rule=rule, message=message, source=source, certain=certain, level="warning")


def confirm(rule: str, message: str, source: str, *, certain: bool = True) -> RuleResult:
    return RuleResult(rule=rule, message=message, source=source, certain=certain)


def refusals(results: Iterable[RuleResult]) -> tuple[RuleResult, ...]:
    """Return the results that make a combination invalid."""
    return tuple(result for result in results if result.level == "refusal")


def failing_stage(results: Iterable[RuleResult]) -> Stage | None:
    """Return the first stage at which the combination fails, or None if no rule refuses it."""
    failed = {result.at for result in results if result.level == "refusal"}
    return next((stage for stage in STAGES if stage in failed), None)


def worst_first(results: Iterable[RuleResult]) -> tuple[RuleResult, ...]:
    """Return refusals in the order of their stages, then warnings, then confirmations."""
    stages = {stage: number for number, stage in enumerate(STAGES)}
    return tuple(
        sorted(
            results,
            key=lambda result: (_ORDER[result.level], stages[result.at] if result.at else 0),
        )
    )
