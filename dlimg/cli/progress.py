"""Progress of parallel builds: live lines on a terminal, one log line per change elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dlimg.builders.progress import BuildProgress, OnProgress, short_step_name
from dlimg.context import Context
from dlimg.units import seconds_text


@contextmanager
def progress_display(context: Context) -> Iterator[OnProgress]:
    """Yield a function that shows the progress of builds on standard error."""
    display = ProgressDisplay(context)
    if display.live:
        with display.live:
            yield display.show
    else:
        yield display.show


class ProgressDisplay:
    """The newest progress of each cell, and the time when its build began."""

    def __init__(self, context: Context) -> None:
        self.log = context.log
        self.latest: dict[str, BuildProgress] = {}
        self.began: dict[str, float] = {}
        self.live = self._live(context) if _is_terminal(context) else None

    def _live(self, context: Context) -> Live | None:
        is_plain = bool(context.environment.get("NO_COLOR"))
        console = Console(stderr=True, no_color=is_plain, highlight=False)
        return Live(console=console, get_renderable=self._lines) if console.is_terminal else None

    def show(self, progress: BuildProgress) -> None:
        """Show the newest progress of one cell."""
        now = time.monotonic()
        before = self.latest.get(progress.cell)
        self.latest[progress.cell] = progress
        began = self.began.setdefault(progress.cell, now)
        is_same = before and (before.state, before.name) == (progress.state, progress.name)
        if not self.live and not is_same and _is_logged(progress):
            self.log(progress_line(progress, now - began))

    def _lines(self) -> Group:
        now = time.monotonic()
        lines = [
            Text(
                progress_line(progress, now - self.began[cell]),
                style=_STYLES.get(progress.state, ""),
                overflow="ellipsis",
                no_wrap=True,
            )
            for cell, progress in self.latest.items()
        ]
        return Group(*lines)


_STYLES = {"failed": "bold red", "done": "green", "cached": "green"}


def progress_line(progress: BuildProgress, seconds: float) -> str:
    """Return `CELL  3/9  RUN ...  12.0 s`, or how the build ended."""
    match progress.state:
        case "cached":
            return f"{progress.cell}  present, nothing to build"
        case "done":
            return f"{progress.cell}  built in {seconds_text(progress.seconds or seconds)}"
        case "failed":
            return f"{progress.cell}  failed after {seconds_text(progress.seconds or seconds)}"
        case "waiting":
            return f"{progress.cell}  waiting"
        case "running":
            step = f"{progress.number}/{progress.total}  {short_step_name(progress.name)}"
            return f"{progress.cell}  {step}  {seconds_text(seconds)}"


def _is_logged(progress: BuildProgress) -> bool:
    """Return whether a log has a line for it: an end, or a step that takes time."""
    return progress.state != "running" or " RUN" in progress.name or "export" in progress.name


def _is_terminal(context: Context) -> bool:
    """Return whether standard error is a terminal, or a variable of rich says so."""
    names = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return sys.stderr.isatty() or any(context.environment.get(name) for name in names)
