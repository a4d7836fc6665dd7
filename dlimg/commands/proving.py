"""The checks of a project's cells, with those of a user's own folder."""

from argparse import Namespace
from pathlib import Path

from dlimg.commands.project import Project
from dlimg.model import Cell
from dlimg.proof import Check
from dlimg.smoke.checks import checks_for


def own_folder(arguments: Namespace) -> Path | None:
    """The folder that `--checks` names, where the command has that word and it was given."""
    named = getattr(arguments, "checks", None)
    return None if named is None else Path(named)


def checks_of(project: Project, cell: Cell, own: Path | None) -> tuple[Check, ...]:
    """The cell's checks; raises BadInput for whatever is wrong with them, or not there."""
    return checks_for(cell, project.images, own, project.resolution.required_places)
