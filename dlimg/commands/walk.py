"""The settings of one walk of `build`, `test` or `publish`."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.commands.project import Project
from dlimg.engine.revision import NO_REVISION, Revision

STOP_AT: Final = ("build", "test", "publish")


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """One walk's settings, read once from the command line and the environment.

    `evidence` is the folder to keep it in, `revision` the commit of the project, which goes into
    it; `only` names the checks to run, none named is all.
    """

    project: Project
    arguments: Namespace
    environment: Mapping[str, str]
    evidence: Path
    only: frozenset[str] = frozenset()
    revision: Revision = NO_REVISION

    def goes_to(self, arrow: str) -> bool:
        return STOP_AT.index(self.arguments.command) >= STOP_AT.index(arrow)
