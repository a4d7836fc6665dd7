"""Starting a created container: in the background, followed, or in this terminal."""

import contextlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dlimg.context import Log
from dlimg.engine.client import Engine
from dlimg.errors import DlimgError
from dlimg.host.process import run_in_terminal, wait_until
from dlimg.run.container import (
    container_state,
    remove_container,
    signal_container,
    start_container,
)
from dlimg.run.follow import (
    RunStopper,
    Sink,
    Stream,
    attach,
    copy_output,
    stop_at_signals,
    wait_for_exit,
)
from dlimg.run.model import RunRecord, RunSpec
from dlimg.run.record import drop_record
from dlimg.run.secrets import Masker, deliver

_START_SECONDS = 60.0


def start(record: RunRecord, hidden: Mapping[str, str], engine: Engine) -> None:
    """Start the container and send its secrets; if that fails remove it and its record."""
    try:
        start_container(record.container, engine)
        if hidden:
            deliver(hidden, record.container, engine)
    except BaseException:
        remove_container(record.container, engine)
        drop_record(record.run, engine.context)
        output = Path(record.output)
        if output.name == str(record.run.number):  # so that the next run has the number
            with contextlib.suppress(OSError):
                output.rmdir()
        raise


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedOutput:
    """The sinks of a run's output and of messages; `started` is called after the start."""

    sink: Sink
    log: Log
    started: Callable[[], None] | None = None


def start_and_follow(
    spec: RunSpec,
    record: RunRecord,
    hidden: Mapping[str, str],
    engine: Engine,
    output: FollowedOutput,
) -> int:
    """Start the container and show its output until its end; signals stop it."""
    stopper = RunStopper(
        send=lambda name: signal_container(record.container, name, engine),
        log=output.log,
        run=str(record.run),
        seconds=spec.stop_seconds,
    )
    masked = MaskedSink(output.sink, [hidden[name] for name in record.secrets])
    with stop_at_signals(stopper):
        stream = attach(record.container, engine)
        start(record, hidden, engine)
        if output.started:
            output.started()
        copy_output(stream, masked)
        masked.end()
        return wait_for_exit(record.container, engine)


def start_in_terminal(record: RunRecord, hidden: Mapping[str, str], engine: Engine) -> int:
    """Start the container in this terminal and return its exit code."""
    if hidden:
        threading.Thread(target=_deliver_later, args=(record, hidden, engine), daemon=True).start()
    arguments = ("start", "--attach", "--interactive", record.container)
    return run_in_terminal(engine.docker_argv(*arguments, terminal=True), env=engine.environment)


def _deliver_later(record: RunRecord, hidden: Mapping[str, str], engine: Engine) -> None:
    """Send secrets once the container runs; it ends by itself if they do not come."""

    def is_running() -> bool:
        state = container_state(record.container, engine)
        return state is None or state.status != "created"

    if wait_until(is_running, _START_SECONDS):
        try:
            deliver(hidden, record.container, engine)
        except DlimgError as error:
            engine.context.log(f"dlimg: {error}")


class MaskedSink:
    """A sink that masks secrets in each of the two streams."""

    def __init__(self, sink: Sink, values: list[str]) -> None:
        self._sink = sink
        self._maskers: Mapping[Stream, Masker] = {"out": Masker(values), "err": Masker(values)}

    def __call__(self, data: bytes, stream: Stream) -> None:
        shown = self._maskers[stream](data)
        if shown:
            self._sink(shown, stream)

    def end(self) -> None:
        for stream, masker in self._maskers.items():
            shown = masker.end()
            if shown:
                self._sink(shown, stream)
