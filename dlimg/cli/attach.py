"""`dlimg attach`: the terminal of a run, or its output as it comes."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import Final

from dlimg.cli.arguments import add_on
from dlimg.cli.printing import write_bytes
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import BadInput
from dlimg.host.process import run_in_terminal
from dlimg.pipeline.run_on import reach
from dlimg.report.run import detached_text
from dlimg.run.find import RunFinder
from dlimg.run.follow import LogRequest, log_lines
from dlimg.run.lifecycle import status_of
from dlimg.run.model import RunRecord
from dlimg.run.secrets import Masker, values_to_mask

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
    """Return 0, also when Ctrl-C detaches; of a terminal the exit code of its command."""
    with engine_errors():
        record, engine = RunFinder(context=context, on=options.on).find(options.run)
        state = status_of(record, engine, context).state
        if state not in {"running", "waiting"}:
            hint = f"`dlimg logs {record.run}` shows its output"
            raise BadInput(f"{record.run} does not run: its state is {state}", hint=hint)
        for line in reach(status_of(record, engine, context), (), {}, engine, context):
            context.log(line)
        if record.terminal:
            context.log(f"attached to {record.run}; Ctrl-P Ctrl-Q detaches")
            argv = engine.docker_argv("attach", record.container, terminal=True)
            return run_in_terminal(argv, env=engine.environment)
        _follow(record, engine, context)
    return 0


def _follow(record: RunRecord, engine: Engine, context: Context) -> None:
    masker = Masker(values_to_mask(record, "running", engine))
    context.log(f"attached to {record.run}; Ctrl-C detaches")
    request = LogRequest(follow=True, tail=_LINES, times=False)
    try:
        for line in log_lines(record.container, request, engine):
            write_bytes(masker(line), "out")
    except KeyboardInterrupt:
        context.log(detached_text(record))
    write_bytes(masker.end(), "out")
