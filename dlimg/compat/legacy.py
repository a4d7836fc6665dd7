"""Environments of old tutorials and platforms, and their replacements."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date

from dlimg.compat.combination import Combination
from dlimg.compat.parse_names import CPU, parse_system
from dlimg.compat.query import Query, QueryContext, completions
from dlimg.compat.rule_engine import RuleEngine
from dlimg.compat.rule_result import (
    RuleResult,
    confirm,
    failing_stage,
    refuse,
    warn,
    worst_first,
)
from dlimg.compat.suggest import Suggestion, suggest, suggestion_of
from dlimg.compat.why import WhyAnswer, judge, least_refused
from dlimg.document.versions import newest
from dlimg.errors import BadInput
from dlimg.facts.load import Facts
from dlimg.facts.model import Distribution, LegacyEnvironment


def find_legacy(facts: Facts, text: str) -> LegacyEnvironment | None:
    """Return the environment of this name (`tensorflow-1.0`, `Colab 2026.01`), or None."""
    key = _key(text)
    return next((legacy for name, legacy in facts.legacy.items() if _key(name) == key), None)


def legacy_of_release(facts: Facts, framework: str, version: str) -> LegacyEnvironment | None:
    """Return an environment with this release, which may have no other facts."""
    for legacy in facts.legacy.values():
        if (legacy.framework, legacy.version) == (framework, version):
            return legacy
    return None


def _key(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "", text.lower())


def legacy_answer(
    engine: RuleEngine, legacy: LegacyEnvironment, today: date, *, count: int = 5
) -> WhyAnswer:
    """Return an answer about an old environment, by the rules and by its row in the facts.

    For a base or other software that is not a framework, only the row counts.
    """
    query = legacy_query(engine.facts, legacy)
    reasons = legacy_reasons(engine.facts, legacy)
    if query is None:
        bare = Combination(framework=legacy.name, version=legacy.cuda)
        stage = failing_stage(reasons)
        return WhyAnswer(combination=bare, fails_at=stage, reasons=worst_first(reasons))
    context = QueryContext(engine.facts, today)
    best = least_refused(engine, completions(context, query))
    if best.release is not None:
        # The release's own rows say more about Python, CUDA and the base.
        less = ("legacy-base-image", "legacy-python")
        reasons = tuple(reason for reason in reasons if reason.rule not in less)
    reasons = (*judge(engine, best).reasons, *reasons)
    stage = failing_stage(reasons)
    if stage is not None:
        reasons = tuple(reason for reason in reasons if reason.level != "support")
    nearest = _replacements(engine, context, query, count) if stage and count else ()
    return WhyAnswer(
        combination=best, fails_at=stage, reasons=worst_first(reasons), nearest=nearest
    )


def _replacements(
    engine: RuleEngine, context: QueryContext, query: Query, count: int
) -> tuple[Suggestion, ...]:
    """Return queries for its framework on a GPU, and for its release, or the next, on a CPU.

    The Python, system and cuDNN of its time are left open.
    """
    wide = replace(query, python="", system=None, cudnn="")
    suggestions = (
        *suggest(engine, context, replace(wide, cuda=query.cuda or "12"), count - 1),
        *suggest(engine, context, replace(wide, cuda=CPU), 1),
    )
    by_changes: dict[tuple[str, ...], Suggestion] = {}
    for suggestion in suggestions:
        described = suggestion_of(query, suggestion.combination)
        if described.changes:
            by_changes.setdefault(described.changes, described)
    return tuple(by_changes.values())


def legacy_query(facts: Facts, legacy: LegacyEnvironment) -> Query | None:
    """Return the environment as a question, or None if it has no framework."""
    if not legacy.framework:
        return None
    releases = facts.releases.get(legacy.framework, {})
    release = releases.get(legacy.version) or releases.get(f"{legacy.version}.0")
    cuda = legacy.cuda if legacy.cuda in facts.cuda else ""
    if release is not None and cuda and not release.builds_for(cuda):
        # The platform compiled it for another CUDA than the wheels are for.
        cuda = ""
    managed = [python for python in legacy.pythons if python in facts.managed]
    return Query(
        framework=legacy.framework,
        version=release.version if release else legacy.version,
        cuda=cuda,
        python=newest(managed or legacy.pythons),
        system=_system(facts, legacy.os),
    )


def _system(facts: Facts, text: str) -> Distribution | None:
    try:
        return parse_system(facts, text) if text else None
    except BadInput:
        return None


def legacy_reasons(facts: Facts, legacy: LegacyEnvironment) -> tuple[RuleResult, ...]:
    """Return results from its row about the wheel, the base image and the Pythons."""
    return (*_wheel(legacy), *_base_image(facts, legacy), *_python(facts, legacy), *_note(legacy))


def _wheel(legacy: LegacyEnvironment) -> Iterator[RuleResult]:
    source, certain = legacy.origin.source, legacy.origin.certain
    message = f"{legacy.name} ({legacy.says}): wheel: {legacy.wheel}"
    match legacy.wheel_state:
        case "missing":
            yield refuse("legacy-wheel", "install", message, source, certain=certain)
        case "partly":
            yield warn("legacy-wheel", message, source, certain=certain)
        case "available":
            yield confirm("legacy-wheel", message, source, certain=certain)
        case "":
            return


def _base_image(facts: Facts, legacy: LegacyEnvironment) -> Iterator[RuleResult]:
    source, certain = legacy.origin.source, legacy.origin.certain
    message = f"{legacy.name}: base image: {legacy.base_image}"
    framework = facts.frameworks.get(legacy.framework)
    if legacy.base_image_state == "exists":
        yield confirm("legacy-base-image", message, source, certain=certain)
    elif legacy.base_image_state and framework and framework.unpinned_cuda == "bundled":
        # Its wheels bring CUDA along; the base was for code compiled beside them.
        yield warn("legacy-base-image", message, source, certain=certain)
    elif legacy.base_image_state:
        yield refuse("legacy-base-image", "image", message, source, certain=certain)


def _python(facts: Facts, legacy: LegacyEnvironment) -> Iterator[RuleResult]:
    managed = [python for python in legacy.pythons if python in facts.managed]
    if managed:
        message = f"{legacy.name}: uv has Python {', '.join(managed)}"
        yield confirm("legacy-python", message, facts.managed_source)
    elif legacy.pythons:
        ways = dict.fromkeys(legacy.obtain_python.values())
        pythons = ", ".join(legacy.pythons)
        message = f"{legacy.name}: neither a distribution nor uv has Python {pythons}"
        message = f"{message}: {'; '.join(ways)}" if ways else message
        certain = legacy.origin.certain
        yield refuse("legacy-python", "image", message, legacy.origin.source, certain=certain)


def _note(legacy: LegacyEnvironment) -> Iterator[RuleResult]:
    if legacy.origin.note:
        message = f"{legacy.name}: {legacy.origin.note}"
        certain = legacy.origin.certain
        yield warn("legacy-note", message, legacy.origin.source, certain=certain)
