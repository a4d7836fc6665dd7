"""`engine` and `prune`: what dlimg keeps on this machine, and how it goes away."""

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import asdict

from dlimg.builders.disk_space import prune
from dlimg.cli.printing import print_json, print_table, say
from dlimg.engine import private_engine
from dlimg.engine.discover import find
from dlimg.engine.private_home import home_of
from dlimg.host.local_state import cache_folder
from dlimg.units import bytes_text, counted
from dlimg.store.maintenance import (list_files)
from dlimg.store.store import Store


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when it was done; `engine status` is 0 also where no engine runs."""
    if arguments.command == "prune":
        return _prune(arguments, environment)
    home = home_of(environment)
    match arguments.action:
        case "up":
            private_engine.up(home, environment=environment, say=say)
        case "down":
            private_engine.down(home, say=say)
        case "purge":
            private_engine.purge(home, say=say)
        case _:
            pass
    if arguments.action in {"up", "status"}:
        found = asdict(private_engine.status(home))
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
    size = sum(path.stat().st_size for path in list_files(store.blobs))
    if size:
        say(f"{bytes_text(size)} of layers are kept in {store.path}; see `dlimg layers prune`")
