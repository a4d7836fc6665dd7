"""The dispatcher: parses a command's arguments and runs it."""

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Final

from dlimg.cli.arguments import warn_renamed
from dlimg.cli.commands import (
    COMMANDS,
    OF_RUNS,
    WITHOUT_PROJECT,
    parser,
    parser_of_help,
    position_of_command,
)
from dlimg.cli.printing import log
from dlimg.context import Context, Log
from dlimg.errors import DlimgError, nearest
from dlimg.pipeline.shipped import MATRIX, matrix_file

# Commands and actions under their old names, until the next release.
RENAMED: Final = {"layers": "store"}
RENAMED_ACTIONS: Final = {"list": "ls"}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the arguments of a command, in their order on the command line.

    Prints an error and raises SystemExit for wrong usage.
    """
    position = position_of_command(argv)
    if position is None:
        return parser_of_help().parse_args(argv)
    argv = _with_new_names(argv, position)
    name = argv[position]
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
    arguments, unknown = top.parse_known_args(argv)
    if unknown:
        sys.stderr.write(
            f"dlimg: unrecognized arguments: {' '.join(unknown)}\n"
            f"  hint: {_unknown_hint(unknown, command, argv, arguments)}\n"
        )
        raise SystemExit(2)
    return arguments


def _unknown_hint(
    unknown: Sequence[str],
    command: argparse.ArgumentParser,
    argv: Sequence[str],
    arguments: argparse.Namespace,
) -> str:
    """Return the line with `--` before the command of a run, or the nearest option."""
    given, count = list(argv), len(getattr(arguments, "cmd", None) or ())
    starts = [n for n in range(len(given)) if count and given[n : n + count] == arguments.cmd]
    if starts and starts[-1] < given.index(unknown[0]):
        line = shlex.join(["dlimg", *given[: starts[-1]], "--", *given[starts[-1] :]])
        return f"options of the command are behind `--`: `{line}`"
    options = command._option_string_actions  # noqa: SLF001 - argparse lists them nowhere else
    names = {option.lstrip("-"): option for option in options if option.startswith("--")}
    # Without the dashes, which would make all of them alike.
    close = get_close_matches(unknown[0].partition("=")[0].lstrip("-"), names, n=1, cutoff=0.6)
    if close:
        return f"did you mean `{names[close[0]]}`?"
    return f"`{command.prog} --help` shows what there is"


def _with_new_names(argv: Sequence[str], position: int) -> Sequence[str]:
    """Return the arguments, with an old name of the command replaced by the new one."""
    old, *arguments = argv[position:]
    if old not in RENAMED:
        return argv
    new = RENAMED[old]
    warn_renamed(f"dlimg {old}", f"dlimg {new}")
    if arguments:
        arguments[0] = RENAMED_ACTIONS.get(arguments[0], arguments[0])
    return [*argv[:position], new, *arguments]


def default_matrix(command: str, log: Log) -> str:
    """Return the matrix of a command that names none; empty for commands of runs."""
    if command in OF_RUNS:
        return ""
    return matrix_file(log) if command in WITHOUT_PROJECT else MATRIX


def command_module(command: str) -> ModuleType:
    """Return the module of a command: `add_arguments`, `options_of`, `run`."""
    return import_module(f"dlimg.cli.{command.replace('-', '_')}")


def run(arguments: argparse.Namespace) -> int:
    """Run the command of these arguments and return its exit code."""
    module = command_module(arguments.command)
    context = Context.of(os.environ, log)
    try:
        arguments.matrix = arguments.matrix or default_matrix(arguments.command, log)
        code: int = module.run(module.options_of(arguments), context)
    except DlimgError as error:
        for problem in error.problems:
            log(f"dlimg: {problem}")
        return error.exit_code
    except OSError as error:
        is_folder_gone = isinstance(error, FileNotFoundError) and error.filename is None
        subject = "this folder" if is_folder_gone else error.filename or "system"
        log(f"dlimg: {subject}: {error.strerror or error}")
        return 1
    return code
