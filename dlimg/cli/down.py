"""`dlimg down`: ends the runs of this folder's project."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.pipeline.run_project import request_in
from dlimg.pipeline.run_start import run_name
from dlimg.report.run import end_lines
from dlimg.run.container import stop_container
from dlimg.run.lifecycle import output_size, running_engine, status_of, statuses
from dlimg.run.model import RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class DownOptions:
    """The options of `down`; the request says which runs are the project's."""

    request: RunRequest


def add_arguments(parser: ArgumentParser) -> None:
    parser.set_defaults()


def options_of(arguments: Namespace) -> DownOptions:
    del arguments
    return DownOptions(request=request_in(RunRequest(folder=Path.cwd())))


def run(options: DownOptions, context: Context) -> int:
    """Return 0, also if nothing runs."""
    name = run_name(options.request)
    with engine_errors():
        engine = running_engine(context)
        live = [
            status.record
            for status in statuses(engine, context)
            if status.record.run.name == name and status.state not in {"ended", "gone"}
        ]
        for record in live:
            stop_container(record.container, options.request.stop_seconds, engine)
            ended = status_of(record, engine, context).record
            for line in end_lines(ended, output_size(ended.output)):
                context.log(line)
    if not live:
        context.log(f"no run of {name} is there to end")
    return 0
