"""`dlimg exec`: another command in the container of a run."""

import sys
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.errors import BadInput
from dlimg.host.process import run_in_terminal
from dlimg.run.lifecycle import running_engine, status_of
from dlimg.run.record import find_record
from dlimg.run.start_script import exec_words


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecOptions:
    """The options of `exec`; a shell without a command."""

    run: str
    command: tuple[str, ...]


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="NAME:NUMBER, or NAME for its last run")
    parser.add_argument("cmd", nargs="*", metavar="CMD", help="the command (a shell)")


def options_of(arguments: Namespace) -> ExecOptions:
    return ExecOptions(run=arguments.run, command=tuple(arguments.cmd) or ("bash",))


def run(options: ExecOptions, context: Context) -> int:
    """Return the exit code of the command."""
    record = find_record(options.run, context)
    with engine_errors():
        engine = running_engine(context)
        state = status_of(record, engine, context).state
        if state not in {"running", "waiting"}:
            hint = "`dlimg run` starts a new one"
            raise BadInput(f"{record.run} does not run: it is {state}", hint=hint)
        terminal = ["--tty"] if sys.stdin.isatty() and sys.stdout.isatty() else []
        argv = [str(engine.docker), "exec", "--interactive", *terminal, record.container]
        return run_in_terminal([*argv, *exec_words(options.command)], env=engine.environment)
