"""`dlimg list`: the cells of the matrix, the dropped combinations, or the files of images."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_cells, add_format, cells_of
from dlimg.cli.printing import is_terminal, print_json, print_table
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.model import CellSelection
from dlimg.pipeline.project import Project, read_project, select_cells
from dlimg.pipeline.templates import template_files
from dlimg.report.cells import (
    CELL_HEADINGS,
    DROPPED_HEADINGS,
    GROUPED_HEADINGS,
    cell_json,
    cell_row,
    grouped_rows,
)
from dlimg.report.templates import TEMPLATE_HEADINGS, template_json, template_row


@dataclass(frozen=True, slots=True, kw_only=True)
class ListOptions:
    """The options of `list`."""

    matrix: str
    cells: CellSelection
    dropped: bool
    templates: bool
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    add_cells(parser)
    parser.add_argument("--dropped", action="store_true", help="show what was dropped, and why")
    parser.add_argument(
        "--templates",
        action="store_true",
        help="show templates, checks and frameworks, and whether they are the project's or dlimg's",
    )
    add_format(parser)


def options_of(arguments: Namespace) -> ListOptions:
    options = ListOptions(
        matrix=arguments.matrix,
        cells=cells_of(arguments),
        dropped=arguments.dropped,
        templates=arguments.templates,
        format=arguments.format,
    )
    if options.templates and (options.dropped or not options.cells.is_all):
        message = "--templates shows all files that images are made from"
        raise BadInput(message, hint="leave patterns, groups and --dropped out")
    if options.dropped and not options.cells.is_all:
        message = "--dropped shows all dropped combinations"
        raise BadInput(message, hint="leave the patterns and groups out")
    return options


def run(options: ListOptions, context: Context) -> int:
    if options.templates:
        _print_templates(options, context)
        return 0
    if options.dropped:
        project = read_project(options.matrix, cells="any", log=context.log)
        _print_dropped(project, options, context)
        return 0
    project = read_project(options.matrix, log=context.log)
    cells = select_cells(project, options.cells, log=context.log)
    locked = project.locked()
    if options.format == "json":
        print_json([cell_json(cell, project.resolution, locked) for cell in cells])
        return 0
    if is_terminal():
        groups = list(grouped_rows(cells, project.resolution, locked))
        print_table(GROUPED_HEADINGS, groups, context)
        return 0
    rows = [cell_row(cell, project.resolution, locked) for cell in cells]
    print_table(CELL_HEADINGS, rows, context)
    return 0


def _print_templates(options: ListOptions, context: Context) -> None:
    files = template_files(Path(options.matrix).parent)
    if options.format == "json":
        print_json([template_json(file) for file in files])
    else:
        rows = [template_row(file) for file in files]
        print_table(TEMPLATE_HEADINGS, rows, context)
        context.log("to change one of dlimg's: `dlimg eject FILE`")


def _print_dropped(project: Project, options: ListOptions, context: Context) -> None:
    dropped = project.resolution.dropped
    if options.format == "json":
        print_json(
            [{"cell": cell.id, "reason": cell.reason, "source": cell.source} for cell in dropped]
        )
    else:
        rows = [(cell.id, cell.reason, cell.source) for cell in dropped]
        print_table(DROPPED_HEADINGS, rows, context)
