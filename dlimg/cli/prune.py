"""`dlimg prune`: dlimg's images and build cache removed from the engine."""

from argparse import ArgumentParser, Namespace
from dataclasses import asdict, dataclass

from dlimg.builders.disk_space import prune_engine
from dlimg.cli.arguments import add_format
from dlimg.cli.printing import print_json
from dlimg.context import Context
from dlimg.engine.discover import find_engine
from dlimg.store.maintenance import list_files
from dlimg.store.store import Store
from dlimg.units import bytes_text, counted


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneOptions:
    """The options of `prune`."""

    format: str


def add_arguments(parser: ArgumentParser) -> None:
    add_format(parser)


def options_of(arguments: Namespace) -> PruneOptions:
    return PruneOptions(format=arguments.format)


def run(options: PruneOptions, context: Context) -> int:
    removed = prune_engine(find_engine(context, private="join"))
    if options.format == "json":
        value = asdict(removed)
        # `kept` is the old name of `retained`, until the next release.
        print_json({**value, "kept": value["retained"]})
        return 0
    for name in removed.images:
        context.log(f"removed {name}")
    containers = counted(len(removed.containers), "container")
    context.log(f"{counted(len(removed.images), 'image')} and {containers} removed")
    for image in removed.retained:
        context.log(f"kept {image.name}: {image.reason}")
    context.log(f"{bytes_text(removed.size)} are free again")
    log_store_size(context)
    return 0


def log_store_size(context: Context) -> None:
    """Log the size of the store of layers, which `prune` does not touch."""
    store = Store(path=context.cache / "layers")
    size = sum(path.stat().st_size for path in list_files(store.blobs))
    if size:
        context.log(
            f"{bytes_text(size)} of layers are kept in {store.path}; see `dlimg store prune`"
        )
