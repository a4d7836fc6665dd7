"""`dlimg down`: ends the runs of this folder's project."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_on
from dlimg.cli.run_output import log_end
from dlimg.context import Context
from dlimg.engine.client import engine_errors
from dlimg.pipeline.run_project import request_in
from dlimg.pipeline.run_start import run_name
from dlimg.run.container import stop_container
from dlimg.run.find import RunFinder
from dlimg.run.lifecycle import statuses_at
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
        live = [status.record for status in statuses_at(engine, name) if status.is_live]
        for record in live:
            stop_container(record.container, options.request.stop_seconds, engine)
            log_end(record, engine)
    if not live:
        context.log(f"no run of {name} is running")
    return 0
