"""The command line: words in, one command called, an exit code out.

Only argparse is imported here; a command's module is imported when that command runs, so that
`--help` and `--version` stay cheap.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias

from dlimg import __version__, options

DESCRIPTION: Final = "Container images for deep learning: one matrix in, tested images out."
INTERRUPTED: Final = 130
EPILOG: Final = """\
A PATTERN is a cell id, with `*` and `?` allowed. Without one, build, test and publish take the
group `default`; list, lock, render, plan and size take all cells.

exit codes:
  0    done
  1    a negative answer: a build or check failed, something is stale or refused
  2    wrong usage or wrong input
  3    required checks were not run
  4    no container engine, or no base image
  5    the network, an index or a registry did not answer
  130  interrupted
"""


class _Parser(argparse.ArgumentParser):
    """argparse whose refusals look like all other refusals of dlimg."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"dlimg: {message}\n  hint: `{self.prog} --help` shows what there is\n")
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """The whole command line."""
    top = _Parser(
        prog="dlimg",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"dlimg {__version__}")
    top.add_argument(
        "--matrix", default="matrix.yaml", metavar="FILE", help="the matrix (matrix.yaml)"
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    _choosing(commands)
    _knowing(commands)
    _advising(commands)
    _drawing(commands)
    _making(commands)
    _keeping(commands)
    _storing(commands)
    return top


# At run time argparse's class takes no parameter.
if TYPE_CHECKING:
    Commands: TypeAlias = argparse._SubParsersAction[_Parser]  # noqa: SLF001
else:
    Commands = object


def _command(commands: Commands, name: str, module: str, about: str) -> argparse.ArgumentParser:
    one = commands.add_parser(
        name, help=about, description=about, allow_abbrev=False, formatter_class=_formatter
    )
    one.set_defaults(module=module)
    return one


@cache
def _width() -> int:
    """As argparse has it, which asks anew for every option: a third of what all this costs."""
    try:
        columns = int(os.environ.get("COLUMNS") or 0) or os.get_terminal_size().columns
    except (OSError, ValueError):
        columns = 0
    return (columns or 80) - 2


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.HelpFormatter(prog, width=_width())


def _choosing(commands: Commands) -> None:
    one = _command(commands, "list", "listing", "Show the cells of the matrix.")
    options.patterns(one)
    one.add_argument("--dropped", action="store_true", help="show what was dropped, and why")
    options.output_format(one)
    one = _command(
        commands, "show", "showing", "Show one cell: its wheels, tags and how to run it."
    )
    one.add_argument("cell", metavar="CELL", help="its id, or a pattern that fits no other")
    options.output_format(one)
    one = _command(
        commands, "size", "sizing", "Show what images are made of, share, and cost to pull."
    )
    options.patterns(one)
    one.add_argument(
        "--having",
        action="append",
        default=[],
        metavar="PATTERN",
        help="show what a machine pulls that has these images already",
    )
    one.add_argument("--svg", metavar="FILE", help="also write a picture of all layers to FILE")
    options.output_format(one)
    one = _command(
        commands, "checks", "showing", "List the checks, and for how many cells each of them is."
    )
    options.patterns(one)
    options.own_checks(one)
    options.output_format(one)


def _advising(commands: Commands) -> None:
    one = _command(
        commands,
        "why",
        "why",
        "Say whether a combination works, which rules say so, and what else would.",
    )
    options.question(one)
    options.output_format(one)
    one = _command(
        commands,
        "pick",
        "picking",
        "Say which tag runs on a GPU and driver, and why others do not.",
    )
    one.add_argument("family", nargs="?", metavar="FAMILY", help="of this family only")
    options.machine(one)
    one.add_argument("--all", action="store_true", help="every Python, system and flavour, too")
    options.output_format(one)
    one = _command(commands, "lint", "linting", "Hold the matrix and its locks against the facts.")
    one.add_argument(
        "--format", choices=("text", "json", "github"), default="text", help="how to print (text)"
    )
    one.add_argument("--strict", action="store_true", help="warnings fail, too")
    one.add_argument(
        "--index", action="store_true", help="also ask the package index and registries"
    )
    one.add_argument("--explain", metavar="ID", help="print the page of a finding, and end")
    one.add_argument("--pages", metavar="DIR", help="write the pages of all findings, and end")


def _knowing(commands: Commands) -> None:
    one = _command(
        commands, "facts", "facts", "Show what is known of GPUs, CUDA and frameworks, with sources."
    )
    one.add_argument("subject", nargs="?", metavar="SUBJECT", help="one of them; none: all")
    one.add_argument("names", nargs="*", metavar="NAME", help='rows of it, e.g. "RTX 4090", 2.6.0')
    one.add_argument(
        "--keep", action="store_true", help="write the JSON beside edited YAML, and nothing else"
    )
    one.add_argument(
        "--refresh", action="store_true", help="ask the package index; add rows for new releases"
    )
    one.add_argument("--check", action="store_true", help="with --refresh: write nothing")
    one.add_argument("--commit", action="store_true", help="with --refresh: a commit for each row")
    options.output_format(one)


def _drawing(commands: Commands) -> None:
    one = _command(
        commands, "lock", "locking", "Resolve cells to exact wheels, and write them down."
    )
    options.patterns(one)
    one.add_argument("--check", action="store_true", help="only say whether locks are current")
    one.add_argument("--upgrade", action="store_true", help="resolve anew what is current, too")
    one.add_argument(
        "--bases", action="store_true", help="pin the registry's digests of base images instead"
    )
    options.engine_choice(one)
    options.find_links(one)
    one = _command(commands, "render", "drawing", "Write the Dockerfile of each locked cell.")
    options.patterns(one)
    one.add_argument("--check", action="store_true", help="only say whether they are current")
    one = _command(commands, "plan", "drawing", "Show what would be built, as data.")
    options.patterns(one)
    options.base(one)
    options.builder(one)
    options.output_format(one, "bake", "github")


def _making(commands: Commands) -> None:
    for name, about in (
        ("build", "Build and tag images."),
        ("test", "Build what is missing, then run the checks in containers."),
        ("publish", "Build, test, and push what passed."),
        ("bench-gpu", "Measure the GPU, in containers or with --bare; keeps no evidence."),
    ):
        one = _command(commands, name, "bench" if name == "bench-gpu" else "making", about)
        options.patterns(one)
        one.add_argument("--jobs", type=int, default=2, metavar="N", help="builds at once (2)")
        options.base(one)
        options.builder(one)
        options.compression(one)
        options.find_links(one)
        options.engine_choice(one)
        options.output_format(one)
        options.report(one)
        if name == "build":
            options.recording(one)
        if name != "build":
            one.add_argument(
                "--device", metavar="NAME", help="the GPU to use, by its CDI name (found by itself)"
            )
        if name in ("test", "publish"):
            options.own_checks(one)
        if name in ("test", "bench-gpu"):
            options.bare(one)
        if name == "publish":
            one.add_argument("--to", required=True, metavar="REGISTRY", help="e.g. ghcr.io/team")
            one.add_argument(
                "--require",
                choices=("gpu", "no-gpu"),
                default="gpu",
                help="whether a CUDA image must have passed its checks on a GPU (gpu)",
            )
            one.add_argument(
                "--no-evidence",
                action="store_true",
                help="lay no evidence beside the image, for a registry that takes none",
            )


def _keeping(commands: Commands) -> None:
    one = _command(
        commands, "inspect", "inspecting", "Show any image: what is in it, and all its evidence."
    )
    one.add_argument(
        "reference", metavar="REF", help="one in the engine, or HOST/NAME:TAG at a registry"
    )
    options.output_format(one)
    one = _command(commands, "engine", "keeping", "Dlimg's own container engine.")
    one.add_argument(
        "action",
        choices=("up", "status", "down", "purge"),
        help="start it; say whether it runs; stop it; stop it and remove all that it holds",
    )
    options.output_format(one)
    about = "Remove images and build cache that dlimg made in the engine (layers prune: on disk)."
    one = _command(commands, "prune", "keeping", about)
    options.output_format(one)


def _storing(commands: Commands) -> None:
    about = "The store of layers that images are assembled from."
    top = _command(commands, "layers", "layers", about)
    actions = top.add_subparsers(
        dest="action", metavar="ACTION", parser_class=_Parser, required=True
    )
    one = _command(actions, "list", "layers", "Show what is kept, and which cells use it.")
    options.output_format(one)
    one = _command(
        actions, "verify", "layers", "Read every byte; what is damaged is named and removed."
    )
    options.output_format(one)
    one = _command(actions, "prune", "layers", "Remove what no cell of the matrix uses.")
    one.add_argument("--all", action="store_true", help="remove what cells use, too")
    options.output_format(one)
    one = _command(
        actions, "export", "layers", "Write assembled images as an OCI layout that others read."
    )
    one.add_argument("patterns", nargs="+", metavar="PATTERN", help="cells, by id")
    one.add_argument("folder", metavar="FOLDER", help="a new one, or a layout to add to")
    options.compression(one)
    options.output_format(one)


def main(words: Sequence[str]) -> int:
    """The exit code of one command."""
    arguments = parser().parse_args(words)
    if arguments.command is None:
        parser().print_help()
        return 2
    from dlimg.commands.failing import guarded  # noqa: PLC0415 - not for --help

    if arguments.command == "test" and (arguments.bare, arguments.python) != (None, None):
        arguments.module = "bare"
    if arguments.command == "build" and arguments.verify:
        arguments.module = "verifying"
    run = import_module(f"dlimg.commands.{arguments.module}").run
    return guarded(run, arguments, os.environ)


def entry() -> NoReturn:
    """The program `dlimg`. An end asked for by SIGTERM takes the way of Ctrl-C: both clean up."""
    # A stream that the caller has closed is none; writing to it must not be an error.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115 - pathlib
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115 - costs 3 ms
    try:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        code = main(sys.argv[1:])
    except KeyboardInterrupt:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # all is cleaned up; a second one is no news
        sys.stderr.write("dlimg: interrupted; nothing is left running\n")
        code = INTERRUPTED
    sys.exit(code)
