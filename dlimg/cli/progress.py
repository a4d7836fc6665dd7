"""Progress of parallel builds: live lines on a terminal, one log line per change elsewhere."""

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dlimg.builders.progress import BuildProgress, OnProgress
from dlimg.cli.printing import log
from dlimg.context import Context
from dlimg.report.progress import is_news, line, style

# Needed only on a terminal, and slow to import.
if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live


@contextmanager
def progress_display(context: Context) -> Iterator[OnProgress]:
    """Yield a function that shows the progress of builds on standard error."""
    with ProgressDisplay(context.environment) as display:
        yield display.show


class ProgressDisplay:
    """The newest progress of each cell on standard error, until the context ends."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.latest: dict[str, BuildProgress] = {}
        self.began: dict[str, float] = {}
        self.live = self._live(environment) if _is_terminal(environment) else None

    def _live(self, environment: Mapping[str, str]) -> "Live | None":
        from rich.console import Console  # noqa: PLC0415 - as above
        from rich.live import Live  # noqa: PLC0415 - as above

        plain = bool(environment.get("NO_COLOR"))
        console = Console(stderr=True, no_color=plain, highlight=False)
        return Live(console=console, get_renderable=self._lines) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self.live:
            self.live.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self.live:
            self.live.stop()

    def show(self, progress: BuildProgress) -> None:
        """Show the newest progress of one cell."""
        now = time.monotonic()
        before = self.latest.get(progress.cell)
        self.latest[progress.cell] = progress
        began = self.began.setdefault(progress.cell, now)
        same = before and (before.state, before.name) == (progress.state, progress.name)
        if not self.live and not same and is_news(progress):
            log(line(progress, now - began))

    def _lines(self) -> "Group":
        from rich.console import Group  # noqa: PLC0415 - as above
        from rich.text import Text  # noqa: PLC0415 - as above

        now = time.monotonic()
        shown = [
            Text(
                line(progress, now - self.began[cell]),
                style=style(progress),
                overflow="ellipsis",
                no_wrap=True,
            )
            for cell, progress in self.latest.items()
        ]
        return Group(*shown)


def _is_terminal(environment: Mapping[str, str]) -> bool:
    """Return whether standard error is a terminal, or a variable of rich says so."""
    names = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return sys.stderr.isatty() or any(environment.get(name) for name in names)
