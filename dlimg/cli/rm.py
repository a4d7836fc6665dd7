"""`dlimg rm`: removes runs that have ended, their containers and records; outputs stay."""

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass

from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import BadInput, DlimgError, Negative, Problem
from dlimg.report.run import outside_lines
from dlimg.run.container import remove_container
from dlimg.run.gpu_queue import forget_holder
from dlimg.run.lifecycle import files_outside, running_engine, status_of, statuses
from dlimg.run.model import RunStatus
from dlimg.run.record import drop_record, find_record


@dataclass(frozen=True, slots=True, kw_only=True)
class RmOptions:
    """The options of `rm`; `force` also takes runs that run, and files that are nowhere else."""

    runs: tuple[str, ...]
    ended: bool
    force: bool


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="NAME:NUMBER, or NAME for its last")
    parser.add_argument("--ended", action="store_true", help="all runs that have ended")
    parser.add_argument(
        "--force", action="store_true", help="also running ones, and files outside of /output"
    )


def options_of(arguments: Namespace) -> RmOptions:
    if bool(arguments.runs) == arguments.ended:
        raise BadInput("name runs, or give --ended", hint="`dlimg ps` lists runs")
    return RmOptions(runs=tuple(arguments.runs), ended=arguments.ended, force=arguments.force)


def run(options: RmOptions, context: Context) -> int:
    """Return 0 if all are removed; raise Negative for those that are not."""
    with engine_errors():
        engine = running_engine(context)
        problems = [
            problem
            for status in _chosen(options, engine, context)
            for problem in _remove(status, options, engine, context)
        ]
    if problems:
        raise _refused(problems)
    return 0


def _refused(problems: Sequence[Problem]) -> DlimgError:
    return Negative.of(problems)


def _chosen(options: RmOptions, engine: Engine, context: Context) -> Sequence[RunStatus]:
    if options.ended:
        return [s for s in statuses(engine, context) if s.state in {"ended", "gone"}]
    records = [find_record(text, context) for text in options.runs]
    return [status_of(record, engine, context) for record in records]


def _remove(
    status: RunStatus, options: RmOptions, engine: Engine, context: Context
) -> Sequence[Problem]:
    """Remove a run; return why it is not removed."""
    record = status.record
    if not options.force and status.state in {"running", "starting", "waiting"}:
        hint = f"`dlimg stop {record.run}` first, or --force"
        return [Problem(message=f"{record.run} runs", hint=hint)]
    paths = files_outside(record, engine) if status.state == "ended" else ()
    if paths and not options.force:
        for line in outside_lines(record, paths):
            context.log(line)
        message = f"{record.run} is kept: it wrote {len(paths)} files that are nowhere else"
        return [Problem(message=message, hint="fetch them, then `dlimg rm --force`")]
    remove_container(record.container, engine)
    drop_record(record.run, context)
    forget_holder(record.container, context)
    context.log(f"removed {record.run}; its output stays in {record.output}")
    return ()
