"""Answers of `why` about several requirements, as text and as data."""

from collections.abc import Iterator
from typing import Final

from dlimg.compat.several import FrameworkAnswer
from dlimg.compat.several_answer import Resolved, SeveralAnswer, SeveralSuggestion
from dlimg.lock.conflict import Conflict
from dlimg.report.plain import clean
from dlimg.report.why import STAGE_NAMES, combination_text, reason_json, reason_lines
from dlimg.units import counted

_UNRESOLVED: Final = "the facts alone: the package index"


def several_json(answer: SeveralAnswer) -> dict[str, object]:
    """Return the answer as stable data."""
    base, verdict, resolved = answer.query.base, answer.verdict, answer.resolved
    system = verdict.system
    return {
        "valid": answer.valid,
        "fails_at": answer.fails_at,
        "requirements": list(answer.query.texts),
        "python": verdict.python,
        "os": system.distribution.lower().replace(" ", "") if system else None,
        "gpu": base.gpu.name if base.gpu else None,
        "driver": base.driver or None,
        "resolution": resolved.outcome.replace(" ", "-"),
        "note": resolved.note or None,
        "packages": dict(resolved.packages) or None,
        "conflicts": [_conflict_json(conflict) for conflict in answer.conflicts],
        "answers": [_answer_json(each) for each in verdict.answers],
        "nearest": [_suggestion_json(each) for each in answer.nearest],
    }


def _conflict_json(conflict: Conflict) -> dict[str, object]:
    return {
        "requirements": list(conflict.requirements),
        "package": conflict.package or None,
        "message": conflict.message,
        "source": conflict.source,
    }


def _answer_json(each: FrameworkAnswer) -> dict[str, object]:
    answer = each.answer
    return {
        "requirement": each.requirement.text,
        "cuda": answer.combination.cuda or None,
        "valid": answer.valid,
        "fails_at": answer.fails_at,
        "reasons": [reason_json(reason) for reason in answer.reasons],
    }


def _suggestion_json(suggestion: SeveralSuggestion) -> dict[str, object]:
    return {
        "requirements": list(suggestion.requirements),
        "python": suggestion.python,
        "changes": list(suggestion.changes),
        "resolution": suggestion.resolution.replace(" ", "-"),
    }


def several_text(answer: SeveralAnswer) -> str:
    """Return the answer as text: the verdict, the conflict in one sentence, what works instead."""
    stage = STAGE_NAMES[answer.fails_at or ""] if answer.fails_at else ""
    verdict = f"it fails at {stage}" if stage else "it works"
    return "\n".join([f"{_head(answer)}: {verdict}", *_body(answer)]) + "\n"


def _head(answer: SeveralAnswer) -> str:
    base, verdict = answer.query.base, answer.verdict
    parts = [*answer.query.texts, f"Python {verdict.python}"]
    parts += [verdict.system.distribution] if verdict.system else []
    parts += [base.gpu.name] if base.gpu else []
    parts += [f"driver {base.driver}"] if base.driver else []
    return ", ".join(parts)


def _body(answer: SeveralAnswer) -> Iterator[str]:
    for conflict in answer.conflicts:
        yield f"  no   {clean(conflict.message)}"
        yield f"       source: {clean(conflict.source)}"
    for each in answer.verdict.answers:
        mark = "yes" if each.answer.valid else "no "
        yield f"  {mark}  {combination_text(each.answer.combination)}"
        doubts = [reason for reason in each.answer.reasons if reason.level != "support"]
        yield from (f"     {line}" for line in reason_lines(doubts))
    yield from _resolution(answer.resolved)
    if answer.nearest:
        yield ""
        yield "What works, least change first:"
        for suggestion in answer.nearest:
            remark = "" if suggestion.resolution == "resolved" else " (by the facts alone)"
            yield f"  {' '.join(suggestion.requirements)}, Python {suggestion.python}{remark}"
            yield f"       {'; '.join(suggestion.changes)}"
    elif not answer.valid:
        yield ""
        yield "Nothing near it was found to work."


def _resolution(resolved: Resolved) -> Iterator[str]:
    if resolved.outcome == "resolved":
        packages = counted(len(resolved.packages), "package")
        yield f"  yes  uv resolves them on the package index: {packages}"
    elif resolved.outcome == "no answer":
        yield f"  !    {_UNRESOLVED} did not answer ({clean(resolved.note)})"
    elif resolved.outcome == "not asked":
        note = f" ({clean(resolved.note)})" if resolved.note else ""
        yield f"  !    {_UNRESOLVED} was not asked{note}"
