"""Checks side by side: several at once, each in a container that no other one uses meanwhile."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from dlimg.checks.container_setup import ContainerKind, group_by_kind, kind_of
from dlimg.checks.execute import CheckContainer
from dlimg.checks.verdicts import GPU, NO_DEVICE
from dlimg.host.interrupt import interruptible, run_all
from dlimg.model import Check

# The least memory of a check that runs beside others.
MEMORY_EACH: Final = 4_000_000_000


def count_at_once(checks: Sequence[Check], *, cores: int, memory: int) -> int:
    """Return how many of these checks run at once: at most one for each core and 4 GB."""
    return max(1, min(len(checks), cores, memory // MEMORY_EACH))


def runs_alone(check: Check, device: str) -> bool:
    """Return whether nothing may run beside this check: it says so, or it computes on a GPU.

    Without a device a check that needs one measures nothing.
    """
    if GPU in check.needs:
        return device != NO_DEVICE
    return bool(check.alone)


class CheckQueue:
    """The checks that have still to run, for several threads."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = list(checks)
        self._lock = threading.Lock()

    def next(self, kind: ContainerKind | None) -> Check | None:
        """Take out the longest check of this kind of container, else of the kind with the most.

        The length of a check is its time limit; of equal ones the first is taken.
        """
        with self._lock:
            if not self._checks:
                return None
            same = [check for check in self._checks if kind_of(check) == kind]
            check = max(same or self._largest_group(), key=lambda check: check.seconds)
            self._checks.remove(check)
            return check

    def close(self) -> None:
        """Leave no check to take."""
        with self._lock:
            self._checks.clear()

    def _largest_group(self) -> Sequence[Check]:
        groups = [members for _, members in group_by_kind(self._checks)]
        return max(groups, key=lambda members: sum(check.seconds for check in members))


class OrderedLog:
    """Lines of checks that end in any order, logged in the order of the checks."""

    def __init__(self, log: Callable[[str], None], checks: Sequence[Check]) -> None:
        self._log = log
        self._waiting = [check.name for check in checks]
        self._lines: dict[str, str] = {}
        self._lock = threading.Lock()

    def add(self, check: Check, line: str) -> None:
        """Log the line when all checks before this one have theirs; an empty line is left out."""
        with self._lock:
            self._lines[check.name] = line
            while self._waiting and self._waiting[0] in self._lines:
                ready = self._lines[self._waiting.pop(0)]
                if ready:
                    self._log(ready)


NewContainer = Callable[[ContainerKind], CheckContainer]
RunOne = Callable[[CheckContainer, Check], None]


class _Worker:
    """One of several that take checks from a queue; it has one container at a time."""

    def __init__(self, queue: CheckQueue, new_container: NewContainer, run_one: RunOne) -> None:
        self._queue = queue
        self._new_container = new_container
        self._run_one = run_one
        self._kind: ContainerKind | None = None
        self._container: CheckContainer | None = None

    def work(self) -> None:
        try:
            while check := self._queue.next(self._kind):
                self._run_one(self._container_of(kind_of(check)), check)
        except BaseException:
            self._queue.close()
            raise
        finally:
            self._remove()

    def end(self) -> None:
        """Remove the container from under the check, from another thread."""
        container = self._container
        if container is not None:
            container.end()

    def _container_of(self, kind: ContainerKind) -> CheckContainer:
        if self._container is None or kind != self._kind:
            self._remove()
            self._kind = kind
            self._container = self._new_container(kind)
        return self._container

    def _remove(self) -> None:
        if self._container is not None:
            self._container.remove()


def run_side_by_side(
    checks: Sequence[Check], count: int, new_container: NewContainer, run_one: RunOne
) -> None:
    """Run the checks, `count` at once; a container is used again for checks of its kind.

    When one raises, no further check begins. After an interrupt all containers are removed.
    """
    queue = CheckQueue(checks)
    workers = [_Worker(queue, new_container, run_one) for _ in range(count)]

    def stop() -> None:
        queue.close()
        for worker in workers:
            worker.end()

    tasks: Mapping[int, Callable[[], None]] = {
        number: worker.work for number, worker in enumerate(workers)
    }
    with interruptible():
        run_all(tasks, count, stop)
