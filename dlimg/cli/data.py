"""`dlimg data`: data that is fetched once and kept in the engine for any number of runs."""

import shutil
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from dlimg.cli.arguments import add_format
from dlimg.cli.printing import print_json, print_table
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.errors import BadInput
from dlimg.run.data_fetch import fetch
from dlimg.run.data_source import parse_source
from dlimg.run.data_volume import find_data, remove, store, stored_data, used_by
from dlimg.run.lifecycle import engine_for_runs
from dlimg.run.names import check_name
from dlimg.units import bytes_text, counted


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """The options of `data` and its actions."""

    action: Literal["add", "ls", "rm"]
    names: tuple[str, ...] = ()
    source: str = ""
    format: str = "table"


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="fetch data and keep it under a name")
    add.add_argument("name", metavar="NAME")
    add.add_argument(
        "source",
        metavar="SOURCE",
        help="PATH, https://..., hf:OWNER/MODEL, hf:datasets/OWNER/NAME, kaggle:OWNER/NAME, "
        "git:URL#REVISION",
    )
    listing = actions.add_parser("ls", help="list data with sizes and the runs that use it")
    add_format(listing)
    rm = actions.add_parser("rm", help="remove data that no run uses")
    rm.add_argument("names", nargs="+", metavar="NAME")


def options_of(arguments: Namespace) -> DataOptions:
    match arguments.action:
        case "add":
            check_name(arguments.name, "NAME")
            names = (arguments.name,)
            return DataOptions(action="add", names=names, source=arguments.source)
        case "rm":
            return DataOptions(action="rm", names=tuple(arguments.names))
        case _:
            return DataOptions(action="ls", format=arguments.format)


def run(options: DataOptions, context: Context) -> int:
    with engine_errors():
        engine = engine_for_runs("allow" if options.action == "add" else "join", context)
        if options.action == "add":
            _add(options.names[0], options.source, engine, context)
        elif options.action == "rm":
            for name in options.names:
                remove(name, engine, context)
        else:
            _list(options.format, engine, context)
    return 0


def _add(name: str, text: str, engine: Engine, context: Context) -> None:
    source = parse_source(text)
    if find_data(name, engine):
        hint = f"`dlimg data rm {name}` first, or take another name"
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
    context.log(f"{name}: {size}; `dlimg run --data {name}` has it at /data/{name}")


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
