"""The program `dlimg`: finds the command, runs it, returns its exit code.

Only the module of the chosen command is imported, so that `--help` and `--version` are quick.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Final, NoReturn

from dlimg import __version__
from dlimg.errors import DlimgError, nearest

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


# Each command with what it does, in the order of the help. Its module has the same name.
COMMANDS: Final = {
    "list": "Show the cells of the matrix.",
    "show": "Show one cell: its wheels, tags and how to run it.",
    "size": "Show the layers of images, what they share, and what a pull costs.",
    "checks": "List the checks and the cells that each is for.",
    "facts": "Show facts about GPUs, CUDA and frameworks, with sources.",
    "why": "Say whether a combination works, by which rules, and what else would.",
    "pick": "Say which tag runs on a GPU and driver, and why others do not.",
    "lint": "Check the matrix and its locks against the facts.",
    "lock": "Resolve cells to exact wheels, and write the locks.",
    "render": "Write the Dockerfile of each locked cell.",
    "plan": "Show what would be built, as data.",
    "build": "Build and tag images.",
    "test": "Build missing images, then run the checks in containers.",
    "publish": "Build, test, and push the images that passed.",
    "bench-gpu": "Measure the GPU, in containers or with --on-host; keeps no evidence.",
    "inspect": "Show any image: its contents, and all evidence about it.",
    "engine": "Start, show or stop dlimg's own container engine.",
    "prune": "Remove dlimg's images and build cache from the engine (`store prune`: from disk).",
    "store": "Show, verify, prune or export the layers that images are assembled from.",
}
# Commands and actions under their old names, until the next release.
RENAMED: Final = {"layers": "store"}
RENAMED_ACTIONS: Final = {"list": "ls"}


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors look like all other errors of dlimg."""

    def error(self, message: str) -> NoReturn:
        sys.stderr.write(f"dlimg: {message}\n  hint: `{self.prog} --help` shows what there is\n")
        raise SystemExit(2)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the arguments before the command."""
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
    return top


def parser_of_help() -> argparse.ArgumentParser:
    """Return the parser with all commands, but without their arguments."""
    top = parser()
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about)
    return top


def command_module(command: str) -> ModuleType:
    """Return the module of a command: `add_arguments`, `options_of`, `run`."""
    return import_module(f"dlimg.cli.{command.replace('-', '_')}")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments; `command` is None where none is named.

    Prints an error and raises SystemExit for wrong usage.
    """
    position = _position_of_command(words)
    if position is None:
        return parser_of_help().parse_args(words)
    words = _with_new_names(words, position)
    name = words[position]
    if name not in COMMANDS:
        sys.stderr.write(
            f"dlimg: no command is called {name!r}\n  hint: {nearest(name, COMMANDS)}\n"
        )
        raise SystemExit(2)
    about = COMMANDS[name]
    top = parser()
    commands = top.add_subparsers(dest="command", metavar="COMMAND")
    command = commands.add_parser(name, help=about, description=about, allow_abbrev=False)
    command_module(name).add_arguments(command)
    arguments, unknown = top.parse_known_args(words)
    if unknown:
        command.error(f"unrecognized arguments: {' '.join(unknown)}")
    return arguments


def _position_of_command(words: Sequence[str]) -> int | None:
    """Return the index of the first word that is no option of `dlimg` itself."""
    expects_value = False
    for position, word in enumerate(words):
        if expects_value:
            expects_value = False
        elif word == "--matrix":
            expects_value = True
        elif not word.startswith("-"):
            return position
    return None


def _with_new_names(words: Sequence[str], position: int) -> Sequence[str]:
    """Return the words with the command's new name in place of an old one."""
    old, *rest = words[position:]
    if old not in RENAMED:
        return words
    new = RENAMED[old]
    sys.stderr.write(
        f"dlimg: `dlimg {old}` is called `dlimg {new}` now; the next release knows only that\n"
    )
    if rest:
        rest[0] = RENAMED_ACTIONS.get(rest[0], rest[0])
    return [*words[:position], new, *rest]


def main(words: Sequence[str]) -> int:
    """Run one command and return its exit code; errors are shown without a traceback."""
    arguments = parse(words)
    if arguments.command is None:
        parser_of_help().print_help()
        return 2
    return run(arguments)


def run(arguments: argparse.Namespace) -> int:
    """Run the command of these arguments and return its exit code."""
    # Not at the top: `--help` does without.
    from dlimg.cli.printing import log  # noqa: PLC0415
    from dlimg.context import Context  # noqa: PLC0415

    module = command_module(arguments.command)
    context = Context.of(os.environ, log)
    try:
        code: int = module.run(module.options_of(arguments), context)
    except DlimgError as error:
        for problem in error.problems:
            log(f"dlimg: {problem}")
        return error.exit_code
    except OSError as error:
        log(f"dlimg: {error.filename or 'system'}: {error.strerror or error}")
        return 1
    return code


def entry() -> NoReturn:
    """Run the program. SIGTERM is handled like Ctrl-C: both clean up."""
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
