"""Facts that an image states about itself: the driver it needs, and its ends of life."""

from collections.abc import Iterator

from dlimg.compat.end_of_life import last_day
from dlimg.document.versions import major
from dlimg.facts.load import Facts
from dlimg.model import DriverFloor, EndOfLife


def driver_floor(facts: Facts, cuda: str) -> DriverFloor | None:
    """Return the oldest driver for this CUDA; the bound of its major where it is unconfirmed."""
    fact = facts.cuda.get(cuda)
    if fact is None:
        return None
    of_major = facts.majors.get(major(cuda))
    if of_major and not fact.origin.sure_of("min_driver"):
        source = of_major.origin.source_of("min_driver")
        return DriverFloor(version=of_major.min_driver, source=source)
    return DriverFloor(version=fact.min_driver, source=fact.origin.source_of("min_driver"))


def ends_of_life(facts: Facts, distribution: str, managed_python: str) -> tuple[EndOfLife, ...]:
    """Return the known last days of free security support, the earliest first.

    Long-term support counts. `managed_python` is a minor that the distribution lacks, or empty:
    the distribution maintains its own Python for as long as itself.
    """
    ends = [*_system_ends(facts, distribution), *_python_ends(facts, managed_python)]
    return tuple(sorted(ends, key=lambda end: end.day))


def _system_ends(facts: Facts, distribution: str) -> Iterator[EndOfLife]:
    fact = facts.distributions.get(distribution)
    if fact is None:
        return
    name = "extended_eol" if fact.extended == "LTS" else "eol"
    day = last_day(fact.extended_eol if fact.extended == "LTS" else fact.eol)
    if day:
        source = fact.origin.source_of(name)
        yield EndOfLife(part=distribution, day=day.isoformat(), source=source)


def _python_ends(facts: Facts, python: str) -> Iterator[EndOfLife]:
    fact = facts.pythons.get(python)
    day = last_day(fact.eol) if fact else None
    if fact and day:
        source = fact.origin.source_of("eol")
        yield EndOfLife(part=f"Python {python}", day=day.isoformat(), source=source)
