"""Images and what they are made of, counted: what each holds alone, and what a pull fetches."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from dlimg.assembly.size_estimate import LayerEstimate, estimate_layers, read_store_index
from dlimg.context import Context
from dlimg.lock.store import read_lock
from dlimg.pipeline.project import Project
from dlimg.store.store import layer_store


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSize:
    """An image's layers, lowest first; `group` is what its framework and accelerator are called.

    A layer that is there twice is stored and pulled once.
    """

    cell: str
    family: str
    accelerator: str
    python: str
    group: str
    pieces: tuple[LayerEstimate, ...]

    @property
    def size(self) -> int:
        return sum(piece.size for piece in self.pieces)

    @property
    def exact(self) -> bool:
        return all(piece.exact for piece in self.pieces)


@dataclass(frozen=True, kw_only=True)
class MatrixSizes:
    """The images of a matrix, and who holds each of their layers."""

    images: tuple[ImageSize, ...]

    @cached_property
    def holders(self) -> Mapping[str, tuple[ImageSize, ...]]:
        """The images that have each layer, by its digest."""
        found: dict[str, list[ImageSize]] = {}
        for image in self.images:
            for piece in image.pieces:
                found.setdefault(piece.digest, []).append(image)
        return {digest: tuple(images) for digest, images in found.items()}

    def alone(self, image: ImageSize) -> int:
        """Bytes that no other image has: what a registry needs for this one more."""
        return sum(one.size for one in image.pieces if len(self.holders[one.digest]) == 1)

    def others(self, image: ImageSize, piece: LayerEstimate) -> tuple[ImageSize, ...]:
        """The other images with this layer."""
        return tuple(one for one in self.holders[piece.digest] if one is not image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Bytes in so many layers; `exact` unless one of them was estimated."""

    size: int
    layers: int
    exact: bool


def amount(pieces: Iterable[LayerEstimate]) -> Amount:
    """What these come to, each once."""
    found = {piece.digest: piece for piece in pieces}.values()
    return Amount(
        size=sum(piece.size for piece in found),
        layers=len(found),
        exact=all(piece.exact for piece in found),
    )


def stored(images: Iterable[ImageSize]) -> Amount:
    """What a registry keeps of these images."""
    return amount(piece for image in images for piece in image.pieces)


def pull(image: ImageSize, having: Collection[ImageSize]) -> Amount:
    """What a machine that has these images fetches for this one."""
    there = {piece.digest for one in having for piece in one.pieces}
    return amount(piece for piece in image.pieces if piece.digest not in there)


def groups(images: Sequence[ImageSize]) -> Mapping[str, tuple[ImageSize, ...]]:
    """The images by what they are called together, in their order."""
    found: dict[str, list[ImageSize]] = {}
    for image in images:
        found.setdefault(image.group, []).append(image)
    return {group: tuple(ones) for group, ones in found.items()}


def sizes_of(project: Project, context: Context) -> MatrixSizes:
    """Return the sizes of every locked cell of the project."""
    store = read_store_index(layer_store(context.environment))
    compression = project.resolution.compression
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
                    pieces=estimate_layers(cell, lock, store, compression=compression),
                )
            )
    return MatrixSizes(images=tuple(images))
