"""Interrupts: Ctrl-C and SIGTERM end tasks and child processes in order, and clean-up completes."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from types import FrameType
from typing import Final, TypeVar

from dlimg.host.process import end_children

Name = TypeVar("Name")
Result = TypeVar("Result")

# Further signals that are ignored while the clean-up runs; the next one interrupts it.
IGNORED: Final = 3


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise `KeyboardInterrupt` at the first SIGINT or SIGTERM and ignore the next few.

    Does nothing outside the main thread, and inside another `interruptible`.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or isinstance(signal.getsignal(signal.SIGTERM), _InterruptOnce):
        yield
        return
    interrupt_once = _InterruptOnce()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        # A process started to ignore a signal (`nohup`, a background job) goes on ignoring it.
        if handler is not signal.SIG_IGN:
            signal.signal(number, interrupt_once)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class _InterruptOnce:
    """A signal handler that interrupts the work, but not the clean-up after it."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1 or self.count > 1 + IGNORED:
            raise KeyboardInterrupt


def run_all(
    tasks: Mapping[Name, Callable[[], Result]], jobs: int, stop: Callable[[], None] = lambda: None
) -> dict[Name, Result]:
    """Run `jobs` tasks at once and return their results by name.

    When a task or a signal raises, waiting tasks are cancelled, child processes are ended, and
    `stop` is called to end what does not run in a child process; then the exception goes on.
    """
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        futures = {name: pool.submit(task) for name, task in tasks.items()}
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            for future in futures.values():
                future.cancel()
            # Repeatedly, because a task may have been about to start its process.
            while wait(futures.values(), timeout=0.1).not_done:
                end_children()
                stop()
            raise
