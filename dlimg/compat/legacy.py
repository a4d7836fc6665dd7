"""Environments of old tutorials and platforms: what can still be had, and what replaces it."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from dlimg.compat.combination import Combination
from dlimg.compat.parse_names import CPU, requirement_named, system_named
from dlimg.compat.query import Query, QueryContext, completions
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import RuleResult, against, fails_at, support, warning, worst_first
from dlimg.compat.suggest import Suggestion, offer, offers
from dlimg.compat.why import WhyAnswer, answered, least_refused
from dlimg.document.versions import newest
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.facts.model import LegacyEnvironment


def legacy_named(facts: Facts, text: str) -> LegacyEnvironment | None:
    """The environment of this name (`tensorflow-1.0`, `Colab 2026.01`), or None."""
    wanted = _plain(text)
    return next((one for name, one in facts.legacy.items() if _plain(name) == wanted), None)


def legacy_of(facts: Facts, package: str, version: str) -> LegacyEnvironment | None:
    """The environment with this release: of `torch 1.4.0` no other fact speaks."""
    for one in facts.legacy.values():
        if any(_is_release(text, package, version) for text in one.packages):
            return one
    return None


def _is_release(text: str, framework: str, version: str) -> bool:
    named = _requirement(text)
    return named is not None and named == (framework, version)


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "", text.lower())


def _requirement(text: str) -> tuple[str, str] | None:
    """Framework and version of a package that facts may know."""
    name, _, version = text.removesuffix(".*").partition("==")
    try:
        named = requirement_named(f"{name}=={version}")
    except BadInput:
        return None
    return named.framework, named.version


def legacy_answer(
    judge: RuleEngine, legacy: LegacyEnvironment, today: date, *, count: int = 5
) -> WhyAnswer:
    """What is still there of it: by the rules where the facts know its release, else by its row."""
    question = legacy_question(judge.facts, legacy)
    if question is None:
        # A base or another kind of software: its row is all there is.
        found = worst_first(legacy_reasons(judge.facts, legacy))
        bare = Combination(framework=legacy.name, version=legacy.cuda)
        return WhyAnswer(one=bare, fails_at=fails_at(found), reasons=found)
    ground = QueryContext(judge.facts, today)
    best = least_refused(judge, completions(ground, question))
    is_known = best.release is not None
    reasons = (*answered(judge, best).reasons, *legacy_reasons(judge.facts, legacy))
    if is_known:
        # Its release has rows of its own, which say more about Python, CUDA and the base.
        kept = [one for one in reasons if one.rule not in ("legacy-base-image", "legacy-python")]
        reasons = tuple(kept)
    stage = fails_at(reasons)
    found = worst_first(one for one in reasons if stage is None or one.level != "support")
    near = _replacements(judge, ground, question, count) if stage and count else ()
    return WhyAnswer(one=best, fails_at=stage, reasons=found, nearest=near)


def _replacements(
    judge: RuleEngine, ground: QueryContext, question: Query, count: int
) -> tuple[Suggestion, ...]:
    """Its framework on a GPU, and its very release, or the next, without one.

    A Python, system and cuDNN of then are not wished for.
    """
    wide = replace(question, python="", system=None, cudnn="")
    on_gpu = replace(wide, cuda=question.cuda or "12")
    found = offers(judge, ground, on_gpu, count - 1)
    found += offers(judge, ground, replace(wide, cuda=CPU), 1)
    told = [offer(question, each.one) for each in found]
    return tuple({each.changes: each for each in reversed(told) if each.changes}.values())[::-1]


def legacy_question(facts: Facts, legacy: LegacyEnvironment) -> Query | None:
    """The environment as a question; of several packages the first that facts speak of."""
    said = re.search(r"(?i)(pytorch|tensorflow) ([0-9.]+[0-9])", legacy.says)
    packages = legacy.packages or ((f"{said[1]}=={said[2]}",) if said else ())
    named = next((one for text in packages if (one := _requirement(text))), None)
    if named is None:
        return None
    framework, version = named
    known = facts.releases.get(framework, {})
    release = known.get(version) or known.get(f"{version}.0")
    cuda = legacy.cuda if legacy.cuda in facts.cuda else ""
    if release is not None and cuda and not release.builds_for(cuda):
        # The platform compiled it for another CUDA than the wheels are for.
        cuda = ""
    managed = [one for one in legacy.pythons if one in facts.managed]
    return Query(
        framework=framework,
        version=release.version if release else version,
        cuda=cuda,
        python=newest(managed or legacy.pythons),
        system=system_named(facts, legacy.os) if _is_system(facts, legacy.os) else None,
    )


def _is_system(facts: Facts, text: str) -> bool:
    try:
        return bool(text) and bool(system_named(facts, text))
    except BadInput:
        return False


def legacy_reasons(facts: Facts, legacy: LegacyEnvironment) -> tuple[RuleResult, ...]:
    """What its row says about the wheel, the base image and the Pythons."""
    found = (_wheel(legacy), _base(legacy), _python(facts, legacy), *_notes(legacy))
    return tuple(one for one in found if one is not None)


def _wheel(legacy: LegacyEnvironment) -> RuleResult | None:
    text, source, sure = legacy.wheel, legacy.origin.source, legacy.origin.certain
    if not text or text == "n/a":
        return None
    message = f"{legacy.name} ({legacy.says}): wheel: {text}"
    if re.match(r"no\b|not from", text):
        return against("legacy-wheel", "install", message, source, certain=sure)
    if not text.startswith("yes") or "but" in text:
        return warning("legacy-wheel", message, source, certain=sure)
    return support("legacy-wheel", message, source, certain=sure)


def _base(legacy: LegacyEnvironment) -> RuleResult | None:
    text, source, sure = legacy.base_image, legacy.origin.source, legacy.origin.certain
    if not text or text == "not needed":
        return None
    message = f"{legacy.name}: base image: {text}"
    if not re.search(r"deleted|discontinued", text):
        return support("legacy-base-image", message, source, certain=sure)
    if any(package.startswith("torch") for package in legacy.packages):
        # PyTorch's wheels bring CUDA along; the base was for what is compiled beside them.
        return warning("legacy-base-image", message, source, certain=sure)
    return against("legacy-base-image", "image", message, source, certain=sure)


def _python(facts: Facts, legacy: LegacyEnvironment) -> RuleResult | None:
    managed = [one for one in legacy.pythons if one in facts.managed]
    if not legacy.pythons:
        return None
    if managed:
        message = f"{legacy.name}: uv has Python {', '.join(managed)}"
        return support("legacy-python", message, facts.managed_source)
    ways = dict.fromkeys(legacy.obtain_python.values())
    message = f"{legacy.name}: neither a system nor uv has Python {', '.join(legacy.pythons)}"
    message = f"{message}: {'; '.join(ways)}" if ways else message
    sure = legacy.origin.certain
    return against("legacy-python", "image", message, legacy.origin.source, certain=sure)


def _notes(legacy: LegacyEnvironment) -> Iterator[RuleResult]:
    if legacy.origin.note:
        message = f"{legacy.name}: {legacy.origin.note}"
        sure = legacy.origin.certain
        yield warning("legacy-note", message, legacy.origin.source, certain=sure)
