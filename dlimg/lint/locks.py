"""Locks that are alike."""

from collections.abc import Mapping

from dlimg.lint.finding import LockSet
from dlimg.model import Lock, Wheel


def lock_sets(locks: Mapping[str, Lock]) -> tuple[LockSet, ...]:
    """The locks by what they hold, in their order."""
    alike: dict[tuple[str, tuple[Wheel, ...]], list[str]] = {}
    for cell, lock in locks.items():
        alike.setdefault((lock.python, lock.wheels), []).append(cell)
    return tuple(LockSet(lock=locks[cells[0]], cells=tuple(cells)) for cells in alike.values())
