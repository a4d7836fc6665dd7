"""Interrupts: Ctrl-C and SIGTERM take one way, and tidying up is not interrupted again."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Final

# Whoever insists after these gets out, and leaves behind what was not yet tidied up.
IGNORED: Final = 3


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Inside, the first SIGINT or SIGTERM raises `KeyboardInterrupt`, the next few do nothing.

    Only the main thread can ask; inside another `terminable` it is the outer one that counts.
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or isinstance(signal.getsignal(signal.SIGTERM), _Once):
        yield
        return
    once = _Once()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        # One that was told to ignore a signal (`nohup`, a background job) goes on ignoring it.
        if handler is not signal.SIG_IGN:
            signal.signal(number, once)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class _Once:
    """A signal handler that interrupts the work, but not the tidying up after it."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1
        if self.count == 1 or self.count > 1 + IGNORED:
            raise KeyboardInterrupt
