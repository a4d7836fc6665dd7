"""`dlimg engine`: dlimg's own container engine started, shown, stopped or removed."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass

from dlimg.cli.arguments import add_format
from dlimg.cli.printing import print_json, print_table
from dlimg.context import Context
from dlimg.engine import private_engine
from dlimg.engine.private_home import home_of


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    """The options of `engine`."""

    action: str
    format: str


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("up", "status", "down", "purge"),
        help="start it; say whether it runs; stop it; stop it and remove all that it holds",
    )
    add_format(parser)


def options_of(arguments: Namespace) -> EngineOptions:
    return EngineOptions(action=arguments.action, format=arguments.format)


def run(options: EngineOptions, context: Context) -> int:
    """Return 0 when it was done; `status` returns 0 also if no engine runs."""
    home = home_of(context)
    match options.action:
        case "up":
            private_engine.up(home, context)
        case "down":
            private_engine.down(home, log=context.log)
        case "purge":
            private_engine.purge(home, log=context.log)
        case _:
            pass
    if options.action in {"up", "status"}:
        status = asdict(private_engine.status(home, context))
        if options.format == "json":
            print_json(status)
        else:
            rows = [(name, _text(value)) for name, value in status.items()]
            print_table(("property", "dlimg's own engine"), rows, context)
    return 0


def _text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return ", ".join(str(element) for element in value) or "-"
        case _:
            return str(value or "-")
