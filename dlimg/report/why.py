"""Answers of `why` as text and as data."""

from collections.abc import Iterator, Sequence
from typing import Final

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult
from dlimg.compat.suggest import Suggestion
from dlimg.compat.why import WhyAnswer
from dlimg.model import CPU
from dlimg.report.plain import clean

_MARKS = {"refusal": "no", "warning": "!", "support": "yes"}


def answer_json(answer: WhyAnswer, command: str = "") -> dict[str, object]:
    """Return the answer as stable data, with the command that adds it to the matrix."""
    return {
        "valid": answer.valid,
        "fails_at": answer.fails_at,
        "reasons": [reason_json(entry) for entry in answer.reasons],
        "nearest": [_offer_json(entry) for entry in answer.nearest],
        "add": command or None,
    }


def reason_json(reason: RuleResult) -> dict[str, object]:
    return {
        "rule": reason.rule,
        "message": reason.message,
        "source": reason.source,
        "certain": reason.certain,
    }


def _offer_json(suggestion: Suggestion) -> dict[str, object]:
    combination = suggestion.combination
    return {
        "requirement": requirement(combination),
        "cuda": combination.cuda or None,
        "index": combination.build.index if combination.build else None,
        "cudnn": combination.cudnn
        or (combination.build.cudnn if combination.build else "")
        or None,
        "python": combination.python,
        "os": os_option(combination),
        "gpu": combination.gpu.name if combination.gpu else None,
        "driver": combination.driver or None,
        "arch": combination.arch,
        "changes": list(suggestion.changes),
    }


def os_option(combination: Combination) -> str | None:
    """Return `ubuntu24.04`, as `--os` takes it."""
    if combination.distribution is None:
        return None
    return combination.distribution.distribution.lower().replace("rhel/", "").replace(" ", "")


def requirement(combination: Combination) -> str:
    """Return the requirement for an installer, such as `torch==2.6.0`."""
    package = (
        combination.build.package
        if combination.build
        else combination.package or combination.framework
    )
    return f"{package}=={combination.version}"


def answer_text(answer: WhyAnswer, name: str = "") -> str:
    """Return the answer as text: the verdict, each rule with its source, what works instead."""
    verdict = "it works" if answer.valid else f"it fails at {STAGE_NAMES[answer.fails_at or '']}"
    head = name or combination_text(answer.combination)
    return "\n".join([f"{head}: {verdict}", *_body(answer)]) + "\n"


STAGE_NAMES: Final = {"install": "install", "image": "building the image", "runtime": "run time"}


def reason_lines(reasons: Sequence[RuleResult]) -> Iterator[str]:
    """Yield each reason with its mark, and its source below it."""
    width = max((len(reason.rule) for reason in reasons), default=0)
    for reason in reasons:
        mark = _MARKS[reason.level]
        doubt = "" if reason.certain else " (not confirmed)"
        yield f"  {mark:3}  {reason.rule:{width}}  {clean(reason.message)}{doubt}"
        yield f"       {'':{width}}  source: {clean(reason.source)}"


def _body(answer: WhyAnswer) -> Iterator[str]:
    yield from reason_lines(answer.reasons)
    if answer.nearest:
        yield ""
        yield "What works, least change first:"
        for suggestion in answer.nearest:
            yield f"  {combination_text(suggestion.combination)}"
            yield f"       {'; '.join(suggestion.changes)}"
    elif not answer.valid:
        yield ""
        yield "Nothing near it works by these facts."


def combination_text(combination: Combination) -> str:
    """Return `torch==2.6.0, CUDA 12.4, Python 3.13, Debian 13`, with GPU and driver."""
    parts = [
        requirement(combination),
        f"CUDA {combination.cuda}" if combination.cuda else CPU.upper(),
    ]
    if combination.cudnn:
        parts.append(f"cuDNN {combination.cudnn}")
    if combination.python:
        parts.append(f"Python {combination.python}")
    if combination.distribution:
        parts.append(combination.distribution.distribution)
    if combination.gpu:
        parts.append(combination.gpu.name)
    if combination.driver:
        parts.append(f"driver {combination.driver}")
    if combination.arch != "x86_64":
        parts.append(combination.arch)
    return ", ".join(parts)
