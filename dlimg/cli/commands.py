"""The commands and the top of the command line; imports nothing that is slow."""

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from dlimg import __version__

DESCRIPTION: Final = "Container images for deep learning: one matrix in, tested images out."
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


# Commands that use the matrix that comes with dlimg where there is no other.
WITHOUT_PROJECT: Final = frozenset(
    {"list", "show", "size", "checks", "why", "pick", "plan", "build", "test", "bench-gpu"}
)

# Commands of runs: they look for a matrix themselves, or need none.
OF_RUNS: Final = frozenset(
    {"run", "new", "up", "down", "ps", "logs", "attach", "exec", "stop", "output", "data", "rm"}
    | {"doctor"}
)

# Each command with what it does, in the order of the help. Its module has the same name.
COMMANDS: Final = {
    "init": "Start a repository of your own: a matrix, nox sessions, a workflow.",
    "add": "Add a cell to the matrix, with the stack, values and excludes that it needs.",
    "remove": "Remove cells from the matrix, with all that only they need.",
    "list": "Show the cells of the matrix, or the templates that images are made from.",
    "show": "Show one cell: its wheels, tags and how to run it.",
    "size": "Show the layers of images, what they share, and what a pull costs.",
    "checks": "List the checks and the cells that each is for.",
    "facts": "Show facts about GPUs, CUDA and frameworks, with sources.",
    "catalogue": "Try every release that the index serves; write docs/catalogue.md.",
    "why": "Say whether a combination works, by which rules, and what else would.",
    "pick": "Say which tag runs on a GPU and driver, and why others do not.",
    "eject": "Copy templates or checks that come with dlimg into the project, to change them.",
    "lint": "Check the matrix and its locks against the facts.",
    "wheel": "Build the wheel of a package that has none, in a container of a cell's system.",
    "lock": "Resolve cells to exact wheels, and write the locks.",
    "render": "Write the Dockerfile of each locked cell.",
    "plan": "Show what would be built, as data.",
    "run": "Run a folder's command in an image, with its data, output and a GPU.",
    "doctor": "Say what a machine lacks for runs: driver, toolkit, engine, disk; install it.",
    "new": "Start a folder with a project file for runs.",
    "up": "Run the project of this folder, and follow it.",
    "down": "End the runs of this folder's project.",
    "ps": "List runs, and how each ended.",
    "logs": "Show the output of a run, also as it comes.",
    "attach": "Go on with a run as if it had been started here.",
    "exec": "Run another command in a run's container.",
    "stop": "End runs, with time to save their work.",
    "output": "Show or copy what a run wrote.",
    "data": "Keep data for runs: add, list or remove it.",
    "rm": "Remove runs that have ended; their output stays.",
    "build": "Build and tag images.",
    "test": "Build missing images, then run the checks in containers.",
    "publish": "Build, test, and push the images that passed.",
    "bench-gpu": "Measure the GPU, in containers or with --on-host; keeps no evidence.",
    "inspect": "Show any image: its contents, and all evidence about it.",
    "engine": "Start, show or stop dlimg's own container engine.",
    "prune": "Remove dlimg's images and build cache from the engine (`store prune`: from disk).",
    "store": "Show, verify, prune or export the layers that images are assembled from.",
}


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors look like all other errors of dlimg."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"dlimg: {message}\n  hint: `{self.prog} --help` shows what there is\n")
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments before the command."""
    top = Parser(
        prog="dlimg",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"dlimg {__version__}")
    top.add_argument(
        "--matrix",
        default="",
        metavar="FILE",
        help="the matrix (matrix.yaml; without one here, questions and builds use dlimg's own)",
    )
    return top


def parser_of_help() -> argparse.ArgumentParser:
    """Return the parser with all commands, but without their arguments."""
    top = parser()
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about)
    return top


def position_of_command(argv: Sequence[str]) -> int | None:
    """Return the index of the first argument that is not an option of `dlimg` itself."""
    expects_value = False
    for position, argument in enumerate(argv):
        if expects_value:
            expects_value = False
        elif argument == "--matrix":
            expects_value = True
        elif not argument.startswith("-"):
            return position
    return None
