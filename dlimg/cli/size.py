"""`size`: what images are made of, what they share, and what a machine has to pull."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from dlimg.assembly.size_estimate import (read_store_index, estimate_layers)
from dlimg.atomic_write import atomic_write
from dlimg.cli.printing import out, print_json, print_table, say
from dlimg.pipeline.project import (Project, chosen, read_project)
from dlimg.errors import BadInput, Negative
from dlimg.lock.store import read_lock
from dlimg.matrix.select import select
from dlimg.model import Cell
from dlimg.pipeline.sizes import (ImageSize, MatrixSizes, groups)
from dlimg.report.size_picture import picture
from dlimg.report.size_text import (
    GROUPS,
    HAVING,
    IMAGES,
    LAYERS,
    group_rows,
    having_rows,
    image_rows,
    layer_rows,
    matrix_headings,
    matrix_rows,
    sizes_json,
    total_text,
)
from dlimg.store.store import layer_store

# More than so many are shown with a line each, and without all their layers, or by groups.
IN_FULL: Final = 1
IN_A_MATRIX: Final = 6


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0; nothing is changed, and neither an engine nor the network is asked."""
    project = read_project(arguments.matrix)
    sizes = sizes_of(project, environment)
    by_cell = {one.cell: one for one in sizes.images}
    images = _locked(by_cell, chosen(project, arguments))
    having: tuple[ImageSize, ...] = ()
    if arguments.having:
        having = _locked(by_cell, select(project.resolution.cells, arguments.having))
    if arguments.svg:
        _write(arguments.svg, picture(images))
    if arguments.format == "json":
        print_json(sizes_json(sizes, images, having))
    elif having:
        print_table(HAVING, list(having_rows(images, having)), environment)
    else:
        few = bool(arguments.patterns or arguments.group)
        _print(sizes, images, environment) if few else _print_groups(images, environment)
    return 0


def sizes_of(project: Project, environment: Mapping[str, str]) -> MatrixSizes:
    """Every locked cell of the project."""
    store = read_store_index(layer_store(environment))
    compression = project.resolution.compression
    found = []
    for cell in project.resolution.cells:
        lock = read_lock(cell.id, project.locks)
        if lock is not None:
            found.append(
                ImageSize(
                    cell=cell.id,
                    family=cell.family,
                    accelerator=cell.accelerator,
                    python=cell.python,
                    group=f"{cell.family}-{cell.version}-{cell.accelerator}",
                    pieces=estimate_layers(cell, lock, store, compression=compression),
                )
            )
    return MatrixSizes(images=tuple(found))


def _locked(sized: Mapping[str, ImageSize], cells: Sequence[Cell]) -> tuple[ImageSize, ...]:
    """Those of the cells that are locked; what is not is told of, and none at all is refused."""
    found = tuple(sized[cell.id] for cell in cells if cell.id in sized)
    if not found:
        raise BadInput("none of these cells is locked here", hint="`dlimg lock` locks them")
    if len(found) < len(cells):
        say(f"{len(cells) - len(found)} cells are not locked here and not counted")
    return found


def _print_groups(images: Sequence[ImageSize], environment: Mapping[str, str]) -> None:
    if len(groups(images)) > 1:
        print_table(GROUPS, list(group_rows(images)), environment)
    out(f"{total_text(images)}\n")
    say("`dlimg size PATTERN` shows images and layers; ~ marks what is estimated")


def _print(sizes: MatrixSizes, images: Sequence[ImageSize], environment: Mapping[str, str]) -> None:
    print_table(IMAGES, list(image_rows(sizes, images)), environment)
    if len(images) > 1:
        out(f"{total_text(images)}\n")
    if len(images) <= IN_FULL:
        for image in images:
            out(f"\n{image.cell}, lowest layer first\n")
            print_table(LAYERS, list(layer_rows(sizes, image)), environment)
    if 1 < len(images) <= IN_A_MATRIX:
        out("\nto pull on a machine that has another of them\n")
        print_table(matrix_headings(images), list(matrix_rows(images)), environment)


def _write(file: str, text: str) -> None:
    try:
        atomic_write(Path(file), text)
    except OSError as error:
        raise Negative(f"cannot be written: {error.strerror or error}", where=file) from error
    say(f"picture: {file}")
