"""`dlimg exec`: another command in the container of a run."""

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from dlimg.cli.arguments import add_on, command_of
from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.errors import BadInput
from dlimg.host.process import run_in_terminal
from dlimg.run.find import RunFinder
from dlimg.run.lifecycle import status_of
from dlimg.run.start_script import exec_command


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """The options of `exec`; a shell without a command."""

    run: str
    on: str
    command: tuple[str, ...]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="NAME:NUMBER, or NAME for its last run")
    add_on(parser)
    parser.add_argument("cmd", nargs="*", metavar="CMD", help="the command (a shell)")


def options_of(arguments: Namespace) -> ExecOptions:
    return ExecOptions(
        run=arguments.run, on=arguments.on or "", command=command_of(arguments.cmd) or ("bash",)
    )


def run(options: ExecOptions, context: Context) -> int:
    """Return the exit code of the command."""
    with engine_errors():
        record, engine = RunFinder(context=context, on=options.on).find(options.run)
        state = status_of(record, engine, context).state
        if state not in {"running", "waiting"}:
            hint = "`dlimg run` starts a new one"
            raise BadInput(f"{record.run} does not run: its state is {state}", hint=hint)
        terminal = sys.stdin.isatty() and sys.stdout.isatty()
        arguments = ["exec", "--interactive", *(["--tty"] if terminal else []), record.container]
        arguments += exec_command(options.command)
        argv = engine.docker_argv(*arguments, terminal=terminal)
        return run_in_terminal(argv, env=engine.environment)
