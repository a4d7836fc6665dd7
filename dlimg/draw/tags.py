"""The names of an image: its tag says every axis, and nothing that the lock does not say."""

from collections.abc import Iterable, Mapping

from dlimg.model import Cell, Flavour, Lock


def cudnn_version(lock: Lock) -> str:
    """The cuDNN that the lock holds, in full, or an empty text."""
    return lock.version_of("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")


def minor(version: str) -> str:
    """`9.26` of `9.26.0.51`."""
    return ".".join(version.split(".")[:2])


def tag(cell: Cell, lock: Lock) -> str:
    """The full tag, such as `2.15.0-cuda13.2-cudnn9.26-py3.13-debian13`."""
    parts = [cell.version, f"cuda{cell.stack.cuda}" if cell.stack else cell.accelerator]
    cudnn = cudnn_version(lock)
    if cudnn:
        parts.append(f"cudnn{minor(cudnn)}")
    parts += [f"py{cell.python}", cell.os.name]
    if cell.flavour is not Flavour.RUNTIME:
        parts.append(cell.flavour.value)
    return "-".join(parts)


def shared_names(named: Mapping[str, Iterable[str]]) -> dict[str, tuple[str, ...]]:
    """Names that several cells would have, with those cells; `named` maps cell ids to names."""
    owners: dict[str, list[str]] = {}
    for cell, names in named.items():
        for name in dict.fromkeys(names):
            owners.setdefault(name, []).append(cell)
    return {name: tuple(cells) for name, cells in owners.items() if len(cells) > 1}


def repository(registry: str, cell: Cell) -> str:
    """`dlimg/pytorch` for the registry `dlimg`."""
    return f"{registry}/{cell.family}" if registry else cell.family
