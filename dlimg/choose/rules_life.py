"""Rules about ends of life; apart from those about the image, which `list` needs and these not."""

from datetime import date

from dlimg.choose.combination import Combination
from dlimg.choose.ends import End, python_end, system_end
from dlimg.choose.facts import Facts
from dlimg.choose.reason import Reason, warning


def python_life(today: date, facts: Facts, one: Combination) -> Reason | None:
    """A Python past its end of life, or near it."""
    return _end("python-life", python_end(facts, one.python, today))


def system_life(today: date, facts: Facts, one: Combination) -> Reason | None:
    """A distribution past its end of life, or near it."""
    system = one.distribution
    return _end("system-life", system_end(facts, system.distribution, today)) if system else None


def _end(rule: str, end: End | None) -> Reason | None:
    return warning(rule, end.words, end.source, certain=end.certain) if end else None
