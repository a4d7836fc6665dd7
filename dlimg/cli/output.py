"""`dlimg output`: the output of a run, shown or copied; also other files of its container."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_on, refuse_empty
from dlimg.cli.printing import out
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import BadInput
from dlimg.pipeline.run_on import bring_back
from dlimg.run.code_state import files_and_bytes
from dlimg.run.fetch import copy_folder, fetch_path
from dlimg.run.find import RunFinder
from dlimg.run.lifecycle import running_engine
from dlimg.run.model import RunRecord
from dlimg.run.record import find_record
from dlimg.units import bytes_text, counted


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputOptions:
    """The options of `output`; without `to` the folder is shown."""

    run: str
    on: str
    to: str
    path: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="NAME:NUMBER, or NAME for its last run")
    add_on(parser)
    parser.add_argument("--to", metavar="DIR", help="copy into this folder")
    parser.add_argument("--path", metavar="PATH", help="another path in its container, with --to")


def options_of(arguments: Namespace) -> OutputOptions:
    refuse_empty(arguments, ("to", "path"))
    if arguments.path and not arguments.to:
        raise BadInput("--path needs --to DIR, where to copy it to")
    return OutputOptions(
        run=arguments.run,
        on=arguments.on or "",
        to=arguments.to or "",
        path=arguments.path or "",
    )


def run(options: OutputOptions, context: Context) -> int:
    """Return 0 if there was something to show or copy."""
    record, engine = _run_of(options, context)
    if engine:
        with engine_errors():
            bring_back(record, engine, context)
    if options.path:
        with engine_errors():
            fetch_path(
                record.container,
                options.path,
                Path(options.to),
                engine or running_engine(context),
            )
        context.log(f"copied {options.path} of {record.run} to {options.to}")
        return 0
    folder = Path(record.output)
    if record.origin and not folder.is_dir():
        hint = (
            f"`dlimg output --on {options.on} {record.run} --path /output --to DIR` asks the engine"
        )
        message = f"{record.run} has no file in /output that you may read: {record.origin} began it"
        raise BadInput(message, hint=hint)
    if not folder.is_dir():
        raise BadInput(f"the output folder of {record.run} is gone", where=record.output)
    if options.to:
        copy_folder(folder, Path(options.to))
        context.log(f"copied {_size_text(record)} to {options.to}")
        return 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        out(f"{path}\n")
    context.log(f"{_size_text(record)} in {record.output}")
    return 0


def _run_of(options: OutputOptions, context: Context) -> tuple[RunRecord, Engine | None]:
    """Return the run and its engine; None for a run whose output is on this machine already."""
    record = None if options.on else find_record(options.run, context)
    if record and not record.base:
        return record, None
    with engine_errors():
        return RunFinder(context=context, on=options.on).find(options.run)


def _size_text(record: RunRecord) -> str:
    files, size = files_and_bytes(Path(record.output))
    return f"{counted(files, 'file')}, {bytes_text(size)}"
