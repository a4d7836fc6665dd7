"""The progress of a build, from BuildKit's JSON lines.

Each line of `--progress=rawjson` is an object with any of `vertexes` (a step: digest, name,
started, completed, cached, error), `statuses` (a transfer in a step) and `logs` (a step's output
in base64). A vertex is repeated whenever it changes. Other lines are messages of buildx, which
come when it fails. buildx before 0.14 spreads an object over many lines; the last is a lone brace.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

StepState = Literal["waiting", "running", "done", "cached", "failed"]

LOG_LINES: Final = 30
# Enough for thirty long lines; a limit, because a step may print for an hour.
LOG_CHARACTERS: Final = 16_000
_NAME_CHARACTERS: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """A vertex of the build graph; `error` and `log` are BuildKit's."""

    name: str
    state: StepState = "waiting"
    error: str = ""
    log: str = ""

    @property
    def is_own(self) -> bool:
        """Return whether the step is a line of the Dockerfile or the export, not internal."""
        return not self.name.startswith(("[internal]", "[context", "[auth]"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProgress:
    """The progress of a cell's build.

    `current` is the digest of the step that changed last, `first` and `last` are the times of
    events in seconds, `messages` lines of buildx, and `partial` an unfinished JSON object.
    """

    cell: str
    state: StepState = "waiting"
    steps: Mapping[str, BuildStep] = field(default_factory=lambda: MappingProxyType({}))
    current: str = ""
    first: float = 0.0
    last: float = 0.0
    messages: tuple[str, ...] = ()
    partial: str = ""

    @property
    def total(self) -> int:
        return sum(step.is_own for step in self.steps.values())

    @property
    def number(self) -> int:
        """The number of the running step, from 1; 0 before the first step."""
        own = [step for step in self.steps.values() if step.is_own]
        ended = sum(step.state in ("done", "cached") for step in own)
        return min(ended + 1, len(own))

    @property
    def name(self) -> str:
        """The name of the step that changed last."""
        return self.steps[self.current].name if self.current in self.steps else ""

    @property
    def seconds(self) -> float:
        """Seconds from the first to the last event."""
        return max(0.0, self.last - self.first)

    @property
    def failing(self) -> BuildStep | None:
        """The step that failed, or None; a cancelled step counts only if no other failed."""
        failed = [step for step in self.steps.values() if step.state == "failed"]
        failed.sort(key=lambda step: "context canceled" in step.error)
        return failed[0] if failed else None


OnProgress = Callable[[BuildProgress], None]


def short_step_name(name: str) -> str:
    """Return a step's name, shortened, without mounts and heredoc markers."""
    parts = [part for part in name.split() if not part.startswith(("--mount", "<<"))]
    return " ".join(parts)[:70]


def parse_event(text: str) -> Mapping[str, Any] | None:
    """Return the event in a line, or None for a message of buildx."""
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def advance(progress: BuildProgress, line: str) -> BuildProgress:
    """Return the progress after another line of `--progress=rawjson`."""
    text = progress.partial + line.rstrip()
    if text.startswith("{") and (text == "{" or (progress.partial and line.rstrip() != "}")):
        return replace(progress, partial=f"{text}\n")
    event = parse_event(text) if text.startswith("{") else None
    if event is None:
        messages = (*progress.messages, *text.splitlines())[-LOG_LINES:]
        return replace(progress, messages=messages, partial="")
    progress = replace(progress, partial="")
    steps = dict(progress.steps)
    current = progress.current
    for vertex in event.get("vertexes") or ():
        current = _take_vertex(steps, vertex, current)
    for log in event.get("logs") or ():
        _take_log(steps, log)
    changed = replace(progress, steps=MappingProxyType(steps), current=current, state="running")
    return _with_times(changed, event)


def with_state(progress: BuildProgress, state: StepState) -> BuildProgress:
    """Return the progress with another state."""
    return replace(progress, state=state)


def failure_log(progress: BuildProgress) -> tuple[str, ...]:
    """Return the last lines of the failed step's log and its error, or buildx's messages."""
    step = progress.failing
    if step is None:
        return progress.messages
    lines = step.log.rstrip("\r\n").split("\n") if step.log else []
    shown = [_shown_text(line) for line in lines[-LOG_LINES:]]
    return (*shown, *_error_lines(step.error))


def _take_vertex(steps: dict[str, BuildStep], vertex: Mapping[str, Any], current: str) -> str:
    digest = str(vertex.get("digest", ""))
    before = steps.get(digest, BuildStep(name=""))
    step = replace(
        before,
        name=str(vertex.get("name", ""))[:_NAME_CHARACTERS],
        state=_state(vertex),
        error=str(vertex.get("error", "")),
    )
    steps[digest] = step
    return digest if step.is_own and step.state != "waiting" else current


def _state(vertex: Mapping[str, Any]) -> StepState:
    if vertex.get("error"):
        return "failed"
    if vertex.get("cached"):
        return "cached"
    if vertex.get("completed"):
        return "done"
    return "running" if vertex.get("started") else "waiting"


def _take_log(steps: dict[str, BuildStep], log: Mapping[str, Any]) -> None:
    digest = str(log.get("vertex", ""))
    step = steps.get(digest, BuildStep(name=""))
    text = base64.b64decode(log.get("data") or "").decode(errors="replace")
    steps[digest] = replace(step, log=(step.log + text)[-LOG_CHARACTERS:])


def _with_times(progress: BuildProgress, event: Mapping[str, Any]) -> BuildProgress:
    times = [
        _seconds(str(part.get(name, "")))
        for kind in ("vertexes", "statuses", "logs")
        for part in event.get(kind) or ()
        for name in ("started", "completed", "timestamp")
    ]
    positive_times = [time for time in times if time > 0]
    if not positive_times:
        return progress
    first = progress.first or min(positive_times)
    return replace(progress, first=first, last=max(progress.last, *positive_times))


def _seconds(timestamp: str) -> float:
    """Return seconds since 1970, or 0 for no time (BuildKit writes the year 1 for none)."""
    try:
        return max(0.0, datetime.fromisoformat(timestamp).timestamp())
    except (ValueError, OverflowError):
        return 0.0


def _shown_text(line: str) -> str:
    """Return what a terminal shows of a line with carriage returns."""
    return line.rstrip("\r").rpartition("\r")[2]


def _error_lines(error: str) -> tuple[str, ...]:
    # BuildKit repeats the whole script in front of this.
    script, separator, outcome = error.rpartition("did not complete successfully: ")
    text = outcome if separator and script else error
    return tuple(text.splitlines()[-LOG_LINES:])
