"""`dlimg show`: one cell in full."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from dlimg.checks.evidence import evidence_folder, last_evidence
from dlimg.cli.arguments import add_format
from dlimg.cli.printing import out, print_json
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.lock.store import read_lock
from dlimg.matrix.select import select
from dlimg.pipeline.project import read_project
from dlimg.report.cells import cell_json, cell_lines, locked_json
from dlimg.report.evidence_text import tested_json, tested_text


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowOptions:
    """The options of `show`."""

    matrix: str
    cell: str
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("cell", metavar="CELL", help="its id, or a pattern that fits no other")
    add_format(parser)


def options_of(arguments: Namespace) -> ShowOptions:
    return ShowOptions(matrix=arguments.matrix, cell=arguments.cell, format=arguments.format)


def run(options: ShowOptions, context: Context) -> int:
    project = read_project(options.matrix, log=context.log)
    cells = select(project.resolution.cells, [options.cell], context.log)
    if len(cells) > 1:
        raise BadInput(
            f"{options.cell!r} fits {len(cells)} cells, show takes one",
            hint=f"e.g. {cells[0].id}",
        )
    cell, resolution = cells[0], project.resolution
    lock = read_lock(cell.id, project.locks)
    tested = last_evidence(evidence_folder(context), cell.id, log=context.log)
    if options.format == "json":
        value = cell_json(cell, resolution, project.locked()) | locked_json(cell, resolution, lock)
        print_json(value | {"tested": [tested_json(evidence) for evidence in tested]})
        return 0
    texts = [tested_text(evidence, is_cuda=cell.is_cuda) for evidence in tested]
    lines = [
        *cell_lines(cell, resolution, lock),
        *(f"  tested        {text}" for text in texts or ["not here"]),
    ]
    out("\n".join(lines) + "\n")
    return 0
