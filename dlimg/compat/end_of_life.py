"""End of life of Pythons, distributions and CUDAs.

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
    """The distance to an end of life: `near`, in `long-term` support, or `over`.

    `message` has no full stop; a fact that is not `certain` may warn, never forbid.
    """

    stage: Literal["near", "long-term", "over"]
    message: str
    source: str
    certain: bool = True


def python_end(facts: Facts, python: str, today: date) -> SupportEnd | None:
    """Return the end of a Python minor, if it is over or within 90 days."""
    fact = facts.pythons.get(python)
    day = last_day(fact.eol) if fact else None
    if fact is None or day is None or today < day - AHEAD:
        return None
    source, certain = fact.origin.source_of("eol"), fact.origin.sure_of("eol")
    if today > day:
        message = f"Python {python} has had no security fixes since {fact.eol}"
        return SupportEnd(stage="over", message=message, source=source, certain=certain)
    message = f"Python {python} gets its last security fixes on {fact.eol}"
    return SupportEnd(stage="near", message=message, source=source, certain=certain)


def system_end(facts: Facts, distribution: str, today: date) -> SupportEnd | None:
    """Return the end of free security support: LTS counts, paid ESM does not."""
    fact = facts.distributions.get(distribution)
    day = last_day(fact.eol) if fact else None
    if fact is None or day is None or today < day - AHEAD:
        return None
    source, certain = fact.origin.source_of("eol"), fact.origin.sure_of("eol")
    if today <= day:
        message = f"{distribution} ends on {fact.eol}"
        return SupportEnd(stage="near", message=message, source=source, certain=certain)
    if fact.extended != "LTS":
        since = "but for subscribers " if fact.extended else ""
        message = f"{distribution} has had no security fixes {since}since {fact.eol}"
        return SupportEnd(stage="over", message=message, source=source, certain=certain)
    last = last_day(fact.extended_eol)
    if last is None or today <= last:
        until = f" until {fact.extended_eol}" if last else ""
        message = f"{distribution} ended on {fact.eol}, and is in long-term support{until}"
        return SupportEnd(stage="long-term", message=message, source=source, certain=certain)
    message = f"{distribution} has had no security fixes since {fact.extended_eol}"
    certain = fact.origin.sure_of("eol", "extended_eol")
    source = fact.origin.source_of("extended_eol")
    return SupportEnd(stage="over", message=message, source=source, certain=certain)


def cuda_end(facts: Facts, cuda: str) -> SupportEnd | None:
    """Return the end of a CUDA: NVIDIA names no day, but ends its images or deletes them."""
    fact = facts.cuda.get(cuda)
    if fact is None or fact.image_state not in {"ended", "deleted"}:
        return None
    message = f"NVIDIA no longer supports its images of CUDA {cuda}"
    if fact.image_state == "deleted":
        message = f"NVIDIA has deleted its images of CUDA {cuda}"
    source, certain = fact.origin.source_of("image_state"), fact.origin.sure_of("image_state")
    return SupportEnd(stage="over", message=message, source=source, certain=certain)


@lru_cache(maxsize=256)
def last_day(text: str) -> date | None:
    """Return the last day of a day, a month or a year; None for an empty text."""
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
