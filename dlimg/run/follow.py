"""The output of a run while it is followed, and signals that stop the run."""

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import FrameType
from typing import Any, Literal, Protocol

import docker

from dlimg.context import Log
from dlimg.engine.client import Engine
from dlimg.errors import DlimgError, Negative

Stream = Literal["out", "err"]
Sink = Callable[[bytes, Stream], None]


@dataclass(kw_only=True)
class RunStopper:
    """A signal handler: the first signal stops a run, with some time to end; the second kills it.

    Requests to the engine run in threads, because a signal handler must be short.
    """

    send: Callable[[str], None]
    log: Log
    run: str
    seconds: int
    has_ended: threading.Event = field(default_factory=threading.Event)
    count: int = 0

    def __call__(self, _signal: int, _frame: FrameType | None) -> None:
        self.count += 1
        task = {1: self._stop, 2: self._kill}.get(self.count)
        if task:
            threading.Thread(target=task, daemon=True).start()

    def _stop(self) -> None:
        self.log(f"stopping {self.run}: it has {self.seconds} s; Ctrl-C again kills it")
        self._send("SIGTERM")
        if not self.has_ended.wait(self.seconds):
            self.log(f"{self.run} did not end within {self.seconds} s and is killed")
            self._send("SIGKILL")

    def _kill(self) -> None:
        self.log(f"killing {self.run}")
        self._send("SIGKILL")

    def _send(self, name: str) -> None:
        try:
            self.send(name)
        except DlimgError as error:  # the connection to its machine may be broken
            self.log(f"{self.run}: {name} is not sent: {error}")


@contextlib.contextmanager
def stop_at_signals(stopper: RunStopper) -> Iterator[None]:
    """Let SIGINT and SIGTERM stop the run instead of this program, until the block ends."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, stopper) for number in numbers}
    try:
        yield
    finally:
        stopper.has_ended.set()
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


class OutputStream(Protocol):
    """The output of a container in pieces of standard output and standard error."""

    def __iter__(self) -> Iterator[tuple[bytes | None, bytes | None]]: ...

    def close(self) -> None: ...


def attach(container: str, engine: Engine) -> OutputStream:
    """Return the output of a container from its first byte on, before or after its start."""
    api: Any = engine.sdk.api
    stream: OutputStream = api.attach(
        container, stdout=True, stderr=True, stream=True, logs=True, demux=True
    )
    return stream


def copy_output(output: OutputStream, sink: Sink) -> None:
    """Write output to the sink until the container ends, and close the output."""
    with contextlib.closing(output):
        for out, err in output:
            if out:
                sink(out, "out")
            if err:
                sink(err, "err")


def wait_for_exit(container: str, engine: Engine) -> int:
    """Return the exit code of a container, after it has ended. Raises Negative if it is gone."""
    try:
        return int(engine.sdk.api.wait(container)["StatusCode"])
    except docker.errors.NotFound as error:
        raise Negative("the run was removed while it was followed") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRequest:
    """A choice of lines of a run's output; `tail` is the number of last lines, None for all."""

    follow: bool
    tail: int | None
    times: bool


def log_lines(container: str, request: LogRequest, engine: Engine) -> Iterator[bytes]:
    """Yield the lines of a container's output, each with its local time if wanted."""
    api: Any = engine.sdk.api
    lines = api.logs(
        container,
        stream=True,
        follow=request.follow,
        timestamps=request.times,
        tail="all" if request.tail is None else request.tail,
    )
    for line in lines:
        yield with_local_time(line) if request.times else line


def with_local_time(line: bytes) -> bytes:
    """Return the line with its time in UTC replaced by the local time, to the second."""
    time, space, text = line.partition(b" ")
    try:
        local = datetime.fromisoformat(f"{time[:19].decode('ascii')}+00:00").astimezone()
    except ValueError:
        return line
    return f"{local:%Y-%m-%d %H:%M:%S}".encode() + space + text
