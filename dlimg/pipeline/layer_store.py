"""The store of layers and a project: the use of layers, pruning, export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlimg.assembly.cell_layer import installer_keys
from dlimg.assembly.store_usage import Uses, current_images, layer_uses
from dlimg.context import Context
from dlimg.errors import BadInput, Negative, Problem
from dlimg.matrix.parse import compression_option
from dlimg.model import CellSelection, Image
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.no_engine import exported_image
from dlimg.pipeline.project import (
    Project,
    compression_of,
    read_project,
    select_cells,
    stated_compression,
)
from dlimg.store.export import ExportedImage, export_layout
from dlimg.store.maintenance import FetchedWheels, PruneResult, hold_store, prune_store
from dlimg.store.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreUse:
    """The images of a matrix and the layers that each uses; neither without a matrix."""

    images: Sequence[Image] = ()
    uses: Uses

    @property
    def names(self) -> Mapping[str, str]:
        """Names of wheels, by the source in the key of the layers made from them."""
        wheels = {wheel for image in self.images for wheel in image.lock.wheels}
        return {
            source: f"{wheel.name} {wheel.version}"
            for wheel in wheels
            for source in (
                wheel.sha256,
                installer_keys(wheel, python="", requested=True)[0].source,
            )
        }


def open_store(context: Context) -> Store:
    """Return the store of layers. Raises BadInput if another file is in its place."""
    store = Store(path=context.cache / "layers")
    if store.path.exists() and not store.path.is_dir():
        hint = "remove it, or set XDG_CACHE_HOME to a folder elsewhere"
        raise BadInput("the store must be a folder", where=str(store.path), hint=hint)
    return store


def store_use(matrix: str, store: Store) -> StoreUse:
    """Return the matrix's images and the layers that they use; empty without a matrix."""
    if not Path(matrix).exists():
        return StoreUse(uses={})
    project = read_project(matrix)
    images = tuple(locked_images(project, project.resolution.cells))
    return StoreUse(images=images, uses=layer_uses(images, store, compression_of(project)))


def prune_unused(matrix: str, store: Store, context: Context, *, is_all: bool) -> PruneResult:
    """Remove the layers and fetched wheels that no cell uses; with `is_all` also used ones.

    Raises BadInput without a matrix, unless `is_all`.
    """
    use = StoreUse(uses={})
    if not is_all:
        read_project(matrix, log=context.log)  # without one, nothing is known to be used
        use = store_use(matrix, store)
    fetched = FetchedWheels(
        folder=context.cache / "fetched",
        wanted={wheel for image in use.images for wheel in image.lock.wheels},
    )
    return prune_store(store, use.uses, fetched)


def export_images(
    project: Project,
    cells: Sequence[str],
    folder: Path,
    context: Context,
    *,
    method: str,
) -> tuple[Sequence[ExportedImage], int]:
    """Write assembled images as an OCI layout; return them and the bytes written.

    `method` is the command line's compression. If neither it nor the matrix states one, the
    newest image of any compression is taken. Raises Negative for an image that was not assembled.
    """
    store = open_store(context)
    compression = stated_compression(project, method)
    selected = select_cells(project, CellSelection(patterns=tuple(cells)), log=context.log)
    images = tuple(locked_images(project, selected))
    with hold_store(store):
        current = current_images(images, store)
        exported: list[ExportedImage] = []
        missing: list[Problem] = []
        for image in images:
            suitable = [
                assembled
                for assembled in current[image.cell.id]
                if compression in ("", assembled.compression)
            ]
            if suitable:
                exported.append(exported_image(image, suitable[0]))
            else:
                missing.append(_missing(image.cell.id, compression, method))
        if missing:
            raise Negative.of(missing)
        return exported, export_layout(folder, exported, store)


def _missing(cell: str, compression: str, method: str) -> Problem:
    name = compression_option(compression)
    option = f" --compression {name}" if method else ""
    return Problem(
        message=f"it was not assembled here{f' with {name}' if name else ''}, or has changed since",
        where=cell,
        hint=f"run `dlimg build --builder layers{option} {cell}` first",
    )
