"""Marks of shared wheels: their layers are the lowest in all images on a stack.

They are CUDA wheels. A stack's lock has the marks, and the locks of its cells copy them. The marks
are set once, when the stack is locked, so that no other cell or family moves the layers of existing
images.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from dlimg.errors import BadInput
from dlimg.lock.request import PINNED_BY_STACK
from dlimg.lock.store import lock_files, read_stack_lock
from dlimg.model import Lock, Stack

_CUDA_MAJOR: Final = re.compile(r"-cu(?P<major>[0-9]{2})$")


def shared_names(lock: Lock | None) -> frozenset[str]:
    """Return the names of the lock's shared wheels."""
    return frozenset(wheel.name for wheel in lock.wheels if wheel.shared) if lock else frozenset()


def mark_shared(lock: Lock, names: Iterable[str]) -> Lock:
    """Return the lock with exactly these wheels marked as shared."""
    shared = frozenset(names)
    wheels = (replace(wheel, shared=wheel.name in shared) for wheel in lock.wheels)
    return replace(lock, wheels=tuple(wheels))


def mark_stack(stack: Stack, lock: Lock, folder: Path) -> Lock:
    """Return the stack's lock with its marks; a lock that has marks keeps them.

    The wheels that another stack of the same CUDA major marks are shared. Without such a stack
    they are all CUDA wheels of the leader.
    """
    if shared_names(lock):
        return lock
    major = stack.cuda.partition(".")[0]
    names = {
        name
        for other in _stack_locks(folder)
        if major in _cuda_majors(other)
        for name in shared_names(other)
    }
    pinned = (wheel.name for wheel in lock.wheels if wheel.name.startswith(PINNED_BY_STACK))
    return mark_shared(lock, names or pinned)


def _cuda_majors(lock: Lock) -> set[str]:
    """Return the CUDA majors in the names of packages, such as `13` of `nvidia-nccl-cu13`."""
    matches = (_CUDA_MAJOR.search(wheel.name) for wheel in lock.wheels)
    return {match["major"] for match in matches if match}


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
