"""SIGTERM as an interrupt, so that what must be tidied up is tidied up in one way."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """Inside, SIGTERM raises `KeyboardInterrupt`, as Ctrl-C does; only the main thread can ask."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
