"""`dlimg rm`: removes runs that have ended, their containers and records; outputs stay."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_on
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import BadInput, Negative, Problem
from dlimg.pipeline.run_on import bring_back, remove_there
from dlimg.report.run import outside_lines
from dlimg.run.container import remove_container
from dlimg.run.find import RunFinder, refuse_of_others
from dlimg.run.gpu_queue import forget_holder
from dlimg.run.lifecycle import files_outside, status_of, statuses_at
from dlimg.run.model import RunStatus
from dlimg.run.record import drop_record


@dataclass(frozen=True, slots=True, kw_only=True)
class RmOptions:
    """The options of `rm`; `force` also removes live runs, and containers with unfetched files."""

    runs: tuple[str, ...]
    on: str
    ended: bool
    force: bool


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="NAME:NUMBER, or NAME for its last")
    add_on(parser)
    parser.add_argument("--ended", action="store_true", help="all runs that have ended")
    parser.add_argument(
        "--force", action="store_true", help="also running ones, and files outside of /output"
    )


def options_of(arguments: Namespace) -> RmOptions:
    if bool(arguments.runs) == arguments.ended:
        raise BadInput("name runs, or give --ended", hint="`dlimg ps` lists runs")
    return RmOptions(
        runs=tuple(arguments.runs),
        on=arguments.on or "",
        ended=arguments.ended,
        force=arguments.force,
    )


def run(options: RmOptions, context: Context) -> int:
    """Return 0 if all are removed; raise Negative for those that are not."""
    with engine_errors():
        finder = RunFinder(context=context, on=options.on)
        problems = [
            problem
            for status, engine in _chosen(options, finder, context)
            if (problem := _remove(status, options, engine, context))
        ]
    if problems:
        raise Negative.of(problems)
    return 0


def _chosen(
    options: RmOptions, finder: RunFinder, context: Context
) -> Sequence[tuple[RunStatus, Engine]]:
    if options.ended:
        engine = finder.named_engine()
        rows = statuses_at(engine)
        return [(status, engine) for status in rows if status.state in {"ended", "gone"}]
    # One run may be named twice, as `hello` and as `hello:3`.
    runs = {str(run[0].run): run for run in (finder.find(text) for text in options.runs)}
    records = list(runs.values())
    for record, _ in records:
        refuse_of_others(record, "rm")
    return [(status_of(record, engine, context), engine) for record, engine in records]


def _remove(
    status: RunStatus, options: RmOptions, engine: Engine, context: Context
) -> Problem | None:
    """Remove a run; return why it is not removed."""
    record = status.record
    if status.is_live and not options.force:
        hint = f"`dlimg stop {record.run}` first, or --force"
        return Problem(message=f"{record.run} runs", hint=hint)
    paths = files_outside(record, engine) if status.state == "ended" else ()
    if paths and not options.force:
        for line in outside_lines(record, paths):
            context.log(line)
        amount = "a file that is" if len(paths) == 1 else f"{len(paths)} files that are"
        message = f"{record.run} is not removed: it wrote {amount} nowhere else"
        return Problem(message=message, hint="fetch them, then `dlimg rm --force`")
    bring_back(record, engine, context)
    remove_container(record.container, engine)
    remove_there(record, engine, context)
    if not record.origin:
        drop_record(record.run, context)
    forget_holder(record.container, engine, context)
    remark = f"; its output stays in {record.output}" if Path(record.output).is_dir() else ""
    context.log(f"removed {record.run}{remark}")
    return None
