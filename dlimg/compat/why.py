"""A question -> valid or not, each rule that spoke, and the nearest combinations that work."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from dlimg.compat.combination import Combination
from dlimg.compat.query import Query, QueryContext, completions
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import RuleResult, Stage, fails_at, refusals, worst_first
from dlimg.compat.suggest import Suggestion, offers


@dataclass(frozen=True, slots=True, kw_only=True)
class WhyAnswer:
    """`one` is what was judged: of all that a question leaves open, what works or fails least.

    An invalid answer has refusals and warnings; a valid one also what speaks for it.
    """

    one: Combination
    fails_at: Stage | None
    reasons: tuple[RuleResult, ...]
    nearest: tuple[Suggestion, ...] = ()

    @property
    def valid(self) -> bool:
        return self.fails_at is None


def answer(judge: RuleEngine, question: Query, today: date, *, count: int = 5) -> WhyAnswer:
    """The answer to a question, with so many of the nearest combinations where it is no."""
    ground = QueryContext(judge.facts, today)
    best = least_refused(judge, completions(ground, question))
    found = answered(judge, best)
    if found.valid or not count:
        return found
    near = offers(judge, ground, question, count)
    return WhyAnswer(one=best, fails_at=found.fails_at, reasons=found.reasons, nearest=near)


def least_refused(judge: RuleEngine, combinations: Iterable[Combination]) -> Combination:
    """The first that no rule refuses or doubts; else the one that the fewest doubt.

    A build without CUDA only where those with CUDA are refused. Where all are: the one of the most
    usual build that the fewest rules refuse, for a person thinks of that build.
    """
    weighed: list[tuple[int, bool, int, Combination]] = []
    for one in combinations:
        reasons = judge.reasons(one)
        doubts = sum(1 for reason in reasons if not reason.certain)
        weighed.append((len(refusals(reasons)), not one.cuda, doubts, one))
        if weighed[-1][0] == doubts == 0:
            break
    best = min(weighed, key=lambda each: each[:3])
    if best[0]:
        usual = weighed[0][3].build
        best = min((each for each in weighed if each[3].build is usual), key=lambda each: each[:3])
    return best[3]


def answered(judge: RuleEngine, one: Combination) -> WhyAnswer:
    """What the rules say about one combination, without a search for others."""
    reasons = worst_first(judge.reasons(one))
    stage = fails_at(reasons)
    if stage is not None:
        reasons = tuple(reason for reason in reasons if reason.level != "support")
    return WhyAnswer(one=one, fails_at=stage, reasons=reasons)
