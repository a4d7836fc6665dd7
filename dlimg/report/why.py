"""An answer to `why` as text and as data."""

from collections.abc import Iterator

from dlimg.compat.combination import Combination
from dlimg.compat.rule_result import RuleResult
from dlimg.compat.suggest import Suggestion
from dlimg.compat.why import WhyAnswer
from dlimg.model import CPU
from dlimg.report.plain import clean

_MARKS = {"refusal": "no", "warning": "!", "support": "yes"}


def answer_json(answer: WhyAnswer) -> dict[str, object]:
    """The stable form: valid, fails_at, reasons, nearest."""
    return {
        "valid": answer.valid,
        "fails_at": answer.fails_at,
        "reasons": [_reason_json(one) for one in answer.reasons],
        "nearest": [_offer_json(one) for one in answer.nearest],
    }


def _reason_json(one: RuleResult) -> dict[str, object]:
    return {
        "rule": one.rule,
        "message": one.message,
        "source": one.source,
        "certain": one.certain,
    }


def _offer_json(offer: Suggestion) -> dict[str, object]:
    one = offer.combination
    return {
        "requirement": requirement(one),
        "cuda": one.cuda or None,
        "index": one.build.index if one.build else None,
        "cudnn": one.cudnn or (one.build.cudnn if one.build else "") or None,
        "python": one.python,
        "os": os_word(one),
        "gpu": one.gpu.name if one.gpu else None,
        "driver": one.driver or None,
        "arch": one.arch,
        "changes": list(offer.changes),
    }


def os_word(one: Combination) -> str | None:
    """`ubuntu24.04`, as `--os` takes it."""
    if one.distribution is None:
        return None
    return one.distribution.distribution.lower().replace("rhel/", "").replace(" ", "")


def requirement(one: Combination) -> str:
    """What an installer is told: `torch==2.6.0`, `tensorflow[and-cuda]==2.21.0`."""
    package = one.build.package if one.build else one.package or one.framework
    return f"{package}=={one.version}"


def answer_text(answer: WhyAnswer, name: str = "") -> str:
    """For people: the verdict, each rule with its source, what works instead."""
    verdict = "it works" if answer.valid else f"it fails at {_STAGE[answer.fails_at or '']}"
    head = name or described(answer.combination)
    return "\n".join([f"{head}: {verdict}", *_body(answer)]) + "\n"


_STAGE = {"install": "install", "image": "building the image", "runtime": "run time"}


def _body(answer: WhyAnswer) -> Iterator[str]:
    width = max((len(one.rule) for one in answer.reasons), default=0)
    for one in answer.reasons:
        mark = _MARKS[one.level]
        doubt = "" if one.certain else " (not confirmed)"
        yield f"  {mark:3}  {one.rule:{width}}  {clean(one.message)}{doubt}"
        yield f"       {'':{width}}  source: {clean(one.source)}"
    if answer.nearest:
        yield ""
        yield "What works, least change first:"
        for offer in answer.nearest:
            yield f"  {described(offer.combination)}"
            yield f"       {'; '.join(offer.changes)}"
    elif not answer.valid:
        yield ""
        yield "Nothing near it works by these facts."


def described(one: Combination) -> str:
    """`torch==2.6.0, CUDA 12.4, Python 3.13, Debian 13`, and what was said of the machine."""
    parts = [requirement(one), f"CUDA {one.cuda}" if one.cuda else CPU.upper()]
    if one.cudnn:
        parts.append(f"cuDNN {one.cudnn}")
    if one.python:
        parts.append(f"Python {one.python}")
    if one.distribution:
        parts.append(one.distribution.distribution)
    if one.gpu:
        parts.append(one.gpu.name)
    if one.driver:
        parts.append(f"driver {one.driver}")
    if one.arch != "x86_64":
        parts.append(one.arch)
    return ", ".join(parts)
