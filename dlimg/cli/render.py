"""`dlimg render`: the Dockerfile of each locked cell."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from dlimg.cli.arguments import add_cells, cells_of
from dlimg.context import Context
from dlimg.errors import Negative
from dlimg.model import CellSelection
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.project import read_project, select_cells
from dlimg.pipeline.render import rendered_files, rendering_problems, write_rendered
from dlimg.units import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderOptions:
    """The options of `render`."""

    matrix: str
    cells: CellSelection
    check: bool


def add_arguments(parser: ArgumentParser) -> None:
    add_cells(parser)
    parser.add_argument("--check", action="store_true", help="only say whether they are current")


def options_of(arguments: Namespace) -> RenderOptions:
    return RenderOptions(matrix=arguments.matrix, cells=cells_of(arguments), check=arguments.check)


def run(options: RenderOptions, context: Context) -> int:
    project = read_project(options.matrix, log=context.log)
    cells = select_cells(project, options.cells, log=context.log)
    images = tuple(locked_images(project, cells))
    skipped = len(cells) - len(images)
    if skipped:
        context.log(
            f"{counted(skipped, 'cell', 'is')} not locked here and without a Dockerfile; "
            "`dlimg list` shows which"
        )
    files = rendered_files(project, images, is_all=options.cells.is_all)
    total = len(files.dockerfiles)
    if options.check:
        problems = rendering_problems(files)
        if problems:
            raise Negative.of(problems)
        context.log(f"all {total} Dockerfiles are current")
        return 0
    written = write_rendered(files)
    context.log(f"{counted(total, 'Dockerfile')}: {written} written, {len(files.stale)} removed")
    return 0
