"""`dlimg size`: the layers of images, what they share, and what a machine has to pull."""

from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dlimg.atomic_write import atomic_write
from dlimg.cli.arguments import add_cells, add_format, add_renamed, cells_of
from dlimg.cli.printing import out, print_json, print_table
from dlimg.context import Context
from dlimg.errors import BadInput, Negative
from dlimg.matrix.select import select
from dlimg.model import Cell, CellSelection
from dlimg.pipeline.project import read_project, select_cells
from dlimg.pipeline.sizes import ImageSize, MatrixSizes, groups, sizes_of
from dlimg.report.size_picture import picture
from dlimg.report.size_text import (
    GROUPS,
    IMAGES,
    LAYERS,
    PULL_HEADINGS,
    group_rows,
    image_rows,
    layer_rows,
    pull_rows,
    pull_table_headings,
    pull_table_rows,
    sizes_json,
    total_text,
)
from dlimg.units import counted

# All layers are shown for at most so many images, and the table of pulls for at most so many.
MOST_WITH_LAYERS: Final = 1
MOST_IN_PULL_TABLE: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class SizeOptions:
    """The options of `size`; `already_pulled` are patterns of the images that a machine has."""

    matrix: str
    cells: CellSelection
    already_pulled: tuple[str, ...]
    svg: Path | None
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    add_cells(parser)
    parser.add_argument(
        "--already-pulled",
        action="append",
        default=[],
        metavar="PATTERN",
        help="show what a machine pulls that has these images already",
    )
    add_renamed(parser, "--having", "--already-pulled")
    parser.add_argument("--svg", metavar="FILE", help="also write a picture of all layers to FILE")
    add_format(parser)


def options_of(arguments: Namespace) -> SizeOptions:
    return SizeOptions(
        matrix=arguments.matrix,
        cells=cells_of(arguments),
        already_pulled=tuple(arguments.already_pulled),
        svg=Path(arguments.svg) if arguments.svg else None,
        format=arguments.format,
    )


def run(options: SizeOptions, context: Context) -> int:
    project = read_project(options.matrix, log=context.log)
    sizes = sizes_of(project, context)
    by_cell = {image.cell: image for image in sizes.images}
    images = _locked(by_cell, select_cells(project, options.cells, log=context.log), context)
    pulled: tuple[ImageSize, ...] = ()
    if options.already_pulled:
        cells = select(project.resolution.cells, options.already_pulled, context.log)
        pulled = _locked(by_cell, cells, context)
    if options.svg:
        _write(options.svg, picture(images), context)
    if options.format == "json":
        print_json(sizes_json(sizes, images, pulled))
    elif pulled:
        print_table(PULL_HEADINGS, list(pull_rows(images, pulled)), context)
    elif options.cells.is_all:
        _print_groups(images, context)
    else:
        _print(sizes, images, context)
    return 0


def _locked(
    sizes: Mapping[str, ImageSize], cells: Sequence[Cell], context: Context
) -> tuple[ImageSize, ...]:
    """Return the images of the locked cells; logs how many are not. Raises BadInput for none."""
    images = tuple(sizes[cell.id] for cell in cells if cell.id in sizes)
    if not images:
        raise BadInput("none of these cells is locked here", hint="`dlimg lock` locks them")
    if len(images) < len(cells):
        unlocked = counted(len(cells) - len(images), "cell", "is")
        context.log(f"{unlocked} not locked here and not counted")
    return images


def _print_groups(images: Sequence[ImageSize], context: Context) -> None:
    if len(groups(images)) > 1:
        print_table(GROUPS, list(group_rows(images)), context)
    out(f"{total_text(images)}\n")
    context.log("`dlimg size PATTERN` shows images and layers; ~ marks what is estimated")


def _print(sizes: MatrixSizes, images: Sequence[ImageSize], context: Context) -> None:
    print_table(IMAGES, list(image_rows(sizes, images)), context)
    if len(images) > 1:
        out(f"{total_text(images)}\n")
    if len(images) <= MOST_WITH_LAYERS:
        for image in images:
            out(f"\n{image.cell}, lowest layer first\n")
            print_table(LAYERS, list(layer_rows(sizes, image)), context)
    if 1 < len(images) <= MOST_IN_PULL_TABLE:
        out("\nto pull on a machine that has another of them\n")
        print_table(pull_table_headings(images), list(pull_table_rows(images)), context)


def _write(file: Path, text: str, context: Context) -> None:
    try:
        atomic_write(file, text)
    except OSError as error:
        message = f"cannot be written: {error.strerror or error}"
        raise Negative(message, where=str(file)) from error
    context.log(f"picture: {file}")
