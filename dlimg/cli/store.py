"""`layers`: the store that images are assembled from, as it is, and out of it."""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from dlimg.assembly.cell_layer import (installer_keys)
from dlimg.assembly.store_usage import (Uses, current_images, layer_uses)
from dlimg.cli.printing import print_json, print_table, say
from dlimg.pipeline.project import (Project, chosen, compression_of, read_project)
from dlimg.pipeline.images import locked_images
from dlimg.errors import BadInput, Negative, Problem
from dlimg.host.local_state import cache_folder
from dlimg.matrix.parse import spelled
from dlimg.model import GZIP, Image
from dlimg.report.store_table import HEADINGS, damaged_text, held_json, held_rows, total_text
from dlimg.units import bytes_text, counted
from dlimg.store.export import (ExportedImage, export_layout)
from dlimg.store.image_manifest import AssembledImage
from dlimg.store.maintenance import (FetchedWheels, list_entries, prune_store, hold_store, verify_store)
from dlimg.store.store import Store


def run(arguments: Namespace, environment: Mapping[str, str]) -> int:
    """0 when it was done; `layers verify` is 1 when something was damaged."""
    store = Store(path=cache_folder(environment) / "layers")
    if store.path.exists() and not store.path.is_dir():
        hint = "remove it, or set XDG_CACHE_HOME to a folder elsewhere"
        raise BadInput("the store is to be a folder", where=str(store.path), hint=hint)
    match arguments.action:
        case "verify":
            return _verify(arguments, store)
        case "prune":
            return _prune(arguments, environment, store)
        case "export":
            return _export(arguments, environment, store)
        case _:
            return _list(arguments, environment, store)


def _list(arguments: Namespace, environment: Mapping[str, str], store: Store) -> int:
    images, used = _used(arguments, store)
    held, names = list_entries(store), _names(images)
    if arguments.format == "json":
        print_json(held_json(held, used, names))
        return 0
    print_table(HEADINGS, held_rows(held, used, names), environment)
    if images:
        say(total_text(held, used))
    else:
        say(f"{counted(len(held), 'layer')} in {store.path}; no matrix here says what uses them")
    return 0


def _verify(arguments: Namespace, store: Store) -> int:
    with hold_store(store):
        count = len(list_entries(store))
        damaged = verify_store(store)
    names = _names(_images(arguments))
    texts = [damaged_text(one, names) for one in damaged]
    if arguments.format == "json":
        print_json({"read": count, "damaged": texts})
    for text in texts:
        say(f"damaged, and removed: {text}")
    rest = f"{len(texts)} were damaged; the next build makes them again" if texts else "all whole"
    say(f"{counted(count, 'layer')} read, {rest}")
    return 1 if texts else 0


def _prune(arguments: Namespace, environment: Mapping[str, str], store: Store) -> int:
    images: Sequence[Image] = ()
    used: Uses = {}
    if not arguments.all:
        project = read_project(arguments.matrix)  # without one, nothing is known to be used
        images = tuple(locked_images(project, project.resolution.cells))
        used = layer_uses(images, store, project.resolution.compression)
    fetched = FetchedWheels(
        folder=cache_folder(environment) / "fetched",
        wanted={wheel for image in images for wheel in image.lock.wheels},
    )
    freed = prune_store(store, used, fetched)
    kept = list_entries(store)
    size = sum(one.layer.size for one in kept)
    if arguments.format == "json":
        found = {"layers": freed.layers, "bytes": freed.size}
        print_json({"removed": found, "kept": {"layers": len(kept), "bytes": size}})
    else:
        say(f"{counted(freed.layers, 'layer')} removed, {bytes_text(freed.size)} are free again")
        say(f"{counted(len(kept), 'layer')} kept, {bytes_text(size)}")
    return 0


def _export(arguments: Namespace, environment: Mapping[str, str], store: Store) -> int:
    project = read_project(arguments.matrix)
    arguments.group = None
    images = tuple(locked_images(project, chosen(project, arguments)))
    compression = compression_of(project, arguments)
    with hold_store(store):
        found = current_images(images, store, compression)
        missing = [image.cell.id for image in images if not found[image.cell.id]]
        if missing:
            option = arguments.compression and f" --compression {spelled(compression)}"
            raise Negative.of([_missing(cell, compression, option or "") for cell in missing])
        exported = [on_its_way(image, found[image.cell.id][0]) for image in images]
        size = export_layout(Path(arguments.folder), exported, store)
    if arguments.format == "json":
        print_json([_exported_json(one) for one in exported])
    else:
        rows = [(one.name, one.reference, one.image.digest) for one in exported]
        print_table(("in the layout", "in an engine", "digest"), rows, environment)
        text = f"{counted(len(exported), 'image')} in {arguments.folder}, {bytes_text(size)} new"
        say(text)
    return 0


def on_its_way(image: Image, made: AssembledImage) -> ExportedImage:
    """The image as a layout is to have it."""
    reference = f"{image.repository}:{image.tag}"
    return ExportedImage(name=image.cell.id, reference=reference, image=made)


def _missing(cell: str, compression: str, option: str) -> Problem:
    """`option` is what the command line says of the compression, for `build` to hear it too."""
    method = "" if compression == GZIP else f" with {spelled(compression)}"
    return Problem(
        message=f"it was not assembled here{method}, or has changed since",
        where=cell,
        hint=f"run `dlimg build --builder layers{option} {cell}` first",
    )


def _exported_json(one: ExportedImage) -> dict[str, object]:
    return {
        "cell": one.name,
        "reference": one.reference,
        "digest": one.image.digest,
        "layers": [layer.digest for layer in one.image.layers],
    }


def _used(arguments: Namespace, store: Store) -> tuple[Sequence[Image], Uses]:
    """The images of the matrix, and what they use; neither where there is no matrix."""
    images = _images(arguments)
    if not images:
        return (), {}
    compression = read_project(arguments.matrix).resolution.compression
    return images, layer_uses(images, store, compression)


def _images(arguments: Namespace) -> Sequence[Image]:
    if not Path(arguments.matrix).exists():
        return ()
    project: Project = read_project(arguments.matrix)
    return tuple(locked_images(project, project.resolution.cells))


def _names(images: Sequence[Image]) -> Mapping[str, str]:
    """Words for what is made from one wheel, by the source in its key."""
    wheels = {wheel for image in images for wheel in image.lock.wheels}
    return {
        source: f"{wheel.name} {wheel.version}"
        for wheel in wheels
        for source in (wheel.sha256, installer_keys(wheel, python="", requested=True)[0].source)
    }
