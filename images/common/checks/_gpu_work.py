"""Work on a GPU: the framework is imported only after the driver has shown a GPU."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import _adapter
import _gpu
import _tag
import _verdict
from _adapter import Adapter, Tensor

Array = Any  # of NumPy, which an image need not have


class Machine(NamedTuple):
    """The functions that a GPU check uses: the driver's, and those that load the framework."""

    look: Callable[[], _gpu.Sight]
    load: Callable[[], Adapter]
    holds: Callable[[int], bool]
    engines: Callable[[], list[str]]


def this_machine() -> Machine:
    return Machine(look=_gpu.look, load=_adapter.load, holds=_gpu.holds, engines=_gpu.cudnn_engines)


def begin_on_gpu(machine: Machine) -> tuple[Adapter, str]:
    """Return the framework and its GPU's name; end the check where there is no GPU."""
    gpus = _gpu.require(machine.look())
    framework = machine.load()
    return framework, device_of(framework, gpus)


def begin(machine: Machine) -> tuple[Adapter, str]:
    """Return the framework and its GPU's name, which is empty for a CPU build."""
    if _tag.cell().get("cuda") or _gpu.expected():
        return begin_on_gpu(machine)
    framework = machine.load()
    if not framework.is_cuda_build():
        return framework, ""
    return framework, device_of(framework, _gpu.require(machine.look()))


def device_of(framework: Adapter, gpus: list[_gpu.Gpu]) -> str:
    """Return the name of the GPU that the framework sees; fail unless the driver sees it, too."""
    device = framework.device()
    _verdict.demand(
        device,
        f"{gpus[0].name} with driver {gpus[0].driver} is here, but {framework.NAME} sees no GPU",
    )
    _verdict.demand(
        _gpu.is_one_of(device, gpus), f"{framework.NAME} computes on {device}, here is {gpus}"
    )
    return device


def demand_on_gpu(
    framework: Adapter, tensors: Iterable[Tensor], machine: Machine, label: str
) -> None:
    """Fail unless the driver says that all tensors lie in a GPU's memory."""
    addresses = [framework.address(tensor) for tensor in tensors]
    _verdict.demand(
        addresses and all(map(machine.holds, addresses)), f"{label}: in no GPU's memory"
    )


def demand_within(rows: dict[str, tuple[float, float]]) -> None:
    """Fail at the first deviation above its tolerance, or NaN."""
    for label, (deviation, allowed) in rows.items():
        _verdict.demand(deviation <= allowed, f"{label}: {deviation:.3g} > {allowed:g}")


def deviation(array: Array, reference: Array, scale: Array = 1) -> float:
    """Return the largest absolute deviation in units of `scale`; inf for other shapes."""
    import numpy as np

    if array.shape != reference.shape:
        return float("inf")
    return float(np.max(np.abs(array - reference) / scale))
