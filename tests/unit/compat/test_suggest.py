"""Suggestions: valid by the same rules, least change first, found in bounded time."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from dlimg.compat.combination import Combination
from dlimg.compat.parse_names import CPU
from dlimg.compat.query import Query
from dlimg.compat.rule_engine import CompatRule, RuleEngine, rules
from dlimg.compat.rule_result import RuleResult, refusals
from dlimg.compat.why import answer as answer_to
from dlimg.facts.load import Facts
from dlimg.pipeline.why import query_of
from tests.support.large_matrix import many_cells
from tests.support.why_tables import TODAY, answer, engine, facts, question

NOTHING = some.just("")


@some.composite
def questions(draw: some.DrawFn) -> Query:
    known = facts()
    framework = draw(some.sampled_from(sorted(known.releases)))
    cuda = draw(NOTHING | some.sampled_from([*known.cuda, CPU]))
    with_gpu = cuda != CPU
    gpus = sorted(known.gpu_names)
    drivers = ["390.48", "450.80.02", "470", "525.60.13", "550.54.15", "575", "580.65.06", "610.43"]
    return Query(
        framework=framework,
        version=draw(some.sampled_from(sorted(known.releases[framework]))),
        cuda=cuda,
        cudnn=draw(NOTHING | some.sampled_from(["7", "8", "9", "9.5"])) if with_gpu else "",
        python=draw(NOTHING | some.sampled_from(sorted(known.pythons))),
        system=draw(some.none() | some.sampled_from(list(known.distributions.values()))),
        gpu=known.gpu_names[draw(some.sampled_from(gpus))] if with_gpu and draw(BOOL) else None,
        driver=draw(NOTHING | some.sampled_from(drivers)) if with_gpu else "",
        arch=draw(some.sampled_from(["", "", "x86_64", "aarch64"])),
    )


BOOL = some.booleans()


@settings(suppress_health_check=list(HealthCheck))
@given(questions())
def test_every_suggestion_is_valid(question: Query) -> None:
    judged = answer_to(engine(), question, TODAY)
    assert judged.valid is not bool(refusals(judged.reasons))
    for reason in judged.reasons:
        assert reason.message
        assert reason.source
        assert reason.certain or reason.level != "refusal"
    for suggestion in judged.nearest:
        assert not refusals(engine().reasons(suggestion.combination))
        assert suggestion.changes
    costs = [suggestion.cost for suggestion in judged.nearest]
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    ("ask", "first"),
    [
        ("torch==2.6.0 --cuda 13.0", "CUDA 13.0 -> 12.4"),
        ("torch==2.6.0 --cuda 12.5", "CUDA 12.5 -> 12.4"),
        ("torch==2.8.0 --python 3.14", "torch 2.8.0 -> 2.9.0"),
        ("torch==2.7.0 --os alpine", "Alpine 3 -> Debian 13"),
        ("torch==2.6.0 --cuda 12.4 --cudnn 8", "cuDNN 8 -> 9.1.0.70"),
        ("torch==2.5.1 --gpu 'RTX 5090'", "torch 2.5.1 -> 2.7.0"),
        ("torch==2.15.0 --gpu V100", "torch 2.15.0 -> 2.14.0"),
        ("torch==2.11.0 --gpu T4 --arch arm64", "aarch64 -> x86_64"),
        ("torch==2.15.0 --gpu GB10 --arch x86_64", "x86_64 -> aarch64"),
        ("torch==2.15.0 --gpu 'Jetson AGX Orin' --arch x86_64", "x86_64 -> aarch64"),
        ("jax==0.6.1 --cuda 12.9", "jax 0.6.1 -> 0.6.2"),
        ("tensorflow==2.21.0 --cuda 13.0", "CUDA 13.0 -> 12.9"),
        ("torch==1.13.1 --gpu K80 --driver 525", "driver 525 -> 470"),
        ("torch==2.15.0 --gpu K80", "torch 2.15.0 -> 2.5.0"),
        ("'jax[cuda12]==0.4.38' --gpu GH200", "jax 0.4.38 -> 0.4.37"),
        ("jax==0.4.38 --gpu GH200", "jax 0.4.38 -> 0.4.37"),
    ],
)
def test_the_smallest_change_is_suggested_first(ask: str, first: str) -> None:
    judged = answer(ask, count=5)
    assert not judged.valid
    assert judged.nearest
    assert judged.nearest[0].changes[0] == first


def test_an_older_driver_gets_the_build_for_an_older_cuda() -> None:
    judged = answer("torch==2.6.0 --driver 520.61.05")
    assert judged.valid
    assert judged.combination.cuda == "11.8"


def test_hardware_is_changed_last() -> None:
    """A GPU that another release runs on is kept, whatever else must change."""
    judged = answer("torch==2.6.0 --cuda 13.0 --python 3.14 --os alpine --gpu V100", count=5)
    assert judged.nearest
    for suggestion in judged.nearest:
        assert suggestion.combination.gpu is not None
        assert suggestion.combination.gpu.name == "V100"


def test_a_build_whose_code_is_not_known_comes_before_other_hardware() -> None:
    """JAX 0.4.38 alone has no CUDA wheel for aarch64; nobody has read what code others have."""
    judged = answer("'jax[cuda12]==0.4.38' --gpu GH200", count=5)
    assert not judged.valid
    assert judged.nearest
    for suggestion in judged.nearest:
        assert suggestion.combination.gpu is not None
        assert suggestion.combination.gpu.name == "GH200"
        assert suggestion.changes[-1] == "it is not known whether it has code for sm_90"


def test_the_search_for_suggestions_is_bounded() -> None:
    """The search is bounded where nothing works."""
    count = 0

    class Counting(RuleEngine):
        def reasons(self, combination: Combination) -> tuple[RuleResult, ...]:
            nonlocal count
            count += 1
            return super().reasons(combination)

    ask = "tensorflow==1.15.5 --gpu B200 --driver 390.48 --python 3.7 --os centos7 --cudnn 7"
    query = query_of(facts(), question(ask))
    judged = answer_to(Counting(facts(), rules(TODAY)), query, TODAY)
    assert not judged.valid
    assert count < 5000


def test_a_rule_is_asked_once_for_each_set_of_values() -> None:
    """A rule is checked once for each set of values, however many cells have it."""
    checks = 0

    def counted(rule: CompatRule) -> CompatRule:
        def check(known: Facts, combination: Combination) -> RuleResult | None:
            nonlocal checks
            checks += 1
            return rule.check(known, combination)

        return CompatRule(id=rule.id, reads=rule.reads, check=check)

    counting = RuleEngine(facts(), [counted(rule) for rule in rules(TODAY)])
    cells = many_cells(facts(), 10_000)
    plain = engine()
    for combination in cells:
        assert counting.reasons(combination) == plain.reasons(combination)
    assert checks < len(cells) * len(counting.rules) / 50
