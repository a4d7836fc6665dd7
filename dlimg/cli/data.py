"""`dlimg data`: stored data of an engine, fetched once for any number of runs."""

import re
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from dlimg.cli.arguments import add_format, add_on
from dlimg.cli.printing import print_json, print_table
from dlimg.context import Context
from dlimg.engine.client import Engine, engine_errors
from dlimg.engine.discover import PrivateEnginePolicy
from dlimg.errors import BadInput
from dlimg.pipeline.run_data import add_data, on_option
from dlimg.report.plain import filled_columns, shortened
from dlimg.run.data_volume import remove, stored_data, used_by
from dlimg.run.find import engine_at
from dlimg.run.names import check_name
from dlimg.units import bytes_text

_MOST_SOURCE: Final = 48  # in the table; JSON has all


@dataclass(frozen=True, slots=True, kw_only=True)
class DataOptions:
    """The options of `data` and its actions."""

    action: Literal["add", "ls", "rm"]
    names: tuple[str, ...] = ()
    source: str = ""
    on: str = ""
    format: str = "table"


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
    on = arguments.on or ""
    match arguments.action:
        case "add":
            check_name(arguments.name, "NAME")
            if not arguments.source:  # an empty path would be this folder
                raise BadInput("the source of the data is empty", where="SOURCE")
            names = (arguments.name,)
            return DataOptions(action="add", names=names, source=arguments.source, on=on)
        case "rm":
            return DataOptions(action="rm", names=tuple(dict.fromkeys(arguments.names)), on=on)
        case _:
            return DataOptions(action="ls", format=arguments.format, on=on)


def run(options: DataOptions, context: Context) -> int:
    with engine_errors():
        policy: PrivateEnginePolicy = "allow" if options.action == "add" else "join"
        engine = engine_at(options.on, policy, context)
        if options.action == "add":
            add_data(options.names[0], options.source, engine, context)
        elif options.action == "rm":
            for name in options.names:
                remove(name, engine, context, on=on_option(engine))
        else:
            _list(options.format, engine, context)
    return 0


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
    home = re.compile(rf"^{re.escape(context.environment.get('HOME') or str(Path.home()))}/")
    table = [
        (
            *(data.name, str(data.files), bytes_text(data.size), data.created, ", ".join(runs)),
            shortened(home.sub("~/", data.source), _MOST_SOURCE),
        )
        for data, runs in rows
    ]
    print_table(*filled_columns(headings, table), context)
