"""Marks of shared wheels: their layers are the lowest in all images on a stack.

They are CUDA wheels. A stack's lock has the marks, and the locks of its cells copy them. The marks
of a stack are set once, so that no other stack, cell or family moves the layers of existing images.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput
from dlimg.lock.request import PINNED_BY_STACK
from dlimg.lock.store import lock_files, read_stack_lock
from dlimg.model import Lock

_CUDA_MAJOR: Final = re.compile(r"-cu[0-9]+$")


def shared_names(lock: Lock | None) -> frozenset[str]:
    """Return the names of the lock's shared wheels."""
    return frozenset(wheel.name for wheel in lock.wheels if wheel.shared) if lock else frozenset()


def mark_shared(lock: Lock, names: Iterable[str]) -> Lock:
    """Return the lock with exactly these wheels marked as shared."""
    shared = frozenset(names)
    wheels = (replace(wheel, shared=wheel.name in shared) for wheel in lock.wheels)
    return replace(lock, wheels=tuple(wheels))


def mark_stacks(locks: Iterable[Lock], folder: Path) -> tuple[Lock, ...]:
    """Return these locks of stacks with marks; one that has marks keeps them.

    The others mark the libraries that any stack's lock in the folder marks. If none has marks yet,
    they mark the libraries that all of these stacks have. A stack with none of these libraries
    marks all of its CUDA wheels.

    The result is the same for every order of the locks and of the solver's answers.
    """
    all_locks = [*_stack_locks(folder)]
    libraries = _marked_libraries(all_locks) or _common_libraries(all_locks)
    return tuple(lock if shared_names(lock) else _marked(lock, libraries) for lock in locks)


def _marked(lock: Lock, libraries: Collection[str]) -> Lock:
    names = _cuda_wheels(lock)
    return mark_shared(lock, [name for name in names if _library(name) in libraries] or names)


def _marked_libraries(locks: Sequence[Lock]) -> frozenset[str]:
    return frozenset(_library(name) for lock in locks for name in shared_names(lock))


def _common_libraries(locks: Sequence[Lock]) -> frozenset[str]:
    """Return the libraries that all stacks with CUDA wheels have."""
    by_stack = [frozenset(map(_library, names)) for lock in locks if (names := _cuda_wheels(lock))]
    return frozenset.intersection(*by_stack) if by_stack else frozenset()


def _cuda_wheels(lock: Lock) -> tuple[str, ...]:
    return tuple(wheel.name for wheel in lock.wheels if wheel.name.startswith(PINNED_BY_STACK))


def _library(name: str) -> str:
    """Return the name without the CUDA major: `nvidia-nccl` of `nvidia-nccl-cu13`."""
    return _CUDA_MAJOR.sub("", name)


def _stack_locks(folder: Path) -> Iterator[Lock]:
    """Yield the readable locks of stacks."""
    for path, kind in lock_files(folder):
        if kind == "stack":
            try:
                lock = read_stack_lock(path.stem, folder)
            except BadInput:
                continue
            if lock:
                yield lock
