"""`dlimg checks`: the checks, and the cells that each is for."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_cells, add_format, add_own_checks, cells_of
from dlimg.cli.printing import print_json, print_table
from dlimg.context import Context
from dlimg.model import CellSelection
from dlimg.pipeline.images import checks_of_cell, log_former_needs
from dlimg.pipeline.project import read_project, select_cells
from dlimg.report.checks import OF_MANY, OF_ONE, check_json, check_row, check_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class ChecksOptions:
    """The options of `checks`."""

    matrix: str
    cells: CellSelection
    own_checks: Path | None
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    add_cells(parser)
    add_own_checks(parser)
    add_format(parser)


def options_of(arguments: Namespace) -> ChecksOptions:
    return ChecksOptions(
        matrix=arguments.matrix,
        cells=cells_of(arguments),
        own_checks=None if arguments.checks is None else Path(arguments.checks),
        format=arguments.format,
    )


def run(options: ChecksOptions, context: Context) -> int:
    project = read_project(options.matrix, log=context.log)
    cells = select_cells(project, options.cells, log=context.log)
    pairs = [
        (cell, check)
        for cell in cells
        for check in checks_of_cell(project, cell, options.own_checks)
    ]
    log_former_needs(project, cells, options.own_checks, context.log)
    if options.format == "json":
        print_json([check_json(cell, check) for cell, check in pairs])
    elif len(cells) == 1:
        print_table(OF_ONE, [check_row(check) for _, check in pairs], context)
    else:
        print_table(OF_MANY, check_rows(pairs, len(cells)), context)
    return 0
