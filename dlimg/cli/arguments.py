"""Arguments that several commands share, and their typed values."""

import argparse
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterable, Sequence

from dlimg.errors import BadInput
from dlimg.model import CellSelection


def add_cells(parser: ArgumentParser) -> None:
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="cells, by id")
    parser.add_argument("--group", metavar="GROUP", help="a named group of the matrix")


def cells_of(arguments: Namespace) -> CellSelection:
    """Return the cells that `add_cells` was given."""
    return CellSelection(patterns=tuple(arguments.patterns), group=arguments.group or "")


def add_format(parser: ArgumentParser, *further_formats: str) -> None:
    choices = ("table", "json", *further_formats)
    parser.add_argument(
        "--format", choices=choices, default="table", help="how to print the result (table)"
    )


def add_private_engine(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--no-private-engine",
        action="store_true",
        help="do not start dlimg's own engine where no other answers",
    )


def add_on(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--on",
        metavar="USER@HOST",
        type=_non_empty,
        help="another machine, which ssh reaches (this one)",
    )


def _non_empty(text: str) -> str:
    """Return the value. Raises ArgumentTypeError for an empty one, as of an unset variable."""
    if not text:
        raise argparse.ArgumentTypeError("the value is empty: give one, or leave it out")
    return text


def add_find_links(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--find-links",
        action="append",
        default=[],
        metavar="DIR",
        help="an extra folder of wheels (also UV_FIND_LINKS, PIP_FIND_LINKS)",
    )


def add_report(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--report",
        action="append",
        default=[],
        metavar="FILE",
        help="also write FILE: JUnit (.xml), a GitHub summary (.md) or JSON (.json)",
    )


def add_on_host(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--on-host",
        metavar="FAMILY",
        help="without an engine: run the checks with this machine's own Python",
    )
    parser.add_argument(
        "--python", metavar="FILE", help="with --on-host: the Python that has the framework"
    )
    add_renamed(parser, "--bare", "--on-host")


def add_own_checks(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--checks", metavar="DIR", help="a folder of your own checks, run with the others"
    )


def add_device(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--device", metavar="NAME", help="the GPU to use, by its CDI name (the engine's first)"
    )


def add_base(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--base",
        choices=("auto", "registry", "bootstrap"),
        default="auto",
        help="where base images come from: a registry, the distribution's packages, or the first "
        "of the two that answers (auto)",
    )


def add_builder(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--builder",
        choices=("auto", "layers", "buildkit"),
        default="auto",
        help="how images are built: from one layer per wheel, by BuildKit, or from layers wherever "
        "the image and the engine allow it (auto)",
    )


def add_compression(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--compression",
        metavar="METHOD",
        help="of the layers: gzip, zstd, or zstd with a level, as zstd:9 (the matrix's, else zstd)",
    )


class _Renamed(argparse.Action):
    """An option under its old name: works as the new one, and names it on standard error."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, *, new: str, nargs: int | None
    ) -> None:
        self.new = new
        super().__init__(option_strings, dest, nargs=nargs, help=argparse.SUPPRESS)

    def __call__(
        self,
        parser: ArgumentParser,
        namespace: Namespace,
        values: str | Sequence[object] | None,
        option_string: str | None = None,
    ) -> None:
        del parser
        warn_renamed(option_string or "", self.new)
        value: object = True if self.nargs == 0 else values
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, [*before, value] if isinstance(before, list) else value)


def add_renamed(parser: ArgumentParser, old: str, new: str, *, is_flag: bool = False) -> None:
    """Accept the old name of the existing option `new`, for one release."""
    nargs = 0 if is_flag else None
    dest = new.removeprefix("--").replace("-", "_")
    parser.add_argument(old, action=_Renamed, dest=dest, new=new, nargs=nargs)


def warn_renamed(old: str, new: str) -> None:
    """Name the new word for an old one on standard error."""
    sys.stderr.write(f"dlimg: `{old}` is called `{new}` now; the next release knows only that\n")


def refuse_empty(arguments: Namespace, names: Iterable[str]) -> None:
    """Raise BadInput for options with an empty value, as from a variable that was never set."""
    empty = [f"--{name}" for name in names if getattr(arguments, name) == ""]
    if empty:
        raise BadInput(
            f"{', '.join(empty)}: the value is empty", hint="give a value, or leave it out"
        )


def command_of(texts: list[str]) -> tuple[str, ...]:
    """Return the arguments of a command; a single text with spaces is a line for the shell."""
    if len(texts) == 1 and " " in texts[0].strip():
        return ("sh", "-c", texts[0])
    return tuple(texts)
