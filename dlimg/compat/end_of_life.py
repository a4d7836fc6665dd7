"""What comes to its end: Pythons, distributions, CUDAs; facts and a day come in.

A month or a year is over when no day of it is left.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Final, Literal

from dlimg.facts.load import Facts

AHEAD: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True, kw_only=True)
class SupportEnd:
    """How far something is from its end: `near`, in `long-term` support, or `over`.

    `words` is a sentence without its full stop; what is not `certain` may warn, never forbid.
    """

    stage: Literal["near", "long-term", "over"]
    words: str
    source: str
    certain: bool = True


def python_end(facts: Facts, python: str, today: date) -> SupportEnd | None:
    """The end of a Python minor, where it is over or within 90 days."""
    fact = facts.pythons.get(python)
    day = last_day(fact.eol) if fact else None
    if fact is None or day is None or today < day - AHEAD:
        return None
    source, is_sure = fact.origin.source_of("eol"), fact.origin.sure_of("eol")
    if today > day:
        words = f"Python {python} has had no security fixes since {fact.eol}"
        return SupportEnd(stage="over", words=words, source=source, certain=is_sure)
    words = f"Python {python} gets its last security fixes on {fact.eol}"
    return SupportEnd(stage="near", words=words, source=source, certain=is_sure)


def system_end(facts: Facts, distribution: str, today: date) -> SupportEnd | None:
    """The end of a distribution. Long-term support is for everybody; for subscribers it is none."""
    fact = facts.distributions.get(distribution)
    day = last_day(fact.eol) if fact else None
    if fact is None or day is None or today < day - AHEAD:
        return None
    source, is_sure = fact.origin.source_of("eol"), fact.origin.sure_of("eol")
    if today <= day:
        words = f"{distribution} ends on {fact.eol}"
        return SupportEnd(stage="near", words=words, source=source, certain=is_sure)
    if fact.extended != "LTS":
        since = "but for subscribers " if fact.extended else ""
        words = f"{distribution} has had no security fixes {since}since {fact.eol}"
        return SupportEnd(stage="over", words=words, source=source, certain=is_sure)
    last = last_day(fact.extended_eol)
    if last is None or today <= last:
        until = f" until {fact.extended_eol}" if last else ""
        words = f"{distribution} ended on {fact.eol}, and is in long-term support{until}"
        return SupportEnd(stage="long-term", words=words, source=source, certain=is_sure)
    words = f"{distribution} has had no security fixes since {fact.extended_eol}"
    sure_of_both = fact.origin.sure_of("eol", "extended_eol")
    source = fact.origin.source_of("extended_eol")
    return SupportEnd(stage="over", words=words, source=source, certain=sure_of_both)


def cuda_end(facts: Facts, cuda: str) -> SupportEnd | None:
    """The end of a CUDA, for which NVIDIA names no day: it stops its images, and deletes them."""
    fact = facts.cuda.get(cuda)
    if fact is None or fact.image_state not in {"ended", "deleted"}:
        return None
    words = f"NVIDIA no longer supports its images of CUDA {cuda}"
    if fact.image_state == "deleted":
        words = f"NVIDIA has deleted its images of CUDA {cuda}"
    source, is_sure = fact.origin.source_of("image_state"), fact.origin.sure_of("image_state")
    return SupportEnd(stage="over", words=words, source=source, certain=is_sure)


@lru_cache(maxsize=256)
def last_day(text: str) -> date | None:
    """The last day that a day, a month or a year means; None for an empty text."""
    parts = [int(part) for part in text.split("-")] if text else []
    match parts:
        case [year, month, day]:
            return date(year, month, day)
        case [year, 12] | [year]:
            return date(year, 12, 31)
        case [year, month]:
            return date(year, month + 1, 1) - timedelta(days=1)
        case _:
            return None
