"""`dlimg ps`: the runs of this user, those of others where asked, and how each ended."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass

from dlimg.cli.arguments import add_format, add_on
from dlimg.cli.printing import print_json, print_table
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import NoEngine
from dlimg.host.ssh import SCHEME
from dlimg.report.plain import filled_columns
from dlimg.report.run import HEADINGS, status_json, status_row
from dlimg.run.find import other_runs, remote_engine
from dlimg.run.lifecycle import running_engine, statuses, statuses_at
from dlimg.run.record import read_records


@dataclass(frozen=True, slots=True, kw_only=True)
class PsOptions:
    """The options of `ps`."""

    on: str
    of_all_users: bool
    only_running: bool
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--running", action="store_true", help="only those that run now")
    parser.add_argument(
        "--all", action="store_true", help="also those that others began on this engine; as --on"
    )
    add_on(parser)
    add_format(parser)


def options_of(arguments: Namespace) -> PsOptions:
    return PsOptions(
        on=arguments.on or "",
        of_all_users=arguments.all,
        only_running=arguments.running,
        format=arguments.format,
    )


def run(options: PsOptions, context: Context) -> int:
    """Return 0; without an engine the records are shown as they are."""
    with engine_errors():
        engine = remote_engine(options.on, context) if options.on else _engine(options, context)
        rows = statuses_at(engine) if engine and options.on else statuses(engine, context)
        if engine and (options.on or options.of_all_users):
            rows = (*rows, *other_runs(engine, context))
            rows = tuple(sorted(rows, key=lambda status: status.record.created))
    is_empty = not rows
    if options.only_running:
        rows = tuple(status for status in rows if status.is_live)
    if options.format == "json":
        print_json([status_json(status) for status in rows])
    elif rows:
        table = filled_columns(HEADINGS, [status_row(status) for status in rows])
        print_table(*table, context)
    elif is_empty:
        context.log("there are no runs: `dlimg run` starts one")
    else:
        context.log("no run is running now: `dlimg ps` lists those that ended")
    return 0


def _engine(options: PsOptions, context: Context) -> Engine | None:
    """Return the local engine; None if none answers, or if all runs are on other machines."""
    records = read_records(context)
    if not options.of_all_users and all(r.host.startswith(SCHEME) for r in records):
        return None
    try:
        return running_engine(context)
    except NoEngine as error:
        context.log(f"the states of runs are not known: {error}")
        return None
