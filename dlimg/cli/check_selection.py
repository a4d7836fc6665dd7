"""The checks of a project's cells, with those of a user's own folder."""

from argparse import Namespace
from pathlib import Path

from dlimg.checks.discover import checks_for
from dlimg.pipeline.project import (Project)
from dlimg.model import Cell, Check


def own_folder(arguments: Namespace) -> Path | None:
    """The folder that `--checks` names, where the command has that word and it was given."""
    named = getattr(arguments, "checks", None)
    return None if named is None else Path(named)


def checks_of(project: Project, cell: Cell, own: Path | None) -> tuple[Check, ...]:
    """The cell's checks; raises BadInput for whatever is wrong with them, or not there."""
    return checks_for(cell, project.images, own, project.resolution.required_places)
