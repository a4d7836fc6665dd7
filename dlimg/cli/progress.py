"""Progress of many builds at once: live lines on a terminal, one line for each change elsewhere."""

import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Self

from dlimg.builders.progress import BuildProgress
from dlimg.cli.printing import say
from dlimg.report.progress import is_news, line, style

# Elsewhere than on a terminal nothing is drawn, and to import this costs more than all else.
if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live


class ProgressDisplay:
    """Shows the newest progress of each cell on standard error, until it is left."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.latest: dict[str, BuildProgress] = {}
        self.began: dict[str, float] = {}
        self.live = self._drawn(environment) if _may_draw(environment) else None

    def _drawn(self, environment: Mapping[str, str]) -> "Live | None":
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
        """Take in what one cell has come to."""
        now = time.monotonic()
        before = self.latest.get(progress.cell)
        self.latest[progress.cell] = progress
        began = self.began.setdefault(progress.cell, now)
        same = before and (before.state, before.name) == (progress.state, progress.name)
        if not self.live and not same and is_news(progress):
            say(line(progress, now - began))

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


def _may_draw(environment: Mapping[str, str]) -> bool:
    """Whether it is a terminal, or somebody says so in rich's own words."""
    words = ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
    return sys.stderr.isatty() or any(environment.get(word) for word in words)
