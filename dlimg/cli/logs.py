"""`dlimg logs`: the output of a run so far, or as it comes."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from dlimg.cli.arguments import add_on
from dlimg.cli.run_output import show_log
from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.errors import BadInput
from dlimg.run.find import RunFinder
from dlimg.run.follow import LogRequest
from dlimg.run.lifecycle import status_of


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsOptions:
    """The options of `logs`."""

    run: str
    on: str
    request: LogRequest


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="NAME:NUMBER, or NAME for its last run")
    parser.add_argument(
        "-f", "--follow", action="store_true", help="go on until its end; Ctrl-C detaches"
    )
    parser.add_argument("--tail", type=int, metavar="N", help="only the last N lines")
    add_on(parser)
    parser.add_argument("--no-times", action="store_true", help="without the time of each line")


def options_of(arguments: Namespace) -> LogsOptions:
    if arguments.tail is not None and arguments.tail < 0:
        raise BadInput(f"--tail {arguments.tail} is no number of lines", hint="give 0 or more")
    request = LogRequest(follow=arguments.follow, tail=arguments.tail, times=not arguments.no_times)
    return LogsOptions(run=arguments.run, on=arguments.on or "", request=request)


def run(options: LogsOptions, context: Context) -> int:
    """Return 0, also after Ctrl-C."""
    with engine_errors():
        record, engine = RunFinder(context=context, on=options.on).find(options.run)
        status = status_of(record, engine, context)
        if status.state == "gone":
            hint = "its output folder still exists" if record.output else ""
            raise BadInput(
                f"the container of {record.run} is gone, and its logs with it", hint=hint
            )
        show_log(record, status.state, options.request, engine)
    return 0
