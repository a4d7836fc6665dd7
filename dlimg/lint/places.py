"""Where a finding stands: in the matrix, or in a lock."""

from dlimg.choose.matrix import Family
from dlimg.lint.finding import Ground
from dlimg.model import Lock

# `dlimg lock` writes seven lines above the wheels, and the wheels by name.
_ABOVE = 7


def lock_line(lock: Lock, name: str) -> int:
    """The line of a wheel in its lock's file."""
    names = sorted(wheel.name for wheel in lock.wheels)
    return _ABOVE + 1 + names.index(name)


def axis_line(family: Family, axis: str) -> int:
    """The line of an axis of a family."""
    return family.lines.get(axis, family.line)


def lock_file(ground: Ground, cell: str) -> str:
    return ground.lock_files.get(cell, f"locks/{cell}.json")


def and_more(names: list[str], most: int = 3) -> str:
    """`a, b, c and 4 more`."""
    shown = ", ".join(names[:most])
    rest = len(names) - most
    return f"{shown} and {rest} more" if rest > 0 else shown
