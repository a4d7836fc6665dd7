"""BuildKit's raw progress to what people see: a pure reducer over its JSON lines.

Each line of `--progress=rawjson` is one object with any of `vertexes` (a step: digest, name,
started, completed, cached, error), `statuses` (a transfer inside a step) and `logs` (what a
step printed, in base64). A vertex comes again whenever something about it changes. Lines that
are no JSON object are buildx's own words, said when it ends badly. buildx before 0.14 lays an
object out over many lines, the last of which is a lone brace.
"""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, Literal

State = Literal["waiting", "running", "done", "cached", "failed"]

LOG_LINES: Final = 30
# Enough for thirty long lines; a step that prints for an hour must not fill the memory.
LOG_CHARACTERS: Final = 16_000
_NAME_CHARACTERS: Final = 160


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildStep:
    """One vertex of the build graph; `error` and `log` as BuildKit gave them."""

    name: str
    state: State = "waiting"
    error: str = ""
    log: str = ""

    @property
    def is_own(self) -> bool:
        """Whether it is a line of the Dockerfile or the export, not BuildKit's own reading."""
        return not self.name.startswith(("[internal]", "[context", "[auth]"))


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildProgress:
    """How far a cell's build is, after the events seen so far."""

    cell: str
    state: State = "waiting"
    steps: Mapping[str, BuildStep] = field(default_factory=lambda: MappingProxyType({}))
    current: str = ""
    first: float = 0.0
    last: float = 0.0
    words: tuple[str, ...] = ()
    partial: str = ""

    @property
    def total(self) -> int:
        return sum(step.is_own for step in self.steps.values())

    @property
    def number(self) -> int:
        """Which step is at work, from 1; 0 before the first one."""
        own = [step for step in self.steps.values() if step.is_own]
        ended = sum(step.state in ("done", "cached") for step in own)
        return min(ended + 1, len(own))

    @property
    def name(self) -> str:
        """The name of the step that moved last."""
        return self.steps[self.current].name if self.current in self.steps else ""

    @property
    def seconds(self) -> float:
        """From the first to the last time that an event told."""
        return max(0.0, self.last - self.first)

    @property
    def failing(self) -> BuildStep | None:
        """The step that failed, or none; a step that was only cancelled comes second."""
        failed = [step for step in self.steps.values() if step.state == "failed"]
        failed.sort(key=lambda step: "context canceled" in step.error)
        return failed[0] if failed else None


OnProgress = Callable[[BuildProgress], None]


def short_step_name(name: str) -> str:
    """A step's name without the mounts and markers, which say nothing to one who waits."""
    words = [word for word in name.split() if not word.startswith(("--mount", "<<"))]
    return " ".join(words)[:70]


def parse_event(text: str) -> Mapping[str, Any] | None:
    """The event that a text holds, or none where it is buildx's own words."""
    try:
        event = json.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def advance(progress: BuildProgress, line: str) -> BuildProgress:
    """The progress after one more line of `--progress=rawjson`."""
    text = progress.partial + line.rstrip()
    if text.startswith("{") and (text == "{" or (progress.partial and line.rstrip() != "}")):
        return replace(progress, partial=f"{text}\n")
    event = parse_event(text) if text.startswith("{") else None
    if event is None:
        words = (*progress.words, *text.splitlines())[-LOG_LINES:]
        return replace(progress, words=words, partial="")
    progress = replace(progress, partial="")
    steps = dict(progress.steps)
    current = progress.current
    for vertex in event.get("vertexes") or ():
        current = _take_vertex(steps, vertex, current)
    for log in event.get("logs") or ():
        _take_log(steps, log)
    moved = replace(progress, steps=MappingProxyType(steps), current=current, state="running")
    return _timed(moved, event)


def with_state(progress: BuildProgress, state: State) -> BuildProgress:
    """The progress when buildx has ended."""
    return replace(progress, state=state)


def failure_log(progress: BuildProgress) -> tuple[str, ...]:
    """The last lines that tell why: the failing step's log and its error, or buildx's words."""
    step = progress.failing
    if step is None:
        return progress.words
    said = [_overwritten(line) for line in step.log.rstrip("\r\n").split("\n")] if step.log else []
    return (*said[-LOG_LINES:], *_error_lines(step.error))


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


def _state(vertex: Mapping[str, Any]) -> State:
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


def _timed(progress: BuildProgress, event: Mapping[str, Any]) -> BuildProgress:
    told = [
        _seconds(str(part.get(name, "")))
        for kind in ("vertexes", "statuses", "logs")
        for part in event.get(kind) or ()
        for name in ("started", "completed", "timestamp")
    ]
    times = [time for time in told if time > 0]
    if not times:
        return progress
    first = progress.first or min(times)
    return replace(progress, first=first, last=max(progress.last, *times))


def _seconds(timestamp: str) -> float:
    """Seconds since 1970, or 0 where there is no time (BuildKit writes the year 1 for none)."""
    try:
        return max(0.0, datetime.fromisoformat(timestamp).timestamp())
    except (ValueError, OverflowError):
        return 0.0


def _overwritten(line: str) -> str:
    """What a terminal shows of a line that overwrote itself with carriage returns."""
    return line.rstrip("\r").rpartition("\r")[2]


def _error_lines(error: str) -> tuple[str, ...]:
    # BuildKit repeats the whole script in front of this; the script is no news.
    script, found, how = error.rpartition("did not complete successfully: ")
    text = how if found and script else error
    return tuple(text.splitlines()[-LOG_LINES:])
