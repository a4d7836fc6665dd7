"""Locks that are alike."""

from dataclasses import dataclass

from dlimg.lint.finding import Ground
from dlimg.model import Lock, Wheel


@dataclass(frozen=True, slots=True, kw_only=True)
class LockSet:
    """Locks that hold just the same wheels, for one Python: what is true of one is true of all."""

    lock: Lock
    cells: tuple[str, ...]


def lock_sets(ground: Ground) -> tuple[LockSet, ...]:
    """The locks of the matrix, those that are alike once."""
    alike: dict[tuple[str, tuple[Wheel, ...]], list[str]] = {}
    for cell, lock in ground.locks.items():
        alike.setdefault((lock.python, lock.wheels), []).append(cell)
    return tuple(
        LockSet(lock=ground.locks[cells[0]], cells=tuple(cells)) for cells in alike.values()
    )
