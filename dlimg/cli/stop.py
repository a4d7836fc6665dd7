"""`dlimg stop`: ends runs, with time to save their work."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from typing import Final

from dlimg.cli.arguments import add_on
from dlimg.cli.run_output import log_end
from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.errors import BadInput
from dlimg.run.container import stop_container
from dlimg.run.find import RunFinder, refuse_of_others
from dlimg.run.model import STOP_SECONDS

_MOST_SECONDS: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class StopOptions:
    """The options of `stop`."""

    runs: tuple[str, ...]
    on: str
    seconds: int


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="NAME:NUMBER, or NAME for its last")
    add_on(parser)
    parser.add_argument(
        "--seconds",
        type=int,
        default=STOP_SECONDS,
        metavar="N",
        help=f"from SIGTERM to SIGKILL ({STOP_SECONDS})",
    )


def options_of(arguments: Namespace) -> StopOptions:
    if not 0 <= arguments.seconds <= _MOST_SECONDS:
        message = f"--seconds {arguments.seconds} is no time to stop in"
        raise BadInput(message, hint=f"give 0 to {_MOST_SECONDS}")
    return StopOptions(runs=tuple(arguments.runs), on=arguments.on or "", seconds=arguments.seconds)


def run(options: StopOptions, context: Context) -> int:
    """Return 0; a run that has ended already is no error."""
    with engine_errors():
        finder = RunFinder(context=context, on=options.on)
        runs = [finder.find(text) for text in options.runs]
        for record, _ in runs:
            refuse_of_others(record, "stop")
        for record, engine in runs:
            stop_container(record.container, options.seconds, engine)
            log_end(record, engine)
    return 0
