"""`dlimg store`: the store of layers shown, verified, pruned, or exported from."""

from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path

from dlimg.cli.arguments import add_compression, add_format
from dlimg.cli.printing import print_json, print_table
from dlimg.context import Context
from dlimg.pipeline.layer_store import export_images, open_store, prune_unused, store_use
from dlimg.pipeline.project import read_project
from dlimg.report.store_table import (
    HEADINGS,
    damaged_text,
    entries_json,
    entry_rows,
    exported_json,
    total_text,
)
from dlimg.store.maintenance import hold_store, list_entries, verify_store
from dlimg.units import bytes_text, counted


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """The options of `store`; the last three are for `prune` and `export`."""

    matrix: str
    action: str
    format: str
    every_layer: bool = False
    patterns: tuple[str, ...] = ()
    folder: Path = Path()
    compression: str = ""


def add_arguments(parser: ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def action(name: str, about: str) -> ArgumentParser:
        action_parser: ArgumentParser = actions.add_parser(
            name, help=about, description=about, allow_abbrev=False
        )
        add_format(action_parser)
        return action_parser

    action("ls", "Show the layers, and the cells that use them.")
    action("verify", "Read every byte; name and remove what is damaged.")
    prune = action("prune", "Remove what no cell of the matrix uses.")
    prune.add_argument("--all", action="store_true", help="also remove what cells use")
    export = action("export", "Write assembled images as an OCI layout that other tools read.")
    export.add_argument("patterns", nargs="+", metavar="PATTERN", help="cells, by id")
    export.add_argument("folder", metavar="FOLDER", help="a new one, or a layout to add to")
    add_compression(export)


def options_of(arguments: Namespace) -> StoreOptions:
    matrix, action, format = arguments.matrix, arguments.action, arguments.format  # noqa: A001
    if action == "prune":
        return StoreOptions(matrix=matrix, action=action, format=format, every_layer=arguments.all)
    if action == "export":
        return StoreOptions(
            matrix=matrix,
            action=action,
            format=format,
            patterns=tuple(arguments.patterns),
            folder=Path(arguments.folder),
            compression=arguments.compression or "",
        )
    return StoreOptions(matrix=matrix, action=action, format=format)


def run(options: StoreOptions, context: Context) -> int:
    """Return 0 when it was done; `verify` returns 1 when something was damaged."""
    match options.action:
        case "verify":
            return _verify(options, context)
        case "prune":
            return _prune(options, context)
        case "export":
            return _export(options, context)
        case _:
            return _list(options, context)


def _list(options: StoreOptions, context: Context) -> int:
    store = open_store(context)
    use = store_use(options.matrix, store)
    entries = list_entries(store)
    if options.format == "json":
        print_json(entries_json(entries, use.uses, use.names))
        return 0
    print_table(HEADINGS, entry_rows(entries, use.uses, use.names), context)
    if use.images:
        context.log(total_text(entries, use.uses))
    else:
        layers = counted(len(entries), "layer")
        context.log(f"{layers} in {store.path}; no matrix here says what uses them")
    return 0


def _verify(options: StoreOptions, context: Context) -> int:
    store = open_store(context)
    with hold_store(store):
        count = len(list_entries(store))
        damaged = verify_store(store)
    names = store_use(options.matrix, store).names
    texts = [damaged_text(layer, names) for layer in damaged]
    if options.format == "json":
        print_json({"read": count, "damaged": texts})
    for text in texts:
        context.log(f"damaged, and removed: {text}")
    remark = f"{len(texts)} were damaged; the next build makes them again" if texts else "all good"
    context.log(f"{counted(count, 'layer')} read, {remark}")
    return 1 if texts else 0


def _prune(options: StoreOptions, context: Context) -> int:
    store = open_store(context)
    removed = prune_unused(options.matrix, store, context, is_all=options.every_layer)
    entries = list_entries(store)
    size = sum(entry.layer.size for entry in entries)
    if options.format == "json":
        print_json(
            {
                "removed": {"layers": removed.layers, "bytes": removed.size},
                "kept": {"layers": len(entries), "bytes": size},
            }
        )
    else:
        layers = counted(removed.layers, "layer")
        context.log(f"{layers} removed, {bytes_text(removed.size)} are free again")
        context.log(f"{counted(len(entries), 'layer')} kept, {bytes_text(size)}")
    return 0


def _export(options: StoreOptions, context: Context) -> int:
    project = read_project(options.matrix, log=context.log)
    exported, size = export_images(
        project,
        options.patterns,
        options.folder,
        context,
        method=options.compression,
    )
    if options.format == "json":
        print_json([exported_json(image) for image in exported])
    else:
        rows = [(image.name, image.reference, image.image.digest) for image in exported]
        print_table(("name in the layout", "name in an engine", "digest"), rows, context)
        images = counted(len(exported), "image")
        context.log(f"{images} in {options.folder}, {bytes_text(size)} new")
    return 0
