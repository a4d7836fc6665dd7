"""The answer to a question: valid or not, each rule's reason, the nearest valid combinations."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from dlimg.compat.combination import Combination
from dlimg.compat.query import Query, QueryContext, completions
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import RuleResult, Stage, failing_stage, refusals, worst_first
from dlimg.compat.suggest import Suggestion, suggest


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyAnswer:
    """An answer about the `combination` that was judged.

    Of several that a question leaves open it is one that works, or else that fails least. An
    invalid answer has refusals and warnings; a valid one also confirmations.
    """

    combination: Combination
    fails_at: Stage | None
    reasons: tuple[RuleResult, ...]
    nearest: tuple[Suggestion, ...] = ()

    @property
    def valid(self) -> bool:
        return self.fails_at is None


def answer(engine: RuleEngine, query: Query, today: date, *, count: int = 5) -> WhyAnswer:
    """Judge a query; if it is refused, also suggest up to `count` of the nearest valid ones."""
    context = QueryContext(engine.facts, today)
    best = least_refused(engine, completions(context, query))
    judged = judge(engine, best)
    if judged.valid or not count:
        return judged
    nearest = suggest(engine, context, query, count)
    return WhyAnswer(
        combination=best, fails_at=judged.fails_at, reasons=judged.reasons, nearest=nearest
    )


def least_refused(engine: RuleEngine, combinations: Iterable[Combination]) -> Combination:
    """Return the first combination without refusals and doubts, else that with the fewest.

    A build without CUDA is returned only if those with CUDA are refused. If all are refused, it is
    the one that the fewest rules refuse, among combinations with the most usual build, which people
    usually mean.
    """
    weighed: list[tuple[int, bool, int, Combination]] = []
    for combination in combinations:
        reasons = engine.reasons(combination)
        doubts = sum(1 for reason in reasons if not reason.certain)
        refused = len(refusals(reasons))
        weighed.append((refused, not combination.cuda, doubts, combination))
        if refused == doubts == 0:
            break
    best = min(weighed, key=lambda entry: entry[:3])
    if best[0]:
        usual = weighed[0][3].build
        same_build = (entry for entry in weighed if entry[3].build is usual)
        best = min(same_build, key=lambda entry: entry[:3])
    return best[3]


def judge(engine: RuleEngine, combination: Combination) -> WhyAnswer:
    """Return what the rules say about one combination, without a search for others."""
    reasons = worst_first(engine.reasons(combination))
    stage = failing_stage(reasons)
    if stage is not None:
        reasons = tuple(reason for reason in reasons if reason.level != "support")
    return WhyAnswer(combination=combination, fails_at=stage, reasons=reasons)
