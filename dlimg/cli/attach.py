"""`dlimg attach`: the terminal of a run, or its output as it comes."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import Final

from dlimg.cli.arguments import add_on
from dlimg.cli.run_output import show_log
from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.errors import BadInput
from dlimg.host.process import run_in_terminal
from dlimg.pipeline.run_on import reach
from dlimg.run.find import RunFinder
from dlimg.run.follow import LogRequest
from dlimg.run.lifecycle import status_of

_LINES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachOptions:
    """The options of `attach`."""

    run: str
    on: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="NAME:NUMBER, or NAME for its last run")
    add_on(parser)


def options_of(arguments: Namespace) -> AttachOptions:
    return AttachOptions(run=arguments.run, on=arguments.on or "")


def run(options: AttachOptions, context: Context) -> int:
    """Return 0, also after Ctrl-C; for a run in a terminal, the exit code of its command."""
    with engine_errors():
        record, engine = RunFinder(context=context, on=options.on).find(options.run)
        status = status_of(record, engine, context)
        if status.state not in {"running", "waiting"}:
            hint = f"`dlimg logs {record.run}` shows its output"
            message = f"{record.run} does not run: its state is {status.state}"
            raise BadInput(message, hint=hint)
        for line in reach(status, (), {}, engine, context):
            context.log(line)
        if record.terminal:
            context.log(f"attached to {record.run}; Ctrl-P Ctrl-Q detaches")
            argv = engine.docker_argv("attach", record.container, terminal=True)
            return run_in_terminal(argv, env=engine.environment)
        context.log(f"attached to {record.run}; Ctrl-C detaches")
        show_log(record, "running", LogRequest(follow=True, tail=_LINES, times=False), engine)
    return 0
