"""Sizes of images: their layers, what they share, and what a pull fetches."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dlimg.assembly.size_estimate import LayerEstimate, estimate_layers, read_store_index
from dlimg.context import Context
from dlimg.lock.store import read_lock
from dlimg.pipeline.project import Project, compression_of
from dlimg.store.store import layer_store


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """An image's layers, lowest first; `group` names its framework and accelerator.

    A layer that occurs twice is stored and pulled once.
    """

    cell: str
    family: str
    accelerator: str
    python: str
    group: str
    layers: tuple[LayerEstimate, ...]

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.layers)

    @property
    def exact(self) -> bool:
        return all(layer.exact for layer in self.layers)


@dataclass(frozen=True, kw_only=True)
class MatrixSizes:
    """The images of a matrix, and the images that hold each layer."""

    images: tuple[ImageSize, ...]

    @cached_property
    def holders(self) -> Mapping[str, tuple[ImageSize, ...]]:
        """The images that have each layer, by its digest."""
        holders: dict[str, list[ImageSize]] = {}
        for image in self.images:
            for layer in image.layers:
                holders.setdefault(layer.digest, []).append(image)
        return {digest: tuple(images) for digest, images in holders.items()}

    def alone(self, image: ImageSize) -> int:
        """Return the bytes that no other image has: what a registry needs for this image."""
        return sum(layer.size for layer in image.layers if len(self.holders[layer.digest]) == 1)

    def others(self, image: ImageSize, layer: LayerEstimate) -> tuple[ImageSize, ...]:
        """Return the other images with this layer."""
        return tuple(holder for holder in self.holders[layer.digest] if holder is not image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """A number of layers and their bytes; `exact` unless one of them is estimated."""

    size: int
    layers: int
    exact: bool


def amount(layers: Iterable[LayerEstimate]) -> Amount:
    """Return the amount of these layers, each counted once."""
    distinct = {layer.digest: layer for layer in layers}.values()
    return Amount(
        size=sum(layer.size for layer in distinct),
        layers=len(distinct),
        exact=all(layer.exact for layer in distinct),
    )


def stored(images: Iterable[ImageSize]) -> Amount:
    """Return what a registry stores of these images."""
    return amount(layer for image in images for layer in image.layers)


def pull(image: ImageSize, present: Collection[ImageSize]) -> Amount:
    """Return what a machine that has the images `present` pulls for this one."""
    digests = {layer.digest for other in present for layer in other.layers}
    return amount(layer for layer in image.layers if layer.digest not in digests)


def groups(images: Sequence[ImageSize]) -> Mapping[str, tuple[ImageSize, ...]]:
    """Return the images by group, in their order."""
    by_group: dict[str, list[ImageSize]] = {}
    for image in images:
        by_group.setdefault(image.group, []).append(image)
    return {group: tuple(members) for group, members in by_group.items()}


def sizes_of(project: Project, context: Context) -> MatrixSizes:
    """Return the sizes of every locked cell of the project."""
    store = read_store_index(layer_store(context))
    compression = compression_of(project)
    images = []
    for cell in project.resolution.cells:
        lock = read_lock(cell.id, project.locks)
        if lock is not None:
            images.append(
                ImageSize(
                    cell=cell.id,
                    family=cell.family,
                    accelerator=cell.accelerator,
                    python=cell.python,
                    group=f"{cell.family}-{cell.version}-{cell.accelerator}",
                    layers=estimate_layers(cell, lock, store, compression=compression),
                )
            )
    return MatrixSizes(images=tuple(images))
