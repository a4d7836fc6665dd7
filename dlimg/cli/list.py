"""`list`: the cells of the matrix, and what was dropped."""

from argparse import Namespace
from collections.abc import Mapping

from dlimg.cli.printing import print_json, print_table
from dlimg.pipeline.project import (Project, chosen, read_project)
from dlimg.errors import BadInput
from dlimg.model import Cell


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0; nothing is changed and no engine is asked."""
    project = read_project(arguments.matrix)
    if arguments.dropped:
        _dropped(project, arguments, environment)
    else:
        _list(project, arguments, environment)
    return 0


def _list(project: Project, arguments: Namespace, environment: Mapping[str, str]) -> None:
    cells = chosen(project, arguments)
    locked = project.locked()
    if arguments.format == "json":
        print_json([cell_json(project, cell, locked) for cell in cells])
        return
    aliases = project.resolution.aliases
    rows = []
    for cell in cells:
        name = cell.id
        python = f"uv {cell.managed_python}" if cell.managed_python else cell.os.name
        moving = ", ".join(aliases.get(name, ())) or "-"
        rows.append((name, python, moving, locked.get(name, "no")))
    headings = ("cell", "python from", "tags that move", "locked")
    print_table(headings, rows, environment)


def cell_json(project: Project, cell: Cell, locked: Mapping[str, str]) -> dict[str, object]:
    """A cell's axes and names, as stable data."""
    return {
        "cell": cell.id,
        "family": cell.family,
        "package": cell.package,
        "version": cell.version,
        "accelerator": cell.accelerator,
        "cuda": cell.stack.cuda if cell.stack else None,
        "python": cell.python,
        "managed_python": cell.managed_python or None,
        "os": cell.os.name,
        "flavour": cell.flavour.value,
        "aliases": list(project.resolution.aliases.get(cell.id, ())),
        "locked": cell.id in locked,
        "notes": list(cell.notes),
    }


def _dropped(project: Project, arguments: Namespace, environment: Mapping[str, str]) -> None:
    dropped = project.resolution.dropped
    if arguments.patterns or arguments.group:
        raise BadInput("--dropped shows all corners", hint="leave the patterns and groups out")
    if arguments.format == "json":
        print_json([{"cell": d.id, "reason": d.reason, "source": d.source} for d in dropped])
        return
    rows = [(one.id, one.reason, one.source) for one in dropped]
    print_table(("corner", "reason", "source"), rows, environment)
