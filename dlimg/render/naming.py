"""Tags, repository and labels of an image."""

from collections.abc import Iterable, Mapping
from typing import Final

from dlimg.document.versions import minor
from dlimg.model import CUDNN_PACKAGES, OLD_FLAVOURS, Cell, Flavour, Lock
from dlimg.render.devcontainer import LABEL as DEVCONTAINER_LABEL
from dlimg.render.devcontainer import devcontainer_metadata


def cudnn_version(lock: Lock) -> str:
    """Return the full version of cuDNN in a lock, or an empty text."""
    return lock.version_of(*CUDNN_PACKAGES)


def tag(cell: Cell, lock: Lock) -> str:
    """Return the full tag, such as `2.15.0-cuda13.2-cudnn9.26-py3.13-debian13`."""
    parts = [cell.version, f"cuda{cell.stack.cuda}" if cell.stack else cell.accelerator]
    cudnn = cudnn_version(lock)
    if cudnn:
        parts.append(f"cudnn{minor(cudnn)}")
    parts += [f"py{cell.python}", cell.os.name]
    if cell.flavour is not Flavour.RUNTIME:
        parts.append(cell.flavour.value)
    return "-".join(parts)


def former_tags(cell: Cell, lock: Lock) -> tuple[str, ...]:
    """Return the image's full tags under the old names of its flavour, if it was renamed.

    They are kept for one release after the renaming.
    """
    full = tag(cell, lock)
    return tuple(
        f"{full.removesuffix(new)}{old}" for old, new in OLD_FLAVOURS.items() if cell.flavour is new
    )


def shared_names(named: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Return the names that several cells would get, with those cells."""
    owners: dict[str, list[str]] = {}
    for cell, names in named.items():
        for name in dict.fromkeys(names):
            owners.setdefault(name, []).append(cell)
    return {name: tuple(cells) for name, cells in owners.items() if len(cells) > 1}


def repository_name(registry: str, cell: Cell) -> str:
    """Return the repository, such as `dlimg/pytorch` for the registry `dlimg`."""
    return f"{registry}/{cell.family}" if registry else cell.family


WHEELS_LABEL: Final = "io.dlimg.wheels"


def cell_labels(cell: Cell, lock: Lock) -> dict[str, str]:
    """Return the labels, sorted by name; an axis that the cell lacks gets no label.

    There are no labels for the time of creation and the revision, so the same cell and lock make
    the same image. `dlimg.render.bake.final_labels` adds the base's name and digest once they are
    known.
    """
    labels = {
        DEVCONTAINER_LABEL: devcontainer_metadata(cell),
        "io.dlimg.accelerator": cell.accelerator,
        "io.dlimg.cell": cell.id,
        "io.dlimg.cuda": cuda_version(cell),
        "io.dlimg.cudnn": locked_cudnn(cell, lock),
        "io.dlimg.family": cell.family,
        "io.dlimg.flavour": str(cell.flavour),
        "io.dlimg.os": cell.os.name,
        "io.dlimg.package": cell.package,
        "io.dlimg.python": cell.python,
        "io.dlimg.version": cell.version,
        WHEELS_LABEL: wheels_text(lock),
        "org.opencontainers.image.description": image_description(cell, lock),
        "org.opencontainers.image.licenses": cell.licenses,
        "org.opencontainers.image.source": cell.source,
        "org.opencontainers.image.title": cell.id,
        "org.opencontainers.image.version": cell.version,
    }
    return {name: value for name, value in labels.items() if value}


def image_description(cell: Cell, lock: Lock) -> str:
    """Return a description, such as `jax 0.12.0.1 for CPU, Python 3.13 on Debian 13 (runtime)`."""
    device = "CPU"
    if cell.is_cuda:
        device = f"CUDA {cuda_version(cell)}"
        if locked_cudnn(cell, lock):
            device += f" with cuDNN {locked_cudnn(cell, lock)}"
    where = f"Python {cell.python} on {cell.os.distribution}"
    return f"{cell.package} {cell.version} for {device}, {where} ({cell.flavour})"


def wheels_text(lock: Lock) -> str:
    """Return the wheels as `name==version ...`, sorted by name."""
    wheels = sorted(lock.wheels, key=lambda wheel: wheel.name)
    return " ".join(f"{wheel.name}=={wheel.version}" for wheel in wheels)


def cuda_version(cell: Cell) -> str:
    """Return the CUDA of the cell's stack, such as `13.2`, or an empty text."""
    return cell.stack.cuda if cell.stack else ""


def locked_cudnn(cell: Cell, lock: Lock) -> str:
    """Return the full cuDNN version in the lock of a CUDA cell, or an empty text."""
    return cudnn_version(lock) if cell.is_cuda else ""
