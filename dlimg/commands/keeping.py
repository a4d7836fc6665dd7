"""`engine` and `prune`: what dlimg keeps on this machine, and how it goes away."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict

from dlimg.build.disk import prune
from dlimg.commands.printing import print_json, print_table, say
from dlimg.engine import private
from dlimg.engine.find import find
from dlimg.engine.folders import cache_folder
from dlimg.engine.home import home_of
from dlimg.layers.store import Store
from dlimg.layers.upkeep import files_in
from dlimg.report.table import bytes_text, counted


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when it was done; `engine status` is 0 also where no engine runs."""
    if arguments.command == "prune":
        return _prune(arguments, environment)
    home = home_of(environment)
    match arguments.action:
        case "up":
            private.up(home, environment=environment, say=say)
        case "down":
            private.down(home, say=say)
        case "purge":
            private.purge(home, say=say)
        case _:
            pass
    if arguments.action in {"up", "status"}:
        found = asdict(private.status(home))
        if arguments.format == "json":
            print_json(found)
        else:
            rows = [(name, _text(value)) for name, value in found.items()]
            print_table(("engine", "of dlimg's own"), rows, environment)
    return 0


def _text(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case tuple() | list():
            return ", ".join(str(one) for one in value) or "-"
        case _:
            return str(value or "-")


def _prune(arguments: Namespace, environment: Mapping[str, str]) -> int:
    removed = prune(find(environment, private="join", say=say))
    if arguments.format == "json":
        print_json(asdict(removed))
    else:
        for name in removed.images:
            say(f"removed {name}")
        containers = counted(len(removed.containers), "container")
        say(f"{counted(len(removed.images), 'image')} and {containers} removed")
        for one in removed.kept:
            say(f"kept {one.name}: {one.reason}")
        say(f"{bytes_text(removed.size)} are free again")
        _say_of_layers(environment)
    return 0


def _say_of_layers(environment: Mapping[str, str]) -> None:
    """The other place where dlimg keeps things, so that nobody looks for their disk in vain."""
    store = Store(path=cache_folder(environment) / "layers")
    size = sum(path.stat().st_size for path in files_in(store.blobs))
    if size:
        say(f"{bytes_text(size)} of layers are kept in {store.path}; see `dlimg layers prune`")
