"""What checks of work on a GPU share: the framework comes in only where the driver sees a GPU.

A family's module (`_jax`, `_pytorch`, `_tensorflow`) does the work: it has NAME, `device()`,
`put(array, place)` for the places `cpu` and `gpu`, `numpy(tensor)`, `address(tensor)` and more.
"""

import importlib
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import NamedTuple

import _gpu
import _tag
import _verdict
import numpy as np


class Machine(NamedTuple):
    """Whom a check asks: the driver for GPUs and addresses, Python for the family's module."""

    look: Callable[[], _gpu.Sight] = _gpu.look
    load: Callable[[str], ModuleType] = importlib.import_module
    holds: Callable[[int], bool] = _gpu.holds
    engines: Callable[[], list[str]] = _gpu.cudnn_engines


def begin(name: str, machine: Machine) -> tuple[ModuleType, str]:
    """The family's module and its GPU's name; ends the check where no GPU is, or is seen."""
    gpus = _gpu.require(machine.look())
    framework = machine.load(name)
    return framework, device_of(framework, gpus)


def begin_anywhere(name: str, machine: Machine) -> tuple[ModuleType, str]:
    """The same, but where none is expected a framework's CPU build has no GPU to see."""
    if _tag.cell().get("cuda") or _gpu.expected():
        return begin(name, machine)
    framework = machine.load(name)
    if not framework.is_cuda_build():
        return framework, ""
    return framework, device_of(framework, _gpu.require(machine.look()))


def device_of(framework: ModuleType, gpus: list[_gpu.Gpu]) -> str:
    """The name of the GPU that the framework sees; fails unless the driver sees it, too."""
    device = framework.device()
    _verdict.demand(device, f"{gpus[0].name} is here, but {framework.NAME} sees no GPU")
    _verdict.demand(
        _gpu.is_one_of(device, gpus), f"{framework.NAME} computes on {device}, here is {gpus}"
    )
    return device


def demand_on_gpu(framework: ModuleType, tensors: Iterable, machine: Machine, what: str) -> None:
    """Fail unless the driver says that all of these lie in a GPU's memory."""
    addresses = [framework.address(tensor) for tensor in tensors]
    _verdict.demand(addresses and all(map(machine.holds, addresses)), f"{what}: in no GPU's memory")


def demand_within(rows: dict[str, tuple[float, float]]) -> None:
    """Fail at the first deviation that is more than allowed; written so that a NaN fails."""
    for what, (found, allowed) in rows.items():
        _verdict.demand(found <= allowed, f"{what}: {found:.3g} > {allowed:g}")


def furthest(these: np.ndarray, those: np.ndarray, scale: object = 1) -> float:
    """The largest absolute deviation in units of `scale`; endless between different shapes."""
    if these.shape != those.shape:
        return float("inf")
    return float(np.max(np.abs(these - those) / scale))
