"""`dlimg data`: stored data of an engine, fetched once for any number of runs."""

import shlex
import shutil
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dlimg.cli.arguments import add_format, add_on, refuse_empty
from dlimg.cli.printing import print_json, print_table
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import BadInput
from dlimg.host.ssh import check_destination
from dlimg.run.data_fetch import fetch
from dlimg.run.data_source import parse_source
from dlimg.run.data_volume import find_data, remove, store, stored_data, used_by
from dlimg.run.find import remote_engine
from dlimg.run.lifecycle import engine_for_runs
from dlimg.run.names import check_name
from dlimg.units import bytes_text, counted


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """The options of `data` and its actions."""

    action: Literal["add", "ls", "rm"]
    names: tuple[str, ...] = ()
    source: str = ""
    on: str = ""
    format: str = "table"

    @property
    def on_option(self) -> str:
        """The option as it is written in a command."""
        return f" --on {shlex.quote(self.on)}" if self.on else ""


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="fetch data and keep it under a name")
    add_on(add)
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "source",
        metavar="SOURCE",
        help="PATH, https://..., hf:OWNER/MODEL, hf:datasets/OWNER/NAME, kaggle:OWNER/NAME, "
        "git:URL#REVISION",
    )
    listing = actions.add_parser("ls", help="list data with sizes and the runs that use it")
    add_on(listing)
    add_format(listing)
    rm = actions.add_parser("rm", help="remove data that no run uses")
    add_on(rm)
    rm.add_argument("names", nargs="+", metavar="NAME")


def options_of(arguments: Namespace) -> DataOptions:
    refuse_empty(arguments, ("on",))
    on = arguments.on or ""
    match arguments.action:
        case "add":
            check_name(arguments.name, "NAME")
            names = (arguments.name,)
            return DataOptions(action="add", names=names, source=arguments.source, on=on)
        case "rm":
            return DataOptions(action="rm", names=tuple(arguments.names), on=on)
        case _:
            return DataOptions(action="ls", format=arguments.format, on=on)


def run(options: DataOptions, context: Context) -> int:
    with engine_errors():
        engine = _engine(options, context)
        if options.action == "add":
            _add(options, engine, context)
        elif options.action == "rm":
            for name in options.names:
                remove(name, engine, context, on=options.on_option)
        else:
            _list(options.format, engine, context)
    return 0


def _engine(options: DataOptions, context: Context) -> Engine:
    if options.on:
        check_destination(options.on)
        return remote_engine(options.on, context)
    return engine_for_runs("allow" if options.action == "add" else "join", context)


def _add(options: DataOptions, engine: Engine, context: Context) -> None:
    (name,), text = options.names, options.source
    source = parse_source(text)
    if find_data(name, engine):
        hint = f"`dlimg data rm{options.on_option} {name}` first, or take another name"
        raise BadInput(f"there is stored data {name!r} already", hint=hint)
    if source.kind == "path":
        path = Path(source.place)
        if not path.exists():
            raise BadInput(f"there is no folder or file {source.place}")
        data = store(name, str(path.resolve()), path, engine)
    else:
        folder = context.cache / "data" / name
        fetch(source, name, folder, context)
        data = store(name, text, folder, engine)
        shutil.rmtree(folder)
    size = f"{counted(data.files, 'file')}, {bytes_text(data.size)}"
    command = f"dlimg run{options.on_option} --data {name}"
    context.log(f"{name}: {size}; `{command}` has it at /data/{name}")


def _list(format: str, engine: Engine, context: Context) -> None:  # noqa: A002 - as the option
    rows = [(data, used_by(data, engine, context)) for data in stored_data(engine)]
    if format == "json":
        print_json(
            [
                {
                    "name": data.name,
                    "source": data.source,
                    "size": data.size,
                    "files": data.files,
                    "created": data.created,
                    "used_by": list(runs),
                }
                for data, runs in rows
            ]
        )
        return
    headings = ("name", "files", "size", "added", "used by", "source")
    table = [
        (d.name, str(d.files), bytes_text(d.size), d.created, ", ".join(runs), d.source)
        for d, runs in rows
    ]
    print_table(headings, table, context)
