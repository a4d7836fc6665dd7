"""`dlimg eject`: templates and checks that come with dlimg, copied into the project."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.printing import out
from dlimg.context import Context
from dlimg.errors import BadInput
from dlimg.pipeline.shipped import MATRIX
from dlimg.pipeline.templates import eject


@dataclass(frozen=True, slots=True, kw_only=True)
class EjectOptions:
    """The options of `eject`."""

    matrix: str
    paths: tuple[str, ...]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "paths",
        nargs="+",
        metavar="PATH",
        help="a file or folder that `dlimg list --templates` shows: jax/Dockerfile.j2, _layout",
    )


def options_of(arguments: Namespace) -> EjectOptions:
    return EjectOptions(matrix=arguments.matrix, paths=tuple(arguments.paths))


def run(options: EjectOptions, context: Context) -> int:
    matrix = Path(options.matrix)
    if not matrix.is_file():
        hint = f"run in the project's folder: the one with its {MATRIX}"
        raise BadInput("there is no such file", where=options.matrix, hint=hint)
    copies = eject(matrix.parent, options.paths)
    for path in copies:
        out(f"{path}\n")
    context.log("the project's own files now: `dlimg render` and the checks use them")
    return 0
