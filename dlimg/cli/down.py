"""`dlimg down`: ends the runs of this folder's project."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_on
from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.pipeline.run_on import bring_back
from dlimg.pipeline.run_project import request_in
from dlimg.pipeline.run_start import run_name
from dlimg.report.run import end_lines
from dlimg.run.container import stop_container
from dlimg.run.find import RunFinder
from dlimg.run.lifecycle import is_at, output_size, status_of, statuses
from dlimg.run.model import RunRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class DownOptions:
    """The options of `down`; the request says which runs are the project's."""

    request: RunRequest
    on: str


def add_arguments(parser: ArgumentParser) -> None:
    add_on(parser)


def options_of(arguments: Namespace) -> DownOptions:
    request = request_in(RunRequest(folder=Path.cwd()))
    return DownOptions(request=request, on=arguments.on or "")


def run(options: DownOptions, context: Context) -> int:
    """Return 0, also if nothing runs."""
    name = run_name(options.request)
    with engine_errors():
        engine = RunFinder(context=context, on=options.on).named_engine()
        live = [
            status.record
            for status in statuses(engine, context)
            if status.record.run.name == name
            and status.state not in {"ended", "gone"}
            and is_at(status.record, engine)
        ]
        for record in live:
            stop_container(record.container, options.request.stop_seconds, engine)
            bring_back(record, engine, context)
            ended = status_of(record, engine, context).record
            for line in end_lines(ended, output_size(ended.output)):
                context.log(line)
    if not live:
        context.log(f"no run of {name} is there to end")
    return 0
