"""The store of layers, seen from a project: who uses what, pruning, export."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dlimg.assembly.cell_layer import installer_keys
from dlimg.assembly.store_usage import Uses, current_images, layer_uses
from dlimg.context import Context
from dlimg.errors import BadInput, Negative, Problem
from dlimg.matrix.parse import compression_option
from dlimg.model import GZIP, Image
from dlimg.pipeline.images import locked_images
from dlimg.pipeline.no_engine import exported_image
from dlimg.pipeline.project import CellSelection, Project, read_project, select_cells
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
    return StoreUse(images=images, uses=layer_uses(images, store, project.resolution.compression))


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
    compression: str,
    is_given: bool,
) -> tuple[Sequence[ExportedImage], int]:
    """Write assembled images as an OCI layout; return them and the bytes written.

    Raises Negative for an image that was not assembled. The hint repeats the compression if the
    command line named it (`is_given`).
    """
    store = open_store(context)
    selected = select_cells(project, CellSelection(patterns=tuple(cells)), log=context.log)
    images = tuple(locked_images(project, selected))
    with hold_store(store):
        assembled = current_images(images, store, compression)
        missing = [image.cell.id for image in images if not assembled[image.cell.id]]
        if missing:
            option = f" --compression {compression_option(compression)}" if is_given else ""
            raise Negative.of([_missing(cell, compression, option) for cell in missing])
        exported = [exported_image(image, assembled[image.cell.id][0]) for image in images]
        return exported, export_layout(folder, exported, store)


def _missing(cell: str, compression: str, option: str) -> Problem:
    method = "" if compression == GZIP else f" with {compression_option(compression)}"
    return Problem(
        message=f"it was not assembled here{method}, or has changed since",
        where=cell,
        hint=f"run `dlimg build --builder layers{option} {cell}` first",
    )
