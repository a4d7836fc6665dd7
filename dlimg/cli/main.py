"""The command line: words in, one command called, an exit code out.

Only argparse is imported here; a command's words are added when they are asked for, and its
module is imported when it runs, so that `--help` and `--version` stay cheap.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final, NoReturn

from dlimg import __version__

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


# Each command, its module, and what it is about; in the order in which they are listed.
COMMANDS: Final = (
    ("list", "list", "Show the cells of the matrix."),
    ("show", "show", "Show one cell: its wheels, tags and how to run it."),
    ("size", "size", "Show what images are made of, share, and cost to pull."),
    ("checks", "show", "List the checks, and for how many cells each of them is."),
    ("facts", "facts", "Show what is known of GPUs, CUDA and frameworks, with sources."),
    ("why", "why", "Say whether a combination works, which rules say so, and what else would."),
    ("pick", "pick", "Say which tag runs on a GPU and driver, and why others do not."),
    ("lint", "lint", "Hold the matrix and its locks against the facts."),
    ("lock", "lock", "Resolve cells to exact wheels, and write them down."),
    ("render", "render", "Write the Dockerfile of each locked cell."),
    ("plan", "render", "Show what would be built, as data."),
    ("build", "build", "Build and tag images."),
    ("test", "build", "Build what is missing, then run the checks in containers."),
    ("publish", "build", "Build, test, and push what passed."),
    ("bench-gpu", "bench_gpu", "Measure the GPU, in containers or with --bare; keeps no evidence."),
    ("inspect", "inspect", "Show any image: what is in it, and all its evidence."),
    ("engine", "engine", "Dlimg's own container engine."),
    (
        "prune",
        "engine",
        "Remove images and build cache that dlimg made in the engine (layers prune: on disk).",
    ),
    ("layers", "store", "The store of layers that images are assembled from."),
)


class _Parser(argparse.ArgumentParser):
    """argparse whose refusals look like all other refusals of dlimg."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"dlimg: {message}\n  hint: `{self.prog} --help` shows what there is\n")
        raise SystemExit(2)


def parser(chosen: str = "") -> argparse.ArgumentParser:
    """The command line, with all arguments of the chosen command."""
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
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, _, about in COMMANDS:
        command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
        if name == chosen:
            from dlimg.cli.arguments import add_words  # noqa: PLC0415 - not for --help

            add_words(command, name)
    return top


def _chosen(words: Sequence[str]) -> str:
    """The command that these words name; only its own arguments are added to its parser."""
    names = {name for name, _, _ in COMMANDS}
    return next((word for word in words if word in names), "")


def main(words: Sequence[str]) -> int:
    """The exit code of one command."""
    arguments = parser(_chosen(words)).parse_args(words)
    if arguments.command is None:
        parser().print_help()
        return 2
    from dlimg.cli.errors import guarded  # noqa: PLC0415 - not for --help

    module = next(module for name, module, _ in COMMANDS if name == arguments.command)
    if arguments.command == "test" and (arguments.bare, arguments.python) != (None, None):
        module = "test_host"
    if arguments.command == "build" and arguments.verify:
        module = "build_verify"
    if getattr(arguments, "no_engine", False) or getattr(arguments, "output", None):
        module = "build_no_engine"
    run = import_module(f"dlimg.cli.{module}").run
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
