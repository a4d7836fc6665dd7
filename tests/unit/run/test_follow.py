"""Signals to a followed run, the times of its lines, and its output."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from dlimg.run.follow import RunStopper, copy_output, stop_at_signals, with_local_time


class Pieces:
    """Output that says whether it was closed."""

    def __init__(self, pieces: list[tuple[bytes | None, bytes | None]]) -> None:
        self.pieces = pieces
        self.is_closed = False

    def __iter__(self) -> Iterator[tuple[bytes | None, bytes | None]]:
        return iter(self.pieces)

    def close(self) -> None:
        self.is_closed = True


def stopper(sent: list[str], log: list[str], seconds: int = 60) -> RunStopper:
    return RunStopper(send=sent.append, log=log.append, run="hello:3", seconds=seconds)


def wait_for(sent: list[str], *expected: str) -> None:
    deadline = time.monotonic() + 5
    while sent != list(expected):
        assert time.monotonic() < deadline, sent
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_and_a_second_one_kills_it(number: signal.Signals) -> None:
    sent: list[str] = []
    log: list[str] = []
    before = signal.getsignal(number)
    with stop_at_signals(stopper(sent, log)):
        os.kill(os.getpid(), number)
        wait_for(sent, "SIGTERM")
        os.kill(os.getpid(), number)
        wait_for(sent, "SIGTERM", "SIGKILL")
        os.kill(os.getpid(), number)
    assert signal.getsignal(number) == before
    assert log == ["stopping hello:3: it has 60 s; Ctrl-C again kills it", "killing hello:3"]


def test_a_run_that_does_not_end_in_its_time_is_killed() -> None:
    sent: list[str] = []
    log: list[str] = []
    with stop_at_signals(stopper(sent, log, seconds=0)):
        os.kill(os.getpid(), signal.SIGINT)
        wait_for(sent, "SIGTERM", "SIGKILL")


def test_both_streams_are_copied_as_they_are() -> None:
    copied: list[tuple[bytes, str]] = []
    pieces: list[tuple[bytes | None, bytes | None]] = [
        ("你".encode()[:2], None),
        ("你".encode()[2:], b"\r\x1b[K"),
        (None, None),
    ]
    output = Pieces(pieces)
    copy_output(output, lambda data, stream: copied.append((data, stream)))
    assert output.is_closed
    assert b"".join(data for data, stream in copied if stream == "out").decode() == "你"
    assert [data for data, stream in copied if stream == "err"] == [b"\r\x1b[K"]


def test_lines_have_the_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC-8")
    time.tzset()
    line = "2026-11-29T20:30:00.123456789Z 你好 world\n".encode()
    assert with_local_time(line).decode() == "2026-11-30 04:30:00 你好 world\n"
    assert with_local_time(b"no time\n") == b"no time\n"
    monkeypatch.undo()
    time.tzset()
