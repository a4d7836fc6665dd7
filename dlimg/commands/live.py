"""Progress of many builds at once: live lines on a terminal, one line for each change elsewhere."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from dlimg.build.progress import Progress
from dlimg.commands.printing import say
from dlimg.report.progress import is_news, line, style


class Board:
    """Shows the newest progress of each cell on standard error, until it is left."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        plain = bool(environment.get("NO_COLOR"))
        self.console = Console(stderr=True, no_color=plain, highlight=False)
        self.latest: dict[str, Progress] = {}
        self.began: dict[str, float] = {}
        terminal = self.console.is_terminal
        self.live = Live(console=self.console, get_renderable=self._lines) if terminal else None

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

    def show(self, progress: Progress) -> None:
        """Take in what one cell has come to."""
        now = time.monotonic()
        before = self.latest.get(progress.cell)
        self.latest[progress.cell] = progress
        began = self.began.setdefault(progress.cell, now)
        same = before and (before.state, before.name) == (progress.state, progress.name)
        if not self.live and not same and is_news(progress):
            say(line(progress, now - began))

    def _lines(self) -> Group:
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
